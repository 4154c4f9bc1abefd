//! The id of a request that cannot be read as a whole: it is no JSON to a strict reader, or too long
//! to be kept. A client that gets an error without its id waits for ever.
//!
//! The text is looked at once, part by part, and no part is kept. Whether it is JSON below its top
//! is not asked; where its top ends is, and nothing may follow.
//!
//! Invariant: an id is told only of an object at the top with one `id` and a `method`, so never of
//! a nested object, a batch or a response; and what is kept does not grow with what is looked at.

use rmcp::model::RequestId;

use super::{ID_BYTES_MAX, parse_id};

/// The most bytes of a key that matters, each letter of it an escape: `method`, `result`.
const KEY_RAW_MAX: usize = 6 * 6;
/// The most bytes of an id, likewise, with its quotes.
const ID_RAW_MAX: usize = 6 * ID_BYTES_MAX + 2;

/// Where in the text the scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Start,
    /// In front of a key, or of the end of an object without one.
    Key,
    InKey,
    Colon,
    Value,
    /// In a string that is a value at the top.
    Text,
    /// In a number or word at the top.
    Word,
    Nested,
    NestedText,
    AfterValue,
    End,
    /// It is no object, or one that is not sound at its top.
    Lost,
}

/// What the keys at the top say that the message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Sort {
    #[default]
    Unknown,
    Request,
    Response,
}

/// A look at a text for the id of its request.
#[derive(Debug, Default)]
pub(crate) struct IdScan {
    at: At,
    /// What stands next is escaped by a backslash.
    escaped: bool,
    depth: u64,
    /// The key, or the value of `id`, so far; one byte more than it may have once it is too long.
    raw: Vec<u8>,
    /// The value is that of `id`.
    is_id: bool,
    id: Option<RequestId>,
    ids: usize,
    sort: Sort,
}

impl IdScan {
    /// The id of the request that a whole text is.
    pub(crate) fn of(text: &[u8]) -> Option<RequestId> {
        let mut scan = Self::default();
        scan.pass(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
        scan.id()
    }

    /// The id, once the whole text was passed.
    pub(crate) fn id(&self) -> Option<RequestId> {
        let is_request = self.at == At::End && self.sort == Sort::Request;
        self.id.clone().filter(|_| is_request && self.ids == 1)
    }

    /// Looks at the next part of the text.
    pub(crate) fn pass(&mut self, part: &[u8]) {
        let mut rest = part;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match self.at {
                At::Lost => return,
                At::InKey | At::Text | At::NestedText => {
                    if let Some(plain) = self.plain_text(*byte, rest) {
                        rest = &rest[plain..];
                    }
                }
                At::Nested => self.nested(*byte),
                At::Word => self.word(*byte),
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                _ => self.between(*byte),
            }
        }
    }

    /// A byte that stands between keys and values of the top.
    fn between(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Key, b'"') => {
                self.raw.clear();
                At::InKey
            }
            (At::Colon, b':') => At::Value,
            (At::Value, b'"') => {
                self.keep(byte, ID_RAW_MAX);
                At::Text
            }
            (At::Value, b'{' | b'[') => {
                self.depth = 1;
                At::Nested
            }
            (At::Value, b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.keep(byte, ID_RAW_MAX);
                At::Word
            }
            (At::Start, b'{') | (At::AfterValue, b',') => At::Key,
            (At::AfterValue | At::Key, b'}') => At::End,
            _ => At::Lost,
        };
    }

    /// A byte of a string. Tells how many of those behind it are plain and matter to nobody.
    fn plain_text(&mut self, byte: u8, rest: &[u8]) -> Option<usize> {
        if self.at == At::InKey {
            if byte == b'"' && !self.escaped {
                self.end_key();
                return None;
            }
            self.keep(byte, KEY_RAW_MAX);
        } else if self.at == At::Text {
            self.keep(byte, ID_RAW_MAX);
        }
        if std::mem::take(&mut self.escaped) {
            return None;
        }
        match byte {
            b'"' if self.at == At::NestedText => self.at = At::Nested,
            b'"' => self.end_value(),
            b'\\' => self.escaped = true,
            _ if self.at == At::NestedText || (self.at == At::Text && !self.is_id) => {
                return Some(memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()));
            }
            _ => {}
        }
        None
    }

    fn nested(&mut self, byte: u8) {
        match byte {
            b'"' => self.at = At::NestedText,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.end_value();
                }
            }
            _ => {}
        }
    }

    fn word(&mut self, byte: u8) {
        match byte {
            b',' | b'}' => {
                self.end_value();
                self.between(byte);
            }
            b' ' | b'\t' | b'\n' | b'\r' => self.end_value(),
            _ => self.keep(byte, ID_RAW_MAX),
        }
    }

    fn keep(&mut self, byte: u8, bytes_max: usize) {
        if (self.is_id || self.at == At::InKey) && self.raw.len() <= bytes_max {
            self.raw.push(byte);
        }
    }

    fn end_key(&mut self) {
        let raw = std::str::from_utf8(&self.raw).unwrap_or_default();
        // An escape that is no sound one stands in no key that matters.
        let key: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap_or_default();
        self.is_id = key == "id";
        self.ids += usize::from(self.is_id);
        self.sort = match (&*key, self.sort) {
            ("method", Sort::Unknown) => Sort::Request,
            ("result" | "error", _) => Sort::Response,
            (_, sort) => sort,
        };
        self.raw.clear();
        self.at = At::Colon;
    }

    fn end_value(&mut self) {
        if std::mem::take(&mut self.is_id) {
            let raw = std::str::from_utf8(&self.raw).unwrap_or_default();
            self.id = parse_id(raw).ok();
            self.raw.clear();
        }
        self.at = At::AfterValue;
    }
}
