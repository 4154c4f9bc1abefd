//! What is asked of a source, and what comes back: values of ours, ready for JSON.
//!
//! Numbers that a reader of JSON would round (whole ones beyond 2^53, decimals) are strings, and
//! so are those that JSON does not have (NaN, infinities).

use std::io;

use roothold_core::Fault;
use serde::Serialize;
use serde_json::{Number, Value};

use crate::spec::SourceLimits;
use crate::sql;

/// The largest whole number that every reader of JSON keeps.
const EXACT_MAX: u64 = 1 << 53;
/// Brackets nest no deeper in a statement.
const BRACKETS_MAX: usize = 500;

/// A value that is bound to a place of a statement; it is never part of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The value. A list is an array, an object is JSON.
    pub value: Value,
    /// PostgreSQL: its type, such as `int8` or `text[]`. Without one the database infers it.
    pub type_name: Option<String>,
}

impl From<Value> for Parameter {
    fn from(value: Value) -> Self {
        Self { value, type_name: None }
    }
}

/// One statement and its parameters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statement {
    /// The text: exactly one statement.
    pub sql: String,
    /// The values for `$1`, `$2`, … (PostgreSQL), `?1`, `?2`, … (SQLite), or either `?` or `?1`, `?2`,
    /// … (MySQL).
    pub parameters: Vec<Parameter>,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), parameters: Vec::new() }
    }

    /// What no database needs to be asked about.
    pub(crate) fn check(&self, dialect: sql::Dialect, limits: &SourceLimits) -> Result<(), Fault> {
        if self.sql.len() > limits.sql_bytes_max {
            let most = limits.sql_bytes_max;
            return Err(Fault::invalid(format!("the statement is longer than {most} bytes")));
        }
        if self.sql.contains('\0') {
            return Err(Fault::invalid("the statement holds a NUL character; leave it out"));
        }
        if self.parameters.len() > limits.parameters_max {
            let most = limits.parameters_max;
            return Err(Fault::invalid(format!("there are more than {most} parameters")));
        }
        if sql::bracket_depth(dialect, &self.sql) > BRACKETS_MAX {
            let text = format!("brackets nest more than {BRACKETS_MAX} deep; write it flatter");
            return Err(Fault::invalid(text));
        }
        Ok(())
    }
}

/// Which part of a result is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// How many rows come before it. The statement runs again for each page.
    pub offset: u64,
    /// The most rows; 0 is as many as the source allows.
    pub rows: usize,
    /// The most bytes, as JSON; 0 is as many as the source allows.
    pub bytes: usize,
}

impl Window {
    /// Within the limits of a source.
    pub(crate) fn within(self, limits: &SourceLimits) -> Self {
        let least = |wanted: usize, most: usize| if wanted == 0 { most } else { wanted.min(most) };
        Self {
            offset: self.offset.min(i64::MAX as u64 / 2),
            rows: least(self.rows, limits.rows_max),
            bytes: least(self.bytes, limits.bytes_max),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, in the database's own word: `int8`, `text[]`, …; for SQLite what the values of
    /// the page are stored as.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A page of a result.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with as many values as there are columns.
    pub rows: Vec<Vec<Value>>,
    /// Where the next page begins, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Whether the statement orders its result. Pages of one that does not may overlap.
    pub stable: bool,
}

/// How a statement would run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The plan, as the database tells it.
    pub plan: Value,
    /// Its cost, in the database's units, if it tells one; SQLite has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The highest cost that would run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_max: Option<f64>,
    /// Whether it would run.
    pub would_run: bool,
}

/// What became of a statement that changes data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Executed {
    /// How many rows it changed.
    pub rows_affected: u64,
    /// What it gave back (`RETURNING`), as far as one page holds.
    pub answer: Answer,
    /// Whether it was undone again.
    pub dry_run: bool,
}

/// Collects rows until a page is full.
pub(crate) struct Page {
    window: Window,
    bytes: usize,
    pub(crate) rows: Vec<Vec<Value>>,
    full: bool,
}

impl Page {
    pub(crate) fn new(window: Window) -> Self {
        Self { window, bytes: 0, rows: Vec::new(), full: false }
    }

    /// Whether no row more is wanted: there is one that does not fit.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Ends the page: what comes next was passed over.
    pub(crate) fn close(&mut self) {
        self.full = true;
    }

    /// How many rows may still come, with the one that shows that there is more.
    pub(crate) fn wanted(&self) -> usize {
        self.window.rows + 1 - self.rows.len()
    }

    /// Takes a row, unless it shows that the page is full.
    ///
    /// # Errors
    /// `Limit`, for a row that no page holds.
    pub(crate) fn push(&mut self, row: Vec<Value>) -> Result<(), Fault> {
        let bytes = json_bytes(&row);
        if self.rows.is_empty() && bytes > self.window.bytes {
            return Err(too_large(self.window.bytes));
        }
        if self.rows.len() >= self.window.rows || self.bytes + bytes > self.window.bytes {
            self.full = true;
            return Ok(());
        }
        self.bytes += bytes;
        self.rows.push(row);
        Ok(())
    }

    /// Where the next page begins.
    pub(crate) fn next_offset(&self) -> Option<u64> {
        self.full.then(|| self.window.offset + self.rows.len() as u64)
    }
}

pub(crate) fn too_large(bytes: usize) -> Fault {
    let text = format!(
        "a row is larger than the {bytes} bytes that an answer may have; select fewer columns, or parts \
         of long ones, such as substr(column, 1, 1000)"
    );
    Fault::new(roothold_core::FaultKind::Limit, text)
}

/// How many bytes a row takes as JSON, with a comma.
fn json_bytes(row: &[Value]) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(1);
    serde_json::to_writer(&mut count, row).expect("values can always be written");
    count.0
}

/// A whole number: as such where every reader keeps it, else as a string.
pub(crate) fn whole(number: i64) -> Value {
    if number.unsigned_abs() <= EXACT_MAX {
        Value::Number(number.into())
    } else {
        Value::String(number.to_string())
    }
}

/// The same of one without a sign.
pub(crate) fn whole_unsigned(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| Value::String(number.to_string()), whole)
}

/// A floating-point number: what JSON does not have is a string.
pub(crate) fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            let text = match number {
                n if n.is_nan() => "NaN",
                n if n > 0.0 => "Infinity",
                _ => "-Infinity",
            };
            Value::String(text.to_owned())
        },
        Value::Number,
    )
}

/// Bytes as PostgreSQL writes them: `\x`, and two digits each.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("text can always be appended");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn window(rows: usize, bytes: usize) -> Window {
        Window { offset: 7, rows, bytes }
    }

    #[test]
    fn a_page_ends_at_its_rows_and_at_its_bytes() {
        let mut page = Page::new(window(2, 1_000));
        for n in 0..3 {
            assert!(!page.is_full());
            page.push(vec![json!(n)]).unwrap();
        }
        assert_eq!((page.rows.len(), page.next_offset()), (2, Some(9)));
        let mut page = Page::new(window(100, 30));
        page.push(vec![json!("0123456789")]).unwrap();
        page.push(vec![json!("0123456789")]).unwrap();
        page.push(vec![json!("0123456789")]).unwrap();
        assert_eq!((page.rows.len(), page.next_offset()), (2, Some(9)));
        let mut page = Page::new(window(100, 30));
        let fault = page.push(vec![json!("x".repeat(40))]).unwrap_err();
        assert!(fault.public().contains("30 bytes"), "{fault}");
        let mut exact = Page::new(window(2, 1_000));
        exact.push(vec![json!(1)]).unwrap();
        exact.push(vec![json!(2)]).unwrap();
        assert_eq!(exact.next_offset(), None);
    }

    #[test]
    fn what_json_would_round_is_text() {
        assert_eq!(whole(1 << 53), json!(1_u64 << 53));
        assert_eq!(whole((1 << 53) + 1), json!("9007199254740993"));
        assert_eq!(whole(i64::MIN), json!("-9223372036854775808"));
        assert_eq!(whole_unsigned(u64::MAX), json!("18446744073709551615"));
        assert_eq!(whole_unsigned(7), json!(7));
        assert_eq!(float(f64::NEG_INFINITY), json!("-Infinity"));
        assert_eq!(float(0.1), json!(0.1));
    }

    #[test]
    fn what_no_database_needs_to_see_is_refused() {
        let check = |sql: &str| {
            let limits = SourceLimits { sql_bytes_max: 5_000, ..SourceLimits::default() };
            Statement::new(sql).check(sql::Dialect::Postgres, &limits)
        };
        assert!(check("select 1").is_ok());
        assert!(check("select 'a\0b'").unwrap_err().public().contains("NUL"));
        assert!(check(&"x".repeat(6_000)).unwrap_err().public().contains("5000 bytes"));
        assert!(check(&"(".repeat(4_000)).unwrap_err().public().contains("nest"));
    }
}
