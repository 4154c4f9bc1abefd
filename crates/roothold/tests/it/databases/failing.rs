//! PostgreSQL that hangs, is slow, has no connection left, loses one in mid-answer or comes back as a standby: who
//! asks is told in time, nothing is asked twice, other tools go on, and afterwards it works again.

use std::time::{Duration, Instant};

use roothold_testing::Postgres;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{PATIENCE, block_on, eventually, orders, postgres, query, rows, start};
use crate::support::{Asked, Conn, Dirs, Request, Server, Way};

/// Longer than the second that a statement has here, with what a busy machine adds; far below what calls have.
const IN_TIME: Duration = Duration::from_secs(15);
const ONE_SECOND: &str = "pool_size = 2\npool_wait_seconds = 1\nquery_timeout_seconds = 1";

fn in_time<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    assert!(began.elapsed() < IN_TIME, "{what}: {:?}", began.elapsed());
    done
}

fn count(server: &Server) -> Asked {
    query(server, "app", "SELECT count(*) FROM orders")
}

fn works_again(server: &Server) {
    eventually("it works again", || count(server).is_ok());
    assert_eq!(rows(&count(server)), &json!([[100]]));
}

fn files_are_read(dirs: &Dirs, server: &Server) {
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    let text = in_time("files", || server.call("read_text_file", &read).text());
    assert!(text.contains("PUBLIC-HELLO"), "{text}");
}

/// Stops whatever answers a role, until it is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn of(database: &Postgres, role: &str) -> Self {
        let pids = format!(
            "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE usename = '{role}'"
        );
        let pids = block_on(database.see("postgres", &pids));
        let pids = pids.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap());
        let stopped = Self(pids.collect());
        assert!(!stopped.0.is_empty(), "nobody answers {role}");
        for pid in &stopped.0 {
            kill_process(*pid, Signal::STOP).unwrap();
        }
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}

#[test]
fn a_backend_that_hangs_costs_its_call_its_time_and_nobody_else_anything() {
    let (database, dirs) = (orders("hangs"), Dirs::with_fixture());
    let server = start(&dirs, &postgres("app", &database.url("hangs", "hangs"), ONE_SECOND));
    works_again(&server);
    let stopped = Stopped::of(database, "hangs");
    let (kind, text) = in_time("a call", || count(&server)).unwrap_err();
    assert!(["timeout", "unavailable"].contains(&kind.as_str()), "{kind}: {text}");
    files_are_read(&dirs, &server);
    // The others get a connection of their own, while what hangs still does.
    eventually("another connection is made", || count(&server).is_ok());
    drop(stopped);
    works_again(&server);
}

#[test]
fn a_way_that_is_slow_is_waited_for_and_one_that_leads_nowhere_is_not() {
    let (database, dirs) = (orders("far_away"), Dirs::with_fixture());
    let way = Way::to(database.port());
    let url = format!("postgresql://far_away@127.0.0.1:{}/far_away", way.port);
    let more = "pool_size = 2\npool_wait_seconds = 1\nquery_timeout_seconds = 10";
    let server = start(&dirs, &postgres("app", &url, more));
    works_again(&server);
    way.delay(Duration::from_millis(100));
    assert_eq!(rows(&count(&server)), &json!([[100]]));
    // Five seconds each way: longer than a statement has.
    for closed in [false, true] {
        if closed {
            way.close();
        } else {
            way.delay(Duration::from_secs(5));
        }
        let (kind, text) = in_time("a call", || count(&server)).unwrap_err();
        assert!(["timeout", "unavailable", "busy"].contains(&kind.as_str()), "{kind}: {text}");
        assert!(!text.contains(&way.port.to_string()), "{text}");
        files_are_read(&dirs, &server);
        way.delay(Duration::ZERO);
        works_again(&server);
    }
}

#[test]
fn without_a_connection_left_in_the_database_one_is_told_so() {
    let (database, dirs) = (Postgres::start(), Dirs::with_fixture());
    let setup =
        "CREATE TABLE orders AS SELECT i AS id, i * 10 AS amount FROM generate_series(1, 100) i";
    block_on(database.database("crowded", setup));
    let url = database.url("crowded", "crowded");
    let server = start(&dirs, &postgres("app", &url, ONE_SECOND));
    works_again(&server);
    let crowd = database.crowd("crowded");
    let (kind, text) = in_time("a call", || count(&server)).unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
    files_are_read(&dirs, &server);
    drop(crowd);
    works_again(&server);
}

#[test]
fn an_answer_that_breaks_off_is_none_and_is_not_asked_for_again() {
    let database = orders("breaks_off");
    // It says in the database's own log that it runs, as often as it does.
    let setup = "CREATE FUNCTION app.slowly(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
            IF n = 1 THEN RAISE LOG 'it begins to answer breaks_off'; END IF;
            PERFORM pg_sleep(0.02); RETURN n; END $$;
        GRANT EXECUTE ON FUNCTION app.slowly(int) TO breaks_off";
    block_on(database.say("breaks_off", setup));
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, &postgres("app", &database.url("breaks_off", "breaks_off"), ""));
    works_again(&server);
    let sql = "SELECT app.slowly(i) FROM generate_series(1, 400) i";
    let mut conn = Conn::open(server.address);
    let ask = json!({"database": "app", "sql": sql});
    conn.write(&Request::call("query_database", &ask).bytes());
    let log = || std::fs::read_to_string(database.dir().join("server.log")).unwrap();
    let begun = || log().matches("it begins to answer breaks_off").count();
    eventually("it is in the middle", || begun() == 1);
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'breaks_off'";
    block_on(database.say("postgres", kill));
    let (kind, text) = conn.read().unwrap().asked().unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    files_are_read(&dirs, &server);
    works_again(&server);
    assert_eq!(begun(), 1, "nothing was asked again");
    // The server's own word on it: one call, which failed.
    let audit = server.audit();
    let failed = audit.of_kind("outcome").filter(|line| line["fault"] == "unavailable").count();
    assert_eq!(failed, 1);
}

/// What answers after a failover may be a standby that is not the primary yet.
#[test]
fn a_standby_is_read_and_not_changed_until_it_is_promoted() {
    let (database, dirs) = (Postgres::start(), Dirs::with_fixture());
    let setup =
        "CREATE TABLE orders AS SELECT i AS id, i * 10 AS amount FROM generate_series(1, 100) i";
    block_on(database.say("postgres", setup));
    let url = database.url("postgres", "postgres");
    let config = postgres("app", &url, "access = \"write\"\nconfirm = \"never\"");
    let server = start(&dirs, &config);
    works_again(&server);
    let change = |to: i64| {
        let sql = format!("UPDATE orders SET amount = {to} WHERE id = 1");
        server.asked("execute_statement", &json!({"database": "app", "sql": sql}))
    };
    let amount =
        || rows(&query(&server, "app", "SELECT amount FROM orders WHERE id = 1"))[0][0].clone();
    assert_eq!(change(1).unwrap()["rows_affected"], 1);
    database.crash();
    eventually("it is away", || count(&server).is_err());
    std::fs::write(database.dir().join("data/standby.signal"), "").unwrap();
    database.restart();
    works_again(&server);
    let (kind, text) = in_time("a change", || change(2)).unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(text.contains("can only be read just now"), "{text}");
    assert_eq!(amount(), json!(1), "nothing was changed");
    files_are_read(&dirs, &server);
    block_on(database.say("postgres", "SELECT pg_promote()"));
    let until = Instant::now() + PATIENCE;
    while change(3).is_err() {
        assert!(Instant::now() < until, "it is changed again");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(amount(), json!(3));
}
