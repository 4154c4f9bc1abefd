//! Lines that match a pattern with the lines around them, or values that match in their rows.

mod found;
mod lines;
mod pattern;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use roothold_core::Fault;
use serde_json::{Map, Value};

use super::decode::{Counts, Decode};
use super::fold::{Fold, Work};
use super::input::{Input, ShapeFormat, Stop};
use super::operation::SearchOptions;
use super::records::RowsAt;
use super::saved::{Saved, damaged};
use super::spans::{Body, Span};
use super::values::brief;
use found::{Found, Match, Part};
use pattern::Pattern;

pub(super) use lines::AsLines;

/// How many matches are told unless asked otherwise.
const MATCHES_DEFAULT: usize = 100;
/// The most matches that are told.
pub(super) const MATCHES_MAX: usize = 1_000;
/// The most lines around a match.
const CONTEXT_MAX: usize = 10;
/// The most that is told of one line or value, in bytes.
const TEXT_BYTES_MAX: usize = 400;

/// Searches one chunk.
pub(super) struct SearchWork {
    pattern: Pattern,
    /// The columns that are looked at; none looks at lines.
    decode: Option<Decode>,
    context: usize,
    matches_max: usize,
}

/// What was found in the chunks so far.
pub(super) struct Search {
    work: Arc<SearchWork>,
    found: Found,
}

/// Whether the search looks at lines as they are, and not at columns.
///
/// # Errors
/// `Invalid` where lines cannot be had, or hold what callers may not see.
pub(super) fn is_by_lines(input: &dyn Input, options: &SearchOptions) -> Result<bool, Fault> {
    let shape = input.shape();
    if !options.columns.is_empty() || shape.format == ShapeFormat::Parquet {
        if options.context > 0 {
            return Err(Fault::invalid(
                "`context` is of lines; leave it out, or search a text format without `columns`",
            ));
        }
        return Ok(false);
    }
    if shape.hides() {
        return Err(Fault::invalid(
            "some columns of this dataset are kept back, so its lines cannot be searched; name `columns`",
        ));
    }
    Ok(true)
}

impl Search {
    /// Searches `columns` of the input; with none of them its lines.
    pub(super) fn new(
        input: &dyn Input,
        columns: Option<Vec<usize>>,
        options: &SearchOptions,
    ) -> Result<Self, Fault> {
        if options.context > CONTEXT_MAX {
            return Err(Fault::invalid(format!("`context` is at most {CONTEXT_MAX} lines")));
        }
        let matches_max = options.max_matches.unwrap_or(MATCHES_DEFAULT).clamp(1, MATCHES_MAX);
        let decode = columns.map(|columns| Decode::new(input.shape(), columns)).transpose()?;
        let pattern = Pattern::new(options)?;
        let work = Arc::new(SearchWork { pattern, decode, context: options.context, matches_max });
        let named = input.files().into_iter().map(|file| file.name).collect();
        Ok(Self { work, found: Found::new(named, options.context, matches_max) })
    }
}

impl Work for SearchWork {
    type Part = Part;

    fn work(&self, input: &dyn Input, span: &Span, stop: &Stop) -> Result<(Counts, Part), Fault> {
        match (&self.decode, &span.body) {
            (None, Body::Text(data)) => {
                let part =
                    lines::search(&self.pattern, data, span, stop, self.context, self.matches_max)?;
                Ok((Counts { rows: span.next.lines - span.at.lines, ..Counts::default() }, part))
            }
            (None, Body::RowGroups(_)) => Err(Fault::internal("row groups have no lines")),
            (Some(decode), _) => {
                let mut part = Part { file: span.at.file, ..Part::default() };
                let counts = decode.run(input, span, stop, &mut |batch, at| {
                    self.columns(decode, batch.columns(), at, &mut part)
                })?;
                Ok((counts, part))
            }
        }
    }
}

impl SearchWork {
    fn columns(
        &self,
        decode: &Decode,
        columns: &[ArrayRef],
        at: &RowsAt<'_>,
        part: &mut Part,
    ) -> Result<(), Fault> {
        let texts = columns.iter().map(|column| cast(column, &DataType::Utf8));
        let texts: Vec<_> = texts.collect::<Result<_, _>>().map_err(Fault::internal)?;
        let Some(rows) = texts.first().map(Array::len) else { return Ok(()) };
        for row in 0..rows {
            let mut values = Map::new();
            for (text, field) in texts.iter().zip(decode.schema().fields()) {
                let text = text.as_string::<i32>();
                if text.is_valid(row) && self.pattern.is_match(text.value(row).as_bytes()) {
                    values.insert(
                        field.name().clone(),
                        brief(text.value(row), TEXT_BYTES_MAX).into(),
                    );
                }
            }
            if values.is_empty() {
                continue;
            }
            part.total += 1;
            if part.matches.len() < self.matches_max {
                part.matches.push(Match {
                    line: at.line(row),
                    values: Some(values),
                    ..Match::default()
                });
            }
        }
        Ok(())
    }
}

impl Fold for Search {
    type Work = SearchWork;

    fn work(&self) -> &Arc<SearchWork> {
        &self.work
    }

    fn fold(&mut self, part: Part) -> Result<Option<Value>, Fault> {
        let complete = self.found.add(part);
        let part = (!complete.is_empty()).then(|| serde_json::json!({ "matches": complete }));
        Ok(part)
    }

    fn save(&mut self) -> Result<Saved, Fault> {
        let header = serde_json::to_value(&self.found).map_err(Fault::internal)?;
        Ok(Saved { header, ..Saved::default() })
    }

    fn load(&mut self, saved: Saved) -> Result<(), Fault> {
        self.found = serde_json::from_value(saved.header).map_err(|_| damaged())?;
        Ok(())
    }

    fn report(&mut self) -> Result<Value, Fault> {
        Ok(self.found.report())
    }
}
