//! The attacker: a process of its own that swaps for as long as its input is open, and leaves
//! everything as it found it.

use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::arena::VERSIONS;

/// Between two turns: a server on a busy machine must come to its answers, and whoever wakes up
/// interrupts it in the middle of one.
const PAUSE: Duration = Duration::from_micros(100);

/// The parts that the rings are shared out to, a process each.
pub(super) const PARTS: [&str; 2] = ["links", "moves"];

/// An attacker at work.
pub(super) struct Attacker(Child);

impl Attacker {
    pub(super) fn start(base: &Path, part: &str) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(["race", "attack"])
            .arg(base)
            .arg(part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting an attacker")?;
        Ok(Self(child))
    }

    /// Ends the attack; says how many swaps there were.
    pub(super) fn stop(mut self) -> anyhow::Result<u64> {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().context("it is a pipe")?.read_to_string(&mut said)?;
        ensure!(self.0.wait()?.success(), "an attacker failed");
        said.trim().parse().context("the number of swaps")
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        // It ends by itself when its input does; this is for a race that broke off.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The attacking process: swaps until its input ends, then prints how often.
pub(super) fn run(base: &Path, part: &str) -> anyhow::Result<()> {
    static ENDED: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ENDED.store(true, Ordering::Relaxed);
    });
    let root = base.join("root");
    let outside = base.join("outside");
    let mut swaps = 0_u64;
    while !ENDED.load(Ordering::Relaxed) {
        swaps += match part {
            "links" => links(&root)?,
            _ => moves(&root, &outside)?,
        };
        std::thread::sleep(PAUSE);
    }
    println!("{swaps}");
    Ok(())
}

/// Directories and files with links to what must not be reached; there and back.
fn links(root: &Path) -> anyhow::Result<u64> {
    let pairs = [
        ("out/a", "out/b"),
        ("hidden/a", "hidden/b"),
        ("file/a/x/f.txt", "file/b"),
        ("env/a/x/f.txt", "env/b"),
        ("deep/a/x", "deep/a/b"),
    ];
    // There, all of them, and back: so that several are in the wrong place at once.
    for (first, second) in pairs.iter().chain(pairs.iter().rev()) {
        let (first, second) = (root.join(first), root.join(second));
        renameat_with(CWD, &first, CWD, &second, RenameFlags::EXCHANGE)?;
    }
    Ok(2 * pairs.len() as u64)
}

/// A directory that leaves the root, a file that is replaced, and a link that turns.
fn moves(root: &Path, outside: &Path) -> anyhow::Result<u64> {
    let (inside, gone) = (root.join("gone/a"), outside.join("gone"));
    std::fs::rename(&inside, &gone)?;
    if std::fs::rename(&gone, &inside).is_err() {
        // A tool made a directory of that name meanwhile; it goes.
        renameat_with(CWD, &gone, CWD, &inside, RenameFlags::EXCHANGE)?;
        std::fs::remove_dir_all(&gone)?;
    }
    for version in VERSIONS {
        let next = root.join("two/next");
        std::fs::write(&next, version)?;
        std::fs::rename(&next, root.join("two/a/x/f.txt"))?;
    }
    let targets = [outside.to_owned(), PathBuf::from("../secrets"), PathBuf::from("inside")];
    for target in &targets {
        let next = root.join("turn/next");
        symlink(target, &next)?;
        std::fs::rename(&next, root.join("turn/a"))?;
    }
    Ok(2 + VERSIONS.len() as u64 + targets.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    #[test]
    fn everything_is_as_it_was_after_each_turn() {
        let arena = Arena::new().unwrap();
        for _ in 0..3 {
            links(&arena.root()).unwrap();
            moves(&arena.root(), &arena.base().join("outside")).unwrap();
        }
        assert_eq!(arena.touched().unwrap(), (0, 0));
        for ring in super::super::arena::RINGS {
            let text = std::fs::read_to_string(arena.root().join(ring).join("a/x/f.txt")).unwrap();
            assert!(VERSIONS.contains(&&*text), "{ring}: {text}");
        }
    }
}
