//! From flags to the arguments of the tool.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::call::arguments::merge;
use super::options::{Options, Word};
use super::place::Place;

/// The types that a column can be expected to have.
const TYPES: [&str; 6] = ["text", "integer", "number", "boolean", "date", "timestamp"];

/// The arguments of the call; `--set` wins over the other flags.
///
/// # Errors
/// For a flag whose value cannot be understood, and what the tool has no argument for.
pub(super) fn of(
    options: &Options,
    operation: Word,
    place: &Place,
    schema: &Value,
) -> anyhow::Result<Map<String, Value>> {
    let mut arguments = Map::new();
    let mut put = |key: &str, value: Value| {
        let is_there = match &value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        if is_there {
            arguments.insert(key.to_owned(), value);
        }
    };
    put("data_source", place.data_source().into());
    put("operation", operation.name().into());
    put("columns", json!(options.columns));
    put("group_by", json!(options.group_by));
    put("aggregates", each(&options.aggregate, aggregate)?);
    put("order_by", json!(options.order_by));
    put("descending", options.descending.into());
    put("limit", json!(options.limit));
    put("pattern", json!(options.pattern));
    put("regex", options.regex.into());
    put("ignore_case", options.ignore_case.into());
    put("context", json!(options.context));
    put("max_matches", json!(options.max_matches));
    put("expected", each(&options.expect, expected)?);
    put("rows", json!(options.rows));
    put("seed", json!(options.seed));
    put("output", json!(place.output()));
    put("format", json!(options.format()?.map(super::options::Format::name)));
    put("overwrite", (options.overwrite && operation == Word::Convert).into());
    put("sql", json!(options.sql));
    put("parameters", options.parameter.iter().map(|text| json_or_text(text)).collect());
    put("options", reading(&options.option)?);
    merge(schema, arguments, &options.set).context("--set")
}

fn each(texts: &[String], parse: fn(&str) -> anyhow::Result<Value>) -> anyhow::Result<Value> {
    texts.iter().map(|text| parse(text)).collect()
}

/// `[NAME=]FUNCTION[:COLUMN]`, and for a percentile `:SHARE` behind it.
fn aggregate(text: &str) -> anyhow::Result<Value> {
    let (call, column) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    let (name, function) = call.split_once('=').map_or((None, call), |(a, b)| (Some(a), b));
    ensure!(
        !function.is_empty() && name != Some("") && column != Some(""),
        "--aggregate `{text}` is no [NAME=]FUNCTION[:COLUMN], such as count or total=sum:amount"
    );
    let mut value = json!({ "function": function });
    let mut column = column;
    if function == "approx_percentile" {
        let parts = column.and_then(|column| column.rsplit_once(':'));
        let Some((of, share)) = parts else {
            bail!("--aggregate `{text}` needs a share, such as approx_percentile:ms:0.95");
        };
        let share: f64 = share
            .parse()
            .with_context(|| format!("--aggregate `{text}`: `{share}` is no number"))?;
        value["percentile"] = share.into();
        column = Some(of);
    }
    if let Some(column) = column {
        value["column"] = column.into();
    }
    if let Some(name) = name {
        value["name"] = name.into();
    }
    Ok(value)
}

/// `NAME[:TYPE][!]`.
fn expected(text: &str) -> anyhow::Result<Value> {
    let (rest, nullable) = text.strip_suffix('!').map_or((text, true), |rest| (rest, false));
    let (name, kind) = rest.rsplit_once(':').map_or((rest, None), |(a, b)| (a, Some(b)));
    ensure!(!name.is_empty(), "--expect `{text}` names no column");
    let mut value = json!({ "name": name, "nullable": nullable });
    if let Some(kind) = kind {
        ensure!(
            TYPES.contains(&kind),
            "--expect `{text}`: `{kind}` is no type; there are {}; a column with `:` in its name has a type behind it",
            TYPES.join(", ")
        );
        value["type"] = kind.into();
    }
    Ok(value)
}

/// How the file is read: texts, but for `true` and `false`.
fn reading(pairs: &[String]) -> anyhow::Result<Value> {
    let mut options = json!({});
    for pair in pairs {
        let (key, text) = pair.split_once('=').with_context(|| {
            format!("--option `{pair}` is no KEY=VALUE, such as delimiter=';' or header=false")
        })?;
        let value = match text {
            "true" => true.into(),
            "false" => false.into(),
            // Shells have no plain way to write one.
            "\\t" => "\t".into(),
            text => Value::from(text),
        };
        match key.strip_prefix("types.") {
            Some(column) => options["types"][column] = value,
            None => options[key] = value,
        }
    }
    Ok(options)
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_written_shortly() {
        for (text, expected) in [
            ("count", json!({"function": "count"})),
            ("sum:a:b", json!({"function": "sum", "column": "a:b"})),
            ("total=sum:x=y", json!({"function": "sum", "column": "x=y", "name": "total"})),
            (
                "approx_percentile:a:b:0.9",
                json!({"function": "approx_percentile", "column": "a:b", "percentile": 0.9}),
            ),
        ] {
            assert_eq!(aggregate(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "=sum:a", "sum:", "approx_percentile:ms", "approx_percentile:ms:high"] {
            let error = format!("{:#}", aggregate(wrong).unwrap_err());
            assert!(error.contains("--aggregate"), "{wrong}: {error}");
        }
    }

    #[test]
    fn expected_columns_have_a_type_and_may_not_be_empty() {
        for (text, wanted) in [
            ("id", json!({"name": "id", "nullable": true})),
            ("id!", json!({"name": "id", "nullable": false})),
            ("a:b:date", json!({"name": "a:b", "nullable": true, "type": "date"})),
            ("n:integer!", json!({"name": "n", "nullable": false, "type": "integer"})),
        ] {
            assert_eq!(expected(text).unwrap(), wanted, "{text}");
        }
        assert!(expected("a:int").unwrap_err().to_string().contains("`int` is no type"));
        assert!(expected("!").unwrap_err().to_string().contains("names no column"));
    }

    #[test]
    fn reading_takes_words_and_types_by_column() {
        let pairs = ["header=false", "delimiter=\\t", "quote='", "types.a b=text", "types.*=date"];
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        let expected = json!({"header": false, "delimiter": "\t", "quote": "'", "types": {"a b": "text", "*": "date"}});
        assert_eq!(reading(&pairs).unwrap(), expected);
        assert!(reading(&["header".to_owned()]).unwrap_err().to_string().contains("no KEY=VALUE"));
    }
}
