//! Records of a text, decoded batch by batch, with the place at which each batch begins and ends.
//!
//! A piece of a file is the records that begin in a range of it. Where a range begins is judged by
//! the line ends alone ([`aligned`]); where it really ends is known once it is decoded, so the
//! end of one piece tells whether the beginning of the next was judged rightly. It was not where
//! a quoted field holds a line end just there; then the file has to be read in one piece.
//!
//! **Invariant**: a record that is longer than its limit ends the reading before it is in memory.

use std::io::Read;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use roothold_core::{Fault, FaultKind};

use crate::meter::Meter;
use crate::plain::{Form, Patience, Plain};
use crate::prepared::Prepared;
use crate::text::{Bytes, fault_of};

mod blame;
mod decoder;
mod place;

use decoder::Decoder;
pub(crate) use place::aligned;

/// How much text is read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// After so much text a batch ends with its record, however few it holds.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// What to read of a file.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) file: usize,
    /// Where a record begins.
    pub(crate) from: u64,
    /// Records that begin here or later are not of it; `None`: up to the end.
    pub(crate) until: Option<u64>,
}

/// The decoder of plain lines beside the general one. Only one of them holds records.
struct Plainly {
    decoder: Plain,
    /// Whether the records of this batch are its.
    is_at_work: bool,
    patience: Patience,
}

impl Plainly {
    /// A batch is done; whose is the next?
    fn turn(&mut self) {
        self.patience.turn();
        self.is_at_work = self.patience.is_over();
    }

    /// The next line is not plain. Few before it were not worth a batch of their own.
    fn give_up(&mut self) {
        self.is_at_work = false;
        self.patience.give_up();
    }
}

/// The records of a piece.
pub(crate) struct Records {
    prepared: Arc<Prepared>,
    piece: Piece,
    projection: Vec<usize>,
    meter: Arc<Meter>,
    bytes: Bytes,
    decoder: Decoder,
    plain: Option<Plainly>,
    block: Vec<u8>,
    /// What of the block is not decoded yet.
    left: std::ops::Range<usize>,
    /// Where in the text that begins.
    position: u64,
    /// Where the batch that is being decoded begins.
    start: u64,
    /// Up to where the last whole record is known to reach.
    whole_to: u64,
    was_return: bool,
    is_end: bool,
    is_done: bool,
}

impl Records {
    /// Opens a piece. `projection` names the columns by their place in the whole schema of the
    /// file, hidden ones counted.
    ///
    /// # Errors
    /// As reading; a file that is not seekable is decoded up to where the piece begins.
    pub(crate) fn open(
        prepared: &Arc<Prepared>,
        piece: Piece,
        projection: &[usize],
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        Self::open_with(prepared, piece, projection, None, meter)
    }

    /// The same in batches of up to `rows` records.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_few(
        prepared: &Arc<Prepared>,
        piece: Piece,
        projection: &[usize],
        rows: usize,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        Self::open_with(prepared, piece, projection, Some(rows.max(1)), meter)
    }

    fn open_with(
        prepared: &Arc<Prepared>,
        piece: Piece,
        projection: &[usize],
        rows: Option<usize>,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        let bytes = prepared.open(piece.file, piece.from, meter)?;
        let decoder = Decoder::new(prepared, projection, piece.from == 0, rows)?;
        // Few records are not worth a look at a whole block.
        let form = Form::of(prepared.format, prepared.style).filter(|_| rows.is_none());
        let plain = form.and_then(|form| {
            Plain::new(form, &prepared.file_schema, projection, &prepared.lax, decoder.rows_max())
        });
        let is_at_work = !decoder.awaits_header();
        let plain = plain.map(|decoder| Plainly { decoder, is_at_work, patience: Patience::new() });
        let position = bytes.start();
        let is_done = piece.until.is_some_and(|until| piece.from >= until);
        Ok(Self {
            prepared: Arc::clone(prepared),
            projection: projection.to_vec(),
            meter: Arc::clone(meter),
            bytes,
            decoder,
            plain,
            block: vec![0; BLOCK_BYTES],
            left: 0..0,
            position,
            start: position,
            whole_to: position,
            was_return: false,
            is_end: false,
            is_done,
            piece,
        })
    }

    /// Where the record after the last that was given begins: once all are given, the first that
    /// is not of the piece.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch of whole records.
    ///
    /// # Errors
    /// `Invalid` with the line and the column of a record that is not as the others, `Limit` for
    /// one that is too long, `Conflict` where the file changed; the meter's own.
    ///
    /// # Cancellation
    /// The meter is asked for each block.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        while !self.is_done {
            if let Some(batch) = self.advance()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Decodes one block at most.
    fn advance(&mut self) -> Result<Option<RecordBatch>, Fault> {
        if self.left.is_empty() && !self.refill(0)? {
            if self.plain.as_ref().is_some_and(|plain| plain.decoder.count() > 0) {
                return self.flush();
            }
            self.is_done = true;
            self.decoder.finish().map_err(|error| self.blame(&error))?;
            return self.flush();
        }
        let stop = self.start.saturating_add(BATCH_BYTES).min(self.piece.until.unwrap_or(u64::MAX));
        // The line end before `stop` may be of two bytes, which are decoded together.
        let free = stop.saturating_sub(2).saturating_sub(self.position);
        let count = usize::try_from(free).unwrap_or(usize::MAX).min(self.left.len());
        if self.plain.as_ref().is_some_and(|plain| plain.is_at_work) {
            return self.advance_plainly(count);
        }
        if free > 0 {
            self.feed(count)?;
        } else if self.close(stop)? {
            self.is_done = self.is_past_end();
            return self.flush();
        }
        self.refuse_long()?;
        if !self.decoder.is_full() {
            return Ok(None);
        }
        self.take_line_feed()?;
        self.is_done = self.is_past_end();
        self.flush()
    }

    /// Takes plain lines of the next `count` bytes. Where there are none the batch ends; an empty
    /// one is the general decoder's.
    fn advance_plainly(&mut self, count: usize) -> Result<Option<RecordBatch>, Fault> {
        let Some(plain) = &mut self.plain else { return Ok(None) };
        let text = &self.block[self.left.start..self.left.start + count];
        let used = plain.decoder.feed(text);
        self.left.start += used;
        self.position += used as u64;
        self.whole_to = self.position;
        if plain.decoder.is_worth_it() {
            plain.patience.renew();
        }
        if plain.decoder.is_full() {
            return self.flush();
        }
        let has_room = self.left.len() < self.block.len();
        if used > 0 || (count == self.left.len() && has_room && self.refill(self.left.len())?) {
            return Ok(None);
        }
        let Some(plain) = &mut self.plain else { return Ok(None) };
        if plain.decoder.count() > 0 {
            return self.flush();
        }
        plain.give_up();
        self.decoder.begin_line();
        Ok(None)
    }

    fn is_past_end(&self) -> bool {
        self.piece.until.is_some_and(|until| self.position >= until)
    }

    /// Feeds up to the first line end that is not before `stop - 1`, and tells whether a record
    /// ends there.
    fn close(&mut self, stop: u64) -> Result<bool, Fault> {
        let skipped =
            usize::try_from((stop - 1).saturating_sub(self.position)).unwrap_or(usize::MAX);
        if skipped >= self.left.len() && self.refill(self.left.len())? {
            return Ok(false);
        }
        let text = &self.block[self.left.clone()];
        let found = text.get(skipped..).and_then(|rest| memchr::memchr(b'\n', rest));
        let Some(at) = found.map(|at| at + skipped) else {
            // A carriage return at the end may be half of a line end.
            let keeps = usize::from(text.last() == Some(&b'\r') && !self.is_end);
            if keeps == text.len() {
                self.refill(keeps)?;
                return Ok(false);
            }
            self.feed(text.len() - keeps)?;
            return Ok(false);
        };
        let end = at - usize::from(at > 0 && text[at - 1] == b'\r');
        if end > 0 && !self.feed(end)? {
            return Ok(false);
        }
        let before = self.decoder.ended();
        let count = at + 1 - end;
        self.feed(count)?;
        Ok(self.decoder.ends_here(before))
    }

    /// Decodes the next `count` bytes, or fewer where the batch is full; tells whether all were.
    fn feed(&mut self, count: usize) -> Result<bool, Fault> {
        let end = self.left.start + count;
        while self.left.start < end && !self.decoder.is_full() {
            let text = &self.block[self.left.start..end];
            if self.decoder.refuses_nul() && memchr::memchr(0, text).is_some() {
                return Err(self.blame(&ArrowError::ParseError(String::new())));
            }
            let before = self.decoder.ended();
            let used = self.decoder.feed(text).map_err(|error| self.blame(&error))?;
            self.was_return = used > 0 && text[used - 1] == b'\r';
            self.left.start += used;
            self.position += used as u64;
            if self.decoder.ended() > before {
                self.whole_to = self.position;
            }
            let begins = self.decoder.is_behind_header() && !self.was_return;
            if let Some(plain) = self.plain.as_mut().filter(|_| begins) {
                plain.is_at_work = true;
                break;
            }
        }
        Ok(self.left.start == end)
    }

    /// A full batch may end between the two bytes of a line end.
    fn take_line_feed(&mut self) -> Result<(), Fault> {
        if !self.was_return || (self.left.is_empty() && !self.refill(0)?) {
            return Ok(());
        }
        if self.block[self.left.start] == b'\n' {
            self.left.start += 1;
            self.position += 1;
            self.was_return = false;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let batch = match &mut self.plain {
            Some(plain) if plain.is_at_work => plain.decoder.flush(),
            _ => self.decoder.flush(),
        };
        let batch = batch.map_err(|error| self.blame(&error))?;
        if let Some(plain) = &mut self.plain {
            plain.turn();
        }
        self.start = self.position;
        self.whole_to = self.position;
        Ok(batch)
    }

    fn refuse_long(&self) -> Result<(), Fault> {
        let max = self.prepared.limits.record_bytes_max;
        if self.position - self.whole_to <= max as u64 + BLOCK_BYTES as u64 {
            return Ok(());
        }
        let path = self.prepared.files[self.piece.file].file.path();
        let line = blame::line_of(&self.prepared, self.piece.file, self.whole_to, &self.meter)?;
        let hint =
            if self.prepared.style.is_some() { "; a quote may be missing there" } else { "" };
        Err(Fault::new(
            FaultKind::Limit,
            format!("{path} line {line}: the record is longer than {max} bytes{hint}"),
        ))
    }

    /// Reads the next block behind the last `keeps` bytes of this one; `false` at the end.
    fn refill(&mut self, keeps: usize) -> Result<bool, Fault> {
        if self.is_end {
            return Ok(false);
        }
        self.block.copy_within(self.left.end - keeps..self.left.end, 0);
        self.left = 0..keeps;
        while self.left.end < self.block.len() {
            let got = self.bytes.read(&mut self.block[self.left.end..]).map_err(|error| {
                let file = &self.prepared.files[self.piece.file];
                fault_of(&error, &file.file, file.coding)
            })?;
            self.left.end += got;
            if got == 0 {
                self.is_end = true;
                break;
            }
        }
        Ok(self.left.end > keeps)
    }

    fn blame(&self, error: &ArrowError) -> Fault {
        let batch = blame::Batch {
            prepared: &self.prepared,
            file: self.piece.file,
            start: self.start,
            projection: &self.projection,
            meter: &self.meter,
        };
        blame::blame(&batch, error)
    }
}

#[cfg(test)]
mod tests;
