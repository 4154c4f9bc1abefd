//! `EXPLAIN` of PostgreSQL, taken apart: it is sent in words of ours, with the caller's statement behind
//! `DECLARE … CURSOR FOR`, as any other.

use std::fmt::Write as _;

use super::Dialect;
use super::lex::{Lexer, Token};

/// Options that are on or off.
const SWITCHES: &[&str] = &[
    "ANALYZE",
    "VERBOSE",
    "COSTS",
    "SETTINGS",
    "GENERIC_PLAN",
    "BUFFERS",
    "WAL",
    "TIMING",
    "SUMMARY",
    "MEMORY",
];
/// Options with words of their own.
const CHOICES: &[(&str, &[&str])] =
    &[("FORMAT", &["TEXT", "XML", "JSON", "YAML"]), ("SERIALIZE", &["NONE", "TEXT", "BINARY"])];
const ON: &[&str] = &["true", "on", "1"];
const OFF: &[&str] = &["false", "off", "0"];

/// An `EXPLAIN` as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explain {
    /// `EXPLAIN` and its options, each a word of ours, and a blank.
    pub(crate) words: String,
    /// Whether the statement runs.
    pub(crate) runs: bool,
    /// Where the statement begins that is explained, in bytes.
    pub(crate) at: usize,
}

impl Explain {
    /// Reads `sql`; nothing, if it is no `EXPLAIN`.
    ///
    /// # Errors
    /// An option that is not known, in words.
    pub(crate) fn of(sql: &str) -> Result<Option<Self>, String> {
        let mut tokens = Lexer::new(Dialect::Postgres, sql);
        if !tokens.next().is_some_and(|token| is(token, "EXPLAIN")) {
            return Ok(None);
        }
        let mut explain = Self { words: "EXPLAIN ".to_owned(), runs: false, at: tokens.at() };
        let mut ahead = Lexer::new(Dialect::Postgres, &sql[explain.at..]);
        if ahead.next() == Some(Token::Mark('(')) && ahead.next().is_some_and(is_option) {
            explain.listed(&sql[explain.at..])?;
        } else {
            explain.plain(&sql[explain.at..]);
        }
        Ok(Some(explain))
    }

    /// `ANALYZE VERBOSE`, each of which may be left out.
    fn plain(&mut self, sql: &str) {
        let mut tokens = Lexer::new(Dialect::Postgres, sql);
        let (mut end, mut options) = (0, Vec::new());
        let mut token = tokens.next();
        if token.is_some_and(|token| is(token, "ANALYZE") || is(token, "ANALYSE")) {
            (self.runs, end) = (true, tokens.at());
            options.push("ANALYZE");
            token = tokens.next();
        }
        if token.is_some_and(|token| is(token, "VERBOSE")) {
            end = tokens.at();
            options.push("VERBOSE");
        }
        if !options.is_empty() {
            write!(self.words, "({}) ", options.join(", ")).expect("text can always be appended");
        }
        self.at += end;
    }

    /// `(option value, …)`.
    fn listed(&mut self, sql: &str) -> Result<(), String> {
        let mut tokens = Lexer::new(Dialect::Postgres, sql);
        tokens.next();
        let mut options: Vec<String> = Vec::new();
        loop {
            let name = tokens.next();
            let mut token = tokens.next();
            let mut value = None;
            if !matches!(token, Some(Token::Mark(',' | ')'))) {
                value = Some(&sql[tokens.start()..tokens.at()]);
                token = tokens.next();
            }
            let option = name.and_then(|name| option(name, value)).ok_or_else(unknown)?;
            self.runs |= option == "ANALYZE true";
            options.push(option);
            match token {
                Some(Token::Mark(',')) => {}
                Some(Token::Mark(')')) => break,
                _ => return Err(unknown()),
            }
        }
        write!(self.words, "({}) ", options.join(", ")).expect("text can always be appended");
        self.at += tokens.at();
        Ok(())
    }
}

fn is(token: Token<'_>, word: &str) -> bool {
    matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word))
}

/// Whether a bracket before it begins a list of options, rather than a statement.
fn is_option(token: Token<'_>) -> bool {
    let statements = ["SELECT", "WITH", "VALUES", "TABLE"];
    matches!(token, Token::Word(_)) && !statements.iter().any(|word| is(token, word))
}

/// An option in words of ours.
fn option(name: Token<'_>, value: Option<&str>) -> Option<String> {
    let one_of = |words: &[&'static str]| {
        words
            .iter()
            .copied()
            .find(|word| value.is_some_and(|value| value.eq_ignore_ascii_case(word)))
    };
    if is(name, "ANALYSE") {
        return option(Token::Word("ANALYZE"), value);
    }
    if let Some(switch) = SWITCHES.iter().find(|switch| is(name, switch)) {
        let on = value.is_none() || one_of(ON).is_some();
        return (on || one_of(OFF).is_some()).then(|| format!("{switch} {on}"));
    }
    let (choice, words) = CHOICES.iter().find(|(choice, _)| is(name, choice))?;
    Some(format!("{choice} {}", one_of(words)?))
}

fn unknown() -> String {
    let choices: Vec<&str> = CHOICES.iter().map(|(choice, _)| *choice).collect();
    format!(
        "EXPLAIN takes these options here: {}, each on or off, and {}",
        SWITCHES.join(", "),
        choices.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Option<(String, bool, String)> {
        let explain = Explain::of(sql).unwrap_or_else(|text| panic!("{sql}: {text}"))?;
        Some((explain.words, explain.runs, sql[explain.at..].trim().to_owned()))
    }

    #[test]
    fn options_are_said_in_words_of_ours() {
        let is = |sql: &str, words: &str, runs: bool| {
            let expected = (format!("EXPLAIN {words}"), runs, "SELECT 1".to_owned());
            assert_eq!(read(sql), Some(expected), "{sql}");
        };
        is("explain SELECT 1", "", false);
        is("/* a */ EXPLAIN/**/ANALYSE SELECT 1", "(ANALYZE) ", true);
        is("explain analyze verbose SELECT 1", "(ANALYZE, VERBOSE) ", true);
        is("explain verbose SELECT 1", "(VERBOSE) ", false);
        is("explain (costs off, FORMAT Json) SELECT 1", "(COSTS false, FORMAT JSON) ", false);
        is("explain (analyze, buffers 1) SELECT 1", "(ANALYZE true, BUFFERS true) ", true);
        is("explain (analyze off) SELECT 1", "(ANALYZE false) ", false);
        assert_eq!(read("explain (SELECT 1)").unwrap().2, "(SELECT 1)");
        assert_eq!(read("explain ((SELECT 1))").unwrap().2, "((SELECT 1))");
        assert_eq!(read("explain create temp table x as SELECT 1").unwrap().1, false);
    }

    #[test]
    fn what_is_no_explain_or_has_other_options_is_not_one() {
        assert_eq!(read("SELECT 1"), None);
        assert_eq!(read("--\rDO $$BEGIN END$$/*\nexplain*/"), None);
        assert_eq!(read("(explain SELECT 1)"), None);
        for sql in [
            "explain (x) SELECT 1",
            "explain (format) SELECT 1",
            "explain (format csv) SELECT 1",
            "explain (costs maybe) SELECT 1",
            "explain (costs off SELECT 1",
            "explain (costs off",
            "explain (costs off,) SELECT 1",
            "explain (costs 'off') SELECT 1",
            "explain (analyze \"off\") SELECT 1",
        ] {
            assert!(Explain::of(sql).unwrap_err().contains("takes these options"), "{sql}");
        }
    }
}
