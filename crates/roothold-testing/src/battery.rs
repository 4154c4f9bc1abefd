//! Hostile statements, recorded as data: each must be refused or harmless, and none may hang.

use std::time::Duration;

use serde::Deserialize;

/// A hung case is one that takes many times its time: the machine may be busy.
const PATIENCE: u32 = 8;
/// The time of a case that names none.
const CASE_TIME: Duration = Duration::from_secs(4);

/// What stands in the file that the SQLite cases ask, of which `vault` must be hidden.
pub const SQLITE_SETUP: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'); \
     CREATE TABLE vault (secret TEXT); INSERT INTO vault VALUES ('CANARY-VAULT');";

/// All cases, and what they are tried on.
#[derive(Debug, Deserialize)]
pub struct Battery {
    /// The administrator says this in an empty database called `appdb`.
    pub setup_sql: String,
    /// And this then, which makes the role `mcp_ro` that the cases are tried as.
    pub least_privilege_sql: String,
    cases: Vec<Case>,
}

/// One statement and what it must not do.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name, such as `SQL-001`.
    pub id: String,
    engine: String,
    sql: String,
    bad_effect_probe: Option<String>,
    leak_regex: Option<String>,
    /// What is asked behind it, and must not see anything that it left.
    pub second_query_same_pool: Option<String>,
    max_ms: Option<u64>,
    expect: String,
}

/// How a case is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// And its answer awaited.
    Whole(String),
    /// And its caller hangs up after this time.
    HungUp(Duration, String),
}

/// What stands for variables in a case.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    /// A directory that the database could write to.
    pub tmp: &'a str,
    /// The PostgreSQL server's port.
    pub port: u16,
}

impl Variables<'_> {
    fn fill_in(&self, text: &str) -> String {
        text.replace("$PGPORT", &self.port.to_string()).replace("$TMP", self.tmp)
    }
}

impl Battery {
    /// Reads it.
    ///
    /// # Panics
    /// If the file does not read.
    pub fn load() -> Self {
        serde_json::from_str(include_str!("../batteries/sql.json")).unwrap()
    }

    /// Reads the one for MariaDB.
    ///
    /// # Panics
    /// If the file does not read.
    pub fn of_mariadb() -> Self {
        serde_json::from_str(include_str!("../batteries/mariadb.json")).unwrap()
    }

    /// The cases of an engine, `postgres`, `sqlite` or, of their own battery, `mariadb`.
    ///
    /// # Panics
    /// If there are fewer than there ever were: nothing is left out unseen.
    pub fn of(&self, engine: &str) -> Vec<&Case> {
        let cases: Vec<&Case> = self.cases.iter().filter(|case| case.engine == engine).collect();
        let least = match engine {
            "postgres" => 40,
            "mariadb" => 95,
            _ => 10,
        };
        assert!(cases.len() >= least, "{engine}: {} cases", cases.len());
        cases
    }
}

impl Case {
    /// How it is sent.
    ///
    /// # Panics
    /// If the time after which its caller hangs up does not read.
    pub fn sent(&self, variables: Variables<'_>) -> Sent {
        let sql = variables.fill_in(&self.sql);
        let parts =
            sql.strip_prefix("@disconnect_after_ms=").and_then(|rest| rest.split_once(": "));
        match parts {
            None => Sent::Whole(sql),
            Some((wait, sql)) => {
                Sent::HungUp(Duration::from_millis(wait.parse().unwrap()), sql.to_owned())
            }
        }
    }

    /// The question to the server whose answer `t`, or `1`, says that it did harm.
    pub fn probe(&self, variables: Variables<'_>) -> Option<String> {
        self.bad_effect_probe.as_ref().map(|probe| variables.fill_in(probe))
    }

    /// Whether it must answer, and not only do no harm.
    pub fn must_answer(&self) -> bool {
        self.expect == "ok"
    }

    /// When it hangs.
    pub fn time_max(&self) -> Duration {
        self.max_ms.map_or(CASE_TIME, Duration::from_millis) * PATIENCE
    }

    fn leaks(&self, text: &str) -> bool {
        let Some(pattern) = &self.leak_regex else { return false };
        let text = text.to_lowercase();
        let words = pattern.trim_start_matches("(?i)").split('|');
        words.map(str::to_lowercase).any(|word| text.contains(&word))
    }

    /// Whether it `answered`, with the text of what it `said`, and took so long, is as it must be.
    ///
    /// # Panics
    /// If not.
    pub fn check(&self, answered: bool, said: &str, took: Duration) {
        assert!(took < self.time_max(), "{} took {took:?}", self.id);
        match self.expect.as_str() {
            "ok" => assert!(answered, "{}: {said}", self.id),
            "blocked_or_harmless" => assert!(!self.leaks(said), "{}: {said}", self.id),
            other => panic!("{}: an expectation that is not known: {other}", self.id),
        }
        for inner in ["/tmp/", "postgresql", "mysql_async", ".c:", "rusqlite", "tokio"] {
            assert!(answered || !said.contains(inner), "{}: {said}", self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(sql: &str, leak: &str) -> Case {
        let case = serde_json::json!({"id": "x", "engine": "postgres", "sql": sql, "leak_regex": leak,
            "expect": "blocked_or_harmless"});
        serde_json::from_value(case).unwrap()
    }

    #[test]
    fn a_case_says_how_it_is_sent() {
        let variables = Variables { tmp: "/t", port: 7 };
        let sent = |sql| case(sql, "x").sent(variables);
        assert_eq!(sent("a $TMP $PGPORT"), Sent::Whole("a /t 7".to_owned()));
        let after = Duration::from_millis(300);
        assert_eq!(sent("@disconnect_after_ms=300: a: b"), Sent::HungUp(after, "a: b".to_owned()));
    }

    #[test]
    fn a_leak_is_seen_in_any_case() {
        let case = case("a", "(?i)md5|SCRAM");
        assert!(case.leaks("a Scram secret") && case.leaks("MD5") && !case.leaks("sha"));
    }

    #[test]
    #[should_panic(expected = "took")]
    fn a_case_that_hangs_is_seen() {
        case("a", "b").check(true, "", Duration::from_mins(1));
    }
}
