//! Plain lines of JSON: objects whose members stand in the order of the table.

use datafusion::arrow::datatypes::Schema;

use super::Rows;

pub(super) struct Json {
    /// The names of the table's columns, in quotes.
    names: Vec<Vec<u8>>,
}

/// One line, and how far it was read.
struct Line<'a> {
    text: &'a str,
    at: usize,
}

/// What a member is.
enum Value<'a> {
    Text(&'a str),
    Number(&'a str),
    Boolean(bool),
    Null,
}

impl Json {
    pub(super) fn new(schema: &Schema) -> Self {
        let quoted = |name: &String| [b"\"", name.as_bytes(), b"\""].concat();
        Self { names: schema.fields().iter().map(|field| quoted(field.name())).collect() }
    }

    /// Takes lines up to the first that is not plain.
    pub(super) fn feed(&self, text: &str, rows: &mut Rows, rows_max: usize) -> usize {
        let mut taken = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
            let line = &text[taken..end];
            // A blank line is no record.
            if !line.is_empty() {
                if rows.count >= rows_max {
                    break;
                }
                let is_whole = self.push(line, rows).is_some();
                if !rows.end(is_whole) {
                    break;
                }
            }
            taken = end + 1;
        }
        taken
    }

    /// Puts down the members of one object; `None` if it is not plain.
    fn push(&self, line: &str, rows: &mut Rows) -> Option<()> {
        let mut line = Line { text: line, at: 0 };
        let mut next = 0;
        line.take(b'{')?;
        loop {
            let column = next + self.names.get(next..)?.iter().position(|name| line.skip(name))?;
            // What the object leaves out is null.
            (next..column).filter_map(|at| rows.places[at]).for_each(|place| {
                rows.columns[place].push_null();
            });
            next = column + 1;
            line.take(b':')?;
            let value = line.value()?;
            if let Some(column) = rows.place(column) {
                let is_value = match value {
                    Value::Text(text) => column.push_text(text),
                    Value::Number(number) => column.push_number(number),
                    Value::Boolean(value) => column.push_boolean(value),
                    Value::Null => {
                        column.push_null();
                        true
                    }
                };
                is_value.then_some(())?;
            }
            if line.take(b',').is_none() {
                break;
            }
        }
        line.take(b'}')?;
        (next..self.names.len()).filter_map(|at| rows.places[at]).for_each(|place| {
            rows.columns[place].push_null();
        });
        let rest = &line.text[line.at..];
        (rest.is_empty() || rest == "\r").then_some(())
    }
}

impl<'a> Line<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn skip_spaces(&mut self) {
        while self.rest().first() == Some(&b' ') {
            self.at += 1;
        }
    }

    /// Goes over one byte and the spaces around it.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip_spaces();
        if self.rest().first() != Some(&byte) {
            return None;
        }
        self.at += 1;
        self.skip_spaces();
        Some(())
    }

    /// Goes over these bytes, if they are next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.rest().starts_with(bytes);
        if is_next {
            self.at += bytes.len();
        }
        is_next
    }

    /// A value that holds no other, and no escape.
    fn value(&mut self) -> Option<Value<'a>> {
        match *self.rest().first()? {
            b'"' => {
                let start = self.at + 1;
                let text = &self.text[start..];
                let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
                if text.as_bytes()[end] != b'"' {
                    return None;
                }
                self.at = start + end + 1;
                Some(Value::Text(&text[..end]))
            }
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = self.rest().iter().take_while(|byte| is_part(byte)).count();
                let number = &self.text[self.at..self.at + length];
                self.at += length;
                Some(Value::Number(number))
            }
            _ if self.skip(b"true") => Some(Value::Boolean(true)),
            _ if self.skip(b"false") => Some(Value::Boolean(false)),
            _ if self.skip(b"null") => Some(Value::Null),
            _ => None,
        }
    }
}
