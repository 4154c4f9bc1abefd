//! What a path with links says, read link by link, before the kernel resolves it.
//!
//! The kernel answers for a link that leads to nothing with "not found", and for one that leads
//! to something with what it found: the difference would tell whether an excluded name exists.
//! So every place that such a path names, on its way and at its end, is decided on as text
//! first. Nothing is opened for reading here, and what comes out grants nothing: what the
//! kernel resolves afterwards is decided on as ever.
//!
//! **Invariant**: the answer to a path that names an excluded place does not depend on whether
//! that place exists.

use std::collections::VecDeque;

use rustix::fs::{OFlags, readlinkat};

use super::{LOOK, open_exact};
use crate::fault::Fault;
use crate::policy::RootRules;
use crate::roots::Root;

/// The most links of one path: the kernel gives up after as many (`MAXSYMLINKS`, linux/namei.h).
const LINKS_MAX: usize = 40;
/// The most components that are looked at, of the path and of its links together.
const STEPS_MAX: usize = 4096;

/// Follows the links and `..` of a path as far as they can be read.
///
/// Answers with where the path leads as text below the root, or `None` if it leaves the root or
/// passes a limit, which the kernel refuses by itself.
///
/// # Errors
/// `Denied` if a place on the way or at the end is excluded.
pub(super) fn follow(
    root: &Root,
    rules: &RootRules,
    asked: &[u8],
) -> Result<Option<Vec<u8>>, Fault> {
    let mut todo: VecDeque<Vec<u8>> = components(asked).collect();
    let mut at: Vec<u8> = Vec::new();
    let (mut links, mut exists) = (0, true);
    for _ in 0..STEPS_MAX {
        let Some(component) = todo.pop_front() else { return Ok(Some(at)) };
        let above = at.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        if component == b".." {
            if at.is_empty() {
                return Ok(None);
            }
            at.truncate(above);
            continue;
        }
        let parent_len = at.len();
        if !at.is_empty() {
            at.push(b'/');
        }
        at.extend_from_slice(&component);
        rules.refuse_excluded(&at)?;
        // Below what cannot be opened there are no links to read; the rest is text.
        let Some(target) = exists.then(|| target_of(root, &at)) else { continue };
        match target {
            Place::Missing => exists = false,
            Place::Plain => {}
            Place::Link(target) => {
                links += 1;
                if links > LINKS_MAX || target.starts_with(b"/") {
                    return Ok(None);
                }
                at.truncate(parent_len);
                for component in components(&target).rev() {
                    todo.push_front(component);
                }
            }
        }
    }
    Ok(None)
}

enum Place {
    Missing,
    Plain,
    Link(Vec<u8>),
}

fn target_of(root: &Root, rel: &[u8]) -> Place {
    let Ok(handle) = open_exact(root, rel, LOOK | OFlags::NOFOLLOW) else { return Place::Missing };
    // An empty path asks for the link that the handle itself is; of anything else it fails.
    match readlinkat(&handle, "", Vec::new()) {
        Ok(target) => Place::Link(target.into_bytes()),
        Err(_) => Place::Plain,
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
        .map(<[u8]>::to_vec)
}
