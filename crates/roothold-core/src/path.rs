//! Public paths: how a caller names a file.
//!
//! A path argument is an absolute public path, never percent-decoded; a `file://` URI, decoded
//! exactly once; or a relative path, which only policy can place. Everything is parsed here,
//! once, into a [`FilePath`] of bytes, or refused. Nothing here touches a disk.
//!
//! **Invariant**: a `FilePath` holds no NUL, no empty component and no `.`; `..` is kept, for
//! the kernel to resolve below a root. What `Display` shows can be given back as an argument.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use crate::fault::Fault;

/// The longest path in bytes: Linux's `PATH_MAX` without its NUL (limits.h).
pub const PATH_BYTES_MAX: usize = 4095;
/// The longest component in bytes: Linux's `NAME_MAX` (limits.h).
pub const NAME_BYTES_MAX: usize = 255;

/// What a `file://` URI's path escapes: RFC 3986 `pchar` and `/` stay, all else is encoded.
const URI_ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A parsed path argument.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FilePath {
    /// Components joined by `/`, without a leading or trailing slash.
    bytes: Vec<u8>,
    absolute: bool,
    /// The argument ended in `/` or `/.`: only a directory will do.
    wants_directory: bool,
}

impl FilePath {
    /// Parses a path argument of a tool.
    ///
    /// # Errors
    /// `Invalid` for an empty path, NUL or control characters, a path or name that is too long,
    /// a leading `~`, or a URI that is not a local `file:///` one.
    pub fn parse(argument: &str) -> Result<Self, Fault> {
        if argument.is_empty() {
            return Err(Fault::invalid(
                "the path is empty; give an absolute path inside a root, see listRoots",
            ));
        }
        if starts_with_scheme(argument) {
            return Self::parse_uri(argument);
        }
        if argument.starts_with('~') {
            return Err(Fault::invalid(
                "`~` is not expanded here; give an absolute path inside a root, see listRoots",
            ));
        }
        if argument.contains('\0') {
            return Err(Fault::invalid("the path holds a NUL character"));
        }
        // Nearly every path is plain ASCII, and one look at each byte is enough for that.
        let may_control = argument.bytes().any(|byte| !(0x20..0x7f).contains(&byte));
        if may_control && argument.chars().any(char::is_control) {
            return Err(Fault::invalid(
                "the path holds control characters; name such a file by its percent-encoded file:// URI",
            ));
        }
        Self::from_bytes(argument.as_bytes())
    }

    /// Parses a `file://` URI (RFC 8089), decoding it exactly once.
    ///
    /// # Errors
    /// `Invalid` for another scheme, an authority, a query, a fragment, a malformed escape, or an
    /// encoded slash or NUL.
    pub fn parse_uri(uri: &str) -> Result<Self, Fault> {
        let Some(rest) = uri.strip_prefix("file://") else {
            return Err(Fault::invalid(
                "only file:/// URIs are served; see listRoots for the roots",
            ));
        };
        if !rest.starts_with('/') {
            return Err(Fault::invalid("a file URI with a host is refused; write file:///path"));
        }
        if rest.contains(['?', '#']) {
            return Err(Fault::invalid(
                "a file URI has no query or fragment; write ? as %3F and # as %23",
            ));
        }
        check_escapes(rest)?;
        let decoded: Cow<'_, [u8]> = percent_decode_str(rest).into();
        if decoded.contains(&0) {
            return Err(Fault::invalid("the path holds a NUL character"));
        }
        Self::from_bytes(&decoded)
    }

    /// A path from raw bytes, as found on disk or in a configuration: absolute if it begins with `/`.
    ///
    /// # Errors
    /// `Invalid` for NUL, or a path or name that is too long.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, Fault> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "the path has {} bytes; the longest is {PATH_BYTES_MAX}",
                raw.len()
            )));
        }
        if raw.contains(&0) {
            return Err(Fault::invalid("the path holds a NUL character"));
        }
        let mut bytes = Vec::with_capacity(raw.len());
        for component in raw.split(|byte| *byte == b'/') {
            if component.is_empty() || component == b"." {
                continue;
            }
            if component.len() > NAME_BYTES_MAX {
                return Err(Fault::invalid(format!(
                    "a name in the path has {} bytes; the longest is {NAME_BYTES_MAX}",
                    component.len()
                )));
            }
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(component);
        }
        let wants_directory = raw.ends_with(b"/") || raw.ends_with(b"/.") || raw == b".";
        Ok(Self { bytes, absolute: raw.starts_with(b"/"), wants_directory })
    }

    /// The path without its leading slash, `..` included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is absolute; a relative one has a meaning only when there is one root.
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// Whether only a directory will do.
    pub fn wants_directory(&self) -> bool {
        self.wants_directory
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.absolute {
            f.write_str(&shown(&self.bytes))
        } else {
            f.write_str(&String::from_utf8_lossy(&self.bytes))
        }
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({self})")
    }
}

/// How an absolute public path (given without its leading slash) is shown to callers: plain,
/// or as a URI where the plain form would be ambiguous or could not be given back.
pub fn shown(public: &[u8]) -> String {
    match std::str::from_utf8(public) {
        Ok(text) if is_plain(text) => ["/", text].concat(),
        _ => uri(public),
    }
}

/// The `file://` URI of an absolute public path given without its leading slash.
pub fn uri(public: &[u8]) -> String {
    format!("file:///{}", escaped(public))
}

/// A path as it stands in a URI.
pub(crate) fn escaped(path: &[u8]) -> String {
    percent_encode(path, URI_ESCAPED).to_string()
}

/// How one name of a listing is shown: plain, or as the whole URI of `public` (its full path).
pub(crate) fn shown_name(name: &[u8], public: impl FnOnce() -> Vec<u8>) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if is_plain(text) => Cow::Borrowed(text),
        _ => Cow::Owned(uri(&public())),
    }
}

/// Whether a name, or a path, is shown as it is.
pub(crate) fn is_plain_name(name: &[u8]) -> bool {
    // Nearly all names are plain ASCII, and one look at each byte is enough for them.
    name.iter().all(|byte| (0x20..0x7f).contains(byte))
        || std::str::from_utf8(name).is_ok_and(is_plain)
}

/// A name that can stand in a line of text and be given back as it is.
fn is_plain(text: &str) -> bool {
    let line_breaks = |c: char| c == '\u{2028}' || c == '\u{2029}';
    if text.is_ascii() {
        return text.bytes().all(|b| (0x20..0x7f).contains(&b));
    }
    !text.chars().any(|c| c.is_control() || line_breaks(c) || is_bidi_control(c))
}

/// Characters that reorder the text around them (Unicode UAX #9): a name with one is not what it looks like.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether it begins with `file:`, or with any scheme (RFC 3986 §3.1) and `://`. A relative path
/// with `://` further on is a path.
fn starts_with_scheme(argument: &str) -> bool {
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    argument.starts_with("file:")
        || argument.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn check_escapes(path: &str) -> Result<(), Fault> {
    let bytes = path.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits =
            bytes.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        match digits {
            None => {
                return Err(Fault::invalid("the URI holds a `%` that is not an escape; write %25"));
            }
            Some(pair) if pair.eq_ignore_ascii_case(b"2f") => {
                return Err(Fault::invalid("an encoded slash (%2F) in a file URI is refused"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
