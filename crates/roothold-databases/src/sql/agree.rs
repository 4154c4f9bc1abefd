//! The lexer beside those of the databases themselves. Each says where it stumbles over a statement, and
//! so where its tokens begin: what stands behind a word that nothing may follow is told token by token.

use std::cell::RefCell;

use mysql_async::prelude::Queryable as _;
use proptest::prelude::{ProptestConfig, proptest};
use roothold_testing::{MariaDb, Postgres};

use super::Dialect;
use super::lex::{Lexer, Token};

/// Pieces that begin, end, or go on with something in one of the dialects.
const PIECES: &[&str] = &[
    "'",
    "''",
    "\"",
    "`",
    "[",
    "]",
    "/*",
    "*/",
    "--",
    "-- ",
    "#",
    "\n",
    "\r",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{2003}",
    "\u{feff}",
    "\u{85}",
    "$$",
    "$a$",
    "$\u{20ac}$",
    "$1",
    "$",
    "?",
    "?1",
    ":a",
    "::",
    ":",
    "@a",
    "e'",
    "E",
    "U&'",
    "u&\"",
    "x'",
    "n'",
    "b'",
    "\\",
    "\\'",
    "\u{e9}",
    "1",
    "1e",
    "1e+",
    ".5",
    "0x1",
    "1_",
    "(",
    ")",
    ";",
    ",",
    "<",
    "-",
    "+",
    "using",
    "a",
    "_",
    "'\n'",
    "' -- \n'",
];
/// The longest text: MariaDB tells 80 bytes of what it does not take.
const BYTES_MAX: usize = 70;

/// Where a database says that its first token begins, and what it is where that is told.
#[derive(Debug, PartialEq)]
enum Said {
    Token(usize, Option<String>),
    /// There is none.
    End,
    /// What is there is no token, or the statement ran through: nothing is told.
    Nothing,
}

/// Tells each token's beginning as the database has it, one token after the other.
fn agrees(dialect: Dialect, text: &str, mut ask: impl FnMut(&str) -> Said) {
    let mut lexer = Lexer::new(dialect, text);
    loop {
        let from = lexer.at();
        let token = lexer.next();
        if dialect == Dialect::MySql && lexer.met_live_comment() || token == Some(Token::Mark(';'))
        {
            return;
        }
        let (start, end) = (lexer.start(), lexer.at());
        match (token, ask(&text[from..])) {
            (_, Said::Nothing) => return,
            // A comment that does not end is told in many ways.
            (None, Said::Token(begins, _)) if text[from + begins..].starts_with("/*") => return,
            (None, said) => return assert_eq!(said, Said::End, "{text:?} from {from}"),
            (Some(token), Said::Token(begins, shown)) => {
                assert_eq!(begins, start - from, "{text:?}: {token:?} at {start}");
                if let (Token::Word(word), Some(shown)) = (token, shown) {
                    assert_eq!(word, shown, "{text:?}: at {start} to {end}");
                }
            }
            (Some(token), Said::End) => panic!("{text:?}: {token:?} at {start} is none"),
        }
    }
}

fn text(parts: &[usize]) -> String {
    let mut text = String::new();
    for part in parts {
        if text.len() + PIECES[*part].len() > BYTES_MAX {
            break;
        }
        text.push_str(PIECES[*part]);
    }
    text
}

struct Asked<T> {
    runtime: tokio::runtime::Runtime,
    connection: T,
}

fn with<T>(connect: impl Future<Output = T>) -> RefCell<Asked<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = runtime.block_on(connect);
    RefCell::new(Asked { runtime, connection })
}

thread_local! {
    static POSTGRES: RefCell<Asked<tokio_postgres::Client>> = with(async {
        let url = Postgres::shared().url("postgres", "postgres");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    static MARIADB: RefCell<Asked<mysql_async::Conn>> = with(async {
        let server = MariaDb::shared();
        let url = format!("mysql://root@localhost/mysql?socket={}/s", server.dir().display());
        mysql_async::Conn::from_url(url).await.unwrap()
    });
    static SQLITE: rusqlite::Connection = rusqlite::Connection::open_in_memory().unwrap();
}

/// Prepares it; nothing of it runs.
fn postgres(rest: &str) -> Said {
    const BEFORE: &str = "DISCARD ALL ";
    let prepared = POSTGRES.with_borrow(|asked| {
        asked.runtime.block_on(asked.connection.prepare(&format!("{BEFORE}{rest}"))).map(drop)
    });
    let Err(error) = prepared else { return Said::End };
    let error = error.as_db_error().expect("the server answers");
    let Some(tokio_postgres::error::ErrorPosition::Original(at)) = error.position() else {
        return Said::Nothing;
    };
    if !error.message().starts_with("syntax error at ") {
        return Said::Nothing;
    }
    if error.message().ends_with("at end of input") {
        return Said::End;
    }
    let chars = *at as usize - 1 - BEFORE.len();
    let at = rest.char_indices().nth(chars).map_or(rest.len(), |(at, _)| at);
    let near = error.message().strip_prefix("syntax error at or near \"");
    Said::Token(at, near.and_then(|near| near.strip_suffix('"')).map(str::to_owned))
}

/// Sends it: as what is prepared the driver would look for parameters in it. It could do no harm.
fn mariadb(rest: &str) -> Said {
    let sql = format!("COMMIT WORK AND NO CHAIN NO RELEASE {rest}");
    let prepared = MARIADB.with_borrow_mut(|asked| {
        let Asked { runtime, connection } = asked;
        runtime.block_on(connection.query_drop(sql))
    });
    let message = match prepared {
        Ok(()) => return Said::End,
        Err(mysql_async::Error::Server(error)) if error.code == 1064 => error.message,
        Err(mysql_async::Error::Server(_)) => return Said::Nothing,
        Err(error) => panic!("{rest:?}: {error}"),
    };
    let near = message.split_once(" near '").and_then(|(_, near)| near.rsplit_once("' at line "));
    let Some((near, _)) = near else { return Said::Nothing };
    match rest.strip_suffix(near) {
        Some(_) if near.is_empty() => Said::End,
        Some(before) => Said::Token(before.len(), None),
        None => Said::Nothing,
    }
}

fn sqlite(rest: &str) -> Said {
    const BEFORE: &str = "ROLLBACK TO x ";
    let prepared = SQLITE.with(|conn| conn.prepare(&format!("{BEFORE}{rest}")).map(drop));
    match prepared {
        Err(rusqlite::Error::SqlInputError { msg, offset, .. }) if msg.starts_with("near \"") => {
            let near = msg.strip_prefix("near \"").and_then(|m| m.strip_suffix("\": syntax error"));
            let at = usize::try_from(offset).unwrap() - BEFORE.len();
            Said::Token(at, near.map(str::to_owned))
        }
        Err(_) => Said::Nothing,
        Ok(()) => Said::End,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn postgres_reads_the_same_tokens(parts in proptest::collection::vec(0..PIECES.len(), 0..14)) {
        // To version 15 this is no blank, and nothing else either.
        let text = text(&parts).replace('\u{b}', " ");
        agrees(Dialect::Postgres, &text, postgres);
    }

    #[test]
    fn mariadb_reads_the_same_tokens(parts in proptest::collection::vec(0..PIECES.len(), 0..14)) {
        // Of this the server says that nothing is there.
        let text = text(&parts).replace(',', " ");
        agrees(Dialect::MySql, &text, mariadb);
    }

    #[test]
    fn sqlite_reads_the_same_tokens(parts in proptest::collection::vec(0..PIECES.len(), 0..14)) {
        let text = text(&parts);
        agrees(Dialect::Sqlite, &text, sqlite);
    }
}
