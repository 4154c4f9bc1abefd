#![expect(
    clippy::disallowed_methods,
    reason = "what must fail is what code around the gate would do"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use super::*;
use crate::action::Verb;
use crate::files;
use crate::testing::{Workspace, budget, decide, policy};
use crate::{Policy, PolicySpec};

/// Runs a test's body in a thread of its own: a wall is for ever, and holds a thread.
fn behind(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("walled".to_owned());
        thread.spawn_scoped(scope, test).unwrap().join().unwrap();
    });
}

fn workspace() -> (Workspace, Policy) {
    let workspace = Workspace::new();
    workspace
        .file("work/a.md", "inside")
        .file("ro/b.md", "inside")
        .file("outside/c.md", "outside")
        .file("state/old.jsonl", "line")
        .link("work/out.md", workspace.disk("outside/c.md"));
    let work = crate::RootSpec { access: Access::ReadWrite, ..workspace.root("work") };
    let policy = policy(&[work, workspace.root("ro")], PolicySpec::default());
    (workspace, policy)
}

fn denied<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The version that this kernel offers; the tests of what it holds cannot run without.
fn kernel(policy: &Policy) -> u32 {
    let mut wall = Wall::Absent { reason: "" };
    behind(|| wall = raise(policy.roots(), &Reach::default()).unwrap());
    match wall {
        Wall::Stands { abi } => abi,
        Wall::Absent { reason } => panic!("this test needs Landlock: {reason}"),
    }
}

#[test]
fn nothing_outside_can_be_opened_by_any_path() {
    let (workspace, policy) = workspace();
    let outside = workspace.disk("outside/c.md");
    let before = File::open(&outside).unwrap();
    behind(|| {
        assert!(raise(policy.roots(), &Reach::default()).unwrap().stands());
        assert!(denied(File::open(&outside)));
        assert!(denied(File::open(workspace.disk("work/out.md"))), "a link out of a root");
        assert!(denied(File::open(workspace.disk("work/../outside/c.md"))));
        assert!(denied(fs::read_dir(workspace.disk("outside"))));
        assert!(denied(fs::write(workspace.disk("outside/new"), "")));
        assert!(denied(fs::rename(workspace.disk("work/a.md"), workspace.disk("outside/a.md"))));
        let linked = fs::hard_link(&outside, workspace.disk("work/linked.md"));
        assert_eq!(linked.unwrap_err().kind(), ErrorKind::CrossesDevices);
        assert!(denied(fs::remove_file(&outside)));
        assert!(denied(Command::new("/bin/true").status()), "nothing is executed");
        // Also by what is started afterwards, and by a handle that was opened before.
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| File::open(&outside)).join().unwrap();
            assert!(denied(opened));
        });
        let mut text = String::new();
        (&before).read_to_string(&mut text).unwrap();
        assert_eq!(text, "outside");
    });
    assert!(File::open(&outside).is_ok(), "the wall holds the thread that raised it");
}

#[test]
fn roots_stay_usable_as_they_are_served() {
    let (workspace, policy) = workspace();
    let walled = |path: &str| workspace.disk(path);
    // The handle leads to the directory, not to its name of yesterday.
    fs::rename(walled("ro"), walled("renamed")).unwrap();
    behind(|| {
        assert!(raise(policy.roots(), &Reach::default()).unwrap().stands());
        for path in ["/work/a.md", "/ro/b.md"] {
            let permit = decide(&policy, Verb::Read, path).unwrap();
            assert_eq!(files::read_whole(&permit, 100, "", &budget()).unwrap().bytes, b"inside");
        }
        let listed = decide(&policy, Verb::List, "/work").unwrap();
        assert!(!files::list(&listed, &budget()).unwrap().is_empty());
        fs::create_dir(walled("work/d")).unwrap();
        fs::write(walled("work/d/new"), "x").unwrap();
        fs::rename(walled("work/d/new"), walled("work/moved")).unwrap();
        File::options().write(true).open(walled("work/moved")).unwrap().set_len(0).unwrap();
        fs::remove_file(walled("work/moved")).unwrap();
        fs::remove_dir(walled("work/d")).unwrap();
        assert!(denied(std::os::unix::fs::symlink("a.md", walled("work/link"))));
        assert!(denied(fs::write(walled("renamed/new"), "")), "a root is read-only as configured");
        assert!(denied(OpenOptions::new().append(true).open(walled("renamed/b.md"))));
        assert!(denied(fs::remove_file(walled("renamed/b.md"))));
    });
}

#[test]
fn what_must_be_reachable_is_and_no_further() {
    let (workspace, policy) = workspace();
    let reach = Reach::default()
        .keep(workspace.disk("state"))
        .and(Reach::default().read(workspace.disk("outside/c.md")));
    behind(|| {
        assert!(raise(policy.roots(), &reach).unwrap().stands());
        fs::write(workspace.disk("state/new.jsonl"), "line").unwrap();
        let mut log = OpenOptions::new();
        log.append(true).open(workspace.disk("state/old.jsonl")).unwrap().set_len(1).unwrap();
        assert!(denied(fs::remove_file(workspace.disk("state/old.jsonl"))), "kept is kept");
        let renamed = fs::rename(workspace.disk("state/old.jsonl"), workspace.disk("state/other"));
        assert!(denied(renamed));
        assert!(File::open(workspace.disk("outside/c.md")).is_ok());
        assert!(denied(OpenOptions::new().write(true).open(workspace.disk("outside/c.md"))));
    });
    let nowhere = Reach::default().write(workspace.disk("missing"));
    behind(|| {
        let error = raise(policy.roots(), &nowhere).unwrap_err().to_string();
        assert!(error.contains("missing cannot be opened"), "{error}");
        assert!(File::open(workspace.disk("outside/c.md")).is_ok(), "no half wall");
    });
}

#[test]
fn ports_are_closed_but_for_those_that_are_named() {
    let (_workspace, policy) = workspace();
    assert!(kernel(&policy) >= 4, "this test needs Linux 6.7");
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = there.local_addr().unwrap().port();
    let reach = Reach::default().bind(0).connect(port);
    behind(|| {
        assert_eq!(raise(policy.roots(), &reach).unwrap().holds()[1], "TCP ports");
        assert!(TcpStream::connect(there.local_addr().unwrap()).is_ok());
        assert!(denied(TcpStream::connect(other.local_addr().unwrap())));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).is_ok());
        assert!(denied(TcpListener::bind((Ipv4Addr::LOCALHOST, 1))));
        assert!(there.accept().is_ok(), "a listener from before accepts");
    });
}

#[test]
fn older_kernels_hold_what_they_can() {
    let (workspace, policy) = workspace();
    let newest = kernel(&policy);
    let reach = Reach::default().bind(0).connect(1).keep(workspace.disk("state"));
    let all = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, ABI::V7];
    for abi in all.into_iter().filter(|abi| *abi as u32 <= newest) {
        behind(|| {
            let wall = raise_up_to(abi, policy.roots(), &reach).unwrap();
            assert_eq!(wall, Wall::Stands { abi: abi as u32 });
            assert!(denied(File::open(workspace.disk("outside/c.md"))), "{abi:?}");
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, 2));
            assert_eq!(denied(connected), abi >= ABI::V4, "{abi:?}");
            assert_eq!(
                wall.holds().len(),
                1 + usize::from(abi >= ABI::V4) + usize::from(abi >= ABI::V6)
            );
        });
    }
}

#[test]
fn a_kernel_without_landlock_is_told_apart_from_one_that_has_it_switched_off() {
    let reason = |kernel| match what_stands(TESTED, false, kernel) {
        Wall::Absent { reason } => reason,
        wall @ Wall::Stands { .. } => panic!("{wall:?}"),
    };
    assert!(reason(LandlockStatus::NotImplemented).contains("Linux 5.13"));
    assert!(reason(LandlockStatus::NotEnabled).contains("lsm="));
    assert!(what_stands(TESTED, false, LandlockStatus::NotEnabled).holds().is_empty());
}
