//! A lexer for the SQL of PostgreSQL, SQLite and MySQL: good enough to tell literals from words.
//!
//! What is a blank and what a letter is the servers' view, not Unicode's: blanks are ASCII, and
//! whatever is not ASCII is part of a name. A test compares the first words with the servers' own.

use super::Dialect;

/// What all three pass over between tokens.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];
/// SQLite passes over it as well, where a token may begin.
const BYTE_ORDER_MARK: char = '\u{feff}';

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_in_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit()
}

/// A piece of SQL. Comments and blanks are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, or a name without quotes.
    Word(&'a str),
    /// A name in quotes, without them.
    Quoted(&'a str),
    /// A string, a number, or what is left of one that does not end.
    Literal,
    /// `$1`, `?`, `?1`, `:name`, `@name`.
    Parameter(&'a str),
    /// Any other character.
    Mark(char),
}

pub(super) struct Lexer<'a> {
    dialect: Dialect,
    text: &'a str,
    at: usize,
    met_live_comment: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(dialect: Dialect, text: &'a str) -> Self {
        Self { dialect, text, at: 0, met_live_comment: false }
    }

    /// Whether a comment so far was one that MySQL reads.
    pub(super) fn met_live_comment(&self) -> bool {
        self.met_live_comment
    }

    /// Where the token that was read last ends.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.rest()[..bytes];
        self.at += bytes;
        taken
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.take(end)
    }

    fn skip_blanks(&mut self) {
        loop {
            let sqlite = self.dialect == Dialect::Sqlite;
            self.take_while(|c| BLANKS.contains(&c) || sqlite && c == BYTE_ORDER_MARK);
            let rest = self.rest();
            let mysql = self.dialect == Dialect::MySql;
            // In MySQL `5--3` is eight.
            let dashes = rest.strip_prefix("--").is_some_and(|behind| {
                !mysql || behind.chars().next().is_none_or(|c| c == ' ' || c.is_ascii_control())
            });
            if dashes || mysql && rest.starts_with('#') {
                let ends = |c| c == '\n' || c == '\r' && self.dialect == Dialect::Postgres;
                self.take(rest.find(ends).unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let live = ["/*!", "/*M!", "/*+"].iter().any(|start| rest.starts_with(start));
                self.met_live_comment |= mysql && live;
                self.take(comment_end(rest, self.dialect == Dialect::Postgres));
            } else {
                return;
            }
        }
    }

    /// What stands in quotes from here on; a doubled quote is part of it, an escaped one if
    /// backslashes escape.
    fn quoted(&mut self, close: char, escapes: bool) -> &'a str {
        let rest = self.rest();
        let mut chars = rest.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if escapes && c == '\\' {
                chars.next();
            } else if c == close {
                if close != ']' && chars.peek().is_some_and(|(_, next)| *next == close) {
                    chars.next();
                    continue;
                }
                self.take(at + close.len_utf8());
                return &rest[1..at];
            }
        }
        self.take(rest.len());
        &rest[1..]
    }

    /// `$tag$ … $tag$`, if one begins here.
    fn dollar_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some(end) = rest[1..].find('$').map(|at| at + 2) else { return false };
        let tag = &rest[1..end - 1];
        let named = tag.chars().all(is_in_name);
        if !named || tag.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let close = rest[end..].find(&rest[..end]).map_or(rest.len(), |at| end + at + end);
        self.take(close);
        true
    }

    fn number(&mut self) -> Token<'a> {
        self.take_while(|c| is_in_name(c) || c == '.');
        let signed =
            self.text[..self.at].ends_with(['e', 'E']) && self.rest().starts_with(['+', '-']);
        if signed {
            self.take(1);
            self.take_while(|c| c.is_ascii_digit());
        }
        Token::Literal
    }

    fn word(&mut self) -> Token<'a> {
        let word = self.take_while(|c| is_in_name(c) || c == '$');
        let is = |prefix: &str| word.eq_ignore_ascii_case(prefix);
        let rest = self.rest();
        let (postgres, mysql) = (self.dialect == Dialect::Postgres, self.dialect == Dialect::MySql);
        if postgres && is("u") && rest.starts_with("&'") {
            self.take(1);
        } else if !rest.starts_with('\'')
            || !(is("x") || postgres && is("e") || (postgres || mysql) && (is("b") || is("n")))
        {
            return Token::Word(word);
        }
        self.quoted('\'', mysql || postgres && is("e"));
        Token::Literal
    }

    fn parameter(&mut self) -> Token<'a> {
        let start = self.at;
        let digits_only = self.take(1) == "?";
        self.take_while(|c| if digits_only { c.is_ascii_digit() } else { is_in_name(c) });
        Token::Parameter(&self.text[start..self.at])
    }
}

/// The length of the comment at the beginning of `text`.
fn comment_end(text: &str, nests: bool) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (2, 1);
    while at < bytes.len() && depth > 0 {
        if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else if nests && bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    // Only ASCII is stepped over by more than one, so this is a border of characters.
    at
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let second = rest[first.len_utf8()..].chars().next();
        let names = |c: Option<char>| c.is_some_and(begins_name);
        let counts = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let postgres = self.dialect == Dialect::Postgres;
        let (sqlite, mysql) = (self.dialect == Dialect::Sqlite, self.dialect == Dialect::MySql);
        Some(match first {
            '\'' => {
                self.quoted('\'', mysql);
                Token::Literal
            }
            '"' if mysql => {
                self.quoted('"', true);
                Token::Literal
            }
            '"' => Token::Quoted(self.quoted('"', false)),
            '`' if !postgres => Token::Quoted(self.quoted('`', false)),
            '[' if sqlite => Token::Quoted(self.quoted(']', false)),
            '$' if postgres && counts(second) => self.parameter(),
            '$' if postgres && self.dollar_quoted() => Token::Literal,
            '?' if !postgres => self.parameter(),
            // A cast is no parameter, and neither is the rest of a name in quotes.
            ':' if rest.starts_with("::") => {
                self.take(2);
                Token::Mark(':')
            }
            ':' if names(second) => self.parameter(),
            '@' | '$' if sqlite && names(second) => self.parameter(),
            '$' if mysql => self.word(),
            '0'..='9' => self.number(),
            '.' if counts(second) => self.number(),
            c if begins_name(c) => self.word(),
            c => {
                self.take(c.len_utf8());
                Token::Mark(c)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Token::{Literal, Mark, Parameter, Quoted, Word};
    use super::*;

    fn postgres(text: &str) -> Vec<Token<'_>> {
        Lexer::new(Dialect::Postgres, text).collect()
    }

    fn sqlite(text: &str) -> Vec<Token<'_>> {
        Lexer::new(Dialect::Sqlite, text).collect()
    }

    #[test]
    fn literals_are_told_from_words() {
        assert_eq!(
            postgres("a 'b''c' 1.5e-7 .5 0x1F"),
            [Word("a"), Literal, Literal, Literal, Literal]
        );
        assert_eq!(postgres(r"E'a\'b' 'a\' b"), [Literal, Literal, Word("b")]);
        assert_eq!(postgres("$q$;$$;$q$ $1 $$x$$"), [Literal, Parameter("$1"), Literal]);
        assert_eq!(postgres("U&'x' x'00' n'a'"), [Literal, Literal, Literal]);
        assert_eq!(postgres("a::int"), [Word("a"), Mark(':'), Word("int")]);
        assert_eq!(postgres("\"a\"\"b\" :n"), [Quoted("a\"\"b"), Parameter(":n")]);
        assert_eq!(sqlite("[a b] `c` ?1 @n $n"), {
            [Quoted("a b"), Quoted("c"), Parameter("?1"), Parameter("@n"), Parameter("$n")]
        });
    }

    #[test]
    fn mysql_has_its_own_quotes_and_comments() {
        let mysql = |text| Lexer::new(Dialect::MySql, text).collect::<Vec<_>>();
        assert_eq!(
            mysql(r#"'a\'b' "c\"d" `e``f` n'g'"#),
            [Literal, Literal, Quoted("e``f"), Literal]
        );
        assert_eq!(mysql("1 # '\n--\t'\n2"), [Literal, Literal]);
        assert_eq!(mysql("5--3"), [Literal, Mark('-'), Mark('-'), Literal]);
        assert_eq!(mysql("@a := ?1, $b"), {
            [Mark('@'), Word("a"), Mark(':'), Mark('='), Parameter("?1"), Mark(','), Word("$b")]
        });
        assert_eq!(mysql("_utf8mb4'x'"), [Word("_utf8mb4"), Literal]);
    }

    #[test]
    fn comments_end_as_each_dialect_ends_them() {
        assert_eq!(postgres("/* /* */ x */ y"), [Word("y")]);
        assert_eq!(sqlite("/* /* */ y"), [Word("y")]);
        assert_eq!(postgres("a -- 'b\n c"), [Word("a"), Word("c")]);
        assert!(postgres("/* é").is_empty());
        assert_eq!(postgres("--\ra/*\nb*/"), [Word("a")]);
        assert!(sqlite("--\ra/*").is_empty());
        assert_eq!(Lexer::new(Dialect::MySql, "--\ra\nb").collect::<Vec<_>>(), [Word("b")]);
    }

    #[test]
    fn what_is_not_ascii_is_part_of_a_name() {
        assert_eq!(postgres("$a€$ secret $a€$"), [Literal]);
        assert_eq!(postgres("x€e'a\\' c"), [Word("x€e"), Literal, Word("c")]);
        assert_eq!(postgres("\u{a0}select"), [Word("\u{a0}select")]);
        assert_eq!(sqlite("\u{feff}a\u{feff}b"), [Word("a\u{feff}b")]);
        let mysql: Vec<_> = Lexer::new(Dialect::MySql, "--\u{a0}/*!").collect();
        assert_eq!(mysql[..3], [Mark('-'), Mark('-'), Word("\u{a0}")]);
    }

    #[test]
    fn what_does_not_end_is_a_literal_to_the_end() {
        assert_eq!(postgres("a 'secret ; drop"), [Word("a"), Literal]);
        assert_eq!(postgres("$x$ secret"), [Literal]);
    }
}
