//! What is kept of texts changes no answer, and saves the reading.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use super::*;
use crate::files::{Encoding, KeptTexts, Store};
use crate::{PolicySpec, Roots};

const MIB: usize = 1024 * 1024;

/// A policy that keeps what was read even of files that were just made.
fn keeping(workspace: &Workspace) -> Policy {
    let texts = KeptTexts { contents: Store::trusting(MIB), lines: Store::trusting(MIB) };
    let roots = Roots::open(&[workspace.root("work")]).unwrap().with_texts(texts);
    Policy::new(roots, PolicySpec::default(), &[]).unwrap()
}

/// How many bytes this thread has asked the kernel for while `work` ran, besides this counting.
fn bytes_read(work: impl FnOnce()) -> u64 {
    let count = || {
        let mut text = String::new();
        fs::File::open("/proc/thread-self/io").unwrap().read_to_string(&mut text).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
        (count.parse::<u64>().unwrap(), text.len() as u64)
    };
    let (before, own) = count();
    work();
    count().0 - before - own
}

/// Lines of lengths without a pattern, some of them much longer than a block.
fn long_text(bytes: usize) -> String {
    let (mut text, mut at) = (String::with_capacity(bytes), 1_usize);
    while text.len() < bytes {
        at = (at * 75 + 74) % 65_537;
        let length = if at % 997 == 0 { at * 6 } else { at % 120 };
        text.extend(std::iter::repeat_n("ab é"[at % 3..=at % 3].chars(), length).flatten());
        text.push('\n');
    }
    text
}

#[test]
fn lines_that_were_found_once_are_found_again_by_a_short_read() {
    let workspace = Workspace::new();
    let content = long_text(3 * MIB);
    let lines: Vec<&str> = content.split_terminator('\n').collect();
    for encoding in [Encoding::Utf8, Encoding::Utf16Le, Encoding::Utf16Be] {
        workspace.file("work/f", encoding.encode(&content).unwrap());
        let policy = keeping(&workspace);
        let line = |number: usize| {
            let range = TextRange::Lines(number as u64, Some(number as u64));
            let page = text(&policy, "/work/f", range).unwrap();
            assert_eq!(page.lines.unwrap().0, number as u64);
            assert!(lines[number - 1].starts_with(&page.text), "{encoding:?} line {number}");
        };
        // First in no order, so that marks are added from where others ended.
        let mut at = 1;
        for _ in 0..50 {
            at = (at * 75 + 74) % 65_537;
            line(at % lines.len() + 1);
        }
        line(lines.len());
        for number in [1, 2, lines.len() / 2, lines.len() - 1, lines.len()] {
            let read = bytes_read(|| line(number));
            assert!(read <= (MIB + 512 * 1024) as u64, "{encoding:?} line {number}: {read} bytes");
        }
        let figures = policy.roots().texts().lines.figures();
        assert!(figures.hits >= 50 && figures.bytes > 0, "{figures:?}");
    }
}

#[test]
fn the_ends_of_a_file_are_read_without_its_middle() {
    let workspace = Workspace::new();
    let content = "0123456789abcde\n".repeat(3 * MIB / 16);
    for encoding in [Encoding::Utf8, Encoding::Utf16Be] {
        workspace.file("work/f", encoding.encode(&content).unwrap());
        let policy = workspace.policy();
        for range in [TextRange::Tail(50), TextRange::Head(50)] {
            let read = bytes_read(|| {
                let page = text(&policy, "/work/f", range).unwrap();
                assert_eq!(page.text.lines().count(), 50, "{encoding:?} {range:?}");
            });
            assert!(read <= 256 * 1024, "{encoding:?} {range:?}: {read} bytes");
        }
    }
}

#[test]
fn a_search_that_failed_is_of_use_to_the_next() {
    let workspace = Workspace::new();
    workspace.file("work/f", "0123456789abcde\n".repeat(5 * MIB / 16));
    let (policy, count) = (keeping(&workspace), 5 * MIB as u64 / 16);
    let past = || text(&policy, "/work/f", TextRange::Lines(count + 1, None)).unwrap_err();
    let said = format!("the file has {count} lines; line {} is past its end", count + 1);
    let first = bytes_read(|| assert_eq!(past().public(), said));
    let again = bytes_read(|| assert_eq!(past().public(), said));
    assert!(first >= 5 * MIB as u64 && again <= MIB as u64 + 10, "{first} {again}");
}

#[test]
fn a_file_that_grew_or_was_written_over_is_looked_through_again() {
    let workspace = Workspace::new();
    workspace.file("work/f", "0123456789abcde\n".repeat(3 * MIB / 16));
    let policy = keeping(&workspace);
    let last = 3 * MIB as u64 / 16;
    let line = |number| text(&policy, "/work/f", TextRange::Lines(number, Some(number)));
    assert_eq!(line(last).unwrap().text, "0123456789abcde");
    let mut file = fs::File::options().write(true).open(workspace.disk("work/f")).unwrap();
    // A line more at the beginning, in the same size.
    file.write_all(b"\n").unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"more\n").unwrap();
    assert_eq!(line(last + 2).unwrap().text, "more");
    assert_eq!(line(2).unwrap().text, "123456789abcde");
}

#[test]
fn a_small_file_is_read_and_hashed_once() {
    let workspace = Workspace::new();
    workspace.file("work/f", "one\ntwo\nthree\n");
    let policy = keeping(&workspace);
    let get = |range| text(&policy, "/work/f", range).unwrap();
    let first = get(TextRange::Whole);
    let read = bytes_read(|| {
        assert_eq!(get(TextRange::Head(1)).text, "one");
        assert_eq!(get(TextRange::Tail(1)).text, "three\n");
        assert_eq!(get(TextRange::Lines(2, Some(2))).hash, first.hash);
        assert_eq!(get(TextRange::Bytes(4, Some(7))).text, "two");
    });
    assert_eq!(read, 0);
    let figures = policy.roots().texts().contents.figures();
    assert_eq!((figures.hits, figures.misses), (4, 1));
    workspace.file("work/f", "four\n");
    let changed = get(TextRange::Whole);
    assert_eq!(changed.text, "four\n");
    assert_ne!(changed.hash, first.hash);
}

#[test]
fn policy_decides_on_what_is_kept_each_time() {
    let workspace = Workspace::new();
    workspace.file("work/f.md", "one\n");
    let policy = keeping(&workspace);
    let get = |path| text(&policy, path, TextRange::Whole);
    assert!(get("/work/f.md").is_ok());
    assert!(get("/work/f.md").is_ok());
    fs::hard_link(workspace.disk("work/f.md"), workspace.disk("work/.env")).unwrap();
    assert_eq!(get("/work/.env").unwrap_err().rule().unwrap().name, "exclude");
    assert_eq!(get("/work/f.md").unwrap_err().rule().unwrap().name, "hardlinks");
    fs::remove_file(workspace.disk("work/f.md")).unwrap();
    assert_eq!(get("/work/f.md").unwrap_err().kind(), FaultKind::NotFound);
}

#[test]
fn a_file_that_changes_all_the_time_is_never_served_as_it_was() {
    let workspace = Workspace::new();
    workspace.file("work/f", "00000");
    let policy = workspace.policy();
    let file = fs::File::options().write(true).open(workspace.disk("work/f")).unwrap();
    for round in 0..5000 {
        use std::os::unix::fs::FileExt as _;
        let content = format!("{round:05}");
        file.write_at(content.as_bytes(), 0).unwrap();
        assert_eq!(text(&policy, "/work/f", TextRange::Whole).unwrap().text, content);
    }
}

fn at_once(policy: &Policy, path: &str, range: TextRange) -> Option<Result<TextPage, Fault>> {
    read_text_at_once(&decide(policy, Verb::Read, path).unwrap(), range, None, &budget())
}

#[test]
fn what_is_in_memory_is_answered_at_once_and_as_it_is_otherwise() {
    let workspace = Workspace::new();
    workspace.file("work/a/f", "one\ntwo\n").file("work/large", "x".repeat(65 * 1024));
    let policy = keeping(&workspace);
    assert!(at_once(&policy, "/work/a/f", TextRange::Whole).is_none(), "nobody has read it yet");
    for range in [TextRange::Whole, TextRange::Tail(1), TextRange::Lines(7, None)] {
        let wanted = text(&policy, "/work/a/f", range);
        let found = at_once(&policy, "/work/a/f", range).unwrap();
        assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
    }
    text(&policy, "/work/large", TextRange::Whole).unwrap();
    assert!(at_once(&policy, "/work/large", TextRange::Whole).is_none());
    // It is another file now, in the same size.
    fs::write(workspace.disk("work/a/f"), "two\none\n").unwrap();
    assert!(at_once(&policy, "/work/a/f", TextRange::Whole).is_none());
}

#[test]
fn nothing_is_answered_at_once_that_needs_a_second_look() {
    let workspace = Workspace::new();
    workspace.file("work/f", "text").file("work/.env", "secret").file("outside/f", "secret");
    workspace.link("work/link", "f").link("work/out", "../outside").link("work/env", ".env");
    fs::hard_link(workspace.disk("outside/f"), workspace.disk("work/hard")).unwrap();
    let policy = keeping(&workspace);
    text(&policy, "/work/f", TextRange::Whole).unwrap();
    for path in ["link", "a/../f", "out/f", "env", "hard", "gone", ".", "f/g"] {
        let path = format!("/work/{path}");
        assert!(at_once(&policy, &path, TextRange::Whole).is_none(), "{path}");
    }
    fs::hard_link(workspace.disk("work/f"), workspace.disk("outside/g")).unwrap();
    assert!(at_once(&policy, "/work/f", TextRange::Whole).is_none(), "it has a second name");
}
