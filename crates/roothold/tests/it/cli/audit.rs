//! `audit verify` on logs that somebody changed.

use std::path::PathBuf;

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
