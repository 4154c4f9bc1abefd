//! Fuzz targets: functions that take any bytes, hand them to what parses hostile input, and
//! panic if one of its promises does not hold.
//!
//! | target | what it asks |
//! |---|---|
//! | [`paths`] | path arguments and URIs: they come back as they were shown, and never lead outside |
//! | [`patterns`] | globs that allow, exclude and search, beside a plain matcher of our own |
//! | [`pages`] | all pages of a text are the file, each within its budget |
//! | [`edits`] | an edit changes the one place that it means, or nothing |
//! | [`cursors`] | a sealed handle opens as it was sealed, and no other string does |
//! | [`envelopes`] | the edge's JSON-RPC parser reads what every JSON reader reads, or refuses |
//!
//! `cargo xtask fuzz` runs them under libFuzzer; the tests run them over the corpus. Nothing
//! here has a state that one input leaves to the next.

#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "a target says what is wrong by panicking")]
#![expect(clippy::disallowed_methods, reason = "fixtures are made on disk, in a temporary folder")]

pub mod cursors;
pub mod edits;
pub mod envelopes;
pub mod pages;
pub mod paths;
pub mod patterns;

use std::time::Duration;

use roothold_core::{
    Access, Action, Actions, Budget, Fault, FilePath, Hardlinks, Permit, Policy, Principal,
    RootPatterns, RootSpec, Verb,
};

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("paths", paths::run),
    ("patterns", patterns::run),
    ("pages", pages::run),
    ("edits", edits::run),
    ("cursors", cursors::run),
    ("envelopes", envelopes::run),
];

/// Runs one target over one input.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    target(data);
}

/// A root `/work` over a directory.
fn root(path: &std::path::Path) -> RootSpec {
    RootSpec {
        uri: "file:///work".to_owned(),
        name: "work".to_owned(),
        description: String::new(),
        path: path.to_owned(),
        access: Access::ReadOnly,
        patterns: RootPatterns::default(),
        hardlinks: Hardlinks::Deny,
        mounts: Vec::new(),
    }
}

fn decide(policy: &Policy, verb: Verb, path: FilePath) -> Result<Permit, Fault> {
    let actions = Actions::one(Action::file(verb, path));
    policy.decide(&Principal::local(), "fuzz", &actions).map(|mut permits| permits.remove(0))
}

/// No input is worth a minute.
fn budget(bytes: usize) -> Budget {
    Budget::new(bytes, 10_000, Duration::from_mins(1))
}
