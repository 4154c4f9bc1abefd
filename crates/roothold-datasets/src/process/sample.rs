//! Some rows, chosen by chance that a seed decides.
//!
//! Each record has a number that its place and the seed make, and those with the least numbers are
//! taken: every row is as likely as any other, and neither chunks nor their order matter.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::RecordBatch;
use roothold_core::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decode::{Counts, Decode};
use super::fold::{Fold, Work};
use super::input::{Input, ShapeFormat, Stop};
use super::operation::SampleOptions;
use super::records::{Framing, count_lines, records};
use super::saved::{Saved, damaged};
use super::spans::{Body, Span};
use super::step::ProcessLimits;
use super::values;

/// How many rows are taken unless asked otherwise.
const ROWS_DEFAULT: usize = 20;
/// The most rows that are taken.
pub(super) const ROWS_MAX: usize = 10_000;
/// The most values that are taken.
const VALUES_MAX: usize = 200_000;

/// Takes rows of one chunk.
pub(super) struct SampleWork {
    decode: Decode,
    framing: Framing,
    is_csv: bool,
    header: bool,
    rows_max: usize,
    seed: u64,
    /// No row whose number is above this is taken any more. Only a short cut.
    below: AtomicU64,
}

/// The rows that were taken from the chunks so far.
pub(super) struct Sample {
    work: Arc<SampleWork>,
    taken: Vec<Taken>,
    files: Vec<String>,
}

/// One row that is taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Taken {
    number: u64,
    file: usize,
    line: u64,
    values: Vec<Value>,
}

impl Sample {
    pub(super) fn new(
        input: &dyn Input,
        columns: Vec<usize>,
        options: &SampleOptions,
        limits: &ProcessLimits,
    ) -> Result<Self, Fault> {
        let rows_max = options.rows.unwrap_or(ROWS_DEFAULT);
        if rows_max.saturating_mul(columns.len()) > VALUES_MAX || columns.len() > limits.columns_max
        {
            return Err(Fault::new(
                FaultKind::Limit,
                format!(
                    "a sample has at most {VALUES_MAX} values; take fewer `rows`, or name `columns`"
                ),
            ));
        }
        let shape = input.shape();
        let header = matches!(shape.format, ShapeFormat::Csv { header: true, .. });
        let work = SampleWork {
            decode: Decode::new(shape, columns)?,
            framing: shape.framing(),
            is_csv: matches!(shape.format, ShapeFormat::Csv { .. }),
            header,
            rows_max,
            seed: options.seed,
            below: AtomicU64::new(u64::MAX),
        };
        let files = input.files().into_iter().map(|file| file.name).collect();
        Ok(Self { work: Arc::new(work), taken: Vec::new(), files })
    }

    fn note_below(&self) {
        let full = self.taken.len() >= self.work.rows_max;
        let below = self.taken.last().filter(|_| full).map_or(u64::MAX, |last| last.number);
        self.work.below.store(below, Ordering::Relaxed);
    }
}

impl SampleWork {
    /// The number of the row at `offset` of a file.
    fn number(&self, file: usize, offset: u64) -> u64 {
        let mut mixed = self.seed;
        for part in [file as u64, offset] {
            // The finalizer of SplitMix64: every bit of the place changes half of the number's.
            mixed = mixed.wrapping_add(part).wrapping_add(0x9E37_79B9_7F4A_7C15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
        }
        mixed
    }

    /// Records of text are chosen before they are decoded; only those that are chosen are.
    fn of_text(
        &self,
        data: &[u8],
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, Vec<Taken>), Fault> {
        let skip = usize::from(self.header && span.is_first);
        let below = self.below.load(Ordering::Relaxed);
        let (mut rows, mut chosen) = (0, Vec::new());
        for (index, record) in records(self.framing, data, 0, data.len()).skip(skip).enumerate() {
            if index % 4096 == 0 {
                stop.check()?;
            }
            rows += 1;
            let number = self.number(span.at.file, span.at.offset + record.start as u64);
            if number < below {
                chosen.push((number, record));
            }
        }
        chosen.sort_unstable_by_key(|(number, record)| (*number, record.start));
        let mut taken = Vec::new();
        for (number, record) in chosen {
            stop.check()?;
            if taken.len() == self.rows_max {
                break;
            }
            if let Some(batch) = self.decode_one(data, record.clone()) {
                let line = span.at.lines + 1 + count_lines(&data[..record.start], self.is_csv);
                taken.push(Taken { number, file: span.at.file, line, values: row(&batch, 0)? });
            }
        }
        // Which of the records that were not chosen are bad is not known: all are counted as rows.
        Ok((Counts { rows, ..Counts::default() }, taken))
    }

    fn decode_one(&self, data: &[u8], record: Range<usize>) -> Option<RecordBatch> {
        self.decode.rows(&data[record]).ok().filter(|batch| batch.num_rows() == 1)
    }

    fn of_batches(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, Vec<Taken>), Fault> {
        let mut below = self.below.load(Ordering::Relaxed);
        let mut taken: Vec<Taken> = Vec::new();
        let counts = self.decode.run(input, span, stop, &mut |batch, at| {
            let first = at.line(0);
            for index in 0..batch.num_rows() {
                let line = first + index as u64;
                let number = self.number(span.at.file, line);
                if number < below {
                    let values = row(batch, index)?;
                    taken.push(Taken { number, file: span.at.file, line, values });
                }
                if taken.len() >= 2 * self.rows_max {
                    least(&mut taken, self.rows_max);
                    below = taken.last().map_or(below, |last| last.number);
                }
            }
            Ok(())
        })?;
        least(&mut taken, self.rows_max);
        Ok((counts, taken))
    }
}

/// Keeps the `most` with the least numbers, in their order.
fn least(taken: &mut Vec<Taken>, most: usize) {
    taken.sort_by_key(|row| (row.number, row.file, row.line));
    taken.truncate(most);
}

fn row(batch: &RecordBatch, row: usize) -> Result<Vec<Value>, Fault> {
    batch.columns().iter().map(|column| values::json(column, row)).collect()
}

impl Work for SampleWork {
    type Part = Vec<Taken>;

    fn work(
        &self,
        input: &dyn Input,
        span: &Span,
        stop: &Stop,
    ) -> Result<(Counts, Vec<Taken>), Fault> {
        match &span.body {
            Body::Text(data) if input.shape().format != ShapeFormat::Text => {
                self.of_text(data, span, stop)
            }
            _ => self.of_batches(input, span, stop),
        }
    }
}

impl Fold for Sample {
    type Work = SampleWork;

    fn work(&self) -> &Arc<SampleWork> {
        &self.work
    }

    fn fold(&mut self, part: Vec<Taken>) -> Result<Option<Value>, Fault> {
        self.taken.extend(part);
        least(&mut self.taken, self.work.rows_max);
        self.note_below();
        Ok(None)
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        let header = serde_json::to_value(&self.taken).map_err(Fault::internal)?;
        Ok(Saved { header, ..Saved::default() })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        self.taken = serde_json::from_value(saved.header).map_err(|_| damaged())?;
        self.note_below();
        Ok(())
    }

    /// The rows in the order in which they are in the files.
    fn report(&mut self) -> Result<Value, Fault> {
        let mut rows: Vec<&Taken> = self.taken.iter().collect();
        rows.sort_by_key(|row| (row.file, row.line));
        let several = self.files.len() > 1;
        let rows = rows.into_iter().map(|row| {
            let mut told = json!({ "line": row.line, "values": row.values });
            if several {
                told["file"] = self.files[row.file].clone().into();
            }
            told
        });
        let columns = self.work.decode.schema().fields().iter().map(|field| field.name().clone());
        Ok(json!({ "columns": columns.collect::<Vec<_>>(), "sample": rows.collect::<Vec<_>>() }))
    }
}
