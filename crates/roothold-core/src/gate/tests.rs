//! What the kernel says of handles, and what is made of it.

#![expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]

use std::fs;

use rustix::fs::fcntl_getfl;
use rustix::io::{FdFlags, fcntl_getfd};

use super::*;
use crate::testing::{Mounted, Workspace, decide, policy};
use crate::{Access, Policy, PolicySpec, RootSpec};

#[test]
fn what_was_removed_while_it_was_resolved_has_no_path() {
    let workspace = Workspace::new();
    workspace.file("work/f", "x").file("work/d/f", "x").file("work/g (deleted)", "x");
    let root = Root::open(&workspace.root("work")).unwrap();
    let (base, prefix, _) = root.base(b"");
    let above = link_of(base).unwrap();
    let open = |rel: &str| openat2(base, rel, LOOK, Mode::empty(), BENEATH).unwrap();
    let at = |handle: &OwnedFd| whereabouts(&root, (&above, prefix), handle);
    let (file, directory, named) = (open("f"), open("d"), open("g (deleted)"));
    assert_eq!(at(&file).unwrap(), b"f");
    assert_eq!(at(&named).unwrap(), b"g (deleted)", "a file may be called so");
    fs::remove_file(workspace.disk("work/f")).unwrap();
    fs::remove_dir_all(workspace.disk("work/d")).unwrap();
    assert_eq!(at(&file).unwrap_err(), Errno::AGAIN);
    assert_eq!(at(&directory).unwrap_err(), Errno::AGAIN);
    // Another file by the name that the kernel says, and another name of the removed one.
    workspace.file("work/f (deleted)", "another");
    assert_eq!(at(&file).unwrap_err(), Errno::AGAIN);
    fs::hard_link(workspace.disk("work/g (deleted)"), workspace.disk("work/h")).unwrap();
    fs::remove_file(workspace.disk("work/g (deleted)")).unwrap();
    assert_eq!(at(&named).unwrap_err(), Errno::AGAIN);
}

/// Directory `d` with a file, links to both, and something outside.
fn entries(workspace: &Workspace) -> &Workspace {
    workspace.file("work/f", "x").file("work/d/f", "x").file("outside", "x");
    workspace.link("work/l", "f").link("work/k", "d").link("work/out", "../outside")
}

fn permit(policy: &Policy, verb: Verb, path: &str) -> Permit {
    decide(policy, verb, path).unwrap()
}

/// Whether a handle was opened with these, and closes when another program is started.
fn has(handle: &OwnedFd, flags: OFlags) -> bool {
    fcntl_getfl(handle).unwrap().contains(flags)
        && fcntl_getfd(handle).unwrap().contains(FdFlags::CLOEXEC)
}

fn identity(handle: &OwnedFd) -> (u64, u64) {
    let stat = fstat(handle).unwrap();
    (stat.st_dev, stat.st_ino)
}

#[test]
fn at_once_a_plain_path_is_opened_and_nothing_that_needs_a_second_look() {
    let workspace = Workspace::new();
    let root = entries(&workspace).root("work");
    workspace.file("work/mount/f", "x");
    let policy =
        policy(&[RootSpec { mounts: vec!["mount".to_owned()], ..root }], PolicySpec::default());
    let open = |path: &str| open_at_once(&permit(&policy, Verb::Read, path), Want::File);
    // The kernel may give up where it would have to wait.
    let opened = (0..1000).find_map(|_| open("/work/f")).unwrap();
    assert_eq!((opened.rel.as_slice(), kind_of(&opened.stat)), (&b"f"[..], FileType::RegularFile));
    assert!((0..1000).any(|_| open("/work/d/f").is_some()));
    for path in ["/work/l", "/work/k/f", "/work/out", "/work/d/../f", "/work/mount/f", "/work/none"]
    {
        assert!((0..100).all(|_| open(path).is_none()), "{path}");
    }
}

#[test]
fn what_is_mounted_below_is_opened_in_no_way_unless_the_root_names_it() {
    if !rustix::process::geteuid().is_root() {
        println!("not root, so nothing is mounted: a file system of the kernel's stands for it");
        let root = RootSpec {
            uri: "file:///".to_owned(),
            path: "/".into(),
            ..Workspace::new().root("work")
        };
        let policy = policy(&[root], PolicySpec::default());
        let asked = permit(&policy, Verb::Read, "/proc/version");
        assert_eq!(open(&asked, Want::File).unwrap_err().rule().unwrap().name, RULE_ROOTS);
        return;
    }
    let workspace = Workspace::new();
    let _mounted = Mounted::at(workspace.disk("work/there"));
    // A part of the same file system is a mount as well, and has the same device number.
    let outside = workspace.file("outside/secret", "x").disk("outside");
    let _bound = Mounted::by(&["--bind", outside.to_str().unwrap()], workspace.disk("work/bound"));
    let root = workspace.file("work/there/d/f", "x").root("work");
    for (mounts, allowed) in [(vec![], false), (vec!["there".to_owned()], true)] {
        let policy = policy(&[RootSpec { mounts, ..root.clone() }], PolicySpec::default());
        let asked = permit(&policy, Verb::Read, "/work/there/d/f");
        assert!((0..100).all(|_| open_at_once(&asked, Want::File).is_none()));
        let opened = open(&asked, Want::File).map_err(|fault| {
            assert!(fault.public().contains("mount point") && fault.public().contains("`mounts`"));
            fault.rule().unwrap().name
        });
        assert_eq!(opened.map(drop), if allowed { Ok(()) } else { Err(RULE_ROOTS) });
        let above = open_below(policy.roots().at(0), b"").unwrap();
        for open in [open_entry, look_up_entry] {
            assert_eq!(open(above.as_fd(), b"there").unwrap_err(), Errno::XDEV);
            assert_eq!(open(above.as_fd(), b"bound").unwrap_err(), Errno::XDEV);
        }
        assert!(stat_entry(above.as_fd(), b"there").is_none());
        assert!(stat_entry(above.as_fd(), b"bound").is_none());
        let entry = open_allowed_mount(&asked, b"there").unwrap();
        assert!(entry.as_ref().is_ok_and(|entry| has(entry, OFlags::DIRECTORY)) == allowed);
        assert_eq!(entry.map(drop), if allowed { Ok(()) } else { Err(Errno::XDEV) });
    }
}

#[test]
fn entries_are_opened_as_what_they_are_and_never_followed() {
    let workspace = Workspace::new();
    let root = Root::open(&entries(&workspace).root("work")).unwrap();
    let directory = open_below(&root, b"").unwrap();
    let at = directory.as_fd();
    let to_read = OFlags::NONBLOCK | OFlags::DIRECTORY;
    assert!(has(&directory, to_read) && has(&open_below(&root, b"d").unwrap(), to_read));
    assert!(has(&open_entry(at, b"d").unwrap(), to_read | OFlags::NOFOLLOW));
    let looked_up = look_up_entry(at, b"d").unwrap();
    assert!(has(&looked_up, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW));
    let readable = open_looked_up(looked_up.as_fd()).unwrap();
    assert!(has(&readable, to_read) && identity(&readable) == identity(&looked_up));
    for open in [open_entry, look_up_entry] {
        let refusal = |name: &str| open(at, name.as_bytes()).unwrap_err();
        assert_eq!(refusal("f"), Errno::NOTDIR);
        assert_eq!((refusal("k"), refusal("l")), (Errno::NOTDIR, Errno::NOTDIR));
        assert_eq!(refusal(".."), Errno::XDEV);
    }
    let told = stat_entry(at, b"d").unwrap();
    assert_eq!(told.stx_ino, identity(&looked_up).1);
    for name in ["f", "k", "l", "none", "..", ".", "", "../work", "/", "d/"] {
        assert!(stat_entry(at, name.as_bytes()).is_none(), "{name}");
    }
    let file = |name: &str| open_file_entry(at, name.as_bytes(), Hardlinks::Deny);
    assert!(has(&file("f").unwrap().0, OFlags::NONBLOCK | OFlags::NOFOLLOW));
    let refusal = |name: &str| file(name).unwrap_err();
    assert_eq!(refusal("d"), Unserved::Errno(Errno::NXIO));
    assert_eq!(refusal("l"), Unserved::Errno(Errno::LOOP));
    assert_eq!(refusal(".."), Unserved::Errno(Errno::XDEV));
    fs::hard_link(workspace.disk("work/f"), workspace.disk("work/g")).unwrap();
    assert_eq!(refusal("f"), Unserved::Linked);
    assert!(open_file_entry(at, b"f", Hardlinks::Allow).is_ok());
}

#[test]
fn a_mount_is_a_directory_below_and_reached_without_links() {
    let workspace = Workspace::new();
    entries(&workspace).file("beside/f", "x");
    let directory = OwnedFd::from(fs::File::open(workspace.disk("work")).unwrap());
    assert!(has(&open_mount(&directory, b"d").unwrap(), OFlags::PATH | OFlags::DIRECTORY));
    for (path, refusal) in [
        ("f", Errno::NOTDIR),
        ("k", Errno::LOOP),
        ("../beside", Errno::XDEV),
        ("none", Errno::NOENT),
    ] {
        assert_eq!(open_mount(&directory, path.as_bytes()).unwrap_err(), refusal, "{path}");
    }
}

#[test]
fn hints_are_looked_for_in_the_nearest_directory_that_is_there() {
    let workspace = Workspace::new();
    let policy = entries(&workspace).policy();
    let directory = |path: &str| identity(&fs::File::open(workspace.disk(path)).unwrap().into());
    let nearest = |path: &str| nearest_directory(&permit(&policy, Verb::Read, path));
    for (path, above) in [
        ("/work", "work"),
        ("/work/f", "work"),
        ("/work/d/f", "work/d"),
        ("/work/d/none", "work/d"),
        ("/work/d/x/y/z", "work/d"),
        ("/work/none/x", "work"),
        ("/work/dd/x", "work"),
        ("/work/f/x", "work"),
        ("/work/d/../f", "work"),
    ] {
        let found = nearest(path).unwrap();
        assert_eq!(identity(&found), directory(above), "{path}");
        assert!(has(&found, OFlags::PATH | OFlags::DIRECTORY), "{path}");
    }
    assert!(nearest("/work/k/f").is_none() && nearest("/work/k/x/y").is_none());
}

#[test]
fn what_is_not_there_is_named_as_it_was_asked_for_and_not_at_any_length() {
    let workspace = Workspace::new();
    let policy = workspace.policy();
    let said = |verb: Verb, path: &str| not_found(&permit(&policy, verb, path)).public().to_owned();
    let file = said(Verb::Read, "/work/none");
    assert!(file.contains("no such file or directory: /work/none;"), "{file}");
    let directory = said(Verb::List, "/work/none");
    assert!(directory.contains("no such directory: /work/none;"), "{directory}");
    assert!(directory.contains("get_file_info") && !file.contains("get_file_info"));
    let long = said(Verb::Read, &format!("/work{}", "/abcdefghi".repeat(30)));
    assert!(long.contains("abcd…;") && long.len() < 400, "{long}");
}

#[test]
fn places_are_looked_at_with_handles_that_wait_for_nothing() {
    let workspace = Workspace::new();
    let mut root = entries(&workspace).root("work");
    root.access = Access::ReadWrite;
    let policy = policy(&[root], PolicySpec::default());
    let to_read = OFlags::NONBLOCK | OFlags::DIRECTORY;
    let write = |path: &str| permit(&policy, Verb::Write, path);
    let asked = write("/work/d/f");
    let mut place = place::locate(&asked, place::Last::Follow).unwrap();
    assert!(has(&place.parent, to_read));
    assert!(has(&place.open(&asked).unwrap().0, OFlags::NONBLOCK | OFlags::NOFOLLOW));
    // A name is never more than one below its directory.
    place.name = b"..".to_vec();
    assert_eq!(place.open(&asked).unwrap_err().rule().unwrap().name, RULE_ROOTS);
    let again = place.look_again(&asked, place::Last::Itself).unwrap_err();
    assert_eq!(again.rule().unwrap().name, RULE_ROOTS);
    let deepest = place::deepest(&write("/work/d/x/y")).unwrap();
    assert!(has(&deepest.handle, to_read));
    assert_eq!((deepest.rel, deepest.missing), (b"d".to_vec(), vec![b"x".to_vec(), b"y".to_vec()]));
}

#[test]
fn a_place_that_is_moved_away_is_not_made_anything_in() {
    let workspace = Workspace::new();
    let mut root = entries(&workspace).root("work");
    root.access = Access::ReadWrite;
    let policy = policy(&[root], PolicySpec::default());
    let asked = permit(&policy, Verb::Write, "/work/d/x/y");
    let deepest = place::deepest(&asked).unwrap();
    deepest.stays(&asked).unwrap();
    fs::rename(workspace.disk("work/d"), workspace.disk("work/moved")).unwrap();
    assert_eq!(deepest.stays(&asked).unwrap_err().kind(), FaultKind::Busy);
}

#[test]
fn a_place_behind_a_link_and_dot_dot_is_where_the_kernel_goes() {
    let workspace = Workspace::new();
    let mut root = workspace.file("work/x/y/f", "x").file("work/f", "x").root("work");
    workspace.link("work/k", "x/y").link("work/g/m", "../x/y");
    root.access = Access::ReadWrite;
    let policy = policy(&[root], PolicySpec::default());
    let rel = |path: &str, last| {
        let asked = permit(&policy, Verb::Write, path);
        place::locate(&asked, last).map(|place| String::from_utf8(place.rel).unwrap())
    };
    for last in [place::Last::Follow, place::Last::Itself] {
        assert_eq!(rel("/work/k/../f", last).unwrap(), "x/f");
        assert_eq!(rel("/work/k/f", last).unwrap(), "x/y/f");
        assert_eq!(rel("/work/x/y/../../f", last).unwrap(), "f");
        assert_eq!(rel("/work/g/m/..", last).unwrap(), "x");
        // A slash behind it asks for a directory.
        assert_eq!(rel("/work/x/", last).unwrap(), "x");
        assert_eq!(rel("/work/f/", last).unwrap_err().kind(), FaultKind::NotFound);
        assert_eq!(rel("/work/none/", last).unwrap(), "none");
    }
    assert_eq!(rel("/work/k", place::Last::Follow).unwrap(), "x/y");
    assert_eq!(rel("/work/k", place::Last::Itself).unwrap(), "k");
}

#[test]
fn a_directory_behind_a_link_is_looked_at_as_one() {
    let workspace = Workspace::new();
    let root = entries(&workspace).root("work");
    let spec = PolicySpec { read: vec!["*.md".to_owned()], ..PolicySpec::default() };
    let policy = policy(&[root], spec);
    let look = |path: &str| open(&permit(&policy, Verb::Stat, path), Want::Either);
    // Directories can be looked at, whatever can be read.
    assert_eq!(look("/work/k").unwrap().rel, b"d");
    assert_eq!(look("/work/k/").unwrap().rel, b"d");
    for path in ["/work/f", "/work/l", "/work/l/", "/work/f/"] {
        assert!(look(path).is_err(), "{path}");
    }
}

#[test]
fn links_are_followed_as_text_as_far_as_the_kernel_follows_them() {
    let workspace = Workspace::new();
    entries(&workspace).link("work/odd", ".//d/./../d//f").link("work/away", "/work/d");
    workspace.link("work/1", "d");
    for n in 2..=41 {
        workspace.link(&format!("work/{n}"), (n - 1).to_string());
    }
    let policy = workspace.policy();
    let asked = permit(&policy, Verb::Read, "/work/f");
    let (root, rules) = asked.root().unwrap();
    let text = |path: &str| {
        let found = follow::follow(root, rules, path.as_bytes()).unwrap();
        found.map(|found| String::from_utf8(found).unwrap())
    };
    let leads = |to: &str| Some(to.to_owned());
    assert_eq!((text("f"), text("l"), text("k/f")), (leads("f"), leads("f"), leads("d/f")));
    assert_eq!(
        (text("odd"), text("k/../f"), text("none/x")),
        (leads("d/f"), leads("f"), leads("none/x"))
    );
    assert_eq!(text("none/deep/../x"), leads("none/x"));
    assert_eq!(text("none/deep/../../f"), leads("f"));
    assert_eq!((text("40/f"), text("41/f")), (leads("d/f"), None));
    assert_eq!((text("away/f"), text("out"), text("..")), (None, None, None));
    assert_eq!(open_exact(root, b"d", LOOK).map(drop), Ok(()));
    assert_eq!(resolve(root, b"40/f"), Ok(b"d/f".to_vec()));
    assert_eq!(resolve(root, b"41/f"), Err(Errno::LOOP));
}
