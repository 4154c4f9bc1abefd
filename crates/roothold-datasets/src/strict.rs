//! What decoders of others take without a word, and is refused here: JSON that is none, and several
//! records on one line, or one on several.

/// Follows the text of JSON Lines, in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    state: State,
    /// What is open: braces and brackets.
    open: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum State {
    /// No record stands on this line yet.
    #[default]
    Before,
    /// One does, and is whole.
    Behind,
    Value,
    /// A value, or the end of a list.
    FirstValue,
    Key,
    /// A key, or the end of an object.
    FirstKey,
    Colon,
    /// A comma, or the end of what is open.
    Next,
    Text {
        is_key: bool,
        is_escaped: bool,
    },
    Number(Digits),
    /// `true`, `false` or `null`, whose letters the decoder looks at.
    Word,
}

/// How far a number is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Digits {
    Sign,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    Power,
}

impl Digits {
    fn next(self, byte: u8) -> Option<Self> {
        use Digits::{Exponent, ExponentSign, Fraction, Point, Power, Sign, Whole, Zero};
        Some(match (self, byte) {
            (Sign, b'0') => Zero,
            (Sign | Whole, b'0'..=b'9') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | Power, b'0'..=b'9') => Power,
            _ => return None,
        })
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }
}

/// Whether a text is a number of JSON.
pub(crate) fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let end = digits.bytes().try_fold(Digits::Sign, Digits::next);
    end.is_some_and(Digits::is_whole)
}

impl JsonLines {
    /// Goes on with `text`; `false` if it is not as it must be.
    pub(crate) fn take(&mut self, text: &[u8]) -> bool {
        let mut at = 0;
        while at < text.len() {
            if let State::Text { is_key, is_escaped } = self.state {
                at = self.within_text(text, at, is_key, is_escaped);
                continue;
            }
            let Some(state) = self.step(text[at]) else { return false };
            self.state = state;
            at += 1;
        }
        true
    }

    /// Whether the last record that was begun is whole.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Before | State::Behind)
    }

    /// A line begins here: what was before it others have taken.
    pub(crate) fn begin_line(&mut self) {
        if self.is_between() {
            self.state = State::Before;
        }
    }

    /// Where the text goes on, or what is behind it begins.
    fn within_text(&mut self, text: &[u8], at: usize, is_key: bool, is_escaped: bool) -> usize {
        if is_escaped {
            self.state = State::Text { is_key, is_escaped: false };
            return at + 1;
        }
        let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) else { return text.len() };
        self.state = match text[at + found] {
            b'"' if is_key => State::Colon,
            b'"' => State::Next,
            _ => State::Text { is_key, is_escaped: true },
        };
        at + found + 1
    }

    fn step(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Number(digits) => match digits.next(byte) {
                Some(digits) => return Some(State::Number(digits)),
                None if digits.is_whole() => self.state = State::Next,
                None => return None,
            },
            State::Word if byte.is_ascii_lowercase() => return Some(State::Word),
            State::Word => self.state = State::Next,
            _ => {}
        }
        match (self.state, byte) {
            (state, b' ' | b'\t' | b'\r') => Some(state),
            (State::Before | State::Behind, b'\n') => Some(State::Before),
            (State::Before, b'{') => Some(self.begin(b'{')),
            (State::Key | State::FirstKey, b'"') => {
                Some(State::Text { is_key: true, is_escaped: false })
            }
            (State::FirstKey, b'}') | (State::FirstValue, b']') | (State::Next, b'}' | b']') => {
                self.end(byte)
            }
            (State::Next, b',') => {
                Some(if self.open.last() == Some(&b'{') { State::Key } else { State::Value })
            }
            (State::Colon, b':') => Some(State::Value),
            (State::Value | State::FirstValue, byte) => self.value(byte),
            _ => None,
        }
    }

    fn value(&mut self, byte: u8) -> Option<State> {
        Some(match byte {
            b'"' => State::Text { is_key: false, is_escaped: false },
            b'{' | b'[' => self.begin(byte),
            b'-' => State::Number(Digits::Sign),
            b'0'..=b'9' => State::Number(Digits::Sign.next(byte)?),
            b't' | b'f' | b'n' => State::Word,
            _ => return None,
        })
    }

    fn begin(&mut self, byte: u8) -> State {
        self.open.push(byte);
        if byte == b'{' { State::FirstKey } else { State::FirstValue }
    }

    fn end(&mut self, byte: u8) -> Option<State> {
        let opened = self.open.pop()?;
        let is_pair = matches!((opened, byte), (b'{', b'}') | (b'[', b']'));
        let state = if self.open.is_empty() { State::Behind } else { State::Next };
        is_pair.then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(text: &str, piece: usize) -> bool {
        let mut lines = JsonLines::default();
        text.as_bytes().chunks(piece).all(|piece| lines.take(piece)) && lines.is_between()
    }

    #[test]
    fn one_object_a_line_and_nothing_else() {
        for (text, expected) in [
            ("{\"i\":1,\"n\":[1.5,-2e-7,{}],\"s\":\"a\\\"}\\\\\"}\n\n {} \r\n{\"a\":null}", true),
            ("{\"i\":[ ],\"b\":true , \"c\":[true,0]}", true),
            ("{\"i\":1}{\"i\":2}", false),
            ("{\"i\":1},", false),
            ("{\"i\":\n1}", false),
            ("{\"i\":1 \"n\":2}", false),
            ("{\"i\":1,}", false),
            ("{,}", false),
            ("{\"i\":[1,]}", false),
            ("{\"i\":[,1]}", false),
            ("{\"i\":[1}]", false),
            ("{\"i\" 1}", false),
            ("{\"i\":01}", false),
            ("{\"i\":-}", false),
            ("{\"i\":1.}", false),
            ("{\"i\":.5}", false),
            ("{\"i\":+1}", false),
            ("{\"i\":1e}", false),
            ("{\"i\":1-2}", false),
            ("{i:1}", false),
            ("[{}]", false),
            ("{\"i\":1", false),
        ] {
            for piece in [1, 2, 3, 100] {
                assert_eq!(holds(text, piece), expected, "{text} in pieces of {piece}");
            }
        }
    }

    proptest! {
        /// What the parser takes is taken; what it refuses is, but for words, which the decoder knows.
        #[test]
        fn it_is_the_parser_of_lines(text in "[{}\\[\\],:\"\\\\0-9.eE+\\- a]{0,12}", piece in 1_usize..5) {
            let line = format!("{{\"a\":{text}}}");
            let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&line).is_ok();
            if parsed {
                prop_assert!(holds(&line, piece), "{}", line);
            } else if !line.contains('\\') {
                prop_assert!(!holds(&line, piece), "{}", line);
            }
            prop_assert_eq!(is_number(&text), parsed && !text.is_empty()
                && text.bytes().all(|byte| b"0123456789.eE+-".contains(&byte)));
        }
    }
}
