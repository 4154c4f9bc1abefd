//! Databases that change while the server runs, on SIGHUP or with the files that they are read from.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roothold_testing::Postgres;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{block_on, eventually, query, section, sqlite, start};
use crate::support::{Conn, Dirs, Request, Server, Spec, Stdio};

const TAKEN: &str = "the configuration was read again";
const REFUSED: &str = "the configuration was not taken";

/// Writes another configuration and has the server read it; what it says of it.
pub(crate) fn reload(dirs: &Dirs, server: &Server, more: &str) -> Value {
    let count = |server: &Server| {
        server.log().lines().filter(|line| line.contains(TAKEN) || line.contains(REFUSED)).count()
    };
    let before = count(server);
    dirs.write("roothold.toml", dirs.config(more));
    server.signal(Signal::HUP);
    let until = Instant::now() + Duration::from_secs(30);
    while count(server) == before {
        assert!(Instant::now() < until, "nothing was read: {}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = server.log();
    let line = log.lines().rfind(|line| line.contains(TAKEN) || line.contains(REFUSED)).unwrap();
    serde_json::from_str(line).unwrap()
}

fn names(server: &Server) -> Vec<String> {
    let list = server.asked("list_databases", &json!({})).unwrap();
    let all = list["databases"].as_array().unwrap();
    all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn databases_come_and_go_without_a_restart() {
    let dirs = Dirs::new();
    let (shop, ledger) = (sqlite(&dirs, "shop.sqlite3"), sqlite(&dirs, "ledger.sqlite3"));
    let server = start(&dirs, &section("shop", &shop));
    assert_eq!(names(&server), ["shop"]);
    let both = section("shop", &shop) + &section("ledger", &ledger);
    let said = reload(&dirs, &server, &both);
    assert_eq!(
        (&said["roles_kept"], &said["roles_made"], &said["roles_closed"]),
        (&json!(1), &json!(1), &json!(0)),
        "{said}"
    );
    assert_eq!(names(&server), ["shop", "ledger"]);
    query(&server, "ledger", "SELECT count(*) FROM orders").unwrap();
    // What is hidden from then on is hidden at once.
    let fewer = section("ledger", &ledger).replace("[\"vault\"]", "[\"vault\", \"orders\"]");
    let said = reload(&dirs, &server, &fewer);
    assert_eq!(
        (&said["roles_kept"], &said["roles_made"], &said["roles_closed"]),
        (&json!(0), &json!(1), &json!(2)),
        "{said}"
    );
    assert_eq!(names(&server), ["ledger"]);
    assert_eq!(query(&server, "shop", "SELECT 1").unwrap_err().0, "denied");
    query(&server, "ledger", "SELECT count(*) FROM orders").unwrap_err();
    query(&server, "ledger", "SELECT count(*) FROM customers").unwrap();
}

/// As secrets are rotated: the file is replaced by another of its name, behind the wall.
#[test]
fn a_password_file_that_is_replaced_is_read_again() {
    let database = Postgres::shared();
    block_on(database.database("rotated", "CREATE ROLE rotated_next LOGIN"));
    let dirs = Dirs::new();
    let file = dirs.base().join("secrets/dsn");
    dirs.write("secrets/dsn", database.url("rotated", "rotated"));
    let more = format!(
        "[server]\nlandlock = \"require\"\n[[databases]]\nname = \"shop\"\nkind = \"postgres\"\ndsn_file = \"{}\"\nrequired = true\n",
        file.display()
    );
    let server = start(&dirs, &more);
    let who = || query(&server, "shop", "SELECT current_user::text").unwrap()["rows"][0][0].clone();
    assert_eq!(who(), "rotated");
    dirs.write("secrets/next", database.url("rotated_next", "rotated"));
    std::fs::rename(dirs.base().join("secrets/next"), &file).unwrap();
    let said = reload(&dirs, &server, &more);
    assert_eq!((&said["roles_made"], &said["roles_closed"]), (&json!(1), &json!(1)), "{said}");
    assert!(server.is_ready(), "what is new was asked before it was taken");
    assert_eq!(who(), "rotated_next");
    std::fs::remove_file(&file).unwrap();
    let said = reload(&dirs, &server, &more);
    assert!(said["reason"].as_str().unwrap().contains("dsn_file"), "{said}");
    assert_eq!(who(), "rotated_next");
    assert!(!server.log().contains("postgresql://"), "{}", server.log());
}

#[test]
fn a_call_ends_on_the_database_that_it_began_with() {
    let dirs = Dirs::new();
    let (shop, ledger) = (sqlite(&dirs, "shop.sqlite3"), sqlite(&dirs, "ledger.sqlite3"));
    let server = start(&dirs, &(section("shop", &shop) + "pool_size = 1\n"));
    let counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n";
    let long = Request::call("query_database", &json!({"database": "shop", "sql": counting}));
    // The second waits for the only connection, and still gets it.
    let mut running = [Conn::open(server.address), Conn::open(server.address)];
    for conn in &mut running {
        conn.write(&long.bytes());
    }
    let until = Instant::now() + Duration::from_secs(30);
    while server.status()["calls_in_flight"] != 2 {
        assert!(Instant::now() < until, "they do not run");
    }
    let said = reload(&dirs, &server, &section("shop", &ledger));
    assert_eq!((&said["roles_made"], &said["roles_closed"]), (&json!(1), &json!(1)), "{said}");
    query(&server, "shop", "SELECT count(*) FROM orders").unwrap();
    for conn in &mut running {
        let page = conn.read().unwrap().asked().unwrap();
        assert_eq!(page["rows"], json!([[3_000_000]]));
    }
}

#[test]
fn reloads_beside_calls_neither_fail_them_nor_show_what_is_hidden_by_then() {
    let dirs = Dirs::new();
    let shop = sqlite(&dirs, "shop.sqlite3");
    let hidden = section("shop", &shop).replace("[\"vault\"]", "[\"vault\", \"orders\"]");
    let shown = section("shop", &shop);
    let server = start(&dirs, &shown);
    let done = AtomicBool::new(false);
    let ask = |sql: &str| {
        let (mut answered, mut changed) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            match query(&server, "shop", sql) {
                Ok(_) => answered += 1,
                Err((kind, _)) if kind == "conflict" => changed += 1,
                Err((kind, text)) => panic!("{kind}: {text}"),
            }
        }
        (answered, changed)
    };
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask("SELECT count(*) FROM customers"));
        for _ in 0..15 {
            reload(&dirs, &server, &hidden);
            query(&server, "shop", "SELECT count(*) FROM orders").unwrap_err();
            reload(&dirs, &server, &shown);
            query(&server, "shop", "SELECT count(*) FROM orders").unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let (answered, changed) = asking.join().unwrap();
        assert!(answered > changed, "{answered} answered, {changed} met a change");
    });
    let (intents, outcomes) = server.audit().counts();
    assert_eq!(intents, outcomes);
}

#[test]
fn what_cannot_be_taken_changes_nothing_and_says_why() {
    let dirs = Dirs::new();
    let shop = sqlite(&dirs, "shop.sqlite3");
    let good = section("shop", &shop);
    let server = start(&dirs, &good);
    let others = Dirs::new();
    let elsewhere = sqlite(&others, "other.sqlite3");
    let renamed = section("other", &shop);
    for (more, why) in [
        ("[[databases]\n".to_owned(), "line"),
        (format!("{renamed}rows_max = 0\n"), "rows_max"),
        (format!("{renamed}{renamed}"), "two are called"),
        (format!("{renamed}[audit]\nreplica = \"b\"\n"), "[audit] changed, which needs a restart"),
        (format!("{good}{}", section("other", &elsewhere)), "restart"),
        (format!("{good}{}", section("other", &dirs.work().join("x.db"))), "has a file in a root"),
        (
            format!("{renamed}principals = [\"anna\"]\n[[principals]]\nname = \"bob\"\n"),
            "principals",
        ),
    ] {
        let said = reload(&dirs, &server, &more);
        let reason = said["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(why), "{more}: {said}");
        assert_eq!(names(&server), ["shop"], "{more}");
        query(&server, "shop", "SELECT count(*) FROM orders").unwrap();
    }
}

/// As Kubernetes changes what it has mounted: from one moment to the next a link leads elsewhere.
#[test]
fn a_configuration_that_is_swapped_is_taken_without_a_signal() {
    let dirs = Dirs::new();
    let (shop, ledger) = (sqlite(&dirs, "shop.sqlite3"), sqlite(&dirs, "ledger.sqlite3"));
    let base = dirs.base();
    let mount = |version: &str, databases: &str| {
        let more =
            format!("[server]\nconfig_poll_seconds = 1\nlandlock = \"require\"\n{databases}");
        dirs.write(&format!("{version}/roothold.toml"), dirs.config(&more));
        symlink(version, base.join("..next")).unwrap();
        std::fs::rename(base.join("..next"), base.join("..data")).unwrap();
        more
    };
    let first = mount("..1", &section("shop", &shop));
    symlink("..data/roothold.toml", base.join("roothold.toml")).unwrap();
    let server = start(&dirs, &first);
    let reads = |outcome: &str| {
        server.gauge(&format!("roothold_config_reads_total{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!((reads("taken"), reads("refused")), (0.0, 0.0));
    let both = section("shop", &shop) + &section("ledger", &ledger);
    mount("..2", &both);
    eventually("it was not taken", || names(&server) == ["shop", "ledger"]);
    // One that is wrong is read once, and changes nothing.
    mount("..3", "[[databases]]\n");
    eventually("it was not read", || server.gauge("roothold_config_refused") > 0.0);
    assert_eq!(names(&server), ["shop", "ledger"]);
    mount("..4", &section("ledger", &ledger));
    eventually("it was not taken", || names(&server) == ["ledger"]);
    eventually("it is still refused", || server.gauge("roothold_config_refused") == 0.0);
    assert_eq!((reads("taken"), reads("refused")), (2.0, 1.0), "{}", server.log());
}

#[test]
fn a_password_file_that_is_replaced_is_taken_without_a_signal() {
    let database = Postgres::shared();
    block_on(database.database("swapped", "CREATE ROLE swapped_next LOGIN"));
    let dirs = Dirs::new();
    let file = dirs.base().join("secrets/dsn");
    dirs.write("secrets/dsn", database.url("swapped", "swapped"));
    let more = format!(
        "[server]\nconfig_poll_seconds = 1\n[[databases]]\nname = \"shop\"\nkind = \"postgres\"\ndsn_file = \"{}\"\n",
        file.display()
    );
    let server = start(&dirs, &more);
    let who = || query(&server, "shop", "SELECT current_user::text").unwrap()["rows"][0][0].clone();
    assert_eq!(who(), "swapped");
    std::fs::remove_file(&file).unwrap();
    eventually("it was not missed", || server.gauge("roothold_config_refused") > 0.0);
    assert_eq!(who(), "swapped");
    dirs.write("secrets/dsn", database.url("swapped_next", "swapped"));
    eventually("it was not read", || server.gauge("roothold_config_refused") == 0.0);
    assert_eq!(who(), "swapped_next");
}

#[test]
fn the_client_of_a_server_over_stdio_is_told_of_another_configuration() {
    let dirs = Dirs::new();
    let (shop, ledger) = (sqlite(&dirs, "shop.sqlite3"), sqlite(&dirs, "ledger.sqlite3"));
    let more =
        |databases: &str| dirs.config(&format!("[server]\nconfig_poll_seconds = 1\n{databases}"));
    let mut stdio = Stdio::start(dirs.base(), &more(&section("shop", &shop)));
    let tool = "[[tools]]\nname = \"newest\"\ndatabase = \"ledger\"\ndescription = \"d\"\nsql = \"SELECT max(id) FROM orders\"\n";
    dirs.write("roothold.toml", more(&(section("ledger", &ledger) + tool)));
    assert_eq!(stdio.notification()["method"], "notifications/tools/list_changed");
    let call = json!({"name": "list_databases", "arguments": {}});
    let (list, _) = stdio.request("tools/call", &call);
    let databases = &list["result"]["structuredContent"]["databases"];
    assert_eq!((databases.as_array().unwrap().len(), &databases[0]["name"]), (1, &json!("ledger")));
}

/// A server whose configuration lies in a directory of its own, behind the wall: nothing else that is
/// read again is there.
fn start_alone(dirs: &Dirs, conf: &Path, more: &str) -> Server {
    let mut spec = Spec::new(conf, dirs.config(more));
    (spec.cwd, spec.audit) = (dirs.outside(), dirs.base().join("audit"));
    let server = spec.start();
    assert_eq!(server.status()["walls"]["landlock"]["state"], "stands");
    server
}

const ALONE: &str = "[server]\nconfig_poll_seconds = 1\nlandlock = \"require\"\n";

/// As editors and `install` replace files: another one is renamed to the name.
#[test]
fn a_server_that_began_without_databases_reads_a_file_that_was_put_in_place_of_its_own() {
    let dirs = Dirs::new();
    let shop = sqlite(&dirs, "shop.sqlite3");
    let conf = shop.parent().unwrap();
    let server = start_alone(&dirs, conf, ALONE);
    let replace = |more: &str| {
        std::fs::write(conf.join("next"), dirs.config(more)).unwrap();
        std::fs::rename(conf.join("next"), conf.join("roothold.toml")).unwrap();
    };
    replace(&(ALONE.to_owned() + &section("shop", &shop)));
    eventually("it was not taken", || {
        query(&server, "shop", "SELECT count(*) FROM orders").is_ok()
    });
    // What needs a restart is read, and said to need one.
    replace(&format!("{ALONE}allowed_hosts = [\"a.example\"]\n"));
    eventually("it was not refused", || server.gauge("roothold_config_refused") > 0.0);
    let log = server.log();
    let said = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
    assert!(said.contains("[server] changed, which needs a restart"), "{said}");
    assert!(!said.contains("Landlock"), "{said}");
    query(&server, "shop", "SELECT count(*) FROM orders").unwrap();
}

/// As a ConfigMap is mounted and changed: the link to the version in force is replaced.
#[test]
fn a_server_that_began_without_databases_reads_a_configuration_that_was_swapped() {
    let dirs = Dirs::new();
    let shop = sqlite(&dirs, "shop.sqlite3");
    let conf = shop.parent().unwrap();
    let mount = |version: &str, more: &str| {
        std::fs::create_dir(conf.join(version)).unwrap();
        std::fs::write(conf.join(version).join("roothold.toml"), dirs.config(more)).unwrap();
        symlink(version, conf.join("..data_tmp")).unwrap();
        std::fs::rename(conf.join("..data_tmp"), conf.join("..data")).unwrap();
    };
    mount("..2026_11_26_09_00_00.1", ALONE);
    symlink("..data/roothold.toml", conf.join("roothold.toml")).unwrap();
    let server = start_alone(&dirs, conf, ALONE);
    mount("..2026_11_26_09_05_00.2", &(ALONE.to_owned() + &section("shop", &shop)));
    std::fs::remove_dir_all(conf.join("..2026_11_26_09_00_00.1")).unwrap();
    eventually("it was not taken", || {
        query(&server, "shop", "SELECT count(*) FROM orders").is_ok()
    });
    assert!(server.gauge("roothold_config_refused") < 0.5, "{}", server.log());
}

/// The wall stands on directories, not on their names.
#[test]
fn a_directory_that_was_replaced_as_a_whole_is_out_of_reach_and_said_to_want_a_restart() {
    let dirs = Dirs::new();
    let conf = dirs.base().join("conf");
    std::fs::create_dir(&conf).unwrap();
    let server = start_alone(&dirs, &conf, ALONE);
    std::fs::rename(&conf, dirs.base().join("before")).unwrap();
    dirs.write("conf/roothold.toml", dirs.config(ALONE));
    eventually("it was not said", || server.log().contains("or restart the server: Landlock"));
    let log = server.log();
    let said = log.lines().rfind(|line| line.contains(REFUSED)).unwrap();
    assert_eq!(said.matches("Permission denied").count(), 1, "{said}");
}
