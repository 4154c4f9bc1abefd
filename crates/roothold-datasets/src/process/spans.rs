//! Cuts files into chunks: whole records of text, or row groups, one after the other.
//!
//! **Invariant**: where a chunk ends depends on where it begins, on the bytes and on the limits,
//! and on nothing else; so a run that is resumed has the chunks of one that was not.

use std::ops::Range;
use std::sync::Arc;

use memchr::memchr;
use roothold_core::{Fault, FaultKind};
use serde::{Deserialize, Serialize};

use super::buffers::{Buffers, ChunkText};
use super::input::{FileSize, GroupSize, Input, ShapeFormat, Stop, TextRead};
use super::records::{Cutter, count_lines};
use super::step::ProcessLimits;

/// Where the next chunk begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The file, counted from 0.
    pub(super) file: usize,
    /// The offset in its decoded text, or its row group.
    pub(super) offset: u64,
    /// How many lines of it end before, or rows.
    pub(super) lines: u64,
}

/// One chunk before it is worked on.
#[derive(Debug)]
pub(super) struct Span {
    /// Where it begins.
    pub(super) at: Position,
    /// Whether that is the beginning of a file.
    pub(super) is_first: bool,
    /// Where the next one begins.
    pub(super) next: Position,
    /// Bytes of all files that are read once it is.
    pub(super) bytes_done: u64,
    /// What it holds.
    pub(super) body: Body,
}

/// What a chunk holds.
#[derive(Debug)]
pub(super) enum Body {
    /// Whole records of text.
    Text(ChunkText),
    /// Row groups of a Parquet file.
    RowGroups(Range<usize>),
}

/// The chunks of an input from a position on.
pub(super) struct Spans {
    input: Arc<dyn Input>,
    limits: ProcessLimits,
    files: Vec<FileSize>,
    at: Position,
    text: Option<Text>,
    buffers: Buffers,
    groups: Vec<GroupSize>,
}

/// A text that is being read, and the beginning of its next record.
struct Text {
    read: Box<dyn TextRead>,
    carry: Vec<u8>,
    ended: bool,
}

impl Spans {
    pub(super) fn new(input: Arc<dyn Input>, limits: ProcessLimits, at: Position) -> Self {
        let files = input.files();
        // Those at work, the one that waits for its turn, and the one that is read.
        let at_once = limits.chunks_concurrent.saturating_add(2);
        let buffers = Buffers::new(at_once, limits.chunk_bytes.saturating_mul(2));
        Self { input, limits, files, at, text: None, buffers, groups: Vec::new() }
    }

    /// The next chunk; none after the last.
    pub(super) fn next(&mut self, stop: &Stop) -> Result<Option<Span>, Fault> {
        while self.at.file < self.files.len() {
            stop.check()?;
            let span = if self.input.shape().format == ShapeFormat::Parquet {
                self.next_groups()?
            } else {
                self.next_text(stop)?
            };
            if let Some(span) = span {
                self.at = span.next.clone();
                return Ok(Some(span));
            }
            self.at = Position { file: self.at.file + 1, ..Position::default() };
            self.text = None;
            self.groups.clear();
        }
        Ok(None)
    }

    fn span(&self, next: Position, bytes_done_in_file: u64, body: Body) -> Span {
        let before: u64 = self.files[..self.at.file].iter().map(|file| file.bytes).sum();
        let bytes_done = before + bytes_done_in_file.min(self.files[self.at.file].bytes);
        Span { at: self.at.clone(), is_first: false, next, bytes_done, body }
    }

    fn next_groups(&mut self) -> Result<Option<Span>, Fault> {
        if self.groups.is_empty() {
            self.groups = self.input.row_groups(self.at.file)?;
        }
        let from = usize::try_from(self.at.offset).unwrap_or(usize::MAX).min(self.groups.len());
        let (mut until, mut bytes) = (from, 0);
        while let Some(group) = self.groups.get(until)
            && (until == from || bytes + group.bytes <= self.limits.chunk_bytes as u64)
        {
            bytes += group.bytes;
            until += 1;
        }
        if until == from {
            return Ok(None);
        }
        let rows: u64 = self.groups[from..until].iter().map(|group| group.rows).sum();
        let next =
            Position { offset: until as u64, lines: self.at.lines + rows, ..self.at.clone() };
        let done = if until == self.groups.len() {
            u64::MAX
        } else {
            self.groups[..until].iter().map(|group| group.bytes).sum()
        };
        Ok(Some(self.span(next, done, Body::RowGroups(from..until))))
    }

    fn next_text(&mut self, stop: &Stop) -> Result<Option<Span>, Fault> {
        let is_first = self.at.offset == 0;
        let mut text = match self.text.take() {
            Some(text) => text,
            None => self.open()?,
        };
        let mut data = self.buffers.text();
        data.push(&text.carry);
        let end = self.fill(&mut text, &mut data, stop)?;
        if end == 0 {
            return Ok(None);
        }
        text.carry.clear();
        text.carry.extend_from_slice(&data[end..]);
        data.truncate(end);
        let is_csv = matches!(self.input.shape().format, ShapeFormat::Csv { .. });
        let lines = count_lines(&data, is_csv && memchr(b'\r', &data).is_some());
        let next = Position {
            offset: self.at.offset + end as u64,
            lines: self.at.lines + lines,
            ..self.at.clone()
        };
        let done = text.read.consumed().unwrap_or(next.offset);
        self.text = Some(text);
        Ok(Some(Span { is_first, ..self.span(next, done, Body::Text(data)) }))
    }

    fn open(&mut self) -> Result<Text, Fault> {
        let read = self.input.text(self.at.file, self.at.offset)?;
        self.at.offset = read.start();
        Ok(Text { read, carry: Vec::new(), ended: false })
    }

    /// Reads until `data` holds whole records and returns where the last of them ends.
    ///
    /// Looks at the same lengths whether a part of `data` was read for the chunk before or not.
    fn fill(&self, text: &mut Text, data: &mut ChunkText, stop: &Stop) -> Result<usize, Fault> {
        let framing = self.input.shape().framing();
        let mut cutter = Cutter::default();
        let mut target = self.limits.chunk_bytes.max(1);
        loop {
            if data.len() < target && !text.ended {
                let read = data.read_up_to(target, &mut text.read);
                text.ended = !read.map_err(|error| self.unreadable(error))?;
            }
            if data.len() < target {
                return Ok(data.len());
            }
            let seen = &data[..target];
            let end = cutter.last_end(framing, seen);
            if end > 0 {
                return Ok(end);
            }
            if target >= self.limits.record_bytes_max {
                return self.too_long(seen);
            }
            stop.check()?;
            target += self.limits.chunk_bytes.div_ceil(2).max(1);
        }
    }

    /// A line of plain text goes on in the next chunk; no other record can be cut.
    fn too_long(&self, data: &[u8]) -> Result<usize, Fault> {
        if self.input.shape().format == ShapeFormat::Text {
            let tail = data.iter().rev().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            return Ok((data.len() - tail - 1).max(1));
        }
        Err(Fault::new(
            FaultKind::Limit,
            format!(
                "{}: the record that begins at line {} is longer than {} bytes; a quote that is never closed \
                 has the same effect: mend that line, or process the file as text",
                self.files[self.at.file].name,
                self.at.lines + 1,
                self.limits.record_bytes_max
            ),
        ))
    }

    fn unreadable(&self, error: std::io::Error) -> Fault {
        match error.downcast::<Fault>() {
            Ok(fault) => fault,
            Err(error) => Fault::new(
                FaultKind::Unavailable,
                format!(
                    "{}: reading failed; try again, or look at the file",
                    self.files[self.at.file].name
                ),
            )
            .with_source(error),
        }
    }
}
