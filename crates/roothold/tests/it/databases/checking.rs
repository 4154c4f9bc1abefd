//! What `roothold check` says of databases, and what a start refuses.

use std::process::Command;

use roothold_testing::Postgres;

use super::{block_on, postgres, section, sqlite};
use crate::support::Dirs;

/// The exit code of a check, and all that it said.
pub(super) fn check(dirs: &Dirs, more: &str) -> (i32, String) {
    dirs.write("roothold.toml", dirs.config(more));
    let output = Command::new(env!("CARGO_BIN_EXE_roothold"))
        .args(["check", "--full", "--config"])
        .arg(dirs.base().join("roothold.toml"))
        .env("XDG_STATE_HOME", dirs.base().join("state-home"))
        .env("ROOTHOLD_SERVER__LISTEN", "127.0.0.1:0")
        .env("ROOTHOLD_TELEMETRY__LISTEN", "")
        .env("SHOP_DSN", "postgresql://reader:CANARY-PASSWORD@127.0.0.1:1/shop")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), text.concat())
}

#[test]
fn the_sql_for_a_proper_role_is_printed_and_makes_one() {
    let database = Postgres::start();
    let setup = "CREATE TABLE orders (id int); CREATE TABLE vault (s text)";
    block_on(database.database("checked", setup));
    let dirs = Dirs::new();
    let hides = "hidden_tables = [\"app.vault\"]\n";
    let (code, text) = check(&dirs, &postgres("shop", &database.url("postgres", "checked"), hides));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("DISABLED") && text.contains("superuser"), "{text}");
    let demotes = text.contains("ALTER ROLE postgres") || text.contains("FROM PUBLIC, postgres");
    assert!(!demotes, "an administrator's role is left as it is: {text}");
    let sql: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("a role that only reads"))
        .skip(1)
        .take_while(|line| line.starts_with("    "))
        .collect();
    assert!(sql.iter().any(|line| line.contains("CREATE ROLE roothold_read")), "{text}");
    block_on(database.say("checked", &sql.join("\n")));
    let url = database.url("roothold_read", "checked");
    let (code, text) = check(&dirs, &postgres("shop", &url, &format!("required = true\n{hides}")));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("it can be used") && !text.contains("disables:"), "{text}");
}

#[test]
fn one_that_is_required_and_does_not_answer_fails_the_check() {
    let dirs = Dirs::new();
    let variable = postgres("shop", "${SHOP_DSN}", "");
    let (code, text) = check(&dirs, &variable);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("it does not answer now"), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
    let (code, text) = check(&dirs, &(variable + "required = true\n"));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("a database that is required cannot be used"), "{text}");
    let path = sqlite(&dirs, "shop.sqlite3");
    let (code, text) = check(&dirs, &(section("shop", &path) + "required = true\n"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("database shop\n  sqlite, read, required\n"), "{text}");
}

#[test]
fn unsafe_connections_are_refused_before_anything_is_served() {
    let dirs = Dirs::new();
    for (dsn, why) in [
        ("postgresql://reader:CANARY-PASSWORD@127.0.0.1/shop", "${VARIABLE}"),
        ("postgresql://reader@db.example.com/shop?sslmode=disable", "plaintext"),
        ("${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE is not set"),
        ("no connection string", "shop"),
    ] {
        let (code, text) = check(&dirs, &postgres("shop", dsn, ""));
        assert_ne!(code, 0, "{dsn}: {text}");
        assert!(text.contains("databases") && text.contains(why), "{dsn}: {text}");
        assert!(!text.contains("CANARY"), "{text}");
    }
}
