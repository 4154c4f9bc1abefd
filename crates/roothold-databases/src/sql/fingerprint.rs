//! A statement without its literals, for the audit log.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Dialect;
use super::lex::{Lexer, Token};
use crate::spec::SourceKind;

/// The longest text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;
/// What stands for the middle of a longer one.
const LEFT_OUT: &str = " … ";

/// What a statement is, whatever values stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The statement with `?` for each literal, without comments, on one line; of one that is longer than
    /// 1,000 bytes the beginning and the end.
    pub text: String,
    /// 16 hexadecimal digits, the same for statements that differ in literals, blanks, comments
    /// and the case of words only.
    pub hash: String,
}

impl Fingerprint {
    /// The fingerprint of `sql`, which need not be correct.
    pub fn of(kind: SourceKind, sql: &str) -> Self {
        let whole = normal(Dialect::of(kind), sql);
        let mut hash = String::new();
        for byte in &Sha256::digest(whole.as_bytes())[..8] {
            write!(hash, "{byte:02x}").expect("text can always be appended");
        }
        Self { text: cut(whole), hash }
    }
}

/// What is read may be named at either end of a long statement.
fn cut(whole: String) -> String {
    if whole.len() <= TEXT_BYTES_MAX {
        return whole;
    }
    let half = (TEXT_BYTES_MAX - LEFT_OUT.len()) / 2;
    let end = whole.floor_char_boundary(half);
    let begin = whole.ceil_char_boundary(whole.len() - half);
    format!("{}{LEFT_OUT}{}", &whole[..end], &whole[begin..])
}

fn normal(dialect: Dialect, sql: &str) -> String {
    let mut text = String::with_capacity(sql.len().min(1 << 16));
    let mut listed = false;
    let mut tokens = Lexer::new(dialect, sql).peekable();
    while let Some(token) = tokens.next() {
        // A list of literals is one, however long it is.
        if listed && token == Token::Mark(',') && tokens.peek() == Some(&Token::Literal) {
            tokens.next();
            continue;
        }
        listed = token == Token::Literal;
        let tight = matches!(token, Token::Mark(',' | ')' | '.' | ';' | '('))
            || text.ends_with(['(', '.'])
            || text.is_empty();
        if !tight {
            text.push(' ');
        }
        match token {
            Token::Word(word) => text.push_str(&word.to_lowercase()),
            // A name in quotes may be a value in disguise.
            Token::Quoted(name) if is_plain(name) => {
                write!(text, "\"{name}\"").expect("text can always be appended");
            }
            Token::Quoted(_) => text.push_str("\"?\""),
            Token::Literal => text.push('?'),
            Token::Parameter(name) => text.push_str(name),
            Token::Mark(mark) => text.push(mark),
        }
    }
    text
}

fn is_plain(name: &str) -> bool {
    (1..=63).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Dialect {
    pub(crate) fn of(kind: SourceKind) -> Self {
        match kind {
            SourceKind::Postgres => Self::Postgres,
            SourceKind::Sqlite => Self::Sqlite,
            SourceKind::MySql => Self::MySql,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Fingerprint {
        Fingerprint::of(SourceKind::Postgres, sql)
    }

    #[test]
    fn literals_are_in_neither_part() {
        let a = of("SELECT * FROM t WHERE name = 'CANARY-LIT' AND n IN (1, 2,3) -- CANARY-LIT");
        assert_eq!(a.text, "select * from t where name = ? and n in(?)");
        let b = of("select *\nfrom T where name=$$CANARY-OTHER$$ and n in (4)");
        assert_eq!(a, b);
        assert_ne!(a.hash, of("select * from u where name = 'x' and n in (1)").hash);
        assert!(!of("select \"CANARY-LIT x\"").text.contains("CANARY"));
        assert!(!of("select 'CANARY-LIT").text.contains("CANARY"));
        let mysql = |sql: &str| Fingerprint::of(SourceKind::MySql, sql).text;
        assert_eq!(
            mysql("SELECT \"CANARY\", 'a\\'CANARY', `t`.a FROM t # CANARY"),
            "select ?, \"t\".a from t"
        );
        assert!(!mysql("select 1 /*! 'CANARY' */ -- CANARY").contains("CANARY"));
        for sql in [
            "select $a\u{20ac}$CANARY$a\u{20ac}$",
            "select x\u{20ac}e'a\\' || 'CANARY",
            "select E'a'\n -- '\n'b\\' CANARY'",
            "select 1e'a\\' CANARY'",
            "select $1e'a\\' CANARY'",
            "select :e'a\\' CANARY'",
            "select u&\"a CANARY\"",
        ] {
            assert!(!of(sql).text.to_lowercase().contains("canary"), "{sql}: {}", of(sql).text);
        }
        assert_eq!(of("--\rDO $$x$$/*\nexplain*/").text, "do ?");
        let hidden = mysql("select 1 --\u{a0} from (select 5 as `\u{a0}`) x, secrets");
        assert!(hidden.contains("secrets"), "{hidden}");
        assert_eq!(of("select \"Name\".a, $1").text, "select \"Name\".a, $1");
    }

    #[test]
    fn the_text_is_cut_and_the_hash_is_of_all() {
        let long = |end: &str| of(&format!("select {}{end}", "é, ".repeat(2_000)));
        assert!(long("a").text.len() <= TEXT_BYTES_MAX);
        assert_ne!(long("a").hash, long("b").hash);
        let padded =
            of(&format!("select {} (select count(*) from orders)", "1 as padding, ".repeat(200)));
        assert!(
            padded.text.starts_with("select ? as padding") && padded.text.ends_with("from orders)"),
            "{padded:?}"
        );
    }
}
