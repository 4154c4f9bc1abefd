//! Tests of what is read and listed, on real files.

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
fn a_way_through_an_excluded_place_does_not_tell_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/README.md", "x").file("work/.ssh/id", "x").file("work/d/.env", "x");
    for (name, here, missing) in [
        ("end", ".ssh/id", ".aws/id"),
        ("directory", ".ssh", ".aws"),
        ("through", ".ssh/../README.md", ".aws/../README.md"),
        ("deep", "d/../.ssh/id", "nosuch/../.ssh/id"),
    ] {
        workspace.link(&format!("work/{name}-1"), here);
        workspace.link(&format!("work/{name}-0"), missing);
    }
    workspace.link("work/chain-1", "end-1").link("work/chain-0", "./end-0");
    workspace.link("work/d/up-1", "../d/.env").link("work/d/up-0", "../d/.netrc");
    let policy = workspace.policy();
    for (here, missing) in [
        (".ssh/../README.md", ".aws/../README.md"),
        (".ssh/id/../../README.md", ".ssh/no/../../README.md"),
        ("d/.env/../../README.md", "d/.netrc/../../README.md"),
        ("end-1", "end-0"),
        ("directory-1/id", "directory-0/id"),
        ("directory-1/../README.md", "directory-0/../README.md"),
        ("through-1", "through-0"),
        ("deep-1", "deep-0"),
        ("chain-1", "chain-0"),
        ("d/up-1", "d/up-0"),
    ] {
        for verb in [Verb::Read, Verb::List, Verb::Stat] {
            let ask = |path: &str| {
                let permit = decide(&policy, verb, &format!("/work/{path}"))?;
                match verb {
                    Verb::Read => read_text(&permit, TextRange::Whole, None, &budget()).map(drop),
                    Verb::List => list(&permit, &budget()).map(drop),
                    _ => info(&permit, &budget()).map(drop),
                }
            };
            let rule = |path| ask(path).unwrap_err().rule().map(|rule| rule.name);
            assert_eq!(rule(here), Some("exclude"), "{verb:?} {here}");
            assert_eq!(rule(missing), Some("exclude"), "{verb:?} {missing}");
        }
    }
}

#[test]
fn a_link_to_a_hidden_file_looks_the_same_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/main.rs", "x").file("work/a.md", "x");
    workspace.link("work/1.md", "main.rs").link("work/0.md", "none.rs").link("work/gone", "x.md");
    let spec = crate::PolicySpec { read: vec!["*.md".to_owned()], ..Default::default() };
    let policy = crate::testing::policy(&[workspace.root("work")], spec);
    let said = |path| text(&policy, path, TextRange::Whole).unwrap_err();
    assert_eq!(said("/work/1.md").public(), said("/work/0.md").public());
    assert_eq!(said("/work/1.md").rule().unwrap().name, "read");
    workspace.link("work/gone.md", "none.md");
    assert_eq!(said("/work/gone.md").kind(), FaultKind::NotFound);
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
fn ranges_at_the_edge_of_numbers_are_answered() {
    let workspace = Workspace::new();
    workspace.file("work/n.txt", "one\ntwo\nthree\n");
    let policy = workspace.policy();
    let get = |range| text(&policy, "/work/n.txt", range);
    assert_eq!(get(TextRange::Lines(2, Some(u64::MAX))).unwrap().text, "two\nthree");
    assert_eq!(get(TextRange::Lines(1, Some(u64::MAX))).unwrap().lines, Some((1, 3)));
    assert_eq!(get(TextRange::Head(u64::MAX)).unwrap().text, "one\ntwo\nthree");
    assert_eq!(get(TextRange::Tail(u64::MAX)).unwrap().text, "one\ntwo\nthree\n");
    assert_eq!(get(TextRange::Bytes(4, Some(u64::MAX))).unwrap().text, "two\nthree\n");
    for range in [
        TextRange::Head(0),
        TextRange::Tail(0),
        TextRange::Lines(0, None),
        TextRange::Lines(0, Some(u64::MAX)),
        TextRange::Lines(2, Some(1)),
        TextRange::Lines(u64::MAX, None),
        TextRange::Lines(u64::MAX, Some(u64::MAX)),
        TextRange::Bytes(u64::MAX, None),
    ] {
        assert_eq!(get(range).unwrap_err().kind(), FaultKind::Invalid, "{range:?}");
    }
}

#[test]
fn pages_are_full_whatever_the_script() {
    let workspace = Workspace::new();
    let mut broken = "漢字".repeat(20_000).into_bytes();
    broken[30_000] = 0xff;
    workspace.file("work/cjk.txt", "漢字".repeat(20_000)).file("work/broken.txt", &broken);
    let policy = workspace.policy();
    let room = budget().result_bytes_max;
    for path in ["/work/cjk.txt", "/work/broken.txt"] {
        let page = text(&policy, path, TextRange::Whole).unwrap();
        assert!((room - 8..=room).contains(&json_len(&page.text)), "{}", page.text.len());
        // No character is split by the end of the page.
        assert!(page.text.ends_with(['漢', '字']), "{path}");
    }
}

#[test]
fn the_hash_is_of_the_bytes_that_are_shown() {
    use std::os::unix::fs::FileExt;
    let workspace = Workspace::new();
    workspace.file("work/f.txt", "A\nA\n");
    let policy = workspace.policy();
    let first_line = || text(&policy, "/work/f.txt", TextRange::Head(1)).unwrap();
    let file = fs::File::options().write(true).open(workspace.disk("work/f.txt")).unwrap();
    let write = |content: &str| file.write_at(content.as_bytes(), 0).unwrap();
    let hash_of_a = first_line().hash;
    write("B\nB\n");
    let hash_of_b = first_line().hash;
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                write("A\nA\n");
                write("B\nB\n");
            }
        });
        let pages: Vec<TextPage> = (0..20_000).map(|_| first_line()).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for page in pages {
            assert_eq!(page.hash, if page.text == "A" { &*hash_of_a } else { &hash_of_b });
        }
    });
}

#[test]
fn an_answer_without_a_hash_has_none() {
    let workspace = Workspace::new();
    workspace.file("work/l.txt", "line\n".repeat(100_000));
    let permit = decide(&workspace.policy(), Verb::Read, "/work/l.txt").unwrap();
    assert_eq!(read_text_unhashed(&permit, None, &budget()).unwrap().hash, "");
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
fn pages_of_broken_text_keep_within_the_budget_and_leave_nothing_out() {
    let workspace = Workspace::new();
    let pieces: [&[u8]; 6] =
        [b"\xff", b"\xe6\xbc", "漢😀".as_bytes(), b"\"\x01", b"ab\n", b"\xf0\x9f"];
    let mut at = 1_usize;
    let bytes: Vec<u8> = (0..4000)
        .flat_map(|_| {
            at = (at * 75 + 74) % 65537;
            pieces[at % pieces.len()].to_vec()
        })
        .collect();
    workspace.file("work/b.txt", &bytes);
    let permit = decide(&workspace.policy(), Verb::Read, "/work/b.txt").unwrap();
    for room in [100, 1000, 1001, 1002] {
        let small = Budget::new(room, 10, std::time::Duration::from_mins(1));
        let (mut end, mut resume) = (0, None);
        loop {
            let page = read_text(&permit, TextRange::Whole, resume, &small).unwrap();
            assert!(page.bytes.0 == end && json_len(&page.text) <= room);
            (end, resume) = (page.bytes.1, page.resume);
            if resume.is_none() {
                break;
            }
        }
        assert_eq!(end, bytes.len() as u64);
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
