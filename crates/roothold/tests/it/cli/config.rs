//! Configurations that are refused, in one sentence and with exit code 2; and how stdio ends.

use super::Person;

#[test]
fn what_is_unsafe_or_wrong_is_refused_in_one_sentence() {
    let person = Person::new();
    person.file("a/b/x.md", "");
    let root =
        |path: &str, uri: &str| format!("[[roots]]\npath = \"{path}\"\nuri = \"file:///{uri}\"\n");
    let listen =
        |address: &str| format!("[server]\nlisten = \"{address}\"\n[telemetry]\nlisten = \"\"\n");
    let loopback = listen("127.0.0.1:0");
    let cases = [
        ("no authentication", listen("0.0.0.0:0") + &root("a", "a"), "unauthenticated"),
        ("a missing root", loopback.clone() + &root("missing", "m"), "missing"),
        ("roots in roots", loopback.clone() + &root("a", "a") + &root("a/b", "b"), "overlap"),
        ("URIs in URIs", loopback.clone() + &root("a/b", "w") + &root("a/b", "w/x"), "overlap"),
        ("an unknown key", "[server]\nlisten_on = 1\n".to_owned(), "listen_on"),
        ("a wrong type", "[limits]\ncalls_max = \"many\"\n".to_owned(), "line 2"),
        ("a negation", loopback.clone() + "[policy]\nread = [\"!a\"]\n" + &root("a", "a"), "!a"),
        ("no TOML", "[server\n".to_owned(), "line 1"),
        (
            "a missing file of keys",
            loopback + "[auth]\nkeys_file = \"none\"\n" + &root("a", "a"),
            "keys_file",
        ),
    ];
    for (what, text, expected) in cases {
        let config = person.file("roothold.toml", &text);
        let ran = person.run(&["serve", "--config", &config]);
        assert_eq!(ran.code, 2, "{what}: {ran:?}");
        let sentence = ran.err.lines().last().unwrap_or_default();
        assert!(
            sentence.starts_with("roothold: ") && sentence.contains(expected),
            "{what}: {ran:?}"
        );
        assert_eq!(ran.out, "", "{what}");
    }
    let none = person.run(&["serve", "--config", "nowhere.toml"]).bad(2);
    assert!(none.contains("nowhere.toml"), "{none}");
    let variable = person.command(&["check"]).env("ROOTHOLD_SERVER__PORT", "1").output().unwrap();
    assert_eq!(variable.status.code(), Some(2));
}

#[test]
fn stdio_ends_with_its_input() {
    let person = Person::new();
    person.file("files/a.md", "");
    let ran = person.run(&["stdio", "files"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let nothing = person.run(&["stdio"]).bad(2);
    assert!(nothing.contains("roothold stdio DIR"), "{nothing}");
}

#[test]
fn completions_are_scripts() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = person.run(&["completions", shell]).good();
        assert!(script.contains("healthcheck"), "{shell}");
    }
}
