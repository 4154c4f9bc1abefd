//! Globs: the first line of the input is a pattern, the rest a path below the root.

use std::sync::LazyLock;

use roothold_core::{FilePath, PathGlobs, Policy, PolicySpec, Roots, Verb};
use tempfile::TempDir;
use unicode_normalization::UnicodeNormalization as _;

use crate::{decide, root};

static ROOTS: LazyLock<(Roots, TempDir)> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a temporary folder");
    (Roots::open(&[root(dir.path())]).expect("a root"), dir)
});

/// Asks what must hold of one pattern and one path.
pub fn run(data: &[u8]) {
    // A long pattern takes long to compile and tells nothing that a short one does not.
    const PATTERN_BYTES_MAX: usize = 200;
    let Ok(text) = str::from_utf8(data) else { return };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "a/b.md"));
    if pattern.len() > PATTERN_BYTES_MAX || path.split('/').any(|name| name == "..") {
        return;
    }
    let Ok(path) = FilePath::from_bytes(path.as_bytes()) else { return };
    let path = str::from_utf8(path.as_bytes()).expect("it was text");
    if path.is_empty() {
        return;
    }
    searching(pattern, path);
    allowing(pattern, path);
    excluding(pattern, path);
}

fn searching(pattern: &str, path: &str) {
    let Ok(globs) = PathGlobs::new(&[pattern]) else { return };
    let body = pattern.strip_prefix('/').unwrap_or(pattern);
    if let Some(expected) = plainly(body, path) {
        assert_eq!(globs.matches(path.as_bytes()), expected, "{pattern:?} and {path:?}");
    }
}

fn allowing(pattern: &str, path: &str) {
    let spec = PolicySpec { read: vec![pattern.to_owned()], exclude: vec![], ..Default::default() };
    let Ok(policy) = Policy::new(ROOTS.0.clone(), spec, &[]) else { return };
    let whole = format!("work/{path}");
    let anchored = pattern.starts_with('/');
    let body = pattern.strip_prefix('/').unwrap_or(pattern);
    let name = path.rsplit('/').next().unwrap_or(path);
    let subject = if anchored || body.contains('/') { &whole } else { name };
    let Some(expected) = plainly(body, subject) else { return };
    let allowed = rule(&policy, path) != Some("read");
    assert_eq!(allowed, expected, "{pattern:?} allows {path:?}");
}

fn excluding(pattern: &str, path: &str) {
    let spec = PolicySpec { exclude: vec![pattern.to_owned()], ..PolicySpec::default() };
    let Ok(policy) = Policy::new(ROOTS.0.clone(), spec, &[]) else { return };
    let excluded = |path: &str| rule(&policy, path) == Some("exclude");
    let plain = |text: &str| !text.contains(['*', '?', '[', ']', '{', '}', '\\', '!', '/', ',']);
    if plain(pattern) && FilePath::from_bytes(pattern.as_bytes()).is_ok() {
        assert!(excluded(pattern), "{pattern:?} does not exclude itself");
    }
    if !excluded(path) {
        return;
    }
    let below = format!("{path}/x");
    let disguises = [
        below,
        path.chars().map(swap_case).collect(),
        path.nfd().collect(),
        path.nfc().collect(),
        path.nfkd().collect(),
        path.chars().flat_map(|c| [c, '\u{200b}']).collect(),
        path.chars().flat_map(|c| ['\u{ad}', c]).collect(),
    ];
    // What became too long to be a path is no disguise; a slash that came of folding makes
    // another path.
    let slashes = |text: &str| text.matches('/').count();
    for disguise in disguises.iter().filter(|d| FilePath::from_bytes(d.as_bytes()).is_ok()) {
        let same_depth = slashes(disguise) <= slashes(path) + usize::from(disguise.ends_with("/x"));
        assert!(!same_depth || excluded(disguise), "{pattern:?}: {path:?}, not {disguise:?}");
    }
}

fn swap_case(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}

/// The rule that denies reading, as far as names decide.
fn rule(policy: &Policy, below: &str) -> Option<&'static str> {
    let path = FilePath::from_bytes(format!("/work/{below}").as_bytes()).ok()?;
    decide(policy, Verb::Read, path).err()?.rule().map(|rule| rule.name)
}

/// Whether a pattern of literals, `?`, `*` and `**` matches, by trying; `None` for other
/// patterns, and for ones that would take long.
fn plainly(pattern: &str, subject: &str) -> Option<bool> {
    const LONGEST: usize = 40;
    let odd = pattern.contains(['[', ']', '{', '}', '\\']);
    let partial = pattern.split('/').any(|part| part.contains("**") && part != "**");
    if odd || partial || pattern.len() > LONGEST || subject.len() > LONGEST {
        return None;
    }
    let pattern: Vec<&str> = pattern.split('/').collect();
    let subject: Vec<&str> = subject.split('/').collect();
    // An empty part matches nothing that is a path, and globs are not asked about it.
    (!pattern.contains(&"")).then(|| components(&pattern, &subject))
}

fn components(pattern: &[&str], subject: &[&str]) -> bool {
    match (pattern, subject) {
        ([], []) => true,
        // At the end it stands for at least one component.
        (["**"], _) => !subject.is_empty(),
        (["**", rest @ ..], _) => {
            (0..=subject.len()).any(|skipped| components(rest, &subject[skipped..]))
        }
        ([first, rest @ ..], [name, more @ ..]) => {
            let (first, name): (Vec<_>, Vec<_>) = (first.chars().collect(), name.chars().collect());
            characters(&first, &name) && components(rest, more)
        }
        _ => false,
    }
}

fn characters(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|at| characters(rest, &name[at..])),
        (['?', rest @ ..], [_, more @ ..]) => characters(rest, more),
        ([c, rest @ ..], [d, more @ ..]) => c == d && characters(rest, more),
        _ => false,
    }
}
