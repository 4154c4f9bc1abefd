#![expect(clippy::disallowed_methods, reason = "what is watched is changed on disk")]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::files::{Hint, Hints};
use crate::testing::{Workspace, budget, decide, policy};
use crate::{Policy, PolicySpec};

fn watched(policy: &Policy, path: &str) -> Watched {
    let verbs = [Verb::Read, Verb::List];
    Watched::new(verbs.into_iter().filter_map(|verb| decide(policy, verb, path).ok()).collect())
}

fn changed(watched: &mut Watched) -> bool {
    watched.look(&budget()).unwrap().changed
}

fn workspace() -> (Workspace, Policy) {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "one").file("work/d/b.md", "one").file("outside/c.md", "one");
    let policy = workspace.policy();
    (workspace, policy)
}

#[test]
fn a_file_changes_with_its_content_its_place_and_its_end() {
    let (workspace, policy) = workspace();
    let mut file = watched(&policy, "/work/a.md");
    assert!(!changed(&mut file), "the first look is the one to compare with");
    assert!(!changed(&mut file));
    workspace.file("work/a.md", "other");
    assert!(changed(&mut file));
    workspace.file("work/new", "other");
    fs::rename(workspace.disk("work/new"), workspace.disk("work/a.md")).unwrap();
    assert!(changed(&mut file), "another file of the same content");
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    assert!(changed(&mut file));
    assert!(!changed(&mut file));
    workspace.file("work/a.md", "again");
    assert!(changed(&mut file));
    assert!(!changed(&mut file));
}

#[test]
fn a_directory_changes_with_the_entries_that_may_be_seen() {
    let (workspace, policy) = workspace();
    let mut root = watched(&policy, "/work");
    let mut below = watched(&policy, "/work/d");
    assert!(!changed(&mut root) && !changed(&mut below));
    workspace.file("work/.env", "secret").file("work/id.key", "secret");
    assert!(!changed(&mut root), "an excluded entry is none");
    fs::remove_file(workspace.disk("work/.env")).unwrap();
    assert!(!changed(&mut root));
    workspace.file("work/d/b.md", "other");
    assert!(!changed(&mut below), "an entry's content is not the directory's");
    workspace.file("work/d/new.md", "");
    assert!(changed(&mut below) && !changed(&mut root), "what lies deeper has its own directory");
    fs::remove_dir_all(workspace.disk("work/d")).unwrap();
    assert!(changed(&mut below) && changed(&mut root));
    workspace.file("work/d", "a file in its place");
    assert!(changed(&mut below) && changed(&mut root));
}

#[test]
fn what_policy_no_longer_allows_is_silent() {
    let (workspace, policy) = workspace();
    let mut file = watched(&policy, "/work/a.md");
    assert!(!changed(&mut file));
    workspace.file("work/.env", "secret");
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    workspace.link("work/a.md", ".env");
    let look = file.look(&budget()).unwrap();
    assert!(!look.changed && look.handles.is_empty(), "a link to an excluded file");
    workspace.file("work/.env", "other secret");
    assert!(!changed(&mut file));
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    symlink(workspace.disk("outside/c.md"), workspace.disk("work/a.md")).unwrap();
    assert!(!changed(&mut file), "a link out of the root");
    workspace.file("outside/c.md", "other");
    assert!(!changed(&mut file));
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    fs::hard_link(workspace.disk("outside/c.md"), workspace.disk("work/a.md")).unwrap();
    assert!(!changed(&mut file), "a file with another name");
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    workspace.file("work/a.md", "mine again");
    assert!(changed(&mut file), "what may be seen again is seen");
}

#[test]
fn a_file_that_may_only_be_listed_is_not_watched_as_a_file() {
    let (workspace, _) = workspace();
    let spec = PolicySpec { read: vec!["*.txt".to_owned()], ..PolicySpec::default() };
    let policy = policy(&[workspace.root("work")], spec);
    let mut file = watched(&policy, "/work/a.md");
    assert!(!changed(&mut file));
    workspace.file("work/a.md", "other");
    assert!(!changed(&mut file));
    fs::remove_file(workspace.disk("work/a.md")).unwrap();
    assert!(!changed(&mut file), "whether it is there is not told");
}

#[test]
fn a_look_that_cannot_be_made_now_changes_nothing() {
    let (workspace, policy) = workspace();
    let mut file = watched(&policy, "/work/a.md");
    assert!(!changed(&mut file));
    workspace.file("work/a.md", "other");
    let cancelled = budget();
    cancelled.cancel();
    assert_eq!(file.look(&cancelled).unwrap_err().kind(), FaultKind::Cancelled);
    assert!(changed(&mut file), "it is found at the next");
}

fn hinted(hints: &Hints) -> Vec<Hint> {
    let mut all = Vec::new();
    while hints.read(|hint| all.push(hint)).is_ok() {}
    all
}

#[test]
fn hints_come_for_whatever_can_change_the_answer() {
    let (workspace, policy) = workspace();
    let hints = Hints::new().unwrap();
    let mut file = watched(&policy, "/work/a.md");
    let mut missing = watched(&policy, "/work/not/yet/there.md");
    let look = file.look(&budget()).unwrap();
    assert!(look.is_local);
    let [own, above] = [0, 1].map(|at| hints.add(&look.handles[at]).unwrap());
    assert_eq!(hints.add(&look.handles[0]).unwrap(), own, "the same thing has the same id");
    // An open handle keeps what it refers to.
    drop(look);
    let look = missing.look(&budget()).unwrap();
    assert_eq!(hints.add(&look.handles[0]).unwrap(), above, "the nearest that is there");
    assert!(hinted(&hints).is_empty());
    fs::write(workspace.disk("work/a.md"), "x").unwrap();
    assert!(hinted(&hints).contains(&Hint::Changed(own)));
    workspace.file("work/not/yet/there.md", "");
    assert_eq!(hinted(&hints), [Hint::Changed(above)]);
    fs::rename(workspace.disk("work/a.md"), workspace.disk("outside/moved.md")).unwrap();
    assert!(hinted(&hints).contains(&Hint::Changed(above)));
    fs::remove_file(workspace.disk("outside/moved.md")).unwrap();
    assert!(hinted(&hints).contains(&Hint::Gone(own)));
    hints.remove(above);
    workspace.file("work/another.md", "");
    assert!(!hinted(&hints).contains(&Hint::Changed(above)));
}

#[test]
fn behind_links_the_kernel_does_not_see_everything() {
    let (workspace, policy) = workspace();
    workspace.link("work/link.md", "d/b.md").link("work/way", "d");
    for path in ["/work/link.md", "/work/way/b.md"] {
        let mut file = watched(&policy, path);
        let look = file.look(&budget()).unwrap();
        assert!(!look.is_local && !look.handles.is_empty(), "{path}");
        workspace.file("work/d/b.md", format!("other for {path}"));
        assert!(changed(&mut file), "{path}");
    }
}

#[test]
fn under_another_policy_only_what_it_shows_otherwise_has_changed() {
    let (workspace, policy) = workspace();
    let excluding = PolicySpec { exclude: vec!["a.md".to_owned()], ..PolicySpec::default() };
    let other = policy.again(excluding, &[]).unwrap();
    let permits = |policy: &Policy, path: &str| watched(policy, path).permits;
    let paths = ["/work/a.md", "/work", "/work/d"];
    let mut all = paths.map(|path| watched(&policy, path));
    for one in &mut all {
        assert!(!changed(one));
        // As if it had not changed for long: then it is not read again.
        if let Some(Seen::Directory { is_quiet, .. }) = &mut one.seen {
            *is_quiet = true;
        }
    }
    let mut looks = |policy: &Policy| {
        let renewed = all.iter_mut().zip(paths).map(|(one, path)| {
            one.renew(permits(policy, path));
            changed(one)
        });
        renewed.collect::<Vec<_>>()
    };
    assert_eq!(looks(&other), [false, true, false], "what it hides is silent");
    workspace.file("work/a.md", "other");
    assert_eq!(looks(&other), [false, false, false]);
    assert_eq!(looks(&policy), [true, true, false], "what happened meanwhile is told");
    assert_eq!(looks(&policy), [false, false, false]);
}
