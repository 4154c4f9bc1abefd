//! The short form of a function over groups of rows, which people and agents write alike.

use serde_json::{Value, json};

/// What the short form is.
pub(crate) const FORM: &str = "[NAME=]FUNCTION[:COLUMN], such as count or total=sum:amount";

/// The long form of a short one; `approx_percentile` has a share behind its column.
///
/// # Errors
/// What it is instead, in words that go behind it.
pub(crate) fn long(text: &str) -> Result<Value, String> {
    let (call, column) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    let (name, function) = call.split_once('=').map_or((None, call), |(a, b)| (Some(a), b));
    if function.is_empty() || name == Some("") || column == Some("") {
        return Err(format!("is no {FORM}"));
    }
    let mut value = json!({ "function": function });
    let mut column = column;
    if function == "approx_percentile" {
        let parts = column.and_then(|column| column.rsplit_once(':'));
        let Some((of, share)) = parts else {
            return Err("needs a share, such as approx_percentile:ms:0.95".to_owned());
        };
        let number: f64 =
            share.parse().map_err(|_| format!("has `{share}`, which is no number"))?;
        value["percentile"] = number.into();
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
            assert_eq!(long(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "=sum:a", "sum:", "approx_percentile:ms", "approx_percentile:ms:high"] {
            assert!(long(wrong).is_err(), "{wrong}");
        }
    }
}
