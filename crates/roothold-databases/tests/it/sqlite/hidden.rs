//! What is hidden answers as what is not there, whichever way it is asked for.

use roothold_core::FaultKind;
use roothold_databases::Source;
use serde_json::json;

use super::{File, SHOP};
use crate::{ask, refused, rows};

#[tokio::test]
async fn what_is_hidden_is_as_what_is_not_there() {
    let file = File::new(SHOP);
    let source = file.hiding(None, &["VAULT"], &["customers.card"]);
    assert_eq!(
        rows(&source, "SELECT name FROM people ORDER BY id").await,
        json!([["ann"], ["bob"]])
    );
    assert_eq!(
        rows(&source, "WITH vault AS (SELECT 1 AS x) SELECT x FROM vault").await,
        json!([[1]])
    );
    let unknown = refused(&source, "SELECT x FROM nowhere").await.public().to_owned();
    for sql in [
        "SELECT * FROM vault",
        "SELECT secret FROM vault",
        "SELECT 1 FROM vault",
        "SELECT count(*) FROM vault",
        "SELECT nowhere FROM vault",
        "SELECT * FROM peek",
        "SELECT secret FROM peek",
        "SELECT 1 FROM peek",
        "SELECT * FROM main.vault",
        "SELECT * FROM VaUlT",
        "SELECT card FROM customers",
        "SELECT * FROM customers",
        "SELECT name FROM customers WHERE card LIKE 'C%'",
        "SELECT name FROM customers ORDER BY card",
        "SELECT name FROM customers GROUP BY card",
        "SELECT max(card) FROM customers",
        "SELECT c.name FROM customers c JOIN customers d USING (card)",
        "SELECT name, (SELECT secret FROM vault) FROM people",
        "WITH peek AS (SELECT secret FROM vault) SELECT * FROM peek",
        "WITH people AS (SELECT card FROM customers) SELECT * FROM people",
        "SELECT * FROM customers NATURAL JOIN orders",
        "select c.id, $a(') from (select 'x' as card) x natural join customers c --'",
        "SELECT exists(SELECT 1 FROM vault)",
        "SELECT 'x' IN vault",
        "SELECT 1 FROM orders, vault",
        "SELECT rowid FROM vault",
        "SELECT o.id FROM orders o LEFT JOIN vault ON 1",
        "WITH x AS (SELECT 1) DELETE FROM vault",
        "WITH x AS (SELECT 1) INSERT INTO vault VALUES (1)",
        "WITH x AS (SELECT 1) UPDATE customers SET card = 1",
        "SELECT * FROM vault(1)",
        "SELECT * FROM vault INDEXED BY x",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM sqlite_temp_master",
        "SELECT * FROM dbstat",
        "SELECT * FROM pragma_table_list",
        "SELECT * FROM pragma_table_info('vault')",
        "SELECT * FROM sqlite_stat1",
    ] {
        let fault = refused(&source, sql).await;
        let same = fault.public() == unknown;
        assert!(
            same || fault.public().contains("pragma") || fault.public().contains("USING"),
            "{sql}: {fault}; not {unknown}"
        );
        assert!(!fault.public().contains("CANARY"), "{sql}: {fault}");
    }
    let only = file.hiding(Some(&["orders"]), &[], &[]);
    assert_eq!(rows(&only, "SELECT amount FROM orders").await, json!([[1.5]]));
    assert_eq!(refused(&only, "SELECT name FROM people").await.public(), unknown);
}

/// Fragments that a lexer may read otherwise than SQLite does.
const FRAGMENTS: &[&str] = &[
    "'",
    "''",
    "\"",
    "`",
    "[",
    "]",
    "/*",
    "*/",
    "--",
    "\n",
    "\r",
    " ",
    "\u{a0}",
    "\u{feff}",
    "\u{c}",
    "\u{b}",
    "x'",
    "e'",
    "U&'",
    "\\",
    "?1",
    "?",
    ":a",
    "@a",
    "$a",
    "$a::",
    "$$",
    "1",
    "1e",
    ".5",
    "0x1",
    "_",
    "é",
    ";",
    "(",
    ")",
    "=",
    "->",
    "->>",
    "||",
    "USING(card)",
    "using (card)",
    "NATURAL JOIN g",
    "natural join g",
    "JOIN g",
    ",",
    "AS",
    "c",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() })]

    /// However a statement is dressed, a guess is not compared with a hidden column.
    #[test]
    fn a_hidden_column_cannot_be_guessed(parts in proptest::collection::vec(0..FRAGMENTS.len(), 0..7), turn in 0..3_usize) {
        thread_local! {
            static SHARED: (File, Source, tokio::runtime::Runtime) = {
                let file = File::new(SHOP);
                let source = file.hiding(None, &[], &["customers.card"]);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                (file, source, runtime)
            };
        }
        let dress: String = parts.iter().map(|part| FRAGMENTS[*part]).collect();
        let sql = match turn {
            0 => format!("WITH g(card) AS (VALUES ('CANARY-CARD')) SELECT name FROM customers {dress} JOIN g {dress} USING (card)"),
            1 => format!("WITH g(card) AS (VALUES ('CANARY-CARD')) SELECT name FROM customers JOIN g ON 1 = {dress}"),
            _ => format!("WITH g(card) AS (VALUES ('CANARY-CARD')) SELECT {dress} name FROM customers c {dress} NATURAL JOIN g {dress}"),
        };
        SHARED.with(|(_, source, runtime)| {
            let answer = runtime.block_on(ask(source, &sql));
            // A join without the column is two times one row: one that compares it shows two names too, but is refused.
            let named = sql.to_lowercase();
            if let Ok(answer) = answer {
                let plain = rusqlite::Connection::open_in_memory().unwrap();
                plain.execute_batch("CREATE TABLE customers (id, name, card); INSERT INTO customers VALUES (1, 'ann', 'other')").unwrap();
                // With no card that matches, a statement that does not look at cards answers all the same.
                let blind = plain.prepare(&sql).and_then(|mut prepared| {
                    let mut rows = prepared.raw_query();
                    let mut count = 0;
                    while rows.next()?.is_some() {
                        count += 1;
                    }
                    Ok(count)
                });
                let looked = matches!(blind, Ok(0)) && !answer.rows.is_empty();
                assert!(!looked, "{named}");
            }
        });
    }
}

#[tokio::test]
async fn full_text_tables_are_searched_and_their_shadows_hidden() {
    let file = File::new(
        "CREATE VIRTUAL TABLE docs USING fts5(body); INSERT INTO docs VALUES ('hello world'), ('good bye'); \
        CREATE VIRTUAL TABLE old USING fts4(body); INSERT INTO old VALUES ('hello again')",
    );
    let source = file.source();
    for _ in 0..3 {
        let found = rows(
            &source,
            "SELECT highlight(docs, 0, '[', ']') FROM docs WHERE docs MATCH 'hello' ORDER BY rank",
        )
        .await;
        assert_eq!(found, json!([["[hello] world"]]));
        assert_eq!(
            rows(&source, "SELECT snippet(old) FROM old WHERE body MATCH 'again'").await,
            json!([["hello <b>again</b>"]])
        );
    }
    for sql in [
        "SELECT * FROM docs_content",
        "SELECT * FROM docs_data",
        "SELECT block FROM docs_data",
        "SELECT * FROM old_segments",
    ] {
        assert_eq!(refused(&source, sql).await.kind(), FaultKind::Invalid, "{sql}");
    }
    let hiding = file.hiding(None, &[], &["docs.body"]);
    for sql in [
        "SELECT rowid FROM docs WHERE docs MATCH 'hello'",
        "SELECT rowid FROM docs('body:hello')",
        "SELECT count(*) FROM docs",
    ] {
        assert_eq!(refused(&hiding, sql).await.kind(), FaultKind::Invalid, "{sql}");
    }
    assert_eq!(rows(&source, "SELECT value FROM json_each('[1,2]')").await, json!([[1], [2]]));
}
