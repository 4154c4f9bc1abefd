//! `search_content` over the wire: both forms, pages, and progress.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::paging::pages;
use crate::support::{Dirs, Request, Server, Spec, texts};

fn tree() -> (Dirs, Server) {
    let dirs = Dirs::with_fixture();
    let mut long = String::new();
    for at in 0..3000 {
        let word = if at % 3 == 0 { "needle" } else { "hay" };
        let _ = writeln!(long, "{at} {word} \"quoted\" \u{1f600}\t{}", "x".repeat(at % 90));
    }
    dirs.write("work/long.txt", &long);
    dirs.write("work/wide.txt", format!("{}needle{}", "\u{1}".repeat(9000), "\\".repeat(9000)));
    for at in 0..200 {
        dirs.write(&format!("work/many/d{}/f{at}.txt", at % 20), format!("a\nneedle {at}\nb\n"));
        dirs.write(&format!("work/many/a\nb/{at}"), "needle");
    }
    dirs.write("work/many/binary", "needle\0");
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    (dirs, server)
}

/// `path:line:text` of each line of all pages, and how many match.
fn lines(pages: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    for file in pages.iter().flat_map(|page| page["structuredContent"]["files"].as_array().unwrap())
    {
        for line in file["lines"].as_array().unwrap() {
            let mark = if line["context"] == true { '-' } else { ':' };
            let (number, text) = (&line["line"], line["text"].as_str().unwrap());
            all.push(format!("{}{mark}{number}{mark}{text}", file["path"].as_str().unwrap()));
        }
    }
    all
}

/// The same lines, from the text form.
fn lines_of_text(pages: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    for page in pages {
        let text = &texts(page)[0];
        let (mut path, mut begins) = ("", true);
        for line in text.lines().take(text.lines().count() - 1) {
            match line {
                "" => begins = true,
                "--" | "(more)" => {}
                _ if begins => (path, begins) = (line, false),
                _ => {
                    let end = line.find(|c: char| !c.is_ascii_digit()).unwrap();
                    let mark = &line[end..=end];
                    all.push(format!("{path}{mark}{line}"));
                }
            }
        }
    }
    all
}

#[test]
fn pages_of_lines_join_to_the_whole_in_both_forms() {
    let (dirs, server) = tree();
    for context in [0, 2] {
        let arguments =
            json!({"path": dirs.fill_in("$ROOT"), "pattern": "needle", "context": context});
        let whole = pages(&server, "search_content", &arguments, 1 << 20);
        assert_eq!(whole.len(), 1);
        let last = &whole[0]["structuredContent"];
        assert_eq!((&last["matches"], &last["binary_skipped"]), (&json!(1401), &json!(1)));
        let found = lines(&whole);
        assert!(found.len() > 1400);
        // A line that itself is empty looks like the end of a file's lines; there is none here.
        assert_eq!(lines_of_text(&whole), found);
        for bytes_max in [8192, 20_000] {
            let parts = pages(&server, "search_content", &arguments, bytes_max);
            assert!(parts.len() > 5);
            assert!(lines(&parts) == found, "pages of {bytes_max}, context {context}");
            assert!(lines_of_text(&parts) == found);
            let counted = &parts.last().unwrap()["structuredContent"];
            for key in ["matches", "files_searched", "binary_skipped"] {
                assert_eq!(counted[key], last[key], "{key}");
            }
        }
    }
}

#[test]
fn a_small_answer_reads_as_it_is_described() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/a.rs", "one\ntwo needle\nthree\nfour\nfive\nsix needle\n");
    dirs.write("work/b.rs", "needle\nneedle\n");
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let root = dirs.fill_in("$ROOT");
    let ask = |more: Value| {
        let mut arguments = json!({"path": root, "pattern": "needle"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = server.call("search_content", &arguments).result();
        assert_ne!(result["isError"], true, "{result}");
        texts(&result).join("\n").replace(&root, "")
    };
    assert_eq!(
        ask(json!({"context": 1, "max_per_file": 1, "include": ["*.rs"]})),
        "/a.rs\n1-one\n2:two needle\n3-three\n(more)\n\n/b.rs\n1:needle\n(more)\n\n2 matching lines; 2 files searched"
    );
    assert_eq!(
        ask(json!({"before": 1, "path": format!("{root}/a.rs")})),
        "/a.rs\n1-one\n2:two needle\n--\n5-five\n6:six needle\n\n2 matching lines; 1 files searched"
    );
    assert_eq!(
        ask(json!({"output": "files", "max_matches": 1})),
        "/a.rs\n\n1 matching files (max_matches reached); 1 files searched"
    );
    assert_eq!(
        ask(json!({"output": "counts"})),
        "/a.rs: 2\n/b.rs: 2\n\n2 matching files; 5 files searched"
    );
    assert_eq!(
        ask(json!({"max_matches": 2, "after": 1})),
        "/a.rs\n2:two needle\n3-three\n--\n6:six needle\n\n2 matching lines (max_matches reached); 1 files searched"
    );
    assert_eq!(
        ask(json!({"pattern": "NEEDLE", "include": ["*.py"]})),
        "No matches found; 0 files searched; include matched no file: `**/` before a glob looks at any depth"
    );
}

#[test]
fn wrong_arguments_say_what_to_do() {
    let (dirs, server) = tree();
    for (more, said) in [
        (json!({"pattern": "foo("}), "set literal"),
        (json!({"pattern": "(a{1000}){1000}"}), "too large once compiled"),
        (json!({"context": 101}), "at most 100 lines"),
        (json!({"max_matches": 0}), "max_matches must be 1 or more"),
        (json!({"max_per_file": 0}), "max_per_file must be 1 or more"),
        (json!({"include": ["!x"]}), "no negation"),
        (json!({"excludePatterns": ["["]}), "a glob is refused"),
        (json!({"output": "json"}), "output"),
        (json!({"regex": true}), "regex"),
    ] {
        let mut arguments = json!({"path": dirs.fill_in("$ROOT"), "pattern": "x"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = server.call("search_content", &arguments).result();
        assert_eq!(result["isError"], true, "{more}");
        assert!(texts(&result)[0].contains(said), "{more}: {result}");
    }
}

#[test]
fn a_search_says_how_far_it_is() {
    let (dirs, server) = tree();
    let arguments = json!({"path": dirs.fill_in("$ROOT"), "pattern": "needle", "output": "counts"});
    let request = Request::call("search_content", &arguments)
        .edit(|body| body["params"]["_meta"]["progressToken"] = "p".into());
    let events = server.send(&request).events();
    let told: Vec<&Value> =
        events.iter().map(|event| &event["params"]).filter(|told| told.is_object()).collect();
    assert!(!told.is_empty());
    let done: Vec<f64> = told.iter().map(|told| told["progress"].as_f64().unwrap()).collect();
    assert!(done.is_sorted_by(|a, b| a < b), "{done:?}");
    assert!(told[0]["message"].as_str().unwrap().contains("files searched"), "{}", told[0]);
    let result = &events.last().unwrap()["result"]["structuredContent"];
    assert_eq!(result["matches"], 402);
}

#[test]
fn a_cursor_is_no_way_around_policy() {
    let (dirs, server) = tree();
    let mut arguments =
        json!({"path": dirs.fill_in("$ROOT/many"), "pattern": "needle", "max_bytes": 4096});
    let first = server.call("search_content", &arguments).result();
    arguments["cursor"] = first["structuredContent"]["next_cursor"].clone();
    assert!(arguments["cursor"].is_string());
    for (key, value) in [("path", json!(dirs.fill_in("$ROOT"))), ("pattern", json!("CANARY"))] {
        let mut other = arguments.clone();
        other[key] = value;
        let refused = server.call("search_content", &other).result();
        assert_eq!(refused["_meta"]["io.roothold/error"]["kind"], "invalid");
    }
}
