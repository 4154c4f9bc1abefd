//! Path arguments and URIs: the input is one, as bytes.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::LazyLock;

use roothold_core::files::{TextRange, list, read_text};
use roothold_core::{
    FaultKind, FilePath, NAME_BYTES_MAX, PATH_BYTES_MAX, Policy, PolicySpec, Roots, Verb, uri,
};
use tempfile::TempDir;

use crate::{budget, decide, root};

const SECRET: &str = "CANARY";

/// Files, links to all sorts of places, and an outside.
struct World {
    policy: Policy,
    _dir: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a temporary folder");
    let at = |path: &str| dir.path().join(path);
    for folder in ["work/a/b", "work/.ssh", "outside"] {
        fs::create_dir_all(at(folder)).expect("a folder");
    }
    for (path, text) in [
        ("work/a/b/c", "PUBLIC"),
        ("work/%41", "PUBLIC"),
        ("work/.env", SECRET),
        ("work/.ssh/id", SECRET),
        ("outside/f", SECRET),
        ("f", SECRET),
    ] {
        fs::write(at(path), text).expect("a file");
    }
    for (path, target) in [
        ("work/l", "a/b"),
        ("work/up", ".."),
        ("work/out", "../outside"),
        ("work/e", ".env"),
        ("work/s", ".ssh"),
        ("work/a/r", "/"),
    ] {
        symlink(target, at(path)).expect("a link");
    }
    let roots = Roots::open(&[root(&at("work"))]).expect("a root");
    let policy = Policy::new(roots, PolicySpec::default(), &[]).expect("a policy");
    World { policy, _dir: dir }
});

/// Asks what must hold of one path, whichever of the parsers takes it.
pub fn run(data: &[u8]) {
    if let Ok(path) = FilePath::from_bytes(data) {
        check(&path);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(path) = FilePath::parse_uri(text) {
        assert!(path.is_absolute(), "{text:?} is a URI and relative");
        check(&path);
    }
    if let Ok(path) = FilePath::parse(text) {
        if !text.starts_with("file:") {
            assert!(!text.chars().any(char::is_control), "{text:?} holds control characters");
        }
        check(&path);
    }
}

fn check(path: &FilePath) {
    let bytes = path.as_bytes();
    assert!(bytes.len() <= PATH_BYTES_MAX && !bytes.contains(&0), "{path:?}");
    let mut components = bytes.split(|byte| *byte == b'/');
    let sound = |name: &[u8]| !name.is_empty() && name != b"." && name.len() <= NAME_BYTES_MAX;
    assert!(bytes.is_empty() || components.all(sound), "{path:?} is not in order");
    if path.is_absolute() {
        for shown in [path.to_string(), uri(bytes)] {
            let again = FilePath::parse(&shown).expect("what is shown can be given back");
            assert_eq!((again.as_bytes(), again.is_absolute()), (bytes, true), "{shown:?}");
        }
    }
    below_the_root(path);
}

/// Nothing outside the root, and nothing excluded, is read or listed.
fn below_the_root(path: &FilePath) {
    let policy = &WORLD.policy;
    let leaves = leaves_the_root(path);
    match decide(policy, Verb::Read, path.clone()) {
        Err(fault) => assert_eq!(fault.kind(), FaultKind::Denied, "{path:?}: {fault}"),
        Ok(permit) => {
            assert!(!leaves, "{path:?} leaves the root and is allowed");
            if let Ok(page) = read_text(&permit, TextRange::Whole, None, &budget(4096)) {
                assert!(!page.text.contains(SECRET), "{path:?} gives {}", page.path);
            }
        }
    }
    let Ok(permit) = decide(policy, Verb::List, path.clone()) else { return };
    let budget = budget(4096);
    let Ok(listing) = list(&permit, &budget) else { return };
    for entry in listing.after(None) {
        let hidden = [".env", ".ssh", "f", "work", "outside"].contains(&&*entry.name);
        assert!(!hidden, "{path:?} lists {}", entry.name);
    }
}

/// As text: whether it is not below `/work` at its end, or at a `..` on its way.
fn leaves_the_root(path: &FilePath) -> bool {
    let mut components = path.as_bytes().split(|byte| *byte == b'/').filter(|c| !c.is_empty());
    if path.is_absolute() && components.next() != Some(b"work") {
        return true;
    }
    let mut depth = 0_usize;
    for component in components {
        match depth.checked_sub(usize::from(component == b"..")) {
            None => return true,
            Some(above) => depth = above + usize::from(component != b".."),
        }
    }
    false
}
