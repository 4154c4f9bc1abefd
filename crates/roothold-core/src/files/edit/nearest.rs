//! The text of a file that is most like one that is not in it, so that an agent sees what it misread.
//!
//! **Invariant**: what is looked at, and what is shown, is bounded.

use std::collections::HashMap;

use crate::budget::Budget;
use crate::fault::Fault;

/// The most lines of the file, and of the text, that are compared.
const LINES_MAX: usize = 50_000;
const OLD_LINES_MAX: usize = 200;
/// The most bytes of one line that are compared.
const LINE_BYTES_MAX: usize = 200;
/// The most of the nearest text that is shown.
const SHOWN_LINES_MAX: usize = 12;
const SHOWN_BYTES_MAX: usize = 1500;
/// From this likeness on a line is worth showing: half of the pairs of letters are the same.
const ALIKE_MIN: f32 = 0.5;

/// The number of the line, from 1, at which the nearest text begins, and that text.
///
/// # Errors
/// The budget's own.
pub(super) fn nearest(
    text: &str,
    old: &str,
    budget: &Budget,
) -> Result<Option<(usize, String)>, Fault> {
    let lines: Vec<&str> = text.split('\n').take(LINES_MAX).collect();
    let old_lines: Vec<&str> = old.split('\n').take(OLD_LINES_MAX).collect();
    let best = match by_same_lines(&lines, &old_lines, budget)? {
        Some(at) => Some(at),
        None => by_likeness(&lines, &old_lines, budget)?,
    };
    Ok(best.map(|at| (at + 1, excerpt(&lines[at..], old_lines.len()))))
}

/// Where most lines are the same apart from white space around them.
fn by_same_lines(
    lines: &[&str],
    old_lines: &[&str],
    budget: &Budget,
) -> Result<Option<usize>, Fault> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, line) in old_lines.iter().enumerate() {
        let line = line.trim();
        // A brace or a blank line is everywhere and says nothing.
        if line.len() > 3 {
            places.entry(line).or_default().push(at);
        }
    }
    // Each line that is the same votes for where the text would begin.
    let mut votes: HashMap<usize, usize> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        if at.is_multiple_of(1024) {
            budget.check()?;
        }
        for old in places.get(line.trim()).into_iter().flatten() {
            if let Some(start) = at.checked_sub(*old) {
                *votes.entry(start).or_default() += 1;
            }
        }
    }
    let best = votes.into_iter().max_by_key(|(start, count)| (*count, std::cmp::Reverse(*start)));
    Ok(best.map(|(start, _)| start))
}

/// Where a line is most like the longest line of the text.
fn by_likeness(
    lines: &[&str],
    old_lines: &[&str],
    budget: &Budget,
) -> Result<Option<usize>, Fault> {
    let longest = old_lines.iter().enumerate().max_by_key(|(_, line)| line.trim().len());
    let Some((within, longest)) = longest else { return Ok(None) };
    let wanted = pairs(longest);
    let mut best: Option<(f32, usize)> = None;
    for (at, line) in lines.iter().enumerate() {
        if at.is_multiple_of(256) {
            budget.check()?;
        }
        let alike = likeness(&wanted, &pairs(line));
        if alike >= ALIKE_MIN && best.is_none_or(|(most, _)| alike > most) {
            best = Some((alike, at));
        }
    }
    Ok(best.map(|(_, at)| at.saturating_sub(within)))
}

/// The pairs of neighbouring bytes of a line, sorted.
fn pairs(line: &str) -> Vec<[u8; 2]> {
    let bytes = line.trim().as_bytes();
    let bytes = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let mut pairs: Vec<[u8; 2]> = bytes.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    pairs.sort_unstable();
    pairs
}

/// The share of pairs that two lines have in common (Sørensen–Dice).
fn likeness(one: &[[u8; 2]], other: &[[u8; 2]]) -> f32 {
    let (mut common, mut a, mut b) = (0u16, 0, 0);
    while a < one.len() && b < other.len() {
        match one[a].cmp(&other[b]) {
            std::cmp::Ordering::Less => a += 1,
            std::cmp::Ordering::Greater => b += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                (a, b) = (a + 1, b + 1);
            }
        }
    }
    // Both are at most LINE_BYTES_MAX long.
    let all = u16::try_from(one.len() + other.len()).unwrap_or(u16::MAX);
    if all == 0 { 0.0 } else { 2.0 * f32::from(common) / f32::from(all) }
}

pub(super) fn excerpt(lines: &[&str], count: usize) -> String {
    let mut text = lines[..lines.len().min(count).min(SHOWN_LINES_MAX)].join("\n");
    if text.len() > SHOWN_BYTES_MAX {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text.push('…');
    }
    text
}
