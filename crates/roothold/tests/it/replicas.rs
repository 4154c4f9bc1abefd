//! Replicas that share a store of jobs: what one leaves, another finishes, and nothing counts twice.

use std::process::Command;
use std::time::{Duration, Instant};

use roothold_testing::Postgres;
use rustix::process::Signal;
use serde_json::json;

use crate::jobs::{
    PATIENCE, background, begin, count, dirs, ended, eventually, is_running, replica, start,
};
use crate::support::{Dirs, Request, Server, Spec, custom_tool_binary};
use crate::watch::Listening;

/// Two replicas by one configuration, the first of which is taken away from a job in its middle. Returns how
/// long after that the second one has it on record that it took the job up.
fn goes_on_elsewhere<'a>(
    dirs: &'a Dirs,
    spec: impl Fn(&'static str) -> Spec<'a>,
    take_away: impl FnOnce(&mut Server),
) -> Duration {
    let mut first = spec("a").start();
    let whole = first.send(&count(dirs, 0)).result()["structuredContent"]["result"].clone();
    let id = begin(&first, &background(dirs, 150));
    let second = spec("b").start();
    eventually("it is in the middle", || is_running(&second, &id, 3));
    let takes_it_up = || {
        let audit = second.audit();
        audit.of_kind("intent").any(|line| line["request_id"] == id.as_str()).then_some(())
    };
    assert!(takes_it_up().is_none(), "the first one has it");
    let began = Instant::now();
    take_away(&mut first);
    eventually("the second replica takes it up", takes_it_up);
    let waited = began.elapsed();
    let job = ended(&second, &id);
    assert_eq!(job["job"]["status"], "completed", "{job}");
    // Each step counts once: steps, lines and bytes are those of an uninterrupted run.
    assert_eq!(job["result"], whole);
    assert_eq!(job["job"]["progress"]["chunks"], whole["steps"]);
    waited
}

const SHORT_LEASE: &str = "[jobs]\nlease_seconds = 2\n";
/// The longest that the job of a replica that was killed may lie: until its lease is over, and somebody looks.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(2 + 5);

/// The same with a file of SQLite.
fn in_one_file(take_away: impl FnOnce(&mut Server)) -> Duration {
    let dirs = dirs(20_000);
    goes_on_elsewhere(&dirs, |name| replica(&dirs, name, SHORT_LEASE), take_away)
}

#[test]
fn a_job_whose_replica_is_killed_goes_on_elsewhere_from_its_last_chunk() {
    let waited = in_one_file(|first| first.signal(Signal::KILL));
    println!("taken up {waited:?} after the kill, with a lease of 2 s and a file of SQLite");
    assert!(waited <= TAKEN_UP_WITHIN, "{waited:?}");
}

#[test]
fn a_job_whose_replica_hangs_goes_on_elsewhere_and_what_comes_late_is_refused() {
    in_one_file(|first| {
        first.signal(Signal::STOP);
        std::thread::sleep(Duration::from_secs(5));
        first.signal(Signal::CONT);
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn a_replica_that_is_drained_gives_its_job_back_before_it_ends() {
    in_one_file(|first| {
        first.signal(Signal::TERM);
        let asked = Instant::now();
        assert!(first.wait(Duration::from_secs(20)).unwrap().success(), "{}", first.log());
        println!("ended after {:?}", asked.elapsed());
        assert!(first.log().contains("released"), "{}", first.log());
    });
}

#[test]
fn a_job_outlives_its_server_and_a_new_one_finishes_it() {
    let dirs = dirs(20_000);
    let mut server = start(&dirs);
    let id = begin(&server, &background(&dirs, 200));
    eventually("it is in the middle", || is_running(&server, &id, 2));
    server.signal(Signal::TERM);
    assert!(server.wait(PATIENCE).unwrap().success());
    let server = start(&dirs);
    let job = ended(&server, &id);
    assert_eq!(job["result"]["lines"], 20_000, "{job}");
}

/// 32 bytes that all replicas have.
const KEYS: &str = "[handles]\nkeys = [\"k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"]\n";

fn with_database<'a>(dirs: &'a Dirs, name: &str, url: &'a str, more: &str) -> Spec<'a> {
    let state = "[state]\npostgres = \"${JOBS_URL}\"\n[server]\nlandlock = \"require\"\n";
    let mut spec = replica(dirs, name, "");
    spec.config = dirs.config(&format!("{more}{SHORT_LEASE}{state}"));
    spec.env.push(("JOBS_URL", url));
    spec
}

#[test]
fn replicas_that_share_a_database_finish_each_others_jobs() {
    let (database, dirs) = (Postgres::start(), dirs(20_000));
    let url = database.url("postgres:a-password", "postgres");
    let waited = goes_on_elsewhere(
        &dirs,
        |name| with_database(&dirs, name, &url, KEYS),
        |first| first.signal(Signal::KILL),
    );
    println!("taken up {waited:?} after the kill, with a lease of 2 s and PostgreSQL");
    assert!(waited <= TAKEN_UP_WITHIN, "{waited:?}");
    goes_on_elsewhere(
        &dirs,
        |name| with_database(&dirs, name, &url, KEYS),
        |first| {
            first.signal(Signal::TERM);
            assert!(first.wait(PATIENCE).unwrap().success(), "{}", first.log());
        },
    );
}

/// Longer than a hint of the kernel and a word of the database take; a client at a replica that has to wait for the
/// clock instead waits longer.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn what_is_written_through_one_replica_is_told_by_another() {
    let (database, dirs) = (Postgres::start(), Dirs::with_fixture());
    let url = database.url("postgres:a-password", "postgres");
    let state = format!("{KEYS}[state]\npostgres = \"${{JOBS_URL}}\"\n");
    let replica = |name: &str| {
        let mut spec = Spec::new(dirs.base(), dirs.config(&state));
        spec.audit = dirs.base().join(format!("audit-{name}"));
        std::fs::create_dir_all(&spec.audit).unwrap();
        spec.env.push(("JOBS_URL", &url));
        spec.start()
    };
    let (first, second) = (replica("a"), replica("b"));
    let [file, dir] = ["$ROOT/hello.txt", "$ROOT/sub"].map(|path| dirs.fill_in(path));
    let uris = [format!("file://{file}"), format!("file://{dir}")];
    let mut listening = Listening::open(&first, &uris);
    assert_eq!(listening.acknowledged(), json!({"resourceSubscriptions": uris}));
    eventually("it has looked", || (first.audit().counts().1 >= 1).then_some(()));
    let mut told = |what: &str, tool: &str, arguments: &serde_json::Value, uri: &str| {
        second.asked(tool, arguments).unwrap();
        let asked = Instant::now();
        assert_eq!(listening.updated(), uri, "{what}");
        assert!(asked.elapsed() < TOLD_WITHIN, "{what}: {:?}", asked.elapsed());
    };
    let new = format!("{dir}/new.txt");
    told("a file", "write_file", &json!({"path": file, "content": "PUBLIC"}), &uris[0]);
    told("a new one", "write_file", &json!({"path": new, "content": "PUBLIC"}), &uris[1]);
    let edits = json!([{"oldText": "PUBLIC", "newText": "PUBLIC-OTHER"}]);
    told("an edit", "edit_file", &json!({"path": file, "edits": edits}), &uris[0]);
    told("one that is gone", "delete_file", &json!({"path": new}), &uris[1]);
    let audit = |server: &Server| String::from_utf8(server.audit().raw).unwrap();
    assert!(audit(&first).contains("notifications/resources/updated"));
    assert!(!audit(&second).contains("notifications/resources/updated"));
}

#[test]
fn a_job_that_another_replica_does_is_told_where_it_is_followed() {
    let (database, dirs) = (Postgres::start(), dirs(20_000));
    let url = database.url("postgres:a-password", "postgres");
    let one = format!("{KEYS}[jobs]\nrunning_max = 1\nlease_seconds = 20\n");
    let replica = |name: &str| {
        let mut spec = with_database(&dirs, name, &url, "");
        let state = "[state]\npostgres = \"${JOBS_URL}\"\n";
        spec.config = dirs.config(&format!("{one}{state}"));
        spec.start()
    };
    let first = replica("a");
    // The first has its hands full, so that the other does what comes next.
    let busy = begin(&first, &background(&dirs, 2000));
    eventually("it is at work", || is_running(&first, &busy, 1));
    let second = replica("b");
    let id = begin(&second, &background(&dirs, 100));
    let filter = json!({"notifications": {"taskIds": [id]}});
    let listen = Request::modern("subscriptions/listen", &filter).with_tasks();
    let mut listening = Listening::send(&first, &listen);
    assert_eq!(listening.acknowledged(), json!({"taskIds": [id]}));
    let mut told = Vec::new();
    while told.last().is_none_or(|status| status != "completed") {
        let message = listening.message();
        assert_eq!(message["method"], "notifications/tasks", "{message}");
        assert_eq!(message["params"]["taskId"], id.as_str());
        told.push(message["params"]["status"].as_str().unwrap().to_owned());
    }
    let ran = |server: &Server| {
        server.audit().of_kind("intent").filter(|line| line["request_id"] == id.as_str()).count()
    };
    assert_eq!((ran(&first), ran(&second)), (0, 1), "the second did it");
    assert!(told.len() >= 2, "while it ran, and at its end: {told:?}");
}

#[test]
fn a_database_that_cannot_be_used_refuses_the_start_in_words_without_its_password() {
    let dirs = Dirs::with_fixture();
    let refused = |url: &str, keys: &str| {
        let config = dirs.config(&format!("{keys}[state]\npostgres = \"{url}\"\n"));
        dirs.write("refused.toml", config);
        let mut command = Command::new(custom_tool_binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(dirs.base().join("refused.toml")).arg("--audit-dir");
        command.arg(dirs.base().join("audit")).env("ROOTHOLD_TELEMETRY__LISTEN", "");
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{url}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    let nobody = "postgresql://u:hunter2@127.0.0.1:1/d";
    assert!(
        refused(nobody, "").contains("handles.keys: "),
        "replicas must open each other's cursors"
    );
    assert!(refused(nobody, KEYS).contains("state.postgres: "));
    let clear = "postgresql://u:hunter2@db.example.com/d?sslmode=disable";
    assert!(refused(clear, KEYS).contains("in the clear"));
    assert!(refused("${NO_SUCH_VARIABLE}", KEYS).contains("NO_SUCH_VARIABLE is not set"));
}
