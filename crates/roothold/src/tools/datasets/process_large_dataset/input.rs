//! The arguments: flat, each for the operations that it says.

use std::borrow::Cow;

use roothold_core::{Fault, FilePath};
use roothold_datasets::{
    Aggregate, AggregateOptions, ConvertOptions, ExpectedColumn, ExpectedType, ExportFormat,
    Format, Operation, OperationKind, ProfileOptions, SampleOptions, SearchOptions, SqlOptions,
    ValidateOptions,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::aggregates;
use crate::call::Call;
use crate::datasets::Options;

/// The smallest answer that may be asked for.
const BYTES_MIN: u64 = 1024;

/// Its schema is written by hand, below: every agent that lists tools pays for each word.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    pub(super) data_source: String,
    pub(super) operation: OperationKind,
    columns: Option<Vec<String>>,
    group_by: Option<Vec<String>>,
    aggregates: Option<Vec<AggregateArg>>,
    order_by: Option<String>,
    descending: Option<bool>,
    limit: Option<usize>,
    pattern: Option<String>,
    regex: Option<bool>,
    ignore_case: Option<bool>,
    context: Option<usize>,
    max_matches: Option<usize>,
    expected: Option<Vec<ExpectedArg>>,
    schema: Option<Value>,
    rows: Option<usize>,
    seed: Option<u64>,
    pub(super) output: Option<String>,
    format: Option<ExportFormat>,
    pub(super) overwrite: Option<bool>,
    guard_formulas: Option<bool>,
    sql: Option<String>,
    parameters: Option<Vec<Value>>,
    pub(super) options: Option<Options>,
    pub(super) background: Option<bool>,
    max_bytes: Option<u64>,
}

impl JsonSchema for Input {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let of = |kind: &str| serde_json::json!({ "type": kind });
        let like =
            |kind: &str, words: &str| serde_json::json!({"type": kind, "description": words});
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "required": ["data_source", "operation"],
            "properties": {
                "data_source": like("string", "As in describe_dataset"),
                "operation": {
                    "enum": ["profile", "aggregate", "search", "validate", "sample", "convert", "sql"],
                    "description": OPERATIONS,
                },
                "columns": of("array"),
                "group_by": of("array"),
                "aggregates": like("array", "FUNCTION:COLUMN, or {function: count|sum|avg|min|max|stddev|var|approx_distinct|approx_median|approx_percentile|bool_and|bool_or, column, percentile, name}"),
                "order_by": of("string"),
                "descending": of("boolean"),
                "limit": of("integer"),
                "pattern": of("string"),
                "regex": of("boolean"),
                "ignore_case": of("boolean"),
                "context": of("integer"),
                "max_matches": of("integer"),
                "expected": like("array", "{name, type: text|integer|number|decimal|boolean|date|timestamp, nullable}"),
                "schema": like("object", "JSON Schema of a record"),
                "rows": of("integer"),
                "seed": of("integer"),
                "output": like("string", "File to write"),
                "format": {"enum": ["parquet", "csv", "jsonl"]},
                "overwrite": of("boolean"),
                "guard_formulas": of("boolean"),
                "sql": like("string", "SELECT from data"),
                "parameters": like("array", "For $1, $2"),
                "options": like("object", "As in describe_dataset"),
                "background": like("boolean", "true: as a job"),
                "max_bytes": like("integer", "Largest answer"),
            },
        })
    }
}

/// Which arguments are for which operation.
const OPERATIONS: &str = "Takes: profile columns; aggregate group_by, aggregates, order_by, descending, limit (100, at most 10000); \
    search pattern, regex, ignore_case, context (at most 10), columns, max_matches (100, at most 1000); validate expected or schema; \
    sample rows (20, at most 10000), seed, columns; convert output, format, columns, overwrite, guard_formulas; \
    sql sql, parameters, rows (1000, at most 10000)";

/// One aggregate, in the long form or the short one.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
struct AggregateArg(Aggregate);

impl TryFrom<Value> for AggregateArg {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let long = match &value {
            Value::String(text) => {
                aggregates::long(text).map_err(|what| format!("`{text}` {what}"))?
            }
            _ => value,
        };
        let asked = serde_json::from_value(long).map_err(|error| {
            format!("{error}; it is {{function, column, name}}, or shortly {}", aggregates::FORM)
        });
        asked.map(Self)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedArg {
    name: String,
    r#type: Option<ExpectedType>,
    nullable: Option<bool>,
}

impl Input {
    /// What is to be done.
    ///
    /// # Errors
    /// `Invalid`, for an argument of another operation, or one that is missing.
    pub(super) fn operation(&self) -> Result<Operation, Fault> {
        self.refuse_others()?;
        let columns = || self.columns.clone().unwrap_or_default();
        let operation = match self.operation {
            OperationKind::Profile => Operation::Profile(ProfileOptions { columns: columns() }),
            OperationKind::Aggregate => Operation::Aggregate(self.aggregation()),
            OperationKind::Search => Operation::Search(SearchOptions {
                pattern: needed(self.pattern.as_ref(), "search", "pattern")?,
                regex: self.regex.unwrap_or_default(),
                ignore_case: self.ignore_case.unwrap_or_default(),
                columns: columns(),
                context: self.context.unwrap_or_default(),
                max_matches: self.max_matches,
            }),
            OperationKind::Validate => {
                let expected = self.expected.iter().flatten().map(|column| ExpectedColumn {
                    name: column.name.clone(),
                    kind: column.r#type,
                    nullable: column.nullable.unwrap_or(true),
                });
                let schema = self.schema.clone();
                Operation::Validate(ValidateOptions { columns: expected.collect(), schema })
            }
            OperationKind::Sample => Operation::Sample(SampleOptions {
                rows: self.rows,
                seed: self.seed.unwrap_or_default(),
                columns: columns(),
            }),
            OperationKind::Convert => Operation::Convert(ConvertOptions {
                // Without it a format would be asked for, and then this.
                format: self.output().and_then(|_| self.format())?,
                columns: columns(),
                guard_formulas: self.guard_formulas.unwrap_or(true),
            }),
            OperationKind::Sql => Operation::Sql(SqlOptions {
                sql: needed(self.sql.as_ref(), "sql", "sql")?,
                parameters: self.parameters.clone().unwrap_or_default(),
                rows: self.rows,
            }),
        };
        operation.check()?;
        Ok(operation)
    }

    fn aggregation(&self) -> AggregateOptions {
        let aggregates = self.aggregates.iter().flatten().map(|AggregateArg(asked)| asked.clone());
        AggregateOptions {
            group_by: self.group_by.clone().unwrap_or_default(),
            aggregates: aggregates.collect(),
            order_by: self.order_by.clone(),
            descending: self.descending.unwrap_or_default(),
            limit: self.limit,
        }
    }

    fn format(&self) -> Result<ExportFormat, Fault> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let name = self.output.as_deref().unwrap_or_default().rsplit('/').next();
        let ending = name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
        // By the last ending alone: nothing that is written is compressed as a whole.
        match ending.and_then(|ending| Format::by_name(&format!("x.{ending}"))) {
            Some(Format::Parquet) => Ok(ExportFormat::Parquet),
            Some(Format::Csv) => Ok(ExportFormat::Csv),
            Some(Format::Jsonl) => Ok(ExportFormat::Jsonl),
            Some(Format::Tsv | Format::Text) | None => Err(Fault::invalid(
                "the output's name does not tell its format; give format: parquet, csv or jsonl",
            )),
        }
    }

    /// The file that is written.
    ///
    /// # Errors
    /// `Invalid`, where a conversion names none.
    pub(super) fn output(&self) -> Result<Option<FilePath>, Fault> {
        if self.operation != OperationKind::Convert {
            return Ok(None);
        }
        FilePath::parse(&needed(self.output.as_ref(), "convert", "output")?).map(Some)
    }

    /// What a job of it is about: what is done with which source, and where the outcome goes.
    pub(super) fn about(&self) -> String {
        let output = self.output.as_ref().map(|output| format!(" to {output}"));
        let (operation, source) = (self.operation.name(), &self.data_source);
        format!("{operation} {source}{}", output.unwrap_or_default())
    }

    /// How large each form of the answer may be.
    ///
    /// # Errors
    /// `Invalid`, for less than any answer takes.
    pub(super) fn bytes_max(&self, call: &Call) -> Result<usize, Fault> {
        let Some(bytes) = self.max_bytes else { return Ok(call.budget().result_bytes_max) };
        if bytes < BYTES_MIN {
            return Err(Fault::invalid(format!("max_bytes is {BYTES_MIN} or more")));
        }
        let ceiling = if call.is_nested() {
            call.budget().result_bytes_max as u64
        } else {
            call.limits().result_bytes_ceiling
        };
        Ok(usize::try_from(bytes.min(ceiling)).unwrap_or(usize::MAX))
    }

    /// An argument that would change nothing was meant to change something.
    fn refuse_others(&self) -> Result<(), Fault> {
        use OperationKind::{Aggregate, Convert, Profile, Sample, Search, Sql, Validate};
        let given: [(&str, bool, &[OperationKind]); 20] = [
            ("columns", self.columns.is_some(), &[Profile, Search, Sample, Convert]),
            ("group_by", self.group_by.is_some(), &[Aggregate]),
            ("aggregates", self.aggregates.is_some(), &[Aggregate]),
            ("order_by", self.order_by.is_some(), &[Aggregate]),
            ("descending", self.descending.is_some(), &[Aggregate]),
            ("limit", self.limit.is_some(), &[Aggregate]),
            ("pattern", self.pattern.is_some(), &[Search]),
            ("regex", self.regex.is_some(), &[Search]),
            ("ignore_case", self.ignore_case.is_some(), &[Search]),
            ("context", self.context.is_some(), &[Search]),
            ("max_matches", self.max_matches.is_some(), &[Search]),
            ("expected", self.expected.is_some(), &[Validate]),
            ("schema", self.schema.is_some(), &[Validate]),
            ("rows", self.rows.is_some(), &[Sample, Sql]),
            ("seed", self.seed.is_some(), &[Sample]),
            ("output", self.output.is_some(), &[Convert]),
            ("format", self.format.is_some(), &[Convert]),
            ("overwrite", self.overwrite.is_some(), &[Convert]),
            ("guard_formulas", self.guard_formulas.is_some(), &[Convert]),
            ("sql and parameters", self.sql.is_some() || self.parameters.is_some(), &[Sql]),
        ];
        let other =
            given.iter().find(|(_, is_given, of)| *is_given && !of.contains(&self.operation));
        let Some((name, _, of)) = other else { return Ok(()) };
        let of = of.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        Err(Fault::invalid(format!(
            "{name} means nothing to {}, only to {of}; leave it out, or choose another operation",
            self.operation.name()
        )))
    }
}

fn needed(argument: Option<&String>, operation: &str, name: &str) -> Result<String, Fault> {
    let missing = || Fault::invalid(format!("operation {operation} needs the argument `{name}`"));
    argument.filter(|text| !text.is_empty()).cloned().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use roothold_core::FaultKind;
    use serde_json::json;

    use super::*;

    fn input(arguments: &Value) -> Result<Input, serde_json::Error> {
        let mut all = json!({"data_source": "/a.csv"});
        all.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        serde_json::from_value(all)
    }

    #[test]
    fn arguments_of_an_operation_become_it() {
        let same = |arguments: Value| {
            let operation = input(&arguments).unwrap().operation().unwrap();
            let told = serde_json::to_value(&operation).unwrap();
            for (key, value) in arguments.as_object().unwrap() {
                let key = if key == "expected" { "columns" } else { key };
                if key != "output" {
                    assert_eq!(told[key], *value, "{key} of {told}");
                }
            }
        };
        same(json!({"operation": "profile", "columns": ["a"]}));
        same(
            json!({"operation": "aggregate", "group_by": ["a"], "limit": 7, "descending": true, "order_by": "a",
            "aggregates": [{"function": "approx_percentile", "column": "b", "percentile": 0.5, "name": "p"}]}),
        );
        same(
            json!({"operation": "search", "pattern": "x", "regex": true, "ignore_case": true, "context": 2,
            "max_matches": 5, "columns": ["a"]}),
        );
        same(
            json!({"operation": "validate", "expected": [{"name": "a", "type": "date", "nullable": false}]}),
        );
        same(json!({"operation": "validate", "schema": {"required": ["a"]}}));
        same(json!({"operation": "sample", "rows": 3, "seed": 9, "columns": ["b"]}));
        same(
            json!({"operation": "convert", "output": "/o", "format": "parquet", "guard_formulas": false, "columns": ["a"]}),
        );
        same(
            json!({"operation": "sql", "sql": "SELECT $1 FROM data", "parameters": [1], "rows": 5}),
        );
    }

    #[test]
    fn the_schema_names_every_argument_and_every_word_that_is_read() {
        let schema = Input::json_schema(&mut SchemaGenerator::default()).to_value();
        let properties = schema["properties"].as_object().unwrap();
        // An argument that is not known is told with all that are.
        let error =
            input(&json!({"operation": "profile", "no such": 1})).err().unwrap().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known.len(), properties.len(), "{error}");
        assert!(known.iter().all(|name| properties.contains_key(*name)), "{error}");
        let words = |text: &Value, from: &str| -> Vec<String> {
            let text = text["description"].as_str().unwrap();
            let list = text.split(from).nth(1).unwrap().split(',').next().unwrap();
            list.split('|').map(|word| word.trim().to_owned()).collect()
        };
        for word in words(&properties["aggregates"], "function: ") {
            let asked = json!({"operation": "aggregate", "aggregates": [{"function": word}]});
            assert_eq!(input(&asked).unwrap().aggregates.unwrap()[0].0.function.name(), word);
            let shortly = json!({"operation": "aggregate", "aggregates": [word]});
            assert_eq!(input(&shortly).is_ok(), word != "approx_percentile", "{word}");
        }
        for word in words(&properties["expected"], "type: ") {
            let asked = json!({"operation": "validate", "expected": [{"name": "a", "type": word}]});
            assert_eq!(input(&asked).unwrap().expected.unwrap()[0].r#type.unwrap().name(), word);
        }
        for (argument, value) in [("operation", "operation"), ("format", "format")] {
            for word in properties[argument]["enum"].as_array().unwrap() {
                input(&json!({"operation": "convert", value: word})).unwrap();
            }
        }
        for (name, property) in properties {
            let is_told = OPERATIONS.split([' ', ',', ';']).any(|word| word == name);
            assert!(is_told || property["description"].is_string(), "{name}");
        }
        let bytes = schema.to_string().len();
        assert!(bytes <= 1880, "{bytes}");
    }

    #[test]
    fn numbers_beyond_what_is_told_are_refused_by_their_names() {
        for (arguments, says) in [
            (
                json!({"operation": "aggregate", "limit": 10_001}),
                "`limit` of aggregate is 1 to 10000",
            ),
            (json!({"operation": "aggregate", "limit": 0}), "`limit`"),
            (
                json!({"operation": "search", "pattern": "x", "max_matches": 1001}),
                "`max_matches` of search is 1 to 1000",
            ),
            (json!({"operation": "sample", "rows": 10_001}), "`rows` of sample is 1 to 10000"),
            (
                json!({"operation": "sql", "sql": "SELECT 1", "rows": 10_001}),
                "`rows` of sql is 1 to 10000",
            ),
        ] {
            let fault = input(&arguments).unwrap().operation().unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Limit, "{arguments}");
            assert!(fault.public().contains(says), "{arguments}: {fault}");
        }
        input(&json!({"operation": "sample", "rows": 10_000})).unwrap().operation().unwrap();
    }

    #[test]
    fn an_aggregate_is_written_shortly_or_told_how_it_is_written() {
        let asked = input(&json!({"operation": "aggregate",
            "aggregates": ["count", "total=sum:amount", {"function": "max", "column": "a"}]}));
        let Ok(Operation::Aggregate(options)) = asked.unwrap().operation() else {
            panic!("it is one")
        };
        let told = serde_json::to_value(&options.aggregates).unwrap();
        assert_eq!(
            told,
            json!([{"function": "count"}, {"function": "sum", "column": "amount", "name": "total"},
            {"function": "max", "column": "a"}])
        );
        for wrong in [json!("sum:"), json!("median:a"), json!({"of": "a"}), json!(7)] {
            let asked = input(&json!({"operation": "aggregate", "aggregates": [wrong]}));
            let error = asked.err().unwrap().to_string();
            assert!(error.contains("[NAME=]FUNCTION[:COLUMN]"), "{error}");
        }
    }

    #[test]
    fn a_job_is_told_by_its_source_and_its_output_and_not_by_what_is_asked() {
        let about = |arguments: Value| input(&arguments).unwrap().about();
        let sql = json!({"operation": "sql", "sql": "SELECT 's3cr3t'", "parameters": ["s3cr3t"]});
        assert_eq!(about(sql), "sql /a.csv");
        let convert = json!({"operation": "convert", "output": "/work/b.parquet"});
        assert_eq!(about(convert), "convert /a.csv to /work/b.parquet");
    }

    #[test]
    fn the_format_follows_from_the_outputs_name() {
        let format = |output: &str| {
            input(&json!({"operation": "convert", "output": output})).unwrap().format()
        };
        assert_eq!(format("/a/b.PARQUET").unwrap(), ExportFormat::Parquet);
        assert_eq!(format("/a/b.csv").unwrap(), ExportFormat::Csv);
        assert_eq!(format("/a/b.ndjson").unwrap(), ExportFormat::Jsonl);
        for untold in ["/a/csv", "/a.csv/b", "/a/b.csv.gz", "/a/b.tsv", "/a/b."] {
            assert_eq!(format(untold).unwrap_err().kind(), FaultKind::Invalid, "{untold}");
        }
    }

    #[test]
    fn what_means_nothing_to_an_operation_is_refused_and_so_is_what_lacks_something() {
        for (arguments, word) in [
            (json!({"operation": "profile", "pattern": "x"}), "search"),
            (json!({"operation": "search", "pattern": "x", "overwrite": false}), "convert"),
            (json!({"operation": "convert", "output": "/o.csv", "rows": 3}), "sample, sql"),
            (json!({"operation": "aggregate", "columns": []}), "profile, search, sample, convert"),
            (json!({"operation": "profile", "parameters": []}), "sql"),
            (json!({"operation": "search"}), "pattern"),
            (json!({"operation": "convert"}), "needs the argument `output`"),
            (json!({"operation": "convert", "format": "csv"}), "needs the argument `output`"),
            (json!({"operation": "sql", "sql": ""}), "sql"),
        ] {
            let fault = input(&arguments).unwrap().operation().unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Invalid);
            assert!(fault.public().contains(word), "{arguments}: {fault}");
        }
        let no_output = input(&json!({"operation": "convert"})).unwrap();
        assert!(no_output.operation().is_err() && no_output.output().is_err());
        for wrong in [
            json!({"operation": "delete"}),
            json!({"operation": "profile", "group": 1}),
            json!({"operation": "aggregate", "aggregates": [{"function": "median"}]}),
            json!({"operation": "validate", "expected": [{"type": "date"}]}),
        ] {
            assert!(input(&wrong).is_err(), "{wrong}");
        }
    }
}
