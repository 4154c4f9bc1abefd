//! The characters of the encodings that the standard library does not decode by pieces.

use super::Encoding;

/// What stands at the beginning of some bytes.
pub(in crate::files) struct Shown {
    /// The character; `None` for what is no character.
    pub(in crate::files) char: Option<char>,
    /// How many bytes it takes, never 0.
    pub(in crate::files) bytes: usize,
}

/// The first character of UTF-16 or Windows-1252; `None` where there are no bytes.
pub(in crate::files) fn next_shown(encoding: Encoding, bytes: &[u8]) -> Option<Shown> {
    let unit = |at: usize| {
        let pair = [*bytes.get(at)?, *bytes.get(at + 1)?];
        Some(match encoding {
            Encoding::Utf16Be => u16::from_be_bytes(pair),
            _ => u16::from_le_bytes(pair),
        })
    };
    let first = *bytes.first()?;
    if encoding.unit() == 1 {
        return Some(Shown { char: Some(of_windows_1252(first)), bytes: 1 });
    }
    let Some(high) = unit(0) else { return Some(Shown { char: None, bytes: 1 }) };
    let pair = [high, unit(2).unwrap_or(0)];
    let char = char::decode_utf16(pair).next().and_then(Result::ok);
    Some(Shown { char, bytes: char.map_or(2, |char| 2 * char.len_utf16()) })
}

/// Whether two bytes are the first half of a pair of surrogates.
pub(super) fn is_high_surrogate(encoding: Encoding, unit: [u8; 2]) -> bool {
    let lead = if encoding == Encoding::Utf16Be { unit[0] } else { unit[1] };
    lead & 0xfc == 0xd8
}

/// What 0x80 to 0x9f stand for, as the WHATWG Encoding Standard has it; the rest are themselves.
const HIGH_CONTROLS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];
const FIRST_HIGH_CONTROL: u8 = 0x80;

fn of_windows_1252(byte: u8) -> char {
    let at = usize::from(byte.wrapping_sub(FIRST_HIGH_CONTROL));
    HIGH_CONTROLS.get(at).copied().unwrap_or(char::from(byte))
}

/// The byte of a character, if it has one.
pub(super) fn windows_1252(char: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(char)).ok();
    if let Some(byte) = byte.filter(|byte| of_windows_1252(*byte) == char) {
        return Some(byte);
    }
    let at = HIGH_CONTROLS.iter().position(|high| *high == char)?;
    u8::try_from(at).ok().map(|at| FIRST_HIGH_CONTROL + at)
}

/// Whether a byte can stand in a text of Windows-1252: no undefined byte, and of the control
/// characters those that editors, printers, terminals and DOS put into texts.
pub(super) fn is_of_text(byte: u8) -> bool {
    match byte {
        0x07..=0x0d | 0x1a | 0x1b => true,
        0..0x20 | 0x7f | 0x81 | 0x8d | 0x8f | 0x90 | 0x9d => false,
        _ => true,
    }
}
