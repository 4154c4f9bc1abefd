//! Pages: each fits what was asked for and its schema, says the same in both forms, and all of
//! them together are the whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Request, Server, Spec, misfit, texts};

/// A tree with long names, deep places and a file of many lines.
fn tree() -> (Dirs, Server) {
    let dirs = Dirs::with_fixture();
    for at in 0..60 {
        dirs.write(
            &format!("work/many/file-{at:03}-{}.txt", "x".repeat(at % 40)),
            vec![b'a'; at * 7],
        );
    }
    for at in 0..12 {
        dirs.write(&format!("work/tree/d{at}/\u{e9}t\u{e9} {at}/deep/leaf-{at}.txt"), "leaf");
        dirs.write(&format!("work/tree/d{at}/a\nb/x"), "odd");
    }
    let long = "l".repeat(200);
    dirs.write(&format!("work/tree/{long}/{long}/{long}/end.txt"), "far");
    let lines: String =
        (0..2000).map(|at| format!("line {at} \u{1f600} \"quoted\"\t{}\n", at * 31)).collect();
    dirs.write("work/lines.txt", lines);
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    (dirs, server)
}

/// Asks for page after page, and checks each by itself.
pub(crate) fn pages(
    server: &Server,
    tool: &str,
    arguments: &Value,
    bytes_max: usize,
) -> Vec<Value> {
    let schema = schema_of(server, tool);
    let mut conn = Conn::open(server.address);
    let mut arguments = arguments.clone();
    arguments["max_bytes"] = bytes_max.into();
    let mut pages = Vec::new();
    loop {
        let mut result = conn.send(&Request::call(tool, &arguments)).result();
        assert_ne!(result["isError"], true, "{tool} {arguments}: {result}");
        let text: usize = texts(&result).iter().map(String::len).sum();
        assert!(text <= bytes_max, "{tool}: {text} of {bytes_max}");
        let structured = result["structuredContent"].take();
        match &schema {
            Some(schema) => {
                misfit(schema, &structured).unwrap();
                let size = structured.to_string().len();
                assert!(size <= bytes_max, "{tool}: {size} of {bytes_max}");
                assert_eq!(structured["truncated"], structured["next_cursor"].is_string());
            }
            None => assert!(structured.is_null()),
        }
        let noted = texts(&result).get(1).and_then(|note| {
            Some(note.split("next_cursor=").nth(1)?.split_whitespace().next()?.to_owned())
        });
        if schema.is_some() {
            assert_eq!(structured["next_cursor"].as_str(), noted.as_deref(), "both forms");
        }
        result["structuredContent"] = structured;
        pages.push(result);
        assert!(pages.len() < 5000, "{tool} does not end");
        match noted {
            Some(cursor) => arguments["cursor"] = cursor.into(),
            None => return pages,
        }
    }
}

fn schema_of(server: &Server, tool: &str) -> Option<Value> {
    let tools = server.send(&Request::modern("tools/list", &json!({}))).result();
    let tools = tools["tools"].as_array().unwrap();
    let found = tools.iter().find(|found| found["name"] == tool).unwrap();
    found.get("outputSchema").cloned()
}

fn joined(pages: &[Value], key: &str) -> Vec<Value> {
    pages
        .iter()
        .flat_map(|page| page["structuredContent"][key].as_array().unwrap().clone())
        .collect()
}

#[test]
fn pages_of_listings_join_to_the_whole() {
    let (dirs, server) = tree();
    let args = |path: &str| json!({"path": dirs.fill_in(path)});
    let mut by_size = args("$ROOT/many");
    by_size["sortBy"] = "size".into();
    let mut search = args("$ROOT");
    search["pattern"] = "**".into();
    for (tool, arguments, key) in [
        ("list_directory", args("$ROOT/many"), "entries"),
        ("list_directory_with_sizes", args("$ROOT/many"), "entries"),
        ("list_directory_with_sizes", by_size, "entries"),
        ("search_files", search, "matches"),
    ] {
        let whole = pages(&server, tool, &arguments, 1 << 20);
        assert_eq!(whole.len(), 1);
        let whole = joined(&whole, key);
        assert!(whole.len() >= 60, "{tool}: {}", whole.len());
        for bytes_max in [4096, 5000, 20_000] {
            let parts = pages(&server, tool, &arguments, bytes_max);
            assert_eq!(joined(&parts, key), whole, "{tool} by {bytes_max}");
            for part in &parts {
                says_the_same(tool, part);
            }
        }
    }
}

/// The text block holds what the structured form holds.
fn says_the_same(tool: &str, page: &Value) {
    let (text, page) = (&texts(page)[0], &page["structuredContent"]);
    let lines: Vec<&str> = text.lines().collect();
    let prefix = |entry: &Value| if entry["type"] == "directory" { "[DIR] " } else { "[FILE] " };
    match tool {
        "search_files" => assert_eq!(json!(lines), page["matches"]),
        "directory_tree" => {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), page["tree"]);
        }
        _ => {
            let entries = page["entries"].as_array().unwrap();
            for (line, entry) in lines.iter().zip(entries) {
                let start = format!("{}{}", prefix(entry), entry["name"].as_str().unwrap());
                assert!(line.starts_with(&start), "{line} is not {entry}");
            }
            let more = if tool == "list_directory" { 0 } else { 3 };
            assert_eq!(lines.len(), entries.len() + more);
        }
    }
}

#[test]
fn pages_of_a_tree_merge_by_name() {
    let (dirs, server) = tree();
    let arguments = json!({"path": dirs.fill_in("$ROOT/tree")});
    let whole = merged(&pages(&server, "directory_tree", &arguments, 1 << 20));
    for bytes_max in [4096, 6000] {
        let parts = pages(&server, "directory_tree", &arguments, bytes_max);
        assert!(parts.len() > 1);
        for page in &parts {
            says_the_same("directory_tree", page);
        }
        assert_eq!(merged(&parts), whole);
    }
    assert_eq!(whole.0.len(), 13);
}

#[derive(Debug, Default, PartialEq)]
struct Tree(BTreeMap<String, (String, Tree)>);

fn merged(pages: &[Value]) -> Tree {
    let mut tree = Tree::default();
    for page in pages {
        merge(&mut tree, &page["structuredContent"]["tree"]);
    }
    tree
}

fn merge(into: &mut Tree, nodes: &Value) {
    for node in nodes.as_array().unwrap() {
        let (name, kind) = (node["name"].as_str().unwrap(), node["type"].as_str().unwrap());
        let entry = into.0.entry(name.to_owned()).or_insert((kind.to_owned(), Tree::default()));
        assert_eq!(entry.0, kind);
        if !node["children"].is_null() {
            merge(&mut entry.1, &node["children"]);
        }
    }
}

/// A page that cannot hold even one entry says so; it never ends in nothing, or begins again.
#[test]
fn a_page_that_is_too_small_says_what_it_needs() {
    let (dirs, server) = tree();
    let long = "l".repeat(200);
    let path = dirs.fill_in(&format!("$ROOT/tree/{long}/{long}"));
    for (tool, arguments) in [
        ("search_files", json!({"path": path, "pattern": "**", "max_bytes": 1024})),
        ("search_content", json!({"path": path, "pattern": ".", "max_bytes": 1024})),
        ("list_directory", json!({"path": path, "max_bytes": 1024})),
        ("directory_tree", json!({"path": dirs.fill_in("$ROOT/tree"), "max_bytes": 1024})),
    ] {
        let (mut arguments, mut last) = (arguments, Value::Null);
        for _ in 0..200 {
            last = server.call(tool, &arguments).result();
            let text = texts(&last).join(" ");
            assert!(text.len() <= 1024, "{tool}: {}", text.len());
            match text.split("next_cursor=").nth(1) {
                Some(cursor) => arguments["cursor"] = cursor.split_whitespace().next().into(),
                None => break,
            }
        }
        let text = texts(&last).join(" ");
        if last["isError"] == true {
            let bytes = text.split("max_bytes of ").nth(1).unwrap().split(' ').next().unwrap();
            arguments["max_bytes"] = bytes.parse::<u64>().unwrap().into();
            let enough = server.call(tool, &arguments).result();
            assert_ne!(enough["isError"], true, "{tool}: {enough}");
        } else {
            assert!(last["structuredContent"]["next_cursor"].is_null(), "{tool} does not end");
        }
    }
}

#[test]
fn pages_of_texts_join_to_the_file() {
    let (dirs, server) = tree();
    let file = std::fs::read_to_string(dirs.work().join("lines.txt")).unwrap();
    let path = dirs.fill_in("$ROOT/lines.txt");
    for tool in ["read_text_file", "read_file"] {
        for bytes_max in [1024, 4096, 65_536, 1 << 20] {
            let parts = pages(&server, tool, &json!({"path": path}), bytes_max);
            let whole: String = parts.iter().map(|page| texts(page)[0].clone()).collect();
            assert_eq!(whole, file, "{tool} by {bytes_max}");
        }
        let range = json!({"path": path, "line_start": 11, "line_end": 1500});
        let lines: String =
            pages(&server, tool, &range, 1024).iter().map(|p| texts(p)[0].clone()).collect();
        let wanted: Vec<&str> = file.lines().skip(10).take(1490).collect();
        assert_eq!(lines.trim_end_matches('\n'), wanted.join("\n"));
    }
}

#[test]
fn pages_of_many_files_join_to_the_whole() {
    let (dirs, server) = tree();
    let mut paths: Vec<String> = (0..40)
        .map(|at| dirs.fill_in(&format!("$ROOT/many/file-{at:03}-{}.txt", "x".repeat(at % 40))))
        .collect();
    paths.extend([
        dirs.fill_in("$ROOT/lines.txt"),
        dirs.fill_in("$ROOT/.env"),
        dirs.fill_in("$ROOT/none"),
    ]);
    let whole = pages(&server, "read_multiple_files", &json!({"paths": paths}), 1 << 20);
    assert_eq!(whole.len(), 1);
    for bytes_max in [2048, 9000] {
        let parts = pages(&server, "read_multiple_files", &json!({"paths": paths}), bytes_max);
        assert!(parts.len() > 1);
        // What a file was continued with goes where it broke off.
        let mut texts_of: BTreeMap<String, String> = BTreeMap::new();
        for page in &parts {
            for part in texts(page)[0].split("\n---\n").filter(|part| !part.is_empty()) {
                let (head, body) = part.split_once('\n').unwrap_or((part, ""));
                let name = head.trim_end_matches(':').trim_end_matches(" (continued)");
                texts_of.entry(name.to_owned()).or_default().push_str(body);
            }
        }
        assert_eq!(texts_of.len(), paths.len(), "{:?}", texts_of.keys());
        let lines = &texts_of[&dirs.fill_in("$ROOT/lines.txt")];
        let file = std::fs::read_to_string(dirs.work().join("lines.txt")).unwrap();
        assert_eq!(lines.trim_end(), file.trim_end());
    }
}

/// An auditor sees in every page's record what that page could touch, and nothing twice that lay
/// behind it.
#[test]
fn a_later_page_of_many_files_is_recorded_with_the_files_from_its_cursor_on() {
    let (dirs, server) = tree();
    let name = |at: usize| format!("$ROOT/many/file-{at:03}-{}.txt", "x".repeat(at));
    let paths: Vec<String> = (0..40).map(|at| dirs.fill_in(&name(at))).collect();
    let arguments = json!({"paths": paths});
    let parts = pages(&server, "read_multiple_files", &arguments, 1024);
    assert!(parts.len() > 1);
    let audit = server.audit();
    let recorded: Vec<usize> = audit
        .of_kind("intent")
        .filter(|intent| intent["tool"] == "read_multiple_files")
        .map(|intent| intent["actions"].as_array().unwrap().len())
        .collect();
    assert_eq!(recorded.len(), parts.len());
    assert_eq!(recorded[0], paths.len(), "the first page may reach all");
    for (page, actions) in parts.iter().zip(&recorded) {
        let text = &texts(page)[0];
        let first = text.split_once(':').unwrap().0.trim_end_matches(" (continued)");
        let at = paths.iter().position(|path| path == first).unwrap();
        assert_eq!(*actions, paths.len() - at, "{first}");
    }
}

#[test]
fn pages_of_resources_join_to_all_readable_files() {
    let dirs = Dirs::with_fixture();
    let long = "\u{e9}".repeat(100);
    for at in 0..450 {
        dirs.write(&format!("work/r/{long}/file {at}.md"), "x");
    }
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let (mut uris, mut params, mut pages) = (Vec::new(), json!({}), 0);
    loop {
        let reply = server.send(&Request::modern("resources/list", &params));
        assert!(reply.body.len() < 100_000, "{}", reply.body.len());
        let page = reply.result();
        uris.extend(
            page["resources"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["uri"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(cursor) => params["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert!(pages > 3, "{pages}");
    let distinct: std::collections::BTreeSet<&String> = uris.iter().collect();
    // 450 here, hello.txt, sub/s.txt, protected/p.txt and ro.txt
    assert_eq!((uris.len(), distinct.len()), (454, 454));
    for uri in uris.iter().step_by(40) {
        let read = server.send(&Request::read_resource(uri)).result();
        assert_eq!(read["contents"][0]["uri"], **uri);
    }
}
