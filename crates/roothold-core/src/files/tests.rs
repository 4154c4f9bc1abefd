#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::testing::{Workspace, budget, decide};
use crate::{Budget, Fault, FaultKind, Policy, Verb};

fn text(policy: &Policy, path: &str, range: TextRange) -> Result<TextPage, Fault> {
    read_text(&decide(policy, Verb::Read, path)?, range, None, &budget())
}

fn rule(result: Result<TextPage, Fault>) -> &'static str {
    result.unwrap_err().rule().map_or("none", |rule| rule.name)
}

#[test]
fn links_are_what_they_lead_to() {
    let workspace = Workspace::new();
    workspace
        .file("work/hello.txt", "PUBLIC")
        .file("work/.env", "SECRET")
        .file("work/.ssh/db.txt", "SECRET")
        .file("outside.txt", "SECRET")
        .link("work/in", "hello.txt")
        .link("work/readme.md", ".env")
        .link("work/pub", ".ssh")
        .link("work/out", workspace.disk("outside.txt"))
        .link("work/out2", "../outside.txt")
        .link("work/proc", "/proc/self/environ")
        .link("work/a", "b")
        .link("work/b", "a");
    let policy = workspace.policy();
    let whole = |path| text(&policy, path, TextRange::Whole);
    assert_eq!(whole("/work/in").unwrap().text, "PUBLIC");
    assert_eq!(whole("/work/in").unwrap().path, "/work/hello.txt");
    assert_eq!(rule(whole("/work/readme.md")), "exclude");
    assert_eq!(rule(whole("/work/pub/db.txt")), "exclude");
    assert_eq!(rule(whole("/work/out")), "roots");
    assert_eq!(rule(whole("/work/out2")), "roots");
    assert_eq!(rule(whole("/work/proc")), "roots");
    assert_eq!(whole("/work/a").unwrap_err().kind(), FaultKind::Invalid);
    let listed = decide(&policy, Verb::List, "/work/pub").unwrap();
    assert_eq!(list(&listed, &budget()).unwrap_err().rule().unwrap().name, "exclude");
}

#[test]
fn dot_dot_goes_where_the_kernel_says() {
    let workspace = Workspace::new();
    workspace
        .file("work/a/real/x", "")
        .file("work/a/b.txt", "A")
        .file("work/b.txt", "ROOT")
        .link("work/l", "a/real");
    let policy = workspace.policy();
    // As text this is /work/b.txt; the kernel goes through the link first.
    assert_eq!(text(&policy, "/work/l/../b.txt", TextRange::Whole).unwrap().text, "A");
    let fault = text(&policy, "/work/nosuch/../b.txt", TextRange::Whole).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NotFound);
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let workspace = Workspace::new();
    workspace.file("work/d/f", "").file("work/one", "x");
    rustix::fs::mkfifoat(rustix::fs::CWD, workspace.disk("work/pipe"), rustix::fs::Mode::RUSR)
        .unwrap();
    fs::hard_link(workspace.disk("work/one"), workspace.disk("work/two")).unwrap();
    let policy = workspace.policy();
    let kind = |path| text(&policy, path, TextRange::Whole).unwrap_err().kind();
    assert_eq!(kind("/work/pipe"), FaultKind::Denied);
    assert_eq!(kind("/work/d"), FaultKind::Unsupported);
    assert_eq!(kind("/work/d/f/"), FaultKind::NotFound);
    assert_eq!(rule(text(&policy, "/work/two", TextRange::Whole)), "hardlinks");
}

#[test]
fn a_hidden_file_looks_the_same_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/main.rs", "x").file("work/.env", "x");
    let spec =
        crate::PolicySpec { read: vec!["*.md".to_owned()], write: vec![], ..Default::default() };
    let policy = crate::testing::policy(&[workspace.root("work")], spec);
    let ask = |path: &str| info(&decide(&policy, Verb::Stat, path)?, &budget()).map(drop);
    let said = |path| ask(path).unwrap_err().public().to_owned();
    assert_eq!(said("/work/main.rs"), said("/work/missing.rs"));
    assert_eq!(said("/work/.env"), said("/work/zz/.env"));
    assert!(ask("/work").is_ok());
}

#[test]
fn a_listing_hides_what_policy_hides_and_shows_odd_names_reversibly() {
    let workspace = Workspace::new();
    workspace
        .file("work/b.txt", "")
        .file("work/.env", "")
        .file("work/d/x", "")
        .file("work/Z.KEY/a", "");
    let odd = std::ffi::OsStr::from_bytes(b"f\xffo.txt");
    fs::write(workspace.disk("work").join(odd), "ODD").unwrap();
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let listing = list(&permit, &budget()).unwrap();
    let names: Vec<String> = listing.after(None).map(|entry| entry.name).collect();
    assert_eq!(names, ["b.txt", "d", "file:///work/f%FFo.txt"]);
    assert_eq!(text(&policy, &names[2], TextRange::Whole).unwrap().text, "ODD");
    let rest: Vec<String> = listing.after(Some(b"b.txt")).map(|entry| entry.name).collect();
    assert_eq!(rest, names[1..]);
    let rest: Vec<String> = listing.after(Some(b"c-is-gone")).map(|entry| entry.name).collect();
    assert_eq!(rest, names[1..]);
}

#[test]
fn ranges_give_the_lines_and_bytes_that_they_say() {
    let workspace = Workspace::new();
    workspace
        .file("work/n.txt", "one\ntwo\nthree\n")
        .file("work/m.txt", "one\ntwo")
        .file("work/e.txt", "");
    let policy = workspace.policy();
    let get = |path: &str, range| text(&policy, &format!("/work/{path}"), range).unwrap();
    assert_eq!(get("n.txt", TextRange::Whole).text, "one\ntwo\nthree\n");
    assert_eq!(get("n.txt", TextRange::Whole).lines, Some((1, 3)));
    assert_eq!(get("n.txt", TextRange::Head(2)).text, "one\ntwo");
    assert_eq!(get("n.txt", TextRange::Head(9)).text, "one\ntwo\nthree");
    assert_eq!(get("n.txt", TextRange::Tail(1)).text, "three\n");
    assert_eq!(get("n.txt", TextRange::Tail(2)).text, "two\nthree\n");
    assert_eq!(get("n.txt", TextRange::Tail(9)).text, "one\ntwo\nthree\n");
    assert_eq!(get("m.txt", TextRange::Tail(1)).text, "two");
    assert_eq!(get("n.txt", TextRange::Lines(2, Some(2))).text, "two");
    assert_eq!(get("n.txt", TextRange::Lines(2, None)).text, "two\nthree\n");
    assert_eq!(get("n.txt", TextRange::Lines(2, Some(3))).lines, Some((2, 3)));
    assert_eq!(get("n.txt", TextRange::Bytes(4, Some(7))).text, "two");
    assert_eq!(get("e.txt", TextRange::Whole).text, "");
    assert_eq!(get("e.txt", TextRange::Whole).lines, None);
    let past = text(&policy, "/work/n.txt", TextRange::Lines(4, None)).unwrap_err();
    assert_eq!(past.public(), "the file has 3 lines; line 4 is past its end");
    assert!(text(&policy, "/work/n.txt", TextRange::Bytes(99, None)).is_err());
}

#[test]
fn pages_join_to_the_file_and_keep_within_the_budget() {
    let workspace = Workspace::new();
    let lines: String = (0..500).map(|n| format!("line {n} \"quoted\" é😀\n")).collect();
    let blob = "é".repeat(3000);
    workspace.file("work/lines.txt", &lines).file("work/blob.txt", &blob);
    let policy = workspace.policy();
    for (path, content) in [("/work/lines.txt", &lines), ("/work/blob.txt", &blob)] {
        let permit = decide(&policy, Verb::Read, path).unwrap();
        let small = Budget::new(1000, 10, std::time::Duration::from_mins(1));
        let (mut joined, mut resume, mut pages) = (String::new(), None, 0);
        loop {
            let page = read_text(&permit, TextRange::Whole, resume, &small).unwrap();
            assert!(json_len(&page.text) <= 1000 && !page.lossy);
            joined.push_str(&page.text);
            pages += 1;
            resume = page.resume;
            if resume.is_none() {
                break;
            }
        }
        assert_eq!(&joined, content);
        assert!(pages > 5);
    }
}

#[test]
fn a_head_over_several_pages_has_the_lines_asked_for() {
    let workspace = Workspace::new();
    let lines: String = (1..=300).map(|n| format!("line {n}\n")).collect();
    workspace.file("work/l.txt", &lines);
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::Read, "/work/l.txt").unwrap();
    let small = Budget::new(400, 10, std::time::Duration::from_mins(1));
    let (mut joined, mut resume, mut last) = (String::new(), None, 0);
    loop {
        let page = read_text(&permit, TextRange::Head(200), resume, &small).unwrap();
        let lines = page.lines.unwrap();
        assert_eq!(lines.0, last + 1);
        last = lines.1;
        joined.push_str(&page.text);
        resume = page.resume;
        if resume.is_none() {
            break;
        }
    }
    assert_eq!(joined.lines().count(), 200);
    assert!(joined.ends_with("line 200"));
}

#[test]
fn a_cursor_outlived_by_its_file_is_refused() {
    let workspace = Workspace::new();
    workspace.file("work/l.txt", "a\n".repeat(1000));
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::Read, "/work/l.txt").unwrap();
    let small = Budget::new(400, 10, std::time::Duration::from_mins(1));
    let page = read_text(&permit, TextRange::Whole, None, &small).unwrap();
    workspace.file("work/l.txt", "b\n".repeat(900));
    let fault = read_text(&permit, TextRange::Whole, page.resume, &small).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
}

#[test]
fn binary_is_said_and_bad_utf8_is_marked() {
    let workspace = Workspace::new();
    workspace
        .file("work/bin", b"\0\x01")
        .file("work/u16", b"\xff\xfeA\0")
        .file("work/l1.txt", b"caf\xe9\n");
    let policy = workspace.policy();
    let fault = text(&policy, "/work/bin", TextRange::Whole).unwrap_err();
    assert!(fault.public().contains("read_media_file"));
    assert!(text(&policy, "/work/u16", TextRange::Whole).unwrap_err().public().contains("UTF-16"));
    let page = text(&policy, "/work/l1.txt", TextRange::Whole).unwrap();
    assert_eq!((page.text.as_str(), page.lossy), ("caf\u{fffd}\n", true));
}

fn walked(policy: &Policy, after: Option<&[u8]>, stop_after: usize) -> (Vec<String>, bool) {
    let permit = decide(policy, Verb::List, "/work").unwrap();
    let budget = budget();
    let mut walk = Walk::start(&permit, after, &budget).unwrap();
    let mut seen = Vec::new();
    let done = walk
        .run(|entry| {
            if seen.len() == stop_after {
                return Ok(Visit::Stop);
            }
            seen.push(String::from_utf8_lossy(entry.below).into_owned());
            Ok(Visit::Into)
        })
        .unwrap();
    (seen, done)
}

#[test]
fn a_walk_can_be_taken_up_after_any_entry() {
    let workspace = Workspace::new();
    for path in ["a/b/c.txt", "a/b/d.txt", "a/e", "a.b", "f/.env", "f/g/h", "z"] {
        workspace.file(&format!("work/{path}"), "");
    }
    workspace.link("work/a/loop", "..");
    let policy = workspace.policy();
    let (all, done) = walked(&policy, None, usize::MAX);
    assert!(done);
    assert_eq!(
        all,
        ["a", "a/b", "a/b/c.txt", "a/b/d.txt", "a/e", "a/loop", "a.b", "f", "f/g", "f/g/h", "z"]
    );
    for at in 0..all.len() {
        let (first, done) = walked(&policy, None, at);
        assert!(!done);
        let after = first.last().map(|path| path.as_bytes().to_vec());
        let (rest, _) = walked(&policy, after.as_deref(), usize::MAX);
        assert_eq!([first, rest].concat(), all, "taken up after {at}");
    }
}

#[test]
fn a_walk_ends_at_its_depth_and_says_so() {
    let workspace = Workspace::new();
    workspace.file(&format!("work/{}f", "d/".repeat(WALK_DEPTH_MAX + 5)), "");
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let budget = budget();
    let mut walk = Walk::start(&permit, None, &budget).unwrap();
    let mut deepest = 0;
    walk.run(|entry| {
        deepest = deepest.max(entry.depth);
        Ok(Visit::Into)
    })
    .unwrap();
    assert_eq!(deepest, WALK_DEPTH_MAX - 1);
    let (problems, omitted) = walk.problems();
    assert_eq!((problems.len(), omitted), (1, 0));
    assert!(problems[0].reason.contains("too deep"));
}

#[test]
fn a_swap_of_a_file_for_a_link_never_shows_the_other_file() {
    let workspace = Workspace::new();
    workspace.file("work/f.txt", "PUBLIC").file("work/.env", "SECRET").file("outside", "SECRET");
    workspace.link("work/g.txt", ".env").link("work/h.txt", "../outside");
    let policy = workspace.policy();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = |name: &str| workspace.disk(name);
            let swap = |a: &str, b: &str| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, at(a), cwd, at(b), flags).unwrap();
            };
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                swap("work/f.txt", "work/g.txt");
                swap("work/f.txt", "work/h.txt");
            }
        });
        let mut shown = 0;
        for _ in 0..20_000 {
            match text(&policy, "/work/f.txt", TextRange::Whole) {
                Ok(page) => {
                    assert_eq!(page.text, "PUBLIC");
                    shown += 1;
                }
                Err(fault) => assert_ne!(fault.kind(), FaultKind::Internal),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(shown > 0);
    });
}

#[test]
fn escapes_are_counted_as_they_are_written() {
    let every: String = (0..=0x2ff).filter_map(char::from_u32).collect();
    for text in [String::new(), "a\"b\\c\n".to_owned(), every.repeat(3), "\u{1}".repeat(600)] {
        // Without the quotes around it.
        assert_eq!(json_len(&text), serde_json::to_string(&text).unwrap().len() - 2);
    }
}
