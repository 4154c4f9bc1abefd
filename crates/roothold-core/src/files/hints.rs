//! Hints of the kernel that something may have changed (inotify), on handles that the gate opened.
//!
//! A hint says that it is time to look, and no more: it decides nothing and tells callers
//! nothing. It may be missing, and it may be about something that no caller may see.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

/// Enough for some hundred hints; the kernel keeps the rest.
const BUFFER_BYTES: usize = 16 * 1024;

/// What can happen to the name or the place of anything.
const ANY: WatchFlags = WatchFlags::DELETE_SELF.union(WatchFlags::MOVE_SELF);
/// What can happen to a file's content.
const FILE: WatchFlags = ANY.union(WatchFlags::MODIFY).union(WatchFlags::ATTRIB);
/// What can happen to a directory's entries.
const DIRECTORY: WatchFlags =
    ANY.union(WatchFlags::CREATE).union(WatchFlags::DELETE).union(WatchFlags::MOVE);

/// Which of the things that were added a hint is about.
pub type HintId = i32;

/// One hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Something happened to it.
    Changed(HintId),
    /// It is not there any more, and there will be no more hints on it.
    Gone(HintId),
    /// Hints were lost: look at everything.
    Lost,
}

/// A source of hints. It reads without waiting: wait until its handle is readable.
#[derive(Debug)]
pub struct Hints {
    source: OwnedFd,
}

impl Hints {
    /// Makes a source.
    ///
    /// # Errors
    /// When the system's limit on sources is reached.
    pub fn new() -> io::Result<Self> {
        Ok(Self { source: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Asks for hints on what a handle refers to, whatever its name leads to by now. The same
    /// thing has the same id, however often it is added.
    ///
    /// # Errors
    /// When the system's limit on watches is reached, or the user may not read it.
    pub fn add(&self, handle: impl AsFd) -> io::Result<HintId> {
        let handle = handle.as_fd();
        let kind = fstat(handle).map(|stat| FileType::from_raw_mode(stat.st_mode))?;
        let what = if kind == FileType::Directory { DIRECTORY } else { FILE };
        // The kernel's own link to the handle: nothing is looked up by name.
        let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
        Ok(inotify::add_watch(&self.source, link, what)?)
    }

    /// Asks for no more hints on something. One that is gone already is no error.
    pub fn remove(&self, id: HintId) {
        let _ = inotify::remove_watch(&self.source, id);
    }

    /// Hands over the hints that are there, up to a buffer full of them.
    ///
    /// # Errors
    /// `WouldBlock`, if there is none.
    pub fn read(&self, mut hint: impl FnMut(Hint)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(&self.source, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let events = event.events();
            hint(if events.contains(ReadFlags::QUEUE_OVERFLOW) {
                Hint::Lost
            } else if events.contains(ReadFlags::IGNORED) {
                Hint::Gone(event.wd())
            } else {
                Hint::Changed(event.wd())
            });
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }
}

impl AsFd for Hints {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for Hints {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}
