//! Databases that are away, or whose role can do too much.

use std::net::TcpListener;

use roothold_testing::Postgres;
use serde_json::json;

use super::{block_on, eventually, orders, postgres, query, rows, start};
use crate::support::{Dirs, Server};

fn other_tools_work(dirs: &Dirs, server: &Server) {
    let read = server.call("read_text_file", &json!({"path": dirs.fill_in("$ROOT/hello.txt")}));
    assert!(read.text().contains("PUBLIC-HELLO"));
}

#[test]
fn a_database_that_is_away_takes_nothing_else_with_it() {
    let dirs = Dirs::with_fixture();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgresql://u@127.0.0.1:{nobody}/d");
    let server = start(&dirs, &postgres("app", &url, ""));
    assert!(server.is_ready(), "it is not required");
    let (kind, text) = query(&server, "app", "SELECT 1").unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(!text.contains(&nobody.to_string()) && !text.contains("127.0.0.1"), "{text}");
    other_tools_work(&dirs, &server);
    assert!(server.is_ready());
}

#[test]
fn a_server_is_ready_with_the_databases_that_it_requires() {
    let (database, dirs) = (Postgres::start(), Dirs::with_fixture());
    block_on(database.database("needed", "CREATE TABLE t AS SELECT 1 AS x"));
    let url = database.url("needed", "needed");
    let server = start(&dirs, &postgres("app", &url, "required = true"));
    eventually("it becomes ready", || server.is_ready());
    assert_eq!(rows(&query(&server, "app", "SELECT x FROM t")), &json!([[1]]));
    database.crash();
    eventually("a call finds it away", || query(&server, "app", "SELECT x FROM t").is_err());
    eventually("it is not ready", || !server.is_ready());
    other_tools_work(&dirs, &server);
    database.restart();
    eventually("it is ready again", || server.is_ready());
    assert_eq!(rows(&query(&server, "app", "SELECT x FROM t")), &json!([[1]]));
}

#[test]
fn a_role_that_can_write_is_not_used_and_only_operators_are_told_why() {
    let (database, dirs) = (orders("writes"), Dirs::with_fixture());
    block_on(database.say(
        "writes",
        "CREATE TABLE app.pay_secret (x int); GRANT INSERT ON app.pay_secret TO writes",
    ));
    let url = database.url("writes", "writes");
    let server = start(&dirs, &postgres("app", &url, "required = true"));
    for sql in ["SELECT 1", "SELECT count(*) FROM orders"] {
        let (kind, text) = query(&server, "app", sql).unwrap_err();
        assert_eq!(kind, "unavailable", "{text}");
        assert!(!text.contains("pay_secret"), "it names a table: {text}");
    }
    assert!(!server.is_ready(), "a required database cannot be used");
    let status = server.status().to_string();
    assert!(status.contains("pay_secret"), "operators are told: {status}");
    block_on(database.say("writes", "REVOKE INSERT ON app.pay_secret FROM writes"));
}

#[test]
fn a_connection_that_was_lost_is_replaced() {
    let (database, dirs) = (orders("loses"), Dirs::with_fixture());
    let server = start(&dirs, &postgres("app", &database.url("loses", "loses"), ""));
    for _ in 0..3 {
        assert_eq!(rows(&query(&server, "app", "SELECT max(id) FROM orders")), &json!([[100]]));
        let kill =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'loses'";
        block_on(database.say("postgres", kill));
    }
    let after = query(&server, "app", "SELECT max(id) FROM orders");
    assert_eq!(rows(&after), &json!([[100]]));
}
