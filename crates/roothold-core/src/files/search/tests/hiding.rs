//! What must not be found.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;
use crate::testing::policy;
use crate::{Access, Hardlinks, PolicySpec, RootPatterns};

#[test]
fn what_policy_hides_is_not_found_under_any_name() {
    let workspace = Workspace::new();
    workspace
        .file("outside.txt", "SECRET")
        .file("work/.env", "SECRET")
        .file("work/d/.ENV", "SECRET")
        .file("work/.ssh/config", "SECRET")
        .file("work/d/a.txt", "PUBLIC")
        .link("work/env.txt", ".env")
        .link("work/out.txt", workspace.disk("outside.txt"))
        .link("work/ssh", ".ssh");
    let policy = workspace.policy();
    for search in [literal("SECRET"), regex("S.*T")] {
        let (found, searched) = whole(&policy, "/work", &search);
        assert_eq!(found, [""; 0]);
        assert_eq!((searched.problems, searched.totals.files), (Vec::new(), 1));
    }
    for path in ["/work/.env", "/work/env.txt", "/work/ssh", "/work/ssh/config", "/work/out.txt"] {
        let rule = decide(&policy, Verb::Search, path).and_then(|permit| {
            search(&permit, &literal("x"), None, &budget(), &mut Page::default())
        });
        assert!(matches!(rule.unwrap_err().rule().unwrap().name, "exclude" | "roots"), "{path}");
    }
}

#[test]
fn what_can_be_written_only_is_not_searched() {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "x").file("work/a.rs", "x").file("work/d/b.rs", "x");
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    let spec =
        PolicySpec { read: vec!["*.md".into()], write: vec!["**".into()], ..PolicySpec::default() };
    let policy = policy(&[root], spec);
    assert_eq!(records(&policy, "/work", &literal("x")), ["/work/a.md:1:x"]);
    let said = |path: &str| {
        let permit = decide(&policy, Verb::Search, path).unwrap();
        let ended = search(&permit, &literal("x"), None, &budget(), &mut Page::default());
        ended.unwrap_err().public().to_owned()
    };
    // The same whether it is there.
    assert!(said("/work/a.rs").contains("rule read"));
    assert_eq!(said("/work/a.rs"), said("/work/missing.rs"));
    assert!(said("/work/missing.md").contains("no such file"));
}

#[test]
fn only_regular_files_of_one_name_are_opened() {
    let workspace = Workspace::new();
    workspace.file("work/a", "x").file("work/one", "x");
    mkfifoat(CWD, workspace.disk("work/pipe"), Mode::RUSR).unwrap();
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    std::fs::hard_link(workspace.disk("work/one"), workspace.disk("work/two")).unwrap();
    let (found, searched) = whole(&workspace.policy(), "/work", &literal("x"));
    assert_eq!(found, ["/work/a:1:x"]);
    let problems: Vec<&str> =
        searched.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems, ["/work/one", "/work/two"]);
    assert_eq!(searched.totals.files, 1);
    let mut root = workspace.root("work");
    root.hardlinks = Hardlinks::Allow;
    let found = records(&policy(&[root], PolicySpec::default()), "/work", &literal("x"));
    assert_eq!(found, ["/work/a:1:x", "/work/one:1:x", "/work/two:1:x"]);
}

#[test]
fn an_entry_that_was_swapped_is_not_followed() {
    let workspace = Workspace::new();
    workspace.file("work/.env", "SECRET").file("outside", "SECRET");
    workspace
        .link("work/link", ".env")
        .link("work/out", workspace.disk("outside"))
        .file("work/d/x", "");
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    let directory = OwnedFd::from(std::fs::File::open(workspace.disk("work")).unwrap());
    for name in ["link", "out", "../outside", "/etc/hostname", "d", "gone"] {
        let opened = gate::open_file_entry(directory.as_fd(), name.as_bytes(), Hardlinks::Allow);
        assert!(opened.is_err(), "{name}");
    }
}

#[test]
fn a_root_that_grants_some_patterns_shows_those_only() {
    let workspace = Workspace::new();
    workspace.file("work/docs/a.md", "x").file("work/src/a.md", "x");
    let mut root = workspace.root("work");
    root.patterns = RootPatterns { read: Some(vec!["docs/**".into()]), ..RootPatterns::default() };
    let found = records(&policy(&[root], PolicySpec::default()), "/work", &literal("x"));
    assert_eq!(found, ["/work/docs/a.md:1:x"]);
}
