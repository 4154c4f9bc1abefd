//! Whether what a permit names is still as it was.
//!
//! A file has changed when its identity, size or times have; a directory when the entries that the
//! caller may see have. Each look goes through the gate, so policy is asked again each time, and
//! what it no longer allows is silent: no change is told of it, nor that it is gone. What happens
//! to an excluded neighbour changes nothing that is compared.
//!
//! Where another configuration comes into force, whoever watches gives it the permits of that.
//!
//! A look finds out; it is told nothing by the kernel, so it is right on every file system. When
//! to look is the caller's: [`Look::handles`] are what the kernel can give hints on.

use std::os::fd::OwnedFd;

use rustix::fs::fstatfs;
use sha2::{Digest, Sha256};

use super::list::list;
use super::stamp::{Stamp, seconds};
use crate::action::Verb;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::gate::{self, Opened, Want};
use crate::policy::Permit;

/// One path that is watched for one principal.
#[derive(Debug)]
pub struct Watched {
    permits: Vec<Permit>,
    seen: Option<Seen>,
}

/// What was there when it was last allowed to be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Nothing,
    File(Stamp),
    Directory { entries: [u8; 32], stamp: Stamp, is_quiet: bool },
}

/// What one look found.
#[derive(Debug)]
pub struct Look {
    /// Whether it has changed since the last look; false for the first.
    pub changed: bool,
    /// The thing itself and the directory that it is or would be in: what happens to either is a
    /// hint to look again.
    pub handles: Vec<OwnedFd>,
    /// Whether the kernel sees every change there. It does not see what other machines do.
    pub is_local: bool,
}

impl Watched {
    /// Watches what these permits, to read and to list one and the same path, allow to be seen.
    pub fn new(permits: Vec<Permit>) -> Self {
        Self { permits, seen: None }
    }

    /// Has later looks see what other permits for the same path allow, or nothing where there are none;
    /// what was there before is compared with that.
    pub fn renew(&mut self, permits: Vec<Permit>) {
        self.permits = permits;
        // What other permits show of a directory may be different, though it is as it was.
        if let Some(Seen::Directory { is_quiet, .. }) = &mut self.seen {
            *is_quiet = false;
        }
    }

    /// Looks, and remembers what was there.
    ///
    /// # Errors
    /// When it could not be found out now, such as `Busy`; look again later. The budget's own.
    pub fn look(&mut self, budget: &Budget) -> Result<Look, Fault> {
        budget.check()?;
        let Some(opened) = self.open()? else {
            return Ok(Look { changed: false, handles: Vec::new(), is_local: false });
        };
        let (now, found) = match opened {
            Found::Nothing => (Seen::Nothing, None),
            Found::File(opened) => (Seen::File(Stamp::from(&opened.stat)), Some(opened)),
            Found::Directory(opened, permit) => {
                (self.directory(&opened, &permit, budget)?, Some(opened))
            }
        };
        let changed = self.seen.as_ref().is_some_and(|seen| !seen.shows_the_same(&now));
        self.seen = Some(now);
        let above = self.permits.first().and_then(gate::nearest_directory);
        // Behind a link there are other directories in which something can happen.
        let is_direct = found.as_ref().is_none_or(|opened| {
            self.permits.first().is_some_and(|permit| permit.rel() == opened.rel)
        });
        let is_local = is_direct && above.as_ref().is_some_and(is_on_local);
        let handles = found.map(|opened| opened.handle).into_iter().chain(above).collect();
        Ok(Look { changed, handles, is_local })
    }

    /// What is there, or `None` where policy or the system does not let it be seen.
    fn open(&self) -> Result<Option<Found>, Fault> {
        let mut refused = self.permits.is_empty();
        for permit in &self.permits {
            let is_list = permit.verb() == Verb::List;
            let want = if is_list { Want::Directory } else { Want::File };
            match gate::open(permit, want) {
                Ok(opened) if is_list => {
                    return Ok(Some(Found::Directory(opened, Box::new(permit.clone()))));
                }
                Ok(opened) => return Ok(Some(Found::File(opened))),
                Err(fault) => match fault.kind() {
                    FaultKind::NotFound | FaultKind::Unsupported => {}
                    FaultKind::Denied | FaultKind::Invalid => refused = true,
                    _ => return Err(fault),
                },
            }
        }
        Ok((!refused).then_some(Found::Nothing))
    }

    fn directory(&self, opened: &Opened, permit: &Permit, budget: &Budget) -> Result<Seen, Fault> {
        let now = seconds();
        let stamp = Stamp::from(&opened.stat);
        if let Some(Seen::Directory { entries, stamp: before, is_quiet: true }) = &self.seen
            && *before == stamp
        {
            return Ok(Seen::Directory { entries: *entries, stamp, is_quiet: true });
        }
        let mut digest = Sha256::new();
        for entry in list(permit, budget)?.after(None) {
            digest.update((entry.raw.len() as u64).to_le_bytes());
            digest.update(entry.raw);
            digest.update(entry.kind.name());
        }
        let is_quiet = stamp.is_quiet(now);
        Ok(Seen::Directory { entries: digest.finalize().into(), stamp, is_quiet })
    }
}

enum Found {
    Nothing,
    File(Opened),
    Directory(Opened, Box<Permit>),
}

impl Seen {
    /// Whether a caller would see no difference. The times of a directory also tell of entries
    /// that the caller may not know of.
    fn shows_the_same(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Directory { entries, .. }, Self::Directory { entries: now, .. }) => {
                entries == now
            }
            (before, now) => before == now,
        }
    }
}

/// Whether no other machine can change the file system (magic numbers from `linux/magic.h`).
fn is_on_local(handle: &OwnedFd) -> bool {
    const NFS: u64 = 0x6969;
    const SMB: u64 = 0x517b;
    const SMB2: u64 = 0xfe53_4d42;
    const CIFS: u64 = 0xff53_4d42;
    const CEPH: u64 = 0x00c3_6400;
    const FUSE: u64 = 0x6573_5546;
    const V9FS: u64 = 0x0102_1997;
    const AFS: u64 = 0x5346_414f;
    const CODA: u64 = 0x7375_7245;
    const OVERLAY: u64 = 0x794c_7630;
    fstatfs(handle).is_ok_and(|stat| {
        let kind = u64::from_ne_bytes(stat.f_type.to_ne_bytes()) & 0xffff_ffff;
        ![NFS, SMB, SMB2, CIFS, CEPH, FUSE, V9FS, AFS, CODA, OVERLAY].contains(&kind)
    })
}

#[cfg(test)]
mod tests;
