//! The first records of a file.

use std::io::Read as _;
use std::sync::Arc;

use roothold_core::{Fault, FaultKind};

use crate::limits::Limits;
use crate::meter::Meter;
use crate::stored::Stored;
use crate::text::{Bytes, Coding, fault_of};

/// The first records of a file as text.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) path: String,
    pub(super) coding: Coding,
    pub(super) text: Vec<u8>,
    /// The text is all there is.
    pub(super) is_whole: bool,
}

impl Sample {
    /// Reads until there is enough, and a line at least.
    ///
    /// # Errors
    /// `Limit` where no line ends, as in a hole of zeros; `Invalid` for an empty file.
    pub(super) fn read(
        file: &Arc<Stored>,
        coding: Coding,
        limits: &Limits,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        let path = file.path();
        let mut bytes = Bytes::open(file, coding, 0, limits, meter)?;
        let mut text = Vec::new();
        let mut wanted = limits.sample_bytes_max;
        loop {
            let more = (wanted - text.len()) as u64;
            let got = bytes
                .by_ref()
                .take(more)
                .read_to_end(&mut text)
                .map_err(|error| fault_of(&error, file, coding))?;
            let is_whole = (got as u64) < more;
            if is_whole && text.is_empty() {
                return Err(Fault::invalid(format!(
                    "{path} is empty; there is nothing in it to ask for"
                )));
            }
            if is_whole || memchr::memchr2(b'\n', b'\r', &text).is_some() {
                return Ok(Self { path, coding, text, is_whole });
            }
            if text.len() > limits.record_bytes_max {
                return Err(Fault::new(
                    FaultKind::Limit,
                    format!(
                        "{path} line 1 is longer than {} bytes; it is no table of records",
                        limits.record_bytes_max
                    ),
                ));
            }
            wanted = (text.len() * 2).min(limits.record_bytes_max + 1);
        }
    }

    /// The whole lines of the sample, without their ends, and their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let end = if self.is_whole {
            self.text.len()
        } else {
            memchr::memrchr(b'\n', &self.text).map_or(self.text.len(), |at| at + 1)
        };
        let lines = self.text[..end].split(|byte| *byte == b'\n').enumerate();
        lines.map(|(at, line)| (at + 1, line.strip_suffix(b"\r").unwrap_or(line)))
    }
}
