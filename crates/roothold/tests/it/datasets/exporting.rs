//! `query_dataset` whose rows go to a file.

use std::fs;

use serde_json::{Value, json};

use super::{asked, query, server, workspace};
use crate::support::{Dirs, Request, Server, Spec, find_canary};

fn write(
    server: &Server,
    dirs: &Dirs,
    output: &str,
    more: &Value,
) -> Result<Value, (String, String)> {
    let mut arguments = json!({
        "data_source": dirs.fill_in("$ROOT/data/[ab].csv"),
        "sql": "SELECT * FROM data ORDER BY id",
        "output": dirs.fill_in(output),
    });
    for (key, value) in more.as_object().unwrap() {
        arguments[key] = value.clone();
    }
    asked(server, "query_dataset", &arguments)
}

/// No temporary file is left anywhere.
fn nothing_is_left(dirs: &Dirs) {
    let mut open = vec![dirs.work()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.contains("roothold"), "{name} is left");
        }
    }
}

#[test]
fn every_format_is_written_and_can_be_asked_again() {
    let dirs = workspace();
    let server = server(&dirs, "");
    for format in ["csv", "jsonl", "parquet"] {
        let output = format!("$ROOT/made/by/query.{format}");
        let written = write(&server, &dirs, &output, &json!({})).unwrap();
        let path = dirs.fill_in(&output);
        assert_eq!(written["output"]["path"], path);
        assert_eq!(written["output"]["rows"], 4);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(written["output"]["bytes"], bytes.len());
        let hash = crate::support::content_hash(&bytes);
        assert_eq!(written["output"]["hash"], hash.as_str());
        let answer = query(&server, &path, "SELECT id, name FROM data ORDER BY id").unwrap();
        assert_eq!(
            answer["rows"],
            json!([[1, "Anna"], [2, "Bo, Jr"], [3, null], [4, "Cleo"]]),
            "{format}"
        );
    }
    let arguments = json!({
        "data_source": dirs.fill_in("$ROOT/data/a.csv"),
        "sql": "SELECT 1 AS one FROM data",
        "output": dirs.fill_in("$ROOT/linked"),
        "format": "csv",
    });
    let result = server.call("query_dataset", &arguments).result();
    let link = result["content"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(link["type"], "resource_link", "{result}");
    assert_eq!(link["mimeType"], "text/csv");
    let text = server.send(&Request::read_resource(link["uri"].as_str().unwrap())).result();
    assert_eq!(text["contents"][0]["text"], "one\n1\n1\n1\n");
    nothing_is_left(&dirs);
}

#[test]
fn a_file_is_whole_or_not_there() {
    let dirs = workspace();
    dirs.write("work/there.csv", "mine\n");
    dirs.write("work/data/late.csv", format!("n\n{}x\n", "1\n".repeat(300_000)));
    let server = server(&dirs, "[dataset_engine]\noutput_bytes_max = 1048576\n");
    for (output, more, kind) in [
        ("$ROOT/there.csv", json!({}), "conflict"),
        ("$ROOT/a.csv", json!({"sql": "SELECT nothing FROM data"}), "invalid"),
        ("$ROOT/a.csv", json!({"sql": "SELECT id AS x, name AS x FROM data"}), "invalid"),
        (
            "$ROOT/a.csv",
            json!({"data_source": dirs.fill_in("$ROOT/data/late.csv"), "sql": "SELECT n FROM data"}),
            "invalid",
        ),
        (
            "$ROOT/a.csv",
            json!({"sql": "SELECT repeat('x', 50) FROM data a, data b, data c, data d, data e, data f, data g, data h"}),
            "limit",
        ),
        ("$ROOT/a", json!({}), "invalid"),
        ("$ROOT/a.csv", json!({"format": "xml"}), "invalid"),
        ("$ROOT/a.csv", json!({"cursor": "v1.x.y"}), "invalid"),
        ("$ROOT/data", json!({"format": "csv"}), "unsupported"),
        ("$ROOT/.env", json!({"format": "csv"}), "denied"),
        ("$ROOT/protected/a.csv", json!({}), "denied"),
        ("$RO/a.csv", json!({}), "denied"),
        ("$OUT/a.csv", json!({}), "denied"),
        ("$ROOT/../outside/a.csv", json!({}), "denied"),
    ] {
        let (seen, text) = write(&server, &dirs, output, &more).unwrap_err();
        assert_eq!(seen, kind, "{output} {more}: {text}");
        assert_eq!(find_canary(text.as_bytes()), None);
    }
    assert_eq!(fs::read(dirs.work().join("there.csv")).unwrap(), b"mine\n");
    for gone in ["work/a.csv", "work/a", "ro/a.csv", "outside/a.csv"] {
        assert!(!dirs.base().join(gone).exists(), "{gone}");
    }
    nothing_is_left(&dirs);
    let intent = server.audit().of_kind("intent").next().unwrap().to_string();
    assert!(intent.contains("\"write\"") && intent.contains("there.csv"), "{intent}");
}

#[test]
fn cells_that_a_spreadsheet_would_run_are_texts_unless_that_is_not_wanted() {
    let dirs = workspace();
    let cells = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "@SUM(1)", "-2+3", "\t=1"];
    let lines: Vec<String> = cells.iter().map(|cell| json!({"a": cell}).to_string()).collect();
    dirs.write("work/data/f.jsonl", lines.join("\n"));
    let server = server(&dirs, "");
    let source =
        json!({"data_source": dirs.fill_in("$ROOT/data/f.jsonl"), "sql": "SELECT a FROM data"});
    write(&server, &dirs, "$ROOT/guarded.csv", &source).unwrap();
    let guarded = fs::read_to_string(dirs.work().join("guarded.csv")).unwrap();
    for cell in cells {
        assert!(guarded.contains(&format!("'{cell}")), "{guarded}");
    }
    let mut plain = source.clone();
    plain["guard_formulas"] = false.into();
    write(&server, &dirs, "$ROOT/plain.csv", &plain).unwrap();
    let plain = fs::read_to_string(dirs.work().join("plain.csv")).unwrap();
    assert!(
        plain.contains("\n=HYPERLINK(1)\n") && !plain.contains('\''.to_string().repeat(2).as_str()),
        "{plain}"
    );
    write(&server, &dirs, "$ROOT/plain.jsonl", &source).unwrap();
    let json = fs::read_to_string(dirs.work().join("plain.jsonl")).unwrap();
    assert!(json.contains("\"=HYPERLINK(1)\""), "{json}");
}

#[test]
fn who_can_write_nowhere_sees_a_tool_that_reads() {
    let dirs = workspace();
    let config = dirs.config("").replace("access = \"rw\"", "access = \"ro\"");
    let server = Spec::new(dirs.base(), config).start();
    let listed = server.send(&Request::modern("tools/list", &json!({}))).result();
    let tools = listed["tools"].as_array().unwrap();
    let tool = tools.iter().find(|tool| tool["name"] == "query_dataset").unwrap();
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    let arguments = tool["inputSchema"]["properties"].as_object().unwrap();
    assert!(!arguments.contains_key("output") && arguments.contains_key("sql"));
    assert_eq!(write(&server, &dirs, "$ROOT/a.csv", &json!({})).unwrap_err().0, "denied");
}
