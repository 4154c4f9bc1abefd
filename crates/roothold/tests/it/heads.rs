//! What the state store knows of an audit log betrays whoever cuts it off.

use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::jobs;

fn verify(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roothold"));
    command.args(["audit", "verify"]).args(arguments).output().unwrap()
}

#[test]
fn a_log_that_was_cut_off_between_two_lines_is_broken_for_whoever_asks_the_store() {
    let dirs = jobs::dirs(10);
    let more = "\n[audit]\nreplica = \"blue\"\n";
    let mut server = jobs::replica(&dirs, "a", more).start();
    for _ in 0..3 {
        server.call("list_directory", &json!({"path": dirs.fill_in("$ROOT")})).result();
    }
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_secs(30)).unwrap().success(), "{}", server.log());
    let audit = dirs.base().join("audit-a");
    let file = std::fs::read_dir(&audit).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read_to_string(&file).unwrap();
    assert!(whole.lines().next().unwrap().contains("\"blue\""), "{whole}");
    let state = dirs.base().join("jobs");
    dirs.write("verify.toml", format!("[state]\ndir = \"{}\"\n", state.display()));
    let config = dirs.base().join("verify.toml");
    let (config, file_text) = (config.to_str().unwrap(), file.to_str().unwrap());
    let known = verify(&["--config", config, file_text]);
    let said = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(known.status.success() && said.contains("as the state store knows it"), "{known:?}");

    // The stop line and the last outcome are gone: what is left is a whole chain.
    let lines: Vec<&str> = whole.lines().collect();
    let cut = lines[..lines.len() - 2].join("\n") + "\n";
    std::fs::write(&file, cut).unwrap();
    assert!(verify(&[file_text]).status.success());
    let betrayed = verify(&["--config", config, file_text]);
    let said = String::from_utf8_lossy(&betrayed.stderr).into_owned();
    assert_eq!(betrayed.status.code(), Some(1), "{betrayed:?}");
    assert!(said.contains("lines were removed at the end"), "{said}");
}

#[test]
fn a_store_that_is_not_there_is_said_and_not_made() {
    let dirs = jobs::dirs(1);
    let state = dirs.base().join("nowhere");
    dirs.write("verify.toml", format!("[state]\ndir = \"{}\"\n", state.display()));
    let config = dirs.base().join("verify.toml");
    let none = verify(&["--config", config.to_str().unwrap(), "some.jsonl"]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    assert!(!state.exists());
}
