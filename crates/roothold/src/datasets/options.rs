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

/// Every tool that reads datasets carries it, and each word costs every agent: `describe_dataset` says
/// in one line what it may hold, and what is wrong with it an error says.
impl JsonSchema for Options {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Options".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object"})
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

    use super::super::Known;
    use super::*;

    #[test]
    fn every_word_of_the_description_is_one_that_is_read() {
        let catalog = {
            let mut catalog = crate::catalog::Catalog::default();
            crate::tools::add_datasets(&mut catalog, &Known::default());
            catalog
        };
        let model = &catalog.get("describe_dataset").unwrap().model;
        let schema = json!(model.input_schema);
        let about = schema["properties"]["options"]["description"].as_str().unwrap();
        let read = |options: Value| serde_json::from_value::<Options>(options);
        let words = |after: &str| {
            let rest = about.split_once(after).unwrap().1;
            let end = rest.find([',', '}']).unwrap();
            rest[..end].split('|').map(str::to_owned).collect::<Vec<_>>()
        };
        for word in words("format ") {
            read(json!({"format": word})).unwrap();
        }
        for word in words("encoding ") {
            read(json!({"encoding": word})).unwrap();
        }
        let types = words("{column: ");
        assert_eq!(types.len(), 7);
        for word in types {
            read(json!({"types": {"*": word}})).unwrap();
        }
        let all = json!({"format": "csv", "delimiter": ";", "quote": "'", "header": true,
            "short_records": true, "encoding": "utf-8", "types": {"a": "date"}});
        for key in all.as_object().unwrap().keys() {
            assert!(about.contains(key.as_str()), "{key}");
        }
        read(all).unwrap();
        for wrong in [json!({"format": "xml"}), json!({"delimiter": ";;"}), json!({"sep": ";"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
