//! A lexer for the SQL of PostgreSQL, SQLite and MySQL: good enough to tell literals from words.

use super::Dialect;

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
    start: usize,
    at: usize,
    met_live_comment: bool,
}

/// Bytes that are not ASCII belong to names, in each of the three, whatever Unicode says of them.
fn begins_name(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphabetic() || c == '_'
}

fn is_of_name(c: char) -> bool {
    begins_name(c) || c.is_ascii_digit() || c == '$'
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

fn ends_line_in_postgres(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

impl<'a> Lexer<'a> {
    pub(super) fn new(dialect: Dialect, text: &'a str) -> Self {
        Self { dialect, text, start: 0, at: 0, met_live_comment: false }
    }

    /// Whether a comment so far was one that MySQL reads.
    pub(super) fn met_live_comment(&self) -> bool {
        self.met_live_comment
    }

    /// Where the token that was read last begins.
    pub(super) fn start(&self) -> usize {
        self.start
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
        let (postgres, mysql) = (self.dialect == Dialect::Postgres, self.dialect == Dialect::MySql);
        let sqlite = self.dialect == Dialect::Sqlite;
        loop {
            self.take_while(is_blank);
            let rest = self.rest();
            // In MySQL `5--3` is eight.
            let dashes = rest.strip_prefix("--").is_some_and(|behind| {
                !mysql || behind.chars().next().is_none_or(|c| c == ' ' || c.is_ascii_control())
            });
            if dashes || mysql && rest.starts_with('#') {
                let ends = |c| c == '\n' || postgres && ends_line_in_postgres(c);
                self.take(rest.find(ends).unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let live = ["/*!", "/*M!", "/*+"].iter().any(|start| rest.starts_with(start));
                self.met_live_comment |= mysql && live;
                self.take(comment_end(rest, postgres));
            } else if sqlite && rest.starts_with('\u{feff}') {
                self.take('\u{feff}'.len_utf8());
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

    /// A string of PostgreSQL with escapes. One that begins on a later line goes on with it, and has
    /// escapes too.
    fn escaped(&mut self) {
        self.quoted('\'', true);
        while let Some(blanks) = continues(self.rest()) {
            self.take(blanks);
            self.quoted('\'', true);
        }
    }

    /// `$tag$ … $tag$`, if one begins here.
    fn dollar_quoted(&mut self) -> bool {
        let rest = self.rest();
        let Some(end) = rest[1..].find('$').map(|at| at + 2) else { return false };
        let tag = &rest[1..end - 1];
        if !tag.chars().all(is_of_name) || tag.starts_with(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let close = rest[end..].find(&rest[..end]).map_or(rest.len(), |at| end + at + end);
        self.take(close);
        true
    }

    fn number(&mut self) -> Token<'a> {
        let postgres = self.dialect == Dialect::Postgres;
        let exponent = |rest: &str| {
            let behind = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            behind.starts_with(|c: char| c.is_ascii_digit())
        };
        if !postgres {
            self.take_while(|c| is_of_name(c) || c == '.');
            let rest = self.rest();
            let signed = self.text[..self.at].ends_with(['e', 'E']) && rest.starts_with(['+', '-']);
            if signed && exponent(rest) {
                self.take(1);
                self.take_while(is_of_name);
            }
            return Token::Literal;
        }
        // Before version 15 a word may stand right behind a number, and it may be one before a string.
        let rest = self.rest();
        let based = ["0x", "0X", "0o", "0O", "0b", "0B"].iter().any(|base| rest.starts_with(base));
        if based && rest[2..].starts_with(|c: char| c.is_ascii_hexdigit() || c == '_') {
            self.take(2);
            self.take_while(|c| c.is_ascii_hexdigit() || c == '_');
            return Token::Literal;
        }
        let digits = |c: char| c.is_ascii_digit() || c == '_';
        self.take_while(digits);
        if self.rest().starts_with('.') && !self.rest().starts_with("..") {
            self.take(1);
            self.take_while(digits);
        }
        if self.rest().strip_prefix(['e', 'E']).is_some_and(exponent) {
            self.take(2);
            self.take_while(digits);
        }
        Token::Literal
    }

    fn word(&mut self) -> Token<'a> {
        let word = self.take_while(is_of_name);
        let is = |prefix: &str| word.eq_ignore_ascii_case(prefix);
        let rest = self.rest();
        let (postgres, mysql) = (self.dialect == Dialect::Postgres, self.dialect == Dialect::MySql);
        if postgres && is("u") && rest.starts_with("&\"") {
            self.take(1);
            return Token::Quoted(self.quoted('"', false));
        }
        if postgres && is("e") && rest.starts_with('\'') {
            self.escaped();
            return Token::Literal;
        }
        if postgres && is("u") && rest.starts_with("&'") {
            self.take(1);
        } else if !rest.starts_with('\'')
            || !(is("x") || (postgres || mysql) && (is("b") || is("n")))
        {
            return Token::Word(word);
        }
        self.quoted('\'', mysql);
        Token::Literal
    }

    /// `?`, `?1`, `$1`: a mark and digits.
    fn numbered(&mut self) -> Token<'a> {
        self.take(1);
        self.take_while(|c| c.is_ascii_digit());
        Token::Parameter(&self.text[self.start..self.at])
    }

    /// `:name`, which stands for a parameter in what the configuration holds. To a server it is two
    /// things, the latter of which may begin a string.
    fn named(&mut self) -> Token<'a> {
        let name = self.rest()[1..].find(|c| !is_of_name(c)).map_or(self.rest().len(), |at| at + 1);
        let behind = &self.rest()[name..];
        if behind.starts_with('\'') || behind.starts_with("&'") || behind.starts_with("&\"") {
            self.take(1);
            return Token::Mark(':');
        }
        Token::Parameter(self.take(name))
    }

    /// `:name`, `@name`, `#name`, `$name` of SQLite, which may have `::` within and, at its end, anything
    /// in brackets but blanks.
    fn variable(&mut self) -> Token<'a> {
        self.take(1);
        loop {
            self.take_while(is_of_name);
            if !self.rest().starts_with("::") {
                break;
            }
            self.take(2);
        }
        let named = self.text[self.start + 1..self.at].contains(is_of_name);
        if named && self.rest().starts_with('(') {
            self.take_while(|c| !is_blank(c) && c != ')');
            if self.rest().starts_with(')') {
                self.take(1);
            }
        }
        Token::Parameter(&self.text[self.start..self.at])
    }
}

/// How far it is to the string, in quotes, that goes on with the one before `rest`.
fn continues(rest: &str) -> Option<usize> {
    let (mut at, mut on_next_line) = (0, false);
    loop {
        let here = &rest[at..];
        let first = here.chars().next()?;
        if is_blank(first) {
            on_next_line |= ends_line_in_postgres(first);
            at += 1;
        } else if here.starts_with("--") {
            at += here.find(ends_line_in_postgres)?;
        } else {
            return (on_next_line && first == '\'').then_some(at);
        }
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
        self.start = self.at;
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
            '$' if postgres && counts(second) => self.numbered(),
            '$' if postgres && self.dollar_quoted() => Token::Literal,
            '?' if !postgres => self.numbered(),
            ':' | '@' | '#' | '$' if sqlite => self.variable(),
            // A cast is no parameter, and neither is the rest of a name in quotes.
            ':' if rest.starts_with("::") => {
                self.take(2);
                Token::Mark(':')
            }
            ':' if names(second) => self.named(),
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
    }

    #[test]
    fn what_does_not_end_is_a_literal_to_the_end() {
        assert_eq!(postgres("a 'secret ; drop"), [Word("a"), Literal]);
        assert_eq!(postgres("$x$ secret"), [Literal]);
    }
}
