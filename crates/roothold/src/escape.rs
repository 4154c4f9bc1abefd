//! Texts as JSON strings, sixteen bytes at a time: of a text's answer, escaping it byte by byte
//! is what takes the most time.

use roothold_core::files::json_len;

/// A text as a JSON string, with its quotes; byte for byte what `serde_json` writes.
pub(crate) fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(json_len(text) + 2);
    json.push('"');
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        json.push_str(&rest[..at]);
        push_escape(&mut json, rest.as_bytes()[at]);
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
    json.push('"');
    json
}

/// Where the first byte is that does not stand in a JSON string as it is.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    let (runs, rest) = bytes.as_chunks::<16>();
    for (at, run) in runs.iter().enumerate() {
        // Without an end in the middle, which the compiler turns into vector instructions.
        if run.iter().fold(false, |any, byte| any | is_escaped(*byte)) {
            let within = run.iter().position(|byte| is_escaped(*byte))?;
            return Some(at * run.len() + within);
        }
    }
    let within = rest.iter().position(|byte| is_escaped(*byte))?;
    Some(bytes.len() - rest.len() + within)
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escape(json: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    json.push_str(match byte {
        b'\n' => "\\n",
        b'"' => "\\\"",
        b'\\' => "\\\\",
        b'\t' => "\\t",
        b'\r' => "\\r",
        0x08 => "\\b",
        0x0c => "\\f",
        other => {
            json.push_str("\\u00");
            json.push(char::from(HEX[usize::from(other >> 4)]));
            json.push(char::from(HEX[usize::from(other & 15)]));
            return;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped_as_elsewhere() {
        let plain = "a\u{e9}\u{1f600}\u{7f}".repeat(20);
        for code in (0..0x30).chain([0x5c, 0x7f, 0xe9, 0x2028, 0xffff]) {
            let odd = char::from_u32(code).unwrap();
            for before in (0..40).chain([plain.len()]) {
                let before = &plain[..plain.floor_char_boundary(before)];
                for after in ["", "b", &format!("{odd}\n\"{odd}"), &plain] {
                    let text = format!("{before}{odd}{after}");
                    let json = json_string(&text);
                    assert_eq!(json, serde_json::to_string(&text).unwrap(), "{text:?}");
                    assert_eq!(json.len(), json_len(&text) + 2);
                }
            }
        }
        assert_eq!(json_string(""), "\"\"");
    }
}
