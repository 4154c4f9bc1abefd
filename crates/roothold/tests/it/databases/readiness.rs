//! Databases that are down or whose role can do too much: what callers, `/ready` and the operator see.

use std::net::TcpListener;
use std::time::Duration;

use roothold_testing::Postgres;
use serde_json::json;

use super::{block_on, eventually, postgres, query, section, sqlite, start};
use crate::support::{Conn, Dirs, Request};

#[test]
fn one_that_is_down_troubles_nobody_else_and_comes_back_by_itself() {
    let dirs = Dirs::with_fixture();
    let path = sqlite(&dirs, "shop.sqlite3");
    let away = dirs.base().join("db/away");
    std::fs::rename(&path, &away).unwrap();
    let server = start(&dirs, &section("shop", &path));
    eventually("it is known to be down", || server.status()["databases"][0]["state"] == "down");
    assert!(server.is_ready(), "it is not required");
    let (kind, text) = query(&server, "shop", "SELECT 1").unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(!text.contains(dirs.base().to_str().unwrap()), "{text}");
    let list = server.asked("list_databases", &json!({})).unwrap();
    assert!(list["databases"][0]["problem"].is_string(), "{list}");
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    assert!(server.call("read_text_file", &read).text().contains("PUBLIC-HELLO"));
    std::fs::rename(&away, &path).unwrap();
    query(&server, "shop", "SELECT 1").unwrap();
    let list = server.asked("list_databases", &json!({})).unwrap();
    assert!(list["databases"][0]["problem"].is_null(), "{list}");
}

#[test]
fn a_server_is_not_ready_without_what_is_required() {
    let dirs = Dirs::new();
    let path = sqlite(&dirs, "shop.sqlite3");
    let away = dirs.base().join("db/away");
    std::fs::rename(&path, &away).unwrap();
    let server = start(&dirs, &(section("shop", &path) + "required = true\n"));
    eventually("it is down", || server.status()["databases"][0]["state"] == "down");
    assert!(!server.is_ready());
    assert_eq!(server.status()["ready"], false);
    std::fs::rename(&away, &path).unwrap();
    eventually("it is ready once it is there", || server.is_ready());
    assert_eq!(server.status()["databases"][0]["state"], "ready");
}

/// A server that is reached and says nothing would keep each call for as long as connecting may take.
#[test]
fn many_calls_for_one_that_says_nothing_leave_room_for_others() {
    let dirs = Dirs::with_fixture();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://u@{}/d", silent.local_addr().unwrap());
    let more =
        format!("calls_max = 8\nadmission_timeout_seconds = 30\n{}", postgres("shop", &url, ""));
    let server = start(&dirs, &more);
    let call = Request::call("query_database", &json!({"database": "shop", "sql": "SELECT 1"}));
    let mut waiting: Vec<Conn> = (0..32).map(|_| Conn::open(server.address)).collect();
    for conn in &mut waiting {
        conn.write(&call.bytes());
    }
    for conn in &mut waiting {
        let (kind, text) = conn.read().unwrap().asked().unwrap_err();
        assert_eq!(kind, "unavailable", "{text}");
    }
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    assert!(server.call("read_text_file", &read).text().contains("PUBLIC-HELLO"));
    assert_eq!(server.status()["databases"][0]["state"], "down");
}

#[test]
fn a_role_that_can_write_disables_what_is_only_read_and_the_operator_learns_why() {
    let database = Postgres::shared();
    let setup = "CREATE TABLE t (a text); GRANT INSERT ON t TO can_write";
    block_on(database.database("can_write", setup));
    let dirs = Dirs::new();
    let server = start(&dirs, &postgres("shop", &database.url("can_write", "can_write"), ""));
    eventually("it is known", || server.status()["databases"][0]["state"] == "disabled");
    assert!(server.is_ready(), "it is not required");
    for (tool, arguments) in [
        ("query_database", json!({"database": "shop", "sql": "SELECT * FROM t"})),
        ("explain_query", json!({"database": "shop", "sql": "SELECT * FROM t"})),
        ("describe_schema", json!({"database": "shop"})),
    ] {
        let (kind, text) = server.asked(tool, &arguments).unwrap_err();
        assert_eq!(kind, "unavailable", "{tool}: {text}");
        assert!(text.contains("the database shop is disabled"), "{text}");
        assert!(!text.contains("app.t") && !text.contains("INSERT"), "in general words: {text}");
    }
    let status = server.status();
    let finding = &status["databases"][0]["findings"][0];
    assert_eq!(finding["disables"], true);
    assert!(finding["text"].as_str().unwrap().contains("app.t"), "{finding}");
    assert!(server.log().contains("the database is disabled"));
    let list = server.asked("list_databases", &json!({})).unwrap();
    assert!(list["databases"][0]["problem"].as_str().unwrap().contains("disabled"), "{list}");
}

/// What a caller can make fail is no outage: others would be kept from the database by it.
#[test]
fn a_statement_that_ends_its_own_connection_takes_the_database_from_nobody() {
    let database = Postgres::shared();
    block_on(database.database("ends_itself", ""));
    let dirs = Dirs::new();
    let server = start(&dirs, &postgres("shop", &database.url("ends_itself", "ends_itself"), ""));
    eventually("it is known", || server.status()["databases"][0]["state"] == "ready");
    for _ in 0..20 {
        query(&server, "shop", "SELECT pg_terminate_backend(pg_backend_pid())").unwrap_err();
        query(&server, "shop", "SELECT 1").unwrap();
        assert_eq!(server.status()["databases"][0]["state"], "ready");
    }
    assert!(!server.log().contains("does not answer"), "{}", server.log());
}

#[test]
fn a_role_that_only_reads_answers_and_its_connections_close_with_the_server() {
    let database = Postgres::shared();
    let setup = "CREATE TABLE t (id bigint PRIMARY KEY, amount numeric(20, 4), at timestamptz, tags text[]);
         INSERT INTO t VALUES (9007199254740993, 12345678901234.5678, '2026-01-02 03:04:05+00', '{a,b}');
         DO $$ DECLARE f regprocedure; BEGIN
             FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                 AND (proname ~ '_to_xml' OR proname = 'ts_stat' OR proname = 'ts_rewrite' AND pronargs = 2)
             LOOP EXECUTE 'REVOKE EXECUTE ON FUNCTION ' || f || ' FROM PUBLIC'; END LOOP; END $$";
    block_on(database.database("only_reads", setup));
    let dirs = Dirs::new();
    let more = "required = true\ncost_max = 1000.0";
    let mut server =
        start(&dirs, &postgres("shop", &database.url("only_reads", "only_reads"), more));
    eventually("it is ready", || server.is_ready());
    let page = query(&server, "shop", "SELECT * FROM t").unwrap();
    let wanted =
        json!(["9007199254740993", "12345678901234.5678", "2026-01-02T03:04:05+00:00", ["a", "b"]]);
    assert_eq!(page["rows"][0], wanted);
    let sql = "SELECT count(*) FROM generate_series(1, 100000000) a, t b, t c, t d";
    let costly = json!({"database": "shop", "sql": sql});
    let plan = server.asked("explain_query", &costly).unwrap();
    assert_eq!((&plan["would_run"], &plan["cost_max"]), (&json!(false), &json!(1000.0)));
    assert_eq!(server.asked("query_database", &costly).unwrap_err().0, "limit");
    let theirs = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'only_reads'";
    let count = || block_on(database.see("postgres", theirs));
    query(&server, "shop", "SELECT 1").unwrap();
    assert_ne!(count(), "0");
    server.signal(rustix::process::Signal::TERM);
    let ended = server.wait(Duration::from_secs(30)).expect("an orderly end");
    assert!(ended.success(), "{}", server.log());
    eventually("no connection is left", || count() == "0");
}
