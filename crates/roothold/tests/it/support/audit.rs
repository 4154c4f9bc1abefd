//! What stands in an audit directory.

use std::path::Path;

use serde_json::Value;

/// One line.
pub(crate) type Line = Value;

/// Every line of every file.
pub(crate) struct Audit {
    pub(crate) lines: Vec<Line>,
    pub(crate) raw: Vec<u8>,
}

impl Audit {
    pub(crate) fn read(dir: &Path) -> Self {
        let mut raw = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "jsonl") {
                raw.extend(std::fs::read(path).unwrap());
            }
        }
        let text = String::from_utf8(raw.clone()).unwrap();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { lines, raw }
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line["kind"] == *kind)
    }

    /// How many calls were decided, and how many of them ended.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.of_kind("intent").count(), self.of_kind("outcome").count())
    }
}
