//! The place that an output is to have, and what is refused there.

use super::OutputOptions;
use crate::budget::Budget;
use crate::fault::{Fault, FaultKind};
use crate::files::fresh::Fresh;
use crate::files::make::make_missing;
use crate::files::write::refuse_protected;
use crate::gate::place::{Last, Place, locate};
use crate::gate::unsupported;
use crate::policy::Permit;

/// As [`OutputFile::look_ahead`](super::OutputFile::look_ahead).
pub(super) fn look_ahead(
    permit: &Permit,
    options: OutputOptions,
    budget: &Budget,
) -> Result<(), Fault> {
    let (place, _) = placed(permit, true, budget)?;
    let Some(place) = place else { return Ok(()) };
    refuse_directory(&place)?;
    if place.found.is_some() { refuse_existing(permit, &place, options) } else { Ok(()) }
}

/// The place of the target, once the directories above it are there.
pub(super) fn find(permit: &Permit, budget: &Budget) -> Result<(Place, Fresh), Fault> {
    let (place, fresh) = placed(permit, false, budget)?;
    place.map(|place| (place, fresh)).ok_or_else(|| Fault::internal("a place was made and is none"))
}

/// The place, once the directories above it are there: those that are missing are made, or, in a dry
/// run, looked at whether they could be, and then there is no place yet.
fn placed(
    permit: &Permit,
    dry_run: bool,
    budget: &Budget,
) -> Result<(Option<Place>, Fresh), Fault> {
    budget.check()?;
    if permit.wants_directory() {
        return Err(Fault::invalid("the path of a file does not end in a slash"));
    }
    match locate(permit, Last::Follow) {
        Err(fault) if fault.kind() == FaultKind::NotFound => {
            let fresh = make_missing(permit, dry_run, budget)?.unwrap_or_default();
            if dry_run {
                return Ok((None, fresh));
            }
            locate(permit, Last::Follow).map(|place| (Some(place), fresh))
        }
        located => located.map(|place| (Some(place), Fresh::default())),
    }
}

pub(super) fn refuse_directory(place: &Place) -> Result<(), Fault> {
    if place.is_directory() {
        return Err(unsupported("it is a directory; give the path of a file"));
    }
    Ok(())
}

pub(super) fn refuse_existing(
    permit: &Permit,
    place: &Place,
    options: OutputOptions,
) -> Result<(), Fault> {
    if !options.overwrite {
        return Err(occupied());
    }
    refuse_protected(permit, place)
}

pub(super) fn occupied() -> Fault {
    Fault::new(
        FaultKind::Conflict,
        "the output exists already and was not changed; choose another path, or say overwrite: true",
    )
}
