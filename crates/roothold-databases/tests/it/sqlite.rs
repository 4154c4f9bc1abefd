//! SQLite: what the authorizer, the limits and the modes of opening hold.

mod bounds;
mod hidden;
mod veiled;

use std::path::{Path, PathBuf};
use std::time::Duration;

use roothold_core::{Budget, FaultKind};
use roothold_databases::{
    DescribeRequest, Secret, Source, SourceAccess, SourceKind, SourceSpec, Statement, Tables,
    Window,
};
use rusqlite::Connection;
use serde_json::json;

use crate::{ask, budget, refused, rows};

struct File {
    _dir: tempfile::TempDir,
    folder: PathBuf,
    path: PathBuf,
}

impl File {
    fn new(setup: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a b%?#");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("app.db");
        let file = Self { _dir: dir, folder, path };
        file.change(setup);
        file
    }

    fn change(&self, sql: &str) {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }

    fn spec(&self) -> SourceSpec {
        SourceSpec::new("app", SourceKind::Sqlite, Secret::new(self.path.display().to_string()))
    }

    fn source(&self) -> Source {
        Source::new(self.spec()).unwrap()
    }

    fn hiding(&self, allowed: Option<&[&str]>, hidden: &[&str], columns: &[&str]) -> Source {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let mut spec = self.spec();
        spec.tables =
            Tables::new(allowed.map(own).as_deref(), &own(hidden), &own(columns)).unwrap();
        Source::new(spec).unwrap()
    }

    fn names(&self) -> Vec<String> {
        names(&self.folder)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const SHOP: &str = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, card TEXT); \
    INSERT INTO customers VALUES (1, 'ann', 'CANARY-CARD'), (2, 'bob', 'CANARY-CARD'); \
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, amount REAL); \
    INSERT INTO orders VALUES (1, 1, 1.5); CREATE TABLE vault (secret TEXT); INSERT INTO vault VALUES ('CANARY-VAULT'); \
    CREATE VIEW peek AS SELECT secret FROM vault; CREATE VIEW people AS SELECT id, name FROM customers; \
    CREATE INDEX by_card ON customers (card); CREATE UNIQUE INDEX by_name ON customers (name);";

#[tokio::test]
async fn nothing_but_reading_gets_through() {
    let file = File::new(SHOP);
    let source = file.source();
    let before = std::fs::read(&file.path).unwrap();
    let at = |name: &str| file.folder.join(name).display().to_string();
    let statements = [
        format!("ATTACH '{}' AS x", at("x.db")),
        format!("ATTACH DATABASE 'file:{}?mode=rwc' AS x", at("y.db")),
        format!("VACUUM INTO '{}'", at("z.db")),
        "VACUUM".into(),
        "DETACH main".into(),
        "BEGIN".into(),
        "BEGIN IMMEDIATE".into(),
        "COMMIT".into(),
        "ROLLBACK".into(),
        "SAVEPOINT a".into(),
        "RELEASE a".into(),
        "PRAGMA query_only = OFF".into(),
        "PRAGMA writable_schema = ON".into(),
        "PRAGMA table_info(vault)".into(),
        "PRAGMA database_list".into(),
        "SELECT * FROM pragma_database_list".into(),
        "PRAGMA journal_mode = WAL".into(),
        "PRAGMA temp_store_directory = '/tmp'".into(),
        "PRAGMA user_version = 1".into(),
        "INSERT INTO vault VALUES (1)".into(),
        "UPDATE vault SET secret = 1".into(),
        "DELETE FROM vault RETURNING *".into(),
        "REPLACE INTO vault VALUES (1)".into(),
        "WITH x AS (SELECT 1) DELETE FROM vault".into(),
        "CREATE TABLE x (a)".into(),
        "CREATE TEMP TABLE x (a)".into(),
        "CREATE TEMP VIEW v AS SELECT 1".into(),
        "CREATE VIRTUAL TABLE f USING fts5(x)".into(),
        "DROP TABLE vault".into(),
        "ALTER TABLE vault ADD x".into(),
        "CREATE INDEX i ON vault (secret)".into(),
        "REINDEX".into(),
        "ANALYZE".into(),
        "CREATE TRIGGER t AFTER INSERT ON vault BEGIN SELECT 1; END".into(),
        "SELECT load_extension('/tmp/x.so')".into(),
        "SELECT readfile('/etc/passwd')".into(),
        "SELECT writefile('/tmp/x', 'y')".into(),
        "SELECT fts3_tokenizer('simple')".into(),
        "SELECT sqlite_compileoption_get(1)".into(),
        "SELECT sqlite_source_id()".into(),
        "SELECT 1; SELECT 2".into(),
        "SELECT 1; DROP TABLE vault".into(),
        "SELECT 1 \0 DROP TABLE vault".into(),
        String::new(),
        ";".into(),
        "-- x".into(),
        "EXPLAIN DELETE FROM vault".into(),
        "SELECT ?1".into(),
        "SELECT 'a".into(),
        "SELECT (".into(),
        format!("SELECT {}1", "-".repeat(3_000)),
        format!("SELECT {}", vec!["SELECT 1"; 200].join(" UNION ALL ")),
        format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        "SELECT zeroblob(100000000)".into(),
        "SELECT printf('%.*c', 100000000, 'x')".into(),
        "SELECT \"CANARY-LITERAL\"".into(),
        format!("SELECT 'x' LIKE '{}'", "%a".repeat(3_000)),
    ];
    for sql in &statements {
        let fault = refused(&source, sql).await;
        let plain =
            matches!(fault.kind(), FaultKind::Invalid | FaultKind::Denied | FaultKind::Limit);
        assert!(plain, "{sql:.100}: {:?} {fault}", fault.kind());
        assert!(
            !fault.public().contains("app.db") && fault.public().len() < 700,
            "{sql:.100}: {fault}"
        );
        assert_eq!(file.names(), ["app.db"], "{sql:.100} made files");
    }
    assert_eq!(std::fs::read(&file.path).unwrap(), before);
    assert_eq!(rows(&source, "SELECT count(*) FROM vault").await, json!([[1]]));
}

#[tokio::test]
async fn endless_statements_end_with_their_call() {
    let file = File::new(SHOP);
    let source = std::sync::Arc::new(file.source());
    let endless =
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    let cross = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 3000) SELECT count(*) FROM t a, t b, t c, t d";
    for sql in [endless, cross] {
        let short = Budget::new(1 << 20, 10, Duration::from_millis(200));
        let fault =
            source.query(&Statement::new(sql), Window::default(), &short).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Timeout, "{fault}");
    }
    // Threads of calls that were given up end too: there are no more than these places.
    let mut spec = file.spec();
    spec.connections_max = 2;
    let source = std::sync::Arc::new(Source::new(spec).unwrap());
    for _ in 0..6 {
        let whole = budget();
        let statement = Statement::new(endless);
        let asked = source.query(&statement, Window::default(), &whole);
        assert!(tokio::time::timeout(Duration::from_millis(30), asked).await.is_err());
    }
    assert_eq!(rows(&source, "SELECT 1").await, json!([[1]]));
    let whole = budget();
    let own = (std::sync::Arc::clone(&source), whole.clone());
    let asked = tokio::spawn(async move {
        own.0.query(&Statement::new(endless), Window::default(), &own.1).await
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    whole.cancel();
    assert_eq!(asked.await.unwrap().unwrap_err().kind(), FaultKind::Cancelled);
}

#[tokio::test]
async fn values_and_parameters_lose_nothing() {
    let file = File::new(
        "CREATE TABLE t (v); INSERT INTO t VALUES (9007199254740993), (1.5), ('x'), (x'00ff'), (NULL), (CAST(x'ff61' AS TEXT)), (9e999)",
    );
    let source = file.source();
    let answer = ask(&source, "SELECT v FROM t ORDER BY rowid").await.unwrap();
    let values: Vec<_> = answer.rows.iter().map(|row| row[0].clone()).collect();
    assert_eq!(
        values,
        [
            json!("9007199254740993"),
            json!(1.5),
            json!("x"),
            json!("\\x00ff"),
            json!(null),
            json!("\\xff61"),
            json!("Infinity")
        ]
    );
    assert!(answer.stable && answer.columns[0].kind == "any");
    let statement = Statement {
        sql: "SELECT ?1, ?2, typeof(?3), ?4 IS NULL, ?5".to_owned(),
        parameters: [json!("' OR 1"), json!(true), json!(2.5), json!(null), json!(["a"])]
            .into_iter()
            .map(Into::into)
            .collect(),
    };
    let answer = source.query(&statement, Window::default(), &budget()).await.unwrap();
    assert_eq!(
        answer.rows,
        [[json!("' OR 1"), json!(1), json!("real"), json!(1), json!("[\"a\"]")]]
    );
    let wrong = Statement { sql: "SELECT ?1".to_owned(), parameters: Vec::new() };
    let fault = source.query(&wrong, Window::default(), &budget()).await.unwrap_err();
    assert!(fault.public().contains("1 parameters and 0 values"), "{fault}");
    let page = Window { offset: 1, rows: 2, bytes: 0 };
    let page =
        source.query(&Statement::new("VALUES (1), (2), (3), (4)"), page, &budget()).await.unwrap();
    assert_eq!((page.rows.len(), page.next_offset, &page.rows[0][0]), (2, Some(3), &json!(2)));
}

#[tokio::test]
async fn a_file_of_an_attacker_does_nothing() {
    let file = File::new(
        "CREATE TABLE t (x); INSERT INTO t VALUES (1); \
        CREATE VIEW loads AS SELECT load_extension('/tmp/x.so') AS y; CREATE VIEW tokens AS SELECT fts3_tokenizer('simple', x'00') AS y FROM t; \
        CREATE TRIGGER side INSTEAD OF INSERT ON loads BEGIN DELETE FROM t; END",
    );
    let source = file.source();
    for sql in ["SELECT * FROM loads", "SELECT * FROM tokens"] {
        assert!(ask(&source, sql).await.is_err(), "{sql}");
    }
    // Damaged, cut, no database, a link, a folder, a device.
    let mut bytes = std::fs::read(&file.path).unwrap();
    let place = |name: &str| file.folder.join(name);
    bytes[100..].fill(0xff);
    std::fs::write(place("damaged.db"), &bytes).unwrap();
    std::fs::write(place("cut.db"), &bytes[..600]).unwrap();
    std::fs::write(place("text.db"), "CANARY-TEXT is no database").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place("link.db")).unwrap();
    std::os::unix::fs::symlink(&file.path, place("alias.db")).unwrap();
    let before = file.names();
    for path in ["damaged.db", "cut.db", "text.db", "link.db", "alias.db", "none.db", ""]
        .map(place)
        .iter()
        .chain([&PathBuf::from("/dev/zero")])
    {
        let spec =
            SourceSpec::new("bad", SourceKind::Sqlite, Secret::new(path.display().to_string()));
        let fault = refused(&Source::new(spec).unwrap(), "SELECT * FROM t").await;
        let cause = std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default();
        let said = format!("{fault} {fault:?} {cause}");
        assert!(
            !said.contains(".db") && !said.contains("CANARY") && !said.contains("/dev"),
            "{said}"
        );
        assert!(
            matches!(fault.kind(), FaultKind::Unavailable | FaultKind::Invalid),
            "{path:?}: {said}"
        );
    }
    assert_eq!(file.names(), before);
    assert!(
        Source::new(SourceSpec::new("x", SourceKind::Sqlite, Secret::new("relative.db"))).is_err()
    );
    assert!(
        Source::new(SourceSpec::new("x", SourceKind::Sqlite, Secret::new(":memory:"))).is_err()
    );
}

#[tokio::test]
async fn a_file_in_wal_mode_is_read_and_nothing_is_made_beside_it() {
    let file = File::new("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    assert_eq!(file.names(), ["app.db"]);
    let source = file.source();
    assert_eq!(rows(&source, "SELECT x FROM t").await, json!([[1]]));
    assert_eq!(file.names(), ["app.db"]);
    let writer = Connection::open(&file.path).unwrap();
    writer.execute_batch("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(
        rows(&source, "SELECT count(*) FROM t").await,
        json!([[2]]),
        "what lies in the -wal is read"
    );
    writer.execute_batch("CREATE TABLE u (y); INSERT INTO u VALUES (3)").unwrap();
    assert_eq!(rows(&source, "SELECT y FROM u").await, json!([[3]]), "a new table is known");
    let mut spec = file.spec();
    spec.access = SourceAccess::Write;
    let writing = Source::new(spec).unwrap();
    for _ in 0..3 {
        let insert = Statement::new("INSERT INTO u VALUES (4)");
        writing.execute(&insert, Window::default(), false, &budget()).await.unwrap();
        assert!(ask(&writing, "SELECT y FROM u").await.is_ok());
    }
    assert_eq!(rows(&source, "SELECT count(*) FROM u").await, json!([[4]]));
    writing.close().await;
    drop((writing, writer));
    assert_eq!(rows(&source, "SELECT count(*) FROM t").await, json!([[2]]));
}

#[tokio::test]
async fn tables_are_described_as_far_as_they_are_shown() {
    let file = File::new(&format!("{SHOP} ANALYZE;"));
    let source = file.hiding(None, &["vault", "peek"], &["customers.card"]);
    let all = source.describe(&DescribeRequest::default(), &budget()).await.unwrap();
    let names: Vec<&str> = all.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["customers", "orders", "people"]);
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("card") && !text.contains("vault"), "{text}");
    assert_eq!(all.tables[0].rows_estimate, Some(2));
    assert_eq!(all.tables[0].indexes[0].name, "by_name");
    assert_eq!(all.tables[1].keys[0].columns, ["id"]);
    assert_eq!(all.tables[1].keys[1].references.as_ref().unwrap().table, "customers");
    let ask = DescribeRequest { table: Some("vault".to_owned()), ..DescribeRequest::default() };
    assert_eq!(source.describe(&ask, &budget()).await.unwrap_err().kind(), FaultKind::NotFound);
    let plan = source
        .explain(&Statement::new("SELECT name FROM customers WHERE id = 1"), &budget())
        .await
        .unwrap();
    assert!(plan.plan[0]["detail"].as_str().unwrap().contains("SEARCH customers"), "{plan:?}");
}

#[tokio::test]
async fn a_change_is_planned_where_it_could_be_made_and_does_not_run() {
    let file = File::new(SHOP);
    let mut spec = file.spec();
    spec.access = SourceAccess::Write;
    spec.tables = Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    let plan = async |source: &Source, sql: &str| {
        source.explain(&Statement::new(sql), &budget()).await.map(|plan| plan.would_run)
    };
    let count = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)";
    let before = rows(&source, count).await;
    for sql in [
        "DELETE FROM orders WHERE id = 1 RETURNING id",
        "INSERT INTO orders VALUES (70, 1, 2.5)",
        "UPDATE customers SET name = 'x'",
        "SELECT id FROM orders",
    ] {
        assert!(plan(&source, sql).await.unwrap(), "{sql}");
    }
    for sql in [
        "DELETE FROM vault",
        "UPDATE customers SET card = 'x'",
        "DROP TABLE orders",
        "INSERT INTO orders SELECT 9, 1, secret FROM vault",
        "DELETE FROM orders; DELETE FROM customers",
        "PRAGMA user_version = 1",
    ] {
        assert!(plan(&source, sql).await.is_err(), "{sql}");
    }
    assert!(plan(&file.source(), "DELETE FROM orders").await.is_err(), "it is only read");
    // What was let through for a plan is not for a query after it.
    assert!(ask(&source, "DELETE FROM orders RETURNING id").await.is_err());
    assert_eq!(rows(&source, count).await, before);
}

#[tokio::test]
async fn a_change_is_committed_and_a_dry_run_undone() {
    let file = File::new(&format!(
        "{SHOP} CREATE TRIGGER log AFTER INSERT ON orders BEGIN UPDATE customers SET name = 'x' WHERE id = 2; END;"
    ));
    let mut spec = file.spec();
    spec.access = SourceAccess::Write;
    spec.tables = Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
    let source = Source::new(spec).unwrap();
    let run = async |sql: &str, dry_run: bool, budget: &Budget| {
        source.execute(&Statement::new(sql), Window::default(), dry_run, budget).await
    };
    let insert = "INSERT INTO orders VALUES (7, 1, 2.5) RETURNING id";
    let whole = budget();
    let dry = run(insert, true, &whole).await.unwrap();
    assert!(dry.dry_run && !whole.had_effect() && dry.answer.rows == [[json!(7)]]);
    assert_eq!(rows(&source, "SELECT count(*) FROM orders").await, json!([[1]]));
    let done = run(insert, false, &whole).await.unwrap();
    assert!(whole.had_effect() && done.rows_affected == 2, "{done:?}");
    assert_eq!(rows(&source, "SELECT count(*) FROM orders").await, json!([[2]]));
    for sql in [
        "DELETE FROM vault",
        "UPDATE customers SET card = 'x'",
        "DROP TABLE orders",
        "INSERT INTO orders SELECT 9, 1, secret FROM vault",
        "ATTACH 'x' AS y",
        "COMMIT",
        "PRAGMA user_version = 1",
        "DELETE FROM orders; DELETE FROM customers",
        "INSERT INTO orders VALUES (7, 1, 1)",
        "DELETE FROM sqlite_schema",
        "SELECT 1",
    ] {
        assert!(run(sql, false, &budget()).await.is_err(), "{sql}");
    }
    assert_eq!(
        rows(&source, "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)")
            .await,
        json!([[2, 2]])
    );
    let fault = refused(&source, "DELETE FROM orders RETURNING id").await;
    assert_eq!(fault.kind(), FaultKind::Invalid, "a query never changes anything: {fault}");
    assert_eq!(rows(&source, "SELECT count(*) FROM orders").await, json!([[2]]));
}
