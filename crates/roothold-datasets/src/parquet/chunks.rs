//! A file as the synchronous readers of Parquet want it: a header here, a page there.
//!
//! Of an object each of those would be a request, so a stretch of each column is kept. Its pages are
//! looked at when they are reached, since looking at all of them first would read all of it.

use std::error::Error as StdError;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::parquet::file::reader::{ChunkReader, Length};
use roothold_core::Fault;

use super::{damaged, pages, read_range};
use crate::limits::Limits;
use crate::meter::Meter;
use crate::stored::Stored;
use crate::stores::StoreObject;

/// How much of an object is kept, over all columns that are read at the same time.
const KEPT_BYTES: u64 = 32 * 1024 * 1024;
/// How much is read at once of a file from which decoders of headers take byte by byte.
const HEAD_BYTES: usize = 256;
/// How long one stretch is at least, and at most, in bytes.
const STRETCH_BYTES: (u64, u64) = (16 * 1024, 4 * 1024 * 1024);

/// A Parquet file of which pages are read.
pub(crate) struct Chunks {
    file: Arc<Stored>,
    meter: Arc<Meter>,
    limits: Limits,
    stretches: Option<Stretches>,
    failures: Failures,
}

/// Why a file could not be read: decoders pass on their own words only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures(Arc<Mutex<Option<Fault>>>);

impl Failures {
    /// The fault for an error of a decoder: that of the reading, if it was that.
    pub(crate) fn fault(&self, file: &Stored, error: &(dyn StdError + 'static)) -> Fault {
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        read.unwrap_or_else(|| damaged(file, error))
    }

    fn note(&self, fault: Fault) -> Fault {
        let again = fault.again();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        again
    }
}

impl Chunks {
    /// A file of which the footer says `metadata`.
    ///
    /// # Errors
    /// `Invalid`, if it speaks of what is outside the file.
    pub(crate) fn new(
        file: &Arc<Stored>,
        metadata: &ParquetMetaData,
        limits: &Limits,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        let stretches = match file.object() {
            None => None,
            Some(object) => Some(Stretches::new(object, file, metadata)?),
        };
        let (file, meter) = (Arc::clone(file), Arc::clone(meter));
        let failures = Failures::default();
        Ok(Self { file, meter, limits: *limits, stretches, failures })
    }

    /// What becomes of its reading, for whoever hands it to a decoder.
    pub(crate) fn failures(&self) -> Failures {
        self.failures.clone()
    }

    fn bytes(&self, start: u64, length: u64) -> Result<Bytes, Fault> {
        match &self.stretches {
            None => read_range(&self.file, start, length, &self.meter),
            Some(stretches) => stretches.bytes(start, length, &self.meter),
        }
    }

    /// Up to that many bytes of an object, and of one column.
    fn some(&self, start: u64, most: usize) -> Result<Bytes, Fault> {
        let in_column = self.stretches.as_ref().and_then(|stretches| stretches.left(start));
        let left = in_column.unwrap_or_else(|| self.file.size().saturating_sub(start));
        self.bytes(start, left.min(most as u64))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.file.size()
    }
}

impl ChunkReader for Chunks {
    type T = ChunkRead;

    /// Readers ask for this where the header of a page begins.
    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let external = |fault| ParquetError::External(Box::new(self.failures.note(fault)));
        let mut head = Bytes::new();
        if self.stretches.is_some() {
            let read = |most: usize| self.some(start, most);
            head = pages::look_at_one(&self.file, &self.limits, read).map_err(external)?;
        }
        let (file, meter) = (Arc::clone(&self.file), Arc::clone(&self.meter));
        let failures = self.failures.clone();
        let is_counted = self.stretches.is_some();
        Ok(ChunkRead { file, meter, offset: start, head, is_counted, failures })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let external = |fault| ParquetError::External(Box::new(self.failures.note(fault)));
        self.bytes(start, length as u64).map_err(external)
    }
}

/// A file from some offset on.
pub(crate) struct ChunkRead {
    file: Arc<Stored>,
    meter: Arc<Meter>,
    offset: u64,
    /// What of it is there already.
    head: Bytes,
    /// Whether the meter knows of that.
    is_counted: bool,
    failures: Failures,
}

impl io::Read for ChunkRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head.is_empty() && buffer.len() < HEAD_BYTES {
            let mut head = vec![0; HEAD_BYTES];
            let got = self.read_on(&mut head)?;
            head.truncate(got);
            self.head = head.into();
            self.is_counted = false;
        }
        let (count, is_known) = if self.head.is_empty() {
            (self.read_on(buffer)?, false)
        } else {
            let count = self.head.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.head.split_to(count));
            (count, self.is_counted)
        };
        self.offset += count as u64;
        if !is_known {
            self.meter.count(count);
        }
        Ok(count)
    }
}

impl ChunkRead {
    fn read_on(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.meter.check();
        let read = read.and_then(|()| self.file.read_at(self.offset, buffer, &self.meter));
        read.map_err(|fault| io::Error::other(self.failures.note(fault)))
    }
}

/// A stretch of each column of an object.
struct Stretches {
    object: StoreObject,
    /// Where columns are, in their order.
    columns: Vec<Range<u64>>,
    bytes_max: u64,
    kept: Mutex<Vec<Option<(u64, Bytes)>>>,
}

impl Stretches {
    fn new(object: &StoreObject, file: &Stored, metadata: &ParquetMetaData) -> Result<Self, Fault> {
        let columns = pages::columns_of(file, metadata)?;
        let at_once = metadata.file_metadata().schema_descr().num_columns().max(1) as u64;
        let bytes_max = (KEPT_BYTES / at_once).clamp(STRETCH_BYTES.0, STRETCH_BYTES.1);
        let kept = Mutex::new(vec![None; columns.len()]);
        Ok(Self { object: object.clone(), columns, bytes_max, kept })
    }

    fn bytes(&self, start: u64, length: u64, meter: &Meter) -> Result<Bytes, Fault> {
        let end = start.saturating_add(length);
        let after = self.columns.partition_point(|column| column.start <= start);
        let column = after.checked_sub(1).filter(|at| end <= self.columns[*at].end);
        let Some(column) = column else {
            return self.fetched(start..end, meter);
        };
        let slice = |from: u64, bytes: &Bytes| {
            let (at, length) = (usize::try_from(start - from).ok()?, usize::try_from(length).ok()?);
            (at + length <= bytes.len()).then(|| bytes.slice(at..at + length))
        };
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, bytes)) = &lock()[column]
            && *from <= start
            && let Some(found) = slice(*from, bytes)
        {
            return Ok(found);
        }
        let until = end.max(start.saturating_add(self.bytes_max)).min(self.columns[column].end);
        let bytes = self.fetched(start..until, meter)?;
        let found = slice(start, &bytes).ok_or_else(|| Fault::internal("a stretch too short"))?;
        lock()[column] = Some((start, bytes));
        Ok(found)
    }

    /// How many bytes the column has from there on.
    fn left(&self, start: u64) -> Option<u64> {
        let after = self.columns.partition_point(|column| column.start <= start);
        let column = &self.columns[after.checked_sub(1)?];
        column.end.checked_sub(start).filter(|left| *left > 0)
    }

    fn fetched(&self, range: Range<u64>, meter: &Meter) -> Result<Bytes, Fault> {
        let bytes = self.object.wait_for(range, meter)?;
        meter.count(bytes.len());
        Ok(bytes)
    }
}
