//! What a statement could become, and what shows more than it seems to.

use roothold_databases::{Secret, Source, SourceSpec, Tables};
use roothold_testing::Postgres;

use super::{source, spec};
use crate::{ask, budget};

/// What disables the source, all of it, in words.
async fn disabling(source: &Source) -> Vec<String> {
    let report = source.probe(&budget()).await.unwrap();
    report.findings.iter().filter(|f| f.disables).map(|f| f.text.clone()).collect()
}

/// Says the SQL of all that disables, after which nothing does.
async fn mend(server: &Postgres, database: &str, source: &Source) {
    for finding in &source.probe(&budget()).await.unwrap().findings {
        if finding.disables {
            server.say(database, &finding.sql).await;
        }
    }
    assert_eq!(disabling(source).await, [""; 0], "{database}");
    assert!(ask(source, "SELECT 1").await.is_ok(), "{database}");
}

fn hiding(server: &Postgres, name: &str, lists: (Option<&[&str]>, &[&str], &[&str])) -> Source {
    let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut spec = spec(server, name);
    spec.tables = Tables::new(lists.0.map(own).as_deref(), &own(lists.1), &own(lists.2)).unwrap();
    Source::new(spec).unwrap()
}

#[tokio::test]
async fn who_logs_in_is_asked_as_well_as_who_acts() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE t AS SELECT 1 AS x; CREATE ROLE acting_boss LOGIN SUPERUSER; \
        ALTER ROLE acting_boss SET role = 'acting'; CREATE ROLE acting_login LOGIN NOINHERIT; \
        GRANT acting TO acting_login; ALTER ROLE acting_login SET role = 'acting'";
    server.database("acting", setup).await;
    let of = |user: &str| {
        let dsn = Secret::new(server.url(user, "acting"));
        Source::new(SourceSpec { dsn, ..spec(server, "acting") }).unwrap()
    };
    let found = disabling(&of("acting_boss")).await;
    assert!(found.iter().any(|text| text.contains("logs in as acting_boss")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("is a superuser")), "{found:?}");
    let login = of("acting_login");
    let found = disabling(&login).await;
    assert!(found.len() == 1 && found[0].contains("which a statement can undo"), "{found:?}");
    mend(server, "acting", &of("acting_login")).await;
    server.say("acting", "CREATE TABLE app.u (x int); GRANT INSERT ON app.u TO acting").await;
    let found = disabling(&of("acting_login")).await;
    assert!(found[0].contains("can change app.u"), "{found:?}");
}

#[tokio::test]
async fn what_a_statement_can_become_reads_too() {
    let server = Postgres::shared();
    let setup = "CREATE SCHEMA hr; CREATE TABLE hr.salaries (x int); CREATE ROLE hr_reader; \
        GRANT USAGE ON SCHEMA hr TO hr_reader; GRANT SELECT ON hr.salaries TO hr_reader; \
        ALTER ROLE becoming NOINHERIT; GRANT hr_reader TO becoming; \
        CREATE FUNCTION hr.peek() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; \
        REVOKE EXECUTE ON FUNCTION hr.peek() FROM PUBLIC; GRANT EXECUTE ON FUNCTION hr.peek() TO hr_reader";
    server.database("becoming", setup).await;
    let source = hiding(server, "becoming", (Some(&["app.*"]), &[], &[]));
    let found = disabling(&source).await;
    assert!(found.iter().any(|text| text.contains("can read hr.salaries")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("can run hr.peek()")), "{found:?}");
    mend(server, "becoming", &source).await;
}

#[tokio::test]
async fn a_view_of_what_is_hidden_disables_unless_it_is_named() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE customers (id int, name text, card text) PARTITION BY LIST (id); \
        CREATE TABLE customers_one PARTITION OF customers FOR VALUES IN (1); \
        CREATE TABLE vault (s text); CREATE TABLE orders (id int); \
        CREATE VIEW of_column AS SELECT id, card AS c FROM customers; \
        CREATE VIEW of_row AS SELECT to_json(c) AS j FROM customers c; \
        CREATE VIEW of_view AS SELECT c FROM of_column; \
        CREATE MATERIALIZED VIEW kept AS SELECT s FROM vault; \
        CREATE VIEW harmless AS SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.id; \
        REVOKE SELECT ON customers, vault, of_column FROM showing; \
        GRANT SELECT (id, name) ON customers TO showing";
    server.database("showing", setup).await;
    let hidden = (&["vault"][..], &["app.customers.card"][..]);
    let found = disabling(&hiding(server, "showing", (None, hidden.0, hidden.1))).await;
    let about =
        |name: &str| found.iter().any(|text| text.contains(&format!("app.{name}, which shows")));
    for name in ["customers_one", "of_row", "of_view", "kept"] {
        assert!(about(name), "{name}: {found:?}");
    }
    assert!(!about("harmless") && !about("of_column") && found.len() == 4, "{found:?}");
    let named: &[&str] = &["app.*", "of_row", "app.of_view", "kept", "customers_one"];
    let named = hiding(server, "showing", (Some(named), hidden.0, hidden.1));
    assert_eq!(disabling(&named).await, [""; 0]);
    let others = hiding(server, "showing", (Some(&["orders", "kept"]), &[], &[]));
    let found = disabling(&others).await;
    assert!(!found.iter().any(|text| text.contains("kept")), "{found:?}");
    mend(server, "showing", &hiding(server, "showing", (None, hidden.0, hidden.1))).await;
}

#[tokio::test]
async fn rows_that_hang_on_a_setting_disable_however_it_is_read() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE rows (tenant text); ALTER TABLE rows ENABLE ROW LEVEL SECURITY; CREATE TABLE plain (x int); \
        CREATE TABLE own (who name); ALTER TABLE own ENABLE ROW LEVEL SECURITY; \
        CREATE POLICY p ON own USING (who = current_user); CREATE VIEW harmless AS SELECT x FROM plain";
    server.database("settings", setup).await;
    let source = source(server, "settings");
    assert_eq!(disabling(&source).await, [""; 0]);
    let me = "CREATE FUNCTION app.me() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(''app.tenant'', true)';";
    for (make, undo) in [
        (
            format!("{me} CREATE POLICY p ON app.rows USING (tenant = app.me())"),
            "DROP POLICY p ON app.rows; DROP FUNCTION app.me()",
        ),
        (
            "CREATE VIEW app.mine AS SELECT * FROM app.plain WHERE x::text = current_setting('app.tenant', true)".to_owned(),
            "DROP VIEW app.mine",
        ),
        (
            format!("{me} CREATE VIEW app.mine AS SELECT * FROM app.plain WHERE x::text = app.me(); \
                CREATE VIEW app.outer_view AS SELECT * FROM app.mine; REVOKE SELECT ON app.mine FROM settings"),
            "DROP VIEW app.outer_view, app.mine; DROP FUNCTION app.me()",
        ),
        (
            "CREATE VIEW app.who AS SELECT current_setting('app.tenant', true) AS t; \
                CREATE POLICY p ON app.rows USING (tenant = (SELECT t FROM app.who)); REVOKE SELECT ON app.who FROM settings"
                .to_owned(),
            "DROP POLICY p ON app.rows; DROP VIEW app.who",
        ),
    ] {
        server.say("settings", &make).await;
        let found = disabling(&source).await;
        assert!(found.len() == 1 && found[0].contains("depend on a setting"), "{make}: {found:?}");
        server.say("settings", undo).await;
        assert_eq!(disabling(&source).await, [""; 0], "{undo}");
    }
    server
        .say("settings", &format!("{me} CREATE POLICY p ON app.rows USING (tenant = app.me())"))
        .await;
    mend(server, "settings", &source).await;
}

#[tokio::test]
async fn functions_that_run_statements_disable_where_costs_are_limited() {
    let server = Postgres::shared();
    server.database("running", "CREATE TABLE n AS SELECT generate_series(1, 10) AS n").await;
    assert_eq!(disabling(&source(server, "running")).await, [""; 0]);
    let mut spec = spec(server, "running");
    spec.limits.cost_max = Some(1_000.0);
    let source = Source::new(spec).unwrap();
    let found = disabling(&source).await;
    for name in ["query_to_xml(", "ts_stat(", "ts_rewrite(", "table_to_xml("] {
        assert!(
            found.iter().any(|text| text.contains(&format!("pg_catalog.{name}"))),
            "{name}: {found:?}"
        );
    }
    mend(server, "running", &source).await;
}

#[tokio::test]
async fn what_one_caller_can_do_to_others_is_told() {
    let server = Postgres::shared();
    server
        .database(
            "telling",
            "CREATE TABLE t (x int); CREATE VIEW app.pg_stat_statements AS SELECT 'x' AS query",
        )
        .await;
    let report = source(server, "telling").probe(&budget()).await.unwrap();
    let told = |word: &str| report.findings.iter().any(|f| !f.disables && f.text.contains(word));
    for word in [
        "set_config(",
        "app.pg_stat_statements",
        "pg_terminate_backend",
        "temporary tables",
        "pg_logical_emit_message",
    ] {
        assert!(told(word), "{word}: {report:?}");
    }
    let old =
        server.see("telling", "SELECT current_setting('server_version_num')::int < 160000").await
            == "t";
    assert_eq!(told("lo_from_bytea("), old, "{report:?}");
    assert_eq!(report.disabled_by(), None);
    // The proposed role's SQL takes what everybody may do from everybody.
    server.say("telling", &report.role_sql.replace("roothold_read", "telling_read")).await;
    let dsn = Secret::new(server.url("telling_read", "telling"));
    let proposed = Source::new(SourceSpec { dsn, ..spec(server, "telling") }).unwrap();
    let left = proposed.probe(&budget()).await.unwrap();
    let left: Vec<_> = left.findings.iter().filter(|f| f.text.contains("can run")).collect();
    assert!(left.is_empty(), "{left:?}");
}
