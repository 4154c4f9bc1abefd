//! What a server is asked: every tool that it has and that we know, about every ring.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::arena::RINGS;

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) params: Value,
    /// The tool, or the method where it is none.
    pub(super) name: &'static str,
    /// Whether it can only be answered with one of the two versions of a file, whole.
    pub(super) is_versioned: bool,
}

impl Ask {
    fn call(tool: &'static str, arguments: &Value) -> Self {
        let params = json!({"name": tool, "arguments": arguments});
        Self { method: "tools/call", params, name: tool, is_versioned: false }
    }
}

/// All asks about all rings, in a fixed order, for a server with these tools.
pub(super) fn all(root: &Path, tools: &BTreeSet<String>, resources: bool) -> Vec<Ask> {
    let mut asks = Vec::new();
    for ring in RINGS {
        let home = root.join(ring).display().to_string();
        asks.extend(reads(&home));
        asks.extend(writes(&home));
        asks.extend(batches(&home));
        if resources {
            asks.extend(others(&home));
        }
    }
    let versioned = root.join("two/a/x/f.txt").display().to_string();
    for ask in asks.iter_mut().filter(|ask| ask.name == "read_text_file") {
        ask.is_versioned = ask.params["arguments"]["path"] == *versioned;
    }
    asks.retain(|ask| ask.method != "tools/call" || tools.contains(ask.name));
    asks
}

fn reads(home: &str) -> Vec<Ask> {
    let path = |below: &str| json!({"path": format!("{home}/{below}")});
    let both = json!({"paths": [format!("{home}/a/x/f.txt"), format!("{home}/a/x/leak.txt")]});
    vec![
        Ask::call("list_directory", &path("a/x")),
        Ask::call("list_directory", &path("a")),
        Ask::call("list_directory_with_sizes", &path("a/x")),
        Ask::call("directory_tree", &path("a")),
        Ask::call("directory_tree", &path("")),
        Ask::call("search_files", &json!({"path": format!("{home}/a"), "pattern": "**"})),
        Ask::call("search_content", &json!({"path": format!("{home}/a"), "pattern": "A"})),
        Ask::call("read_text_file", &path("a/x/f.txt")),
        Ask::call("read_text_file", &path("a/x/leak.txt")),
        Ask::call("read_file", &path("a/x/../x/f.txt")),
        Ask::call("read_text_file", &path("a/../a/x/leak.txt")),
        Ask::call("read_text_file", &path("a/x/../../../secret.txt")),
        Ask::call("read_media_file", &path("a/x/f.txt")),
        Ask::call("read_media_file", &path("a/x/leak.txt")),
        Ask::call("read_multiple_files", &both),
        Ask::call("get_file_info", &path("a/x/f.txt")),
        Ask::call("get_file_info", &path("a/x/leak.txt")),
    ]
}

/// What is made, changed, moved and deleted again.
fn writes(home: &str) -> Vec<Ask> {
    let at = |below: &str| format!("{home}/a/x/{below}");
    let edit = |old: &str, new: &str| json!({"path": at("e.txt"), "edits": [{"oldText": old, "newText": new}]});
    vec![
        Ask::call("write_file", &json!({"path": at("w.txt"), "content": "WRITTEN\n"})),
        Ask::call("edit_file", &edit("old", "new")),
        Ask::call("edit_file", &edit("new", "old")),
        Ask::call("create_directory", &json!({"path": at("d")})),
        Ask::call("move_file", &json!({"source": at("w.txt"), "destination": at("v.txt")})),
        Ask::call("delete_file", &json!({"path": at("v.txt")})),
    ]
}

fn batches(home: &str) -> Vec<Ask> {
    let path = |below: &str| json!({"path": format!("{home}/{below}")});
    let call = |tool: &str, arguments: Value| json!({"tool": tool, "arguments": arguments});
    let calls = [
        call("read_text_file", path("a/x/f.txt")),
        call("read_text_file", path("a/x/leak.txt")),
        call("list_directory", path("a/x")),
        call("get_file_info", path("a/x/leak.txt")),
    ];
    vec![Ask::call("batch", &json!({"calls": calls}))]
}

fn others(home: &str) -> Vec<Ask> {
    let read = |below: &str| Ask {
        method: "resources/read",
        params: json!({"uri": format!("file://{home}/{below}")}),
        name: "resources/read",
        is_versioned: false,
    };
    let template = json!({"type": "ref/resource", "uri": "file:///{+path}"});
    let argument = json!({"name": "path", "value": format!("{home}/a/x/")});
    let complete = Ask {
        method: "completion/complete",
        params: json!({"ref": template, "argument": argument}),
        name: "completion/complete",
        is_versioned: false,
    };
    vec![read("a/x/f.txt"), read("a/x/leak.txt"), complete]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tools_that_are_there_are_asked() {
        let tools = BTreeSet::from(["list_directory".to_owned()]);
        let asks = all(Path::new("/r"), &tools, false);
        assert_eq!(asks.len(), 2 * RINGS.len());
        assert!(all(Path::new("/r"), &tools, true).len() > asks.len());
    }
}
