//! Databases as agents and operators see them: configured, listed, described and asked.

mod asking;
mod checking;
mod readiness;
mod reloading;
mod who;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Dirs, Server, Spec};

/// A SQLite database outside of every root; what callers must not see begins with `CANARY-`.
pub(crate) fn sqlite(dirs: &Dirs, name: &str) -> PathBuf {
    let path = dirs.base().join("db").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, card TEXT);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers (id), amount REAL);
         CREATE INDEX orders_by_customer ON orders (customer_id);
         CREATE TABLE vault (secret TEXT);
         INSERT INTO customers VALUES (1, 'Anna', 'CANARY-CARD1'), (2, 'Bo' || char(10) || 'Jr', NULL), (9007199254740993, 'Cleo', NULL);
         INSERT INTO vault VALUES ('CANARY-VAULT');
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO orders SELECT i, 1 + i % 2, i / 4.0 FROM n;",
    )
    .unwrap();
    path
}

/// A section of the configuration for it, with what is hidden in it.
pub(crate) fn section(name: &str, path: &std::path::Path) -> String {
    format!(
        "[[databases]]\nname = \"{name}\"\nkind = \"sqlite\"\npath = \"{}\"\n\
         description = \"what is sold\"\nhidden_tables = [\"vault\"]\nhidden_columns = [\"customers.card\"]\n",
        path.display()
    )
}

/// A section for a PostgreSQL server.
pub(crate) fn postgres_section(name: &str, url: &str) -> String {
    format!("[[databases]]\nname = \"{name}\"\nkind = \"postgres\"\ndsn = \"{url}\"\n")
}

pub(crate) fn server(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

/// A server with the SQLite database `shop`.
pub(crate) fn shop(dirs: &Dirs) -> Server {
    let path = sqlite(dirs, "shop.sqlite3");
    server(dirs, &section("shop", &path))
}

/// The structured answer, or the kind of the error with its text.
pub(crate) type Asked = Result<Value, (String, String)>;

pub(crate) fn outcome(mut result: Value) -> Asked {
    if result["isError"] == true {
        let kind = result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap().to_owned();
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        return Err((kind, text));
    }
    Ok(result["structuredContent"].take())
}

pub(crate) fn asked(server: &Server, tool: &str, arguments: &Value) -> Asked {
    outcome(server.call(tool, arguments).result())
}

pub(crate) fn query(server: &Server, database: &str, sql: &str) -> Asked {
    asked(server, "query_database", &json!({"database": database, "sql": sql}))
}
