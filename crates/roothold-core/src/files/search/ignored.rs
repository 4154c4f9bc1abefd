//! What `.gitignore` files leave out, as git understands them: the one nearest to a file decides,
//! its last matching line counts, `!` takes back, and nothing below a directory that is left out
//! can be taken back. Those above the directory that is searched count too, up to the root.
//!
//! What is not looked at: `.git/info/exclude`, and files outside of the root. It only leaves out:
//! what policy hides stays hidden whatever a `.gitignore` says.
//!
//! **Invariant**: a `.gitignore` that policy does not let the caller read is not read.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::leash::Leash;
use crate::fault::Fault;
use crate::files::read::read_at;
use crate::files::walk::Problem;
use crate::gate;
use crate::path::shown;
use crate::policy::{Permit, join};
use crate::roots::below;

const NAME: &[u8] = b".gitignore";
/// A larger file is not used, nor one with more lines that say something.
const BYTES_MAX: usize = 64 * 1024;
const LINES_MAX: usize = 1000;
/// How many problems are listed.
const PROBLEMS_MAX: usize = 20;

/// The `.gitignore` files from the root to the directory that a walk is in.
pub(super) struct Ignored<'a> {
    permit: &'a Permit,
    root: &'a [u8],
    /// The directory, below the root.
    at: Vec<u8>,
    /// One for each directory from the root to that one.
    levels: Vec<Level>,
    problems: Vec<Problem>,
}

struct Level {
    /// The length of its directory's path.
    len: usize,
    rules: Option<Gitignore>,
}

impl<'a> Ignored<'a> {
    pub(super) fn new(permit: &'a Permit) -> Result<Self, Fault> {
        let (root, _) = permit.root()?;
        let root = root.public();
        Ok(Self { permit, root, at: Vec::new(), levels: Vec::new(), problems: Vec::new() })
    }

    /// Whether an entry of a walk is left out.
    ///
    /// # Errors
    /// The leash's own.
    pub(super) fn covers(
        &mut self,
        public: &[u8],
        name: &[u8],
        is_directory: bool,
        leash: &Leash<'_>,
    ) -> Result<bool, Fault> {
        if is_directory && name == b".git" {
            return Ok(true);
        }
        let rel = below(self.root, public).unwrap_or(public);
        let directory = &rel[..rel.len().saturating_sub(name.len() + 1)];
        self.enter(directory, leash)?;
        for level in self.levels.iter().rev() {
            let Some(rules) = &level.rules else { continue };
            let path = &rel[level.len + usize::from(level.len > 0)..];
            match rules.matched(Path::new(OsStr::from_bytes(path)), is_directory) {
                Match::None => {}
                Match::Ignore(_) => return Ok(true),
                Match::Whitelist(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Makes `directory` the one whose levels are at hand.
    fn enter(&mut self, directory: &[u8], leash: &Leash<'_>) -> Result<(), Fault> {
        if self.at == directory && !self.levels.is_empty() {
            return Ok(());
        }
        let was_at = std::mem::replace(&mut self.at, directory.to_vec());
        self.levels.retain(|level| below(&was_at[..level.len], directory).is_some());
        let slashes = memchr::memchr_iter(b'/', directory);
        for len in std::iter::once(0).chain(slashes).chain([directory.len()]) {
            if self.levels.last().is_none_or(|last| last.len < len) {
                leash.check()?;
                let rules = self.read(&directory[..len], leash)?;
                self.levels.push(Level { len, rules });
            }
        }
        Ok(())
    }

    fn read(&mut self, directory: &[u8], leash: &Leash<'_>) -> Result<Option<Gitignore>, Fault> {
        let rel = join(directory, NAME);
        let Some((handle, _)) = gate::open_related(self.permit, &rel) else { return Ok(None) };
        let mut text = Vec::new();
        read_at(&handle, 0, BYTES_MAX + 1, &mut text, leash.budget())?;
        let rules = if text.len() > BYTES_MAX { None } else { parse(&text) };
        if rules.is_none() && self.problems.len() < PROBLEMS_MAX {
            let path = shown(&join(self.root, &rel));
            self.problems.push(Problem { path, reason: "is too long to be used" });
        }
        Ok(rules)
    }
}

/// The rules of one file; `None`, if there are too many. A line that is no glob says nothing, as
/// in git.
fn parse(text: &[u8]) -> Option<Gitignore> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut builder = GitignoreBuilder::new("");
    let mut lines = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = str::from_utf8(line) else { continue };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        lines += 1;
        if lines > LINES_MAX {
            return None;
        }
        // What is wrong with a line is the business of who wrote it.
        let _ = builder.add_line(None, line);
    }
    builder.build().ok()
}
