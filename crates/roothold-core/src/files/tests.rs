//! Tests of what is read and listed, on real files.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;
use crate::testing::{Workspace, budget, decide};
use crate::{Fault, FaultKind, Policy, Verb};

fn text(policy: &Policy, path: &str, range: TextRange) -> Result<TextPage, Fault> {
    read_text(&decide(policy, Verb::Read, path)?, range, None, &budget())
}

fn rule<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    result.unwrap_err().rule().map_or("none", |rule| rule.name)
}

#[test]
fn links_are_what_they_lead_to() {
    let workspace = Workspace::new();
    workspace
        .file("work/hello.txt", "PUBLIC")
        .file("work/.env", "SECRET")
        .file("work/.ssh/db.txt", "SECRET")
        .file("outside.txt", "SECRET")
        .link("work/in", "hello.txt")
        .link("work/readme.md", ".env")
        .link("work/pub", ".ssh")
        .link("work/out", workspace.disk("outside.txt"))
        .link("work/out2", "../outside.txt")
        .link("work/proc", "/proc/self/environ")
        .link("work/a", "b")
        .link("work/b", "a");
    let policy = workspace.policy();
    let whole = |path| text(&policy, path, TextRange::Whole);
    assert_eq!(whole("/work/in").unwrap().text, "PUBLIC");
    assert_eq!(whole("/work/in").unwrap().path, "/work/hello.txt");
    assert_eq!(rule(whole("/work/readme.md")), "exclude");
    assert_eq!(rule(whole("/work/pub/db.txt")), "exclude");
    assert_eq!(rule(whole("/work/out")), "roots");
    assert_eq!(rule(whole("/work/out2")), "roots");
    assert_eq!(rule(whole("/work/proc")), "roots");
    assert_eq!(whole("/work/a").unwrap_err().kind(), FaultKind::Invalid);
    let listed = decide(&policy, Verb::List, "/work/pub").unwrap();
    assert_eq!(list(&listed, &budget()).unwrap_err().rule().unwrap().name, "exclude");
}

#[test]
fn dot_dot_goes_where_the_kernel_says() {
    let workspace = Workspace::new();
    workspace
        .file("work/a/real/x", "")
        .file("work/a/b.txt", "A")
        .file("work/b.txt", "ROOT")
        .link("work/l", "a/real");
    let policy = workspace.policy();
    // As text this is /work/b.txt; the kernel goes through the link first.
    assert_eq!(text(&policy, "/work/l/../b.txt", TextRange::Whole).unwrap().text, "A");
    let fault = text(&policy, "/work/nosuch/../b.txt", TextRange::Whole).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NotFound);
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let workspace = Workspace::new();
    workspace.file("work/d/f", "").file("work/one", "x");
    mkfifoat(CWD, workspace.disk("work/pipe"), Mode::RUSR).unwrap();
    fs::hard_link(workspace.disk("work/one"), workspace.disk("work/two")).unwrap();
    let policy = workspace.policy();
    let kind = |path| text(&policy, path, TextRange::Whole).unwrap_err().kind();
    assert_eq!(kind("/work/pipe"), FaultKind::Denied);
    assert_eq!(kind("/work/d"), FaultKind::Unsupported);
    assert_eq!(kind("/work/d/f/"), FaultKind::NotFound);
    assert_eq!(rule(text(&policy, "/work/two", TextRange::Whole)), "hardlinks");
}

#[test]
fn a_hidden_file_looks_the_same_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/main.rs", "x").file("work/.env", "x");
    let spec =
        crate::PolicySpec { read: vec!["*.md".to_owned()], write: vec![], ..Default::default() };
    let policy = crate::testing::policy(&[workspace.root("work")], spec);
    let ask = |path: &str| info(&decide(&policy, Verb::Stat, path)?, &budget()).map(drop);
    let said = |path| ask(path).unwrap_err().public().to_owned();
    assert_eq!(said("/work/main.rs"), said("/work/missing.rs"));
    assert_eq!(said("/work/.env"), said("/work/zz/.env"));
    assert!(ask("/work").is_ok());
    // Nor what it is, which the kernel says of a socket; while why a directory is refused is said.
    let _socket = UnixListener::bind(workspace.disk("work/socket.rs")).unwrap();
    workspace.file("outside/f", "x").link("work/out", "../outside");
    assert_eq!(said("/work/socket.rs"), said("/work/missing.rs"));
    let listed = |path: &str| list(&decide(&policy, Verb::List, path)?, &budget()).map(drop);
    assert_eq!(rule(listed("/work/out")), "roots");
}

#[test]
fn a_way_through_an_excluded_place_does_not_tell_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/README.md", "x").file("work/.ssh/id", "x").file("work/d/.env", "x");
    for (name, here, missing) in [
        ("end", ".ssh/id", ".aws/id"),
        ("directory", ".ssh", ".aws"),
        ("through", ".ssh/../README.md", ".aws/../README.md"),
        ("deep", "d/../.ssh/id", "nosuch/../.ssh/id"),
    ] {
        workspace.link(&format!("work/{name}-1"), here);
        workspace.link(&format!("work/{name}-0"), missing);
    }
    workspace.link("work/chain-1", "end-1").link("work/chain-0", "./end-0");
    workspace.link("work/d/up-1", "../d/.env").link("work/d/up-0", "../d/.netrc");
    let policy = workspace.policy();
    for (here, missing) in [
        (".ssh/../README.md", ".aws/../README.md"),
        (".ssh/id/../../README.md", ".ssh/no/../../README.md"),
        ("d/.env/../../README.md", "d/.netrc/../../README.md"),
        ("end-1", "end-0"),
        ("directory-1/id", "directory-0/id"),
        ("directory-1/../README.md", "directory-0/../README.md"),
        ("through-1", "through-0"),
        ("deep-1", "deep-0"),
        ("chain-1", "chain-0"),
        ("d/up-1", "d/up-0"),
    ] {
        for verb in [Verb::Read, Verb::List, Verb::Stat] {
            let ask = |path: &str| {
                let permit = decide(&policy, verb, &format!("/work/{path}"))?;
                match verb {
                    Verb::Read => read_text(&permit, TextRange::Whole, None, &budget()).map(drop),
                    Verb::List => list(&permit, &budget()).map(drop),
                    _ => info(&permit, &budget()).map(drop),
                }
            };
            let rule = |path| ask(path).unwrap_err().rule().map(|rule| rule.name);
            assert_eq!(rule(here), Some("exclude"), "{verb:?} {here}");
            assert_eq!(rule(missing), Some("exclude"), "{verb:?} {missing}");
        }
    }
}

#[test]
fn a_link_whose_own_name_may_not_be_read_is_not_described_either() {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "x").link("work/name", "a.md").link("work/b.md", "a.md");
    workspace.file("work/d/x", "").link("work/to-d", "d");
    let spec = crate::PolicySpec { read: vec!["*.md".to_owned()], ..Default::default() };
    let policy = crate::testing::policy(&[workspace.root("work")], spec);
    let ask = |path| info(&decide(&policy, Verb::Stat, path).unwrap(), &budget());
    assert_eq!(ask("/work/name").unwrap_err().rule().unwrap().name, "read");
    assert!(ask("/work/b.md").is_ok() && ask("/work/to-d").is_ok());
}

#[test]
fn a_link_to_a_hidden_file_looks_the_same_whether_it_exists() {
    let workspace = Workspace::new();
    workspace.file("work/main.rs", "x").file("work/a.md", "x");
    workspace.link("work/1.md", "main.rs").link("work/0.md", "none.rs").link("work/gone", "x.md");
    let spec = crate::PolicySpec { read: vec!["*.md".to_owned()], ..Default::default() };
    let policy = crate::testing::policy(&[workspace.root("work")], spec);
    let said = |path| text(&policy, path, TextRange::Whole).unwrap_err();
    assert_eq!(said("/work/1.md").public(), said("/work/0.md").public());
    assert_eq!(said("/work/1.md").rule().unwrap().name, "read");
    workspace.link("work/gone.md", "none.md");
    assert_eq!(said("/work/gone.md").kind(), FaultKind::NotFound);
}

#[test]
fn a_listing_hides_what_policy_hides_and_shows_odd_names_reversibly() {
    let workspace = Workspace::new();
    workspace
        .file("work/b.txt", "")
        .file("work/.env", "")
        .file("work/d/x", "")
        .file("work/Z.KEY/a", "");
    let odd = std::ffi::OsStr::from_bytes(b"f\xffo.txt");
    fs::write(workspace.disk("work").join(odd), "ODD").unwrap();
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let listing = list(&permit, &budget()).unwrap();
    let names: Vec<_> = listing.after(None).map(|entry| entry.name).collect();
    assert_eq!(names, ["b.txt", "d", "file:///work/f%FFo.txt"]);
    assert_eq!(text(&policy, &names[2], TextRange::Whole).unwrap().text, "ODD");
    let rest: Vec<_> = listing.after(Some(b"b.txt")).map(|entry| entry.name).collect();
    assert_eq!(rest, names[1..]);
    let rest: Vec<_> = listing.after(Some(b"c-is-gone")).map(|entry| entry.name).collect();
    assert_eq!(rest, names[1..]);
}

fn walked(policy: &Policy, after: Option<&[u8]>, stop_after: usize) -> (Vec<String>, bool) {
    let permit = decide(policy, Verb::List, "/work").unwrap();
    let budget = budget();
    let mut walk = Walk::start(&permit, after, &budget).unwrap();
    let mut seen = Vec::new();
    let done = walk
        .run(|entry| {
            if seen.len() == stop_after {
                return Ok(Visit::Stop);
            }
            seen.push(String::from_utf8_lossy(entry.below).into_owned());
            Ok(Visit::Into)
        })
        .unwrap();
    (seen, done)
}

#[test]
fn a_walk_can_be_taken_up_after_any_entry() {
    let workspace = Workspace::new();
    for path in ["a/b/c.txt", "a/b/d.txt", "a/e", "a.b", "f/.env", "f/g/h", "z"] {
        workspace.file(&format!("work/{path}"), "");
    }
    workspace.link("work/a/loop", "..");
    let policy = workspace.policy();
    let (all, done) = walked(&policy, None, usize::MAX);
    assert!(done);
    assert_eq!(
        all,
        ["a", "a/b", "a/b/c.txt", "a/b/d.txt", "a/e", "a/loop", "a.b", "f", "f/g", "f/g/h", "z"]
    );
    for at in 0..all.len() {
        let (first, done) = walked(&policy, None, at);
        assert!(!done);
        let after = first.last().map(|path| path.as_bytes().to_vec());
        let (rest, _) = walked(&policy, after.as_deref(), usize::MAX);
        assert_eq!([first, rest].concat(), all, "taken up after {at}");
    }
}

#[test]
fn a_root_that_was_removed_is_said_to_be_removed() {
    let workspace = Workspace::new();
    workspace.file("work/a.md", "x");
    let policy = workspace.policy();
    fs::remove_dir_all(workspace.disk("work")).unwrap();
    workspace.file("work/a.md", "another");
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let (listed, walked) =
        (list(&permit, &budget()).map(|_| ()), Walk::start(&permit, None, &budget()).map(|_| ()));
    for fault in [listed.unwrap_err(), walked.unwrap_err()] {
        assert_eq!(fault.kind(), FaultKind::NotFound);
        assert!(fault.public().contains("start the server again"), "{}", fault.public());
    }
}

#[test]
fn a_walk_ends_at_its_depth_and_says_so() {
    let workspace = Workspace::new();
    workspace.file(&format!("work/{}f", "d/".repeat(WALK_DEPTH_MAX + 5)), "");
    let policy = workspace.policy();
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let budget = budget();
    let mut walk = Walk::start(&permit, None, &budget).unwrap();
    let mut deepest = 0;
    walk.run(|entry| {
        deepest = deepest.max(entry.depth);
        Ok(Visit::Into)
    })
    .unwrap();
    assert_eq!(deepest, WALK_DEPTH_MAX - 1);
    let (problems, omitted) = walk.problems();
    assert_eq!((problems.len(), omitted), (1, 0));
    assert!(problems[0].reason.contains("too deep"));
}

#[test]
fn a_swap_of_a_file_for_a_link_never_shows_the_other_file() {
    let workspace = Workspace::new();
    workspace.file("work/f.txt", "PUBLIC").file("work/.env", "SECRET").file("outside", "SECRET");
    workspace.link("work/g.txt", ".env").link("work/h.txt", "../outside");
    let policy = workspace.policy();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let at = |name: &str| workspace.disk(name);
            let swap = |a: &str, b: &str| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, at(a), cwd, at(b), flags).unwrap();
            };
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                swap("work/f.txt", "work/g.txt");
                swap("work/f.txt", "work/h.txt");
            }
        });
        let mut shown = 0;
        for _ in 0..20_000 {
            match text(&policy, "/work/f.txt", TextRange::Whole) {
                Ok(page) => {
                    assert_eq!(page.text, "PUBLIC");
                    shown += 1;
                }
                Err(fault) => assert_ne!(fault.kind(), FaultKind::Internal),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(shown > 0);
    });
}
