//! Strings of records as JSON, so that one event is one line whatever a caller sent.
//!
//! Beyond what JSON asks, everything that could break or disguise a line on a terminal is
//! escaped: all control characters, the line separators U+2028 and U+2029, the bidirectional
//! formatting characters and the byte order mark. Reading the JSON gives the original back.

use super::record::STRING_BYTES_MAX;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string. More than [`STRING_BYTES_MAX`] bytes are cut at a character
/// boundary and the number of bytes left out is said in the string itself.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.len() <= STRING_BYTES_MAX {
        push_escaped(out, text);
    } else {
        let kept = text.floor_char_boundary(STRING_BYTES_MAX);
        push_escaped(out, &text[..kept]);
        out.extend_from_slice("…[".as_bytes());
        push_number(out, (text.len() - kept) as u64);
        out.extend_from_slice(b" bytes cut]");
    }
    out.push(b'"');
}

/// Appends a number in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = HEX[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Bytes as lower-case hexadecimal.
pub(super) fn hex<const N: usize, const M: usize>(bytes: &[u8; N]) -> [u8; M] {
    const { assert!(M == 2 * N) }
    let mut out = [0u8; M];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    out
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    // Nearly every string is plain ASCII: one pass to see that, one copy.
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        if !must_escape(c) {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + c.len_utf8();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            _ => push_code_point(out, u32::from(c)),
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// All of these lie in the basic plane, so one `\uXXXX` is enough.
fn must_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '"' | '\\' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{061c}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_code_point(out: &mut Vec<u8>, code: u32) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[((code >> shift) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_comes_back_and_none_breaks_the_line() {
        for code in (0..=0xffffu32).chain([0x1_f600, 0x10_ffff]) {
            let Some(c) = char::from_u32(code) else { continue };
            let text = format!("a{c}b");
            let line = json(&text);
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}'));
        }
    }

    #[test]
    fn dangerous_characters_are_escaped() {
        assert_eq!(json("\n\r\t\"\\\u{0}\u{7f}"), r#""\n\r\t\"\\\u0000\u007f""#);
        assert_eq!(json("\u{85}\u{2028}\u{202e}"), r#""\u0085\u2028\u202e""#);
        assert_eq!(json("grün/日本"), "\"grün/日本\"");
    }

    #[test]
    fn a_long_string_is_cut_at_a_character_and_says_so() {
        let exact = "x".repeat(STRING_BYTES_MAX);
        assert_eq!(json(&exact), format!("\"{exact}\""));
        let long = format!("{}é!", "x".repeat(STRING_BYTES_MAX - 1));
        let expected = format!("\"{}…[3 bytes cut]\"", "x".repeat(STRING_BYTES_MAX - 1));
        assert_eq!(json(&long), expected);
    }

    #[test]
    fn numbers_and_hex() {
        let mut out = Vec::new();
        push_number(&mut out, 0);
        push_number(&mut out, u64::MAX);
        assert_eq!(out, b"018446744073709551615");
        assert_eq!(&hex::<2, 4>(&[0x0f, 0xa0]), b"0fa0");
    }
}
