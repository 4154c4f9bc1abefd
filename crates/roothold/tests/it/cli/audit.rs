//! `audit verify` on logs that somebody changed.

use std::path::PathBuf;

use roothold_core::audit::{AuditLog, AuditOptions};

use super::Person;

/// A person with the log of a server that served three calls.
fn recorded() -> (Person, PathBuf) {
    let person = Person::new();
    person.file("files/a.md", "hello\n");
    let audit = person.home().join("audit");
    let mut call = person.command(&["call", "--dir", "files", "list_directory", "path=."]);
    assert!(call.env("ROOTHOLD_AUDIT__DIR", &audit).output().unwrap().status.success());
    let file = std::fs::read_dir(&audit).unwrap().next().unwrap().unwrap().path();
    (person, file)
}

#[test]
fn a_changed_line_is_named_with_the_reason() {
    let (person, file) = recorded();
    let path = file.to_str().unwrap();
    assert!(person.run(&["audit", "verify", path]).good().contains("stopped in order"));
    let whole = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert!(lines.len() >= 4, "{whole}");
    let without_second = whole.replacen(&format!("{}\n", lines[1]), "", 1);
    let cases = [
        (
            whole.replacen("\"principal\":\"local\"", "\"principal\":\"other\"", 1),
            "line 2: the line was changed",
        ),
        (without_second, "line 2: lines are missing"),
        (whole.trim_end().to_owned(), "the last line is cut off"),
        (format!("{whole}{{}}\n"), "is not an audit record"),
        (String::new(), "line 1: the boot line is missing"),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        let broken = person.run(&["audit", "verify", path]).bad(1);
        assert!(broken.contains(expected), "{expected}: {broken}");
    }
    let none = person.run(&["audit", "verify", "nowhere"]).bad(2);
    assert!(none.contains("cannot be read"), "{none}");
}

#[test]
fn a_log_without_a_line_is_whole_unless_it_ever_had_one() {
    let (person, file) = recorded();
    let dir = file.parent().unwrap();
    // A server that was killed between making its log and writing to it, and others before and after it.
    for name in ["audit-20200101T000000Z-00000000.jsonl", "audit-99990101T000000Z-00000000.jsonl"] {
        std::fs::File::create(dir.join(name)).unwrap();
    }
    let verify = ["audit", "verify", dir.to_str().unwrap()];
    let said = person.run(&verify).good();
    assert_eq!(said.matches("empty; its server was ended before it served a call").count(), 2);
    assert_eq!(said.matches("stopped in order").count(), 1, "{said}");
    // One that had lines, wherever it stands.
    std::fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    let broken = person.run(&["audit", "verify", file.to_str().unwrap()]).bad(1);
    assert!(broken.contains("broken at line 1: the boot line is missing"), "{broken}");
    assert_eq!(person.run(&verify).code, 1, "among others, too");
}

#[test]
fn a_file_that_others_name_may_be_elsewhere_and_not_another() {
    let person = Person::new();
    let (audit, archive) = (person.home().join("audit"), person.home().join("archive"));
    std::fs::create_dir(&archive).unwrap();
    let files: Vec<PathBuf> = {
        let first = AuditLog::open(&audit, AuditOptions::default()).unwrap();
        let second = first.next().unwrap();
        first.close().unwrap();
        second.note_closed(&first).unwrap();
        [first.path().to_owned(), second.path().to_owned()].into()
    };
    let [dir, away] = [&audit, &archive].map(|dir| dir.to_str().unwrap());
    let said = person.run(&["audit", "verify", dir]).good();
    assert!(said.contains("closed, and goes on in audit-"), "{said}");
    let name = files[0].file_name().unwrap().to_str().unwrap();
    std::fs::rename(&files[0], archive.join(name)).unwrap();
    let moved = person.run(&["audit", "verify", dir]).good();
    assert!(moved.contains(&format!("{name}: nothing of it is here")), "{moved}");
    let both = person.run(&["audit", "verify", away, dir]).good();
    assert!(both.lines().count() == 2 && !both.contains("nothing of it"), "{both}");
    // Whole by itself, and not what the other says of it.
    let whole = std::fs::read_to_string(archive.join(name)).unwrap();
    let first_line = whole.split_inclusive('\n').next().unwrap();
    std::fs::write(archive.join(name), first_line).unwrap();
    person.run(&["audit", "verify", away]).good();
    let broken = person.run(&["audit", "verify", away, dir]);
    assert_eq!(broken.code, 1);
    assert!(broken.err.contains("lines were removed at the end"), "{broken:?}");
    // The one after it is not the one that it names.
    std::fs::write(archive.join(name), whole).unwrap();
    drop(AuditLog::open(&audit, AuditOptions::default()).unwrap());
    let other = std::fs::read_dir(&audit).unwrap().map(|entry| entry.unwrap().path()).max();
    std::fs::rename(other.unwrap(), &files[1]).unwrap();
    let broken = person.run(&["audit", "verify", away, dir]);
    assert_eq!(broken.code, 1);
    assert!(broken.err.contains("which does not go on from it"), "{broken:?}");
}

/// The command of the documentation, with its directories moved.
#[test]
fn closed_files_are_moved_away_and_those_that_are_written_stay() {
    let person = Person::new();
    let (audit, archive) = (person.home().join("audit"), person.home().join("archive"));
    std::fs::create_dir(&archive).unwrap();
    let closed = AuditLog::open(&audit, AuditOptions::default()).unwrap();
    let held = closed.next().unwrap();
    closed.close().unwrap();
    drop(closed);
    let written = held.next().unwrap();
    for entry in std::fs::read_dir(&audit).unwrap() {
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_mins(10);
        file.set_modified(old).unwrap();
    }
    let young = AuditLog::open(&audit, AuditOptions::default()).unwrap();
    drop(young);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/audit.md");
    let page = std::fs::read_to_string(page).unwrap();
    let command = page.lines().find_map(|line| line.strip_prefix("    find ")).unwrap();
    let command = command
        .replace("/var/lib/roothold/audit", audit.to_str().unwrap())
        .replace("/archive/audit/", archive.to_str().unwrap());
    let mut shell = std::process::Command::new("/bin/sh");
    let done = shell.arg("-c").arg(format!("find {command}")).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let count = |dir: &PathBuf| std::fs::read_dir(dir).unwrap().count();
    assert_eq!((count(&audit), count(&archive)), (3, 1));
    assert!(held.path().exists() && written.path().exists());
}

#[test]
fn the_log_is_shown_for_people_and_for_programs() {
    let (person, file) = recorded();
    let dir = file.parent().unwrap().to_str().unwrap();
    let people = person.run(&["audit", "tail", "--dir", dir]).good();
    assert!(people.contains("local list_directory: list /"), "{people}");
    let programs = person.run(&["audit", "tail", "--dir", dir, "--json", "-n", "2"]).good();
    let whole = std::fs::read_to_string(&file).unwrap();
    let last: Vec<&str> = whole.lines().rev().take(2).collect();
    assert_eq!(programs.lines().rev().collect::<Vec<_>>(), last);
}
