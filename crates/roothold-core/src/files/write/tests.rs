//! Writing, on real files: what is kept, what is refused, and what is left when it fails.

#![expect(
    clippy::disallowed_methods,
    reason = "fixtures are made on disk, in a temporary directory"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;
use crate::files::{Made, make_directory, read_text_unhashed};
use crate::testing::{Mounted, Workspace, budget, decide, policy};
use crate::{Access, Hardlinks, Policy, PolicySpec, RootSpec, Verb};

fn writable(workspace: &Workspace, change: impl FnOnce(&mut RootSpec)) -> Policy {
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    change(&mut root);
    policy(&[root], PolicySpec::default())
}

fn plain(workspace: &Workspace) -> Policy {
    writable(workspace, |_| {})
}

fn put(policy: &Policy, path: &str, content: &str) -> Result<Written, Fault> {
    put_if(policy, path, content, None)
}

fn put_if(
    policy: &Policy,
    path: &str,
    content: &str,
    if_match: Option<&str>,
) -> Result<Written, Fault> {
    let options = WriteOptions { precondition: Precondition::parse(if_match)?, dry_run: false };
    let permit = decide(policy, Verb::Write, path)?;
    let read = decide(policy, Verb::Read, path).ok();
    write(&permit, read.as_ref(), content.as_bytes(), &options, &budget())
}

fn make(policy: &Policy, path: &str) -> Result<Made, Fault> {
    let permit = decide(policy, Verb::Write, path)?;
    make_directory(&permit, &WriteOptions::default(), &budget())
}

fn rule<T: std::fmt::Debug>(result: Result<T, Fault>) -> &'static str {
    result.unwrap_err().rule().map_or("none", |rule| rule.name)
}

/// Everything below a directory, temporary files included.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.push(path.to_string_lossy().into_owned());
    }
    found
}

fn no_temp(workspace: &Workspace) {
    let left = tree(&workspace.disk("")).into_iter().find(|path| path.contains(".roothold-"));
    assert_eq!(left, None);
}

#[test]
fn a_file_is_made_and_replaced_and_its_hash_is_that_of_a_read() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let first = put(&policy, "/work/a.txt", "one").unwrap();
    assert!(first.created && first.remarks.is_empty());
    assert_eq!((first.path.as_str(), first.bytes), ("/work/a.txt", 3));
    let second = put_if(&policy, "/work/a.txt", "two", Some(&first.hash)).unwrap();
    assert!(!second.created);
    assert_eq!(fs::read_to_string(workspace.disk("work/a.txt")).unwrap(), "two");
    let read = decide(&policy, Verb::Read, "/work/a.txt").unwrap();
    let page = crate::files::read_text(&read, crate::files::TextRange::Whole, None, &budget());
    assert_eq!(page.unwrap().hash, second.hash);
    assert!(read_text_unhashed(&read, None, &budget()).is_ok());
    no_temp(&workspace);
}

#[test]
fn a_precondition_that_does_not_hold_changes_nothing_and_tells_the_hash() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let policy = plain(&workspace);
    let hash = content_hash(b"old");
    let other = content_hash(b"other");
    let fault = put_if(&policy, "/work/a.txt", "new", Some(&other)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(fault.public().contains(&hash), "{fault}");
    let fault = put_if(&policy, "/work/a.txt", "new", Some("none")).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(!fault.public().contains(&hash), "{fault}");
    let fault = put_if(&policy, "/work/b.txt", "new", Some(&hash)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    // Nor is a directory made for a file that may not be.
    let fault = put_if(&policy, "/work/c/b.txt", "new", Some(&hash)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert_eq!(fs::read_dir(workspace.disk("work")).unwrap().count(), 1);
    let version =
        crate::files::read::version_of(&rustix::fs::stat(workspace.disk("work/a.txt")).unwrap());
    put_if(&policy, "/work/a.txt", "new", Some(&version)).unwrap();
    let fault = put_if(&policy, "/work/a.txt", "newer", Some(&version)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    put_if(&policy, "/work/c.txt", "new", Some("none")).unwrap();
}

#[test]
fn the_content_is_told_of_only_to_those_who_may_read() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    let spec = PolicySpec { read: vec!["*.md".to_owned()], ..PolicySpec::default() };
    let policy = policy(&[root], spec);
    put(&policy, "/work/a.txt", "new").unwrap();
    let hash = content_hash(b"new");
    let permit = decide(&policy, Verb::Write, "/work/a.txt").unwrap();
    let options = WriteOptions { precondition: Precondition::Content(hash), dry_run: false };
    // The permit of another file is none.
    let other = decide(&policy, Verb::Read, "/work/b.md").unwrap();
    for read in [None, Some(&other)] {
        let fault = write(&permit, read, b"newer", &options, &budget()).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Internal);
    }
    assert_eq!(rule(decide(&policy, Verb::Read, "/work/a.txt")), "read");
    assert_eq!(fs::read(workspace.disk("work/a.txt")).unwrap(), b"new");
}

#[test]
fn what_may_not_be_written_is_refused_and_stays_as_it_is() {
    let workspace = Workspace::new();
    workspace
        .file("work/hello.txt", "PUBLIC")
        .file("work/.env", "SECRET")
        .file("work/kept/k.txt", "KEPT")
        .file("outside/target.txt", "OUTSIDE")
        .link("work/out", workspace.disk("outside/target.txt"))
        .link("work/outdir", "../outside")
        .link("work/readme.md", ".env")
        .link("work/nothing", "not-there")
        .link("work/nothing-excluded", "sub/.env")
        .link("work/in", "hello.txt");
    let policy = writable(&workspace, |root| {
        root.patterns.write_exclude = vec!["kept/**".to_owned()];
    });
    let before = tree(&workspace.disk(""));
    for (path, wanted) in [
        ("/work", "root_itself"),
        ("/work/.", "root_itself"),
        ("/work/kept/..", "root_itself"),
        ("/work/.env", "exclude"),
        ("/work/.ENV", "exclude"),
        ("/work/new/.env", "exclude"),
        ("/work/.roothold-0123456789abcdef0123456789abcdef.tmp", "exclude"),
        ("/work/kept/k.txt", "write_exclude"),
        ("/work/hello/../kept/k.txt", "write_exclude"),
        ("/work/out", "roots"),
        ("/work/outdir/planted.txt", "roots"),
        ("/work/outdir/planted/x.txt", "roots"),
        ("/work/../outside/planted.txt", "roots"),
        ("/work/readme.md", "exclude"),
        ("/work/nothing-excluded", "exclude"),
        ("/outside/target.txt", "roots"),
    ] {
        assert_eq!(rule(put(&policy, path, "PWNED")), wanted, "{path}");
        assert_eq!(rule(make(&policy, path)), wanted, "{path}");
    }
    assert_eq!(put(&policy, "/work/nothing", "x").unwrap_err().kind(), FaultKind::NotFound);
    assert_eq!(put(&policy, "/work/kept", "x").unwrap_err().kind(), FaultKind::Unsupported);
    assert_eq!(put(&policy, "/work/hello.txt/x", "x").unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(make(&policy, "/work/hello.txt").unwrap_err().kind(), FaultKind::Conflict);
    assert_eq!(put(&policy, "/work/new/", "x").unwrap_err().kind(), FaultKind::Invalid);
    assert_eq!(tree(&workspace.disk("")), before);
    assert_eq!(fs::read(workspace.disk("outside/target.txt")).unwrap(), b"OUTSIDE");
    // A link to a file that may be written is that file, and stays a link.
    assert_eq!(put(&policy, "/work/in", "NEW").unwrap().path, "/work/hello.txt");
    assert!(workspace.disk("work/in").is_symlink());
    assert_eq!(fs::read(workspace.disk("work/hello.txt")).unwrap(), b"NEW");
}

#[test]
fn a_read_only_root_takes_nothing() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let policy = workspace.policy();
    assert_eq!(rule(put(&policy, "/work/a.txt", "new")), "access");
    assert_eq!(rule(put(&policy, "/work/b.txt", "new")), "access");
    assert_eq!(rule(make(&policy, "/work/d")), "access");
    assert_eq!(fs::read_dir(workspace.disk("work")).unwrap().count(), 1);
}

#[test]
fn missing_directories_are_made_as_far_as_policy_lets_them() {
    let workspace = Workspace::new();
    let policy = writable(&workspace, |root| {
        root.patterns.write =
            Some(vec!["deep/**".to_owned(), "deep".to_owned(), "*.md".to_owned()]);
    });
    let fault = put(&policy, "/work/other/a.md", "x").unwrap_err();
    assert!(fault.public().contains("a directory on the way is missing"), "{}", fault.public());
    assert_eq!(rule::<()>(Err(fault)), "write");
    assert!(!workspace.disk("work/other").exists());
    let written = put(&policy, "/work/deep/er/still/a.txt", "x").unwrap();
    assert_eq!(written.path, "/work/deep/er/still/a.txt");
    assert_eq!(make(&policy, "/work/deep/er/still").unwrap().created, 0);
    assert_eq!(make(&policy, "/work/deep/b/c/").unwrap().created, 2);
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let permit = decide(&policy, Verb::Write, "/work/deep/dry/run.txt").unwrap();
    let would = write(&permit, None, b"xyz", &dry, &budget()).unwrap();
    assert!(would.created && would.bytes == 3);
    assert!(!workspace.disk("work/deep/dry").exists());
}

#[test]
fn mode_is_kept_but_no_set_id_bit_and_what_is_protected_stays() {
    let workspace = Workspace::new();
    workspace.file("work/run.sh", "old");
    let policy = plain(&workspace);
    let file = workspace.disk("work/run.sh");
    for (mode, kept) in [(0o755, 0o755), (0o640, 0o640), (0o4711, 0o711), (0o600, 0o600)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        put(&policy, "/work/run.sh", "new").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, kept);
    }
    put(&policy, "/work/new.txt", "x").unwrap();
    let made = fs::metadata(workspace.disk("work/new.txt")).unwrap().mode();
    assert_eq!(made & 0o111, 0, "a new file is no program");
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(rule(put(&policy, "/work/run.sh", "newer")), "file_mode");
        return;
    }
    // Root may give a file away; then the owner is kept.
    rustix::fs::chown(
        &file,
        Some(rustix::fs::Uid::from_raw(1234)),
        Some(rustix::fs::Gid::from_raw(2345)),
    )
    .unwrap();
    let written = put(&policy, "/work/run.sh", "newer").unwrap();
    assert_eq!(written.remarks, [""; 0]);
    let stat = fs::metadata(&file).unwrap();
    assert_eq!((stat.uid(), stat.gid()), (1234, 2345));
}

#[test]
fn extended_attributes_of_the_user_are_kept() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let file = workspace.disk("work/a.txt");
    let flags = rustix::fs::XattrFlags::empty();
    match rustix::fs::setxattr(&file, "user.origin", b"scanner 7", flags) {
        // Then there is nothing to keep.
        Err(rustix::io::Errno::OPNOTSUPP) => return,
        result => result.unwrap(),
    }
    let written = put(&plain(&workspace), "/work/a.txt", "new").unwrap();
    assert_eq!(written.remarks, [""; 0]);
    let mut value = [0u8; 64];
    let len = rustix::fs::getxattr(&file, "user.origin", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"scanner 7");
}

#[test]
fn a_file_with_another_name_is_refused_or_parted_from_it() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    fs::hard_link(workspace.disk("work/a.txt"), workspace.disk("other.txt")).unwrap();
    assert_eq!(rule(put(&plain(&workspace), "/work/a.txt", "new")), "hardlinks");
    let allowing = writable(&workspace, |root| root.hardlinks = Hardlinks::Allow);
    put(&allowing, "/work/a.txt", "new").unwrap();
    assert_eq!(fs::read(workspace.disk("other.txt")).unwrap(), b"old");
}

#[test]
fn special_files_are_left_alone() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, workspace.disk("work/pipe"), kind, mode, 0).unwrap();
    assert_eq!(rule(put(&policy, "/work/pipe", "x")), "special_files");
    assert!(tree(&workspace.disk("work")).iter().any(|path| path.ends_with("pipe")));
}

#[test]
fn what_is_cancelled_leaves_the_old_file_and_nothing_else() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let policy = plain(&workspace);
    let permit = decide(&policy, Verb::Write, "/work/a.txt").unwrap();
    let place = locate(&permit, Last::Follow).unwrap();
    let budget = budget();
    budget.cancel();
    let found = place.found;
    let old = found.as_ref().map(|stat| (stat, None));
    let fault = replace(&permit, &place, old, b"new", &budget).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Cancelled);
    assert!(!budget.had_effect());
    assert_eq!(fs::read(workspace.disk("work/a.txt")).unwrap(), b"old");
    no_temp(&workspace);
}

#[test]
fn a_file_that_another_program_changes_meanwhile_is_not_overwritten() {
    let workspace = Workspace::new();
    workspace.file("work/a.txt", "old");
    let policy = plain(&workspace);
    let permit = decide(&policy, Verb::Write, "/work/a.txt").unwrap();
    let place = locate(&permit, Last::Follow).unwrap();
    let found = place.found.unwrap();
    fs::write(workspace.disk("work/a.txt"), "theirs, longer").unwrap();
    let fault = replace(&permit, &place, Some((&found, None)), b"new", &budget()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    // A name that must be free, and no longer is.
    let fault = replace(&permit, &place, None, b"new", &budget()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert_eq!(fs::read(workspace.disk("work/a.txt")).unwrap(), b"theirs, longer");
    no_temp(&workspace);
}

#[test]
fn a_directory_that_vanishes_or_moves_is_noticed() {
    let workspace = Workspace::new();
    workspace.file("work/d/a.txt", "old");
    let policy = plain(&workspace);
    let permit = decide(&policy, Verb::Write, "/work/d/b.txt").unwrap();
    let mut place = locate(&permit, Last::Follow).unwrap();
    fs::rename(workspace.disk("work/d"), workspace.disk("gone")).unwrap();
    let fault = place.look_again(&permit, Last::Follow).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Busy);
    fs::remove_dir_all(workspace.disk("gone")).unwrap();
    let fault = replace(&permit, &place, None, b"new", &budget()).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NotFound);
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else() {
    let workspace = Workspace::new();
    let name = |digit: &str| format!(".roothold-{}.tmp", digit.repeat(32));
    workspace
        .file(&format!("work/d/{}", name("a")), "")
        .file(&format!("work/d/{}", name("b")), "")
        .file(&format!("outside/{}", name("a")), "")
        .file("work/d/keep.txt", "");
    let left = |target: &str, temp: &str| crate::audit::Left {
        target: target.to_owned(),
        temp: temp.to_owned(),
    };
    let policy = plain(&workspace);
    let swept = crate::files::sweep_left(
        &policy,
        &[
            left("/work/d/a.txt", &name("a")),
            left("/work/d/a.txt", "keep.txt"),
            left("/work/d/a.txt", "../d/keep.txt"),
            left("/work/../outside/a.txt", &name("a")),
            left("/work/none/a.txt", &name("a")),
            left("not…[3 bytes cut]", &name("b")),
        ],
    );
    assert_eq!(swept, 1);
    assert!(!workspace.disk(&format!("work/d/{}", name("a"))).exists());
    assert!(workspace.disk(&format!("work/d/{}", name("b"))).exists());
    assert!(workspace.disk(&format!("outside/{}", name("a"))).exists());
    assert!(workspace.disk("work/d/keep.txt").exists());
}

#[test]
fn our_temporary_files_are_hidden_from_every_door() {
    let workspace = Workspace::new();
    let temp = format!(".roothold-{}.tmp", "0".repeat(32));
    workspace.file(&format!("work/{temp}"), "SECRET").file("work/a.txt", "");
    let policy = plain(&workspace);
    for verb in [Verb::Read, Verb::Stat, Verb::Write] {
        assert_eq!(rule(decide(&policy, verb, &format!("/work/{temp}"))), "exclude");
    }
    let permit = decide(&policy, Verb::List, "/work").unwrap();
    let listing = crate::files::list(&permit, &budget()).unwrap();
    assert_eq!(listing.after(None).count(), 1);
}

#[test]
fn a_file_in_the_way_that_may_not_be_seen_answers_as_if_it_were_not_there() {
    let workspace = Workspace::new();
    workspace.file("work/there.bin", "x").file("work/seen.md", "x");
    let mut root = workspace.root("work");
    root.access = Access::ReadWrite;
    let only = || vec!["*.md".to_owned()];
    let policy =
        policy(&[root], PolicySpec { read: only(), write: only(), ..PolicySpec::default() });
    for below in ["a.md", "b.md/a.md"] {
        for name in ["there.bin", "missing.bin"] {
            let path = format!("/work/{name}/{below}");
            assert_eq!(rule(put(&policy, &path, "x")), "write", "{path}");
            assert_eq!(rule(make(&policy, &path)), "write", "{path}");
        }
        let seen = make(&policy, &format!("/work/seen.md/{below}")).unwrap_err();
        assert_eq!(seen.kind(), FaultKind::Conflict);
    }
}

#[test]
fn what_lies_at_the_temporary_name_is_neither_followed_nor_written() {
    let workspace = Workspace::new();
    workspace.file("work/f", "old").file("outside/f", "theirs");
    let policy = plain(&workspace);
    let planted = |permit: &Permit| workspace.disk("work").join(permit.temp_name().unwrap());
    for plant in ["link", "dangling", "file"] {
        let permit = decide(&policy, Verb::Write, "/work/f").unwrap();
        let place = planted(&permit);
        match plant {
            "link" => std::os::unix::fs::symlink("../outside/f", &place).unwrap(),
            "dangling" => std::os::unix::fs::symlink("../outside/new", &place).unwrap(),
            _ => fs::write(&place, "planted").unwrap(),
        }
        let read = decide(&policy, Verb::Read, "/work/f").ok();
        let written =
            write(&permit, read.as_ref(), b"new", &WriteOptions::default(), &budget()).map(drop);
        assert!(written.is_err(), "{plant}");
        assert_eq!(fs::read_to_string(workspace.disk("work/f")).unwrap(), "old", "{plant}");
    }
    assert_eq!(fs::read_to_string(workspace.disk("outside/f")).unwrap(), "theirs");
    assert!(!workspace.disk("outside/new").exists());
}

#[test]
fn directories_that_were_made_in_vain_are_gone_again() {
    if !rustix::process::geteuid().is_root() {
        println!("not root, so nothing is mounted: files::fresh tests what is removed");
        return;
    }
    let workspace = Workspace::new();
    let disk = Mounted::by(
        &["-t", "tmpfs", "-o", "size=64k,nr_inodes=8", "tmpfs"],
        workspace.disk("work"),
    );
    workspace.file("work/there/a.txt", "a");
    let policy = plain(&workspace);
    let before = tree(&workspace.disk("work"));
    let is_as_before = |result: Result<(), Fault>| {
        let fault = result.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
        assert!(fault.public().contains("nothing was changed"), "{fault}");
        assert!(!fault.public().contains("apart from that"), "{fault}");
        assert_eq!(tree(&workspace.disk("work")), before);
    };
    let large = "x".repeat(100_000);
    is_as_before(put(&policy, "/work/b/c/a.txt", &large).map(drop));
    is_as_before(put(&policy, "/work/there/c/a.txt", &large).map(drop));
    // The directories use up what the file would need, or the last of them.
    is_as_before(put(&policy, "/work/1/2/3/4/5/a.txt", "").map(drop));
    is_as_before(make(&policy, "/work/1/2/3/4/5/6/7/8/9").map(drop));
    assert_eq!(make(&policy, "/work/1/2").unwrap().created, 2);
    assert!(put(&policy, "/work/1/2/a.txt", "x").unwrap().created);
    drop(disk);
}

#[test]
fn a_cancelled_write_leaves_no_directory_and_no_effect() {
    let workspace = Workspace::new();
    let policy = plain(&workspace);
    let permit = decide(&policy, Verb::Write, "/work/a/b/c.txt").unwrap();
    let content = vec![b'x'; 64 << 20];
    let budget = budget();
    let options = WriteOptions::default();
    let made = || workspace.disk("work/a/b").exists();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&permit, None, &content, &options, &budget));
        while !made() && !writing.is_finished() {
            std::thread::yield_now();
        }
        budget.cancel();
        // It may be at its end already.
        match writing.join().unwrap() {
            Ok(written) => assert!(written.created && made() && budget.had_effect()),
            Err(fault) => {
                assert_eq!(fault.kind(), FaultKind::Cancelled, "{fault}");
                assert!(!budget.had_effect());
                assert_eq!(fs::read_dir(workspace.disk("work")).unwrap().count(), 0);
            }
        }
    });
}
