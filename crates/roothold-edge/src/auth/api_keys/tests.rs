//! The life of a key, and files that must not be used.

#![expect(clippy::disallowed_methods, reason = "the tests look at files of their own")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::{KeyEntry, KeyRing, KeysFile, KeysFileError, key::ApiKey};
use crate::auth::FailureClass;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.jsonl");
    (directory, path)
}

fn names(list: &[KeyEntry]) -> Vec<&str> {
    list.iter().map(KeyEntry::principal).collect()
}

#[test]
fn a_key_lives_from_new_to_revoked() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    assert_eq!(file.list().unwrap(), []);
    let (alice, key) = file.new_key("alice", &["files:read".into()], None).unwrap();
    let (_, other) = file.new_key("bob", &[], None).unwrap();
    assert_eq!(names(&file.list().unwrap()), ["alice", "bob"]);

    let ring = KeyRing::load(&path).unwrap();
    assert_eq!(ring.len(), 2);
    let now = SystemTime::now();
    let principal = ring.verify(key.reveal(), now).unwrap();
    assert_eq!(principal.name(), "alice");
    assert!(principal.scopes().contains("files:read"));
    assert!(!principal.scopes().contains("files:write"));
    assert!(!ring.verify(other.reveal(), now).unwrap().scopes().contains("files:read"));

    let revoked = file.revoke(alice.id()).unwrap();
    assert!(revoked.revoked().is_some());
    assert_eq!(file.revoke(alice.id()).unwrap(), revoked, "the first time counts");
    assert!(ring.verify(key.reveal(), now).is_ok(), "not read again yet");
    assert!(ring.refresh().unwrap());
    assert!(!ring.refresh().unwrap());
    assert_eq!(ring.verify(key.reveal(), now).unwrap_err(), FailureClass::Revoked);
    assert!(ring.verify(other.reveal(), now).is_ok());
    let error = file.revoke("000000000000").unwrap_err();
    assert!(matches!(error, KeysFileError::UnknownId(_)));
}

#[test]
fn wrong_secrets_and_forms_are_refused() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    let (entry, key) = file.new_key("alice", &[], None).unwrap();
    let (_, bob) = file.new_key("bob", &[], None).unwrap();
    let ring = KeyRing::load(&path).unwrap();
    let verify = |key: &str| ring.verify(key, SystemTime::now()).unwrap_err();
    let (_, stranger) = ApiKey::generate().unwrap();
    assert_eq!(verify(stranger.reveal()), FailureClass::Unknown);
    let secret = &bob.reveal()[17..];
    assert_eq!(secret.len(), 43);
    assert_eq!(verify(&format!("rhk_{}_{secret}", entry.id())), FailureClass::BadSecret);
    let text = key.reveal();
    for bad in ["rhk_", "rhk_x_y", &text[..text.len() - 1], &format!("{text}0"), &text[4..]] {
        assert_eq!(verify(bad), FailureClass::Malformed, "{bad}");
    }
    assert_eq!(verify(&text.to_uppercase().replace("RHK", "rhk")), FailureClass::Malformed);
}

#[test]
fn a_key_ends_when_it_was_said_to() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    let expires = SystemTime::now() + Duration::from_hours(1);
    let (entry, key) = file.new_key("alice", &[], Some(expires)).unwrap();
    assert_eq!(entry.expires(), Some(expires));
    let ring = KeyRing::load(&path).unwrap();
    assert!(ring.verify(key.reveal(), expires - Duration::from_secs(1)).is_ok());
    assert_eq!(ring.verify(key.reveal(), expires).unwrap_err(), FailureClass::Expired);
    let past = file.new_key("alice", &[], Some(SystemTime::UNIX_EPOCH)).unwrap_err();
    assert!(matches!(past, KeysFileError::Refused(_)));
}

#[test]
fn the_file_holds_no_secret_and_is_for_its_owner() {
    let (directory, path) = place();
    let (entry, key) = KeysFile::open(&path).unwrap().new_key("alice", &[], None).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&key.reveal()[17..]));
    assert!(text.starts_with('#') && text.contains(entry.id()));
    assert_eq!(format!("{key:?}"), "ApiKey(..)");
    assert!(key.reveal().starts_with(&format!("rhk_{}_", entry.id())));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        KeysFile::open(&path).unwrap().revoke(entry.id()).unwrap();
        assert_eq!(mode(&path), 0o640, "an operator's mode is kept");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(KeyRing::load(&path), Err(KeysFileError::Writable { mode: 0o666 })));
        assert!(KeysFile::open(&path).is_err());
    }
}

#[test]
fn comments_and_other_lines_are_kept() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    let (first, _) = file.new_key("alice", &[], None).unwrap();
    file.new_key("bob", &[], None).unwrap();
    let text = format!("# ours\n\n{}# end", fs::read_to_string(&path).unwrap());
    fs::write(&path, &text).unwrap();
    file.revoke(first.id()).unwrap();
    file.new_key("carol", &[], None).unwrap();
    let after = fs::read_to_string(&path).unwrap();
    let changed = text.lines().zip(after.lines()).filter(|(before, after)| before != after);
    assert_eq!(changed.count(), 1, "only the revoked line");
    assert_eq!(names(&file.list().unwrap()), ["alice", "bob", "carol"]);
}

#[test]
fn a_malformed_line_is_named_and_start_is_refused() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    let (_, key) = file.new_key("alice", &["files:read".into()], None).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let line = good.lines().last().unwrap();
    let ring = KeyRing::load(&path).unwrap();
    for (bad, says) in [
        ("{".to_owned(), "EOF"),
        (line.to_owned(), "the same `id` as line 3"),
        (line.replace("sha256:", "md5:"), "`hash` must be"),
        (line.replace("\"alice\"", "\"a\\nb\""), "`principal` must be"),
        (line.replace("files:read", "files read"), "is not a scope"),
        (line.replace("\"scopes\"", "\"scope\""), "unknown field `scope`"),
        (line.replace("{\"id\"", "{\"id\":\"0\",\"id\""), "duplicate field `id`"),
        (line.replace('T', " at "), "created"),
    ] {
        fs::write(&path, format!("{good}{bad}\n")).unwrap();
        let error = KeyRing::load(&path).unwrap_err().to_string();
        assert!(error.starts_with("line 4 of the api keys file: "), "{error}");
        if says != "created" {
            assert!(error.contains(says), "{error}");
        }
        assert!(!error.contains("keys.jsonl"), "{error}");
        assert!(file.new_key("bob", &[], None).is_err(), "a bad file is not written over");
        assert!(ring.refresh().is_err());
        assert!(ring.verify(key.reveal(), SystemTime::now()).is_ok());
    }
    assert!(matches!(KeyRing::load(&path.with_extension("none")), Err(KeysFileError::Io(_))));
}

#[test]
fn writers_do_not_lose_each_others_keys() {
    let (_directory, path) = place();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let file = KeysFile::open(path).unwrap();
                for _ in 0..5 {
                    file.new_key(&format!("w{writer}"), &[], None).unwrap();
                }
            });
        }
    });
    assert_eq!(KeysFile::open(&path).unwrap().list().unwrap().len(), 20);
}

#[test]
fn refused_principals_and_scopes_write_nothing() {
    let (_directory, path) = place();
    let file = KeysFile::open(&path).unwrap();
    for (principal, scope) in [("", "a"), ("a\u{7}", "a"), ("a", "b c"), ("a", "")] {
        let error = file.new_key(principal, &[scope.to_owned()], None).unwrap_err();
        assert!(matches!(error, KeysFileError::Refused(_)), "{error}");
    }
    assert!(!path.exists());
}

#[test]
fn secrets_use_the_whole_alphabet() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (_, key) = ApiKey::generate().unwrap();
        seen.extend(key.reveal()[17..].bytes());
    }
    assert_eq!(seen.len(), 62);
}

#[cfg(unix)]
#[test]
fn a_key_is_revoked_through_a_link_too() {
    use std::os::unix::fs::symlink;
    let (directory, path) = place();
    let (entry, key) = KeysFile::open(&path).unwrap().new_key("alice", &[], None).unwrap();
    let ring = KeyRing::load(&path).unwrap();
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    KeysFile::open(&link).unwrap().revoke(entry.id()).unwrap();
    assert!(ring.refresh().unwrap());
    let verified = ring.verify(key.reveal(), SystemTime::now());
    assert_eq!(verified.unwrap_err(), FailureClass::Revoked);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    let dangling = directory.path().join("dangling");
    symlink(directory.path().join("nothing"), &dangling).unwrap();
    assert!(KeysFile::open(&dangling).unwrap_err().to_string().contains("link to nothing"));
}
