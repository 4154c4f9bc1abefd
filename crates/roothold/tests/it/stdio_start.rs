//! What a server over stdio does at its start, and what it leaves for later.

use serde_json::{Value, json};

use crate::support::{Dirs, Stdio};

fn call(stdio: &mut Stdio, tool: &str, arguments: &Value) -> Value {
    let (mut message, _) =
        stdio.request("tools/call", &json!({"name": tool, "arguments": arguments}));
    message["result"].take()
}

fn config(dirs: &Dirs) -> String {
    dirs.config(&format!("[state]\ndir = \"{}\"\n", dirs.base().join("jobs").display()))
}

#[test]
fn who_needs_the_store_of_jobs_waits_for_it() {
    let dirs = Dirs::with_fixture();
    let mut stdio = Stdio::start(dirs.base(), &config(&dirs));
    // The first thing that is asked, however far the store is.
    let listed = call(&mut stdio, "list_jobs", &json!({}));
    assert_eq!(listed["structuredContent"]["jobs"], json!([]), "{listed}");
    assert!(dirs.base().join("jobs/state.sqlite3").exists());
    assert!(stdio.end().success());
}

#[test]
fn a_store_that_is_none_refuses_jobs_and_nothing_else() {
    let dirs = Dirs::with_fixture();
    dirs.write("jobs/state.sqlite3", "this is no database, and was none before".repeat(200));
    let mut stdio = Stdio::start(dirs.base(), &config(&dirs));
    let refused = call(&mut stdio, "list_jobs", &json!({}));
    assert_eq!(refused["_meta"]["io.roothold/error"]["kind"], "unavailable", "{refused}");
    let read =
        call(&mut stdio, "read_text_file", &json!({"path": dirs.fill_in("$ROOT/hello.txt")}));
    assert_eq!(read["content"][0]["text"], "PUBLIC-HELLO");
    assert!(stdio.end().success());
    let log = std::fs::read_to_string(dirs.base().join("stderr.log")).unwrap();
    assert!(
        log.contains("the store of jobs could not be opened") && log.contains("state.dir"),
        "{log}"
    );
}

#[test]
fn the_engine_for_datasets_is_not_there_before_it_is_needed() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/a.csv", "n\n1\n");
    let more =
        format!("[dataset_engine]\nspill_dir = \"{}\"\n", dirs.base().join("spill").display());
    let mut stdio = Stdio::start(dirs.base(), &dirs.config(&more));
    let spill = dirs.base().join("spill");
    let folders = || std::fs::read_dir(&spill).unwrap().count();
    call(&mut stdio, "list_datasets", &json!({}));
    assert_eq!(folders(), 0);
    let query = json!({"data_source": dirs.fill_in("$ROOT/a.csv"), "sql": "SELECT n FROM data"});
    assert_eq!(
        call(&mut stdio, "query_dataset", &query)["structuredContent"]["rows"],
        json!([[1]])
    );
    assert_eq!(folders(), 1);
    assert!(stdio.end().success());
    assert_eq!(folders(), 0, "it goes with the server");
}
