//! Reading a log back: one record a line, as typed values.
//!
//! Reading checks neither hashes nor order; [`super::verify`] does.

use std::io::{self, BufRead, Read as _};

use serde::{Deserialize, Serialize};

use super::links::Link;
use super::record::LINE_BYTES_MAX;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Record {
    /// The version of the format.
    pub v: u8,
    /// The number of the line; the boot line is 1.
    pub seq: u64,
    /// When it was written, RFC 3339 in UTC.
    pub ts: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The hash of the line before; none for the boot line.
    pub prev: Option<String>,
    /// The hash of this line.
    pub hash: String,
}

/// What a line says, by its `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The log, or another file of it, begins.
    Boot {
        /// The version of the server.
        version: String,
        /// The random id of this boot.
        boot: String,
        /// The name of the replica.
        replica: String,
        /// The file that it goes on from, and how far that had come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Link>,
    },
    /// A call was decided.
    Intent {
        /// The number of the call.
        call: u64,
        /// Who asked.
        principal: String,
        /// The tool.
        tool: String,
        /// What it would touch.
        actions: Vec<ReadAction>,
        /// `allow` or `deny`.
        decision: String,
        /// The rule that decided.
        rule: String,
        /// The id of the request.
        request_id: String,
    },
    /// A call ended.
    Outcome {
        /// The number of the call.
        call: u64,
        /// Whether it succeeded.
        ok: bool,
        /// The kind of the fault, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        /// The rule behind a refusal after the intent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The size of the answer in bytes.
        bytes_out: u64,
        /// How long it took, in microseconds.
        duration_us: u64,
    },
    /// A request was refused for its credentials.
    AuthFailure {
        /// What was wrong.
        class: String,
        /// The peer's address.
        remote: Option<String>,
        /// The id of the request.
        request_id: String,
    },
    /// A file before this one is not written any more.
    Closed {
        /// Which, and its last line that was on the disk.
        file: Link,
    },
    /// The log ended in order.
    Stop {
        /// The name of the file that goes on from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    },
}

/// One thing that a recorded call would touch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct ReadAction {
    /// What would be done.
    pub verb: String,
    /// What it would be done to.
    pub target: String,
    /// The rule that denied it, where the call went on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// The name of the temporary file that a write may have made beside its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temp: Option<String>,
    /// What a database would have been asked, without literals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
}

/// Why a line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The input itself failed.
    #[error("the log could not be read: {0}")]
    Io(#[from] io::Error),
    /// The line is not a record.
    #[error("line {line} is not an audit record: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Iterates over the records of a log, in order. After a line that is no record it goes on with
/// the next; after a failure of the input it ends.
pub fn records(mut input: impl BufRead) -> impl Iterator<Item = Result<Record, ReadError>> {
    let mut buffer = Vec::new();
    let mut line = 0;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        line += 1;
        match next_line(&mut input, &mut buffer) {
            Ok(Line::End) => None,
            Ok(found) => Some(record(found, &buffer, line)),
            Err(error) => {
                failed = true;
                Some(Err(error.into()))
            }
        }
    })
}

fn record(found: Line, buffer: &[u8], line: u64) -> Result<Record, ReadError> {
    let reason = match found {
        Line::Whole => match serde_json::from_slice(buffer) {
            Ok(record) => return Ok(record),
            Err(error) => error.to_string(),
        },
        Line::Partial | Line::End => "it is cut off".to_owned(),
        Line::TooLong => "it is too long".to_owned(),
    };
    Err(ReadError::Line { line, reason })
}

/// What [`next_line`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end, is in the buffer.
    Whole,
    /// The input ends within a line.
    Partial,
    /// The line is longer than any record; it was skipped.
    TooLong,
    /// The input ended before this line.
    End,
}

/// Reads the next line into `buffer`, never more than the longest record.
pub(super) fn next_line(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Line> {
    buffer.clear();
    let limit = LINE_BYTES_MAX as u64 + 1;
    if input.by_ref().take(limit).read_until(b'\n', buffer)? == 0 {
        return Ok(Line::End);
    }
    if buffer.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Line::Whole);
    }
    if buffer.len() as u64 <= LINE_BYTES_MAX as u64 {
        return Ok(Line::Partial);
    }
    buffer.clear();
    input.skip_until(b'\n')?;
    Ok(Line::TooLong)
}
