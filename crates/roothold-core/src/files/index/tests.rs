//! Tests of when kept entries are served, and when they are not.

#![expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]

mod random;

use std::cell::Cell;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, fstat, renameat_with};

use super::*;
use crate::files::stamp::{QUIET_SECONDS, seconds};
use crate::files::store::FRAME_BYTES;
use crate::files::{Visit, Walk, list, list_at_once};
use crate::testing::{Workspace, budget, decide};
use crate::{Policy, PolicySpec, Roots, Verb};

/// As if everything on disk had been quiet for long.
fn later() -> i64 {
    seconds() + 10 * QUIET_SECONDS
}

fn trusting() -> Index {
    Index(Store::trusting(Index::BYTES_MAX_DEFAULT))
}

struct Directory {
    handle: OwnedFd,
    stat: Stat,
}

impl Directory {
    fn open(path: &Path) -> Self {
        let handle = OwnedFd::from(fs::File::open(path).unwrap());
        Self { stat: fstat(&handle).unwrap(), handle }
    }

    fn read_at(&self, index: &Index, now: i64) {
        self.read_by(index, || now);
    }

    fn read_by(&self, index: &Index, clock: impl FnOnce() -> i64) {
        let keeping = || index.0.keeping_by(clock, &self.handle, &self.stat);
        index.read_and_keep(keeping, &self.handle, self.stat.st_size, &budget()).unwrap();
    }

    fn kept_by(&self, index: &Index) -> Option<Vec<String>> {
        Some(names(&*index.get(&self.stat)?))
    }
}

fn names(entries: &Entries) -> Vec<String> {
    (0..entries.len())
        .filter_map(|at| entries.get(at))
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Waits until whatever changes next gets a later time than what has changed: the clock of a file
/// system moves in ticks of some milliseconds.
fn tick(workspace: &Workspace) {
    let touched = |name: &str| {
        fs::write(workspace.disk(name), "").unwrap();
        fs::metadata(workspace.disk(name)).unwrap().modified().unwrap()
    };
    let before = touched("tick");
    for _ in 0..10_000 {
        if touched("tock") > before {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the clock of the file system stands still");
}

fn policy_with(workspace: &Workspace, index: Index, spec: PolicySpec) -> Policy {
    let roots = Roots::open(&[workspace.root("work")]).unwrap().with_index(index);
    Policy::new(roots, spec, &[]).unwrap()
}

/// All paths below the root, and what could not be looked at; the same in both kinds of a walk.
fn walked(policy: &Policy) -> (Vec<String>, Vec<String>) {
    let names = walked_for(policy, true);
    assert_eq!(walked_for(policy, false), names);
    names
}

fn walked_for(policy: &Policy, names: bool) -> (Vec<String>, Vec<String>) {
    let (permit, budget) = (decide(policy, Verb::List, "/work").unwrap(), budget());
    let (mut all, mut walk) = (Vec::new(), Walk::start(&permit, None, &budget).unwrap());
    if names {
        walk.for_names();
    }
    walk.run(|entry| {
        all.push(String::from_utf8_lossy(entry.below).into_owned());
        Ok(Visit::Into)
    })
    .unwrap();
    let (problems, _) = walk.problems();
    (all, problems.into_iter().map(|problem| problem.path).collect())
}

fn hits(policy: &Policy) -> u64 {
    policy.roots().index().figures().hits
}

#[test]
fn entries_are_kept_until_their_directory_changes() {
    let workspace = Workspace::new();
    workspace.file("d/a", "").file("d/.env", "").file("d/sub/x", "");
    let (index, before) = (Index::default(), Directory::open(&workspace.disk("d")));
    before.read_at(&index, later());
    assert_eq!(
        before.kept_by(&index).unwrap(),
        [".env", "a", "sub"],
        "all, whatever a policy says"
    );
    for change in ["make", "remove", "rename", "chmod"] {
        tick(&workspace);
        let path = |name: &str| workspace.disk("d").join(name);
        match change {
            "make" => fs::write(path("b"), "").unwrap(),
            "remove" => fs::remove_file(path("b")).unwrap(),
            "rename" => fs::rename(path("a"), path("c")).unwrap(),
            _ => fs::set_permissions(path(""), fs::Permissions::from_mode(0o700)).unwrap(),
        }
        let after = Directory::open(&workspace.disk("d"));
        assert_eq!(after.kept_by(&index), None, "{change}");
        after.read_at(&index, later());
        assert!(after.kept_by(&index).is_some());
    }
    let figures = index.figures();
    assert_eq!((figures.hits, figures.misses), (5, 4));
}

#[test]
fn a_directory_that_just_changed_is_not_trusted() {
    let workspace = Workspace::new();
    workspace.file("d/a", "");
    let index = Index::default();
    let mut young = Directory::open(&workspace.disk("d"));
    young.read_at(&index, young.stat.st_ctime + QUIET_SECONDS - 1);
    assert_eq!(young.kept_by(&index), None, "a change in the same tick would not show");
    young.stat.st_mtime = 0;
    young.read_at(&index, later());
    assert_eq!(young.kept_by(&index), None, "a file system without times");
    young.stat.st_mtime = later() + 1000;
    young.read_at(&index, later());
    assert_eq!(young.kept_by(&index), None, "a time to come");
}

#[test]
fn a_slow_reading_does_not_age_the_directory() {
    let workspace = Workspace::new();
    workspace.file("d/a", "");
    let (index, young) = (Index::default(), Directory::open(&workspace.disk("d")));
    let now = Cell::new(young.stat.st_ctime);
    let clock = || now.replace(young.stat.st_ctime + 10 * QUIET_SECONDS);
    young.read_by(&index, clock);
    assert_eq!(young.kept_by(&index), None);
}

#[test]
fn a_change_between_stamp_and_reading_is_found_out() {
    let workspace = Workspace::new();
    workspace.file("d/a", "");
    let (index, before) = (Index::default(), Directory::open(&workspace.disk("d")));
    tick(&workspace);
    workspace.file("d/b", "");
    before.read_at(&index, later());
    assert_eq!(Directory::open(&workspace.disk("d")).kept_by(&index), None);
}

#[test]
fn a_new_directory_with_an_old_number_is_a_new_one() {
    let workspace = Workspace::new();
    let (index, mut reused) = (Index::default(), 0);
    for _ in 0..50 {
        workspace.file("d/a", "");
        let before = Directory::open(&workspace.disk("d"));
        before.read_at(&index, later());
        let number = before.stat.st_ino;
        drop(before);
        tick(&workspace);
        fs::remove_dir_all(workspace.disk("d")).unwrap();
        workspace.file("d/b", "");
        let after = Directory::open(&workspace.disk("d"));
        reused += usize::from(after.stat.st_ino == number);
        assert_eq!(after.kept_by(&index), None);
        fs::remove_dir_all(workspace.disk("d")).unwrap();
    }
    // Not every file system gives numbers again; where it does, it was tried.
    println!("{reused} numbers were used again");
}

#[test]
fn directories_that_change_places_keep_what_they_hold() {
    let workspace = Workspace::new();
    workspace.file("work/a/d/one", "").file("work/b/d/two", "");
    let policy = policy_with(&workspace, trusting(), PolicySpec::default());
    let first = ["a", "a/d", "a/d/one", "b", "b/d", "b/d/two"];
    let second = ["a", "a/d", "a/d/two", "b", "b/d", "b/d/one"];
    let swap = || {
        tick(&workspace);
        let (a, b) = (workspace.disk("work/a/d"), workspace.disk("work/b/d"));
        renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
    };
    for _ in 0..3 {
        assert_eq!(walked(&policy).0, first);
        assert_eq!(walked(&policy).0, first);
        swap();
        assert_eq!(walked(&policy).0, second);
        swap();
    }
    assert!(hits(&policy) > 10, "{}", hits(&policy));
}

#[test]
fn a_directory_that_became_a_link_is_not_entered() {
    let workspace = Workspace::new();
    workspace.file("work/d/sub/inside", "").file("outside/secret", "").file("work/other/x", "");
    let policy = policy_with(&workspace, trusting(), PolicySpec::default());
    assert_eq!(walked(&policy).0.len(), 5);
    // What was `d` is still there, still in the index, and not below the root any more.
    fs::rename(workspace.disk("work/d"), workspace.disk("moved")).unwrap();
    for target in [workspace.disk("outside"), workspace.disk("moved"), "other".into()] {
        let _ = fs::remove_file(workspace.disk("work/d"));
        workspace.link("work/d", target);
        tick(&workspace);
        assert_eq!(walked(&policy), (["d", "other", "other/x"].map(str::to_owned).into(), vec![]));
        assert_eq!(walked(&policy).0, ["d", "other", "other/x"]);
    }
}

/// The entry still says directory where the name leads elsewhere since: what is validated is
/// the directory itself, each time.
#[test]
fn a_kept_name_grants_nothing() {
    let workspace = Workspace::new();
    workspace.file("work/d/inside", "").file("outside/secret", "");
    let policy = policy_with(&workspace, trusting(), PolicySpec::default());
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let (budget, mut seen) = (budget(), Vec::new());
    assert_eq!(walked(&policy).0, ["d", "d/inside"]);
    let mut walk = Walk::start(&permit, None, &budget).unwrap();
    walk.run(|entry| {
        if entry.below == b"d" {
            fs::rename(workspace.disk("work/d"), workspace.disk("moved")).unwrap();
            workspace.link("work/d", workspace.disk("outside"));
        }
        seen.push(String::from_utf8_lossy(entry.below).into_owned());
        Ok(Visit::Into)
    })
    .unwrap();
    assert_eq!(seen, ["d"]);
    let (problems, _) = walk.problems();
    assert_eq!(problems[0].reason, "changed while it was looked at");
}

#[test]
fn one_index_serves_policies_that_differ() {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "").file("work/hidden/x.md", "").file("work/d/b.txt", "");
    let roots = Roots::open(&[workspace.root("work")]).unwrap().with_index(trusting());
    let policy = |spec| Policy::new(roots.clone(), spec, &[]).unwrap();
    let open = policy(PolicySpec::default());
    let excluding =
        policy(PolicySpec { exclude: vec!["HIDDEN".to_owned()], ..PolicySpec::default() });
    let reading = policy(PolicySpec {
        read: vec!["*.md".to_owned()],
        write: vec![],
        ..PolicySpec::default()
    });
    for _ in 0..2 {
        assert_eq!(walked(&open).0, ["a.md", "d", "d/b.txt", "hidden", "hidden/x.md"]);
        assert_eq!(walked(&excluding).0, ["a.md", "d", "d/b.txt"]);
        assert_eq!(walked(&reading).0, ["a.md", "d", "hidden", "hidden/x.md"]);
        let permit = decide(&excluding, Verb::List, "/work").unwrap();
        let listing = list(&permit, &budget()).unwrap();
        assert_eq!(listing.after(None).map(|entry| entry.name).collect::<Vec<_>>(), ["a.md", "d"]);
    }
    // A walk that is taken up inside of what is hidden by now goes on behind it.
    let (permit, budget) = (decide(&excluding, Verb::List, "/work").unwrap(), budget());
    let mut walk = Walk::start(&permit, Some(b"hidden/a"), &budget).unwrap();
    assert!(walk.run(|entry| panic!("{}", String::from_utf8_lossy(entry.below))).unwrap());
    assert!(hits(&open) > 5);
}

#[test]
fn an_index_that_is_switched_off_holds_and_counts_nothing() {
    let workspace = Workspace::new();
    workspace.file("d/a", "");
    let (index, directory) = (Index::default(), Directory::open(&workspace.disk("d")));
    directory.read_at(&index, later());
    assert!(index.figures().bytes > 0);
    index.set_bytes_max(0);
    let counted = index.figures();
    directory.read_at(&index, later());
    assert!(directory.kept_by(&index).is_none());
    assert_eq!((index.figures(), counted.bytes), (counted, 0));
}

#[test]
fn a_directory_that_is_held_is_listed_at_once_and_as_it_is_otherwise() {
    let workspace = Workspace::new();
    workspace.file("work/d/b", "").file("work/d/a", "").file("work/d/.env", "");
    workspace.file("work/prod.key/x", "").link("work/link", "d");
    let policy = policy_with(&workspace, trusting(), PolicySpec::default());
    let list_names = |listing: &crate::files::Listing<'_>| -> Vec<String> {
        listing.after(None).map(|entry| entry.name.into_owned()).collect()
    };
    let permit = decide(&policy, Verb::List, "/work/d").unwrap();
    assert!(list_at_once(&permit).is_none(), "nobody has read it yet");
    let wanted = list_names(&list(&permit, &budget()).unwrap());
    assert_eq!(wanted, ["a", "b"]);
    let hits = hits(&policy);
    assert_eq!(list_names(&list_at_once(&permit).unwrap()), wanted);
    assert_eq!(policy.roots().index().figures().hits, hits + 1);
    for path in ["/work/link", "/work/d/../d", "/work/d/a", "/work/gone"] {
        let permit = decide(&policy, Verb::List, path).unwrap();
        assert!(list_at_once(&permit).is_none(), "{path}");
    }
    tick(&workspace);
    workspace.file("work/d/c", "");
    assert!(list_at_once(&permit).is_none(), "it has changed");
}
