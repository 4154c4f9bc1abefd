//! What is done with arguments before a tool sees them.

use std::sync::Arc;

use roothold_core::Fault;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::catalog::Entry;

/// The smallest answer that may be asked for: a page must hold the longest name and its cursor.
pub(super) const RESULT_BYTES_MIN: u64 = 1024;

/// Takes the arguments that belong to paging, not to the tool.
pub(super) fn page_arguments(
    entry: &Entry,
    arguments: &mut Map<String, Value>,
) -> Result<(Option<Arc<str>>, Option<u64>), Fault> {
    if !entry.tool.paged() {
        return Ok((None, None));
    }
    let cursor = match arguments.remove("cursor") {
        None | Some(Value::Null) => None,
        Some(Value::String(cursor)) => Some(Arc::from(cursor)),
        Some(_) => {
            return Err(Fault::invalid(
                "cursor must be a string, the next_cursor of the page before",
            ));
        }
    };
    let bytes_max = match arguments.remove("max_bytes") {
        None | Some(Value::Null) => None,
        Some(value) => {
            Some(value.as_u64().filter(|bytes| *bytes >= RESULT_BYTES_MIN).ok_or_else(|| {
                Fault::invalid(format!("max_bytes must be a whole number from {RESULT_BYTES_MIN}"))
            })?)
        }
    };
    Ok((cursor, bytes_max))
}

/// Writes `2.0` as `2`: to JSON Schema both are integers, and some clients send the first.
pub(super) fn whole_numbers(arguments: &mut Map<String, Value>) {
    /// Beyond it a float no longer tells whole numbers apart (IEEE 754).
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    for value in arguments.values_mut() {
        let Some(float) = value.as_f64().filter(|_| value.is_f64()) else { continue };
        if float.fract() == 0.0 && float.abs() < EXACT_MAX {
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            let whole = float as i64;
            *value = Value::from(whole);
        }
    }
}

/// Ties a cursor to the arguments of its first page.
pub(super) fn digest(arguments: &Map<String, Value>) -> [u8; 8] {
    if arguments.is_empty() {
        return [0; 8];
    }
    let text = serde_json::to_vec(arguments).unwrap_or_default();
    let hash = Sha256::digest(&text);
    let mut digest = [0; 8];
    digest.copy_from_slice(&hash[..8]);
    digest
}
