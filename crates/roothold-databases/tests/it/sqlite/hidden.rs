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

/// A row that is put in has all columns, so it would tell whether a hidden value is there already.
#[tokio::test]
async fn rows_are_not_put_into_a_table_of_which_a_column_is_hidden() {
    let file = File::new(SHOP);
    file.change("CREATE UNIQUE INDEX one_card ON customers (card) WHERE id = 1");
    let mut spec = file.spec();
    spec.access = roothold_databases::SourceAccess::Write;
    spec.tables =
        roothold_databases::Tables::new(None, &[], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    let (whole, window) = (crate::budget(), roothold_databases::Window::default());
    let execute = async |sql: &str| {
        let statement = roothold_databases::Statement::new(sql);
        source.execute(&statement, window, true, &whole).await
    };
    let mut said = Vec::new();
    for sql in [
        "INSERT INTO customers (id, name, card) VALUES (5, 'x', 'CANARY-CARD')",
        "INSERT INTO customers (id, name, card) VALUES (5, 'x', 'other')",
        "INSERT INTO customers (id, name, nocolumn) VALUES (5, 'x', 'y')",
        "INSERT INTO customers VALUES (5, 'x', 'y')",
        "REPLACE INTO customers (card, id) VALUES ('CANARY-CARD', 9)",
        "INSERT OR REPLACE INTO customers VALUES (1, 'ann', 'other')",
        "INSERT INTO customers DEFAULT VALUES",
    ] {
        said.push(execute(sql).await.unwrap_err().public().to_owned());
    }
    assert!(
        said.iter().all(|text| *text == said[0]) && said[0].contains("all columns"),
        "{said:?}"
    );
    assert_eq!(
        execute("UPDATE customers SET name = 'c' WHERE id = 1").await.unwrap().rows_affected,
        1
    );
    assert_eq!(execute("INSERT INTO orders VALUES (2, 1, 2.5)").await.unwrap().rows_affected, 1);
}

#[tokio::test]
async fn a_table_that_is_new_is_hidden_at_once() {
    let file = File::new(SHOP);
    let source = file.hiding(Some(&["customers", "orders"]), &[], &[]);
    assert_eq!(rows(&source, "SELECT count(*) FROM orders").await, json!([[1]]));
    file.change("CREATE TABLE later (a); INSERT INTO later VALUES (1), (2), (3)");
    for sql in
        ["SELECT count(*) FROM later", "SELECT 1 FROM later", "SELECT exists (SELECT 1 FROM later)"]
    {
        assert_eq!(refused(&source, sql).await.kind(), FaultKind::Invalid, "{sql}");
    }
    let all = file.source();
    assert_eq!(rows(&all, "SELECT count(*) FROM later").await, json!([[3]]));
    file.change("CREATE TABLE latest (a)");
    assert_eq!(rows(&all, "SELECT count(*) FROM latest").await, json!([[0]]));
}

#[tokio::test]
async fn views_on_what_is_hidden_are_not_described() {
    let file = File::new(SHOP);
    file.change("CREATE VIEW cards AS SELECT id, card FROM customers");
    let source = file.hiding(None, &["vault"], &["customers.card"]);
    let request = roothold_databases::DescribeRequest::default();
    let described = source.describe(&request, &crate::budget()).await.unwrap();
    let names: Vec<&str> = described.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "orders", "people"]);
    assert!(!serde_json::to_string(&described.tables).unwrap().contains("card"));
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
