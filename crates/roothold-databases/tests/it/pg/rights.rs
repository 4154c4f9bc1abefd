//! What a role could do too much is found, named and mended; and until then nothing is asked.

use roothold_core::FaultKind;
use roothold_databases::{Report, Secret, Source, SourceKind, SourceSpec, Tables};
use roothold_testing::Postgres;

use super::{source, spec};
use crate::{ask, budget, refused, rows};

async fn probe(source: &Source) -> std::sync::Arc<Report> {
    source.probe(&budget()).await.unwrap()
}

#[tokio::test]
async fn a_role_that_can_write_disables_its_source_and_the_sql_mends_it() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE orders (id int, amount int); CREATE SEQUENCE seq; CREATE SCHEMA other; \
        CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN 1; END $$; \
        REVOKE EXECUTE ON FUNCTION wipe() FROM PUBLIC; CREATE TABLE rows (tenant text); \
        ALTER TABLE rows ENABLE ROW LEVEL SECURITY; \
        CREATE POLICY own ON rows USING (tenant = current_setting('app.tenant', true)); CREATE TABLE free (x int)";
    server.database("rights", setup).await;
    server
        .say("rights", "REVOKE EXECUTE ON FUNCTION set_config(text, text, boolean) FROM PUBLIC")
        .await;
    let source = source(server, "rights");
    assert_eq!(probe(&source).await.disabled_by(), None);
    let grants: &[(&str, &str)] = &[
        ("GRANT INSERT ON app.orders TO rights", "can change app.orders"),
        ("GRANT UPDATE (amount) ON app.orders TO rights", "can change app.orders"),
        ("GRANT TRUNCATE ON app.orders TO PUBLIC", "can change app.orders"),
        ("GRANT USAGE ON SEQUENCE app.seq TO rights", "advance the sequence app.seq"),
        ("GRANT CREATE ON SCHEMA other TO PUBLIC", "functions in the schema other"),
        ("GRANT CREATE ON DATABASE rights TO rights", "make schemas"),
        (
            "GRANT EXECUTE ON FUNCTION app.wipe() TO rights",
            "wipe() with the rights of its owner postgres",
        ),
        ("GRANT pg_read_server_files TO rights", "read files of the server"),
        ("GRANT pg_execute_server_program TO rights", "run programs"),
        ("GRANT pg_write_all_data TO rights", "write every table"),
        ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO rights", "pg_read_file(text)"),
        (
            "GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO rights",
            "app.rows that the role sees depend",
        ),
        (
            "CREATE VIEW app.own AS SELECT * FROM app.rows WHERE tenant = current_setting('app.tenant', true); \
             GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO rights",
            "app.own",
        ),
        ("ALTER ROLE rights SUPERUSER", "is a superuser"),
        ("ALTER ROLE rights CREATEROLE", "can make roles"),
        ("ALTER ROLE rights BYPASSRLS", "row security"),
    ];
    for (grant, words) in grants {
        server.say("rights", grant).await;
        let report = probe(&source).await;
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.disables).collect();
        assert!(found.iter().any(|finding| finding.text.contains(words)), "{grant}: {found:?}");
        let fault = refused(&source, "SELECT 1").await;
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{grant}");
        assert!(fault.public().contains("the database rights is disabled"), "{grant}: {fault}");
        if grant.contains("SUPERUSER") {
            server.say("rights", "ALTER ROLE rights NOSUPERUSER").await;
        }
        for finding in &found {
            if !finding.sql.contains("<administrator>") {
                server.say("rights", &finding.sql).await;
            }
        }
        let mended = probe(&source).await;
        assert_eq!(mended.disabled_by(), None, "{grant}: {mended:?}");
        assert!(ask(&source, "SELECT 1").await.is_ok(), "{grant}");
    }
    server.say("rights", "ALTER TABLE app.free OWNER TO rights").await;
    let report = probe(&source).await;
    assert!(report.findings.iter().any(|f| f.text.contains("owns TABLE app.free")), "{report:?}");
}

#[tokio::test]
async fn rights_of_roles_it_is_a_member_of_count_inherited_or_not() {
    let server = Postgres::shared();
    server.database("members", "CREATE TABLE t (x int)").await;
    let source = source(server, "members");
    let grant = "CREATE ROLE writers; GRANT INSERT ON app.t TO writers; GRANT writers TO members; \
                 ALTER ROLE members NOINHERIT";
    server.say("members", grant).await;
    let report = probe(&source).await;
    assert!(report.disabled_by().unwrap().text.contains("can change app.t"), "{report:?}");
}

#[tokio::test]
async fn what_is_hidden_must_be_hidden_by_the_role() {
    let server = Postgres::shared();
    let setup =
        "CREATE TABLE customers (id int, name text, card text); CREATE TABLE vault (s text)";
    server.database("hiding", setup).await;
    let mut spec = spec(server, "hiding");
    spec.tables = Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    let report = probe(&source).await;
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.disables).collect();
    assert_eq!(found.len(), 2, "{report:?}");
    for finding in found {
        server.say("hiding", &finding.sql).await;
    }
    assert_eq!(probe(&source).await.disabled_by(), None);
    assert_eq!(rows(&source, "SELECT count(name) FROM customers").await, serde_json::json!([[0]]));
    for sql in [
        "SELECT card FROM customers",
        "SELECT * FROM customers",
        "SELECT * FROM vault",
        "SELECT c FROM customers c",
        "SELECT id FROM customers ORDER BY card",
    ] {
        assert_eq!(refused(&source, sql).await.kind(), FaultKind::Denied, "{sql}");
    }
}

/// The functions that a policy calls may read a setting: whoever may choose it chooses the rows.
#[tokio::test]
async fn row_security_by_a_function_counts_as_by_a_setting() {
    let server = Postgres::shared();
    let setup = "CREATE FUNCTION me() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('app.tenant', true) $$; \
                 CREATE TABLE rows (tenant text); ALTER TABLE rows ENABLE ROW LEVEL SECURITY; \
                 CREATE POLICY own ON rows USING (tenant = me())";
    server.database("tenants", setup).await;
    let source = source(server, "tenants");
    let report = probe(&source).await;
    let found = report.disabled_by().unwrap();
    assert!(found.text.contains("app.rows"), "{report:?}");
    server.say("tenants", &found.sql).await;
    assert_eq!(probe(&source).await.disabled_by(), None);
}

#[tokio::test]
async fn the_role_that_is_proposed_reads_and_can_do_no_more() {
    let server = Postgres::start();
    server.say("postgres", "CREATE DATABASE \"Shop\"").await;
    let setup = "CREATE SCHEMA app; CREATE TABLE app.orders (id int); CREATE TABLE app.\"Wide Table\" (a int, secret int); \
                 INSERT INTO app.orders VALUES (1)";
    server.say("Shop", setup).await;
    let make = |user: &str| {
        let mut spec =
            SourceSpec::new("shop", SourceKind::Postgres, Secret::new(server.url(user, "Shop")));
        spec.tables = Tables::new(None, &[], &["Wide Table.secret".to_owned()]).unwrap();
        Source::new(spec).unwrap()
    };
    let report = probe(&make("postgres")).await;
    assert!(report.disabled_by().unwrap().text.contains("superuser"), "{report:?}");
    server.say("Shop", &report.role_sql).await;
    let source = make("roothold_read");
    let report = probe(&source).await;
    assert_eq!(report.disabled_by(), None, "{report:?}");
    assert_eq!(rows(&source, "SELECT id FROM app.orders").await, serde_json::json!([[1]]));
    assert_eq!(rows(&source, "SELECT a FROM app.\"Wide Table\"").await, serde_json::json!([]));
    assert_eq!(
        refused(&source, "SELECT secret FROM app.\"Wide Table\"").await.kind(),
        FaultKind::Denied
    );
}
