//! Hostile statements as an agent sends them: no case does harm, leaks or hangs, and none is written
//! down.

use std::time::Instant;

use roothold_testing::Postgres;
use roothold_testing::battery::{Battery, Case, SQLITE_SETUP, Sent, Variables};
use serde_json::{Value, json};

use super::{PATIENCE, around, block_on, eventually, postgres, running, start, written};
use crate::support::{Conn, Dirs, Request, Server, find_canary};

/// Of the statements, what is in no name and no keyword: literals.
const LITERALS: &[&str] =
    &["please delete", "/etc/passwd", "host=127.0.0.1", "created.db", "pwned2", "1,5000000000"];

fn request(sql: &str) -> Request {
    Request::call("query_database", &json!({"database": "app", "sql": sql}))
}

/// Sends a statement and checks what came of it; whether it answered, and all that was said.
fn run(server: &Server, case: &Case, sql: &str) -> (bool, String) {
    let began = Instant::now();
    let reply = server.send(&request(sql));
    let answer: Value = reply.json();
    let answered = answer["error"].is_null() && answer["result"]["isError"] != true;
    let said = answer.to_string();
    case.check(answered, &said, began.elapsed());
    (answered, said)
}

/// What must hold when all cases are over: every call has its two audit lines, and no literal, no
/// row and no address is written anywhere.
fn is_quiet(server: &Server, secret: &str) {
    eventually("every audit event has an outcome", || {
        let (intents, outcomes) = server.audit().counts();
        intents == outcomes
    });
    for (place, text) in written(server) {
        assert_eq!(find_canary(text.as_bytes()), None, "{place}");
        for literal in LITERALS.iter().chain([&secret, &"\"level\":\"error\""]) {
            assert_eq!(around(&text, literal), None, "the {place} holds {literal}");
        }
    }
}

#[test]
fn no_case_harms_or_leaks_in_postgres() {
    let (database, battery, dirs) = (Postgres::start(), Battery::load(), Dirs::with_fixture());
    block_on(async {
        database.say("postgres", "CREATE DATABASE appdb").await;
        database.say("appdb", &battery.setup_sql).await;
        database.say("appdb", &battery.least_privilege_sql).await;
    });
    // One connection: what a case leaves on its session the next one would see.
    let app = postgres("app", "${APP_DSN}", "pool_size = 1\nquery_timeout_seconds = 3");
    let dsn = database.url("mcp_ro:s3cr3t-dsn", "appdb");
    let mut spec = crate::support::Spec::new(dirs.base(), dirs.config(&app));
    spec.env.push(("APP_DSN", &dsn));
    let server = spec.start();
    let dir = database.dir().display().to_string();
    let variables = Variables { tmp: &dir, port: database.port() };
    for case in battery.of("postgres") {
        match case.sent(variables) {
            Sent::Whole(sql) => drop(run(&server, case, &sql)),
            Sent::HungUp(after, sql) => {
                let mut conn = Conn::open(server.address);
                conn.write(&request(&sql).bytes());
                std::thread::sleep(after);
                drop(conn);
                eventually("it still runs", || running(&database, "mcp_ro") == 0);
            }
        }
        if let Some(second) = &case.second_query_same_pool {
            run(&server, case, second);
        }
        if let Some(probe) = case.probe(variables) {
            let harmed = block_on(database.see("appdb", &probe));
            assert_eq!(harmed, "f", "{}: it had an effect", case.id);
        }
        let (usable, said) = run(&server, case, "select 1");
        assert!(usable, "after {}: {said}", case.id);
    }
    is_quiet(&server, "s3cr3t-dsn");
}

#[test]
fn no_case_harms_or_leaks_in_sqlite() {
    let dirs = Dirs::with_fixture();
    let folder = dirs.base().join("sq");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("app.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(SQLITE_SETUP).unwrap();
    let before = std::fs::read(&path).unwrap();
    let app = format!(
        "[[databases]]\nname = \"app\"\nkind = \"sqlite\"\npath = \"{}\"\nhidden_tables = [\"vault\"]\n\
         query_timeout_seconds = 3\n",
        path.display()
    );
    let server = start(&dirs, &app);
    let tmp = dirs.base().display().to_string();
    for case in Battery::load().of("sqlite") {
        let Sent::Whole(sql) = case.sent(Variables { tmp: &tmp, port: 0 }) else {
            panic!("{}: nobody hangs up on a file", case.id);
        };
        let (answered, said) = run(&server, case, &sql);
        assert!(case.must_answer() || !answered, "{}: it answered {said}", case.id);
        assert_eq!(find_canary(said.as_bytes()), None, "{}: {said}", case.id);
        let names: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{}: it made files: {names:?}", case.id);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{}: it changed the file", case.id);
        let began = Instant::now();
        assert!(run(&server, case, "SELECT name FROM t").0, "after {}", case.id);
        assert!(began.elapsed() < PATIENCE, "after {}", case.id);
    }
    is_quiet(&server, path.to_str().unwrap());
}
