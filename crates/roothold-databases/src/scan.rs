//! Tables of a source for whoever works with them as tables: their columns with types, and their rows
//! as a stream of batches. Values are told as they are, not as JSON would have them.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use roothold_core::{Fault, FaultKind};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::answer::too_large;
use crate::engine::Answering;
use crate::spec::SourceKind;

mod types;

pub use types::FieldType;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: FieldType,
    /// Whether a value may be missing.
    pub nullable: bool,
}

/// One value. What has no form of its own here is text, in the form in which the source is read
/// otherwise: decimals with all their digits, dates and times as in ISO 8601.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None is there.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number of a column without signs.
    Unsigned(u64),
    /// A floating-point number; NaN and infinities are among them.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Which rows of a table are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanRequest {
    /// The schema; for SQLite `main`.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The columns, in this order; with none of them rows have no cells, and can be counted.
    pub columns: Vec<String>,
    /// The most rows; which ones is not said.
    pub limit: Option<u64>,
}

/// Rows of a scan, each with as many cells as it has fields.
pub type Batch = Vec<Vec<Cell>>;

/// The rows of a table, batch by batch, in no order.
///
/// # Cancellation
/// Dropped, the statement stops in the database. Nothing is read ahead but one batch; a batch has no
/// more rows and bytes than a page of the source may have.
pub struct Scan<'a> {
    pub(crate) fields: Vec<Field>,
    pub(crate) work: Option<Answering<'a, ()>>,
    pub(crate) batches: mpsc::Receiver<Batch>,
}

impl Scan<'_> {
    /// What the cells of a row are.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// Those of [`crate::Source::query`]; all of the scan has the time of one statement. `Conflict`, when the
    /// table is not any more what it was when the scan began. After an error there is nothing more.
    ///
    /// # Cancellation
    /// Dropped, it loses no batch.
    pub async fn next(&mut self) -> Result<Option<Batch>, Fault> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Batch>, Fault>> {
        if let Some(work) = &mut self.work
            && let Poll::Ready(done) = Pin::new(work).as_mut().poll(cx)
        {
            self.work = None;
            if let Err(fault) = done {
                self.batches.close();
                while self.batches.try_recv().is_ok() {}
                return Poll::Ready(Err(fault));
            }
        }
        self.batches.poll_recv(cx).map(Ok)
    }
}

/// Collects rows into batches, and hands these on. Half a batch is handed on when it is dropped with
/// [`Batches::rest`] only.
pub(crate) struct Batches {
    rows: Batch,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    to: mpsc::Sender<Batch>,
}

impl Batches {
    /// Batches, and where they arrive.
    pub(crate) fn new(rows_max: usize, bytes_max: usize) -> (Self, mpsc::Receiver<Batch>) {
        let (to, from) = mpsc::channel(1);
        (Self { rows: Vec::new(), bytes: 0, rows_max, bytes_max, to }, from)
    }

    /// Takes a row; the batch that is full with those before it, if one is.
    ///
    /// # Errors
    /// `Limit`, for a row that no batch holds.
    pub(crate) fn take(&mut self, row: Vec<Cell>) -> Result<Option<Batch>, Fault> {
        let bytes = row.iter().map(Cell::bytes).sum::<usize>();
        if bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        let is_full = self.rows.len() >= self.rows_max || self.bytes + bytes > self.bytes_max;
        let full = is_full.then(|| self.rest());
        self.bytes += bytes;
        self.rows.push(row);
        Ok(full)
    }

    /// What is left at the end.
    pub(crate) fn rest(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }

    /// Where full batches go; that it is closed says that nobody wants more.
    pub(crate) fn to(&self) -> mpsc::Sender<Batch> {
        self.to.clone()
    }

    /// Takes a row and hands on what is full.
    ///
    /// # Errors
    /// As [`Self::take`]; `Cancelled`, when nobody wants more.
    pub(crate) async fn push(&mut self, row: Vec<Cell>) -> Result<(), Fault> {
        match self.take(row)? {
            Some(batch) => self.to.send(batch).await.map_err(|_| unwanted()),
            None => Ok(()),
        }
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// `Cancelled`, when nobody wants it.
    pub(crate) async fn end(mut self) -> Result<(), Fault> {
        let rest = self.rest();
        if rest.is_empty() { Ok(()) } else { self.to.send(rest).await.map_err(|_| unwanted()) }
    }
}

pub(crate) fn unwanted() -> Fault {
    Fault::new(FaultKind::Cancelled, "nobody reads the rows any more")
}

impl Cell {
    /// The value of a column, from its form for JSON.
    ///
    /// # Errors
    /// `Conflict`, when it is none of the column's type.
    pub(crate) fn of(kind: FieldType, value: Value) -> Result<Self, Fault> {
        let text = match value {
            Value::Null => return Ok(Self::Null),
            Value::String(text) => text,
            Value::Bool(flag) if kind == FieldType::Boolean => return Ok(Self::Boolean(flag)),
            other => other.to_string(),
        };
        let read = match kind {
            FieldType::Boolean => None,
            FieldType::Integer { .. } => text.parse().ok().map(Self::Integer),
            FieldType::Unsigned { .. } => text.parse().ok().map(Self::Unsigned),
            FieldType::Float { .. } => text.parse().ok().map(Self::Float),
            FieldType::Bytes => unhex(&text).map(Self::Bytes),
            _ => Some(Self::Text(text)),
        };
        read.ok_or_else(|| {
            Fault::new(FaultKind::Conflict, "the table was changed just now; try again")
        })
    }

    /// About what it takes of memory, and no less than its own size.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::Bytes(bytes) => bytes.len(),
                _ => 0,
            }
    }
}

/// The bytes of `\x0a0b`.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

/// The statement that reads what is wanted, in words of ours.
pub(crate) fn statement(kind: SourceKind, request: &ScanRequest) -> String {
    let mark = if kind == SourceKind::MySql { '`' } else { '"' };
    let quoted = |name: &String| {
        let doubled = name.replace(mark, &format!("{mark}{mark}"));
        format!("{mark}{doubled}{mark}")
    };
    let columns: Vec<String> = request.columns.iter().map(quoted).collect();
    let columns = if columns.is_empty() { "1".to_owned() } else { columns.join(", ") };
    let (schema, table) = (quoted(&request.schema), quoted(&request.table));
    let mut sql = format!("SELECT {columns} FROM {schema}.{table}");
    if let Some(limit) = request.limit {
        sql.push_str(" LIMIT ");
        sql.push_str(&limit.min(i64::MAX as u64).to_string());
    }
    sql
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_what_their_column_says_and_lose_nothing() {
        let integer = FieldType::Integer { bits: 64 };
        let cell = |kind, value| Cell::of(kind, value).map_err(|fault| fault.kind());
        assert_eq!(cell(integer, json!("9223372036854775807")), Ok(Cell::Integer(i64::MAX)));
        assert_eq!(cell(integer, json!(-5)), Ok(Cell::Integer(-5)));
        let unsigned = FieldType::Unsigned { bits: 64 };
        assert_eq!(cell(unsigned, json!(u64::MAX.to_string())), Ok(Cell::Unsigned(u64::MAX)));
        let float = FieldType::Float { bits: 64 };
        assert_eq!(cell(float, json!("-Infinity")), Ok(Cell::Float(f64::NEG_INFINITY)));
        assert!(matches!(cell(float, json!("NaN")), Ok(Cell::Float(nan)) if nan.is_nan()));
        assert_eq!(cell(FieldType::Bytes, json!("\\x00fF")), Ok(Cell::Bytes(vec![0, 255])));
        assert_eq!(cell(FieldType::Text, json!(7)), Ok(Cell::Text("7".to_owned())));
        assert_eq!(
            cell(FieldType::Json, json!({"a": [1]})),
            Ok(Cell::Text("{\"a\":[1]}".to_owned()))
        );
        assert_eq!(cell(integer, Value::Null), Ok(Cell::Null));
        for (kind, value) in [
            (integer, json!("1.5")),
            (integer, json!(u64::MAX)),
            (FieldType::Boolean, json!("t")),
            (FieldType::Bytes, json!("\\x0")),
            (FieldType::Bytes, json!("abc")),
        ] {
            assert_eq!(cell(kind, value), Err(FaultKind::Conflict));
        }
    }

    #[test]
    fn batches_end_at_their_rows_and_at_their_bytes() {
        let row = |text: &str| vec![Cell::Text(text.to_owned())];
        let (mut batches, _) = Batches::new(2, 10_000);
        let full: Vec<_> = (0..5).map(|_| batches.take(row("a")).unwrap()).collect();
        let sizes: Vec<_> = full.iter().flatten().map(Vec::len).collect();
        assert_eq!((sizes, batches.rest().len()), (vec![2, 2], 1));
        let (mut batches, _) = Batches::new(1_000, 1_000);
        let long = "x".repeat(400);
        let full: Vec<_> = (0..5).filter_map(|_| batches.take(row(&long)).unwrap()).collect();
        assert!(full.iter().all(|batch| batch.len() == 2) && full.len() == 2);
        let fault = batches.take(row(&"x".repeat(1_001))).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Limit);
    }

    #[test]
    fn names_stay_names() {
        let request = ScanRequest {
            schema: "a".to_owned(),
            table: "t\"`; DROP".to_owned(),
            columns: vec!["x\"y".to_owned(), "z`".to_owned()],
            limit: Some(u64::MAX),
        };
        let sql = |kind| statement(kind, &request);
        let most = i64::MAX;
        assert_eq!(
            sql(SourceKind::Postgres),
            format!("SELECT \"x\"\"y\", \"z`\" FROM \"a\".\"t\"\"`; DROP\" LIMIT {most}")
        );
        assert_eq!(
            sql(SourceKind::MySql),
            format!("SELECT `x\"y`, `z``` FROM `a`.`t\"``; DROP` LIMIT {most}")
        );
        let none = ScanRequest { columns: Vec::new(), limit: None, ..request };
        assert!(statement(SourceKind::Sqlite, &none).starts_with("SELECT 1 FROM \"a\"."));
    }
}
