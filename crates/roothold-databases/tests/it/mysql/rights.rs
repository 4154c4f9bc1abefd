//! What a role could do too much is found, named and mended; and until then nothing is asked.

use roothold_core::FaultKind;
use roothold_databases::{Report, Secret, Source, SourceKind, SourceSpec, Tables};
use roothold_testing::MariaDb;
use serde_json::json;

use super::{source, spec};
use crate::{ask, budget, refused, rows};

async fn probe(source: &Source) -> std::sync::Arc<Report> {
    source.probe(&budget()).await.unwrap()
}

const SETUP: &str = "CREATE TABLE orders (id INT, amount INT); \
    CREATE FUNCTION peek() RETURNS INT RETURN 1; CREATE PROCEDURE wipe() DELETE FROM orders";

#[tokio::test]
async fn a_role_that_can_do_more_disables_its_source_and_the_sql_mends_it() {
    let server = MariaDb::start();
    server.database("rights", SETUP).await;
    server.say("mysql", "CREATE ROLE giving").await;
    let source = source(&server, "rights");
    assert_eq!(probe(&source).await.disabled_by(), None);
    let grants: &[(&str, &str)] = &[
        ("GRANT INSERT ON rights.orders TO rights@'%'", "more than read `rights`.`orders`: INSERT"),
        ("GRANT UPDATE (amount) ON rights.orders TO rights@'%'", "UPDATE (`amount`)"),
        ("GRANT DELETE, DROP ON rights.* TO rights@'%'", "`rights`.*: DELETE, DROP"),
        ("GRANT CREATE TEMPORARY TABLES ON rights.* TO rights@'%'", "CREATE TEMPORARY TABLES"),
        ("GRANT LOCK TABLES ON rights.* TO rights@'%'", "LOCK TABLES"),
        (
            "GRANT EXECUTE ON rights.* TO rights@'%'",
            "run, with the rights of its owner, `rights`.*",
        ),
        ("GRANT EXECUTE ON FUNCTION rights.peek TO rights@'%'", "FUNCTION `rights`.`peek`"),
        ("GRANT EXECUTE ON PROCEDURE rights.wipe TO rights@'%'", "PROCEDURE `rights`.`wipe`"),
        ("GRANT FILE ON *.* TO rights@'%'", "files of the server"),
        ("GRANT PROCESS ON *.* TO rights@'%'", "statements of all others"),
        ("GRANT SUPER ON *.* TO rights@'%'", "more than read *.*: SUPER"),
        ("GRANT SELECT ON mysql.* TO rights@'%'", "keeps its accounts"),
        ("GRANT SELECT ON *.* TO rights@'%'", "reads *.*, where the server keeps its accounts"),
        (
            "GRANT SELECT ON rights.orders TO rights@'%' WITH GRANT OPTION",
            "give its rights on `rights`.`orders`",
        ),
        ("GRANT INSERT ON rights.orders TO PUBLIC", "more than read `rights`.`orders`: INSERT"),
        (
            "CREATE ROLE writers; GRANT INSERT ON rights.orders TO writers; GRANT writers TO rights@'%'",
            "more than read",
        ),
        (
            "CREATE ROLE outer_role; CREATE ROLE inner_role; GRANT FILE ON *.* TO inner_role; \
          GRANT inner_role TO outer_role; GRANT outer_role TO rights@'%'",
            "files of the server",
        ),
        ("GRANT giving TO rights@'%' WITH ADMIN OPTION", "give the rights of 'giving' to others"),
        ("GRANT ALL ON rights.* TO rights@'%'", "do everything with `rights`.*"),
    ];
    for (grant, words) in grants {
        server.say("mysql", grant).await;
        let report = probe(&source).await;
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.disables).collect();
        assert!(found.iter().any(|finding| finding.text.contains(words)), "{grant}: {found:?}");
        let fault = refused(&source, "SELECT 1").await;
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{grant}");
        assert!(fault.public().contains("the database rights is disabled"), "{grant}: {fault}");
        for finding in &found {
            server.say("mysql", &finding.sql).await;
        }
        // Some took away what the test reads with.
        server.say("mysql", "GRANT SELECT ON rights.* TO rights@'%'").await;
        let mended = probe(&source).await;
        assert_eq!(mended.disabled_by(), None, "{grant}: {mended:?}");
        assert!(ask(&source, "SELECT 1").await.is_ok(), "{grant}");
    }
    server.say("mysql", "GRANT SHOW DATABASES ON *.* TO rights@'%'").await;
    let report = probe(&source).await;
    assert_eq!((report.disabled_by(), report.findings.len()), (None, 1), "{report:?}");
}

#[tokio::test]
async fn functions_that_are_trusted_may_be_run() {
    let server = MariaDb::shared();
    server.database("trusting", SETUP).await;
    server.say("mysql", "GRANT EXECUTE ON FUNCTION trusting.peek TO trusting@'%'").await;
    let mut spec = spec(server, "trusting");
    assert!(probe(&Source::new(spec.clone()).unwrap()).await.disabled_by().is_some());
    spec.functions_trusted = vec!["trusting.PEEK".to_owned()];
    let source = Source::new(spec).unwrap();
    assert_eq!(rows(&source, "SELECT trusting.peek()").await, json!([[1]]));
}

#[tokio::test]
async fn what_is_hidden_must_be_hidden_by_the_role() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE customers (id INT, name TEXT, card TEXT); CREATE TABLE vault (s TEXT); CREATE TABLE orders (id INT)";
    server.database("hiding", setup).await;
    let mut spec = spec(server, "hiding");
    spec.tables = Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    assert_eq!(refused(&source, "SELECT 1").await.kind(), FaultKind::Unavailable);
    let report = probe(&source).await;
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.disables).collect();
    assert!(!found.is_empty(), "{report:?}");
    for finding in found {
        server.say("hiding", &finding.sql).await;
    }
    let mended = probe(&source).await;
    assert_eq!(mended.disabled_by(), None, "{mended:?}");
    assert_eq!(rows(&source, "SELECT COUNT(name) FROM customers").await, json!([[0]]));
    assert_eq!(rows(&source, "SELECT COUNT(*) FROM orders").await, json!([[0]]));
    for sql in ["SELECT card FROM customers", "SELECT * FROM customers", "SELECT * FROM vault"] {
        assert_eq!(refused(&source, sql).await.kind(), FaultKind::Invalid, "{sql}");
    }
}

#[tokio::test]
async fn a_view_is_named_or_not_read_while_something_is_hidden() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE customers (id INT, card TEXT); CREATE VIEW cards AS SELECT id, card FROM customers; \
                 REVOKE SELECT ON viewing.* FROM viewing@'%'; GRANT SELECT (id) ON viewing.customers TO viewing@'%'; \
                 GRANT SELECT ON viewing.cards TO viewing@'%'";
    server.database("viewing", setup).await;
    let make = |allowed: Option<&[String]>, hidden: &[String]| {
        let mut spec = spec(server, "viewing");
        spec.tables = Tables::new(allowed, &[], hidden).unwrap();
        Source::new(spec).unwrap()
    };
    let hidden = ["customers.card".to_owned()];
    assert_eq!(probe(&make(None, &[])).await.disabled_by(), None);
    let report = probe(&make(None, &hidden)).await;
    let found = report.disabled_by().unwrap();
    assert!(found.text.contains("the view `viewing`.`cards`"), "{report:?}");
    let named = ["viewing.customers", "viewing.cards"].map(str::to_owned);
    assert_eq!(probe(&make(Some(&named), &hidden)).await.disabled_by(), None);
    server.say("viewing", &found.sql).await;
    assert_eq!(probe(&make(None, &hidden)).await.disabled_by(), None);
}

#[tokio::test]
async fn the_role_that_is_proposed_reads_and_can_do_no_more() {
    let server = MariaDb::start();
    let setup = "CREATE DATABASE `Shop`; CREATE TABLE `Shop`.orders (id INT); INSERT INTO `Shop`.orders VALUES (1); \
        CREATE TABLE `Shop`.`Wide ``Table` (a INT, secret INT)";
    server.say("mysql", setup).await;
    let make = |user: &str, socket: bool| {
        let url = if socket { server.socket(user, "Shop") } else { server.url(user, "Shop") };
        let mut spec = SourceSpec::new("shop", SourceKind::MySql, Secret::new(url));
        spec.tables = Tables::new(None, &[], &["Wide `Table.secret".to_owned()]).unwrap();
        Source::new(spec).unwrap()
    };
    let report = probe(&make("root", true)).await;
    assert!(report.disabled_by().unwrap().text.contains("do everything with *.*"), "{report:?}");
    server.say("Shop", &report.role_sql.replace('…', "s3cr3t")).await;
    let source = make("roothold_read:s3cr3t", false);
    let report = probe(&source).await;
    assert_eq!(report.disabled_by(), None, "{report:?}");
    assert_eq!(rows(&source, "SELECT id FROM orders").await, json!([[1]]));
    assert_eq!(rows(&source, "SELECT a FROM `Wide ``Table`").await, json!([]));
    assert_eq!(
        refused(&source, "SELECT secret FROM `Wide ``Table`").await.kind(),
        FaultKind::Invalid
    );
    let limit = rows(&source, "SELECT @@max_statement_time").await;
    assert_eq!(limit, json!([[30.0]]));
}
