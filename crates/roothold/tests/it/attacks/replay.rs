//! The battery's paths once more, as data sources: what may not be read as a text may not be read as
//! a table, by the same rule.

use serde_json::{Value, json};

use super::case::battery;
use super::setup;
use super::steps::long;
use crate::support::{Dirs, Server, Spec, find_canary};

/// The groups of cases that are about how a path is written, and about where it leads.
const CASES: [&str; 3] = ["FS-1", "FS-2", "FS-3"];

/// Asks for each path by both ways, and tells how many there were.
pub(crate) fn paths_are_as_for_reading() -> usize {
    let mut asked = 0;
    for case in battery() {
        if case.attacker.is_some() || !CASES.iter().any(|begin| case.id.starts_with(begin)) {
            continue;
        }
        let reads = case.calls.iter().filter(|step| step.tool == "read_file");
        let paths: Vec<String> =
            reads.map(|step| step.args["path"].as_str().unwrap().to_owned()).collect();
        let mut dirs = Dirs::with_fixture();
        // What the machine refuses to prepare shows nothing.
        if paths.is_empty() || case.setup.iter().any(|op| setup::apply(&mut dirs, op).is_err()) {
            continue;
        }
        let server = Spec::new(dirs.base(), dirs.config("")).start();
        for path in paths {
            same(&server, &long(&dirs.fill_in(&path)), &case.id);
            asked += 1;
        }
    }
    asked
}

fn same(server: &Server, path: &str, id: &str) {
    let read = server.call("read_text_file", &json!({"path": path})).result();
    let options = json!({"format": "text"});
    let described =
        server.call("describe_dataset", &json!({"data_source": path, "options": options})).result();
    let queried = server
        .call(
            "query_dataset",
            &json!({"data_source": path, "options": options, "sql": "SELECT * FROM data"}),
        )
        .result();
    for dataset in [described, queried] {
        assert_eq!(find_canary(dataset.to_string().as_bytes()), None, "{id}: {dataset}");
        if read["isError"] == true {
            assert_eq!(verdict(&dataset), verdict(&read), "{id}: {path:?}: {dataset}");
        } else {
            assert_ne!(dataset["isError"], true, "{id}: {path:?}: {dataset}");
        }
    }
}

/// The kind of an error, and the rule if it is a denial.
fn verdict(result: &Value) -> (&Value, &Value) {
    let error = &result["_meta"]["io.roothold/error"];
    (&error["kind"], &error["rule"])
}
