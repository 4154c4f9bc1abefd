//! MariaDB through the whole server: described, asked, changed, asked by a configured tool, hung up on.

use roothold_testing::MariaDb;
use serde_json::json;

use super::{around, block_on, eventually, query, rows, start, written};
use crate::support::{Conn, Dirs, Request, Server};

const SETUP: &str = "CREATE TABLE orders (id INT PRIMARY KEY, amount DECIMAL(10, 2) NOT NULL COMMENT 'in euros'); \
    INSERT INTO orders SELECT seq, seq / 2 FROM seq_1_to_50; CREATE TABLE vault (s TEXT)";

const TOOLS: &str = r#"
[[tools]]
name = "orders_between"
description = "Orders of some amounts"
database = "NAME"
sql = "SELECT id FROM orders WHERE amount >= :least AND amount <= :most AND :least <= :most ORDER BY id"
[[tools.parameters]]
name = "most"
type = "number"
description = "The most"
[[tools.parameters]]
name = "least"
type = "number"
description = "The least"
"#;

/// A server with a MariaDB database of that name, set up with more.
fn shop(dirs: &Dirs, name: &str, grants: &str, more: &str) -> (Server, &'static MariaDb) {
    let database = MariaDb::shared();
    block_on(database.database(name, &format!("{SETUP}; {grants}")));
    let section = format!(
        "[[databases]]\nname = \"{name}\"\nkind = \"mysql\"\ndsn = \"{}\"\n{more}\n{}",
        database.url(name, name),
        TOOLS.replace("NAME", name)
    );
    (start(dirs, &section), database)
}

#[test]
fn a_mysql_database_is_described_asked_and_quiet() {
    let dirs = Dirs::new();
    let (server, _) = shop(&dirs, "described", "", "");
    let list = server.asked("list_databases", &json!({})).unwrap();
    assert_eq!(list["databases"][0]["kind"], "mysql", "{list}");
    let tables = server.asked("describe_schema", &json!({"database": "described"})).unwrap();
    assert!(tables.to_string().contains("in euros"), "{tables}");
    let arguments = json!({"database": "described", "parameters": [12.5, "zq7x"],
        "sql": "SELECT amount, ?2 FROM orders WHERE amount = ?1 AND 'zq7x' = ?2"});
    let answer = server.asked("query_database", &arguments);
    assert_eq!(rows(&answer), &json!([["12.50", "zq7x"]]));
    let arguments = json!({"most": 2, "least": 1});
    let answer = server.asked("orders_between", &arguments);
    assert_eq!(rows(&answer), &json!([[2], [3], [4]]));
    let plan = json!({"database": "described", "sql": "SELECT * FROM orders"});
    assert!(server.asked("explain_query", &plan).unwrap()["would_run"] == true);
    for sql in [
        "DELETE FROM orders",
        "SELECT 1; DELETE FROM orders",
        "SELECT 'zq7x' INTO OUTFILE '/tmp/zq7x'",
        "SELECT 'zq7x' FORM FROM WHERE",
        "SELECT 'zq7x' FROM fooo",
    ] {
        let (kind, text) = query(&server, "described", sql).unwrap_err();
        assert!(kind == "invalid" || kind == "denied", "{sql}: {kind} {text}");
        assert!(!text.contains("zq7x"), "{sql}: {text}");
    }
    for (place, text) in written(&server) {
        assert_eq!(around(&text, "zq7x"), None, "the {place} holds a literal");
    }
}

#[test]
fn a_mysql_database_is_changed_where_it_may_be() {
    let dirs = Dirs::new();
    let grants = "GRANT ALL ON changed.* TO changed@'%'";
    let (server, database) =
        shop(&dirs, "changed", grants, "access = \"write\"\nconfirm = \"never\"");
    let count = || block_on(database.see("changed", "SELECT COUNT(*) FROM orders"));
    let execute = |sql: &str, dry_run: bool| {
        let arguments = json!({"database": "changed", "sql": sql, "dry_run": dry_run});
        server.asked("execute_statement", &arguments)
    };
    let done = execute("DELETE FROM orders WHERE id <= 3", false).unwrap();
    assert_eq!((done["rows_affected"].as_u64(), count().as_str()), (Some(3), "47"), "{done}");
    let (kind, text) = execute("DROP TABLE orders", true).unwrap_err();
    assert!(kind == "invalid" && text.contains("by itself"), "{kind}: {text}");
    assert_eq!(count(), "47");
}

#[test]
fn a_client_that_hangs_up_ends_its_statement_in_mysql() {
    let dirs = Dirs::new();
    let (server, database) = shop(&dirs, "hungup", "", "");
    assert_eq!(rows(&query(&server, "hungup", "SELECT 1")), &json!([[1]]));
    let runs = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'hungup' AND command = 'Execute'";
    let arguments = json!({"database": "hungup", "sql": "SELECT SLEEP(600)"});
    let mut conn = Conn::open(server.address);
    conn.write(&Request::call("query_database", &arguments).bytes());
    eventually("it never ran", || block_on(database.see("mysql", runs)) != "0");
    drop(conn);
    eventually("it still runs", || block_on(database.see("mysql", runs)) == "0");
}
