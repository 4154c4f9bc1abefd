//! The life of an API key.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Person;
use crate::support::{Conn, Dirs, Request, Spec};

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let other = person.run(&["keys", "new", "other", "--config", &config]).good();
    let address = server.url.trim_start_matches("http://").trim_end_matches("/mcp");
    let address = address.parse().unwrap();
    // A connection that is open already is as any other.
    let mut open = [Conn::open(address), Conn::open(address)];
    let with = |key: &str| Request::call("listRoots", &json!({})).bearer(key.trim());
    let until = Instant::now() + PATIENCE;
    while open[1].send(&with(&other)).status != 200 {
        assert!(Instant::now() < until, "a new key is not taken");
        open[1] = Conn::open(address);
    }
    assert_eq!(open[0].send(&with(&key)).status, 200);
    person.run(&["keys", "revoke", &id, "--config", &config]).good();
    while open[0].send(&with(&key)).status != 401 {
        assert!(Instant::now() < until, "a revoked key still works");
        assert_eq!(open[1].send(&with(&other)).status, 200, "the other key is as it was");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(open[1].send(&with(&other)).status, 200, "the other key is as it was");
    let refused = person.run(&with_key).bad(1);
    assert!(refused.contains("401") && !refused.contains(key.trim()), "{refused}");
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

#[test]
fn a_file_without_a_good_key_is_warned_of() {
    let person = Person::new();
    person.file("files/a.md", "");
    person.file("keys", "");
    let config = person.file(
        "roothold.toml",
        "[server]\nlisten = \"127.0.0.1:0\"\n[auth]\nkeys_file = \"keys\"\n[[roots]]\npath = \"files\"\n",
    );
    let warning = "warning\n  auth.keys_file: holds no key that is good, so nobody is let in";
    let check = || person.run(&["check", "--config", &config]).good();
    assert!(check().contains(warning), "{}", check());
    let made = person.run(&["keys", "new", "ci", "--config", &config]);
    assert!(!check().contains("warning"), "{}", check());
    let id = made.err.split_whitespace().nth(1).unwrap();
    person.run(&["keys", "revoke", id, "--config", &config]).good();
    assert!(check().contains(warning), "{}", check());
    // A start says it, too, and goes on: a key that is made is taken.
    let dirs = Dirs::new();
    dirs.write("keys", "");
    let keys = dirs.base().join("keys");
    let keys = format!("[auth]\nkeys_file = \"{}\"\n", keys.display());
    let server = Spec::new(dirs.base(), dirs.config(&keys)).start();
    let warned = |line: &str| line.contains("WARN") && line.contains("holds no key that is good");
    assert!(server.log().lines().any(warned), "{}", server.log());
}
