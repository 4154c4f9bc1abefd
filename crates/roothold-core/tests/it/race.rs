//! Another process swaps links, directories and files while this one asks: no answer holds
//! anything from outside the root or of what is excluded.
//!
//! A round is one call. There are so many of them here because nothing stands between the caller
//! and the gate; `cargo xtask race` asks the whole server.

use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use roothold_core::files::{
    TextRange, Visit, Walk, WriteOptions, delete, info, list, list_with_sizes, make_directory,
    read_text, write,
};
use roothold_core::{
    Access, Action, Actions, Budget, Fault, FaultKind, FilePath, Hardlinks, Policy, PolicySpec,
    Principal, RootPatterns, RootSpec, Roots, Verb,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

/// Where the attacking process works; set for it alone.
const ATTACKED: &str = "ROOTHOLD_TEST_ATTACKED";
const SECRET: &str = "CANARY";
/// Sizes that nothing else has.
const SECRET_BYTES: u64 = 7777;
const VERSIONS: [&str; 2] = ["PUBLIC one", "PUBLIC two, longer"];

/// So many calls that only look come between two that change something; a multiple of those that
/// ask everything once.
const CHANGED_EVERY: u64 = 450;

const PATHS: [&str; 12] = [
    "out/a/x/f",
    "out/a/x/leak",
    "out/a/x/../x/leak",
    "hidden/a/x/f",
    "hidden/a/x/leak",
    "hidden/a/../a/x/leak",
    "file/a/f",
    "env/a/f",
    "turn/a/x/leak",
    "turn/a/x/f",
    "gone/a/x/../../../secret",
    "two/f",
];
const DIRECTORIES: [&str; 7] =
    ["out/a/x", "hidden/a/x", "turn/a/x", "turn/a", "gone/a/x/../..", "hidden", "gone/a/.."];

fn arena() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = |path: &str| dir.path().join(path);
    let secret = format!("{SECRET:.<7777}");
    for place in ["outside/x", "root/secrets/x"] {
        std::fs::create_dir_all(at(place)).unwrap();
        for name in ["f", "leak"] {
            std::fs::write(at(place).join(name), &secret).unwrap();
        }
    }
    for path in ["root/.env", "secret"] {
        std::fs::write(at(path), &secret).unwrap();
    }
    for ring in ["out/a/x", "hidden/a/x", "file/a", "env/a", "turn/inside/x", "gone/a/x", "two"] {
        std::fs::create_dir_all(at("root").join(ring)).unwrap();
        std::fs::write(at("root").join(ring).join("f"), VERSIONS[0]).unwrap();
    }
    for (path, target) in [
        ("out/b", "../../outside"),
        ("hidden/b", "../secrets"),
        ("file/b", "../../../outside/x/f"),
        ("env/b", "../../.env"),
        ("turn/a", "inside"),
    ] {
        symlink(target, at("root").join(path)).unwrap();
    }
    dir
}

/// One turn of the attacker: everything is swapped, and comes back to where it was.
fn turn(base: &Path) {
    let at = |path: &str| base.join("root").join(path);
    let pairs = [
        ("out/a", "out/b"),
        ("hidden/a", "hidden/b"),
        ("file/a/f", "file/b"),
        ("env/a/f", "env/b"),
    ];
    for (first, second) in pairs.iter().chain(pairs.iter().rev()) {
        renameat_with(CWD, at(first), CWD, at(second), RenameFlags::EXCHANGE).unwrap();
    }
    let gone = base.join("outside/gone");
    std::fs::rename(at("gone/a"), &gone).unwrap();
    if std::fs::rename(&gone, at("gone/a")).is_err() {
        // The core made a directory of that name meanwhile; it goes.
        renameat_with(CWD, &gone, CWD, at("gone/a"), RenameFlags::EXCHANGE).unwrap();
        std::fs::remove_dir_all(&gone).unwrap();
    }
    for target in ["../../outside", "../secrets", "inside"] {
        symlink(target, at("turn/next")).unwrap();
        std::fs::rename(at("turn/next"), at("turn/a")).unwrap();
    }
    for version in VERSIONS {
        std::fs::write(at("two/next"), version).unwrap();
        std::fs::rename(at("two/next"), at("two/f")).unwrap();
    }
}

/// The attacker: this test binary once more, with the place to work at in its environment.
/// Without one it shows that a turn leaves everything as it was.
#[test]
fn attacker() {
    let Some(base) = std::env::var_os(ATTACKED) else {
        let dir = arena();
        turn(dir.path());
        for ring in ["out/a/x/f", "hidden/a/x/f", "file/a/f", "env/a/f", "turn/a/x/f", "gone/a/x/f"]
        {
            assert_eq!(
                std::fs::read_to_string(dir.path().join("root").join(ring)).unwrap(),
                VERSIONS[0]
            );
        }
        return;
    };
    let base = PathBuf::from(base);
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    while !ended.is_finished() {
        turn(&base);
    }
}

struct Attacker(Child);

impl Attacker {
    fn start(base: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["race::attacker", "--exact"])
            .env(ATTACKED, base)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let ended = self.0.wait().unwrap();
        assert!(std::thread::panicking() || ended.success(), "the attacker broke off");
    }
}

struct Race {
    policy: Policy,
    budget: Budget,
    done: u64,
    refused: u64,
}

impl Race {
    fn over(root: &Path) -> Self {
        let root = RootSpec {
            uri: "file:///work".to_owned(),
            name: "work".to_owned(),
            description: String::new(),
            path: root.to_owned(),
            access: Access::ReadWrite,
            patterns: RootPatterns::default(),
            hardlinks: Hardlinks::Deny,
            mounts: Vec::new(),
        };
        let exclude = vec!["secrets".to_owned(), ".env".to_owned()];
        let spec = PolicySpec { exclude, ..PolicySpec::default() };
        let policy = Policy::new(Roots::open(&[root]).unwrap(), spec, &[]).unwrap();
        let budget = Budget::new(1 << 20, 10_000, Duration::from_hours(1));
        Self { policy, budget, done: 0, refused: 0 }
    }

    /// Every question once; says how many there were.
    fn ask_all(&mut self) -> u64 {
        let rounds = self.done + self.refused;
        for path in PATHS {
            let read = self.ask(Verb::Read, path, |permit, budget| {
                let text = read_text(permit, TextRange::Whole, None, budget)?.text;
                assert!(!text.contains(SECRET), "{path} gives a secret");
                Ok(text)
            });
            if let (Some(text), "two/f") = (read, path) {
                assert!(VERSIONS.contains(&&*text), "{text:?} never was");
            }
            self.ask(Verb::Stat, path, |permit, budget| {
                assert_ne!(info(permit, budget)?.size, SECRET_BYTES, "{path} tells a size");
                Ok(())
            });
        }
        for path in DIRECTORIES {
            self.ask(Verb::List, path, |permit, budget| {
                list(permit, budget)?.after(None).for_each(|entry| hidden(path, entry.raw));
                Ok(())
            });
            self.ask(Verb::List, path, |permit, budget| {
                for entry in list_with_sizes(permit, budget)?.after(None) {
                    hidden(path, entry.entry.raw);
                    assert_ne!(entry.size, Some(SECRET_BYTES), "{path} lists a size");
                }
                Ok(())
            });
            self.ask(Verb::List, path, |permit, budget| {
                Walk::start(permit, None, budget)?.run(|entry| {
                    hidden(path, entry.name);
                    Ok(Visit::Into)
                })
            });
        }
        self.done + self.refused - rounds
    }

    /// Makes, writes and deletes something in every directory that is swapped. Each of them is
    /// synced, so this is asked less often.
    fn change_all(&mut self) {
        let options = WriteOptions::default();
        for home in ["out/a/x", "hidden/a/x", "turn/a/x", "gone/a/x"] {
            let at = |name: &str| format!("{home}/{name}");
            self.ask(Verb::Write, &at("made/deep"), |permit, budget| {
                make_directory(permit, &options, budget)
            });
            self.ask(Verb::Write, &at("made/w"), |permit, budget| {
                write(permit, None, b"PUBLIC", &options, budget)
            });
            self.ask(Verb::Write, &at("made/w"), |permit, budget| {
                delete(permit, None, &options, budget)
            });
        }
    }

    fn ask<T>(
        &mut self,
        verb: Verb,
        path: &str,
        call: impl FnOnce(&roothold_core::Permit, &Budget) -> Result<T, Fault>,
    ) -> Option<T> {
        let path = FilePath::parse(&format!("/work/{path}")).unwrap();
        let actions = Actions::one(Action::file(verb, path));
        let permits = self.policy.decide(&Principal::local(), "race", &actions);
        match permits.and_then(|permits| call(&permits[0], &self.budget)) {
            Ok(answer) => {
                self.done += 1;
                Some(answer)
            }
            Err(fault) => {
                assert_ne!(fault.kind(), FaultKind::Internal, "{fault:?}");
                self.refused += 1;
                None
            }
        }
    }
}

fn hidden(path: &str, name: &[u8]) {
    let secret = [&b"leak"[..], b"secrets", b".env", b"outside", b"secret"].contains(&name);
    assert!(!secret, "{path} lists {}", String::from_utf8_lossy(name));
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn nothing_that_is_swapped_in_comes_out() {
    let dir = arena();
    let mut race = Race::over(&dir.path().join("root"));
    race.ask_all();
    let rounds = if std::env::var_os("ROOTHOLD_TEST_FULL").is_some() { 1_000_000 } else { 20_000 };
    let attacker = Attacker::start(dir.path());
    let mut asked = 0;
    while asked < rounds {
        asked += race.ask_all();
        if asked.is_multiple_of(CHANGED_EVERY) {
            race.change_all();
        }
    }
    drop(attacker);
    // Other tests run in this process, so that a few files come and go.
    assert!(open_files() < 200, "{} files are open", open_files());
    assert!(race.done > rounds / 10 && race.refused > rounds / 10, "nothing was swapped");
    for place in ["outside/x", "root/secrets/x"] {
        let entries = std::fs::read_dir(dir.path().join(place)).unwrap().count();
        assert_eq!(entries, 2, "something was made in {place}");
    }
    for place in ["outside/x/f", "root/secrets/x/f", "root/.env"] {
        assert_eq!(std::fs::metadata(dir.path().join(place)).unwrap().len(), SECRET_BYTES);
    }
}
