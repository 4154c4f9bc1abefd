//! Errors that say what to do next, and arguments that are taken in two spellings.

use serde_json::{Value, json};

use crate::support::{Dirs, Spec, texts};

fn error(result: &Value) -> (&str, String) {
    let kind = result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap_or("none");
    (kind, texts(result)[0].clone())
}

#[test]
fn a_dry_run_is_asked_for_in_either_spelling_by_every_tool_that_writes() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/hello.txt");
    let to = dirs.fill_in("$ROOT/new");
    let edits = json!([{"oldText": "PUBLIC-HELLO", "newText": "x"}]);
    for (tool, mut arguments) in [
        ("write_file", json!({"path": path, "content": "x"})),
        ("edit_file", json!({"path": path, "edits": edits})),
        ("create_directory", json!({"path": to})),
        ("move_file", json!({"source": path, "destination": to})),
        ("delete_file", json!({"path": path})),
    ] {
        for (spelling, other) in [("dry_run", "dryRun"), ("dryRun", "dry_run")] {
            arguments[spelling] = json!(true);
            let result = server.call(tool, &arguments).result();
            assert_eq!(result["structuredContent"]["dry_run"], true, "{tool} {spelling}: {result}");
            // Both at once contradict each other, or might.
            arguments[other] = json!(false);
            assert_eq!(error(&server.call(tool, &arguments).result()).0, "invalid", "{tool}");
            arguments.as_object_mut().unwrap().retain(|key, _| key != spelling && key != other);
        }
    }
    assert_eq!(std::fs::read(dirs.work().join("hello.txt")).unwrap(), b"PUBLIC-HELLO");
    assert!(!dirs.work().join("new").exists());
}

#[test]
fn an_unknown_argument_is_told_all_that_are_known() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/hello.txt");
    for (tool, mut arguments, is_paged) in [
        ("read_text_file", json!({"path": path}), true),
        ("read_multiple_files", json!({"paths": [path]}), true),
        ("search_content", json!({"path": path, "pattern": "x"}), true),
        ("get_file_info", json!({"path": path}), false),
    ] {
        arguments["max_byte"] = json!(2000);
        let result = server.call(tool, &arguments).result();
        let (kind, said) = error(&result);
        assert_eq!(kind, "invalid", "{said}");
        assert_eq!(said.contains("`cursor`, `max_bytes`"), is_paged, "{said}");
    }
    let edits = json!([{"oldTexts": "a", "newText": "b"}]);
    let said = error(&server.call("edit_file", &json!({"path": path, "edits": edits})).result()).1;
    assert!(said.contains("edits[0]") && !said.contains("cursor"), "{said}");
}

#[test]
fn a_search_that_runs_out_of_time_says_that_the_pattern_may_be_why() {
    let dirs = Dirs::with_fixture();
    let line = format!("{}\n", "a".repeat(900));
    dirs.write("work/many.txt", line.repeat(16_000));
    let config = dirs.config("").replace("call_timeout_seconds = 5", "call_timeout_seconds = 1");
    let server = Spec::new(dirs.base(), config).start();
    let path = dirs.fill_in("$ROOT/many.txt");
    let search = json!({"path": path, "pattern": "(?:a{1,100}){1,10}b"});
    let (kind, said) = {
        let result = server.call("search_content", &search).result();
        let (kind, said) = error(&result);
        (kind.to_owned(), said)
    };
    assert_eq!(kind, "timeout", "{said}");
    assert!(said.contains("ask for less") && said.contains("simpler pattern"), "{said}");
}

#[test]
fn what_cannot_be_written_says_how_it_could_be() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let write = json!({"path": dirs.fill_in("$RO/ro.txt"), "content": "x"});
    let result = server.call("write_file", &write).result();
    let (kind, said) = error(&result);
    assert_eq!(kind, "denied");
    assert!(said.contains("access = \"rw\"") && said.contains("--write"), "{said}");
}
