//! One directory, entry by entry.

use std::borrow::Cow;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, statat};

use super::walk::{entries_of, set_last};
use crate::budget::Budget;
use crate::fault::Fault;
use crate::gate::entries::{Entries, EntryKind};
use crate::gate::{self, Opened, Want};
use crate::path::shown_name;
use crate::policy::{Permit, RootRules, join};
use crate::roots::Hardlinks;

/// One entry of a listing; it borrows from the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name as it is shown: plain, or a whole `file://` URI where it would be ambiguous.
    pub name: Cow<'a, str>,
    /// The name as it is on disk, by which a listing is resumed.
    pub raw: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// Whether the name stands in JSON as it is, between quotes; nearly every one does.
    pub is_simple: bool,
}

/// A listing's entries that the caller may see, sorted by the bytes of their names.
#[derive(Debug)]
pub struct Listing<'a> {
    entries: Arc<Entries>,
    public: Vec<u8>,
    rules: &'a RootRules,
}

impl Listing<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.after(None).next().is_none()
    }

    /// How many entries there are, and how many bytes their names have together; those that are not
    /// shown are counted, so it is for having room, and for nobody's eyes.
    pub fn most(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.names_bytes())
    }

    /// The entries whose names sort after `after`, or all. Policy decides on each as it comes.
    pub fn after(&self, after: Option<&[u8]>) -> impl Iterator<Item = Listed<'_>> {
        let first = match after {
            None => 0,
            Some(name) => {
                let at = self.entries.position_from(name);
                at + usize::from(self.entries.get(at).is_some_and(|(found, _)| found == name))
            }
        };
        let (mut path, base) = (self.public.clone(), self.public.len());
        (first..self.entries.len()).filter_map(move |at| {
            let (raw, kind) = self.entries.get(at)?;
            let shows = self.rules.shows_by_name(raw, kind).unwrap_or_else(|| {
                set_last(&mut path, base, raw);
                self.rules.shows(&path, kind)
            });
            if !shows {
                return None;
            }
            let simple = self.entries.simple_name(at);
            let name = match simple {
                Some(name) => Cow::Borrowed(name),
                None => shown_name(raw, || join(&self.public, raw)),
            };
            Some(Listed { name, raw, kind, is_simple: simple.is_some() })
        })
    }
}

/// An entry with what `stat` says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizedEntry<'a> {
    /// The entry.
    pub entry: Listed<'a>,
    /// Size in bytes; `None` for what is no regular file, or may not be told.
    pub size: Option<u64>,
}

/// Lists what the caller may see of a directory.
///
/// # Errors
/// As the gate's; the budget's own.
pub fn list<'a>(permit: &'a Permit, budget: &Budget) -> Result<Listing<'a>, Fault> {
    Ok(open_and_list(permit, budget)?.1)
}

/// Lists as [`list`] does if that takes no waiting: a directory that the index holds, by a path that
/// the kernel has in memory. `None` says nothing of the directory; [`list`] does.
pub fn list_at_once(permit: &Permit) -> Option<Listing<'_>> {
    let opened = gate::open_at_once(permit, Want::Directory)?;
    let (_, rules) = permit.root().ok()?;
    let entries = permit.index().get_if_kept(&opened.stat)?;
    Some(Listing { entries, public: rules.public_of(&opened.rel), rules })
}

fn open_and_list<'a>(permit: &'a Permit, budget: &Budget) -> Result<(Opened, Listing<'a>), Fault> {
    let opened = gate::open(permit, Want::Directory)?;
    let (_, rules) = permit.root()?;
    let (entries, _) = entries_of(permit, &opened, budget)?;
    let public = rules.public_of(&opened.rel);
    Ok((opened, Listing { entries, public, rules }))
}

/// A listing whose files can be asked for their sizes, one by one: a page needs its own only.
#[derive(Debug)]
pub struct SizedListing<'a> {
    opened: Opened,
    listing: Listing<'a>,
    hides_linked: bool,
}

impl SizedListing<'_> {
    /// The entries whose names sort after `after`, or all, with their sizes.
    pub fn after(&self, after: Option<&[u8]>) -> impl Iterator<Item = SizedEntry<'_>> {
        self.listing.after(after).map(|entry| SizedEntry { size: self.size_of(&entry), entry })
    }

    fn size_of(&self, entry: &Listed<'_>) -> Option<u64> {
        // What is in no file has no size to ask for.
        if entry.kind != EntryKind::File {
            return None;
        }
        statat(&self.opened.handle, entry.raw, AtFlags::SYMLINK_NOFOLLOW)
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
pub fn list_with_sizes<'a>(permit: &'a Permit, budget: &Budget) -> Result<SizedListing<'a>, Fault> {
    let (opened, listing) = open_and_list(permit, budget)?;
    let (root, _) = permit.root()?;
    Ok(SizedListing { opened, listing, hides_linked: root.hardlinks() == Hardlinks::Deny })
}
