//! The lines of a chunk that match, and those at its ends that may be around matches of others.

use std::sync::Arc;

use memchr::{memchr, memrchr};
use roothold_core::Fault;

use super::super::input::{
    Batches, FileSize, GroupSize, Input, Shape, ShapeFormat, Stop, TextRead,
};
use super::super::records::count_lines;
use super::super::spans::Span;
use super::super::values::brief;
use super::TEXT_BYTES_MAX;
use super::found::{Match, Part};
use super::pattern::Pattern;

/// An input whose records are lines, whatever is in them.
pub(in super::super) struct AsLines {
    inner: Arc<dyn Input>,
    shape: Shape,
}

impl AsLines {
    pub(in super::super) fn new(inner: Arc<dyn Input>) -> Arc<Self> {
        let shape = Shape { format: ShapeFormat::Text, ..inner.shape().clone() };
        Arc::new(Self { inner, shape })
    }
}

impl Input for AsLines {
    fn files(&self) -> Vec<FileSize> {
        self.inner.files()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn revision(&self) -> String {
        self.inner.revision()
    }

    fn text(&self, file: usize, offset: u64) -> Result<Box<dyn TextRead>, Fault> {
        self.inner.text(file, offset)
    }

    fn unchanged(&self, file: usize) -> Result<(), Fault> {
        self.inner.unchanged(file)
    }

    fn stop(&self) {
        self.inner.stop();
    }

    fn bytes_read(&self) -> u64 {
        self.inner.bytes_read()
    }

    fn row_groups(&self, file: usize) -> Result<Vec<GroupSize>, Fault> {
        self.inner.row_groups(file)
    }

    fn row_group(&self, file: usize, group: usize, columns: &[usize]) -> Result<Batches, Fault> {
        self.inner.row_group(file, group, columns)
    }
}

pub(super) fn search(
    pattern: &Pattern,
    data: &[u8],
    span: &Span,
    stop: &Stop,
    context: usize,
    matches_max: usize,
) -> Result<Part, Fault> {
    let mut part = Part { file: span.at.file, ..Part::default() };
    let (mut counted, mut line) = (0, span.at.lines + 1);
    pattern.lines(data, stop, |start, end| {
        part.total += 1;
        if part.matches.len() >= matches_max {
            return;
        }
        line += count_lines(&data[counted..start], false);
        counted = start;
        part.matches.push(Match {
            line,
            text: Some(shown(&data[start..end])),
            before: lines_before(data, start, context),
            after: lines_after(data, end + 1, context),
            ..Match::default()
        });
    })?;
    part.head = lines_after(data, 0, context);
    part.tail = lines_before(data, data.len(), context);
    Ok(part)
}

fn shown(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let cut = &line[..line.len().min(4 * TEXT_BYTES_MAX)];
    brief(&String::from_utf8_lossy(cut), TEXT_BYTES_MAX)
}

/// Up to `count` whole lines that end before `start`.
fn lines_before(data: &[u8], start: usize, count: usize) -> Vec<String> {
    let (mut lines, mut end) = (Vec::new(), start);
    while lines.len() < count && end > 0 {
        let content = end - usize::from(data[end - 1] == b'\n');
        let begin = memrchr(b'\n', &data[..content]).map_or(0, |at| at + 1);
        lines.push(shown(&data[begin..content]));
        end = begin;
    }
    lines.reverse();
    lines
}

/// Up to `count` lines from `start` on.
fn lines_after(data: &[u8], mut start: usize, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count && start < data.len() {
        let end = memchr(b'\n', &data[start..]).map_or(data.len(), |at| start + at);
        lines.push(shown(&data[start..end]));
        start = end + 1;
    }
    lines
}
