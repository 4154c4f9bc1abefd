//! Strict JSON-RPC: from the bytes of a body to one envelope, or to the exact error.
//!
//! It looks at the envelope only: `params` stays raw text for the typed parse that follows.
//! Invariant: no body passes that two parsers could read differently: not UTF-8, a lone surrogate,
//! a doubled key, or a key that only differs by case from one of the protocol's.

use std::fmt;

use rmcp::model::{ErrorCode, RequestId};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

// The fuzz package takes this file in by its path.
#[path = "rpc/id_scan.rs"]
mod id_scan;

pub(crate) use id_scan::IdScan;

/// Longest string id, in bytes.
pub(crate) const ID_BYTES_MAX: usize = 256;
/// Largest absolute numeric id: beyond it, clients that hold numbers as doubles mix ids up.
const ID_NUMBER_MAX: u64 = (1 << 53) - 1;
/// Most of `{`, `[` and `,` outside strings in one message: each may become a value that takes a
/// hundred times the byte it was sent as.
const VALUES_MAX: usize = 100_000;

/// The envelope of one message.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) params: Option<&'a RawValue>,
}

/// What a message is.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    Request { id: RequestId, method: std::borrow::Cow<'a, str> },
    Notification { method: std::borrow::Cow<'a, str> },
    Response,
}

/// A message that is refused before any handler sees it.
#[derive(Debug, PartialEq)]
pub(crate) struct Malformed {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'static str,
    pub(crate) id: Option<RequestId>,
}

impl Malformed {
    const fn parse(message: &'static str) -> Self {
        Self { code: ErrorCode::PARSE_ERROR, message, id: None }
    }

    const fn request(message: &'static str, id: Option<RequestId>) -> Self {
        Self { code: ErrorCode::INVALID_REQUEST, message, id }
    }
}

/// Reads the envelope of one message. Where it is not JSON, the error has the id all the same if
/// there is no doubt about it: a client may have made the message with a more lenient library.
pub(crate) fn parse(body: &[u8]) -> Result<Envelope<'_>, Malformed> {
    read(body).map_err(|bad| match bad.code {
        ErrorCode::PARSE_ERROR => Malformed { id: IdScan::of(body), ..bad },
        _ => bad,
    })
}

fn read(body: &[u8]) -> Result<Envelope<'_>, Malformed> {
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(Malformed::parse("the body begins with a byte order mark; send plain UTF-8"));
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed::parse("the body is not UTF-8"))?;
    if has_lone_surrogate(body) {
        return Err(Malformed::parse(
            "the message holds one half of a surrogate pair, such as `\\ud83d` alone, which is no character; send whole characters, or U+FFFD in its place",
        ));
    }
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => {
            return Err(whole_json_or(
                text,
                "batches are not served; send one message per request",
            ));
        }
        _ => return Err(whole_json_or(text, "the message is not an object")),
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = Fields::default();
    let mut fields = deserializer
        .deserialize_map(FieldsVisitor(fields))
        .and_then(|fields| deserializer.end().map(|()| fields))
        .map_err(|_| Malformed::parse("the body is not JSON"))?;
    if has_too_many_values(body) {
        fields.problem = Some("too many values; send at most 100,000 in one message");
    }
    fields.into_envelope()
}

fn whole_json_or(text: &str, message: &'static str) -> Malformed {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Malformed::request(message, None),
        Err(_) => Malformed::parse("the body is not JSON"),
    }
}

#[derive(Default)]
struct Fields<'a> {
    version: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: bool,
    error: bool,
    problem: Option<&'static str>,
}

impl<'a> Fields<'a> {
    fn into_envelope(self) -> Result<Envelope<'a>, Malformed> {
        let id = self.id.map(|raw| parse_id(raw.get()));
        // An error by the id of a response would be taken for the answer to a request of that id.
        let is_response = self.method.is_none() && (self.result || self.error);
        let readable =
            id.as_ref().and_then(|id| id.as_ref().ok()).filter(|_| !is_response).cloned();
        if let Some(problem) = self.problem {
            return Err(Malformed::request(problem, readable));
        }
        if self.version.is_none_or(|version| version.get() != "\"2.0\"") {
            return Err(Malformed::request("`jsonrpc` must be \"2.0\"", readable));
        }
        let id = match id {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(message)) => return Err(Malformed::request(message, None)),
        };
        let kind = match (self.method, id) {
            (None, _) if self.result != self.error => Kind::Response,
            (Some(method), id) if !self.result && !self.error => {
                let method: std::borrow::Cow<'a, str> = match method.get().as_bytes() {
                    [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                        std::borrow::Cow::Borrowed(&method.get()[1..=inner.len()])
                    }
                    _ => serde_json::from_str::<String>(method.get())
                        .map(std::borrow::Cow::Owned)
                        .map_err(|_| Malformed::request("`method` must be a string", id.clone()))?,
                };
                match id {
                    Some(id) => Kind::Request { id, method },
                    None => Kind::Notification { method },
                }
            }
            (_, id) => {
                return Err(Malformed::request(
                    "the message is neither a request, a notification nor a response",
                    id,
                ));
            }
        };
        if let Some(params) = self.params
            && !params.get().starts_with('{')
            && matches!(kind, Kind::Request { .. } | Kind::Notification { .. })
        {
            return Err(Malformed::request("`params` must be an object", readable));
        }
        Ok(Envelope { kind, params: self.params })
    }
}

fn parse_id(text: &str) -> Result<RequestId, &'static str> {
    if text.starts_with('"') {
        let id: String = serde_json::from_str(text).map_err(|_| "`id` is not a sound string")?;
        if id.len() > ID_BYTES_MAX {
            return Err("`id` is longer than 256 bytes");
        }
        return Ok(RequestId::String(id.into()));
    }
    match text.parse::<i64>() {
        // "-0" parses as an integer here, and is a float to every JSON reader
        Ok(_) if text == "-0" => Err("`id` must be a string or an integer"),
        Ok(id) if id.unsigned_abs() <= ID_NUMBER_MAX => Ok(RequestId::Number(id)),
        Ok(_) => Err("`id` lies beyond 2^53 - 1; send a string"),
        Err(_) if text == "null" => Err("`id` must not be null"),
        Err(_) => Err("`id` must be a string or an integer of at most 2^53 - 1"),
    }
}

struct FieldsVisitor<'a>(Fields<'a>);

impl<'a> Visitor<'a> for FieldsVisitor<'a> {
    type Value = Fields<'a>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = self.0;
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let slot = match key {
                Key::Version => &mut fields.version,
                Key::Id => &mut fields.id,
                Key::Method => &mut fields.method,
                Key::Params => &mut fields.params,
                Key::Result | Key::Error => {
                    let slot = if matches!(key, Key::Result) {
                        &mut fields.result
                    } else {
                        &mut fields.error
                    };
                    if std::mem::replace(slot, true) {
                        fields.problem = Some("a key of the message is there twice");
                    }
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Key::Lookalike => {
                    fields.problem = Some("a key differs only by case from one of the protocol's");
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if slot.replace(map.next_value::<&'a RawValue>()?).is_some() {
                fields.problem = Some("a key of the message is there twice");
            }
        }
        Ok(fields)
    }
}

#[derive(Clone, Copy)]
enum Key {
    Version,
    Id,
    Method,
    Params,
    Result,
    Error,
    Lookalike,
    Other,
}

const KEYS: [(&str, Key); 6] = [
    ("jsonrpc", Key::Version),
    ("id", Key::Id),
    ("method", Key::Method),
    ("params", Key::Params),
    ("result", Key::Result),
    ("error", Key::Error),
];

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        if let Some((_, known)) = KEYS.iter().find(|(name, _)| *name == key) {
            return Ok(*known);
        }
        let folded = fold(key);
        let lookalike = KEYS.iter().any(|(name, _)| *name == folded);
        Ok(if lookalike { Key::Lookalike } else { Key::Other })
    }
}

/// Folds case as lenient parsers do: `ſ` (U+017F) and `K` (U+212A) fold into ASCII letters.
fn fold(key: &str) -> String {
    key.trim()
        .chars()
        .flat_map(|letter| match letter {
            '\u{17f}' => 's'.to_lowercase(),
            other => other.to_lowercase(),
        })
        .collect()
}

/// Whether a text that is JSON holds more than [`VALUES_MAX`]; asked before any value is made of it.
fn has_too_many_values(json: &[u8]) -> bool {
    if json.len() <= VALUES_MAX {
        return false;
    }
    let (mut values, mut at) = (0, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' | b',' => values += 1,
            b'"' => at += string_bytes(&json[at..]),
            _ => {}
        }
    }
    values > VALUES_MAX
}

/// The bytes of a string after its opening quote, with the closing one.
fn string_bytes(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        // what stands after a backslash ends nothing
        at = (at + 1).min(text.len());
    }
    text.len()
}

/// Whether a `\ud800`-like escape stands without its other half anywhere in the text.
fn has_lone_surrogate(body: &[u8]) -> bool {
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let escape = &rest[at..];
        let Some(unit) = unicode_escape(escape) else {
            rest = escape.get(2..).unwrap_or_default();
            continue;
        };
        rest = &escape[6..];
        match unit {
            0xd800..=0xdbff => match unicode_escape(rest) {
                Some(0xdc00..=0xdfff) => rest = &rest[6..],
                _ => return true,
            },
            0xdc00..=0xdfff => return true,
            _ => {}
        }
    }
    false
}

fn unicode_escape(text: &[u8]) -> Option<u16> {
    let [b'\\', b'u', hex @ ..] = text else { return None };
    let hex = std::str::from_utf8(hex.get(..4)?).ok()?;
    u16::from_str_radix(hex, 16).ok()
}

// The fuzz package takes this file in by its path.
#[cfg(test)]
#[path = "rpc/tests.rs"]
mod tests;
