//! What our lexer takes for the first word of a statement, and what the servers take for it: where
//! they differ, a statement would be taken for another, and the audit log would tell of another.

use mysql_async::prelude::Queryable as _;
use roothold_databases::{Fingerprint, SourceKind};
use roothold_testing::{MariaDb, Postgres};

/// Pieces that begin, end or look like comments and blanks.
const PIECES: &[&str] = &[
    "--",
    "-- ",
    "--\t",
    "--\u{a0}",
    "--\u{2003}",
    "#",
    "/*",
    "*/",
    "/**/",
    "/* */",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\u{1}",
    "é",
    "$a$",
    "$é$",
    "'",
    "''",
    "\"",
    "`",
    ";",
    "/",
    "*",
    "-",
];
const CASES: u64 = 6_000;

/// Statements with a word in front, comments and blanks around it, and other words in these.
fn dressed(seed: u64, words: &[&str]) -> String {
    // A plain generator: what matters is that it is the same in each run.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut text = String::new();
    for _ in 0..=next(7) {
        text.push_str(PIECES[next(PIECES.len())]);
    }
    for _ in 0..=next(2) {
        text.push_str(words[next(words.len())]);
        for _ in 0..next(5) {
            text.push_str(PIECES[next(PIECES.len())]);
        }
    }
    text
}

/// The first word that our lexer sees.
fn ours(kind: SourceKind, sql: &str) -> String {
    let text = Fingerprint::of(kind, sql).text;
    let word = text.split(|c: char| !c.is_alphanumeric() && c != '_').find(|word| !word.is_empty());
    word.unwrap_or_default().to_owned()
}

/// How many of the statements `run` took, each of which must begin with the word that names its column.
fn compare(kind: SourceKind, words: &[&str], mut run: impl FnMut(&str) -> Option<String>) {
    let mut taken = 0;
    for seed in 0..CASES {
        let sql = dressed(seed, words);
        let Some(column) = run(&sql) else { continue };
        taken += 1;
        let theirs = match column.as_str() {
            "QUERY PLAN" => "explain",
            "work_mem" => "show",
            "column1" => "values",
            _ => "select",
        };
        assert_eq!(ours(kind, &sql), theirs, "{kind:?}: {sql:?}");
    }
    assert!(taken > CASES / 100, "{kind:?} took {taken} only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_sees_the_same_first_word() {
    let server = Postgres::shared();
    let (client, connection) =
        tokio_postgres::connect(&server.url("postgres", "postgres"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let words = ["select 7 as s", "show work_mem", "explain select 1", "values (1)"];
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        compare(SourceKind::Postgres, &words, |sql| {
            let prepared = handle.block_on(client.prepare(sql)).ok()?;
            prepared.columns().first().map(|column| column.name().to_owned())
        });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_sees_the_same_first_word() {
    let server = MariaDb::shared();
    server.database("first_words", "SELECT 1").await;
    let opts = mysql_async::Opts::from_url(&server.url("first_words", "first_words")).unwrap();
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    let words = ["select 7 as s", "show variables like 'x'", "explain select 1"];
    let handle = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        compare(SourceKind::MySql, &words, |sql| {
            let rows = handle.block_on(conn.query_iter(sql));
            let mut rows = rows.ok()?;
            let columns = rows.columns_ref();
            let name = columns.first().map(|column| column.name_str().into_owned());
            let name = name.map(|name| match name.as_str() {
                "id" => "QUERY PLAN".to_owned(),
                "Variable_name" => "work_mem".to_owned(),
                _ => name,
            });
            handle.block_on(async { rows.collect::<mysql_async::Row>().await }).ok()?;
            drop(rows);
            name
        });
    });
}

#[test]
fn sqlite_sees_the_same_first_word() {
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    let words = ["select 7 as s", "explain select 1", "values (1)"];
    compare(SourceKind::Sqlite, &words, |sql| {
        let prepared = conn.prepare(sql).ok()?;
        let name = prepared.column_names().next().map(str::to_owned);
        name.map(|name| if name == "addr" { "QUERY PLAN".to_owned() } else { name })
    });
}
