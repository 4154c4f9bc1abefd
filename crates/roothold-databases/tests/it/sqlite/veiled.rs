//! What is written, derived, searched or made later is hidden like what it is made of.

use roothold_core::{Fault, FaultKind};
use roothold_databases::{
    DescribeRequest, Executed, Source, SourceAccess, Statement, Tables, Window,
};
use serde_json::json;

use super::File;
use crate::{ask, budget, refused, rows};

const CUSTOMERS: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, card TEXT UNIQUE, \
    tail TEXT AS (substr(card, -4)), kept TEXT AS (card) STORED); \
    INSERT INTO customers (id, name, card) VALUES (1, 'ann', 'CANARY-1111'), (2, 'bob', 'CANARY-2222');";

async fn execute(source: &Source, sql: &str) -> Result<Executed, Fault> {
    source.execute(&Statement::new(sql), Window::default(), false, &budget()).await
}

#[tokio::test]
async fn no_row_is_added_where_a_column_is_hidden() {
    let file =
        File::new(&format!("{CUSTOMERS} CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)"));
    let mut spec = file.spec();
    spec.access = SourceAccess::Write;
    spec.tables = Tables::new(None, &[], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    let mut said = Vec::new();
    for sql in [
        "insert into customers(id, name, card) values (5, 'x', 'CANARY-1111')",
        "insert into customers(id, name, card) values (5, 'x', 'CANARY-9999')",
        "replace into customers(card, id) values ('CANARY-2222', 9)",
        "insert or replace into customers values (1, 'ann', 'FAKE')",
        "insert into customers(id, name, nocol) values (5, 'x', 1)",
        "insert into customers(id, name) values (5, 'x')",
        "insert into customers default values",
        "with x as (select 1) insert into customers(card) select 'CANARY-1111'",
    ] {
        let fault = execute(&source, sql).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Denied, "{sql}: {fault}");
        said.push(fault.public().to_owned());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(rows(&source, "SELECT count(*) FROM customers").await, json!([[2]]));
    assert_eq!(
        execute(&source, "update customers set name = 'x' where id = 1")
            .await
            .unwrap()
            .rows_affected,
        1
    );
    assert_eq!(
        execute(&source, "delete from customers where id = 2").await.unwrap().rows_affected,
        1
    );
    assert_eq!(
        execute(&source, "insert into notes(text) values ('a')").await.unwrap().rows_affected,
        1
    );
    let fault = execute(&source, "insert into notes(nocol) values (1)").await.unwrap_err();
    assert!(fault.public().contains("not there, or is not to be read"), "{fault}");
}

#[tokio::test]
async fn a_table_that_is_made_later_is_no_common_table_expression() {
    let file = File::new("CREATE TABLE orders (id INT); INSERT INTO orders VALUES (1)");
    let source = file.hiding(Some(&["orders", "soon"]), &[], &[]);
    assert_eq!(rows(&source, "SELECT count(*) FROM orders").await, json!([[1]]));
    file.change("CREATE TABLE later (a INT); INSERT INTO later VALUES (1), (2), (3); CREATE TABLE soon (b INT)");
    let unknown = refused(&source, "SELECT count(*) FROM nowhere").await.public().to_owned();
    for sql in [
        "SELECT count(*) FROM later",
        "SELECT 1 FROM later",
        "SELECT exists(SELECT 1 FROM main.later)",
    ] {
        assert_eq!(refused(&source, sql).await.public(), unknown, "{sql}");
    }
    assert_eq!(rows(&source, "SELECT count(*) FROM soon").await, json!([[0]]));
    let with = "WITH later AS (SELECT 1) SELECT count(*) FROM later";
    assert_eq!(refused(&source, with).await.public(), unknown);
}

#[tokio::test]
async fn what_is_made_of_hidden_columns_is_hidden() {
    let file = File::new(&format!(
        "{CUSTOMERS} CREATE TABLE vault (secret TEXT); INSERT INTO vault VALUES ('CANARY secret'); \
        CREATE TABLE plain (a INT, b INT AS (a + 1)); INSERT INTO plain VALUES (1); \
        CREATE VIEW cards AS SELECT id, card FROM customers; CREATE VIEW people AS SELECT id, name FROM customers; \
        CREATE VIRTUAL TABLE found USING fts5(card, content='customers'); INSERT INTO found(found) VALUES ('rebuild'); \
        CREATE VIRTUAL TABLE vfound USING fts5(secret, content=\"VAULT\"); INSERT INTO vfound(vfound) VALUES ('rebuild'); \
        CREATE VIRTUAL TABLE voc USING fts5vocab(found, row); \
        CREATE VIRTUAL TABLE free USING fts5(body); INSERT INTO free VALUES ('hello world')"
    ));
    let source = file.hiding(None, &["vault"], &["customers.card"]);
    let unknown = refused(&source, "SELECT x FROM nowhere").await.public().to_owned();
    for sql in [
        "SELECT tail FROM customers",
        "SELECT kept FROM customers",
        "SELECT id FROM customers WHERE tail = '1111'",
        "SELECT rowid FROM found WHERE found MATCH 'card:1111'",
        "SELECT count(*) FROM found('1111')",
        "SELECT rowid FROM vfound WHERE vfound MATCH 'secret'",
        "SELECT term FROM voc",
        "SELECT count(*) FROM free_data",
        "SELECT count(*) FROM found_idx",
        "SELECT id FROM cards",
    ] {
        assert_eq!(refused(&source, sql).await.public(), unknown, "{sql}");
    }
    assert_eq!(rows(&source, "SELECT b FROM plain").await, json!([[2]]));
    assert_eq!(rows(&source, "SELECT name FROM people").await, json!([["ann"], ["bob"]]));
    assert_eq!(
        rows(&source, "SELECT count(*) FROM free WHERE free MATCH 'hello'").await,
        json!([[1]])
    );
    let shown = source.describe(&DescribeRequest::default(), &budget()).await.unwrap();
    let names: Vec<&str> = shown.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "free", "people", "plain"]);
    let columns: Vec<&str> = shown.tables[0].columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(columns, ["id", "name"]);
}

#[tokio::test]
async fn a_name_that_is_no_text_is_refused_before_it_is_met() {
    let file = File::new("CREATE TABLE t (qqqq INT, x INT)");
    let mut bytes = std::fs::read(&file.path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"qqqq").unwrap();
    bytes[at] = 0xFF;
    std::fs::write(&file.path, bytes).unwrap();
    let source = file.source();
    for sql in ["SELECT x FROM t", "SELECT 1"] {
        let fault = ask(&source, sql).await.expect_err(sql);
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{sql}: {fault}");
    }
}
