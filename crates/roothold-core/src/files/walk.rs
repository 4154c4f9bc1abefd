//! A directory and all below it, in order, without recursion and without a handle per entry.
//!
//! The order is that of the names' bytes, each directory before what it holds. A walk can be
//! taken up after any entry: only the directories on the way to it are read again. Links are
//! entries and are never followed, so there are no cycles.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::list::set_last;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::entries::{Entries, EntryKind};
use crate::gate::{self, Want};
use crate::path::shown;
use crate::policy::{Permit, RootRules};

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
    rel: &'a [u8],
    rules: &'a RootRules,
    directory: &'a Arc<OwnedFd>,
}

impl WalkEntry<'_> {
    /// Whether the entry could be read; an entry that can only be written shows, too.
    pub fn is_readable(&self) -> bool {
        self.rules.readable(self.public, self.rel)
    }

    /// The directory that holds it. Each clone keeps a handle open.
    pub(super) fn directory(&self) -> &Arc<OwnedFd> {
        self.directory
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

#[derive(Debug)]
struct Frame {
    handle: Arc<OwnedFd>,
    entries: Entries,
    next: usize,
    /// Lengths of the paths of this directory inside the walk's buffers.
    rel_len: usize,
    public_len: usize,
}

/// A walk below one directory.
#[derive(Debug)]
pub struct Walk<'a> {
    permit: &'a Permit,
    budget: &'a Budget,
    frames: Vec<Frame>,
    rel: Vec<u8>,
    public: Vec<u8>,
    base_public_len: usize,
    problems: Vec<Problem>,
    problems_omitted: usize,
    depth_max: usize,
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
            frame.next = frame.entries.position_from(name);
        }
        Ok(walk)
    }

    fn open(permit: &'a Permit, budget: &'a Budget) -> Result<Self, Fault> {
        let opened = gate::open(permit, Want::Directory)?;
        let (_, rules) = permit.root()?;
        let public = rules.public_of(&opened.rel);
        let mut walk = Self {
            permit,
            budget,
            frames: Vec::new(),
            rel: opened.rel,
            base_public_len: public.len(),
            public,
            problems: Vec::new(),
            problems_omitted: 0,
            depth_max: WALK_DEPTH_MAX,
        };
        walk.push(opened.handle)?;
        Ok(walk)
    }

    /// Goes less deep than [`WALK_DEPTH_MAX`]; what lies deeper is a problem, as there.
    pub fn limit_depth(&mut self, depth_max: usize) {
        self.depth_max = depth_max.min(WALK_DEPTH_MAX);
    }

    /// Visits entry after entry until `visit` stops or there is no more.
    ///
    /// # Errors
    /// The budget's own, `visit`'s, or `Busy` when handles run out.
    pub fn run(
        &mut self,
        mut visit: impl FnMut(&WalkEntry<'_>) -> Result<Visit, Fault>,
    ) -> Result<bool, Fault> {
        let (_, rules) = self.permit.root()?;
        loop {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else { return Ok(true) };
            frame.next += 1;
            let Some((name, kind)) = frame.entries.get(frame.next - 1) else {
                self.frames.pop();
                continue;
            };
            set_last(&mut self.rel, frame.rel_len, name);
            set_last(&mut self.public, frame.public_len, name);
            if frame.next % 256 == 0 {
                self.budget.check()?;
            }
            let below_at = (self.base_public_len + usize::from(self.base_public_len > 0))
                .min(self.public.len());
            let entry = WalkEntry {
                public: &self.public,
                below: &self.public[below_at..],
                name,
                kind,
                depth: depth - 1,
                rel: &self.rel,
                rules,
                directory: &frame.handle,
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

    /// Enters the directory whose path stands in the buffers.
    fn descend(&mut self) -> Result<(), Fault> {
        self.budget.check()?;
        if self.frames.len() >= self.depth_max {
            self.problem("is too deep to walk into; call again with it as the path");
            return Ok(());
        }
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let name = &self.rel[frame.rel_len + usize::from(frame.rel_len > 0)..];
        let opened = match gate::open_entry(frame.handle.as_fd(), name) {
            Err(Errno::XDEV) => gate::open_allowed_mount(self.permit, &self.rel)?,
            other => other,
        };
        match opened {
            Ok(handle) => self.push(handle),
            Err(Errno::MFILE | Errno::NFILE) => {
                Err(Fault::new(FaultKind::Busy, "too many files are open just now; try again"))
            }
            Err(Errno::XDEV) => {
                self.problem("is a mount point, which is not entered");
                Ok(())
            }
            Err(Errno::ACCESS | Errno::PERM) => {
                self.problem("cannot be read by the user that runs the server");
                Ok(())
            }
            Err(_) => {
                self.problem("changed while it was looked at");
                Ok(())
            }
        }
    }

    fn push(&mut self, handle: OwnedFd) -> Result<(), Fault> {
        let (_, rules) = self.permit.root()?;
        let (rel_len, public_len) = (self.rel.len(), self.public.len());
        let (rel, public) = (&mut self.rel, &mut self.public);
        let entries = Entries::read(&handle, self.budget, |name, kind| {
            set_last(rel, rel_len, name);
            set_last(public, public_len, name);
            !rules.excludes_entry(public, rel)
                && (kind == EntryKind::Directory || rules.visible(public, rel))
        });
        self.rel.truncate(rel_len);
        self.public.truncate(public_len);
        let handle = Arc::new(handle);
        self.frames.push(Frame { handle, entries: entries?, next: 0, rel_len, public_len });
        Ok(())
    }

    /// Takes up the walk after `after`, reading only the directories on the way.
    fn skip_to(&mut self, after: &[u8]) -> Result<(), Fault> {
        for component in after.split(|byte| *byte == b'/') {
            let depth = self.frames.len();
            let Some(frame) = self.frames.last_mut() else { return Ok(()) };
            frame.next = frame.entries.position_from(component);
            let at = frame.next;
            let Some((name, kind)) = frame.entries.get(at).filter(|(name, _)| *name == component)
            else {
                // It is gone; what sorts after it is next.
                return Ok(());
            };
            frame.next = at + 1;
            set_last(&mut self.rel, frame.rel_len, name);
            set_last(&mut self.public, frame.public_len, name);
            if kind != EntryKind::Directory {
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
