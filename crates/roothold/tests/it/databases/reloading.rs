//! Databases that change while the server runs, on SIGHUP.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{query, section, sqlite, start};
use crate::support::{Dirs, Server};

const TAKEN: &str = "the configuration was read again";
const REFUSED: &str = "the configuration was not taken";

/// Writes another configuration and has the server read it; what it says of it.
pub(super) fn reload(dirs: &Dirs, server: &Server, more: &str) -> Value {
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
        (&said["kept"], &said["made"], &said["closed"]),
        (&json!(1), &json!(1), &json!(0)),
        "{said}"
    );
    assert_eq!(names(&server), ["shop", "ledger"]);
    query(&server, "ledger", "SELECT count(*) FROM orders").unwrap();
    // What is hidden from then on is hidden at once.
    let fewer = section("ledger", &ledger).replace("[\"vault\"]", "[\"vault\", \"orders\"]");
    let said = reload(&dirs, &server, &fewer);
    assert_eq!(
        (&said["kept"], &said["made"], &said["closed"]),
        (&json!(0), &json!(1), &json!(2)),
        "{said}"
    );
    assert_eq!(names(&server), ["ledger"]);
    assert_eq!(query(&server, "shop", "SELECT 1").unwrap_err().0, "denied");
    query(&server, "ledger", "SELECT count(*) FROM orders").unwrap_err();
    query(&server, "ledger", "SELECT count(*) FROM customers").unwrap();
}

#[test]
fn what_cannot_be_taken_changes_nothing_and_says_why() {
    let dirs = Dirs::new();
    let shop = sqlite(&dirs, "shop.sqlite3");
    let good = section("shop", &shop);
    let server = start(&dirs, &good);
    let elsewhere = dirs.base().join("elsewhere/other.sqlite3");
    std::fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    std::fs::copy(&shop, &elsewhere).unwrap();
    let renamed = section("other", &shop);
    for (more, why) in [
        ("[[databases]\n".to_owned(), "line"),
        (format!("{renamed}rows_max = 0\n"), "rows_max"),
        (format!("{renamed}{renamed}"), "two are called"),
        (format!("{renamed}[audit]\nreplica = \"b\"\n"), "[audit] changed, which needs a restart"),
        (format!("{good}{}", section("other", &elsewhere)), "restart"),
        (format!("{good}{}", section("other", &dirs.work().join("x.db"))), "restart"),
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
