//! How a source is to be read, as the configuration and the argument `options` say it.

use std::borrow::Cow;

use roothold_core::Fault;
use roothold_datasets::{Format, SourceOptions};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::config::DatasetSection;

/// The argument `options`: the same in every tool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Options(pub(crate) SourceOptions);

/// By hand: every tool that reads datasets carries it, so each word counts.
impl JsonSchema for Options {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "format": {"enum": ["csv", "tsv", "jsonl", "parquet", "text"]},
                "delimiter": {"type": "string"},
                "quote": {"type": "string"},
                "header": {"type": "boolean"},
                "short_records": {"type": "boolean"},
                "encoding": {"enum": ["utf-8", "utf-16le", "utf-16be", "windows-1252"]},
                "types": {
                    "type": "object",
                    "additionalProperties": {
                        "enum": ["text", "integer", "number", "decimal", "boolean", "date", "timestamp"],
                    },
                },
            },
        })
    }
}

/// The options of a configured dataset: the words of both are the same.
pub(super) fn of_section(section: &DatasetSection) -> Result<SourceOptions, Fault> {
    let words = serde_json::json!({
        "format": section.format,
        "delimiter": section.delimiter,
        "quote": section.quote,
        "header": section.header,
        "short_records": section.short_records,
        "encoding": section.encoding,
        "types": section.types,
    });
    let options: SourceOptions = serde_json::from_value(words).map_err(Fault::internal)?;
    for (what, value) in [("delimiter", options.delimiter), ("quote", options.quote)] {
        if value.is_some_and(|value| !value.is_ascii() || matches!(value, '\n' | '\r' | '\0')) {
            return Err(Fault::invalid(format!(
                "{what} must be one ASCII character and no line end"
            )));
        }
    }
    if options.delimiter.is_some() && options.delimiter == options.quote {
        return Err(Fault::invalid("delimiter and quote must be two different characters"));
    }
    Ok(options)
}

/// Columns are hidden by name, so there must be names.
pub(super) fn check_hidden(section: &DatasetSection, options: &SourceOptions) -> Result<(), Fault> {
    let avoids = options.format == Some(Format::Text) || options.header == Some(false);
    if section.hidden_columns.is_empty() || !avoids {
        return Ok(());
    }
    Err(Fault::invalid("has hidden_columns, so it cannot be read as text or without its header"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_word_of_the_schema_is_one_that_is_read() {
        let schema = Options::json_schema(&mut SchemaGenerator::default()).to_value();
        let properties = schema["properties"].as_object().unwrap();
        let read = |options: Value| serde_json::from_value::<Options>(options);
        for (key, property) in properties {
            let words = property["enum"].as_array().cloned().unwrap_or_default();
            for word in words {
                read(json!({key.as_str(): word})).unwrap();
            }
        }
        for word in properties["types"]["additionalProperties"]["enum"].as_array().unwrap() {
            read(json!({"types": {"*": word}})).unwrap();
        }
        let all = json!({"format": "csv", "delimiter": ";", "quote": "'", "header": true,
            "short_records": true, "encoding": "utf-8", "types": {"a": "date"}});
        assert_eq!(all.as_object().unwrap().len(), properties.len());
        read(all).unwrap();
        for wrong in [json!({"format": "xml"}), json!({"delimiter": ";;"}), json!({"sep": ";"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
