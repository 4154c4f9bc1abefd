//! What all paged answers have in common.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use roothold_core::files::{Problem, json_len};
use roothold_core::{Fault, FaultKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;

/// Names and values around the records, and the words around the cursor.
pub(in crate::tools) const FRAME_BYTES: usize = 160;
/// The least text of a page.
const TEXT_BYTES_MIN: usize = 64;
/// What a sealed cursor holds besides the place and the principal: nonce, tag, purpose, digest.
const CURSOR_FRAME_BYTES: usize = 160;

/// Room in a page, taken up record by record, with room kept for the cursor after each.
///
/// **Invariant**: what was taken, the cursor and the frame fit into the call's `max_bytes`.
pub(crate) struct Room {
    bytes: usize,
    entries: usize,
    principal_bytes: usize,
    is_empty: bool,
    bytes_max: usize,
    problem_bytes: usize,
}

impl Room {
    /// The room of a call, less what the frame of the answer takes.
    pub(crate) fn of(call: &Call) -> Self {
        let budget = call.budget();
        // What could not be read must be told even on a full page.
        let problem_bytes = (budget.result_bytes_max / 8).min(4096);
        Self {
            bytes: budget.result_bytes_max.saturating_sub(FRAME_BYTES + problem_bytes),
            entries: budget.entries_max,
            principal_bytes: call.principal().name().len(),
            is_empty: true,
            bytes_max: budget.result_bytes_max,
            problem_bytes,
        }
    }

    /// The bytes that are left.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes room for one record, if there is any; `place` is what a cursor after it would hold.
    ///
    /// # Errors
    /// `Limit`, if not even the first record of a page fits: a page of nothing would never end.
    pub(crate) fn take(&mut self, bytes: usize, place: &[u8]) -> Result<bool, Fault> {
        // Only near the end of a page it matters how long the cursor is to the byte.
        if bytes + self.cursor_bytes_max(place) <= self.bytes && self.entries > 0 {
            self.bytes -= bytes;
            self.entries -= 1;
            self.is_empty = false;
            return Ok(true);
        }
        let cursor = self.cursor_bytes(place);
        if bytes + cursor <= self.bytes && self.entries > 0 {
            self.bytes -= bytes;
            self.entries -= 1;
            self.is_empty = false;
            return Ok(true);
        }
        if self.is_empty {
            let least = self.bytes_max - self.bytes + bytes + cursor;
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "the next entry does not fit; call again with max_bytes of {} or more",
                    least * 8 / 7 + 1
                ),
            ));
        }
        Ok(false)
    }

    /// Whether there is room for so many bytes more, and for a cursor after them.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes + self.cursor_bytes_max(&[0; 8]) <= self.bytes
    }

    /// Keeps room for what the cursor or the frame hold besides the usual.
    pub(crate) fn keep(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// As much as [`Self::cursor_bytes`] or more, whatever the place holds: each byte may be escaped
    /// with six.
    fn cursor_bytes_max(&self, place: &[u8]) -> usize {
        (place.len() * 6 + 16 + self.principal_bytes + CURSOR_FRAME_BYTES).div_ceil(3) * 4
    }

    /// The most that a cursor takes: Base64 of the place, JSON if it is text, and what is around it.
    fn cursor_bytes(&self, place: &[u8]) -> usize {
        let place = str::from_utf8(place).map_or(place.len().div_ceil(3) * 4 + 16, json_len);
        (place + self.principal_bytes + CURSOR_FRAME_BYTES).div_ceil(3) * 4
    }
}

/// A path as a cursor carries it: as text where it is text, which is shorter than its bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Place {
    Text(String),
    Bytes { base64: String },
}

impl From<Vec<u8>> for Place {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(
            |error| Self::Bytes { base64: STANDARD_NO_PAD.encode(error.as_bytes()) },
            Self::Text,
        )
    }
}

impl From<Place> for Vec<u8> {
    fn from(place: Place) -> Self {
        match place {
            Place::Text(text) => text.into_bytes(),
            // The cursor was sealed here, so it holds what was put into it.
            Place::Bytes { base64 } => STANDARD_NO_PAD.decode(base64).unwrap_or_default(),
        }
    }
}

// Something below that could not be looked at; said once in its name, not in every schema.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Unreadable {
    path: String,
    reason: String,
}

impl Room {
    /// The problems that there is room for, and how many there are besides.
    pub(super) fn unreadable(
        &self,
        (problems, mut omitted): (Vec<Problem>, usize),
    ) -> (Vec<Unreadable>, usize) {
        let (mut left, mut told) = (self.problem_bytes + self.bytes, Vec::new());
        for problem in problems {
            // {"path":"…","reason":"…"},
            let bytes = json_len(&problem.path) + problem.reason.len() + 26;
            if bytes > left {
                omitted += 1;
                continue;
            }
            left -= bytes;
            told.push(Unreadable { path: problem.path, reason: problem.reason.to_owned() });
        }
        (told, omitted)
    }
}

/// The most bytes of a cursor that holds a place of so many bytes as JSON.
pub(super) fn cursor_bytes_max(call: &Call, place_bytes: usize) -> usize {
    (place_bytes + call.principal().name().len() + CURSOR_FRAME_BYTES).div_ceil(3) * 4
}

/// The room for a text beside the line about it, which holds hash, range and cursor.
pub(super) fn beside_note(call: &Call) -> usize {
    let note = 2 * CURSOR_FRAME_BYTES + (call.principal().name().len() + 352).div_ceil(3) * 4;
    call.budget().result_bytes_max.saturating_sub(note).max(TEXT_BYTES_MIN)
}

/// Appends a text as JSON, with its quotes.
pub(super) fn push_json(to: &mut String, text: &str) -> Result<(), Fault> {
    // Nearly every name is written as it is.
    if json_len(text) > text.len() {
        to.push_str(&serde_json::to_string(text).map_err(Fault::internal)?);
        return Ok(());
    }
    push_quoted(to, text);
    Ok(())
}

/// Appends a text that stands in JSON as it is, between quotes.
pub(super) fn push_quoted(to: &mut String, text: &str) {
    to.push('"');
    to.push_str(text);
    to.push('"');
}

/// The second block of a text form: what the records leave open.
pub(super) fn note(
    next_cursor: Option<&str>,
    problems: &[Unreadable],
    omitted: usize,
) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(cursor) = next_cursor {
        lines.push(format!("truncated=true next_cursor={cursor}"));
    }
    for problem in problems {
        lines.push(format!("problem: {} {}", problem.path, problem.reason));
    }
    if omitted > 0 {
        lines.push(format!("problems_omitted: {omitted}"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}
