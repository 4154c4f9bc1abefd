//! With which options a record can be read that cannot be read as the others are.

use std::collections::BTreeMap;

use datafusion::arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::infer::Kind;
use crate::options::{ColumnType, TextEncoding};

/// What one bad record wants. It names a column and a type, and holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Remedy {
    /// Another type of this column.
    Type(String, ColumnType),
    /// Records may have fewer fields than the first.
    ShortRecords,
    /// The bytes are no UTF-8: Windows-1252 reads whatever there is.
    Encoding,
}

impl Remedy {
    /// The narrowest type that holds what the column holds, and a value that it cannot hold; none where
    /// there is no such type, as for an object among numbers.
    pub(crate) fn wider(column: &str, is: &DataType, value: Kind) -> Option<Self> {
        let is = ColumnType::of(is)?;
        let Kind::Plain(both) = Kind::Plain(is).merge(value) else { return None };
        // What looks like a value of the column and still is none.
        let both = if both == is { ColumnType::Text } else { both };
        (both != is).then(|| Self::Type(column.to_owned(), both))
    }
}

/// The option `options` that reads all of them: an object, unless nothing helps.
pub(crate) fn options<'a>(remedies: impl IntoIterator<Item = &'a Remedy>) -> Option<Value> {
    let (mut options, mut types) = (json!({}), BTreeMap::new());
    for remedy in remedies {
        match remedy {
            Remedy::ShortRecords => options["short_records"] = true.into(),
            Remedy::Encoding => options["encoding"] = TextEncoding::Windows1252.name().into(),
            Remedy::Type(column, kind) => {
                let known = types.entry(column.as_str()).or_insert(*kind);
                if let Kind::Plain(both) = Kind::Plain(*known).merge(Kind::Plain(*kind)) {
                    *known = both;
                }
            }
        }
    }
    for (column, kind) in types {
        options["types"][column] = kind.name().into();
    }
    options.as_object().is_some_and(|options| !options.is_empty()).then_some(options)
}

/// The same in words that can follow what is wrong, with what comes before them.
pub(crate) fn advice(remedy: Option<&Remedy>) -> String {
    options(remedy).map_or_else(String::new, |options| format!("; read it with options {options}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::cell;

    #[test]
    fn the_narrowest_type_that_fits_is_advised() {
        use ColumnType::{Boolean, Date, Decimal, Integer, Number, Text, Timestamp};
        for (is, value, wanted) in [
            (Integer, "2.5", Some(Number)),
            (Integer, "n/a", Some(Text)),
            (Integer, "9223372036854775808", Some(Text)),
            (Number, "1,5", Some(Text)),
            (Date, "2026-02-28 10:00:00", Some(Timestamp)),
            (Date, "28.2.2026", Some(Text)),
            (Timestamp, "soon", Some(Text)),
            (Boolean, "1", Some(Text)),
            (Decimal, "1e5", Some(Text)),
            (Text, "x", None),
            // It looks like one, and the decoder says that it is none.
            (Integer, "5", Some(Text)),
        ] {
            let found = Remedy::wider("a", &is.arrow(), cell(value));
            assert_eq!(found, wanted.map(|kind| Remedy::Type("a".to_owned(), kind)), "{value}");
        }
        let list = Kind::List(Box::new(Kind::Plain(Integer)));
        assert_eq!(Remedy::wider("a", &Integer.arrow(), list.clone()), None);
        assert_eq!(Remedy::wider("a", &list.arrow().unwrap(), cell("1")), None);
    }

    #[test]
    fn what_several_records_want_is_one_object() {
        let of = |column: &str, kind| Remedy::Type(column.to_owned(), kind);
        let all = [
            of("a", ColumnType::Number),
            of("b \"c\"", ColumnType::Timestamp),
            of("a", ColumnType::Text),
            Remedy::ShortRecords,
            Remedy::Encoding,
        ];
        assert_eq!(
            options(&all),
            Some(json!({"short_records": true, "encoding": "windows-1252",
                "types": {"a": "text", "b \"c\"": "timestamp"}}))
        );
        assert_eq!(options([]), None);
        // It is what `options` takes.
        let read = serde_json::from_value::<crate::SourceOptions>(options(&all).unwrap()).unwrap();
        assert!(read.short_records && read.types["a"] == ColumnType::Text);
        assert_eq!(advice(all.first()), r#"; read it with options {"types":{"a":"number"}}"#);
        assert_eq!(advice(None), "");
    }
}
