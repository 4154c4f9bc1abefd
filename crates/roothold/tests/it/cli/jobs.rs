//! `roothold jobs`, over stores that real servers keep.

use std::process::Command;

use roothold_edge::auth::KeysFile;
use rustix::process::Signal;
use serde_json::Value;

use super::{Person, Ran};
use crate::jobs::{background, begin, dirs, ended, eventually, is_running, replica, start};
use crate::support::Dirs;

/// Runs `roothold jobs` with the configuration of the servers of `dirs`.
fn jobs(dirs: &Dirs, arguments: &[&str]) -> Ran {
    let config = dirs.base().join("roothold.toml");
    let (first, rest) = arguments.split_first().unwrap();
    let person = Person::new();
    let mut command = person.command(&["jobs", first, "--config", config.to_str().unwrap()]);
    Ran::from(command.args(rest).output().unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_operator_sees_and_stops_the_jobs_of_all_owners() {
    let dirs = dirs(20_000);
    let keys = dirs.base().join("keys");
    let file = KeysFile::open(&keys).unwrap();
    let key = |name: &str| {
        file.new_key(name, &["files:read".to_owned()], None).unwrap().1.reveal().to_owned()
    };
    let (anna, bert) = (key("anna"), key("bert"));
    let more =
        format!("[auth]\nkeys_file = \"{}\"\n[audit]\nreplica = \"the-replica\"\n", keys.display());
    let server = replica(&dirs, "a", &more).start();
    let done = begin(&server, &background(&dirs, 0).bearer(&anna));
    let runs = begin(&server, &background(&dirs, 2000).bearer(&bert));
    let listed =
        |arguments: &[&str]| lines(&jobs(&dirs, &[&["list", "--json"], arguments].concat()).good());
    eventually("one is done and one runs", || {
        let all = listed(&[]);
        let of = |id: &str| all.iter().find(|job| job["job_id"] == *id).unwrap().clone();
        let ready = of(&done)["status"] == "completed"
            && of(&runs)["progress"]["chunks"].as_u64() > Some(0);
        ready.then_some(())
    });
    // Newest first, whoever's they are.
    let all = listed(&[]);
    assert_eq!((&all[0]["owner"], &all[1]["owner"]), (&"bert".into(), &"anna".into()));
    assert_eq!(listed(&["--owner", "anna"]).len(), 1);
    assert_eq!(listed(&["--owner", "nobody"]), Vec::<Value>::new());
    assert_eq!(listed(&["--live"])[0]["job_id"], runs.as_str());
    assert_eq!(listed(&["--limit", "1"]).len(), 1);
    assert_eq!(jobs(&dirs, &["list", "--owner", "nobody"]).good(), "no jobs\n");
    let table = jobs(&dirs, &["list"]).good();
    for word in ["SQLite", "completed", "20,000 rows", "about", "lines.txt"] {
        assert!(table.contains(word), "{table}");
    }
    assert!(!table.contains("error"), "none has failed: {table}");

    let shown = jobs(&dirs, &["show", &done]).good();
    assert!(shown.contains("owner       anna") && shown.contains("(100.0 %)"), "{shown}");
    assert!(shown.contains("result\n20000 lines in"), "{shown}");
    assert!(shown.contains("claimed     1 time\n"), "{shown}");
    let worker = shown.lines().find(|line| line.starts_with("worker")).unwrap();
    assert!(worker.starts_with("worker      the-replica/audit-"), "{shown}");
    let shown = jobs(&dirs, &["show", &runs]).good();
    assert!(shown.contains("claimed     1 time; attempt 1 of 5 at the next chunk"), "{shown}");
    assert!(shown.contains("\npartial, after ") && shown.contains(", counted in "), "{shown}");
    let value: Value =
        serde_json::from_str(&jobs(&dirs, &["show", "--json", &done]).good()).unwrap();
    assert_eq!(value["result"]["lines"], 20_000, "{value}");
    let partial: Value =
        serde_json::from_str(&jobs(&dirs, &["show", "--json", &runs]).good()).unwrap();
    assert!(partial["partial"]["lines"].as_u64().unwrap() > 0, "{partial}");

    // Somebody else's is not there for whoever names an owner.
    let not_his = jobs(&dirs, &["show", &done, "--owner", "bert"]).bad(1);
    assert!(not_his.contains(&format!("no job {done} of bert")), "{not_his}");
    let cancelled = jobs(&dirs, &["cancel", &runs]).good();
    assert_eq!(cancelled, format!("{runs} is cancelled\n"), "the running server stops it");
    assert_eq!(listed(&["--owner", "bert"])[0]["status"], "cancelled");
    let stays = jobs(&dirs, &["cancel", &done, &runs]);
    assert_eq!(stays.code, 1, "{stays:?}");
    assert!(stays.out.contains("has completed, and stays so"), "{stays:?}");
    let missing = format!("job-{}", "0".repeat(32));
    for word in ["show", "cancel"] {
        let none = jobs(&dirs, &[word, &missing]).bad(1);
        assert!(none.contains("there is no job"), "{none}");
        assert_eq!(jobs(&dirs, &[word, "7"]).code, 2);
    }
}

#[test]
fn a_job_that_no_server_works_on_is_cancelled_at_once() {
    let dirs = dirs(20_000);
    let mut server = start(&dirs);
    let id = begin(&server, &background(&dirs, 1000));
    eventually("it runs", || is_running(&server, &id, 1));
    server.signal(Signal::TERM);
    server.wait(std::time::Duration::from_secs(30)).unwrap();
    assert!(jobs(&dirs, &["list", "--live"]).good().contains("queued"));
    assert_eq!(jobs(&dirs, &["cancel", &id]).good(), format!("{id} is cancelled\n"));
    let again = start(&dirs);
    assert_eq!(ended(&again, &id)["job"]["status"], "cancelled");
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let person = Person::new();
    let config = person.file("roothold.toml", "[state]\ndir = \"kept/jobs\"\n");
    let named = person.run(&["jobs", "list", "--config", &config]).bad(2);
    assert!(named.contains("kept/jobs") && named.contains("there is no state store"), "{named}");
    let none = person.run(&["jobs", "list"]).bad(2);
    assert!(none.contains("no server of this user has kept a job"), "{none}");
    person.file("kept/jobs/other", "");
    let empty = person.run(&["jobs", "list", "--state-dir", "kept/jobs"]).bad(2);
    assert!(empty.contains("there is no state store"), "{empty}");
    person.file("kept/jobs/state.sqlite3", &"no database ".repeat(100));
    let other = person.run(&["jobs", "list", "--state-dir", "kept/jobs"]).bad(2);
    assert!(other.contains("holds something else"), "{other}");
    let mut left: Vec<String> = Vec::new();
    for place in ["", "kept", "kept/jobs"] {
        let entries = std::fs::read_dir(person.home().join(place)).unwrap();
        left.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    left.sort();
    assert_eq!(left, ["jobs", "kept", "other", "roothold.toml", "state.sqlite3"]);
}

#[test]
fn without_a_configuration_the_users_own_stores_are_asked() {
    let dirs = dirs(100);
    let mut spec = replica(&dirs, "a", "");
    spec.config = dirs.config("");
    let server = spec.start();
    let id = begin(&server, &background(&dirs, 0));
    ended(&server, &id);
    let listed = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roothold"));
        command.args(["jobs", "list", "--json"]).args(more).env_clear();
        let state = dirs.base().join("state-home");
        Ran::from(command.env("XDG_STATE_HOME", state).output().unwrap())
    };
    let all = lines(&listed(&[]).good());
    assert_eq!(all[0]["job_id"], id.as_str());
    // Another configuration's store is another one.
    let other = dirs.base().join("other.toml");
    std::fs::write(&other, "").unwrap();
    let none = listed(&["--config", other.to_str().unwrap()]).bad(2);
    assert!(none.contains("there is no state store"), "{none}");
}
