//! The granted directories: a public URI for callers, a private directory that only the kernel
//! handle refers to.
//!
//! **Invariant**: after [`Roots::open`] a root is its open handle. Nothing looks its path up
//! again, so a directory that is renamed, or a link that is retargeted, changes nothing.

mod refusals;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, fstatfs, openat, stat};
use rustix::io::Errno;

use crate::files::{Index, KeptTexts, times_are_of_this_machine};
use crate::path::FilePath;
use refusals::{unconfined, unopened};

/// What the callers of a root can do there at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Nothing can be changed, whatever the patterns say.
    #[default]
    ReadOnly,
    /// What the write patterns cover can be changed.
    ReadWrite,
}

/// What to do with a file that has more than one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardlinks {
    /// Refuse it: its other name may be excluded, or outside.
    Deny,
    /// Serve it: a laptop's package stores are full of them.
    Allow,
}

/// A root as the configuration writes it.
#[derive(Debug, Clone)]
pub struct RootSpec {
    /// The public `file:///…` URI.
    pub uri: String,
    /// A name for people.
    pub name: String,
    /// What it holds, for agents.
    pub description: String,
    /// The directory on disk; never shown to callers.
    pub path: PathBuf,
    /// Read-only unless said otherwise.
    pub access: Access,
    /// Patterns of the root itself.
    pub patterns: RootPatterns,
    /// What to do with files that have several names.
    pub hardlinks: Hardlinks,
    /// Directories below the root that may be mount points, relative to it.
    pub mounts: Vec<String>,
}

/// Patterns relative to a root, which narrow the policy there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootPatterns {
    /// What may be read, of what the policy allows.
    pub read: Option<Vec<String>>,
    /// What may be written, of what the policy allows.
    pub write: Option<Vec<String>>,
    /// What is excluded here too.
    pub exclude: Vec<String>,
    /// What is never written.
    pub write_exclude: Vec<String>,
}

/// Why the roots are refused; each names the key and the mend, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is no root.
    #[error(
        "no root is configured; add a [[roots]] entry with a path, name a directory on the command line, or add [[databases]]"
    )]
    None,
    /// The URI is not usable.
    #[error("[[roots]] `{root}` uri: {reason}; write file:///name")]
    Uri {
        /// Which root.
        root: String,
        /// What is wrong.
        reason: String,
    },
    /// The directory cannot be opened.
    #[error("[[roots]] `{root}` path: {path} {reason}")]
    Path {
        /// Which root.
        root: String,
        /// The directory, as configured. This text is for the operator.
        path: PathBuf,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// The directory is not there, as that of a disk that is not mounted, or its disk does not answer:
    /// that may pass by itself.
    #[error("[[roots]] `{root}` path: {path} {reason}")]
    Absent {
        /// Which root.
        root: String,
        /// The directory, as configured. This text is for the operator.
        path: PathBuf,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// Two roots have the same name, or one has the URI of another as its name.
    #[error("[[roots]] name: two roots are called `{0}`; give each its own name")]
    DuplicateName(String),
    /// Two roots overlap.
    #[error(
        "[[roots]] `{first}` and `{second}` overlap by {by}; make one of them an exclude or a narrower root"
    )]
    Overlap {
        /// One root.
        first: String,
        /// The other.
        second: String,
        /// `uri` or `directory`.
        by: &'static str,
    },
    /// A mount that was named cannot be used.
    #[error("[[roots]] `{root}` mounts: `{mount}` {reason}")]
    Mount {
        /// Which root.
        root: String,
        /// The mount, as configured.
        mount: String,
        /// What is wrong.
        reason: String,
    },
    /// The kernel cannot confine.
    #[error(
        "this kernel or its seccomp profile refuses openat2 ({0}); Linux 5.6 or later is needed"
    )]
    Openat2(Errno),
}

/// An opened root.
#[derive(Debug)]
pub struct Root {
    uri: String,
    name: String,
    description: String,
    public: Vec<u8>,
    access: Access,
    patterns: RootPatterns,
    hardlinks: Hardlinks,
    directory: OwnedFd,
    /// Whether its file system is this machine's own, and waits for no network.
    is_local: bool,
    /// Allowed mounts, deepest first.
    mounts: Vec<(Vec<u8>, OwnedFd)>,
}

impl Root {
    /// Opens the directory of a specification.
    ///
    /// # Errors
    /// A [`RootError`] that names the root.
    pub fn open(spec: &RootSpec) -> Result<Self, RootError> {
        let public = parse_uri(spec)?;
        let directory = open_directory(spec)?;
        let mut mounts = spec
            .mounts
            .iter()
            .map(|mount| open_mount(spec, &directory, mount))
            .collect::<Result<Vec<_>, _>>()?;
        mounts.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
        Ok(Self {
            uri: crate::path::uri(&public),
            name: spec.name.clone(),
            description: spec.description.clone(),
            public,
            access: spec.access,
            patterns: spec.patterns.clone(),
            hardlinks: spec.hardlinks,
            is_local: times_are_of_this_machine(&directory),
            directory,
            mounts,
        })
    }

    /// The public URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds, for agents.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The path of the URI, without its leading slash.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// What can be done here at most.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The root's own patterns.
    pub fn patterns(&self) -> &RootPatterns {
        &self.patterns
    }

    pub(crate) fn hardlinks(&self) -> Hardlinks {
        self.hardlinks
    }

    /// The handles that everything is opened from: the root's own and those of its mounts.
    pub(crate) fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let mounts = self.mounts.iter().map(|(_, mount)| mount.as_fd());
        std::iter::once(self.directory.as_fd()).chain(mounts)
    }

    /// The handle below which `rel` lies (the root's own, or an allowed mount's), where that
    /// handle is below the root, and the rest of `rel` below it.
    pub(crate) fn base<'a>(&self, rel: &'a [u8]) -> (BorrowedFd<'_>, &[u8], &'a [u8]) {
        for (at, mount) in &self.mounts {
            if let Some(rest) = below(at, rel) {
                return (mount.as_fd(), at, rest);
            }
        }
        (self.directory.as_fd(), &[], rel)
    }

    /// Whether its file system is this machine's own, and waits for no network; of allowed mounts
    /// it says nothing.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether an allowed mount lies at a path or below it.
    pub(crate) fn has_mount_below(&self, rel: &[u8]) -> bool {
        self.mounts.iter().any(|(at, _)| below(rel, at).is_some())
    }

    /// The part of a public path (without leading slash) below this root, if it lies in it.
    pub(crate) fn below<'a>(&self, public: &'a [u8]) -> Option<&'a [u8]> {
        below(&self.public, public)
    }
}

/// The rest of `path` below `above`, by whole components.
pub(crate) fn below<'a>(above: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    if above.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// All roots, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct Roots {
    all: Arc<[Arc<Root>]>,
    texts: Arc<KeptTexts>,
    index: Arc<Index>,
}

impl Roots {
    /// Opens every root. Whether there may be none is for whoever serves them to say, with
    /// [`RootError::None`].
    ///
    /// # Errors
    /// A [`RootError`]: one that cannot be opened, two that overlap by URI or by
    /// directory, or a kernel that cannot confine.
    pub fn open(specs: &[RootSpec]) -> Result<Self, RootError> {
        let roots = specs
            .iter()
            .map(|spec| Root::open(spec).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        for (root, spec) in roots.iter().zip(specs) {
            crate::gate::probe(&root.directory).map_err(|errno| unconfined(spec, errno))?;
        }
        refuse_same_names(&roots)?;
        refuse_overlap(&roots)?;
        Ok(Self { all: roots.into(), texts: Arc::default(), index: Arc::default() })
    }

    /// The roots in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Root>> {
        self.all.iter()
    }

    /// What is kept of the texts below them.
    pub fn texts(&self) -> &KeptTexts {
        &self.texts
    }

    #[cfg(test)]
    pub(crate) fn with_texts(self, texts: KeptTexts) -> Self {
        Self { texts: Arc::new(texts), ..self }
    }

    /// What their directories were found to hold.
    pub fn index(&self) -> &Index {
        &self.index
    }

    #[cfg(test)]
    pub(crate) fn with_index(self, index: Index) -> Self {
        Self { index: Arc::new(index), ..self }
    }

    /// The root in which a directory of the operator's lies, such as that of the audit log.
    pub fn containing(&self, directory: &Path) -> Option<&Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, directory, flags, Mode::empty()).ok()?;
        let chain = ancestors(&handle);
        let is_above = |root: &&Arc<Root>| {
            ancestors(&root.directory).first().is_some_and(|own| chain.contains(own))
        };
        self.all.iter().find(is_above).map(|root| &**root)
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one root")]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn at(&self, at: usize) -> &Arc<Root> {
        &self.all[at]
    }

    /// The positions of the roots that a name or URI means.
    pub(crate) fn positions(&self, name: &str) -> Vec<usize> {
        let means = |root: &Root| root.name == name || root.uri == name;
        (0..self.all.len()).filter(|at| means(&self.all[*at])).collect()
    }
}

fn parse_uri(spec: &RootSpec) -> Result<Vec<u8>, RootError> {
    let refuse = |reason: String| RootError::Uri { root: spec.name.clone(), reason };
    let path = FilePath::parse_uri(&spec.uri).map_err(|fault| refuse(fault.public().to_owned()))?;
    if path.as_bytes().split(|byte| *byte == b'/').any(|component| component == b"..") {
        return Err(refuse("it holds `..`".to_owned()));
    }
    Ok(path.as_bytes().to_vec())
}

fn open_directory(spec: &RootSpec) -> Result<OwnedFd, RootError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        openat(CWD, &spec.path, flags, Mode::empty()).map_err(|errno| unopened(spec, errno))?;
    if is_kernel_file_system(&directory) {
        let reason = "is a file system of the kernel; files there are not data".to_owned();
        return Err(RootError::Path { root: spec.name.clone(), path: spec.path.clone(), reason });
    }
    Ok(directory)
}

/// procfs, sysfs, devtmpfs and their like hold switches and secrets, not files
/// (magic numbers from `linux/magic.h`). The handle itself is asked, not what its path may mean
/// by now. Device files lie on a tmpfs like any other, so `/dev` is known by its identity.
fn is_kernel_file_system(directory: &OwnedFd) -> bool {
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    const DEBUGFS: u64 = 0x6462_6720;
    const TRACEFS: u64 = 0x7472_6163;
    const SECURITYFS: u64 = 0x7363_6673;
    const CGROUP: u64 = 0x0027_e0eb;
    const CGROUP2: u64 = 0x6367_7270;
    const DEVPTS: u64 = 0x1cd1;
    let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
    let own = fstat(directory).map(identity);
    let is_dev = own.is_ok_and(|own| stat("/dev").map(identity) == Ok(own));
    is_dev
        || fstatfs(directory).is_ok_and(|stat| {
            let kind = u64::try_from(stat.f_type).unwrap_or_default();
            [PROC, SYSFS, DEBUGFS, TRACEFS, SECURITYFS, CGROUP, CGROUP2, DEVPTS].contains(&kind)
        })
}

fn open_mount(
    spec: &RootSpec,
    directory: &OwnedFd,
    mount: &str,
) -> Result<(Vec<u8>, OwnedFd), RootError> {
    let refuse = |reason: String| RootError::Mount {
        root: spec.name.clone(),
        mount: mount.to_owned(),
        reason,
    };
    let path = FilePath::from_bytes(mount.as_bytes())
        .map_err(|fault| refuse(fault.public().to_owned()))?;
    let climbs = path.as_bytes().split(|byte| *byte == b'/').any(|component| component == b"..");
    if path.is_absolute() || climbs || path.as_bytes().is_empty() {
        return Err(refuse("must be a path below the root, without `..`".to_owned()));
    }
    let handle = crate::gate::open_mount(directory, path.as_bytes())
        .map_err(|errno| refuse(format!("cannot be opened: {errno}")))?;
    Ok((path.as_bytes().to_vec(), handle))
}

/// A name must mean one root, since `[[principals]]` grants roots by it. A name that only repeats
/// the end of its root's URI is what directories are given that were named without one: two
/// of them may be alike, and what would grant by such a name is refused there.
fn refuse_same_names(roots: &[Arc<Root>]) -> Result<(), RootError> {
    let is_chosen = |root: &Root| root.uri.rsplit('/').next() != Some(&root.name);
    for (at, first) in roots.iter().enumerate() {
        let clash = roots.iter().enumerate().any(|(other, second)| {
            let same = other > at && first.name == second.name;
            (same && (is_chosen(first) || is_chosen(second)))
                || (other != at && first.name == second.uri)
        });
        if clash {
            return Err(RootError::DuplicateName(first.name.clone()));
        }
    }
    Ok(())
}

fn refuse_overlap(roots: &[Arc<Root>]) -> Result<(), RootError> {
    let overlap = |first: &Root, second: &Root, by| RootError::Overlap {
        first: first.name.clone(),
        second: second.name.clone(),
        by,
    };
    let chains = roots.iter().map(|root| ancestors(&root.directory)).collect::<Vec<_>>();
    for (at, first) in roots.iter().enumerate() {
        for (other, second) in roots.iter().enumerate().filter(|(other, _)| *other != at) {
            if other > at
                && (first.below(&second.public).is_some() || second.below(&first.public).is_some())
            {
                return Err(overlap(first, second, "uri"));
            }
            // `first` lies in `second` if the directory of `second` is among those above `first`.
            if chains[other].first().is_some_and(|own| chains[at].contains(own)) {
                return Err(overlap(first, second, "directory"));
            }
        }
    }
    Ok(())
}

/// Device and inode of a directory and of each one above it.
fn ancestors(directory: impl AsFd) -> Vec<(u64, u64)> {
    let identity = |stat: &Stat| (stat.st_dev, stat.st_ino);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(stat) = fstat(directory.as_fd()) else { return Vec::new() };
    let mut chain = vec![identity(&stat)];
    let mut handle = openat(directory.as_fd(), "..", flags, Mode::empty()).ok();
    while let Some(current) = handle {
        let Ok(stat) = fstat(&current) else { break };
        if chain.last() == Some(&identity(&stat)) {
            break;
        }
        chain.push(identity(&stat));
        handle = openat(&current, "..", flags, Mode::empty()).ok();
    }
    chain
}
