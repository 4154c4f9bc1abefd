//! Rows in both forms: as JSON, and as lines of a text that say the same in fewer bytes.

use roothold_core::Fault;
use roothold_datasets::Column as Found;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What is said of every answer that holds cells of files.
pub(super) const UNTRUSTED: bool = true;

// A column; said once in its name, not in every schema.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct Column {
    name: String,
    r#type: String,
}

impl From<Found> for Column {
    fn from(found: Found) -> Self {
        Self { name: found.name, r#type: found.kind }
    }
}

impl Column {
    /// In a line of text.
    pub(super) fn line(&self) -> String {
        format!("{} {}", cell_text(&self.name), self.r#type)
    }
}

/// The names of columns, as the first line of a table.
pub(super) fn heading(columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| cell_text(&column.name)).collect();
    names.join("\t")
}

/// A row, as a line. It is never longer than the row as JSON.
pub(super) fn line(row: &[Value]) -> String {
    let cells: Vec<String> = row.iter().map(cell).collect();
    cells.join("\t")
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => cell_text(text),
        other => other.to_string(),
    }
}

/// A text as it is, unless that would read as something else: then as JSON.
fn cell_text(text: &str) -> String {
    let begins = text.starts_with(|first: char| {
        first.is_ascii_digit() || matches!(first, '"' | '-' | '[' | '{' | ' ')
    });
    let is_word = matches!(text, "" | "null" | "true" | "false");
    if begins || is_word || text.contains(char::is_control) {
        return Value::from(text).to_string();
    }
    text.to_owned()
}

/// The bytes of a value as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> Result<usize, Fault> {
    /// Counts what is written.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_err(Fault::internal)?;
    Ok(count.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_can_be_told_apart_and_is_no_longer_than_its_json() {
        let row = json!([
            "plain", "", "null", "12", 12, null, true, "true", "a\tb", "a\nb", "\"q\"", "-", "[1]",
            [1, "a"], {"k": null}, "déjà vu", " x", 1.5, "\u{1b}[31m"
        ]);
        let row = row.as_array().unwrap();
        let text = line(row);
        assert_eq!(text.lines().count(), 1);
        let cells: Vec<&str> = text.split('\t').collect();
        assert_eq!(cells.len(), row.len(), "{text}");
        for (cell, value) in cells.iter().zip(row) {
            let read = serde_json::from_str(cell).unwrap_or_else(|_| json!(cell));
            assert_eq!(read, *value, "{cell}");
        }
        assert!(text.len() <= json!(row).to_string().len());
        assert_eq!(json_bytes(&row).unwrap(), json!(row).to_string().len());
    }
}
