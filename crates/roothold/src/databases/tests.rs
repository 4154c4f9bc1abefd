//! Databases of configurations that follow each other; none is connected to.

use roothold_core::{Actions, PolicySpec, Roots, Scopes};

use super::*;
use crate::config::Config;

fn policy() -> Policy {
    Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &[]).unwrap()
}

fn sections(text: &str) -> Vec<DatabaseSection> {
    toml::from_str::<Config>(text).unwrap().databases
}

fn postgres(name: &str, port: u16) -> String {
    format!(
        "[[databases]]\nname = \"{name}\"\nkind = \"postgres\"\n\
         dsn = \"postgresql://reader@127.0.0.1:{port}/d?sslmode=disable\"\n"
    )
}

fn databases(text: &str, policy: &Policy) -> Databases {
    let databases = Databases::default();
    databases.set(&sections(text), policy).unwrap();
    databases
}

fn permit(databases: &Databases, policy: &Policy, name: &str) -> Permit {
    let action = databases.action(Verb::Read, name, None).unwrap();
    let anna = Principal::new("anna", Scopes::All);
    policy.decide(&anna, "query_database", &Actions::one(action)).unwrap().remove(0)
}

#[test]
fn the_audit_log_learns_the_statement_without_its_literals() {
    let policy = policy();
    let databases = databases(&postgres("shop", 5432), &policy);
    let sql = "SELECT * FROM t WHERE a = 'CANARY-1' AND b = 4242";
    let action = |name: &str, sql: &str| databases.action(Verb::Read, name, Some(sql)).unwrap();
    let asked = action("shop", sql);
    assert_eq!(asked.target_shown(), "database shop");
    let statement = asked.statement().unwrap();
    assert!(statement.contains("where a = ? and b = ?"), "{statement}");
    // Whose SQL it is decides what is a literal, so that of one that is not there nothing is kept.
    let escaped = "SELECT 'it\\'s CANARY-2'";
    assert_eq!(action("nothing", escaped).statement(), None);
    let long = format!("SELECT '{}' FROM t -- CANARY-3", "CANARY-4".repeat(1_000));
    let long = action("shop", &long);
    assert!(long.statement().unwrap().ends_with(" select ? from t"), "{long:?}");
    let huge = "x".repeat(STATEMENT_BYTES_MAX + 1);
    for name in ["shop", "nothing"] {
        let fault = databases.action(Verb::Read, name, Some(&huge)).unwrap_err();
        assert!(fault.public().contains("longer than"), "{fault}");
    }
    assert!(databases.action(Verb::Read, "a\nb", None).is_err());
    assert!(databases.action(Verb::Read, &"a".repeat(65), None).is_err());
}

#[tokio::test]
async fn a_permit_of_the_configuration_before_opens_nothing() {
    let policy = policy();
    let both = postgres("shop", 5432) + &postgres("ledger", 5433);
    let databases = databases(&both, &policy);
    let before = permit(&databases, &policy, "shop");
    let (shop, ledger) = (databases.of(&before).unwrap(), databases.all()[1].clone());
    let other = postgres("shop", 5434) + &postgres("ledger", 5433);
    let prepared = databases.prepare(&sections(&other), &policy).unwrap();
    assert!(databases.of(&before).is_ok(), "nothing is taken yet");
    let reloaded = databases.take(prepared, &policy);
    assert_eq!(reloaded, Reloaded { kept: 1, made: 1, closed: 1 });
    let fault = databases.of(&before).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    let now = databases.of(&permit(&databases, &policy, "shop")).unwrap();
    assert!(!Arc::ptr_eq(&now, &shop));
    // What did not change keeps its connections.
    let kept = databases.of(&permit(&databases, &policy, "ledger")).unwrap();
    assert!(Arc::ptr_eq(&kept, &ledger));
    databases.close().await;
}

#[tokio::test]
async fn behind_a_wall_nothing_new_comes_within_reach() {
    let policy = policy();
    let databases = databases(&postgres("shop", 5432), &policy);
    databases.stay_within_reach();
    let refused = |text: &str| databases.prepare(&sections(text), &policy).map(|_| ()).unwrap_err();
    assert!(refused(&postgres("shop", 5433)).contains("port 5433"), "another port");
    let dir = tempfile::tempdir().unwrap();
    let file = format!(
        "[[databases]]\nname = \"notes\"\nkind = \"sqlite\"\npath = \"{}/n.db\"\n",
        dir.path().display()
    );
    assert!(refused(&file).contains("another directory"));
    let host = postgres("shop", 5432).replace("127.0.0.1", "db.internal");
    let host = host.replace("?sslmode=disable", "?sslmode=require");
    assert!(refused(&host).contains("looking up a host"), "{}", refused(&host));
    let same = postgres("orders", 5432) + &postgres("shop", 5432);
    assert!(databases.prepare(&sections(&same), &policy).is_ok());
    databases.close().await;
}

#[test]
fn a_call_may_take_as_long_as_the_slowest_database() {
    let policy = policy();
    assert_eq!(databases("", &policy).timeout(), SLACK);
    let slow = postgres("a", 1) + "query_timeout_seconds = 100\npool_wait_seconds = 7\n";
    let databases = databases(&(slow + &postgres("b", 2)), &policy);
    assert_eq!(databases.timeout(), Duration::from_secs(107) + SLACK);
}

#[test]
fn one_that_is_required_and_was_not_asked_is_not_ready() {
    let policy = policy();
    assert!(databases(&postgres("a", 1), &policy).required_are_ready());
    let required = postgres("a", 1) + "required = true\n";
    assert!(!databases(&required, &policy).required_are_ready());
}
