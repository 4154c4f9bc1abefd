//! The entries of one opened directory, as few system calls as there are buffers to fill.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};

/// About five hundred names a system call; the C library uses as much.
const BUFFER_BYTES: usize = 32 * 1024;
/// The most bytes that the names of one directory have together: about ten million usual names.
const NAMES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Up to this size of a directory as many bytes are believed to be in it.
const SIZE_TRUSTED_MAX: usize = 4 * 1024 * 1024;
/// How many entries are looked at between two checks of the budget.
const CHECK_EVERY: usize = 1024;
/// In one word of a set of bits.
const BITS: usize = u64::BITS as usize;

/// What an entry is, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it leads to.
    Symlink,
    /// A FIFO, socket or device: listed, never opened.
    Other,
}

impl EntryKind {
    /// The stable name, as answers use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Other => "other",
        }
    }

    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// The names of a directory in one buffer, so that a hundred thousand of them are not as many
/// allocations.
#[derive(Debug)]
pub(crate) struct Entries {
    names: Names,
    index: Vec<Slot>,
    /// Entries whose kind could not be found out.
    unknown: usize,
    has_directories: bool,
    /// A bit for each entry, if one is a directory: see [`Self::note_branch`].
    branches: Box<[AtomicU64]>,
}

/// Names one behind the other. Whether they are text is found out once for all of them.
#[derive(Debug)]
enum Names {
    Text(String),
    /// One of them is no text.
    Bytes(Vec<u8>),
}

impl Names {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(names) => names.as_bytes(),
            Self::Bytes(names) => names,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    start: u32,
    len: u16,
    kind: EntryKind,
    /// See [`is_simple`].
    is_simple: bool,
}

/// Whether a name is shown as it is, and stands in JSON as it is: nearly every one.
fn is_simple(name: &[u8]) -> bool {
    let is_simple = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    // In runs, which the compiler turns into vector instructions.
    name.chunks(64).all(|run| run.iter().fold(true, |all, byte| all & is_simple(*byte)))
}

/// Entries on their way from the kernel.
#[derive(Debug, Default)]
struct Reading {
    names: Vec<u8>,
    index: Vec<Slot>,
    unknown: usize,
}

impl Entries {
    /// Reads all entries, sorted by the bytes of their names. `size` is what the file system says
    /// of the directory; where it means bytes of entries, the memory for a long one is had at once.
    ///
    /// # Errors
    /// `NotFound` for a directory that was removed after it was opened; another system error as
    /// `Internal`; `Limit` for a directory with more names than fit into
    /// [`NAMES_BYTES_MAX`]; the budget's own.
    pub(crate) fn read(directory: impl AsFd, size: i64, budget: &Budget) -> Result<Self, Fault> {
        let mut reading = Reading::with_room(size);
        let mut seen: usize = 0;
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); BUFFER_BYTES];
        let mut raw = RawDir::new(directory.as_fd(), &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            seen += 1;
            if seen.is_multiple_of(CHECK_EVERY) {
                budget.check()?;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say; ask, without following.
                FileType::Unknown => {
                    let name = entry.file_name();
                    let Ok(stat) = statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
                    else {
                        reading.unknown += 1;
                        continue;
                    };
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            reading.push(name, EntryKind::of(kind))?;
        }
        Ok(reading.finish())
    }
}

impl Reading {
    /// With room for the entries of a directory of this size. What is not written to costs nothing.
    fn with_room(size: i64) -> Self {
        let size = usize::try_from(size).unwrap_or(0).min(SIZE_TRUSTED_MAX);
        // Of an entry's bytes in ext4 eight are not its name, and blocks are half full at least.
        Self {
            names: Vec::with_capacity(size / 2),
            index: Vec::with_capacity(size / 24),
            unknown: 0,
        }
    }

    fn push(&mut self, name: &[u8], kind: EntryKind) -> Result<(), Fault> {
        let fits = self.names.len() + name.len() <= NAMES_BYTES_MAX;
        match (u32::try_from(self.names.len()), u16::try_from(name.len())) {
            (Ok(start), Ok(len)) if fits => {
                self.names.extend_from_slice(name);
                self.index.push(Slot { start, len, kind, is_simple: false });
                Ok(())
            }
            _ => Err(Fault::new(
                FaultKind::Limit,
                "the directory has more entries than can be listed; name a file or directory in it",
            )),
        }
    }

    fn finish(mut self) -> Entries {
        let all = is_simple(&self.names);
        for slot in &mut self.index {
            slot.is_simple = all || is_simple(slice(&self.names, *slot));
        }
        self.sort();
        let names = match String::from_utf8(self.names) {
            Ok(names) => Names::Text(names),
            Err(error) => Names::Bytes(error.into_bytes()),
        };
        let has_directories = self.index.iter().any(|slot| slot.kind == EntryKind::Directory);
        let bits = if has_directories { self.index.len() } else { 0 };
        let branches = (0..bits.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect();
        Entries { names, index: self.index, unknown: self.unknown, has_directories, branches }
    }

    /// By the bytes of the names. Numbers are sorted first, of a part of each name and where it is:
    /// to look names up in the buffer takes most of the time of a large directory.
    fn sort(&mut self) {
        let common = self.common_beginning();
        let name = |number: u128| slice(&self.names, self.index[position(number)]);
        let mut order: Vec<u128> = (0_u32..)
            .take(self.index.len())
            .map(|at| {
                let name = slice(&self.names, self.index[at as usize]);
                beginning(&name[common..]) | u128::from(at)
            })
            .collect();
        order.sort_unstable();
        let alike = |one: &u128, other: &u128| one >> u32::BITS == other >> u32::BITS;
        for run in order.chunk_by_mut(alike).filter(|run| run.len() > 1) {
            run.sort_unstable_by(|one, other| name(*one).cmp(name(*other)));
        }
        self.index = order.into_iter().map(|number| self.index[position(number)]).collect();
    }

    /// How many bytes all names begin with alike.
    fn common_beginning(&self) -> usize {
        let mut names = self.index.iter().map(|slot| slice(&self.names, *slot));
        let Some(first) = names.next() else { return 0 };
        names.fold(first.len(), |common, name| {
            let pairs = first[..common].iter().zip(name);
            pairs.take_while(|(one, other)| one == other).count()
        })
    }
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The bytes of all names.
    pub(crate) fn names_bytes(&self) -> usize {
        self.names.bytes().len()
    }

    /// The memory that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let names = match &self.names {
            Names::Text(names) => names.capacity(),
            Names::Bytes(names) => names.capacity(),
        };
        names + self.index.capacity() * size_of::<Slot>() + size_of_val(&*self.branches)
    }

    /// Whether one of them is a directory.
    pub(crate) fn has_directories(&self) -> bool {
        self.has_directories
    }

    /// Notes that the directory there was found to hold directories itself. That may change: it only says which
    /// way of looking at it will probably cost less.
    pub(crate) fn note_branch(&self, at: usize) {
        if let Some(word) = self.branches.get(at / BITS) {
            word.fetch_or(1 << (at % BITS), Ordering::Relaxed);
        }
    }

    /// Whether [`Self::note_branch`] was called for it.
    pub(crate) fn is_branch(&self, at: usize) -> bool {
        let word = self.branches.get(at / BITS).map(|word| word.load(Ordering::Relaxed));
        word.is_some_and(|word| word & 1 << (at % BITS) != 0)
    }

    /// Whether no entry was left out.
    pub(crate) fn is_whole(&self) -> bool {
        self.unknown == 0
    }

    /// Gives back the memory that reading has left over.
    pub(crate) fn shrink(&mut self) {
        match &mut self.names {
            Names::Text(names) => names.shrink_to_fit(),
            Names::Bytes(names) => names.shrink_to_fit(),
        }
        self.index.shrink_to_fit();
    }

    pub(crate) fn get(&self, at: usize) -> Option<(&[u8], EntryKind)> {
        let slot = *self.index.get(at)?;
        Some((slice(self.names.bytes(), slot), slot.kind))
    }

    /// The name there, if it is shown as it is, and stands in JSON as it is.
    pub(crate) fn simple_name(&self, at: usize) -> Option<&str> {
        let slot = self.index.get(at).filter(|slot| slot.is_simple)?;
        match &self.names {
            Names::Text(names) => names.get(range(*slot)),
            Names::Bytes(names) => std::str::from_utf8(&names[range(*slot)]).ok(),
        }
    }

    /// The first position whose name is at least `name`.
    pub(crate) fn position_from(&self, name: &[u8]) -> usize {
        let names = self.names.bytes();
        self.index.partition_point(|slot| slice(names, *slot) < name)
    }
}

fn range(slot: Slot) -> std::ops::Range<usize> {
    slot.start as usize..slot.start as usize + slot.len as usize
}

fn slice(names: &[u8], slot: Slot) -> &[u8] {
    &names[range(slot)]
}

/// The first bytes of a name as a number that sorts as they do, with room for a position in its
/// last 32 bits: no directory has more entries than bytes of names, which are counted in as many.
/// A shorter name is filled up with zeros, which no name holds.
fn beginning(name: &[u8]) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    let len = name.len().min(size_of::<u128>() - size_of::<u32>());
    bytes[..len].copy_from_slice(&name[..len]);
    u128::from_be_bytes(bytes)
}

fn position(number: u128) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "it stands in the last 32 bits")]
    let position = number as u32;
    position as usize
}

fn unreadable(errno: Errno) -> Fault {
    match errno {
        Errno::NOENT => Fault::not_found(
            "the directory was removed; if it is a root that was made anew, ask the operator to start the server again",
        ),
        _ => Fault::internal(errno),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::budget;

    #[test]
    fn what_was_noted_of_an_entry_is_that_one_s() {
        let dir = tempfile::tempdir().unwrap();
        let read = || Entries::read(fs::File::open(dir.path()).unwrap(), 0, &budget()).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let files = read();
        files.note_branch(0);
        assert!(!files.is_branch(0), "there are no directories");
        for name in 0..BITS + 2 {
            fs::create_dir(dir.path().join(format!("{name:03}"))).unwrap();
        }
        let entries = read();
        entries.note_branch(1);
        entries.note_branch(BITS + 1);
        entries.note_branch(usize::MAX);
        let noted = (0..BITS + 9).filter(|at| entries.is_branch(*at));
        assert_eq!(noted.collect::<Vec<_>>(), [1, BITS + 1]);
    }

    #[test]
    fn a_reading_ends_with_its_call() {
        let dir = tempfile::tempdir().unwrap();
        for name in 0..CHECK_EVERY {
            fs::write(dir.path().join(name.to_string()), "").unwrap();
        }
        let handle = fs::File::open(dir.path()).unwrap();
        let budget = budget();
        budget.cancel();
        let fault = Entries::read(&handle, 0, &budget).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Cancelled);
    }

    #[test]
    fn names_are_sorted_by_their_bytes_and_known_to_be_simple() {
        let mut reading = Reading::default();
        let long = "a".repeat(16);
        let names: Vec<Vec<u8>> = [
            "b",
            "a",
            "a\u{1}",
            "aa",
            "a b",
            "a\"b",
            "a\\b",
            "\u{e9}",
            "\u{7f}",
            "~",
            "A",
            "\n",
            &long,
            &long[..15],
            &format!("{long}b"),
            &format!("{long}a"),
            &format!("{long}\u{1}"),
        ]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .chain([b"a\xff".to_vec(), b"\xff".to_vec(), [long.as_bytes(), b"\xff"].concat()])
        .collect();
        for name in &names {
            reading.push(name, EntryKind::File).unwrap();
        }
        let entries = reading.finish();
        let mut sorted = names;
        sorted.sort();
        assert_eq!(entries.len(), sorted.len());
        for (at, name) in sorted.iter().enumerate() {
            assert_eq!(entries.get(at).unwrap().0, name);
            let shown = crate::path::shown_name(name, || b"root/x".to_vec());
            let as_it_is = shown.as_bytes() == name
                && crate::files::json_len(&shown) == name.len()
                && name.is_ascii();
            let simple = entries.simple_name(at).map(str::as_bytes);
            assert_eq!(simple, as_it_is.then_some(&name[..]), "{name:?}");
        }
    }

    #[test]
    fn names_are_simple_whatever_stands_beside_them() {
        for odd in [None, Some("\u{e9}".as_bytes()), Some(b"\xff")] {
            let mut reading = Reading::default();
            let long = "b".repeat(200);
            for name in ["a", &long].map(str::as_bytes).into_iter().chain(odd) {
                reading.push(name, EntryKind::File).unwrap();
            }
            let entries = reading.finish();
            assert_eq!(entries.simple_name(0), Some("a"), "{odd:?}");
            assert_eq!(entries.simple_name(1), Some(&long[..]), "{odd:?}");
            assert_eq!(entries.simple_name(2), None);
            assert_eq!(entries.get(2).map(|(name, _)| name), odd);
        }
    }

    #[test]
    fn kinds_have_names_and_memory_is_told_and_given_back() {
        let kinds = [
            (FileType::RegularFile, "file"),
            (FileType::Directory, "directory"),
            (FileType::Symlink, "symlink"),
            (FileType::Fifo, "other"),
        ];
        for (kind, name) in kinds {
            assert_eq!(EntryKind::of(kind).name(), name);
        }
        for last in [&b"c"[..], b"\xff"] {
            let mut reading = Reading::with_room(1 << 20);
            for name in [&b"b"[..], b"aa", last] {
                reading.push(name, EntryKind::File).unwrap();
            }
            let mut entries = reading.finish();
            assert_eq!((entries.len(), entries.names_bytes()), (3, 4));
            assert!(entries.is_whole() && entries.bytes() > 1 << 18);
            entries.shrink();
            assert_eq!(entries.bytes(), 4 + 3 * size_of::<Slot>());
        }
    }

    #[test]
    fn a_removed_directory_is_said_to_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let handle = fs::File::open(dir.path()).unwrap();
        fs::remove_dir(dir.path()).unwrap();
        let fault = Entries::read(&handle, 0, &budget()).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::NotFound);
        assert!(fault.public().contains("was removed"), "{}", fault.public());
    }

    #[test]
    fn no_name_is_dropped_at_the_limit() {
        let names = vec![0; NAMES_BYTES_MAX - 1];
        let mut reading = Reading { names, ..Reading::default() };
        reading.push(b"a", EntryKind::File).unwrap();
        let fault = reading.push(b"b", EntryKind::File).unwrap_err();
        assert_eq!((fault.kind(), reading.index.len()), (FaultKind::Limit, 1));
    }
}
