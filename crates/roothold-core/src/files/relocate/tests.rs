//! Moving and deleting, on real files.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;

use super::*;
use crate::files::delete;
use crate::files::read::content_hash;
use crate::testing::{Workspace, budget, decide, policy};
use crate::{Access, Policy, PolicySpec, RootSpec};

fn rw(workspace: &Workspace, name: &str, change: impl FnOnce(&mut RootSpec)) -> RootSpec {
    let mut root = workspace.root(name);
    root.access = Access::ReadWrite;
    change(&mut root);
    root
}

fn plain(workspace: &Workspace) -> Policy {
    policy(&[rw(workspace, "work", |_| {})], PolicySpec::default())
}

fn options(if_match: Option<&str>) -> WriteOptions {
    WriteOptions { precondition: Precondition::parse(if_match).unwrap(), dry_run: false }
}

fn mv(policy: &Policy, from: &str, to: &str) -> Result<Moved, Fault> {
    mv_if(policy, from, to, None)
}

fn mv_if(policy: &Policy, from: &str, to: &str, if_match: Option<&str>) -> Result<Moved, Fault> {
    let look = decide(policy, Verb::Stat, from)?;
    let (source, target) = (decide(policy, Verb::Write, from)?, decide(policy, Verb::Write, to)?);
    move_entry(&look, &source, &target, &options(if_match), &budget())
}

fn rm(policy: &Policy, path: &str, if_match: Option<&str>) -> Result<String, Fault> {
    let permit = decide(policy, Verb::Write, path)?;
    let read = decide(policy, Verb::Read, path).ok();
    delete(&permit, read.as_ref(), &options(if_match), &budget())
}

fn rule<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    result.unwrap_err().rule().map_or("none", |rule| rule.name)
}

fn kind<T: std::fmt::Debug>(result: Result<T, Fault>) -> FaultKind {
    result.unwrap_err().kind()
}

#[test]
fn files_and_directories_are_moved_but_over_nothing() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "a").file("work/b.txt", "b").file("work/d/x.txt", "x");
    fs::create_dir(workspace.disk("work/empty")).unwrap();
    let policy = plain(&workspace);
    for (from, to) in [
        ("/work/a.txt", "/work/b.txt"),
        ("/work/a.txt", "/work/a.txt"),
        ("/work/a.txt", "/work/empty"),
        ("/work/d", "/work/empty"),
    ] {
        assert_eq!(kind(mv(&policy, from, to)), FaultKind::Conflict, "{from} {to}");
    }
    assert_eq!(kind(mv(&policy, "/work/none", "/work/c")), FaultKind::NotFound);
    assert_eq!(kind(mv(&policy, "/work/a.txt", "/work/none/c")), FaultKind::NotFound);
    assert_eq!(kind(mv(&policy, "/work/d", "/work/d/in")), FaultKind::Invalid);
    assert_eq!(kind(mv(&policy, "/work/d", "/work/d/in/deep")), FaultKind::NotFound);
    assert_eq!(rule(mv(&policy, "/work", "/work/in")), "root_itself");
    let stale = content_hash(b"older");
    assert_eq!(kind(mv_if(&policy, "/work/a.txt", "/work/c", Some(&stale))), FaultKind::Conflict);
    assert_eq!(kind(mv_if(&policy, "/work/d", "/work/e", Some(&stale))), FaultKind::Invalid);
    let moved = mv_if(&policy, "/work/a.txt", "/work/d/c.txt", Some(&content_hash(b"a"))).unwrap();
    assert_eq!((&*moved.source, &*moved.destination), ("/work/a.txt", "/work/d/c.txt"));
    mv(&policy, "/work/d", "/work/e").unwrap();
    assert_eq!(fs::read(workspace.disk("work/e/c.txt")).unwrap(), b"a");
    assert_eq!(fs::read(workspace.disk("work/b.txt")).unwrap(), b"b");
}

#[test]
fn links_are_not_moved_and_only_themselves_deleted() {
    let workspace = Workspace::new();
    workspace
        .file("work/a.txt", "a")
        .file("work/d/x.txt", "x")
        .file("work/.env", "SECRET")
        .file("outside/o.txt", "OUTSIDE")
        .link("work/l", "a.txt")
        .link("work/dl", "d")
        .link("work/out", "../outside/o.txt")
        .link("work/outdir", "../outside")
        .link("work/hidden", ".env");
    let policy = plain(&workspace);
    assert_eq!(kind(mv(&policy, "/work/l", "/work/m")), FaultKind::Unsupported);
    assert_eq!(rule(mv(&policy, "/work/hidden", "/work/m")), "exclude");
    assert_eq!(rule(mv(&policy, "/work/outdir/o.txt", "/work/m")), "roots");
    assert_eq!(rule(mv(&policy, "/work/a.txt", "/work/outdir/m")), "roots");
    assert_eq!(rule(rm(&policy, "/work/outdir/o.txt", None)), "roots");
    assert_eq!(rule(rm(&policy, "/work/hidden", None)), "exclude");
    assert_eq!(
        mv(&policy, "/work/dl/x.txt", "/work/dl/y.txt").unwrap().destination,
        "/work/d/y.txt"
    );
    rm(&policy, "/work/l", None).unwrap();
    rm(&policy, "/work/out", None).unwrap();
    assert!(workspace.disk("work/a.txt").exists() && workspace.disk("outside/o.txt").exists());
    assert!(!workspace.disk("work/l").is_symlink() && !workspace.disk("work/out").is_symlink());
}

#[test]
fn a_file_is_deleted_only_if_it_is_the_one_that_is_meant() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "a").file("work/d/.env", "SECRET").file("work/.env", "SECRET");
    fs::create_dir(workspace.disk("work/empty")).unwrap();
    let policy = plain(&workspace);
    let fault = rm(&policy, "/work/a.txt", Some(&content_hash(b"b"))).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(fault.public().contains(&content_hash(b"a")));
    assert_eq!(kind(rm(&policy, "/work/a.txt", Some("none"))), FaultKind::Invalid);
    // A directory with a secret and an empty one are the same.
    let one = rm(&policy, "/work/d", None).unwrap_err();
    let other = rm(&policy, "/work/empty", None).unwrap_err();
    assert_eq!((one.kind(), one.public()), (other.kind(), other.public()));
    assert_eq!(rule(rm(&policy, "/work/.env", None)), "exclude");
    assert_eq!(rule(rm(&policy, "/work/d/.env", None)), "exclude");
    assert_eq!(rule(rm(&policy, "/work", None)), "root_itself");
    assert_eq!(kind(rm(&policy, "/work/none", None)), FaultKind::NotFound);
    assert_eq!(rm(&policy, "/work/a.txt", Some(&content_hash(b"a"))).unwrap(), "/work/a.txt");
    assert_eq!(kind(rm(&policy, "/work/a.txt", None)), FaultKind::NotFound);
}

#[test]
fn a_directory_goes_with_what_is_excluded_in_it_where_that_stays_excluded() {
    let workspace = Workspace::new();
    workspace.file("work/cfg/.env", "SECRET").file("work/cfg/a.txt", "a").file("work/vault/x", "");
    let root = rw(&workspace, "work", |root| {
        root.patterns.exclude = vec!["vault/**".to_owned(), "plan/b/**".to_owned()];
    });
    let policy = policy(&[root], PolicySpec::default());
    mv(&policy, "/work/cfg", "/work/cfg2").unwrap();
    assert_eq!(rule(decide(&policy, Verb::Read, "/work/cfg2/.env")), "exclude");
    assert_eq!(rule(mv(&policy, "/work/vault", "/work/open")), "exclude");
    // The answer is the same whether what is excluded exists.
    workspace.file("work/plan/a.txt", "");
    let without = mv(&policy, "/work/plan", "/work/other").unwrap_err();
    workspace.file("work/plan/b/c.txt", "");
    let with = mv(&policy, "/work/plan", "/work/other").unwrap_err();
    assert_eq!(without.public(), with.public());
    assert_eq!(without.rule().unwrap().name, "exclude");
    // Nor does something come to lie where it is excluded.
    assert_eq!(rule(mv(&policy, "/work/cfg2", "/work/vault/in")), "exclude");
}

#[test]
fn nothing_is_gained_by_moving_a_directory() {
    let workspace = Workspace::new();
    workspace
        .file("work/private/x.txt", "PRIVATE")
        .file("work/mixed/a.md", "a")
        .file("work/mixed/deep/kept.lock", "")
        .file("work/mine/a.md", "a");
    let root = rw(&workspace, "work", |root| {
        root.patterns.read = Some(vec!["public/**".to_owned(), "*.md".to_owned()]);
        root.patterns.write_exclude = vec!["*.lock".to_owned()];
    });
    let policy = policy(&[root], PolicySpec::default());
    assert_eq!(rule(mv(&policy, "/work/private", "/work/public")), "subtree");
    assert_eq!(rule(mv(&policy, "/work/mixed", "/work/other")), "subtree");
    assert_eq!(rule(mv(&policy, "/work/private/x.txt", "/work/x.md")), "read");
    // What is not there answers as what may not be read.
    assert_eq!(rule(mv(&policy, "/work/private/none.txt", "/work/x.md")), "read");
    assert_eq!(rule(mv(&policy, "/work/none/none.txt", "/work/x.md")), "read");
    assert_eq!(rule(mv(&policy, "/work/mixed/deep/kept.lock", "/work/kept.md")), "write_exclude");
    mv(&policy, "/work/mine", "/work/yours").unwrap();
    assert!(workspace.disk("work/private/x.txt").exists());
}

#[test]
fn between_roots_both_sides_must_agree() {
    let workspace = Workspace::new();
    workspace.file("one/d/x.secret", "SECRET").file("one/a.txt", "a").file("ro/r.txt", "r");
    let roots = [
        rw(&workspace, "one", |root| root.patterns.exclude = vec!["*.secret".to_owned()]),
        rw(&workspace, "two", |_| {}),
        workspace.root("ro"),
    ];
    let policy = policy(&roots, PolicySpec::default());
    assert_eq!(rule(mv(&policy, "/one/d", "/two/d")), "exclude");
    assert_eq!(rule(mv(&policy, "/one/a.txt", "/ro/a.txt")), "access");
    assert_eq!(rule(mv(&policy, "/ro/r.txt", "/one/r.txt")), "access");
    assert_eq!(mv(&policy, "/one/a.txt", "/two/a.txt").unwrap().destination, "/two/a.txt");
    assert!(workspace.disk("two/a.txt").exists() && !workspace.disk("one/a.txt").exists());
}

#[test]
fn a_dry_run_moves_and_deletes_nothing() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "a");
    let policy = plain(&workspace);
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let look = decide(&policy, Verb::Stat, "/work/a.txt").unwrap();
    let from = decide(&policy, Verb::Write, "/work/a.txt").unwrap();
    let to = decide(&policy, Verb::Write, "/work/b.txt").unwrap();
    move_entry(&look, &from, &to, &dry, &budget()).unwrap();
    delete(&from, None, &dry, &budget()).unwrap();
    assert!(workspace.disk("work/a.txt").exists() && !workspace.disk("work/b.txt").exists());
}

/// What may be written where the directory is, and neither may be nor shows where it goes.
#[test]
fn nothing_is_written_into_a_directory_that_is_moved_away_meanwhile() {
    let workspace = Workspace::new();
    let root = rw(&workspace, "work", |_| {});
    let words = |word: &[&str]| word.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let exclude = words(&["work/vault/**"]);
    let policy = policy(&[root], PolicySpec { exclude, ..PolicySpec::default() });
    assert_eq!(rule(decide(&policy, Verb::Write, "/work/vault/x.txt")), "exclude");
    let content = "x".repeat(1024 * 1024);
    let mut written = 0;
    for round in 0..40u64 {
        fs::create_dir_all(workspace.disk("work/open")).unwrap();
        let moved = std::thread::scope(|scope| {
            scope.spawn(|| {
                for name in ["x.txt", "d/e/x.txt"] {
                    let path = format!("/work/open/{name}");
                    let permit = decide(&policy, Verb::Write, &path).unwrap();
                    let options = options(None);
                    let _ =
                        crate::files::write(&permit, None, content.as_bytes(), &options, &budget());
                }
            });
            std::thread::sleep(std::time::Duration::from_micros(round * 100));
            mv(&policy, "/work/open", "/work/vault").is_ok()
        });
        let vault = workspace.disk("work/vault");
        if moved {
            assert_eq!(fs::read_dir(&vault).unwrap().count(), 0, "round {round}");
            fs::remove_dir(vault).unwrap();
        }
        written += usize::from(workspace.disk("work/open/x.txt").exists());
        let _ = fs::remove_dir_all(workspace.disk("work/open"));
    }
    assert!(written > 0, "no write was ever in time");
}
