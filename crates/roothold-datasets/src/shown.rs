//! Text of strangers as it is shown: control characters, and those that change the direction of
//! text, are written out, so that a cell cannot paint over what stands beside it.

use std::borrow::Cow;

/// The longest name of a column, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Whether a character is written out.
fn is_written_out(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A cell's text: such characters as `\u{202e}`; tabs and line ends stay.
pub(crate) fn cell(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_written_out) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_written_out(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// A column's name: line ends and tabs are written out too, and blanks around it left out.
pub(crate) fn name(text: &str) -> String {
    let mut shown = String::new();
    for character in text.trim().chars().take(NAME_CHARS_MAX) {
        if is_written_out(character) || matches!(character, '\t' | '\n' | '\r') {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paints_over_is_written_out() {
        assert_eq!(cell("plain é\tx\n"), "plain é\tx\n");
        assert_eq!(cell("a\u{202e}b\u{1b}[2J\0"), "a\\u{202e}b\\u{1b}[2J\\u{0}");
        assert_eq!(name(" a\nb\u{2066} "), "a\\u{a}b\\u{2066}");
        assert_eq!(name(&"é".repeat(1000)).chars().count(), NAME_CHARS_MAX);
    }
}
