//! Somebody who swaps files while they are read.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::case::Case;
use super::check::run_steps;
use super::steps::{Seen, Wire};
use crate::support::{Dirs, full};

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
        let mut seen = Vec::new();
        let mut result = Ok(());
        for _ in 0..repeat {
            match run_steps(case, dirs, wire, tools) {
                Ok(more) => seen.extend(more),
                Err(why) => result = Err(why),
            }
        }
        done.store(true, Ordering::Relaxed);
        let ok = seen.iter().filter(|seen| seen.outcome == "ok").count();
        println!("{}: {} calls under exchange, {ok} ok", case.id, seen.len());
        result.map(|()| seen)
    })
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
