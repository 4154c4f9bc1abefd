//! Edits: what they match, what they refuse, and what of a file they leave as it was.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;

use super::*;
use crate::testing::{Workspace, budget, decide, policy};
use crate::{Access, Policy, PolicySpec, Verb};

fn edits(pairs: &[(&str, &str)]) -> Vec<Edit> {
    pairs.iter().map(|(old, new)| Edit { old: (*old).to_owned(), new: (*new).to_owned() }).collect()
}

/// The text after edits, in memory.
fn apply(text: &str, pairs: &[(&str, &str)]) -> Result<String, Fault> {
    let mut draft = Draft::new(text.to_owned());
    apply_all(&mut draft, &edits(pairs), &budget())?;
    Ok(draft.into_text())
}

fn refused(text: &str, pairs: &[(&str, &str)]) -> String {
    let fault = apply(text, pairs).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid);
    fault.public().to_owned()
}

#[test]
fn each_edit_sees_what_those_before_it_left() {
    let text = apply("one two three\n", &[("two", "2"), ("one 2", "1 2"), ("1 2 three", "123")]);
    assert_eq!(text.unwrap(), "123\n");
    assert_eq!(apply("", &[("", "made")]).unwrap(), "made");
    assert_eq!(apply("a$&b", &[("a", "$&$1\\n")]).unwrap(), "$&$1\\n$&b");
}

#[test]
fn what_is_there_twice_or_nowhere_is_refused_with_its_lines() {
    let text = refused("a\nb\na\n", &[("a", "x")]);
    assert!(text.contains("in lines 1, 3;"), "{text}");
    let text = refused("aaa", &[("aa", "x")]);
    assert!(text.contains("more than once"), "{text}");
    let text = refused(&"a\n".repeat(100), &[("a", "x")]);
    assert!(text.contains("1, 2, 3, 4, 5 and more"), "{text}");
    let text = refused("  x\n a\n\tx\n a", &[("x\na", "z")]);
    assert!(text.contains("apart from white space, in lines 1, 3"), "{text}");
    let text = refused("text", &[("text", "new"), ("text", "newer")]);
    assert!(text.starts_with("edit 2 of 2; nothing was changed"), "{text}");
    assert!(refused("text", &[("", "x")]).contains("empty"));
}

/// Line by line this would take many minutes, and the budget ends before.
#[test]
fn many_lines_that_are_alike_cost_one_look() {
    let old = format!("{}b", " a\n".repeat(400_000));
    assert!(refused(&"a\n".repeat(800_000), &[(&old, "x")]).contains("not in the file"));
}

#[test]
fn lines_are_found_apart_from_white_space_wherever_they_are() {
    let text = "\n  a \n\tb\n\n c\n  d";
    for (old, new) in [
        ("a\nb", "\n  x\n\n c\n  d"),
        ("b \n\nc", "\n  a \n\tx\n  d"),
        (" d ", "\n  a \n\tb\n\n c\n x"),
    ] {
        assert_eq!(apply(text, &[(old, "x")]).unwrap(), new, "{old:?}");
    }
    // Which of two lines that are indented in two ways is replaced by the first new one?
    assert!(refused(text, &[("\na\nb\n", "x")]).contains("quote the lines"));
    assert!(refused("ab\nc", &[("b\n c", "x")]).contains("not in the file"));
}

#[test]
fn the_nearest_text_is_shown_with_its_line() {
    let file = "fn first() {\n    call(1);\n}\n\nfn second() {\n    call(2);\n    end();\n}\n";
    let text = refused(file, &[("fn second() {\n    call(3);\n    end();\n}", "x")]);
    assert!(
        text.contains("begins in line 5:\nfn second() {\n    call(2);\n    end();\n}"),
        "{text}"
    );
    let text = refused("let value = compute(7);\n", &[("let valeu = compute(7);", "x")]);
    assert!(text.contains("line 1:\nlet value = compute(7);"), "{text}");
    let text = refused("abc\n", &[("entirely different", "x")]);
    assert!(text.contains("nothing like it"), "{text}");
    let text = refused(&format!("needle {}\n", "x".repeat(100_000)), &[("needlf xxxxxxxxx", "")]);
    assert!(text.len() < 2000, "{}", text.len());
}

#[test]
fn lines_match_apart_from_white_space_and_keep_their_indentation() {
    for (text, old, new, wanted) in [
        ("    a\n      b\n", "a\n  b", "c\n    d", "    c\n        d\n"),
        ("\tif x {\n\t\ty\n\t}\n", "if x {\n  y\n}", "if z {\n  w\n}", "\tif z {\n\t\tw\n\t}\n"),
        ("a  \n", "a\t", "b", "b\n"),
        ("  a\n", "a ", "b\n\n  c", "  b\n\n    c\n"),
        (
            "\tif a:\r\n\t\tb\r\n",
            "\t\tif a:\n\t\t\tb",
            "\t\tif c:\n\t\t\td\n\t\t\t\te",
            "\tif c:\r\n\t\td\r\n\t\t\te\r\n",
        ),
    ] {
        assert_eq!(apply(text, &[(old, new)]).unwrap(), wanted, "{text:?}");
    }
    let text = refused("x\n  a\n    b\n", &[("a\nb", "c\nd")]);
    assert!(text.contains("quote the lines") && text.ends_with("line 2:\n  a\n    b"), "{text}");
    // What is there exactly is replaced by what was given, as it is.
    assert_eq!(apply("  a\n    b\n", &[("a\n    b", "c\nd")]).unwrap(), "  c\nd\n");
}

#[test]
fn line_ends_stay_as_they_are_and_new_lines_end_as_those_that_they_replace() {
    assert_eq!(apply("a\r\nb\r\nc", &[("b", "x\ny")]).unwrap(), "a\r\nx\r\ny\r\nc");
    assert_eq!(apply("a\r\nb\r\n", &[("a\nb", "c\r\nd\ne")]).unwrap(), "c\r\nd\r\ne\r\n");
    assert_eq!(apply("a\nb\n", &[("b", "x\r\ny")]).unwrap(), "a\nx\ny\n");
    // A mixed file: what is not touched stays mixed.
    let mixed = "1\r\n2\n3\r\n4\n5";
    assert_eq!(apply(mixed, &[("2", "two")]).unwrap(), "1\r\ntwo\n3\r\n4\n5");
    assert_eq!(apply(mixed, &[("2\n3", "2\nx\n3")]).unwrap(), "1\r\n2\nx\n3\r\n4\n5");
    assert_eq!(apply(mixed, &[("1", "0\n1"), ("5", "5\n6")]).unwrap(), "0\r\n1\r\n2\n3\r\n4\n5\n6");
    assert_eq!(apply(mixed, &[("2\n3\n4\n", "")]).unwrap(), "1\r\n5");
    assert_eq!(apply("\r\r\na", &[("a", "b")]).unwrap(), "\r\r\nb");
    assert_eq!(apply("a\r\n", &[("a\n", "")]).unwrap(), "");
    assert_eq!(apply("a\r\nb", &[("a\n", ""), ("b", "c\nd")]).unwrap(), "c\nd");
}

#[test]
fn whatever_the_text_an_edit_is_a_replacement_of_one_place() {
    let mut state = 7u64;
    let mut next = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..20_000 {
        let mut text = |max: usize| -> String {
            (0..next(max)).map(|_| ["a", "b", "\n", "\r\n", " ", "é"][next(6)]).collect()
        };
        let (file, old, new) = (text(12), text(4), text(4));
        let (plain, plain_old) = (file.replace("\r\n", "\n"), old.replace("\r\n", "\n"));
        let Ok(after) = apply(&file, &[(&old, &new)]) else { continue };
        if plain.contains(&plain_old) {
            let wanted = plain.replacen(&plain_old, &new.replace("\r\n", "\n"), 1);
            assert_eq!(after.replace("\r\n", "\n"), wanted, "{file:?} {old:?} {new:?}");
            // What comes before and after is the same to the byte where line ends are all alike.
            let is_crlf = file.replace("\r\n", "").contains('\n');
            if !is_crlf && file.contains("\r\n") && !after.is_empty() {
                assert!(!after.replace("\r\n", "").contains('\n'), "{file:?} {after:?}");
            }
        }
    }
}

fn writable(workspace: &Workspace) -> Policy {
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    policy(&[root], PolicySpec::default())
}

fn request(pairs: &[(&str, &str)], if_match: Option<&str>) -> EditRequest {
    EditRequest {
        edits: edits(pairs),
        options: WriteOptions {
            precondition: Precondition::parse(if_match).unwrap(),
            dry_run: false,
        },
        bytes_max: 1000,
        diff_bytes_max: 10_000,
    }
}

fn edit_file(policy: &Policy, path: &str, request: &EditRequest) -> Result<Edited, Fault> {
    let permit = decide(policy, Verb::Write, path)?;
    let read = decide(policy, Verb::Read, path)?;
    edit(&permit, &read, request, &budget())
}

#[test]
fn encoding_and_mark_are_kept() {
    let workspace = Workspace::new();
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    };
    let files: [(&str, Vec<u8>, Vec<u8>); 4] = [
        (
            "bom.txt",
            b"\xef\xbb\xbfa\r\nold\r\n".to_vec(),
            b"\xef\xbb\xbfa\r\nn\xc3\xa9w\r\n".to_vec(),
        ),
        (
            "le.txt",
            wide("\u{feff}a\r\nold\r\n", u16::to_le_bytes),
            wide("\u{feff}a\r\nn\u{e9}w\r\n", u16::to_le_bytes),
        ),
        (
            "be.txt",
            wide("\u{feff}old", u16::to_be_bytes),
            wide("\u{feff}n\u{e9}w", u16::to_be_bytes),
        ),
        ("latin.txt", b"caf\xe9 old".to_vec(), b"caf\xe9 n\xe9w".to_vec()),
    ];
    let policy = writable(&workspace);
    for (name, old, new) in &files {
        workspace.file(&format!("work/{name}"), old);
        edit_file(&policy, &format!("/work/{name}"), &request(&[("old", "n\u{e9}w")], None))
            .unwrap();
        assert_eq!(&fs::read(workspace.disk(&format!("work/{name}"))).unwrap(), new, "{name}");
    }
    let fault =
        edit_file(&policy, "/work/latin.txt", &request(&[("caf", "日")], None)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Invalid);
    workspace.file("work/binary", b"a\0b");
    let fault = edit_file(&policy, "/work/binary", &request(&[("a", "b")], None)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported);
    workspace.file("work/bad.txt", b"ok \xc3\xa9\xc3\xa9\xc3\xa9 \x81 old");
    let fault = edit_file(&policy, "/work/bad.txt", &request(&[("old", "new")], None)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported);
}

#[test]
fn what_cannot_be_edited_stays_as_it_is() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old\n").file("work/d/x", "").file("work/big", "x".repeat(1001));
    let policy = writable(&workspace);
    let ask = |path: &str, if_match: Option<&str>| {
        edit_file(&policy, path, &request(&[("old", "new")], if_match)).unwrap_err()
    };
    assert_eq!(ask("/work/none.txt", None).kind(), FaultKind::NotFound);
    assert_eq!(ask("/work/none/none.txt", None).kind(), FaultKind::NotFound);
    assert_eq!(ask("/work/d", None).kind(), FaultKind::Unsupported);
    assert_eq!(ask("/work/big", None).kind(), FaultKind::Limit);
    assert_eq!(ask("/work/a.txt", Some("none")).kind(), FaultKind::Conflict);
    let stale = ask("/work/a.txt", Some(&content_hash(b"older\n")));
    assert_eq!(stale.kind(), FaultKind::Conflict);
    assert!(stale.public().contains(&content_hash(b"old\n")), "{stale}");
    let grown = request(&[("old", &"x".repeat(2000))], None);
    assert_eq!(edit_file(&policy, "/work/a.txt", &grown).unwrap_err().kind(), FaultKind::Limit);
    let half = request(&[("old", "new"), ("nowhere", "x")], None);
    assert_eq!(edit_file(&policy, "/work/a.txt", &half).unwrap_err().kind(), FaultKind::Invalid);
    assert_eq!(fs::read(workspace.disk("work/a.txt")).unwrap(), b"old\n");
    // Nor does a dry run change it, but it says what would be.
    let mut dry = request(&[("old", "new")], None);
    dry.options.dry_run = true;
    let would = edit_file(&policy, "/work/a.txt", &dry).unwrap();
    assert!(would.changed && would.diff.text.contains("-old\n+new\n"));
    assert_eq!(would.hash, content_hash(b"new\n"));
    assert_eq!(fs::read(workspace.disk("work/a.txt")).unwrap(), b"old\n");
    let same = edit_file(&policy, "/work/a.txt", &request(&[("old", "old")], None)).unwrap();
    assert!(!same.changed);
    assert_eq!(fs::read_dir(workspace.disk("work")).unwrap().count(), 3);
}

#[test]
fn two_who_edit_one_file_lose_nothing() {
    const EDITS: usize = 100;
    let workspace = Workspace::new();
    workspace.file("work/count.txt", "a=0\nb=0\n");
    let policy = writable(&workspace);
    std::thread::scope(|scope| {
        for who in ["a", "b"] {
            let policy = &policy;
            scope.spawn(move || {
                for n in 0..EDITS {
                    let (old, new) = (format!("{who}={n}\n"), format!("{who}={}\n", n + 1));
                    edit_file(policy, "/work/count.txt", &request(&[(&old, &new)], None)).unwrap();
                }
            });
        }
    });
    let left = fs::read_to_string(workspace.disk("work/count.txt")).unwrap();
    assert_eq!(left, format!("a={EDITS}\nb={EDITS}\n"));
}
