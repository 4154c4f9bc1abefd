//! What matches, and how it is shown.

use super::*;

#[test]
fn lines_are_told_in_the_order_of_the_walk() {
    let workspace = Workspace::new();
    workspace
        .file("work/b.txt", "no\nneedle one\nno\nneedle two")
        .file("work/a/z.txt", "needle\r\n")
        .file("work/a.txt", "needle\n")
        .file("work/c.txt", "nothing");
    let found = records(&workspace.policy(), "/work", &literal("needle"));
    let wanted = [
        "/work/a/z.txt:1:needle",
        "/work/a.txt:1:needle",
        "/work/b.txt:2:needle one",
        "/work/b.txt:4:needle two",
    ];
    assert_eq!(found, wanted);
    let (found, searched) = whole(&workspace.policy(), "/work/b.txt", &literal("needle"));
    assert_eq!(found, wanted[2..]);
    assert_eq!(searched.totals, Totals { files: 1, binary: 0 });
}

#[test]
fn context_is_told_once_where_it_overlaps() {
    let workspace = Workspace::new();
    workspace.file("work/a", "1\n2 x\n3\n4 x\n5\n6\n7\n8\n9 x\n10\n");
    let mut search = literal("x");
    (search.before, search.after) = (1, 2);
    let found = records(&workspace.policy(), "/work", &search);
    let lines: Vec<&str> = found.iter().map(|line| &line["/work/a".len()..]).collect();
    let wanted = ["-1-1", ":2:2 x", "-3-3", ":4:4 x", "-5-5", "-6-6", "-8-8", ":9:9 x", "-10-10"];
    assert_eq!(lines, wanted);
}

#[test]
fn patterns_mean_what_their_switches_say() {
    let workspace = Workspace::new();
    workspace.file("work/a", "foo(1)\nFOO\nfood\na.b\naxb\nend\r\n\u{e9}t\u{e9}\n");
    let policy = workspace.policy();
    let numbers = |change: fn(&mut PatternSpec), text: &str| -> Vec<String> {
        let mut spec = PatternSpec { text: text.to_owned(), ..PatternSpec::default() };
        change(&mut spec);
        let number = |line: String| line.split(':').nth(1).unwrap().to_owned();
        records(&policy, "/work", &of(&spec)).into_iter().map(number).collect()
    };
    assert_eq!(numbers(|_| {}, "a.b"), ["4", "5"]);
    assert_eq!(numbers(|spec| spec.literal = true, "a.b"), ["4"]);
    assert_eq!(numbers(|spec| spec.literal = true, "foo("), ["1"]);
    assert_eq!(numbers(|spec| spec.ignore_case = true, "foo"), ["1", "2", "3"]);
    assert_eq!(numbers(|spec| spec.ignore_case = true, "\u{c9}T\u{c9}"), ["7"]);
    assert_eq!(numbers(|spec| spec.word = true, "foo"), ["1"]);
    assert_eq!(numbers(|_| {}, "^end$"), ["6"]);
    assert_eq!(numbers(|_| {}, r"\Afoo"), ["1", "3"]);
    assert_eq!(numbers(|_| {}, "^$"), [""; 0]);
}

#[test]
fn a_match_may_go_on_in_the_next_line_where_that_is_asked_for() {
    let workspace = Workspace::new();
    workspace.file("work/a", "fn one(\n  a,\n) {}\nfn two() {}\nlast\n");
    let policy = workspace.policy();
    let spec = PatternSpec { text: r"one\(.*?\)".into(), multiline: true, ..Default::default() };
    let found = records(&policy, "/work", &of(&spec));
    assert_eq!(found, ["/work/a:1:fn one(", "/work/a:2:  a,", "/work/a:3:) {}"]);
    let spec = PatternSpec { text: "a,\n)".into(), literal: true, multiline: true, ..spec };
    assert_eq!(records(&policy, "/work", &of(&spec)), ["/work/a:2:  a,", "/work/a:3:) {}"]);
    let spec = PatternSpec { text: "last$".into(), literal: false, multiline: true, ..spec };
    assert_eq!(records(&policy, "/work", &of(&spec)), ["/work/a:5:last"]);
}

#[test]
fn files_and_counts_cost_no_lines() {
    let workspace = Workspace::new();
    workspace.file("work/a", "x\nx x\n").file("work/b", "y").file("work/c", "x");
    let (mut files, mut counts) = (literal("x"), literal("x"));
    (files.shows, counts.shows) = (Shows::Files, Shows::Counts);
    let policy = workspace.policy();
    assert_eq!(records(&policy, "/work", &files), ["/work/a 1", "/work/c 1"]);
    assert_eq!(records(&policy, "/work", &counts), ["/work/a 2", "/work/c 1"]);
    for search in [files, counts] {
        let (found, totals) = paged(&policy, "/work", &search, 1);
        assert_eq!(found, records(&policy, "/work", &search));
        assert_eq!(totals.files, 3);
    }
}

#[test]
fn binary_files_are_counted_and_encodings_read() {
    let workspace = Workspace::new();
    let wide = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
    };
    let long = "filler \u{20ac}\n".repeat(20_000);
    workspace
        .file("work/1-nul", b"needle\0")
        .file("work/2-late", [&b"needle\n".repeat(2000)[..], b"\0"].concat())
        .file("work/3-le", wide("one\nneedle \u{20ac}\n", u16::to_le_bytes))
        .file("work/4-be", wide("one\nneedle \u{20ac}\n", u16::to_be_bytes))
        .file("work/5-bom", "\u{feff}needle\n")
        .file("work/6-latin", b"caf\xe9 needle\n")
        .file("work/7-long", wide(&format!("{long}needle"), u16::to_le_bytes));
    let mut search = literal("needle");
    search.matches_per_file_max = 1;
    let (found, searched) = whole(&workspace.policy(), "/work", &search);
    let wanted = [
        "/work/2-late:1:needle",
        "/work/3-le:2:needle \u{20ac}",
        "/work/4-be:2:needle \u{20ac}",
        "/work/5-bom:1:needle",
        "/work/6-latin:1:caf\u{fffd} needle",
        "/work/7-long:20001:needle",
    ];
    assert_eq!(found, wanted);
    assert_eq!(searched.totals, Totals { files: 6, binary: 1 });
    assert_eq!(paged(&workspace.policy(), "/work", &search, 1).0, wanted);
    let anchored = records(&workspace.policy(), "/work/5-bom", &regex("^needle$"));
    assert_eq!(anchored, ["/work/5-bom:1:needle"]);
}

#[test]
fn globs_choose_files_and_leave_out_directories() {
    let workspace = Workspace::new();
    for path in ["a.rs", "a.md", "d/b.rs", "d/deep/c.rs", "target/x.rs"] {
        workspace.file(&format!("work/{path}"), "x");
    }
    let policy = workspace.policy();
    let paths = |include: &[&str], exclude: &[&str]| -> Vec<String> {
        let mut search = literal("x");
        search.include = (!include.is_empty()).then(|| PathGlobs::new(include).unwrap());
        search.exclude = PathGlobs::new(exclude).unwrap();
        search.shows = Shows::Files;
        let path = |line: String| line["/work/".len()..line.len() - 2].to_owned();
        records(&policy, "/work", &search).into_iter().map(path).collect()
    };
    assert_eq!(paths(&["*.rs"], &[]), ["a.rs"]);
    assert_eq!(paths(&["**/*.rs"], &["target"]), ["a.rs", "d/b.rs", "d/deep/c.rs"]);
    assert_eq!(paths(&["d/*", "*.md"], &[]), ["a.md", "d/b.rs"]);
    assert_eq!(paths(&[], &["d", "**/*.md"]), ["a.rs", "target/x.rs"]);
}
