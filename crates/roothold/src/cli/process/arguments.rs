//! From flags to the arguments of the tool.

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Map, Value, json};

use super::super::call::arguments::merge;
use super::options::{Options, Word};
use super::place::Place;
use crate::aggregates;

/// The types that a column can be expected to have.
const TYPES: [&str; 7] = ["text", "integer", "number", "decimal", "boolean", "date", "timestamp"];

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

fn aggregate(text: &str) -> anyhow::Result<Value> {
    aggregates::long(text).map_err(|what| anyhow!("--aggregate `{text}` {what}"))
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
    fn a_function_that_is_none_is_told_with_its_flag() {
        assert_eq!(aggregate("count").unwrap(), json!({"function": "count"}));
        for wrong in ["", "sum:", "approx_percentile:ms", "approx_percentile:ms:high"] {
            let error = aggregate(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--aggregate `{wrong}` ")), "{error}");
        }
    }

    #[test]
    fn expected_columns_have_a_type_and_may_not_be_empty() {
        for (text, wanted) in [
            ("id", json!({"name": "id", "nullable": true})),
            ("id!", json!({"name": "id", "nullable": false})),
            ("p:decimal", json!({"name": "p", "nullable": true, "type": "decimal"})),
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
