//! The text of a file: decompressed, in UTF-8, without its mark, and bounded.
//!
//! **Invariant**: whatever a file holds, no more than a window of it is in memory, and what it
//! expands to has a limit.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roothold_core::{Fault, FaultKind};

use crate::limits::Limits;
use crate::meter::Meter;
use crate::options::{Compression, TextEncoding};
use crate::stored::{Onward, Stored};

mod transcode;

use transcode::Transcoder;

/// How much is asked of the file at once.
const READ_BYTES: usize = 256 * 1024;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the bytes of one file become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) compression: Compression,
    pub(crate) encoding: TextEncoding,
}

impl Coding {
    /// Whether an offset in the text is the same offset in the file, so that reading can begin
    /// anywhere.
    pub(crate) fn is_seekable(self) -> bool {
        self.compression == Compression::None && self.encoding == TextEncoding::Utf8
    }
}

/// The text of a file from some offset on.
pub(crate) struct Bytes {
    inner: Box<dyn Read + Send>,
    start: u64,
    consumed: Arc<AtomicU64>,
}

impl Bytes {
    /// Opens the text at `from`, an offset in the text; a file that is not seekable is decoded and
    /// skipped up to there. The mark of UTF-8 counts as text for offsets, and is not given.
    ///
    /// # Errors
    /// As reading: see [`fault_of`].
    pub(crate) fn open(
        file: &Arc<Stored>,
        coding: Coding,
        from: u64,
        limits: &Limits,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        let is_seekable = coding.is_seekable();
        let raw = FileReader::new(file, if is_seekable { from } else { 0 }, meter);
        let consumed = Arc::clone(&raw.consumed);
        let opened = decompress(raw, coding.compression, limits)
            .map_err(|error| fault_of(&error, file, coding))?;
        let mut inner: Box<dyn Read + Send> = match coding.compression {
            Compression::None => opened,
            _ => Box::new(Capped {
                inner: opened,
                consumed: Arc::clone(&consumed),
                given: 0,
                limits: *limits,
            }),
        };
        if coding.encoding != TextEncoding::Utf8 {
            inner = Box::new(Transcoder::new(inner, coding.encoding));
        }
        let mut bytes = Self { inner, start: from, consumed };
        if !is_seekable && from > 0 {
            bytes.skip(from).map_err(|error| fault_of(&error, file, coding))?;
        } else if from == 0 {
            bytes.skip_mark().map_err(|error| fault_of(&error, file, coding))?;
        }
        Ok(bytes)
    }

    /// Opens the text from its beginning with whatever mark it has, to see what it begins with.
    ///
    /// # Errors
    /// As reading: see [`fault_of`].
    pub(crate) fn open_with_mark(
        file: &Arc<Stored>,
        coding: Coding,
        limits: &Limits,
        meter: &Arc<Meter>,
    ) -> Result<Self, Fault> {
        let raw = FileReader::new(file, 0, meter);
        let consumed = Arc::clone(&raw.consumed);
        let inner = decompress(raw, coding.compression, limits)
            .map_err(|error| fault_of(&error, file, coding))?;
        let capped = Capped { inner, consumed: Arc::clone(&consumed), given: 0, limits: *limits };
        Ok(Self { inner: Box::new(capped), start: 0, consumed })
    }

    /// The offset of the first byte that is given: after the mark, if there is one.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of the file that were read since it was opened.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut self.inner.by_ref().take(count), &mut io::sink()).map(drop)
    }

    fn skip_mark(&mut self) -> io::Result<()> {
        let mut head = [0; UTF8_MARK.len()];
        let mut filled = 0;
        while filled < head.len() {
            match self.inner.read(&mut head[filled..])? {
                0 => break,
                got => filled += got,
            }
        }
        if head == UTF8_MARK {
            self.start = UTF8_MARK.len() as u64;
            return Ok(());
        }
        let inner = std::mem::replace(&mut self.inner, Box::new(io::empty()));
        self.inner = Box::new(io::Cursor::new(head[..filled].to_vec()).chain(inner));
        Ok(())
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// The bytes of the file itself, up to the size that it had when it was opened.
struct FileReader {
    onward: Onward,
    consumed: Arc<AtomicU64>,
    meter: Arc<Meter>,
}

impl FileReader {
    fn new(file: &Arc<Stored>, offset: u64, meter: &Arc<Meter>) -> Self {
        let onward = Onward::new(file, offset);
        Self { onward, consumed: Arc::default(), meter: Arc::clone(meter) }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(READ_BYTES);
        let got = self.onward.read(&mut buffer[..wanted], &self.meter).map_err(io::Error::other)?;
        self.consumed.fetch_add(got as u64, Ordering::Relaxed);
        self.meter.count(got);
        Ok(got)
    }
}

fn decompress(
    raw: FileReader,
    compression: Compression,
    limits: &Limits,
) -> io::Result<Box<dyn Read + Send>> {
    /// Small, so that a bomb shows before much of it is read.
    const COMPRESSED_BYTES: usize = 32 * 1024;
    if compression == Compression::None {
        return Ok(Box::new(raw));
    }
    let raw = BufReader::with_capacity(COMPRESSED_BYTES, raw);
    Ok(match compression {
        Compression::None | Compression::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(raw))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(raw)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?;
            decoder.window_log_max(limits.window_bytes_max.ilog2())?;
            Box::new(decoder)
        }
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                limits.window_bytes_max,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(raw, stream))
        }
    })
}

/// Ends what expands beyond measure.
struct Capped {
    inner: Box<dyn Read + Send>,
    consumed: Arc<AtomicU64>,
    given: u64,
    limits: Limits,
}

impl Read for Capped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.given += got as u64;
        let fair = self.consumed.load(Ordering::Relaxed).saturating_mul(self.limits.expansion_max);
        if self.given > self.limits.expansion_free_bytes.max(fair) {
            return Err(io::Error::other(Fault::new(
                FaultKind::Limit,
                format!(
                    "the file expands to more than {} times its size, which is taken for an attack; decompress it and ask for the result",
                    self.limits.expansion_max
                ),
            )));
        }
        Ok(got)
    }
}

/// The fault behind a failed read: the one that was raised below, or that the compressed bytes
/// are damaged.
pub(crate) fn fault_of(error: &io::Error, file: &Stored, coding: Coding) -> Fault {
    if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        let text = format!("{}: {}", file.path(), fault.public());
        let is_about_file = matches!(fault.kind(), FaultKind::Invalid | FaultKind::Limit);
        return if is_about_file { Fault::new(fault.kind(), text) } else { fault.again() };
    }
    Fault::invalid(format!(
        "{}: its {} stream is damaged, cut off, or wants more memory than is allowed; check the file",
        file.path(),
        coding.compression.name()
    ))
}
