//! A directory and all below it, in order, without recursion and without a handle per entry.
//!
//! The order is that of the names' bytes, each directory before what it holds. A walk can be
//! taken up after any entry: only the directories on the way to it are looked at again. Links are
//! entries and are never followed, so there are no cycles.
//!
//! Every directory is reached anew, from the handle of the one above it, by a name that policy
//! allows; what it holds may then come from the [index](super::index). A walk for names alone has
//! no handle of a directory that the index knows to hold none.
//!
//! **Invariant**: nothing is visited that policy does not show, whatever a directory's entries
//! were read for.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Stat, fstat};
use rustix::io::Errno;

use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::entries::{Entries, EntryKind};
use crate::gate::{self, Opened, Want};
use crate::path::{is_plain_name, shown, shown_name};
use crate::policy::{Permit, RootRules};
use crate::roots::Hardlinks;

/// How many directories deep a walk goes below its start: one handle is open per level.
pub const WALK_DEPTH_MAX: usize = 128;
/// How many problems a walk lists; it counts the others.
const PROBLEMS_MAX: usize = 20;

/// Something below that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The public path.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

/// One entry of a walk; it borrows from the walk until the next one.
#[derive(Debug)]
pub struct WalkEntry<'a> {
    /// The public path, without its leading slash.
    pub public: &'a [u8],
    /// The path below the directory where the walk began.
    pub below: &'a [u8],
    /// The name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// 0 for the entries of the directory where the walk began.
    pub depth: usize,
    rules: &'a RootRules,
    hardlinks: Hardlinks,
    directory: Option<&'a Arc<OwnedFd>>,
    above_is_plain: bool,
    simple_name: Option<&'a str>,
}

impl<'a> WalkEntry<'a> {
    /// Whether the entry could be read; an entry that can only be written shows, too.
    pub fn is_readable(&self) -> bool {
        self.rules.is_readable(self.public)
    }

    /// The size of a file that could be read, looked up by opening it: `None` for what is no such
    /// file, or is not served, and in a walk for names.
    pub fn readable_bytes(&self) -> Option<u64> {
        if self.kind != EntryKind::File || !self.is_readable() {
            return None;
        }
        let opened = gate::open_file_entry(self.directory?.as_fd(), self.name, self.hardlinks);
        opened.ok().and_then(|(_, stat)| u64::try_from(stat.st_size).ok())
    }

    /// The name as it is shown: plain, or the URI of the whole path where anything in that is
    /// ambiguous.
    pub fn shown_name(&self) -> Cow<'a, str> {
        if !self.above_is_plain {
            return Cow::Owned(shown(self.public));
        }
        shown_name(self.name, || self.public.to_vec())
    }

    /// The name, if it is shown as it is and stands in JSON as it is, between quotes; nearly every
    /// one does.
    pub fn simple_name(&self) -> Option<&'a str> {
        self.simple_name.filter(|_| self.above_is_plain)
    }

    /// The path as it is shown: what [`shown`] makes of `public`.
    pub fn shown_path(&self) -> String {
        match std::str::from_utf8(self.public) {
            Ok(text)
                if self.above_is_plain
                    && (self.simple_name.is_some() || is_plain_name(self.name)) =>
            {
                ["/", text].concat()
            }
            _ => shown(self.public),
        }
    }

    /// The directory that holds it. Each clone keeps a handle open.
    ///
    /// # Errors
    /// `Internal` in a walk for names.
    pub(super) fn directory(&self) -> Result<&Arc<OwnedFd>, Fault> {
        self.directory.ok_or_else(|| Fault::internal("a walk for names opens no entry"))
    }
}

/// What to do with an entry of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Go on, into it if it is a directory.
    Into,
    /// Go on, past what it holds.
    Past,
    /// Stop here; the entry counts as not visited.
    Stop,
}

/// A directory on the way.
#[derive(Debug)]
struct Frame {
    at: Reached,
    next: usize,
    /// The length of its path inside the walk's buffer.
    public_len: usize,
    is_plain: bool,
}

/// A directory that was reached, with what it holds.
#[derive(Debug)]
struct Reached {
    /// None where nothing below will be asked for.
    handle: Option<Arc<OwnedFd>>,
    entries: Arc<Entries>,
    /// They were in the index, and so those of the directories below probably are.
    was_kept: bool,
}

/// A walk below one directory.
#[derive(Debug)]
pub struct Walk<'a> {
    permit: &'a Permit,
    rules: &'a RootRules,
    hardlinks: Hardlinks,
    budget: &'a Budget,
    frames: Vec<Frame>,
    /// The public path of the entry that is looked at.
    public: Vec<u8>,
    /// How much of it lies above the entries of the directory where the walk began.
    below_at: usize,
    problems: Vec<Problem>,
    problems_omitted: usize,
    depth_max: usize,
    for_names: bool,
}

impl<'a> Walk<'a> {
    /// Opens the directory of a permit for `Verb::List`.
    ///
    /// `after` is the `below` path of an entry that an earlier walk visited last.
    ///
    /// # Errors
    /// As the gate's; the budget's own.
    pub fn start(
        permit: &'a Permit,
        after: Option<&[u8]>,
        budget: &'a Budget,
    ) -> Result<Self, Fault> {
        let mut walk = Self::open(permit, budget)?;
        if let Some(after) = after {
            walk.skip_to(after)?;
        }
        Ok(walk)
    }

    /// Starts with the entry that [`Self::start`] would start after.
    pub(super) fn start_at(
        permit: &'a Permit,
        at: &[u8],
        budget: &'a Budget,
    ) -> Result<Self, Fault> {
        let mut walk = Self::open(permit, budget)?;
        let (above, name) = match memchr::memrchr(b'/', at) {
            Some(end) => (Some(&at[..end]), &at[end + 1..]),
            None => (None, at),
        };
        let depth = above.map_or(0, |above| above.split(|byte| *byte == b'/').count());
        if let Some(above) = above {
            walk.skip_to(above)?;
        }
        if walk.frames.len() == depth + 1
            && let Some(frame) = walk.frames.last_mut()
        {
            frame.next = frame.at.entries.position_from(name);
        }
        Ok(walk)
    }

    fn open(permit: &'a Permit, budget: &'a Budget) -> Result<Self, Fault> {
        let opened = gate::open(permit, Want::Directory)?;
        let (root, rules) = permit.root()?;
        let public = rules.public_of(&opened.rel);
        let (entries, was_kept) = entries_of(permit, &opened, budget)?;
        let mut walk = Self {
            permit,
            rules,
            hardlinks: root.hardlinks(),
            budget,
            frames: Vec::new(),
            below_at: public.len() + usize::from(!public.is_empty()),
            public,
            problems: Vec::new(),
            problems_omitted: 0,
            depth_max: WALK_DEPTH_MAX,
            for_names: false,
        };
        walk.push(Reached { handle: Some(Arc::new(opened.handle)), entries, was_kept });
        Ok(walk)
    }

    /// Goes less deep than [`WALK_DEPTH_MAX`]; what lies deeper is a problem, as there.
    pub fn limit_depth(&mut self, depth_max: usize) {
        self.depth_max = depth_max.min(WALK_DEPTH_MAX);
    }

    /// Only names and kinds will be asked for: no entry is opened, which makes a walk cheaper where
    /// the index knows what directories hold.
    pub fn for_names(&mut self) {
        self.for_names = true;
    }

    /// Visits entry after entry until `visit` stops or there is no more.
    ///
    /// # Errors
    /// The budget's own, `visit`'s, or `Busy` when handles run out.
    pub fn run(
        &mut self,
        mut visit: impl FnMut(&WalkEntry<'_>) -> Result<Visit, Fault>,
    ) -> Result<bool, Fault> {
        loop {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else { return Ok(true) };
            frame.next += 1;
            let Some((name, kind)) = frame.at.entries.get(frame.next - 1) else {
                self.frames.pop();
                continue;
            };
            if frame.next % 256 == 0 {
                self.budget.check()?;
            }
            set_last(&mut self.public, frame.public_len, name);
            let by_name = self.rules.shows_by_name(name, kind);
            if !by_name.unwrap_or_else(|| self.rules.shows(&self.public, kind)) {
                continue;
            }
            let entry = WalkEntry {
                public: &self.public,
                below: &self.public[self.below_at..],
                name,
                kind,
                depth: depth - 1,
                rules: self.rules,
                hardlinks: self.hardlinks,
                above_is_plain: frame.is_plain,
                simple_name: frame.at.entries.simple_name(frame.next - 1),
                directory: frame.at.handle.as_ref(),
            };
            match visit(&entry)? {
                Visit::Stop => return Ok(false),
                Visit::Into if kind == EntryKind::Directory => self.descend()?,
                Visit::Into | Visit::Past => {}
            }
        }
    }

    /// What could not be looked at, and how many more of them there were.
    pub fn problems(self) -> (Vec<Problem>, usize) {
        (self.problems, self.problems_omitted)
    }

    /// Enters the directory whose path stands in the buffer.
    fn descend(&mut self) -> Result<(), Fault> {
        self.budget.check()?;
        if self.frames.len() >= self.depth_max {
            self.problem("is too deep to walk into; call again with it as the path");
            return Ok(());
        }
        match self.reach()? {
            Ok(reached) => self.push(reached),
            Err(Errno::MFILE | Errno::NFILE) => {
                return Err(Fault::new(
                    FaultKind::Busy,
                    "too many files are open just now; try again",
                ));
            }
            Err(Errno::XDEV) => self.problem("is a mount point, which is not entered"),
            Err(Errno::ACCESS | Errno::PERM) => {
                self.problem("cannot be read by the user that runs the server");
            }
            Err(_) => self.problem("changed while it was looked at"),
        }
        Ok(())
    }

    /// Opens the directory whose path stands in the buffer, from the one above it, and finds out
    /// what it holds. Where that is probably in the index the directory is only looked up at first,
    /// which costs less than opening it for reading.
    fn reach(&self) -> Result<Result<Reached, Errno>, Fault> {
        let Some(frame) = self.frames.last() else { return Ok(Err(Errno::NOENT)) };
        let Some(above) = &frame.at.handle else { return Ok(Err(Errno::NOENT)) };
        let above = above.as_fd();
        let name = &self.public[frame.public_len + usize::from(frame.public_len > 0)..];
        let index = self.permit.index();
        let at = frame.next - 1;
        let mut is_open = !frame.at.was_kept;
        if self.for_names
            && !is_open
            && !frame.at.entries.is_branch(at)
            && let Some(stat) = gate::stat_entry(above, name)
            && let Some(entries) = index.get_leaf(&stat)
        {
            return Ok(Ok(Reached { handle: None, entries, was_kept: true }));
        }
        let found =
            if is_open { gate::open_entry(above, name) } else { gate::look_up_entry(above, name) };
        let found = match found {
            Err(Errno::XDEV) => {
                is_open = true;
                gate::open_allowed_mount(self.permit, self.rules.rel_of(&self.public))?
            }
            other => other,
        };
        let (handle, stat) = match found.and_then(|handle| Ok((fstat(&handle)?, handle))) {
            Ok((stat, handle)) => (handle, stat),
            Err(errno) => return Ok(Err(errno)),
        };
        if let Some(entries) = index.get(&stat) {
            if entries.has_directories() {
                frame.at.entries.note_branch(at);
            }
            return Ok(Ok(Reached { handle: Some(Arc::new(handle)), entries, was_kept: true }));
        }
        if is_open {
            return self.read(handle, &stat);
        }
        let readable = match gate::open_looked_up(handle.as_fd()) {
            Ok(readable) => readable,
            Err(errno) => return Ok(Err(errno)),
        };
        self.read(readable, &stat)
    }

    /// Reads what an open directory holds. One that was removed meanwhile ends no walk.
    fn read(&self, handle: OwnedFd, stat: &Stat) -> Result<Result<Reached, Errno>, Fault> {
        match self.permit.index().read(&handle, stat, self.budget) {
            Ok(entries) => {
                Ok(Ok(Reached { handle: Some(Arc::new(handle)), entries, was_kept: false }))
            }
            Err(fault) if fault.kind() == FaultKind::NotFound => Ok(Err(Errno::NOENT)),
            Err(fault) => Err(fault),
        }
    }

    fn push(&mut self, at: Reached) {
        let is_plain = match self.frames.last() {
            Some(above) => {
                let name = &self.public[above.public_len + usize::from(above.public_len > 0)..];
                above.is_plain && is_plain_name(name)
            }
            None => is_plain_name(&self.public),
        };
        self.frames.push(Frame { at, next: 0, public_len: self.public.len(), is_plain });
    }

    /// Takes up the walk after `after`, looking only at the directories on the way.
    fn skip_to(&mut self, after: &[u8]) -> Result<(), Fault> {
        for component in after.split(|byte| *byte == b'/') {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else { return Ok(()) };
            frame.next = frame.at.entries.position_from(component);
            let Some((name, kind)) = frame.at.entries.get(frame.next) else { return Ok(()) };
            if name != component {
                // It is gone; what sorts after it is next.
                return Ok(());
            }
            set_last(&mut self.public, frame.public_len, name);
            frame.next += 1;
            // It may have been hidden since.
            if kind != EntryKind::Directory || !self.rules.shows(&self.public, kind) {
                return Ok(());
            }
            self.descend()?;
            if self.frames.len() == depth {
                return Ok(());
            }
        }
        Ok(())
    }

    fn problem(&mut self, reason: &'static str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { path: shown(&self.public), reason });
        } else {
            self.problems_omitted += 1;
        }
    }
}

/// What an opened directory holds, and whether the index knew.
pub(super) fn entries_of(
    permit: &Permit,
    opened: &Opened,
    budget: &Budget,
) -> Result<(Arc<Entries>, bool), Fault> {
    if let Some(entries) = permit.index().get(&opened.stat) {
        return Ok((entries, true));
    }
    Ok((permit.index().read(&opened.handle, &opened.stat, budget)?, false))
}

/// Replaces what stands after the first `base` bytes with `/name`, or `name` when there is no base.
pub(super) fn set_last(path: &mut Vec<u8>, base: usize, name: &[u8]) {
    path.truncate(base);
    if base > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
