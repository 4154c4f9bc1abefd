//! Files that are written by streaming: what others see of them, who may go on with them, and what
//! is left when they are not finished.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::time::Duration;

use super::*;
use crate::audit::Left;
use crate::files::read::content_hash;
use crate::files::{list, sweep_left};
use crate::testing::{Workspace, budget, decide, policy};
use crate::{Access, Hardlinks, Policy, PolicySpec, RootSpec, Verb};

const NEW: OutputOptions = OutputOptions { overwrite: false, bytes_max: 1 << 20 };
const OVER: OutputOptions = OutputOptions { overwrite: true, bytes_max: 1 << 20 };

fn writable(workspace: &Workspace, change: impl FnOnce(&mut RootSpec)) -> Policy {
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    change(&mut root);
    policy(&[root], PolicySpec::default())
}

fn plain(workspace: &Workspace) -> Policy {
    writable(workspace, |_| {})
}

fn permit(policy: &Policy, path: &str) -> Permit {
    decide(policy, Verb::Write, path).unwrap()
}

fn begin(policy: &Policy, path: &str, options: OutputOptions) -> Result<OutputFile, Fault> {
    OutputFile::begin(&decide(policy, Verb::Write, path)?, options, &budget())
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_hours(1)
}

fn begin_kept(policy: &Policy, path: &str, options: OutputOptions) -> Result<OutputFile, Fault> {
    let permit = decide(policy, Verb::Write, path)?;
    OutputFile::begin_kept(&permit, &KeptName::new(&permit, in_an_hour())?, options, &budget())
}

fn take_over(policy: &Policy, path: &str, mark: &OutputMark) -> Result<OutputFile, Fault> {
    let permit = decide(policy, Verb::Write, path)?;
    let name = KeptName::new(&permit, in_an_hour())?;
    OutputFile::take_over(&permit, mark, &name, NEW, &budget())
}

fn names(workspace: &Workspace, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(workspace.disk(dir)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn content(workspace: &Workspace, path: &str) -> String {
    fs::read_to_string(workspace.disk(path)).unwrap()
}

#[test]
fn a_file_appears_whole_when_it_is_published_and_not_before() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let mut output = begin(&policy, "/work/deep/er/a.csv", NEW).unwrap();
    output.append(b"one,").unwrap();
    output.sync().unwrap();
    output.append(b"two").unwrap();
    assert!(!workspace.disk("work/deep/er/a.csv").exists());
    let directory = decide(&policy, Verb::List, "/work/deep/er").unwrap();
    assert!(list(&directory, &budget()).unwrap().is_empty(), "what is not finished is hidden");
    assert_eq!((output.bytes(), output.mark()), (7, None));
    let written = output.publish(&budget()).unwrap();
    assert_eq!(content(&workspace, "work/deep/er/a.csv"), "one,two");
    assert_eq!(written.hash, content_hash(b"one,two"));
    assert_eq!((written.path.as_str(), written.bytes), ("/work/deep/er/a.csv", 7));
    assert!(written.created);
    assert_eq!(names(&workspace, "work/deep/er"), ["a.csv"]);
}

#[test]
fn what_is_there_is_replaced_only_if_that_was_said_and_gives_its_bits() {
    let workspace = Workspace::new();
    workspace.file("work/a.csv", "old");
    let policy = plain(&workspace);
    assert_eq!(begin(&policy, "/work/a.csv", NEW).unwrap_err().kind(), FaultKind::Conflict);
    // It may also appear meanwhile.
    let mut output = begin(&policy, "/work/b.csv", NEW).unwrap();
    output.append(b"new").unwrap();
    workspace.file("work/b.csv", "somebody else's");
    let fault = output.publish(&budget()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(fault.public().contains("overwrite"), "{fault}");
    assert_eq!(content(&workspace, "work/b.csv"), "somebody else's");
    let bits = |path: &str| fs::metadata(workspace.disk(path)).unwrap().mode() & 0o777;
    fs::set_permissions(workspace.disk("work/a.csv"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut output = begin(&policy, "/work/a.csv", OVER).unwrap();
    output.append(b"new").unwrap();
    let hidden = format!("work/{}", output.name.as_str());
    assert_eq!(bits(&hidden) & 0o007, 0, "nobody reads in it what the old file did not show");
    assert!(!output.publish(&budget()).unwrap().created);
    assert_eq!((content(&workspace, "work/a.csv").as_str(), bits("work/a.csv")), ("new", 0o640));
    assert_eq!(names(&workspace, "work"), ["a.csv", "b.csv"]);
}

#[test]
fn where_a_write_is_refused_an_output_is_too() {
    let workspace = Workspace::new();
    workspace.file("work/a.csv", "old").file("outside/x.csv", "x").file("work/dir/x", "");
    workspace.link("work/out.csv", workspace.disk("outside/x.csv"));
    workspace.link("work/env.csv", ".env");
    fs::hard_link(workspace.disk("work/a.csv"), workspace.disk("work/twice.csv")).unwrap();
    let policy = writable(&workspace, |root| {
        root.hardlinks = Hardlinks::Deny;
        root.patterns.write_exclude = vec!["dir/frozen/**".to_owned()];
    });
    let rule = |path: &str| {
        let fault = begin(&policy, path, OVER).unwrap_err();
        fault.rule().map_or_else(|| fault.kind().code().to_owned(), |rule| rule.name.to_owned())
    };
    for (path, expected) in [
        ("/work/.env", "exclude"),
        ("/work/.roothold-00000000000000000000000000000000-1800000000.tmp", "exclude"),
        ("/work/env.csv", "exclude"),
        ("/work/out.csv", "roots"),
        ("/elsewhere/a.csv", "roots"),
        ("/work/dir/frozen/a.csv", "write_exclude"),
        ("/work/twice.csv", "hardlinks"),
        ("/work/dir", "unsupported"),
        ("/work/new/", "invalid"),
        ("/work/a.csv/b.csv", "conflict"),
    ] {
        assert_eq!(rule(path), expected, "{path}");
    }
    let read_only = writable(&workspace, |root| root.access = Access::ReadOnly);
    assert_eq!(begin(&read_only, "/work/b.csv", NEW).unwrap_err().kind(), FaultKind::Denied);
    assert_eq!(names(&workspace, "work/dir"), ["x"]);
    assert!(!names(&workspace, "work").iter().any(|name| name.contains("roothold")));
}

#[test]
fn a_file_that_is_not_finished_is_gone_and_a_kept_one_stays_hidden() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    drop(begin(&policy, "/work/a.csv", NEW).unwrap());
    assert!(names(&workspace, "work").is_empty());
    let mut kept = begin_kept(&policy, "/work/a.csv", NEW).unwrap();
    kept.append(b"half").unwrap();
    let mark = kept.mark().unwrap();
    drop(kept);
    let name = String::from(mark.name.clone());
    assert_eq!(names(&workspace, "work"), [name.as_str()]);
    assert_eq!(
        decide(&policy, Verb::Read, &format!("/work/{name}")).unwrap_err().rule().unwrap().name,
        "exclude"
    );
    // Neither a start after a crash nor a later write takes it away.
    let left = Left { target: "/work/a.csv".to_owned(), temp: name.clone() };
    assert_eq!(sweep_left(&policy, &[left]), 0);
    drop(begin(&policy, "/work/b.csv", NEW).unwrap());
    assert_eq!(names(&workspace, "work"), [name.as_str()]);
    assert!(mark.name.remove(&permit(&policy, "/work/a.csv")).unwrap());
    assert!(!mark.name.remove(&permit(&policy, "/work/a.csv")).unwrap());
    assert!(names(&workspace, "work").is_empty());
    let mut kept = begin_kept(&policy, "/work/a.csv", NEW).unwrap();
    kept.append(b"whole").unwrap();
    kept.publish(&budget()).unwrap();
    assert_eq!(names(&workspace, "work"), ["a.csv"]);
    begin_kept(&policy, "/work/c.csv", NEW).unwrap().discard();
    assert_eq!(names(&workspace, "work"), ["a.csv"]);
}

#[test]
fn only_names_that_say_until_when_are_of_kept_files() {
    let hex = "0123456789abcdef0123456789abcdef";
    let parse = |name: String| serde_json::from_value::<KeptName>(name.into());
    assert!(parse(format!(".roothold-{hex}-1800000000.tmp")).is_ok());
    for name in [
        format!(".roothold-{hex}.tmp"),
        format!("../.roothold-{hex}-1800000000.tmp"),
        format!(".roothold-{hex}-18000000000.tmp"),
        "a.csv".to_owned(),
    ] {
        assert!(parse(name.clone()).is_err(), "{name}");
    }
}

#[test]
fn what_grows_too_large_is_refused_and_what_is_cut_hashes_as_what_is_left() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let options = OutputOptions { overwrite: false, bytes_max: 5 };
    let mut output = begin(&policy, "/work/a.csv", options).unwrap();
    output.append(b"12345").unwrap();
    assert_eq!(output.append(b"6").unwrap_err().kind(), FaultKind::Limit);
    assert_eq!(output.truncate(6).unwrap_err().kind(), FaultKind::Conflict);
    output.truncate(5).unwrap();
    output.truncate(2).unwrap();
    output.append(b"abc").unwrap();
    let written = output.publish(&budget()).unwrap();
    assert_eq!(written.hash, content_hash(b"12abc"));
    assert_eq!(content(&workspace, "work/a.csv"), "12abc");
}

#[test]
fn somebody_else_goes_on_and_a_sleeper_that_wakes_up_changes_nothing() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let mut sleeper = begin_kept(&policy, "/work/a.csv", NEW).unwrap();
    sleeper.append(b"first ").unwrap();
    let mark = sleeper.mark().unwrap();
    sleeper.append(b"not committed").unwrap();
    let mut other = take_over(&policy, "/work/a.csv", &mark).unwrap();
    assert_eq!(other.bytes(), 6);
    sleeper.truncate(0).unwrap();
    sleeper.append(b"late").unwrap();
    other.append(b"second").unwrap();
    assert!(mark.name.remove(&permit(&policy, "/work/a.csv")).unwrap());
    sleeper.append(b"later").unwrap();
    let fault = sleeper.publish(&budget()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    let written = other.publish(&budget()).unwrap();
    assert_eq!(content(&workspace, "work/a.csv"), "first second");
    assert_eq!(written.hash, content_hash(b"first second"));
    assert_eq!(names(&workspace, "work"), ["a.csv"]);
}

#[test]
fn what_was_published_right_before_a_crash_is_gone_on_with_where_it_is() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let mut output = begin_kept(&policy, "/work/a.csv", NEW).unwrap();
    output.append(b"all ").unwrap();
    let mark = output.mark().unwrap();
    output.append(b"of it").unwrap();
    output.publish(&budget()).unwrap();
    let before = fs::metadata(workspace.disk("work/a.csv")).unwrap().ino();
    let mut again = take_over(&policy, "/work/a.csv", &mark).unwrap();
    again.append(b"of it").unwrap();
    again.publish(&budget()).unwrap();
    assert_eq!(fs::metadata(workspace.disk("work/a.csv")).unwrap().ino(), before);
    // What is not the same is somebody's.
    let mut again = take_over(&policy, "/work/a.csv", &mark).unwrap();
    again.append(b"of ix").unwrap();
    assert_eq!(again.publish(&budget()).unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(content(&workspace, "work/a.csv"), "all of it");
}

#[test]
fn nobody_elses_file_is_gone_on_with() {
    let workspace = Workspace::new();
    workspace.file("outside/secret", "first and more");
    let policy = plain(&workspace);
    let mut output = begin_kept(&policy, "/work/a.csv", NEW).unwrap();
    output.append(b"first").unwrap();
    let mark = output.mark().unwrap();
    drop(output);
    let path = workspace.disk(&format!("work/{}", String::from(mark.name.clone())));
    let refused = || {
        let fault = take_over(&policy, "/work/a.csv", &mark).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Conflict, "{fault}");
    };
    for other in ["fir", "firsX", "", "xfirst"] {
        fs::write(&path, other).unwrap();
        refused();
    }
    fs::remove_file(&path).unwrap();
    refused();
    // Of the very bytes, but behind a link, or under a second name.
    symlink(workspace.disk("outside/secret"), &path).unwrap();
    refused();
    fs::remove_file(&path).unwrap();
    fs::hard_link(workspace.disk("outside/secret"), &path).unwrap();
    refused();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused();
    fs::remove_dir(&path).unwrap();
    workspace.file("work/a.csv", "FIRST and more");
    refused();
    assert_eq!(names(&workspace, "work"), ["a.csv"], "no half a copy is left");
}

#[test]
fn a_directory_that_was_moved_meanwhile_gets_no_file() {
    let workspace = Workspace::new();
    fs::create_dir_all(workspace.disk("work/here")).unwrap();
    let policy = plain(&workspace);
    let mut output = begin(&policy, "/work/here/a.csv", NEW).unwrap();
    output.append(b"x").unwrap();
    fs::rename(workspace.disk("work/here"), workspace.disk("work/there")).unwrap();
    fs::create_dir(workspace.disk("work/here")).unwrap();
    assert_eq!(output.publish(&budget()).unwrap_err().kind(), FaultKind::Busy);
    // Nor does what a link leads to that took its target's name.
    let mut output = begin(&policy, "/work/here/a.csv", OVER).unwrap();
    output.append(b"x").unwrap();
    workspace.file("work/.env", "secret");
    workspace.link("work/here/a.csv", "../.env");
    assert!(output.publish(&budget()).is_err());
    assert_eq!(content(&workspace, "work/.env"), "secret");
    assert!(names(&workspace, "work/there").is_empty());
    assert_eq!(names(&workspace, "work/here"), ["a.csv"]);
}

#[test]
fn a_cancelled_call_publishes_nothing() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let cancelled = budget();
    cancelled.cancel();
    let path = "/work/sub/a.csv";
    let fault = OutputFile::begin(&permit(&policy, path), NEW, &cancelled).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Cancelled);
    let mut output = begin(&policy, path, NEW).unwrap();
    output.append(b"x").unwrap();
    assert_eq!(output.publish(&cancelled).unwrap_err().kind(), FaultKind::Cancelled);
    let mut kept = begin_kept(&policy, path, NEW).unwrap();
    kept.append(b"x").unwrap();
    let mark = kept.mark().unwrap();
    let own = permit(&policy, path);
    let name = KeptName::new(&own, in_an_hour()).unwrap();
    let fault = OutputFile::take_over(&own, &mark, &name, NEW, &cancelled).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Cancelled);
    kept.discard();
    // Nor is the directory left that was made for it.
    assert!(names(&workspace, "work").is_empty());
}

#[test]
fn what_would_be_refused_is_known_ahead_and_nothing_is_made_by_looking() {
    let workspace = Workspace::new();
    workspace.file("work/there.csv", "old");
    fs::create_dir_all(workspace.disk("work/dir")).unwrap();
    let policy = plain(&workspace);
    let look =
        |path: &str, options| OutputFile::look_ahead(&permit(&policy, path), options, &budget());
    let before = names(&workspace, "work");
    for (path, options, refused) in [
        ("/work/there.csv", NEW, Some(FaultKind::Conflict)),
        ("/work/there.csv", OVER, None),
        ("/work/new.csv", NEW, None),
        ("/work/a/b/new.csv", NEW, None),
        ("/work/dir", OVER, Some(FaultKind::Unsupported)),
        ("/work/dir/", NEW, Some(FaultKind::Invalid)),
        ("/work/there.csv/new.csv", NEW, Some(FaultKind::Conflict)),
    ] {
        let kind = look(path, options).err().map(|fault| fault.kind());
        assert_eq!(kind, refused, "{path}");
        let begun = begin(&policy, path, options).err().map(|fault| fault.kind());
        assert_eq!(kind, begun, "{path}");
    }
    assert_eq!(names(&workspace, "work"), before);
    assert_eq!(fs::read(workspace.disk("work/there.csv")).unwrap(), b"old");
}
