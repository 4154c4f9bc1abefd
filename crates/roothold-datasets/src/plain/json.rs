//! Plain lines of JSON: objects whose members stand in the order of the table.

use datafusion::arrow::datatypes::Schema;

use super::Rows;
use crate::strict::is_number;

pub(super) struct Json {
    keys: Vec<Key>,
}

/// The name of a column, as it stands before a value.
struct Key {
    /// In quotes.
    name: Vec<u8>,
    /// The same with a colon, if it is short: to be compared as one number, of which the mask
    /// leaves as many bytes as it has.
    short: Option<(u128, u128)>,
    /// How many bytes that is.
    length: usize,
}

impl Key {
    fn new(name: &str) -> Self {
        let name = [b"\"", name.as_bytes(), b"\""].concat();
        let length = name.len() + 1;
        let short = (length <= SHORT).then(|| {
            let mut key = [0; SHORT];
            key[..name.len()].copy_from_slice(&name);
            key[name.len()] = b':';
            (u128::from_le_bytes(key), u128::MAX >> (8 * (SHORT - length)))
        });
        Self { name, short, length }
    }
}

/// So many bytes are compared at once.
const SHORT: usize = 16;
/// A search for the end of a text that is longer is worth its start.
const NEAR: usize = 32;

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
    /// None for a schema with a name that does not stand in a text as it is.
    pub(super) fn new(schema: &Schema) -> Option<Self> {
        let is_escaped = |name: &str| name.contains(['"', '\\']) || name.contains(char::is_control);
        if schema.fields().iter().any(|field| is_escaped(field.name())) {
            return None;
        }
        Some(Self { keys: schema.fields().iter().map(|field| Key::new(field.name())).collect() })
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

    /// The column of the member that is next, at `first` or behind it.
    fn find(&self, line: &mut Line<'_>, first: usize, rows: &mut Rows) -> Option<usize> {
        let skipped = self.keys[first..].iter().position(|key| line.skip(&key.name))?;
        line.take(b':')?;
        // What the object leaves out is null.
        rows.skip(first..first + skipped);
        Some(first + skipped)
    }

    /// Puts down the members of one object; `None` if it is not plain.
    fn push(&self, line: &str, rows: &mut Rows) -> Option<()> {
        let mut line = Line { text: line, at: 0 };
        let mut next = 0;
        line.take(b'{')?;
        loop {
            let column = if line.skip_key(self.keys.get(next)?) {
                line.skip_spaces();
                next
            } else {
                self.find(&mut line, next, rows)?
            };
            next = column + 1;
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
        rows.skip(next..self.keys.len());
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

    /// Goes over a name and the colon right behind it, if they are next.
    #[inline]
    fn skip_key(&mut self, key: &Key) -> bool {
        let (Some((bytes, mask)), Some(next)) = (key.short, self.rest().first_chunk()) else {
            return false;
        };
        let is_next = (u128::from_le_bytes(*next) ^ bytes) & mask == 0;
        if is_next {
            self.at += key.length;
        }
        is_next
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
                let end = start + end_of_text(&self.text.as_bytes()[start..])?;
                self.at = end + 1;
                Some(Value::Text(&self.text[start..end]))
            }
            b'-' | b'0'..=b'9' => {
                let number = self.number()?;
                self.at += number.len();
                Some(Value::Number(number))
            }
            _ if self.skip(b"true") => Some(Value::Boolean(true)),
            _ if self.skip(b"false") => Some(Value::Boolean(false)),
            _ if self.skip(b"null") => Some(Value::Null),
            _ => None,
        }
    }
}

impl<'a> Line<'a> {
    /// The number that begins here, if it is one.
    #[inline]
    fn number(&self) -> Option<&'a str> {
        let rest = self.rest();
        let sign = usize::from(rest[0] == b'-');
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = sign + digits;
        let more = rest[length..].iter().take_while(|byte| is_part(byte)).count();
        let number = &self.text[self.at..self.at + length + more];
        let is_plain = more == 0 && digits > 0 && (digits == 1 || rest[sign] != b'0');
        (is_plain || is_number(number)).then_some(number)
    }
}

/// Where the quote stands that ends a text without escapes.
#[inline]
fn end_of_text(text: &[u8]) -> Option<usize> {
    let (eights, _) = text[..text.len().min(NEAR)].as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let ends = zeros(eight ^ EIGHT_QUOTES) | zeros(eight ^ EIGHT_ESCAPES);
        if ends != 0 {
            let end = at * 8 + ends.trailing_zeros() as usize / 8;
            return (text[end] == b'"').then_some(end);
        }
    }
    let searched = eights.len() * 8;
    let end = searched + memchr::memchr2(b'"', b'\\', &text[searched..])?;
    (text[end] == b'"').then_some(end)
}

const EIGHT_QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const EIGHT_ESCAPES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// Marks the bytes that are zero; the lowest mark is right, and those above it may not be.
fn zeros(eight: u64) -> u64 {
    eight.wrapping_sub(0x0101_0101_0101_0101) & !eight & 0x8080_8080_8080_8080
}
