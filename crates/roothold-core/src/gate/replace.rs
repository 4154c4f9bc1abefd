//! The new content of a name: a temporary file beside it, made whole and durable, then renamed
//! over it. Whoever looks meanwhile sees the old file or the new one.
//!
//! The new file gets the old one's permission bits, owner and group where the system permits it,
//! its access control list and its `user.*` attributes. What could not be kept is said. Set-id
//! bits are not kept, as they are not when a file is written in place.
//!
//! **Invariant**: whichever step fails, the old content is whole and the temporary file is gone.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags, fchmod, fchown, fgetxattr,
    flistxattr, fsetxattr, fstat, fsync, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::place::{Place, changed_meanwhile};
use super::refusal;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::policy::{Permit, TempName};

/// A block that keeps the check of the budget rare.
const BLOCK_BYTES: usize = 256 * 1024;
/// The most bytes of a file's attribute names, and of one value: Linux's own limits (limits.h).
const XATTR_BYTES_MAX: usize = 64 * 1024;
const ACL: &[u8] = b"system.posix_acl_access";

/// What of the old file could not be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) owner: bool,
    pub(crate) group: bool,
    pub(crate) attributes: bool,
}

/// A temporary file; removed when dropped, unless it was renamed.
struct Temp<'a> {
    place: &'a Place,
    name: &'a TempName,
    handle: OwnedFd,
    renamed: bool,
}

impl<'a> Temp<'a> {
    fn create(place: &'a Place, name: &'a TempName, replaces: bool) -> Result<Self, Errno> {
        // Until it has the bits of the file that it replaces it is nobody else's to read.
        let handle = create(place, name, if replaces { 0o600 } else { 0o666 })?;
        Ok(Self { place, name, handle, renamed: false })
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // A leftover is hidden from callers, and swept later.
            let _ = unlinkat(&self.place.parent, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// Puts `content` at a place whose directory is locked. `old` is the file that was looked at, if
/// the name must still stand for it; `None` for a name that must still be free.
///
/// # Errors
/// `Conflict` if the name stands for something else by now; the disk's own, such as that it is
/// full. Nothing was changed then.
///
/// # Cancellation
/// The budget is asked until the content is durable; after that it goes to its end.
pub(crate) fn replace(
    permit: &Permit,
    place: &Place,
    old: Option<(&Stat, Option<&OwnedFd>)>,
    content: &[u8],
    budget: &Budget,
) -> Result<Lost, Fault> {
    let refuse = |errno| refusal(errno, permit);
    let name = permit.temp().ok_or_else(|| Fault::internal("a write without a temporary name"))?;
    let mut temp = Temp::create(place, name, old.is_some()).map_err(refuse)?;
    fill(&temp.handle, content, budget, permit)?;
    let lost = match old {
        Some((stat, handle)) => keep(&temp.handle, stat, handle).map_err(refuse)?,
        None => Lost::default(),
    };
    fsync(&temp.handle).map_err(refuse)?;
    if old.is_some_and(|(stat, _)| !place.is_still(stat)) {
        return Err(changed_meanwhile());
    }
    budget.check()?;
    // Much time may have gone by, in which another process could move the directory.
    place.stays(permit)?;
    rename(&mut temp, old.is_some()).map_err(|errno| match errno {
        Errno::EXIST => changed_meanwhile(),
        errno => refuse(errno),
    })?;
    budget.note_effect();
    sync_directory(&place.parent)?;
    Ok(lost)
}

/// Makes a temporary file beside a place, for reading and writing: a new one, or none.
pub(crate) fn create(place: &Place, name: &TempName, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    openat(&place.parent, name.as_str(), flags, Mode::from_raw_mode(mode))
}

fn fill(handle: &OwnedFd, content: &[u8], budget: &Budget, permit: &Permit) -> Result<(), Fault> {
    for block in content.chunks(BLOCK_BYTES) {
        budget.check()?;
        let mut rest = block;
        while !rest.is_empty() {
            match rustix::io::write(handle, rest) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(refusal(errno, permit)),
            }
        }
    }
    Ok(())
}

/// Gives the new file what the old one had.
pub(crate) fn keep(new: &OwnedFd, old: &Stat, handle: Option<&OwnedFd>) -> Result<Lost, Errno> {
    let mut lost = Lost::default();
    let own = fstat(new)?;
    if own.st_gid != old.st_gid {
        lost.group = fchown(new, None, Some(Gid::from_raw(old.st_gid))).is_err();
    }
    if own.st_uid != old.st_uid {
        lost.owner = fchown(new, Some(Uid::from_raw(old.st_uid)), None).is_err();
    }
    let mode = old.st_mode & 0o777;
    let mode = if lost.group { for_another_group(mode) } else { mode };
    fchmod(new, Mode::from_raw_mode(mode))?;
    lost.attributes = match handle {
        Some(handle) => copy_attributes(handle, new, lost.group).is_err(),
        None => false,
    };
    Ok(lost)
}

/// Permission bits for a file that has another group now: what the old one might do is not for that,
/// unless everybody might.
fn for_another_group(mode: u32) -> u32 {
    mode & (!0o070 | ((mode & 0o007) << 3))
}

fn copy_attributes(old: &OwnedFd, new: &OwnedFd, group_lost: bool) -> Result<(), Errno> {
    // Nearly every file has none, and a short buffer is enough to see that.
    let mut names = vec![0u8; 1024];
    let len = match flistxattr(old, &mut names[..]) {
        Err(Errno::RANGE) => {
            names.resize(XATTR_BYTES_MAX, 0);
            flistxattr(old, &mut names[..])?
        }
        Err(Errno::OPNOTSUPP) => return Ok(()),
        len => len?,
    };
    let mut value = Vec::new();
    for name in names[..len].split(|byte| *byte == 0) {
        if !(name.starts_with(b"user.") || name == ACL) {
            continue;
        }
        if name == ACL && group_lost {
            return Err(Errno::PERM);
        }
        value.resize(XATTR_BYTES_MAX, 0);
        let len = fgetxattr(old, name, &mut value[..])?;
        fsetxattr(new, name, &value[..len], XattrFlags::empty())?;
    }
    Ok(())
}

fn rename(temp: &mut Temp<'_>, replaces: bool) -> Result<(), Errno> {
    temp.renamed = put(temp.place, temp.name, replaces)?;
    Ok(())
}

/// Puts a temporary file at the name of its place; where that is not to replace anything, `EXIST`
/// if something is there. Tells whether the temporary name is gone with that.
pub(crate) fn put(place: &Place, temp: &TempName, replaces: bool) -> Result<bool, Errno> {
    let (parent, name) = (&place.parent, place.name.as_slice());
    if replaces {
        renameat(parent, temp.as_str(), parent, name)?;
        return Ok(true);
    }
    match renameat_with(parent, temp.as_str(), parent, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        // Some file systems cannot; a second name for the file fails where one is already, too.
        Err(Errno::INVAL | Errno::NOSYS) => {
            linkat(parent, temp.as_str(), parent, name, AtFlags::empty()).map(|()| false)
        }
        Err(errno) => Err(errno),
    }
}

/// Makes the names of a directory durable.
///
/// # Errors
/// `Unavailable`: what was done is done, but a power cut could undo it.
pub(crate) fn sync_directory(directory: impl AsFd) -> Result<(), Fault> {
    fsync(directory).map_err(|errno| {
        Fault::new(
            FaultKind::Unavailable,
            "the change was made, but the disk did not confirm that it would outlive a power cut; \
             read it again before you rely on it, and tell the operator",
        )
        .with_source(errno)
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn another_group_may_do_what_everybody_may() {
        for (mode, kept) in [
            (0o640, 0o600),
            (0o664, 0o644),
            (0o775, 0o755),
            (0o604, 0o604),
            (0o670, 0o600),
            (0o666, 0o666),
            (0o777, 0o777),
        ] {
            assert_eq!(for_another_group(mode), kept, "{mode:o}");
        }
    }

    /// An access control list as the kernel has it (`linux/posix_acl_xattr.h`): one user besides.
    fn access_control_list() -> Vec<u8> {
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, bits, id) in [
            (1_u16, 6_u16, u32::MAX),
            (2, 4, 1234),
            (4, 4, u32::MAX),
            (16, 4, u32::MAX),
            (32, 0, u32::MAX),
        ] {
            list.extend(tag.to_le_bytes());
            list.extend(bits.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn attributes_are_copied_and_a_list_only_for_the_same_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| OwnedFd::from(File::create(dir.path().join(name)).unwrap());
        let (old, new) = (file("old"), file("new"));
        let set = |name: &[u8], value: &[u8]| fsetxattr(&old, name, value, XattrFlags::empty());
        let get = |name: &[u8]| {
            let mut value = [0_u8; 256];
            fgetxattr(&new, name, &mut value[..]).map(|len| value[..len].to_vec())
        };
        if set(b"user.one", b"1") == Err(Errno::OPNOTSUPP) {
            // Where the file system has none, there is nothing to keep, and that is no failure.
            assert_eq!(copy_attributes(&old, &new, true), Ok(()));
            return;
        }
        // More names than fit into the first look.
        for n in 0..20 {
            set(format!("user.{}{n}", "x".repeat(60)).as_bytes(), b"2").unwrap();
        }
        assert_eq!(copy_attributes(&old, &new, true), Ok(()));
        assert_eq!(get(b"user.one"), Ok(b"1".to_vec()));
        assert_eq!(get(format!("user.{}19", "x".repeat(60)).as_bytes()), Ok(b"2".to_vec()));
        match set(ACL, &access_control_list()) {
            Err(Errno::OPNOTSUPP) => return,
            set => set.unwrap(),
        }
        assert_eq!(copy_attributes(&old, &new, true), Err(Errno::PERM));
        assert!(get(ACL).is_err(), "it may name the old group");
        assert_eq!(copy_attributes(&old, &new, false), Ok(()));
        assert_eq!(get(ACL), Ok(access_control_list()));
    }
}
