//! Where a write goes: the directory above it, opened through the gate, and one name in it.
//!
//! **Invariant**: policy was asked about the path of the name as the kernel sees it, and the name
//! is a link only where the link itself is meant.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat};
use rustix::io::Errno;

use super::{
    BENEATH, LOOK, READ, RETRIES_MAX, follow, hide_target, kind_of, link_of, not_found, open_exact,
    outside_roots, refusal, refuse_several_names, resolve, special_file,
};
use crate::fault::{Fault, FaultKind};
use crate::policy::{Permit, join, normalised};
use crate::roots::{Root, below};

/// What a link as the last component of a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// What it leads to.
    Follow,
    /// The link itself.
    Itself,
}

/// A name in an opened directory.
#[derive(Debug)]
pub(crate) struct Place {
    /// Opened for reading, so that it can be locked and synced.
    pub(crate) parent: OwnedFd,
    pub(crate) name: Vec<u8>,
    /// The real path below the root.
    pub(crate) rel: Vec<u8>,
    /// What was there when it was looked at.
    pub(crate) found: Option<Stat>,
}

impl Place {
    /// Whether what was found is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.is(FileType::Directory)
    }

    pub(crate) fn is_link(&self) -> bool {
        self.is(FileType::Symlink)
    }

    fn is(&self, kind: FileType) -> bool {
        self.found.as_ref().is_some_and(|stat| kind_of(stat) == kind)
    }

    /// Looks again, once the directory is locked. What policy allowed is the name, so only what
    /// it stands for can have changed.
    ///
    /// # Errors
    /// `Conflict` if it became a link meanwhile; else as [`locate`].
    pub(crate) fn look_again(&mut self, permit: &Permit, last: Last) -> Result<(), Fault> {
        self.stays(permit)?;
        let (root, _) = permit.root()?;
        self.found = look(&self.parent, &self.name).map_err(|errno| refusal(errno, permit))?;
        if self.is_link() && last == Last::Follow {
            return Err(busy());
        }
        self.check(root)
    }

    /// Whether the name still stands for what `stat` says.
    pub(crate) fn is_still(&self, stat: &Stat) -> bool {
        let key = |stat: &Stat| {
            let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
            (stat.st_dev, stat.st_ino, stat.st_size, times)
        };
        statat(&self.parent, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|now| key(&now) == key(stat))
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// As [`refusal`].
    pub(crate) fn open(&self, permit: &Permit) -> Result<(OwnedFd, Stat), Fault> {
        let opened = openat2(
            &self.parent,
            self.name.as_slice(),
            READ | OFlags::NOFOLLOW,
            Mode::empty(),
            BENEATH | ResolveFlags::NO_SYMLINKS,
        )
        .and_then(|handle| fstat(&handle).map(|stat| (handle, stat)));
        let (handle, stat) = opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::AGAIN => changed_meanwhile(),
            errno => refusal(errno, permit),
        })?;
        let (root, _) = permit.root()?;
        if kind_of(&stat) != FileType::RegularFile {
            return Err(changed_meanwhile());
        }
        refuse_several_names(root, &stat)?;
        Ok((handle, stat))
    }

    /// Looks whether the directory is still where policy was asked about it. While it is locked
    /// only another process can move it, so the last look is right before the change.
    ///
    /// # Errors
    /// `Busy` if it is not.
    pub(crate) fn stays(&self, permit: &Permit) -> Result<(), Fault> {
        let (root, _) = permit.root()?;
        if is_at(root, &self.parent, split_last(&self.rel).0) { Ok(()) } else { Err(busy()) }
    }

    /// FIFOs and the like are never touched, nor are files that may have an excluded name.
    fn check(&self, root: &Root) -> Result<(), Fault> {
        let Some(stat) = &self.found else { return Ok(()) };
        match kind_of(stat) {
            FileType::Directory | FileType::Symlink => Ok(()),
            FileType::RegularFile => refuse_several_names(root, stat),
            _ => Err(special_file()),
        }
    }
}

/// Finds the place that a permit to write is for.
///
/// # Errors
/// `Denied` where policy says no to the real path, or the path leads outside; `NotFound` if the
/// directory above is not there, or the path is a link to nothing.
pub(crate) fn locate(permit: &Permit, last: Last) -> Result<Place, Fault> {
    let (root, _) = permit.root()?;
    let asked = permit.rel();
    let exact = normalised(asked).ok_or_else(outside_roots)?;
    for _ in 0..RETRIES_MAX {
        if exact == asked {
            match at(root, &exact) {
                Ok(place) if !place.is_link() => return checked(permit, root, place),
                Ok(_) | Err(Errno::LOOP) => {}
                Err(Errno::AGAIN) => continue,
                Err(errno) => return Err(refusal(errno, permit)),
            }
        }
        if let Some(place) = behind_links(permit, root, last)? {
            return checked(permit, root, place);
        }
    }
    Err(busy())
}

fn checked(permit: &Permit, root: &Root, place: Place) -> Result<Place, Fault> {
    permit.decide_again(&place.rel, place.is_directory())?;
    place.check(root)?;
    if permit.wants_directory() && place.found.is_some() && !place.is_directory() {
        return Err(not_found(permit));
    }
    Ok(place)
}

/// The place of a path with links or `..`, as the kernel resolves it; `None`: it changed meanwhile.
fn behind_links(permit: &Permit, root: &Root, last: Last) -> Result<Option<Place>, Fault> {
    let (_, rules) = permit.root()?;
    let asked = permit.rel();
    let text = follow::follow(root, rules, asked)?;
    let hidden = |fault| hide_target(permit, text.clone(), fault);
    let whole = match last {
        Last::Follow => resolve(root, asked),
        Last::Itself => Err(Errno::NOENT),
    };
    let (real, may_be_link) = match whole {
        Ok(real) => (real, false),
        // The last name may be new, or is meant itself.
        Err(Errno::NOENT) => {
            let (above, name) = split_last(asked);
            if name == b".." || name.is_empty() {
                let real = resolve(root, asked).map_err(|errno| hidden(refusal(errno, permit)))?;
                (real, false)
            } else {
                match resolve(root, above) {
                    Ok(above) => (join(&above, name), true),
                    Err(Errno::AGAIN) => return Ok(None),
                    Err(errno) => return Err(hidden(refusal(errno, permit))),
                }
            }
        }
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(hidden(refusal(errno, permit))),
    };
    permit.decide_again(&real, false)?;
    let place = match at(root, &real) {
        Ok(place) => place,
        Err(Errno::LOOP | Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(hidden(refusal(errno, permit))),
    };
    if !place.is_link() || last == Last::Itself {
        return Ok(Some(place));
    }
    if !may_be_link {
        return Ok(None);
    }
    Err(hidden(Fault::not_found(
        "it is a symbolic link that leads to nothing; write to the path that it should lead to",
    )))
}

/// The place at a path without links above its last name.
fn at(root: &Root, rel: &[u8]) -> Result<Place, Errno> {
    let (above, name) = split_last(rel);
    let parent = open_exact(root, above, READ | OFlags::DIRECTORY)?;
    let found = look(&parent, name)?;
    Ok(Place { parent, name: name.to_vec(), rel: rel.to_vec(), found })
}

/// Whether a directory is at a path below the root.
fn is_at(root: &Root, directory: &OwnedFd, rel: &[u8]) -> bool {
    let (base, _, rest) = root.base(rel);
    match (link_of(base), link_of(directory)) {
        (Ok(above), Ok(found)) => below(&above, &found) == Some(rest),
        _ => false,
    }
}

/// What a name in a directory stands for; a mount point is `EXDEV`.
fn look(parent: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    let resolve = BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(parent, name, LOOK | OFlags::NOFOLLOW, Mode::empty(), resolve) {
        Ok(handle) => fstat(&handle).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The deepest directory of a path that is there.
#[derive(Debug)]
pub(crate) struct Deepest {
    pub(crate) handle: OwnedFd,
    /// Its real path below the root.
    pub(crate) rel: Vec<u8>,
    /// The names below it that are not there.
    pub(crate) missing: Vec<Vec<u8>>,
}

impl Deepest {
    /// As [`Place::stays`].
    ///
    /// # Errors
    /// `Busy` if it is not.
    pub(crate) fn stays(&self, permit: &Permit) -> Result<(), Fault> {
        let (root, _) = permit.root()?;
        if is_at(root, &self.handle, &self.rel) { Ok(()) } else { Err(busy()) }
    }
}

/// Opens the deepest directory of a path that is there.
///
/// # Errors
/// As [`locate`]; `Conflict` if what is there is no directory.
pub(crate) fn deepest(permit: &Permit) -> Result<Deepest, Fault> {
    for _ in 0..RETRIES_MAX {
        if let Some(found) = look_for_deepest(permit)? {
            return Ok(found);
        }
    }
    Err(busy())
}

/// `None` if the way was changed while it was gone.
fn look_for_deepest(permit: &Permit) -> Result<Option<Deepest>, Fault> {
    let (root, rules) = permit.root()?;
    let asked = permit.rel();
    let text = follow::follow(root, rules, asked)?;
    let (mut there, mut missing) = (asked, Vec::new());
    let real = loop {
        match resolve(root, there) {
            Ok(real) => break real,
            Err(Errno::NOENT) if !there.is_empty() => {
                let (above, name) = split_last(there);
                if name == b".." {
                    return Err(hide_target(permit, text, not_found(permit)));
                }
                missing.push(name.to_vec());
                there = above;
            }
            // What cannot be seen must answer as if it were not there: what would be made is a
            // directory of that name.
            Err(Errno::NOTDIR) => {
                let file = file_in_the_way(root, there);
                let denied = file.and_then(|file| permit.decide_again(&file, true).err());
                return Err(denied.unwrap_or_else(|| hide_target(permit, text, in_the_way())));
            }
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(hide_target(permit, text, refusal(errno, permit))),
        }
    };
    missing.reverse();
    match open_exact(root, &real, READ | OFlags::DIRECTORY) {
        Ok(handle) => Ok(Some(Deepest { handle, rel: real, missing })),
        Err(Errno::LOOP | Errno::AGAIN) => Ok(None),
        Err(Errno::NOTDIR) => Err(hide_target(permit, Some(real), in_the_way())),
        Err(errno) => Err(refusal(errno, permit)),
    }
}

/// Where the file is that stands where a path has a directory.
fn file_in_the_way(root: &Root, path: &[u8]) -> Option<Vec<u8>> {
    let mut above = path;
    while !above.is_empty() {
        above = split_last(above).0;
        if let Ok(real) = resolve(root, above) {
            return Some(real);
        }
    }
    None
}

pub(crate) fn in_the_way() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "a file stands where a directory is wanted; choose another path, or move the file",
    )
}

pub(crate) fn changed_meanwhile() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "the file changed while it was written; nothing was changed here; read it again",
    )
}

fn busy() -> Fault {
    Fault::new(
        FaultKind::Busy,
        "the path is being renamed just now; nothing was changed; try again",
    )
}

/// The path above the last name, and that name.
pub(crate) fn split_last(rel: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', rel) {
        Some(at) => (&rel[..at], &rel[at + 1..]),
        None => (&[], rel),
    }
}
