//! Databases of configurations that follow each other; none is connected to.

use roothold_core::{Actions, PolicySpec, Roots, Scopes};

use super::*;
use crate::config::Config;

fn sections(text: &str) -> Vec<DatabaseSection> {
    toml::from_str::<Config>(text).unwrap().databases
}

fn postgres(name: &str, port: u16) -> String {
    format!(
        "[[databases]]\nname = \"{name}\"\nkind = \"postgres\"\n\
         dsn = \"postgresql://reader@127.0.0.1:{port}/d?sslmode=disable\"\n"
    )
}

/// Databases, and the policy that knows of them.
fn databases(text: &str) -> (Databases, Policy) {
    let policy = Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &[]).unwrap();
    let databases = Databases::default();
    let policy = databases.set(&sections(text), &policy).unwrap();
    (databases, policy)
}

fn permit(databases: &Databases, policy: &Policy, name: &str) -> Permit {
    permit_of(databases, policy, name, "anna").unwrap()
}

fn permit_of(
    databases: &Databases,
    policy: &Policy,
    name: &str,
    who: &str,
) -> Result<Permit, Fault> {
    let action = databases.action(Verb::Read, name, None).unwrap();
    let who = Principal::new(who, Scopes::All);
    Ok(policy.decide(&who, "query_database", &Actions::one(action))?.remove(0))
}

/// A role of the database that stands before it.
fn role(principal: &str, port: u16) -> String {
    format!(
        "[[databases.roles]]\nprincipal = \"{principal}\"\n\
         dsn = \"postgresql://{principal}@127.0.0.1:{port}/d?sslmode=disable\"\n"
    )
}

#[test]
fn the_audit_log_learns_the_statement_without_its_literals() {
    let (databases, _) = databases(&postgres("shop", 5432));
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
    let both = postgres("shop", 5432) + &postgres("ledger", 5433);
    let (databases, policy) = databases(&both);
    let before = permit(&databases, &policy, "shop");
    let (shop, ledger) = (databases.of(&before).unwrap(), databases.all()[1].roles()[0].clone());
    let other = postgres("shop", 5434) + &postgres("ledger", 5433);
    let prepared = databases.prepare(&sections(&other), &policy).unwrap();
    assert!(databases.of(&before).is_ok(), "nothing is taken yet");
    let (policy, reloaded) = databases.take(prepared, &policy);
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
    let (databases, policy) = databases(&postgres("shop", 5432));
    databases.stay_within_reach(BTreeSet::new());
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
    // What such a file holds is not asked first: it could not be read.
    let kept = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
    let secret = format!("dsn_file = \"{}\"\n", kept.path().display());
    let secret = format!("[[databases]]\nname = \"new\"\nkind = \"postgres\"\n{secret}");
    assert!(refused(&secret).contains("another directory"), "{}", refused(&secret));
    let same = postgres("orders", 5432) + &postgres("shop", 5432);
    assert!(databases.prepare(&sections(&same), &policy).is_ok());
    databases.close().await;
    // Nor does a server keep from itself what it reads in any case.
    let (databases, policy) = self::databases("");
    databases.stay_within_reach([dir.path().to_owned()].into());
    assert!(databases.prepare(&sections(&file), &policy).is_ok());
    databases.close().await;
}

#[test]
fn a_call_may_take_as_long_as_the_slowest_database() {
    assert_eq!(databases("").0.timeout(), SLACK);
    let slow = postgres("a", 1) + "query_timeout_seconds = 100\npool_wait_seconds = 7\n";
    let (databases, _) = databases(&(slow + &postgres("b", 2)));
    assert_eq!(databases.timeout(), Duration::from_secs(107) + SLACK);
}

#[test]
fn one_that_is_required_and_was_not_asked_is_not_ready() {
    assert!(databases(&postgres("a", 1)).0.required_are_ready());
    let required = postgres("a", 1) + "required = true\n";
    assert!(!databases(&required).0.required_are_ready());
}

#[tokio::test]
async fn each_asks_by_their_own_role_and_by_no_other() {
    let per_principal =
        "[[databases]]\nname = \"hr\"\nkind = \"postgres\"\nrole_per_principal = true\n";
    let text = postgres("shop", 5432) + &role("anna", 5432) + per_principal + &role("bob", 5432);
    let (databases, policy) = databases(&text);
    let role_of = |name: &str, who: &str| {
        let permit = permit_of(&databases, &policy, name, who)?;
        databases.of(&permit)
    };
    assert_eq!(role_of("shop", "anna").unwrap().principal(), Some("anna"));
    for who in ["bob", "Anna", "anna ", ""] {
        assert_eq!(role_of("shop", who).unwrap().principal(), None, "{who}");
    }
    assert_eq!(role_of("hr", "bob").unwrap().principal(), Some("bob"));
    let nobodys = permit_of(&databases, &policy, "nothing", "anna").unwrap_err();
    for who in ["anna", "Bob", "", "carl"] {
        let fault = role_of("hr", who).unwrap_err();
        assert_eq!((fault.kind(), fault.public()), (FaultKind::Denied, nobodys.public()), "{who}");
        let who = Principal::new(who, Scopes::All);
        let usable = databases.usable(&policy, &who).unwrap();
        assert!(usable.iter().all(|one| one.section.name == "shop"));
    }
    databases.close().await;
}

#[tokio::test]
async fn another_role_of_one_leaves_the_connections_of_the_others() {
    let both = postgres("shop", 5432) + &role("anna", 5432) + &role("bob", 5432);
    let (databases, mut policy) = databases(&both);
    let before = databases.all()[0].roles().to_vec();
    let take = |policy: &mut Policy, text: &str| {
        let prepared = databases.prepare(&sections(text), policy).unwrap();
        let (other, reloaded) = databases.take(prepared, policy);
        *policy = other;
        reloaded
    };
    // Who may use it is no business of its connections.
    let named = postgres("shop", 5432)
        + "principals = [\"anna\", \"bob\"]\n"
        + &role("anna", 5432)
        + &role("bob", 5432);
    assert_eq!(take(&mut policy, &named), Reloaded { kept: 3, made: 0, closed: 0 });
    assert!(permit_of(&databases, &policy, "shop", "carl").is_err());
    let other = postgres("shop", 5432) + &role("bob", 5432) + &role("anna", 5433);
    assert_eq!(take(&mut policy, &other), Reloaded { kept: 2, made: 1, closed: 1 });
    let now = databases.of(&permit(&databases, &policy, "shop")).unwrap();
    assert!(!before.iter().any(|role| Arc::ptr_eq(role, &now)));
    let bob = permit_of(&databases, &policy, "shop", "bob").unwrap();
    assert!(Arc::ptr_eq(&databases.of(&bob).unwrap(), &before[2]));
    let before = permit(&databases, &policy, "shop");
    assert_eq!(
        take(&mut policy, &postgres("shop", 5432)),
        Reloaded { kept: 1, made: 0, closed: 2 }
    );
    assert_eq!(databases.of(&before).unwrap_err().kind(), FaultKind::Conflict);
    assert!(databases.usable(&policy, &Principal::local()).is_ok());
    let others = policy.with_databases(Vec::new());
    let fault = databases.usable(&others, &Principal::local()).err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Conflict, "no list mixes two configurations");
    databases.close().await;
}

#[test]
fn what_is_wrong_with_one_person_s_role_is_no_outage_of_the_others() {
    let section = "[[databases]]\nname = \"hr\"\nkind = \"postgres\"\nrole_per_principal = true\nrequired = true\n";
    let (databases, _) = databases(&(section.to_owned() + &role("anna", 1) + &role("bob", 1)));
    let all = databases.all();
    let [anna, bob] = all[0].roles() else { panic!("two roles") };
    let down = Fault::new(FaultKind::Unavailable, "the server refused the login");
    let learn = |role: &Role, fault: Option<&Fault>| role.health.learn_of_probe(role, fault);
    learn(anna, Some(&down));
    assert_eq!((all[0].state(), databases.required_are_ready()), (State::Unasked, false));
    assert!(all[0].watched().is_none());
    learn(bob, None);
    assert_eq!((all[0].state(), databases.required_are_ready()), (State::Ready, true));
    assert!(Arc::ptr_eq(all[0].watched().unwrap(), bob));
    assert!(!databases.required_are_whole());
    learn(bob, Some(&down));
    assert_eq!((all[0].state(), databases.required_are_ready()), (State::Down, false));
}

#[test]
fn one_that_is_slow_counts_as_down_only_when_it_is_so_again_and_again() {
    let (databases, _) = databases(&(postgres("shop", 1) + "required = true\n"));
    let all = databases.all();
    let [role] = all[0].roles() else { panic!("one role") };
    let slow = Fault::new(FaultKind::Timeout, "the database does not answer in time");
    let down = Fault::new(FaultKind::Unavailable, "the server refused the login");
    let learn = |fault: Option<&Fault>| {
        role.health.learn_of_probe(role, fault);
        (role.health.state(), databases.required_are_ready())
    };
    // Before it was ever heard of, nothing is said for it.
    assert_eq!(learn(Some(&slow)), (State::Unasked, false));
    assert_eq!(learn(None), (State::Ready, true));
    for _ in 0..5 {
        assert_eq!(learn(Some(&slow)), (State::Ready, true));
        assert!(role.health.reason().unwrap().contains("in time"), "operators see it");
        assert!(role.health.due_in(false).is_some_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(learn(Some(&slow)), (State::Ready, true));
        assert_eq!(learn(None), (State::Ready, true));
        assert_eq!(role.health.reason(), None);
    }
    learn(Some(&slow));
    learn(Some(&slow));
    assert_eq!(learn(Some(&slow)), (State::Down, false));
    assert_eq!(learn(Some(&slow)), (State::Down, false), "and stays so");
    assert_eq!(learn(None), (State::Ready, true));
    learn(Some(&slow));
    assert_eq!(learn(Some(&down)), (State::Down, false), "what is known counts at once");
    // What a call finds out counts as much as what a look does.
    learn(None);
    learn(Some(&slow));
    learn(Some(&slow));
    role.health.learn_of_call(role, None);
    assert_eq!(learn(Some(&slow)), (State::Ready, true));
}
