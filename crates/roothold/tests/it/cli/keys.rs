//! The life of an API key.

use std::time::{Duration, Instant};

use super::Person;

#[test]
fn a_key_opens_the_server_until_it_is_revoked() {
    let person = Person::new();
    person.file("files/a.md", "hello\n");
    let config = person.file(
        "roothold.toml",
        "[server]\nlisten = \"127.0.0.1:0\"\n[auth]\nkeys_file = \"keys\"\n[[roots]]\npath = \"files\"\nuri = \"file:///w\"\n",
    );
    let made = person.run(&["keys", "new", "ci", "--config", &config, "--expires", "90d"]);
    let id = made.err.split_whitespace().nth(1).unwrap().to_owned();
    let key = made.good();
    assert_eq!(key.lines().count(), 1, "stdout has the key alone");
    let kept = std::fs::read_to_string(person.home().join("keys")).unwrap();
    assert!(!kept.contains(key.trim()), "the file holds the hash");
    let token = person.file("ci.key", &key);

    let server = person.serve(&["serve", "--config", &config]);
    let read = ["call", "--url", &server.url, "read_text_file", "path=/w/a.md"];
    let with_key = [&read[..], &["--token-file", &token]].concat();
    assert!(person.run(&with_key).good().starts_with("hello"));
    let by_variable = person.command(&read).env("ROOTHOLD_TOKEN", key.trim()).output().unwrap();
    assert!(by_variable.status.success());
    let without = person.run(&read).bad(1);
    assert!(without.contains("401") && without.contains("--token-file"), "{without}");

    let listed = person.run(&["keys", "list", "--config", &config]).good();
    assert!(
        listed.contains(&id) && listed.contains("ci  files:read") && listed.contains("expires"),
        "{listed}"
    );
    assert!(!listed.contains(key.trim()));
    let unknown = person.run(&["keys", "revoke", "nope", "--config", &config]).bad(2);
    assert!(unknown.contains("no api key with id"), "{unknown}");
    person.run(&["keys", "revoke", &id, "--config", &config]).good();
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        let ran = person.run(&with_key);
        if ran.code == 1 {
            let refused = ran.bad(1);
            assert!(refused.contains("401") && !refused.contains(key.trim()), "{refused}");
            break;
        }
        assert!(Instant::now() < until, "a revoked key still works after 3 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let person = Person::new();
    let span = person.run(&["keys", "new", "ci", "--file", "keys", "--expires", "soon"]).bad(2);
    assert!(span.contains("--expires `soon` is no span"), "{span}");
    let scope =
        person.run(&["keys", "new", "ci", "--file", "keys", "--scopes", "files:reed"]).bad(2);
    assert!(
        scope.contains("--scopes: `files:reed` does not exist; did you mean `files:read`?"),
        "{scope}"
    );
    let config = person.file("roothold.toml", "");
    let unset = person.run(&["keys", "list", "--config", &config]).bad(2);
    assert!(unset.contains("auth.keys_file is not set"), "{unset}");
}
