//! One directory, entry by entry.

use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, statat};

use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::entries::{Entries, EntryKind};
use crate::gate::{self, Opened, Want};
use crate::path::shown_name;
use crate::policy::{Permit, join};
use crate::roots::Hardlinks;

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name as it is shown: plain, or a whole `file://` URI where it would be ambiguous.
    pub name: String,
    /// The name as it is on disk, by which a listing is resumed.
    pub raw: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
}

/// A listing's entries that the caller may see, sorted by the bytes of their names.
#[derive(Debug)]
pub struct Listing {
    entries: Arc<Entries>,
    public: Vec<u8>,
}

impl Listing {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The entries whose names sort after `after`, or all.
    pub fn after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Listed> {
        let first = match after {
            None => 0,
            Some(name) => {
                let at = self.entries.position_from(name);
                at + usize::from(self.entries.get(at).is_some_and(|(found, _)| found == name))
            }
        };
        (first..self.entries.len()).filter_map(|at| {
            let (raw, kind) = self.entries.get(at)?;
            let name = shown_name(raw, || join(&self.public, raw)).into_owned();
            Some(Listed { name, raw: raw.to_vec(), kind })
        })
    }
}

/// An entry with what `stat` says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedEntry {
    /// The entry.
    pub entry: Listed,
    /// Size in bytes; `None` for what is no regular file, or may not be told.
    pub size: Option<u64>,
}

/// Lists what the caller may see of a directory.
///
/// # Errors
/// As the gate's; the budget's own.
pub fn list(permit: &Permit, budget: &Budget) -> Result<Listing, Fault> {
    Ok(open_and_list(permit, budget)?.1)
}

fn open_and_list(permit: &Permit, budget: &Budget) -> Result<(Opened, Listing), Fault> {
    let opened = gate::open(permit, Want::Directory)?;
    let (_, rules) = permit.root()?;
    let public = rules.public_of(&opened.rel);
    if let Some(entries) = rules.kept_listings().get(&opened) {
        return Ok((opened, Listing { entries, public }));
    }
    let (mut entry_public, mut entry_rel) = (public.clone(), opened.rel.clone());
    let entries = rules.kept_listings().read(&opened, || {
        Entries::read(&opened.handle, budget, |name, kind| {
            set_last(&mut entry_public, public.len(), name);
            set_last(&mut entry_rel, opened.rel.len(), name);
            !rules.excludes_entry(&entry_public, &entry_rel)
                && (kind == EntryKind::Directory || rules.visible(&entry_public, &entry_rel))
        })
    })?;
    Ok((opened, Listing { entries, public }))
}

/// A listing whose files can be asked for their sizes, one by one: a page needs its own only.
#[derive(Debug)]
pub struct SizedListing {
    opened: Opened,
    listing: Listing,
    hides_linked: bool,
}

impl SizedListing {
    /// The entries whose names sort after `after`, or all, with their sizes.
    pub fn after(&self, after: Option<&[u8]>) -> impl Iterator<Item = SizedEntry> {
        self.listing.after(after).map(|entry| SizedEntry { size: self.size_of(&entry), entry })
    }

    fn size_of(&self, entry: &Listed) -> Option<u64> {
        statat(&self.opened.handle, entry.raw.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .ok()
            .filter(|stat| gate::kind_of(stat) == FileType::RegularFile)
            // The size of a file with another name may be that of an outside file.
            .filter(|stat| stat.st_nlink <= 1 || !self.hides_linked)
            // A file of another file system is mounted here; the gate does not open it.
            .filter(|stat| stat.st_dev == self.opened.stat.st_dev)
            .and_then(|stat| u64::try_from(stat.st_size).ok())
    }
}

/// Lists a directory for its files' sizes.
///
/// # Errors
/// As [`list`].
pub fn list_with_sizes(permit: &Permit, budget: &Budget) -> Result<SizedListing, Fault> {
    let (opened, listing) = open_and_list(permit, budget)?;
    let (root, _) = permit.root()?;
    Ok(SizedListing { opened, listing, hides_linked: root.hardlinks() == Hardlinks::Deny })
}

/// Replaces what stands after the first `base` bytes with `/name`, or `name` when there is no base.
pub(super) fn set_last(path: &mut Vec<u8>, base: usize, name: &[u8]) {
    path.truncate(base);
    if base > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
