//! Edits: the input is a file, a text to find and a text to put in its place, each ended by
//! `0xff`, which no text holds.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use roothold_core::files::{Edit, EditRequest, Edited, Precondition, WriteOptions, edit};
use roothold_core::{
    Access, Fault, FaultKind, FilePath, Permit, Policy, PolicySpec, RootSpec, Roots, Verb,
};
use tempfile::TempDir;

use crate::{budget, decide, root};

struct World {
    dir: TempDir,
    file: PathBuf,
    write: Permit,
    read: Permit,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a temporary folder");
    let spec = RootSpec { access: Access::ReadWrite, ..root(dir.path()) };
    let roots = Roots::open(&[spec]).expect("a root");
    let policy = Policy::new(roots, PolicySpec::default(), &[]).expect("a policy");
    let permit = |verb| {
        let path = FilePath::parse("/work/f").expect("a path");
        decide(&policy, verb, path).expect("a permit")
    };
    let (write, read) = (permit(Verb::Write), permit(Verb::Read));
    World { file: dir.path().join("f"), dir, write, read }
});

/// Makes one edit, first without effect, then with it, then back.
pub fn run(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0xff);
    let (Some(content), Some(old), Some(new)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let (Ok(old), Ok(new)) = (str::from_utf8(old), str::from_utf8(new)) else { return };
    fs::write(&WORLD.file, content).expect("a file");
    let planned = make(old, new, true);
    assert_eq!(now(), content, "a dry run changed the file");
    let made = make(old, new, false);
    let entries = fs::read_dir(WORLD.dir.path()).expect("the folder").count();
    assert_eq!(entries, 1, "something was left behind");
    match (&planned, &made) {
        (Ok(planned), Ok(made)) => {
            assert_eq!((&planned.hash, planned.bytes), (&made.hash, made.bytes), "as planned");
            assert_eq!(now().len() as u64, made.bytes);
        }
        (Err(_), Err(fault)) => {
            assert_eq!(now(), content, "a refused edit changed the file");
            assert_ne!(fault.kind(), FaultKind::Internal, "{fault:?}");
        }
        _ => panic!("a dry run says {planned:?}, the edit {made:?}"),
    }
    if let Ok(text) = str::from_utf8(content) {
        check(text, old, new, made.as_ref());
    }
}

fn make(old: &str, new: &str, dry_run: bool) -> Result<Edited, Fault> {
    let request = EditRequest {
        edits: vec![Edit { old: old.to_owned(), new: new.to_owned() }],
        options: WriteOptions { precondition: Precondition::Any, dry_run },
        bytes_max: 1 << 20,
        diff_bytes_max: 1 << 16,
    };
    edit(&WORLD.write, &WORLD.read, &request, &budget(1 << 16))
}

fn now() -> Vec<u8> {
    fs::read(&WORLD.file).expect("the file")
}

/// What a plain replacement of text without marks and carriage returns makes of it.
fn check(text: &str, old: &str, new: &str, made: Result<&Edited, &Fault>) {
    let plain = |text: &str| !text.contains(['\0', '\r', '\u{feff}']);
    if !plain(text) || !plain(old) || !plain(new) || old.is_empty() {
        return;
    }
    let places = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(old.as_bytes()));
    match (places.count(), made) {
        (1, Ok(edited)) => {
            assert!(edited.tolerant.is_empty(), "{old:?} is there as it is");
            assert_eq!(now(), text.replacen(old, new, 1).as_bytes());
            if !new.is_empty() && make(new, old, false).is_ok_and(|back| back.tolerant.is_empty()) {
                assert_eq!(now(), text.as_bytes(), "back again");
            }
        }
        (1, Err(fault)) => panic!("{old:?} is once in {text:?}: {fault}"),
        (0, Ok(edited)) => assert_eq!(edited.tolerant, [1], "{old:?} is not in {text:?}"),
        (0, Err(_)) => {}
        (_, made) => assert!(made.is_err(), "{old:?} is several times in {text:?}"),
    }
}
