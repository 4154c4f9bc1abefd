//! Where records begin and end: what chunks are cut by, and what rows that do not parse are found by.
//!
//! The rules for CSV are those of the parser that decodes it: a quote opens only at the beginning
//! of a field, a doubled quote inside is one, and `\n`, `\r\n` and a lone `\r` each end a record
//! outside quotes. A test holds the two to the same records, whatever the bytes.

use std::ops::Range;

use memchr::{memchr, memchr2, memrchr, memrchr2};

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Delimited fields, quoted where needed.
    Csv {
        /// The byte between fields.
        delimiter: u8,
        /// The byte around fields.
        quote: u8,
        /// The byte that takes the meaning of the next one away, inside quotes.
        escape: Option<u8>,
    },
    /// One JSON value a line; only `\n` ends a line, and blank lines are no records.
    Values,
    /// Every line is a record.
    Lines,
}

impl Framing {
    /// The end of the record that begins at `start`, behind its terminator; all of `data` if it has none.
    pub(super) fn record_end(self, data: &[u8], start: usize) -> usize {
        let Self::Csv { .. } = self else {
            return memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at + 1);
        };
        let mut at = start;
        while at < data.len() {
            let outside = self.quote_opening(data, start, at);
            let end = outside.map_or(data.len(), |open| open);
            if let Some(found) = memchr2(b'\n', b'\r', &data[at..end]) {
                let found = at + found;
                let pair = data[found] == b'\r' && data.get(found + 1) == Some(&b'\n');
                return found + 1 + usize::from(pair);
            }
            let Some(open) = outside else { return data.len() };
            match self.quote_closing(data, open + 1) {
                Closing::At(close) => at = close + 1,
                Closing::Undecided(_) => return data.len(),
            }
        }
        data.len()
    }

    /// Whether the record holds nothing: such records are no rows.
    pub(super) fn is_blank(self, record: &[u8]) -> bool {
        match self {
            Self::Csv { .. } => record.iter().all(|byte| matches!(byte, b'\r' | b'\n')),
            Self::Values => record.iter().all(u8::is_ascii_whitespace),
            Self::Lines => false,
        }
    }

    /// The next quote at or behind `at` that begins a quoted field. `begin` is where a record begins.
    fn quote_opening(self, data: &[u8], begin: usize, mut at: usize) -> Option<usize> {
        let Self::Csv { delimiter, quote, .. } = self else { return None };
        while let Some(found) = memchr(quote, &data[at..]) {
            let found = at + found;
            if found == begin
                || matches!(data[found - 1], b'\n' | b'\r')
                || data[found - 1] == delimiter
            {
                return Some(found);
            }
            at = found + 1;
        }
        None
    }

    /// The quote that ends the field whose content goes on at `at`.
    fn quote_closing(self, data: &[u8], mut at: usize) -> Closing {
        let Self::Csv { quote, escape, .. } = self else { return Closing::Undecided(at) };
        loop {
            let rest = data.get(at..).unwrap_or_default();
            let found = match escape {
                Some(escape) => memchr2(quote, escape, rest),
                None => memchr(quote, rest),
            };
            let Some(found) = found.map(|found| at + found) else {
                return Closing::Undecided(at.max(data.len()));
            };
            let escaping = data[found] != quote;
            match data.get(found + 1) {
                // What follows decides, and it is not there yet.
                None => return Closing::Undecided(found),
                Some(_) if escaping => at = found + 2,
                Some(&next) if next == quote => at = found + 2,
                Some(_) => return Closing::At(found),
            }
        }
    }
}

/// Where a quoted field ends.
enum Closing {
    At(usize),
    /// Not in these bytes; with more of them, look again from here.
    Undecided(usize),
}

/// Finds the last end of a record in bytes that grow at their end.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    scanned: usize,
    quoted: bool,
    end: usize,
}

impl Cutter {
    /// Looks at what `data` holds behind what was looked at before, and returns where the last
    /// whole record ends; 0 if none does. `data` begins where a record begins.
    pub(super) fn last_end(&mut self, framing: Framing, data: &[u8]) -> usize {
        match framing {
            Framing::Values | Framing::Lines => {
                if let Some(at) = memrchr(b'\n', &data[self.scanned..]) {
                    self.end = self.scanned + at + 1;
                }
                self.scanned = data.len();
            }
            Framing::Csv { .. } => self.scan_quotes(framing, data),
        }
        self.end
    }

    fn scan_quotes(&mut self, framing: Framing, data: &[u8]) {
        while self.scanned < data.len() {
            if self.quoted {
                match framing.quote_closing(data, self.scanned) {
                    Closing::At(close) => (self.quoted, self.scanned) = (false, close + 1),
                    Closing::Undecided(at) => {
                        self.scanned = at;
                        return;
                    }
                }
                continue;
            }
            let open = framing.quote_opening(data, 0, self.scanned);
            self.note_end(data, open.unwrap_or(data.len()));
            let Some(open) = open else {
                // A `\r` at the very end is looked at again, with what follows it.
                self.scanned = data.len() - usize::from(data.last() == Some(&b'\r'));
                return;
            };
            (self.quoted, self.scanned) = (true, open + 1);
        }
    }

    /// Notes the last terminator in what is not quoted, from `scanned` to `until`.
    fn note_end(&mut self, data: &[u8], until: usize) {
        let region = &data[self.scanned..until];
        // Between two quoted fields there is mostly one byte.
        let found = if region.len() < 16 {
            region.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'))
        } else {
            memrchr2(b'\n', b'\r', region)
        };
        let Some(at) = found.map(|at| self.scanned + at) else { return };
        if data[at] == b'\n' || at + 1 < data.len() {
            self.end = at + 1;
        } else if let Some(at) = memrchr2(b'\n', b'\r', &data[self.scanned..at]) {
            self.end = self.scanned + at + 1;
        }
    }
}

/// How many lines end in `data`: `\n`, `\r\n` and, if `lone`, a `\r` by itself count once each.
pub(super) fn count_lines(data: &[u8], lone: bool) -> u64 {
    let mut lines = memchr::memchr_iter(b'\n', data).count() as u64;
    if lone {
        lines += memchr::memchr_iter(b'\r', data)
            .filter(|at| data.get(at + 1) != Some(&b'\n'))
            .count() as u64;
    }
    lines
}

/// Where the rows of a batch are, for those that have to be named.
pub(super) enum RowsAt<'a> {
    /// In a text: the first at an offset, the others behind it.
    Following { text: TextAt<'a>, start: usize },
    /// In a text, each at an offset.
    Listed { text: TextAt<'a>, starts: &'a [usize] },
    /// Rows of a Parquet file, counted from this one.
    Counted(u64),
}

/// A text, and which line of its file it begins with.
#[derive(Clone, Copy)]
pub(super) struct TextAt<'a> {
    pub(super) data: &'a [u8],
    pub(super) framing: Framing,
    /// How many lines of the file are before it.
    pub(super) lines: u64,
}

impl TextAt<'_> {
    /// The line, counted from 1, on which the byte at `offset` is.
    pub(super) fn line(self, offset: usize) -> u64 {
        let csv = matches!(self.framing, Framing::Csv { .. });
        self.lines + 1 + count_lines(&self.data[..offset], csv)
    }
}

impl RowsAt<'_> {
    /// The line of a row of the batch, or its number.
    pub(super) fn line(&self, row: usize) -> u64 {
        match self {
            Self::Counted(first) => first + row as u64,
            Self::Listed { text, starts } => text.line(starts[row]),
            Self::Following { text, start } => {
                let mut records = records(text.framing, text.data, *start, text.data.len());
                text.line(records.nth(row).map_or(*start, |record| record.start))
            }
        }
    }
}

/// The records between two offsets of a text, without the blank ones.
pub(super) fn records(
    framing: Framing,
    data: &[u8],
    start: usize,
    end: usize,
) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = start;
    std::iter::from_fn(move || {
        while at < end {
            let from = at;
            at = framing.record_end(data, from);
            if !framing.is_blank(&data[from..at]) {
                return Some(from..at);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: Framing = Framing::Csv { delimiter: b',', quote: b'"', escape: None };
    const ESCAPED: Framing = Framing::Csv { delimiter: b',', quote: b'"', escape: Some(b'\\') };

    /// The records as the parser itself sees them: their fields, and where they end.
    fn parsed(data: &[u8], escape: Option<u8>) -> Vec<Vec<Vec<u8>>> {
        let mut reader = csv_core::ReaderBuilder::new().escape(escape).build();
        // A mark at the very beginning is not what this is about.
        let mut input = [b"\n", data].concat();
        input.push(b'\n');
        let (mut out, mut ends) = (vec![0; input.len() + 8], vec![0; input.len() + 8]);
        let (mut at, mut records) = (0, Vec::new());
        loop {
            let (result, read, _, fields) = reader.read_record(&input[at..], &mut out, &mut ends);
            at += read;
            match result {
                csv_core::ReadRecordResult::Record => {
                    let mut from = 0;
                    let record = ends[..fields].iter().map(|end| {
                        let field = out[from..*end].to_vec();
                        from = *end;
                        field
                    });
                    records.push(record.collect());
                }
                csv_core::ReadRecordResult::End => return records,
                csv_core::ReadRecordResult::InputEmpty => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn pieces(framing: Framing, data: &[u8]) -> Vec<&[u8]> {
        let (mut at, mut out) = (0, Vec::new());
        while at < data.len() {
            let end = framing.record_end(data, at);
            assert!(end > at);
            out.push(&data[at..end]);
            at = end;
        }
        out
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let token = prop::sample::select(vec![
            "\"", "\"\"", ",", "\n", "\r\n", "\r", "a", "é", "\\", "\u{feff}", "\0", " ", "\",\"",
            "\"\n\"",
        ]);
        prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn records_are_those_of_the_parser(data in hostile(), escaped: bool) {
            let (framing, escape) = if escaped { (ESCAPED, Some(b'\\')) } else { (CSV, None) };
            let whole = parsed(&data, escape);
            let records: Vec<_> = pieces(framing, &data);
            let mut one_by_one = Vec::new();
            for (index, record) in records.iter().enumerate() {
                let found = parsed(record, escape);
                prop_assert_eq!(found.is_empty(), framing.is_blank(record));
                // Only the last may be open: bytes that are added to it change it.
                prop_assert!(found.len() <= 1 || index + 1 == records.len());
                one_by_one.extend(found);
            }
            prop_assert_eq!(one_by_one, whole);
        }

        #[test]
        fn a_cut_is_the_end_of_a_record_however_the_bytes_arrive(
            data in hostile(),
            steps in prop::collection::vec(1_usize..9, 1..40),
            escaped: bool,
        ) {
            let framing = if escaped { ESCAPED } else { CSV };
            let mut cutter = Cutter::default();
            let mut have = 0;
            let mut ends = vec![0];
            for record in pieces(framing, &data) {
                ends.push(ends[ends.len() - 1] + record.len());
            }
            for step in steps {
                have = (have + step).min(data.len());
                let end = cutter.last_end(framing, &data[..have]);
                let known = ends.contains(&end)
                    || (data[end - 1] == b'\r' && data.get(end) == Some(&b'\n'));
                prop_assert!(known, "{end} is inside a record, records end at {ends:?}");
            }
        }
    }

    #[test]
    fn a_line_end_inside_quotes_is_no_cut() {
        let data = b"a,\"x\ny\"\r\nb,c\"\nd\",e\n\"f\n";
        assert_eq!(Cutter::default().last_end(CSV, data), 19);
        assert_eq!(pieces(CSV, data).len(), 4);
        assert_eq!(Cutter::default().last_end(Framing::Lines, data), data.len());
    }

    #[test]
    fn a_lone_return_ends_a_record_once_it_is_known_to_be_alone() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.last_end(CSV, b"a,b\r"), 0);
        assert_eq!(cutter.last_end(CSV, b"a,b\rc"), 4);
        assert_eq!(cutter.last_end(CSV, b"a,b\rc,d\re"), 8);
    }

    #[test]
    fn lines_are_counted_once_whatever_ends_them() {
        assert_eq!(count_lines(b"a\nb\r\nc\rd", true), 3);
        assert_eq!(count_lines(b"a\nb\r\nc\rd", false), 2);
    }
}
