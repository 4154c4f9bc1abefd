//! Plain lines of fields between delimiters.

use super::Rows;
use super::blocks::Places;

pub(super) struct Delimited {
    delimiter: u8,
    quote: u8,
    /// Where each field of the line ends; as many as the file has columns.
    ends: Vec<usize>,
}

impl Delimited {
    pub(super) fn new(delimiter: u8, quote: u8, width: usize) -> Self {
        Self { delimiter, quote, ends: vec![0; width] }
    }

    pub(super) fn quote(&self) -> u8 {
        self.quote
    }

    /// Takes lines of a text that holds neither quotes nor returns, up to the first that is not
    /// plain.
    pub(super) fn feed(&mut self, text: &str, rows: &mut Rows, rows_max: usize) -> usize {
        let bytes = text.as_bytes();
        let (mut taken, mut field) = (0, 0);
        for at in Places::new(bytes, self.delimiter, b'\n') {
            if let Some(end) = self.ends.get_mut(field) {
                *end = at;
            }
            field += 1;
            if bytes[at] != b'\n' {
                continue;
            }
            // A blank line is no record.
            if at > taken {
                if rows.count >= rows_max || field != self.ends.len() {
                    break;
                }
                let is_whole = self.push(text, taken, rows);
                if !rows.end(is_whole) {
                    break;
                }
            }
            taken = at + 1;
            field = 0;
        }
        taken
    }

    fn push(&self, text: &str, line: usize, rows: &mut Rows) -> bool {
        let mut start = line;
        for (field, end) in self.ends.iter().enumerate() {
            if let Some(column) = rows.place(field)
                && !column.push_cell(&text[start..*end])
            {
                return false;
            }
            start = end + 1;
        }
        true
    }
}
