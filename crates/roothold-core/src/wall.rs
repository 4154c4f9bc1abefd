//! The second wall: Landlock, by which the kernel keeps a process to the roots and to what it
//! was told, whatever the code in it does.
//!
//! The gate decides which file a caller gets. The wall knows nothing of callers: it is for the
//! day on which the gate, a library or a tool of somebody's own is wrong. It stands on the handles
//! that the roots already are, so it covers the very directories that are served, wherever their
//! names lead by then. Nothing can be executed behind it.
//!
//! Handles that were opened before stay usable as they are; what is opened through them is
//! checked. A wall cannot be widened or taken away, only made narrower: what is to be reachable
//! must be known when it is raised.
//!
//! **Invariant**: nothing outside the roots and the [`Reach`] can be opened by the thread that
//! raised a wall, nor by any thread or process that it starts afterwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    NetPort, PathBeneath, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use crate::roots::{Access, Roots};

/// The newest interface whose restrictions this server was tested under (Linux 6.15). A newer
/// kernel offers more; what it would forbid is not known here.
const TESTED: ABI = ABI::V7;

/// Reading files and directories.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Adding files and lines to them, without taking any away.
const KEEP: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg});

/// Everything that files are changed with: no devices, sockets, pipes or links are ever made.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// What a process can reach behind a wall, besides the roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    read: Vec<PathBuf>,
    keep: Vec<PathBuf>,
    write: Vec<PathBuf>,
    bind: Vec<u16>,
    connect: Vec<u16>,
}

impl Reach {
    /// Lets a file be read, or everything in a directory.
    #[must_use]
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.read.push(path.into());
        self
    }

    /// Lets files be read, made and written in a directory, but none be removed or renamed.
    #[must_use]
    pub fn keep(mut self, path: impl Into<PathBuf>) -> Self {
        self.keep.push(path.into());
        self
    }

    /// Lets a directory be read and changed in every way that a writable root can be.
    #[must_use]
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.write.push(path.into());
        self
    }

    /// Lets a TCP port of this machine be listened on; 0 for one that the system chooses.
    #[must_use]
    pub fn bind(mut self, port: u16) -> Self {
        self.bind.push(port);
        self
    }

    /// Lets a TCP port of any machine be connected to.
    #[must_use]
    pub fn connect(mut self, port: u16) -> Self {
        self.connect.push(port);
        self
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.read.extend(other.read);
        self.keep.extend(other.keep);
        self.write.extend(other.write);
        self.bind.extend(other.bind);
        self.connect.extend(other.connect);
        self
    }
}

/// What came of raising a wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// The kernel holds it, as far as this version of the interface goes.
    Stands {
        /// The version: 1 is files, 4 TCP ports too, 6 signals and abstract sockets too.
        abi: u32,
    },
    /// The kernel has no Landlock, or it is not among the security modules that were enabled.
    Absent {
        /// Which of both, and the mend.
        reason: &'static str,
    },
}

impl Wall {
    /// Whether a kernel holds anything.
    pub fn stands(&self) -> bool {
        matches!(self, Self::Stands { .. })
    }

    /// What is held, in the order in which kernels learnt it.
    pub fn holds(&self) -> &'static [&'static str] {
        const ALL: &[&str] = &["files", "TCP ports", "signals and abstract sockets"];
        match self {
            Self::Absent { .. } => &[],
            Self::Stands { abi: ..4 } => &ALL[..1],
            Self::Stands { abi: 4 | 5 } => &ALL[..2],
            Self::Stands { .. } => ALL,
        }
    }
}

/// Why a wall could not be raised although the kernel can.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// Something that must be reachable cannot be opened.
    #[error("{path} cannot be opened: {source}; create it or correct the key")]
    Path {
        /// Which, as configured. This text is for the operator.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error(
        "the kernel refuses the restriction: {0}; a seccomp profile must allow the landlock calls and prctl"
    )]
    Refused(#[from] landlock::RulesetError),
}

/// Keeps the calling thread, and all that it starts from here on, to `roots` and `reach`.
///
/// Threads that run already are not held: raise it before there are any.
///
/// # Errors
/// A [`WallError`]; the thread is as it was then. A kernel without Landlock is no error but
/// [`Wall::Absent`].
pub fn raise(roots: &Roots, reach: &Reach) -> Result<Wall, WallError> {
    raise_up_to(TESTED, roots, reach)
}

/// The same on a kernel that is no newer than `newest`.
fn raise_up_to(newest: ABI, roots: &Roots, reach: &Reach) -> Result<Wall, WallError> {
    let mut rules = Rules { rules: handled(newest)?.create()?, newest };
    for root in roots.iter() {
        let access = if root.access() == Access::ReadWrite { WRITE } else { READ };
        for handle in root.handles() {
            rules = rules.allow(handle, access)?;
        }
    }
    for (paths, access) in [(&reach.read, READ), (&reach.keep, KEEP), (&reach.write, WRITE)] {
        for path in paths {
            rules = rules.allow(open(path)?.as_fd(), access)?;
        }
    }
    for (ports, access) in
        [(&reach.bind, AccessNet::BindTcp), (&reach.connect, AccessNet::ConnectTcp)]
    {
        rules = rules.allow_ports(ports, access)?;
    }
    let status = rules.rules.restrict_self()?;
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    Ok(what_stands(newest, enforced, status.landlock))
}

/// Everything that Landlock can hold is denied unless a rule allows it.
fn handled(newest: ABI) -> Result<Ruleset, WallError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?;
    if newest >= ABI::V4 {
        rules = rules.handle_access(AccessNet::from_all(newest))?;
    }
    if newest >= ABI::V6 {
        rules = rules.scope(Scope::from_all(newest))?;
    }
    Ok(rules)
}

/// Rules in the making.
struct Rules {
    rules: RulesetCreated,
    newest: ABI,
}

impl Rules {
    fn allow(
        mut self,
        handle: BorrowedFd<'_>,
        access: BitFlags<AccessFs>,
    ) -> Result<Self, WallError> {
        let kind = fstat(handle).map(|stat| FileType::from_raw_mode(stat.st_mode));
        // A right that only directories can have is an error on a file.
        let possible = if kind == Ok(FileType::Directory) {
            AccessFs::from_all(self.newest)
        } else {
            AccessFs::from_file(self.newest)
        };
        self.rules = self.rules.add_rule(PathBeneath::new(handle, access & possible))?;
        Ok(self)
    }

    /// Older interfaces do not hold ports, and then there is nothing to allow.
    fn allow_ports(mut self, ports: &[u16], access: AccessNet) -> Result<Self, WallError> {
        for port in ports.iter().filter(|_| self.newest >= ABI::V4) {
            self.rules = self.rules.add_rule(NetPort::new(*port, access))?;
        }
        Ok(self)
    }
}

fn open(path: &Path) -> Result<OwnedFd, WallError> {
    openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| WallError::Path { path: path.to_owned(), source: errno.into() })
}

fn what_stands(newest: ABI, enforced: bool, kernel: LandlockStatus) -> Wall {
    match kernel {
        LandlockStatus::Available { effective_abi, .. } if enforced => {
            Wall::Stands { abi: effective_abi.min(newest) as u32 }
        }
        LandlockStatus::NotEnabled => Wall::Absent {
            reason: "the kernel has Landlock, but it is not enabled; add `landlock` to lsm= of its command line",
        },
        _ => Wall::Absent {
            reason: "the kernel has no Landlock, or a seccomp profile refuses it; Linux 5.13 or later is needed",
        },
    }
}

#[cfg(test)]
mod tests;
