//! Tests of ranges and pages, on real files.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::time::Duration;

use super::*;
use crate::testing::{Workspace, budget, decide};
use crate::{Policy, Verb};

mod encodings;
mod kept;

fn text(policy: &Policy, path: &str, range: TextRange) -> Result<TextPage, Fault> {
    read_text(&decide(policy, Verb::Read, path)?, range, None, &budget())
}

/// All pages of a range, and their texts together.
fn pages(
    permit: &Permit,
    range: TextRange,
    budget: &Budget,
) -> Result<(Vec<TextPage>, String), Fault> {
    let (mut pages, mut joined, mut resume) = (Vec::new(), String::new(), None);
    loop {
        let mut page = read_text(permit, range, resume, budget)?;
        assert!(json_len(&page.text) <= budget.result_bytes_max);
        joined.push_str(&page.text);
        resume = page.resume.take();
        pages.push(page);
        if resume.is_none() {
            return Ok((pages, joined));
        }
    }
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
    let past = text(&policy, "/work/m.txt", TextRange::Lines(3, None)).unwrap_err();
    assert_eq!(past.public(), "the file has 2 lines; line 3 is past its end");
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
        TextRange::Bytes(2, Some(1)),
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
        let small = Budget::new(1000, 10, Duration::from_mins(1));
        let (pages, joined) = pages(&permit, TextRange::Whole, &small).unwrap();
        assert!(pages.iter().all(|page| !page.lossy));
        assert_eq!(&joined, content);
        assert!(pages.len() > 5);
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
        let small = Budget::new(room, 10, Duration::from_mins(1));
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
    let small = Budget::new(400, 10, Duration::from_mins(1));
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
    let small = Budget::new(400, 10, Duration::from_mins(1));
    let page = read_text(&permit, TextRange::Whole, None, &small).unwrap();
    workspace.file("work/l.txt", "b\n".repeat(900));
    let fault = read_text(&permit, TextRange::Whole, page.resume, &small).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
}

#[test]
fn escapes_are_counted_as_they_are_written() {
    let every: String = (0..=0x2ff).filter_map(char::from_u32).collect();
    for text in [String::new(), "a\"b\\c\n".to_owned(), every.repeat(3), "\u{1}".repeat(600)] {
        // Without the quotes around it.
        assert_eq!(json_len(&text), serde_json::to_string(&text).unwrap().len() - 2);
    }
}
