//! A walk over Thrift's compact protocol that allocates nothing: enough to see that a structure is
//! one, that its lists are no longer than its bytes, and what some of its numbers are.
//!
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>

/// Deeper than any structure of Parquet.
const DEPTH_MAX: usize = 24;
/// The field of a file's metadata that lists its row groups.
const ROW_GROUPS: i16 = 4;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a structure is cut off")]
    CutOff,
    #[error("a structure is none")]
    NotOne,
    #[error("there are more row groups than the limit")]
    TooMany,
}

/// What the header of a page says of sizes, and how long it is itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PageHeader {
    pub(super) header_bytes: usize,
    pub(super) uncompressed_bytes: i64,
    pub(super) compressed_bytes: i64,
    pub(super) values: i64,
    /// What kind of page it is, as Parquet counts them.
    pub(super) kind: i64,
    /// How its values are written, as Parquet counts that.
    pub(super) encoding: i64,
}

/// Walks the metadata of a file.
pub(super) fn check_footer(bytes: &[u8], row_groups_max: usize) -> Result<(), Malformed> {
    let mut walk = Walk { bytes, at: 0 };
    let mut last = 0;
    while let Some((id, kind)) = walk.field(&mut last)? {
        if id == ROW_GROUPS && kind == LIST {
            let (size, element) = walk.list()?;
            if size > row_groups_max {
                return Err(Malformed::TooMany);
            }
            for _ in 0..size {
                walk.skip_element(element, 2)?;
            }
        } else {
            walk.skip(kind, 1)?;
        }
    }
    Ok(())
}

/// Walks the header of a page, at the beginning of `bytes`.
pub(super) fn page_header(bytes: &[u8]) -> Result<PageHeader, Malformed> {
    let mut walk = Walk { bytes, at: 0 };
    let mut header = PageHeader::default();
    let mut last = 0;
    while let Some((id, kind)) = walk.field(&mut last)? {
        match (id, kind) {
            (1, I32) => header.kind = walk.zigzag()?,
            (2, I32) => header.uncompressed_bytes = walk.zigzag()?,
            (3, I32) => header.compressed_bytes = walk.zigzag()?,
            // The headers of data, of dictionaries and of data in version 2 begin with a count.
            (5 | 7 | 8, STRUCT) => {
                let numbers = walk.numbers(1)?;
                header.values = numbers[0];
                header.encoding = numbers[if id == 8 { 3 } else { 1 }];
            }
            _ => walk.skip(kind, 1)?,
        }
    }
    header.header_bytes = walk.at;
    Ok(header)
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = *self.bytes.get(self.at).ok_or(Malformed::CutOff)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, count: usize) -> Result<(), Malformed> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or(Malformed::CutOff)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::NotOne)
    }

    fn zigzag(&mut self) -> Result<i64, Malformed> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// The next field of a structure, or its end.
    fn field(&mut self, last: &mut i16) -> Result<Option<(i16, u8)>, Malformed> {
        let head = self.byte()?;
        let kind = head & 0x0f;
        if head == 0 {
            return Ok(None);
        }
        let step = i16::from(head >> 4);
        *last = if step == 0 {
            i16::try_from(self.zigzag()?).map_err(|_| Malformed::NotOne)?
        } else {
            last.checked_add(step).ok_or(Malformed::NotOne)?
        };
        Ok(Some((*last, kind)))
    }

    /// The length of a list and the type of what it holds. Each element takes a byte at least.
    fn list(&mut self) -> Result<(usize, u8), Malformed> {
        let head = self.byte()?;
        let short = usize::from(head >> 4);
        let size = match short {
            15 => usize::try_from(self.varint()?).map_err(|_| Malformed::NotOne)?,
            short => short,
        };
        if size > self.bytes.len() - self.at {
            return Err(Malformed::CutOff);
        }
        Ok((size, head & 0x0f))
    }

    /// The first four fields of a structure where they are numbers, and the way past the others.
    fn numbers(&mut self, depth: usize) -> Result<[i64; 4], Malformed> {
        let (mut last, mut numbers) = (0, [0; 4]);
        while let Some((id, kind)) = self.field(&mut last)? {
            let place = usize::try_from(id - 1).ok().and_then(|at| numbers.get_mut(at));
            match place {
                Some(number) if kind == I32 => *number = self.zigzag()?,
                _ => self.skip(kind, depth + 1)?,
            }
        }
        Ok(numbers)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed::NotOne);
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.pass(8),
            UUID => self.pass(16),
            BINARY => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::NotOne)?;
                self.pass(length)
            }
            LIST | SET => {
                let (size, element) = self.list()?;
                (0..size).try_for_each(|_| self.skip_element(element, depth + 1))
            }
            MAP => self.skip_map(depth),
            STRUCT => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(Malformed::NotOne),
        }
    }

    fn skip_map(&mut self, depth: usize) -> Result<(), Malformed> {
        let size = usize::try_from(self.varint()?).map_err(|_| Malformed::NotOne)?;
        if size == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        if size > self.bytes.len() - self.at {
            return Err(Malformed::CutOff);
        }
        for _ in 0..size {
            self.skip_element(kinds >> 4, depth + 1)?;
            self.skip_element(kinds & 0x0f, depth + 1)?;
        }
        Ok(())
    }

    /// In lists a truth value takes a byte, which as a field it does not.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Result<(), Malformed> {
        match kind {
            TRUE | FALSE => self.pass(1),
            kind => self.skip(kind, depth),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_page_is_read() {
        // type 0, 300 bytes uncompressed, 100 compressed, a data page of 5 values.
        let bytes = [0x15, 0, 0x15, 0xd8, 4, 0x15, 0xc8, 1, 0x2c, 0x15, 10, 0x15, 0, 0, 0, 9, 9];
        let header = page_header(&bytes).unwrap();
        let expected = PageHeader {
            header_bytes: bytes.len() - 2,
            uncompressed_bytes: 300,
            compressed_bytes: 100,
            values: 5,
            kind: 0,
            encoding: 0,
        };
        assert_eq!(header, expected);
        for end in 0..bytes.len() - 2 {
            assert_eq!(page_header(&bytes[..end]), Err(Malformed::CutOff), "{end}");
        }
    }

    #[test]
    fn lists_that_are_longer_than_their_bytes_are_refused() {
        // Field 4, a list of 2^31 - 1 structures.
        let bytes = [0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 7, 0, 0];
        assert_eq!(check_footer(&bytes, 100), Err(Malformed::CutOff));
        // Three empty row groups.
        let three = [0x49, 0x3c, 0, 0, 0, 0];
        assert_eq!(check_footer(&three, 3), Ok(()));
        assert_eq!(check_footer(&three, 2), Err(Malformed::TooMany));
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise() {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..40)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed.to_le_bytes()[3]
                })
                .collect();
            let _ = check_footer(&bytes, 10);
            let _ = page_header(&bytes);
        }
        let nested = [0x1c; 1000];
        assert_eq!(check_footer(&nested, 10), Err(Malformed::NotOne));
    }
}
