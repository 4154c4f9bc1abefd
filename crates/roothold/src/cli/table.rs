//! Text for people at a terminal: cells that cannot move its cursor, and tables of them.
//!
//! It knows about how wide characters are, not exactly: a column may stand out by a character.

pub(super) use crate::plain::{bytes, counted, line, thousands};

/// The most characters of one cell.
const CELL_MAX: usize = 60;

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under a head, each column as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    pub(super) fn new<S: AsRef<str>>(head: impl IntoIterator<Item = (S, Align)>) -> Self {
        let (head, columns): (Vec<S>, Vec<Align>) = head.into_iter().unzip();
        let mut table = Self { columns, rows: Vec::new() };
        table.push(head);
        table
    }

    /// Adds a row. What it has less than the head is empty.
    pub(super) fn push<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let mut row: Vec<String> = cells.into_iter().map(|text| cell(text.as_ref())).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The lines, without a line end behind the last.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.rows.iter().map(|row| width(&row[at])).max().unwrap_or(0))
            .collect();
        let lines = self.rows.iter().map(|row| {
            let mut line = String::new();
            for ((text, wide), align) in row.iter().zip(&widths).zip(&self.columns) {
                let gap = " ".repeat(wide - width(text));
                match align {
                    Align::Left => line.extend([text, gap.as_str(), "  "]),
                    Align::Right => line.extend([gap.as_str(), text, "  "]),
                }
            }
            line.truncate(line.trim_end().len());
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// One line of at most [`CELL_MAX`] characters.
pub(super) fn cell(text: &str) -> String {
    let mut shown = line(text);
    if let Some((end, _)) = shown.char_indices().nth(CELL_MAX) {
        // Room for the mark itself.
        let end = shown[..end].char_indices().next_back().map_or(0, |(at, _)| at);
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

fn width_of(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff01}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table =
            Table::new([("name", Align::Left), ("n", Align::Right), ("note", Align::Left)]);
        table.push(["a", "1,000", ""]);
        table.push(["日本", "2", "x"]);
        table.push(["short"]);
        assert_eq!(table.text(), "name       n  note\na      1,000\n日本       2  x\nshort");
    }

    #[test]
    fn a_cell_is_one_short_line_that_moves_no_cursor() {
        assert_eq!(cell("a\nb\t\u{1b}[2J\u{202e}c"), "a\\nb\\t\\u{1b}[2J\\u{202e}c");
        let long = cell(&"é".repeat(500));
        assert_eq!((long.chars().count(), long.ends_with('…')), (CELL_MAX, true));
        assert_eq!(cell(&"x".repeat(CELL_MAX)), "x".repeat(CELL_MAX));
        assert_eq!(cell(""), "");
    }
}
