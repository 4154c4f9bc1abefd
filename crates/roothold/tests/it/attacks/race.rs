//! Somebody who swaps files while they are read.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use super::case::Case;
use super::check::run_steps;
use super::steps::{Ask, Seen, Wire};
use crate::support::{Conn, Dirs, Spec, find_canary, full};

/// How often a race is run when the battery's own number is not asked for.
const REPEAT: usize = 2000;

/// Runs the case's calls again and again while two names are exchanged all the time.
pub(super) fn run(
    case: &Case,
    dirs: &Dirs,
    wire: &mut Wire<'_>,
    tools: &HashSet<String>,
) -> Result<Vec<Seen>, String> {
    let attacker = case.attacker.as_ref().unwrap();
    let name = |key: &str| PathBuf::from(dirs.fill_in(attacker[key].as_str().unwrap()));
    let (a, b) = (name("a"), name("b"));
    let repeat = case.repeat.unwrap_or(1);
    let repeat = if full() { repeat } else { repeat.min(REPEAT) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let _end = End(&done);
        let mut seen = Vec::new();
        let mut result = Ok(());
        for _ in 0..repeat {
            match run_steps(case, dirs, wire, tools) {
                Ok(more) => seen.extend(more),
                Err(why) => result = Err(why),
            }
        }
        // Under exchange the file must still be there at times, or nothing was tried.
        if !seen.iter().any(|seen| seen.outcome == "ok") {
            return Err("no call ever met the file".to_owned());
        }
        result.map(|()| seen)
    })
}

/// Ends the attack, also when a check fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Walks, listings and paths through `..` while a directory becomes a link to the outside, a
/// link to an excluded one, and one that is moved out of the root altogether.
#[test]
fn nothing_outside_is_seen_while_directories_are_swapped() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/race/a/x/f.txt", "PUBLIC-A");
    dirs.write("outside/x/leak.txt", "CANARY-OUT");
    dirs.write("work/secrets/x/leak.txt", "CANARY-EXCLUDED");
    let work = dirs.work();
    std::os::unix::fs::symlink(dirs.outside(), work.join("race/out")).unwrap();
    std::os::unix::fs::symlink("../secrets", work.join("race/hidden")).unwrap();
    let a = work.join("race/a");
    let (links, gone) =
        ([work.join("race/out"), work.join("race/hidden")], dirs.outside().join("gone"));
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let root = dirs.fill_in("$ROOT");
    let asks = [
        Ask::Call("directory_tree", json!({"path": format!("{root}/race")})),
        Ask::Call("search_files", json!({"path": format!("{root}/race/a"), "pattern": "**"})),
        Ask::Call("search_content", json!({"path": format!("{root}/race"), "pattern": "."})),
        Ask::Call("search_content", json!({"path": format!("{root}/race/a"), "pattern": "CANARY"})),
        Ask::Call(
            "search_content",
            json!({"path": format!("{root}/race/a/x/leak.txt"), "pattern": "."}),
        ),
        Ask::Call("list_directory", json!({"path": format!("{root}/race/a/x")})),
        Ask::Call("list_directory_with_sizes", json!({"path": format!("{root}/race/a/x")})),
        Ask::Call("get_file_info", json!({"path": format!("{root}/race/a/x/leak.txt")})),
        Ask::Call("read_text_file", json!({"path": format!("{root}/race/a/x/leak.txt")})),
        Ask::Call("read_text_file", json!({"path": format!("{root}/race/a/x/../x/leak.txt")})),
        Ask::Call("read_media_file", json!({"path": format!("{root}/race/a/../a/x/leak.txt")})),
        // From a directory that was moved out meanwhile, `..` is outside.
        Ask::Call("read_text_file", json!({"path": format!("{root}/race/a/x/../../secret.txt")})),
        Ask::Call("list_directory", json!({"path": format!("{root}/race/a/x/../../decoy")})),
        Ask::ReadResource(format!("file://{root}/race/a/x/leak.txt")),
        Ask::Complete(format!("{root}/race/a/x/")),
    ];
    let rounds = if full() { 2000 } else { 200 };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for link in links.iter().flat_map(|link| [link; 2]) {
                    renameat_with(CWD, &a, CWD, link, RenameFlags::EXCHANGE).unwrap();
                }
                std::fs::rename(&a, &gone).unwrap();
                std::fs::rename(&gone, &a).unwrap();
            }
        });
        let _end = End(&done);
        let mut wire = Wire::Http(&server, Conn::open(server.address));
        let leak = (0..rounds).flat_map(|_| &asks).find_map(|ask| {
            let seen = wire.ask(ask);
            let leaks = seen.text().contains("leak.txt\"") && seen.outcome == "ok";
            (leaks || find_canary(&seen.raw).is_some() || seen.outcome == "unexpected")
                .then_some(seen)
        });
        assert!(leak.is_none(), "{leak:?}");
    });
    assert_eq!(server.audit().counts(), (rounds * asks.len(), rounds * asks.len()));
}

/// The configuration with the root reached through a link.
pub(super) fn through_a_link(dirs: &Dirs, config: &str) -> String {
    let (link, work) = (dirs.base().join("rootlnk"), dirs.work());
    std::os::unix::fs::symlink(&work, &link).unwrap();
    let by_name = format!("path = \"{}\"", work.display());
    let by_link = format!("path = \"{}\"\nuri = \"file://{}\"", link.display(), work.display());
    config.replacen(&by_name, &by_link, 1)
}

/// Turns that link to the outside.
pub(super) fn retarget(dirs: &Dirs) {
    let link = dirs.base().join("rootlnk");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(dirs.outside(), &link).unwrap();
    std::fs::write(dirs.outside().join("hello.txt"), "CANARY-RETARGETED").unwrap();
}
