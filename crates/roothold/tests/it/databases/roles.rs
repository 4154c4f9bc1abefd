//! Principals with roles of their own in a database: each asks as who they are, and as nobody else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use roothold_testing::{MariaDb, Postgres};
use serde_json::{Value, json};

use super::checking::check;
use super::granted::keys;
use super::reloading::reload;
use super::{block_on, eventually, start, written};
use crate::support::{Asked, Dirs, Request, Server};

const SCOPES: &[&str] = &["databases:read"];
const PEOPLE: [&str; 3] = ["anna", "bob", "carl"];

/// A server whose database has a role for each of `with`, called as the database and the principal.
struct People {
    dirs: Dirs,
    server: Server,
    keys: BTreeMap<&'static str, String>,
    auth: String,
}

/// The section of a database in which principals have roles.
fn section(kind: &str, name: &str, more: &str, with: &[(&str, String)]) -> String {
    let mut text = format!("[[databases]]\nname = \"{name}\"\nkind = \"{kind}\"\n{more}\n");
    for (principal, url) in with {
        writeln!(text, "[[databases.roles]]\nprincipal = \"{principal}\"\ndsn = \"{url}\"")
            .unwrap();
    }
    text
}

impl People {
    fn new(config: impl FnOnce(&Dirs) -> String) -> Self {
        let dirs = Dirs::new();
        let (keys, auth) = keys(&dirs, &PEOPLE.map(|name| (name, SCOPES)));
        let server = start(&dirs, &(auth.clone() + &config(&dirs)));
        Self { dirs, server, keys: PEOPLE.into_iter().zip(keys).collect(), auth }
    }

    fn call(&self, who: &str, tool: &str, arguments: &Value) -> Asked {
        self.server.send(&Request::call(tool, arguments).bearer(&self.keys[who])).asked()
    }

    fn query(&self, who: &str, database: &str, sql: &str) -> Asked {
        self.call(who, "query_database", &json!({"database": database, "sql": sql}))
    }

    /// The first value of an answer.
    fn value(&self, who: &str, database: &str, sql: &str) -> Value {
        let answer = self.query(who, database, sql);
        answer.unwrap_or_else(|(kind, text)| panic!("{who}: {sql}: {kind}: {text}"))["rows"][0][0]
            .clone()
    }
}

/// A PostgreSQL database with a role for each principal, and a table that each of them reads.
fn postgres(name: &str, with: &[&'static str], more: &str) -> (&'static Postgres, String) {
    let server = Postgres::shared();
    let mut setup = String::from("CREATE TABLE common AS SELECT 7 AS n;");
    for person in with {
        write!(
            setup,
            "CREATE ROLE {name}_{person} LOGIN; GRANT USAGE ON SCHEMA app TO {name}_{person}; \
             ALTER ROLE {name}_{person} SET search_path = app; GRANT SELECT ON common TO {name}_{person}; \
             CREATE TABLE of_{person} AS SELECT 'CANARY-{person}'::text AS secret; \
             GRANT SELECT ON of_{person} TO {name}_{person};"
        )
        .unwrap();
    }
    block_on(server.database(name, &setup));
    let url = |person: &str| server.url(&format!("{name}_{person}"), name);
    let roles: Vec<_> = with.iter().map(|&person| (person, url(person))).collect();
    (server, section("postgres", name, more, &roles))
}

#[test]
fn each_is_to_the_database_who_they_are() {
    let (_, section) = postgres("whoami", &["anna", "bob"], "role_per_principal = true");
    let people = People::new(|_| section);
    let who = "SELECT current_user::text || ' ' || session_user::text";
    for person in ["anna", "bob"] {
        let role = format!("whoami_{person}");
        assert_eq!(people.value(person, "whoami", who), format!("{role} {role}"));
        let theirs = format!("SELECT secret FROM of_{person}");
        assert_eq!(people.value(person, "whoami", &theirs), format!("CANARY-{person}"));
        let tables = people.call(person, "describe_schema", &json!({"database": "whoami"}));
        let tables = tables.unwrap().to_string();
        let other = if person == "anna" { "of_bob" } else { "of_anna" };
        assert!(tables.contains(&format!("of_{person}")) && !tables.contains(other), "{tables}");
        people.query(person, "whoami", &format!("SELECT * FROM {other}")).unwrap_err();
    }
    for (place, text) in written(&people.server) {
        assert!(!text.contains("postgresql://"), "{place}: {text}");
        assert!(!text.contains("CANARY"), "{place}: {text}");
    }
    assert!(!people.server.metrics().contains("anna"), "{}", people.server.metrics());
}

/// A statement runs as a login of its own, so that there is no other to fall back to.
#[test]
fn nobody_becomes_somebody_else() {
    let (_, section) = postgres("become", &["anna", "bob"], "role_per_principal = true");
    let people = People::new(|_| section);
    for sql in [
        "SELECT set_config('role', 'become_bob', false), secret FROM of_bob",
        "SELECT set_config('role', 'none', false), secret FROM of_bob",
        "SELECT set_config('session_authorization', 'become_bob', false), secret FROM of_bob",
        "SET ROLE become_bob",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION DEFAULT",
        "RESET SESSION AUTHORIZATION",
        "WITH a AS MATERIALIZED (SELECT set_config('role', 'become_bob', false)) SELECT secret FROM a, of_bob",
    ] {
        let (_, text) = people.query("anna", "become", sql).unwrap_err();
        assert!(!text.contains("CANARY"), "{sql}: {text}");
        assert_eq!(people.value("anna", "become", "SELECT current_user::text"), "become_anna");
        assert_eq!(people.value("bob", "become", "SELECT current_user::text"), "become_bob");
    }
}

#[test]
fn calls_of_many_at_once_never_meet_on_a_connection() {
    let more = "role_per_principal = true\npool_size = 2";
    let (server, section) = postgres("mingle", &PEOPLE, more);
    let people = People::new(|_| section);
    let sql = "SELECT current_user::text, n FROM common";
    std::thread::scope(|scope| {
        for person in PEOPLE.iter().cycle().take(12) {
            let people = &people;
            scope.spawn(move || {
                for _ in 0..25 {
                    assert_eq!(people.value(person, "mingle", sql), format!("mingle_{person}"));
                }
            });
        }
    });
    let most = "SELECT coalesce(max(c), 0) FROM (SELECT count(*) AS c FROM pg_stat_activity \
                WHERE usename LIKE 'mingle\\_%' GROUP BY usename) AS a";
    let most: usize = block_on(server.see("postgres", most)).parse().unwrap();
    assert!((1..=2).contains(&most), "{most} connections of one role");
}

#[test]
fn who_has_no_role_learns_nothing_of_the_database() {
    let (_, section) = postgres("roleless", &["anna"], "role_per_principal = true");
    let people = People::new(|_| section);
    for (tool, arguments) in [
        ("query_database", json!({"sql": "SELECT 1"})),
        ("explain_query", json!({"sql": "SELECT 1"})),
        ("describe_schema", json!({})),
    ] {
        let ask = |database: &str| {
            let mut arguments = arguments.clone();
            arguments["database"] = database.into();
            people.call("carl", tool, &arguments).unwrap_err()
        };
        assert_eq!(ask("roleless"), ask("nothing"), "{tool}");
    }
    let list = people.call("carl", "list_databases", &json!({})).map(|list| list.to_string());
    assert!(!format!("{list:?}").contains("roleless"), "{list:?}");
    people.query("anna", "roleless", "SELECT 1").unwrap();
}

#[test]
fn others_use_the_role_of_nobody_and_one_that_can_do_too_much_is_its_own_trouble() {
    let server = Postgres::shared();
    let setup = "CREATE TABLE t AS SELECT 1 AS n; CREATE ROLE shared_anna LOGIN; \
                 GRANT USAGE ON SCHEMA app TO shared_anna; GRANT SELECT, INSERT ON t TO shared_anna";
    block_on(server.database("shared", setup));
    let more = format!("dsn = \"{}\"\nrequired = true", server.url("shared", "shared"));
    let anna = [("anna", server.url("shared_anna", "shared"))];
    let section = section("postgres", "shared", &more, &anna);
    let people = People::new(|_| section.clone());
    let who = "SELECT current_user::text";
    for person in ["bob", "carl"] {
        assert_eq!(people.value(person, "shared", who), "shared");
    }
    let (kind, text) = people.query("anna", "shared", who).unwrap_err();
    assert_eq!(kind, "unavailable", "{text}");
    assert!(text.contains("disabled"), "{text}");
    eventually("it is ready", || people.server.is_ready());
    let status = || people.server.status()["databases"][0].clone();
    eventually("hers is asked", || status()["roles"][1]["state"] == "disabled");
    let status = status();
    assert_eq!(
        (&status["state"], &status["roles"][0]["state"]),
        (&json!("ready"), &json!("ready"))
    );
    assert_eq!(status["roles"][1]["principal"], "anna");
    assert!(status["roles"][1]["findings"].to_string().contains("app.t"), "{status}");
    let metrics = people.server.metrics();
    let disabled = "roothold_database_roles{kind=\"postgres\",state=\"disabled\"} 1";
    assert!(metrics.contains(disabled), "{metrics}");
    let (code, text) = check(&people.dirs, &(people.auth.clone() + &section));
    assert_eq!(code, 1, "one of its roles cannot be used: {text}");
    let said = text.split_once("by the role of anna:").unwrap();
    assert!(said.0.contains("by the role of all others:\n  it can be used"), "{text}");
    assert!(said.1.contains("DISABLED") && said.1.contains("REVOKE"), "{text}");
}

#[test]
fn roles_come_and_go_without_a_restart_and_keep_no_connections_that_nobody_uses() {
    let (server, both) = postgres("staff", &["anna", "bob"], "role_per_principal = true");
    let only_anna = both.split("[[databases.roles]]").take(2).collect::<Vec<_>>();
    let only_anna = only_anna.join("[[databases.roles]]");
    let people = People::new(|_| only_anna.clone());
    let count = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'staff\\_%'";
    let state = || people.server.status()["databases"][0]["roles"][0]["state"].clone();
    eventually("hers is asked", || state() == "ready");
    eventually("it was only asked", || block_on(server.see("postgres", count)) == "0");
    assert_eq!(people.query("bob", "staff", "SELECT 1").unwrap_err().0, "denied");
    let take =
        |section: &str| reload(&people.dirs, &people.server, &(people.auth.clone() + section));
    let said = take(&both);
    assert_eq!((&said["roles_kept"], &said["roles_made"]), (&json!(1), &json!(1)), "{said}");
    assert_eq!(people.value("bob", "staff", "SELECT current_user::text"), "staff_bob");
    let said = take(&only_anna);
    assert_eq!((&said["roles_kept"], &said["roles_closed"]), (&json!(1), &json!(1)), "{said}");
    assert_eq!(people.query("bob", "staff", "SELECT 1").unwrap_err().0, "denied");
    assert_eq!(people.value("anna", "staff", "SELECT current_user::text"), "staff_anna");
    let of_bob = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'staff_bob'";
    eventually("his are closed", || block_on(server.see("postgres", of_bob)) == "0");
}

#[test]
fn mariadb_has_roles_of_principals_too() {
    let server = MariaDb::shared();
    let setup = "CREATE TABLE common (n INT); INSERT INTO common VALUES (7); \
                 CREATE USER crew_anna@'%'; GRANT SELECT ON crew.* TO crew_anna@'%'; \
                 CREATE USER crew_bob@'%'; GRANT SELECT (n) ON crew.common TO crew_bob@'%'; \
                 CREATE TABLE hers (s TEXT)";
    block_on(server.database("crew", setup));
    let url = |person: &str| server.url(&format!("crew_{person}"), "crew");
    let with = ["anna", "bob"].map(|person| (person, url(person)));
    let section = section("mysql", "crew", "role_per_principal = true", &with);
    let people = People::new(|_| section);
    for person in ["anna", "bob"] {
        let who = people.value(person, "crew", "SELECT CURRENT_USER()");
        assert_eq!(who, format!("crew_{person}@%"));
        assert_eq!(people.value(person, "crew", "SELECT n FROM common"), 7);
    }
    people.query("anna", "crew", "SELECT * FROM hers").unwrap();
    people.query("bob", "crew", "SELECT * FROM hers").unwrap_err();
    assert_eq!(people.query("carl", "crew", "SELECT 1").unwrap_err().0, "denied");
}

#[test]
fn one_with_many_calls_keeps_nobody_from_a_database() {
    const EACH: usize = 4;
    const THREADS: usize = 12;
    let server = Postgres::shared();
    block_on(server.database("crowded", ""));
    let more = format!("dsn = \"{}\"\npool_size = 2", server.url("crowded", "crowded"));
    let section = section("postgres", "crowded", &more, &[]);
    let people = People::new(|_| section);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    people.query("anna", "crowded", "SELECT pg_sleep(0.25)").unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("hers wait", || people.server.status()["calls_in_flight"] == THREADS);
        for _ in 0..5 {
            people.query("bob", "crowded", "SELECT 1").unwrap();
        }
        let done = done.load(Ordering::Relaxed);
        assert!(done < THREADS * EACH - THREADS, "his waited for {done} of hers");
    });
}
