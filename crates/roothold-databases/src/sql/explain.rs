//! The parts of an `EXPLAIN` of PostgreSQL.

use super::Dialect;
use super::lex::{Lexer, Token};

/// What a list of options never begins with.
const QUERIES: &[&str] = &["select", "with", "values", "table"];

/// An `EXPLAIN`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explain<'a> {
    /// Its options and what they are set to, as they are written. A value in quotes has these.
    pub(crate) options: Vec<(&'a str, Option<&'a str>)>,
    /// All that stands behind them.
    pub(crate) explained: &'a str,
}

/// Takes a statement apart that begins with `EXPLAIN`.
pub(crate) fn explain(sql: &str) -> Option<Explain<'_>> {
    let mut tokens = Lexer::new(Dialect::Postgres, sql);
    if !is_word(tokens.next()?, "explain") {
        return None;
    }
    let mut behind = tokens.at();
    let mut options = Vec::new();
    match tokens.next() {
        Some(Token::Mark('(')) => {
            if let Some((listed, end)) = listed(sql, &mut tokens) {
                (options, behind) = (listed, end);
            }
        }
        // The old form: these two words, in this order.
        mut token => {
            for word in ["analyze", "verbose"] {
                if token.is_some_and(|token| is_word(token, word)) {
                    options.push((word, None));
                    behind = tokens.at();
                    token = tokens.next();
                }
            }
        }
    }
    Some(Explain { options, explained: &sql[behind..] })
}

fn is_word(token: Token<'_>, word: &str) -> bool {
    matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word))
}

type Options<'a> = Vec<(&'a str, Option<&'a str>)>;

/// Options in brackets, and where these end; `None` for a query in brackets.
fn listed<'a>(sql: &'a str, tokens: &mut Lexer<'a>) -> Option<(Options<'a>, usize)> {
    let mut options = Vec::new();
    loop {
        let Token::Word(name) = tokens.next()? else { return None };
        if QUERIES.iter().any(|query| name.eq_ignore_ascii_case(query)) {
            return None;
        }
        let from = tokens.at();
        let mut value = None;
        let mut token = tokens.next()?;
        if !matches!(token, Token::Mark(',' | ')')) {
            value = Some(sql[from..tokens.at()].trim());
            token = tokens.next()?;
        }
        options.push((name, value));
        match token {
            Token::Mark(',') => {}
            Token::Mark(')') => return Some((options, tokens.at())),
            _ => return None,
        }
    }
}
