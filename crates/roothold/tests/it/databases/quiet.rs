//! What is written down of a statement: its fingerprint, and no literal, value or address.

use serde_json::{Value, json};

use super::{around, orders, postgres, written};
use crate::support::{Dirs, Spec};

/// Statements with a literal of every form, parameters, and results and errors that hold them.
const STATEMENTS: &[&str] = &[
    "SELECT id FROM orders WHERE id = 9182736",
    "SELECT 'zq7x-plain', E'zq7x-escaped', $q$zq7x-dollar$q$, U&'zq7x-unicode', B'1011', X'1F'",
    "SELECT 1 -- zq7x-comment",
    "SELECT /* zq7x-block /* zq7x-nested */ */ 2",
    "SELECT 'zq7x-cast'::int",
    "SELECT 'zq7x-unterminated",
    "SELECT to_date('zq7x-date', 'YYYY')",
    "SELEC 'zq7x-syntax'",
    "SELECT * FROM orders WHERE amount IN (9182736, 9182737) OR 'zq7x-in' IN ('zq7x-a', 'zq7x-b')",
    "SELECT 'zq7x-long', repeat('zq7x-repeated', 100000)",
    "SELECT pg_sleep(0.001), '\u{e9}zq7x-\u{e9}'",
    "COPY orders TO '/tmp/zq7x-copy'",
    "SELECT 'zq7x-many'; SELECT 'zq7x-second'",
];

#[test]
fn no_literal_is_written_down() {
    let (database, dirs) = (orders("quiet"), Dirs::with_fixture());
    let url = database.url("quiet:s3cr3t-dsn", "quiet");
    let config = dirs.config(&postgres("app", "${QUIET_DSN}", ""));
    let mut spec = Spec::new(dirs.base(), config);
    spec.env.push(("QUIET_DSN", &url));
    spec.log = "trace";
    let server = spec.start();
    let mut calls = 0;
    for tool in ["query_database", "explain_query"] {
        for sql in STATEMENTS {
            calls += 1;
            // Answered or refused: what is looked at is what is written down of it.
            server.call(tool, &json!({"database": "app", "sql": sql}));
        }
    }
    for parameter in [json!("zq7x-bound"), json!({"type": "int4", "value": "zq7x-typed"})] {
        calls += 1;
        let sql = "SELECT id FROM orders WHERE id::text = $1";
        let arguments = json!({"database": "app", "sql": sql, "parameters": [parameter]});
        server.call("query_database", &arguments);
    }
    let audit = server.audit();
    assert_eq!(audit.counts(), (calls, calls));
    let intents: Vec<&Value> = audit.of_kind("intent").collect();
    assert!(
        intents[0].to_string().contains("select id from orders where id = ?"),
        "{}",
        intents[0]
    );
    for (place, text) in written(&server) {
        for literal in ["zq7x", "9182736", "9182737", "s3cr3t-dsn"] {
            assert_eq!(around(&text, literal), None, "the {place} holds {literal}");
        }
    }
}
