//! The gate: the one way from a [`Permit`] to bytes on disk.
//!
//! Every access is one `openat2` below the root's handle with `RESOLVE_BENEATH |
//! RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV`, never a path string. A path is opened first with
//! `RESOLVE_NO_SYMLINKS`: when that succeeds, what was opened is what its name says, and the
//! decision that was made on the name holds. When a link is met, the link is resolved below the
//! root, the real path is decided on again, and *that* path is opened without links; so a link
//! named `a.md` to `.env` is `.env`, whoever swaps what meanwhile. Before that the link is read
//! as text, so that one to an excluded name is refused whether the name exists or not.
//!
//! Only regular files and directories are served: opened `O_NONBLOCK`, then looked at.
//!
//! Writing asks the same of the directory above, opens that one, and works with the last name in
//! it (`gate/place.rs`): a name that is a link is followed as text and by the kernel first, and
//! what is then written is a name that is none.
//!
//! **Invariant**: no handle leaves this module for which policy was not asked about the path
//! that the kernel resolved.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Statx, StatxAttributes, StatxFlags, fstat,
    openat2, readlinkat, statx,
};
use rustix::io::Errno;

use crate::action::Verb;
use crate::fault::{Fault, FaultKind, Rule};
use crate::path::shown;
use crate::policy::{Permit, RULE_ROOTS, join, normalised, outside_roots};
use crate::roots::{Hardlinks, Root, below};

mod claim;
pub(crate) mod entries;
mod follow;
pub(crate) mod lock;
pub(crate) mod place;
pub(crate) mod replace;

/// How often a resolution that a concurrent rename disturbed (`EAGAIN`) is tried again.
const RETRIES_MAX: usize = 64;

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// An opened file or directory that policy allowed.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) handle: OwnedFd,
    pub(crate) stat: Stat,
    /// The real path below the root, without links and without `..`.
    pub(crate) rel: Vec<u8>,
}

/// What the caller of [`open`] can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    File,
    Directory,
    Either,
}

/// Opens what a permit allows, for reading.
///
/// # Errors
/// `Denied` where policy says no to what was really opened, or the path leads outside;
/// `NotFound`; `Unsupported` for what is neither file nor directory, or is not what was wanted.
pub(crate) fn open(permit: &Permit, want: Want) -> Result<Opened, Fault> {
    open_with(permit, flags_for(want), want).map_err(|fault| hide_existence(permit, fault))
}

fn flags_for(want: Want) -> OFlags {
    match want {
        Want::Either => LOOK,
        Want::File => READ,
        // What is no directory is not even opened: it looks the same as what is not there.
        Want::Directory => READ.union(OFlags::DIRECTORY),
    }
}

/// Opens as [`open`] does if that takes no waiting: the path has no link and no `..`, the kernel has
/// all of it in memory, and the file system is this machine's. `None` says nothing of what is
/// there; [`open`] does.
pub(crate) fn open_at_once(permit: &Permit, want: Want) -> Option<Opened> {
    let (root, _) = permit.root().ok()?;
    let rel = permit.rel();
    let (base, above, rest) = root.base(rel);
    if !root.is_local() || !above.is_empty() || normalised(rel)? != rel {
        return None;
    }
    let resolve = BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    let handle = openat2(base, or_dot(rest), flags_for(want), Mode::empty(), resolve).ok()?;
    let stat = fstat(&handle).ok()?;
    check(permit, root, Opened { handle, stat, rel: rel.to_vec() }, rel, want).ok()
}

fn open_with(permit: &Permit, flags: OFlags, want: Want) -> Result<Opened, Fault> {
    let (root, rules) = permit.root()?;
    let asked = permit.rel();
    let exact = normalised(asked).ok_or_else(outside_roots)?;
    for _ in 0..RETRIES_MAX {
        let has_dot_dot = exact != asked;
        // The kernel resolves `..`, after the links before it: text cannot.
        let first = if has_dot_dot { Err(Errno::LOOP) } else { open_exact(root, &exact, flags) };
        let (handle, rel) = match first {
            Ok(handle) => (handle, exact.clone()),
            Err(Errno::LOOP) => {
                let text = follow::follow(root, rules, asked)?;
                match resolve(root, asked) {
                    Ok(real) => {
                        // Decided before it is opened: opening a device can have effects of its own.
                        permit.decide_again(&real, want != Want::File)?;
                        match open_exact(root, &real, flags) {
                            Ok(handle) => (handle, real),
                            Err(Errno::LOOP | Errno::AGAIN) => continue,
                            Err(errno) => return Err(refusal(errno, permit)),
                        }
                    }
                    Err(Errno::AGAIN) => continue,
                    Err(errno) => return Err(hide_target(permit, text, refusal(errno, permit))),
                }
            }
            Err(Errno::AGAIN) => continue,
            Err(errno) => return Err(refusal(errno, permit)),
        };
        let stat = fstat(&handle).map_err(|errno| refusal(errno, permit))?;
        return check(permit, root, Opened { handle, stat, rel }, &exact, want);
    }
    Err(being_renamed())
}

/// The checks that need the opened thing: its kind, its names, and policy once more. `asked` is
/// where it was asked for, without `..`.
fn check(
    permit: &Permit,
    root: &Root,
    opened: Opened,
    asked: &[u8],
    want: Want,
) -> Result<Opened, Fault> {
    let kind = kind_of(&opened.stat);
    let is_directory = kind == FileType::Directory;
    permit.decide_again(&opened.rel, is_directory)?;
    if opened.rel != asked {
        // A link's own name was decided on before it was known to lead to a file.
        permit.decide_again(asked, is_directory)?;
    }
    if permit.wants_directory() && !is_directory {
        return Err(not_found(permit));
    }
    match (kind, want) {
        (FileType::Directory, Want::File) => {
            return Err(unsupported("it is a directory; use list_directory or directory_tree"));
        }
        (FileType::Directory, _) => return Ok(opened),
        (_, Want::Directory) => return Err(not_found(permit)),
        (FileType::RegularFile, _) => {}
        _ => return Err(special_file()),
    }
    if permit.verb() != Verb::List {
        refuse_several_names(root, &opened.stat)?;
    }
    Ok(opened)
}

/// The other name of a file may be excluded, or outside.
fn refuse_several_names(root: &Root, stat: &Stat) -> Result<(), Fault> {
    if stat.st_nlink > 1 && root.hardlinks() == Hardlinks::Deny {
        let rule = Rule { name: "hardlinks", detail: None };
        return Err(Fault::denied(
            rule,
            "the file has several names, one of which may be excluded; copy it to a file of its own",
        ));
    }
    Ok(())
}

/// Opens one entry of a directory that was opened through the gate, without following a link.
///
/// The caller has decided on the entry's path.
pub(crate) fn open_entry(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat2(
        directory,
        name,
        READ | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
        BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

/// Opens one entry of a directory that was opened through the gate, for reading, without following
/// a link; what is no regular file is not served, nor one with other names where the root says so.
///
/// The caller has decided on the entry's path.
pub(crate) fn open_file_entry(
    directory: BorrowedFd<'_>,
    name: &[u8],
    hardlinks: Hardlinks,
) -> Result<(OwnedFd, Stat), Unserved> {
    let resolve = BENEATH | ResolveFlags::NO_SYMLINKS;
    regular(openat2(directory, name, READ | OFlags::NOFOLLOW, Mode::empty(), resolve), hardlinks)
}

/// Opens a file that belongs to the same root as the permit's target and that no caller named, if
/// it is there, policy lets it be read, and no link leads to it.
pub(crate) fn open_related(permit: &Permit, rel: &[u8]) -> Option<(OwnedFd, Stat)> {
    let (root, rules) = permit.root().ok()?;
    rules.decide(Verb::Read, rel, Some(false)).ok()?;
    regular(open_exact(root, rel, READ), root.hardlinks()).ok()
}

/// Why an entry of a directory is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    Errno(Errno),
    /// It has several names, one of which may be excluded.
    Linked,
}

fn regular(
    opened: Result<OwnedFd, Errno>,
    hardlinks: Hardlinks,
) -> Result<(OwnedFd, Stat), Unserved> {
    let handle = opened.map_err(Unserved::Errno)?;
    let stat = fstat(&handle).map_err(Unserved::Errno)?;
    if kind_of(&stat) != FileType::RegularFile {
        return Err(Unserved::Errno(Errno::NXIO));
    }
    if stat.st_nlink > 1 && hardlinks == Hardlinks::Deny {
        return Err(Unserved::Linked);
    }
    Ok((handle, stat))
}

/// Looks one directory up as [`open_entry`] would, without opening it for reading: the handle
/// serves for `fstat`, for what lies below, and for [`open_looked_up`].
pub(crate) fn look_up_entry(directory: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat2(
        directory,
        name,
        LOOK | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        Mode::empty(),
        BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

/// What [`look_up_entry`] would find, told without a handle: `None` for what is no directory, or
/// where a handle is needed to know that no other file system begins there.
///
/// `name` is one name: the kernel looks it up in that directory, and follows nothing. Nothing holds
/// it beneath as `openat2` would, so what is no single name is refused.
pub(crate) fn stat_entry(directory: BorrowedFd<'_>, name: &[u8]) -> Option<Statx> {
    if name.contains(&b'/') || matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = statx(directory, name, flags, StatxFlags::BASIC_STATS).ok()?;
    let told = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    let is_mount = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let is_directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
    (told && !is_mount && is_directory).then_some(stat)
}

/// Opens the directory that a handle of [`look_up_entry`] is of, and no other, for reading.
pub(crate) fn open_looked_up(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat2(
        directory,
        ".",
        READ | OFlags::DIRECTORY,
        Mode::empty(),
        BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

/// The directory that a permit's path is in, or would be in once those above it are made; for a
/// root the root itself. It is only for hints that something happened there, and `None` where the
/// path goes through links, so that nothing here needs a decision of its own: what is excluded
/// covers what lies below, and the permit's path is not.
pub(crate) fn nearest_directory(permit: &Permit) -> Option<OwnedFd> {
    let (root, _) = permit.root().ok()?;
    let rel = normalised(permit.rel())?;
    let mut above = &rel[..];
    loop {
        above = &above[..above.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        match open_exact(root, above, LOOK | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) if !above.is_empty() => {}
            opened => return opened.ok(),
        }
    }
}

/// A directory that turned out to be a mount point: opened if the root names it.
pub(crate) fn open_allowed_mount(
    permit: &Permit,
    rel: &[u8],
) -> Result<Result<OwnedFd, Errno>, Fault> {
    let (root, _) = permit.root()?;
    Ok(open_exact(root, rel, READ | OFlags::DIRECTORY))
}

/// Opens a directory at a path without links, about which the caller has asked policy.
pub(crate) fn open_below(root: &Root, rel: &[u8]) -> Result<OwnedFd, Errno> {
    open_exact(root, rel, READ | OFlags::DIRECTORY)
}

fn open_exact(root: &Root, rel: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let (base, _, rest) = root.base(rel);
    openat2(base, or_dot(rest), flags, Mode::empty(), BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Where a path with links or `..` really leads, below the root: the kernel resolves it, and
/// says where it came out.
fn resolve(root: &Root, rel: &[u8]) -> Result<Vec<u8>, Errno> {
    let (base, prefix, rest) = root.base(rel);
    let handle = openat2(base, or_dot(rest), LOOK, Mode::empty(), BENEATH)?;
    let above = link_of(base)?;
    whereabouts(root, (&above, prefix), &handle)
}

/// What the kernel writes behind the path of something whose name was removed since it was opened.
const REMOVED: &[u8] = b" (deleted)";

/// Where an open handle is below the root; `above` is the path of the handle that it was opened
/// below, as the kernel says it and from the root.
fn whereabouts(root: &Root, above: (&[u8], &[u8]), handle: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let found = link_of(handle)?;
    // Not below: a directory that was moved out of the root while it was resolved.
    let found = join(above.1, below(above.0, &found).ok_or(Errno::XDEV)?);
    // Something may also be called so.
    if found.ends_with(REMOVED) {
        let (one, other) =
            (fstat(open_exact(root, &found, LOOK).or(Err(Errno::AGAIN))?)?, fstat(handle)?);
        if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
            return Err(Errno::AGAIN);
        }
    }
    Ok(found)
}

fn or_dot(rel: &[u8]) -> &[u8] {
    if rel.is_empty() { b"." } else { rel }
}

/// Where an open handle is now, as the kernel sees it, without the leading slash.
fn link_of(handle: impl AsFd) -> Result<Vec<u8>, Errno> {
    let number = std::os::fd::AsRawFd::as_raw_fd(&handle.as_fd());
    let link = readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{number}"), Vec::new())?;
    link.into_bytes().strip_prefix(b"/").map(<[u8]>::to_vec).ok_or(Errno::XDEV)
}

/// Whether `openat2` and `/proc/self/fd` work in a directory; asked of each root, at start.
pub(crate) fn probe(directory: &OwnedFd) -> Result<(), Errno> {
    let handle = openat2(directory, ".", LOOK, Mode::empty(), BENEATH)?;
    link_of(&handle).map(drop)
}

/// Opens a mount point that the configuration names; the only place that crosses one.
pub(crate) fn open_mount(directory: &OwnedFd, rel: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    openat2(directory, rel, LOOK | OFlags::DIRECTORY, Mode::empty(), resolve)
}

pub(crate) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A file that policy hides must look the same whether it exists or not. What a name is, where that
/// is not served, is only said of one that was decided on as a file.
fn hide_existence(permit: &Permit, fault: Fault) -> Fault {
    if !matches!(fault.kind(), FaultKind::NotFound | FaultKind::Unsupported) {
        return fault;
    }
    hide_target(permit, normalised(permit.rel()), fault)
}

/// Replaces a "not found" by the denial that would stand there if the file existed.
fn hide_target(permit: &Permit, rel: Option<Vec<u8>>, fault: Fault) -> Fault {
    rel.and_then(|rel| permit.decide_again(&rel, false).err()).unwrap_or(fault)
}

pub(crate) fn refusal(errno: Errno, permit: &Permit) -> Fault {
    match errno {
        Errno::NOENT | Errno::NOTDIR => not_found(permit),
        Errno::XDEV => mount_point(),
        Errno::LOOP => Fault::invalid(
            "the path goes through too many symbolic links, or through a link of the kernel's own",
        ),
        Errno::ACCESS | Errno::PERM => Fault::denied(
            Rule { name: "file_mode", detail: None },
            "the operating system refuses it to the user that runs the server",
        ),
        Errno::ROFS => Fault::denied(
            Rule { name: "file_system", detail: Some("ro".to_owned()) },
            "the disk is mounted read-only; nothing was changed; write elsewhere, or tell the operator",
        ),
        Errno::NOSPC => Fault::new(
            FaultKind::Unavailable,
            "the disk is full; nothing was changed; delete something, or tell the operator",
        )
        .with_source(errno),
        Errno::DQUOT => Fault::new(
            FaultKind::Limit,
            "the disk quota is used up; nothing was changed; delete something, or tell the operator",
        ),
        Errno::FBIG => Fault::new(
            FaultKind::Limit,
            "the file would be larger than the server may write; nothing was changed",
        ),
        Errno::BUSY => Fault::denied(
            Rule { name: RULE_ROOTS, detail: None },
            "it is a mount point, which is never replaced, moved or deleted; leave it, or ask the operator to unmount it",
        ),
        Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP => special_file(),
        Errno::NAMETOOLONG => Fault::invalid("the path is too long for the file system"),
        Errno::AGAIN => being_renamed(),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR => {
            Fault::new(FaultKind::Busy, "too many files are open just now; try again")
                .with_source(errno)
        }
        other => Fault::internal(other),
    }
}

/// Whether a link leads out of the root was decided on as text before, so this is where the kernel stops.
fn mount_point() -> Fault {
    Fault::denied(
        Rule { name: RULE_ROOTS, detail: None },
        "it is a mount point below the root, or lies in one, and these are not entered; use another path, \
         or ask the operator to serve it as a root of its own, or to name it in `mounts` of this root",
    )
}

pub(crate) fn not_found(permit: &Permit) -> Fault {
    let Ok((root, _)) = permit.root() else { return outside_roots() };
    let path = short(&shown(&join(root.public(), permit.rel())));
    let (what, next) = match permit.verb() {
        Verb::List => ("directory", "; if it is a file, read it or ask get_file_info"),
        _ => ("file or directory", ""),
    };
    Fault::not_found(format!(
        "no such {what}: {path}; list its parent directory to see what is there{next}"
    ))
}

/// Enough to recognise a path by; a message must not carry a whole one of 4 KiB.
pub(crate) fn short(path: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    match path.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    }
}

fn being_renamed() -> Fault {
    Fault::new(FaultKind::Busy, "the path is being renamed all the time; try again")
}

/// FIFOs, devices, sockets: opening one can block, or do something.
fn special_file() -> Fault {
    let rule = Rule { name: "special_files", detail: None };
    Fault::denied(rule, "it is neither a regular file nor a directory")
}

pub(crate) fn unsupported(public: &str) -> Fault {
    Fault::new(FaultKind::Unsupported, public)
}

#[cfg(test)]
mod tests;
