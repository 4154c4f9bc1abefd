//! What a file is, by its first bytes and its name.
//!
//! Content decides on compression and on Parquet, whatever the name says; what holds many files,
//! or is no table, is refused by name rather than read as if it were text.

use std::sync::Arc;

use roothold_core::{Fault, FaultKind};

use crate::meter::Meter;
use crate::options::{Compression, Format, SourceOptions, TextEncoding};
use crate::stored::Stored;
use crate::text::Coding;

/// Enough for every magic number, that of tar included.
const HEAD_BYTES: usize = 512;
const TAR_MAGIC_AT: usize = 257;

/// What is no table, by how it begins; and what to do about it.
const REFUSED: [(&[u8], &str); 13] = [
    (b"PK\x03\x04", "a zip archive (or a spreadsheet, which is one); unpack it and name the files"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"PK\x07\x08", "a split zip archive; unpack it and name the files"),
    (b"ARROW1", "an Arrow IPC file, which is not read; convert it to Parquet"),
    (b"\xff\xff\xff\xff", "an Arrow IPC stream, which is not read; convert it to Parquet"),
    (b"PARE", "an encrypted Parquet file, which is not read"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and name the files"),
    (b"Rar!", "a rar archive; unpack it and name the files"),
    (b"\x04\x22\x4d\x18", "compressed with lz4, which is not read; use zstd or gzip"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy, which is not read; use zstd or gzip"),
    (b"Obj\x01", "an Avro file, which is not read; convert it to Parquet"),
    (b"ORC", "an ORC file, which is not read; convert it to Parquet"),
    (b"SQLite format 3\0", "a SQLite database; it is reached as a database, not as a dataset"),
];

/// What the file's own bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raw {
    Parquet,
    /// Text, perhaps once it is decompressed.
    Compressed(Compression),
}

/// Looks at the first bytes of a file.
///
/// # Errors
/// `Unsupported` for archives and what else is no table; as reading.
pub(crate) fn look(file: &Arc<Stored>, meter: &Meter) -> Result<Raw, Fault> {
    let mut head = [0; HEAD_BYTES];
    meter.check()?;
    let got = file.read_at(0, &mut head, meter)?;
    let head = &head[..got];
    if head.starts_with(b"PAR1") {
        return Ok(Raw::Parquet);
    }
    refuse(head, &file.path())?;
    Ok(Raw::Compressed(compression_of(head)))
}

fn compression_of(head: &[u8]) -> Compression {
    let is_bzip2 = head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY");
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or one that is skipped, which may come first.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ if is_bzip2 => Compression::Bzip2,
        _ => Compression::None,
    }
}

fn refuse(head: &[u8], path: &str) -> Result<(), Fault> {
    let magic = REFUSED.iter().find(|(magic, _)| head.starts_with(magic));
    let what = match magic {
        Some((_, what)) => what,
        None if head.get(TAR_MAGIC_AT..TAR_MAGIC_AT + 5) == Some(b"ustar") => {
            "a tar archive; unpack it and name the files"
        }
        None => return Ok(()),
    };
    Err(Fault::new(FaultKind::Unsupported, format!("{path} is {what}")))
}

/// Looks at the beginning of the decompressed bytes: what they must not be, and their encoding.
///
/// # Errors
/// `Unsupported` for binary content and for what is packed twice; `Invalid` where the encoding
/// must be said.
pub(crate) fn encoding_of(
    head: &[u8],
    compression: Compression,
    options: &SourceOptions,
    path: &str,
) -> Result<TextEncoding, Fault> {
    if compression != Compression::None {
        refuse(head, path)?;
        let is_packed_twice = compression_of(head) != Compression::None;
        if is_packed_twice || head.starts_with(b"PAR1") {
            let what = format!(
                "{path} holds another compressed or Parquet file inside its {}; decompress it once",
                compression.name()
            );
            return Err(Fault::new(FaultKind::Unsupported, what));
        }
    }
    let marked = match head {
        [0xff, 0xfe, ..] => Some(TextEncoding::Utf16Le),
        [0xfe, 0xff, ..] => Some(TextEncoding::Utf16Be),
        [0xef, 0xbb, 0xbf, ..] => Some(TextEncoding::Utf8),
        _ => None,
    };
    if let Some(encoding) = options.encoding.or(marked) {
        return Ok(encoding);
    }
    // A log that was cut off by a crash holds some.
    let nuls = memchr::memchr_iter(0, head).count();
    let is_text = options.format.or_else(|| Format::by_name(path)) == Some(Format::Text);
    if !is_text || nuls * 4 > head.len() {
        refuse_nul(head, path)?;
    }
    Ok(TextEncoding::Utf8)
}

fn refuse_nul(head: &[u8], path: &str) -> Result<(), Fault> {
    let nuls =
        |parity: usize| head.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (nuls(0), nuls(1));
    if even + odd == 0 {
        return Ok(());
    }
    let most = head.len() / 4;
    if even + odd < head.len() && (even > most || odd > most) {
        let encoding = if odd > even { "utf-16le" } else { "utf-16be" };
        return Err(Fault::invalid(format!(
            "{path} looks like {encoding} without its mark; give the option encoding \"{encoding}\""
        )));
    }
    let what = format!("{path} holds NUL bytes: it is binary, or its content is missing");
    Err(Fault::new(FaultKind::Unsupported, what))
}

/// The format of a text: as it was said, else by the name, else by how it begins.
///
/// # Errors
/// `Unsupported` for a JSON document that is not lines of objects.
pub(crate) fn format_of(head: &[u8], options: &SourceOptions, path: &str) -> Result<Format, Fault> {
    let begin = head.trim_ascii_start();
    let by_name = Format::by_name(path);
    let format = match options.format.or(by_name) {
        Some(format) => format,
        None if begin.first() == Some(&b'{') => Format::Jsonl,
        None => Format::Text,
    };
    match format {
        Format::Jsonl if begin.first() == Some(&b'[') => Err(Fault::new(
            FaultKind::Unsupported,
            format!("{path} is one JSON array; write one object a line (JSON Lines)"),
        )),
        Format::Parquet => {
            Err(Fault::invalid(format!("{path} is no Parquet file: it does not begin as one")))
        }
        format => Ok(format),
    }
}

/// How the bytes of one file become text, where all is known but the encoding.
pub(crate) fn coding(compression: Compression, encoding: TextEncoding) -> Coding {
    Coding { compression, encoding }
}
