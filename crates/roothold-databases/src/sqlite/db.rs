//! One connection, and one statement of a caller on it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roothold_core::{Budget, Fault};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement as Prepared, ToSql};
use serde_json::Value;

use super::catalogue;
use super::error::fault;
use super::guard::{Guard, Phase};
use super::open::{self, Look, code};
use crate::answer::{
    Answer, Column, Page, Parameter, Statement, Window, float, hex, too_large, whole,
};
use crate::said;
use crate::spec::SourceSpec;
use crate::sql::{self, Dialect};
use crate::wait::Until;

/// SQLite asks whether to go on every so many steps of its machine: some microseconds.
const STEPS: i32 = 1_000;

pub(super) struct Db {
    pub(super) conn: Connection,
    pub(super) guard: Arc<Guard>,
    pub(super) look: Look,
    /// The version of the schema that the guard knows.
    learnt: Option<i64>,
}

/// Until when a call may go on, and whether anybody waits for it.
#[derive(Clone)]
pub(super) struct Stop {
    pub(super) budget: Budget,
    pub(super) until: Until,
    pub(super) left: Arc<AtomicBool>,
}

impl Stop {
    /// Whether nobody waits for the call any more.
    pub(super) fn must(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.until.check(&self.budget).is_err()
    }
}

impl Db {
    /// Opens the file.
    pub(super) fn open(
        spec: &SourceSpec,
        path: &Path,
        look: Look,
        stop: &Stop,
    ) -> Result<Self, Fault> {
        let mut conn = open::open(spec, path, &look)?;
        let guard = Arc::new(Guard::new(spec.tables.clone()));
        let shared = Arc::clone(&guard);
        conn.authorizer(Some(move |asked: rusqlite::hooks::AuthContext<'_>| shared.decide(&asked)))
            .map_err(broken)?;
        let mut db = Self { conn, guard, look, learnt: None };
        db.watch(stop)?;
        Ok(db)
    }

    /// Lets `stop` end what runs from here on.
    pub(super) fn watch(&mut self, stop: &Stop) -> Result<(), Fault> {
        let stop = stop.clone();
        self.conn.progress_handler(STEPS, Some(move || stop.must())).map_err(broken)
    }

    /// Begins a transaction, in which the schema stays as it is, and learns it if it is not known.
    pub(super) fn begin(&mut self, how: &str, stop: &Stop) -> Result<(), Fault> {
        self.guard.enter(Phase::Ours);
        open::limit_values(&self.conn, None).map_err(broken)?;
        let begun = self.conn.execute_batch(how).and_then(|()| self.learn_what_changed());
        begun.map_err(|error| match error.sqlite_error() {
            Some(_) => fault(&error, "", None, false, stop.until, &stop.budget),
            // A name that is no text.
            None => broken(error),
        })
    }

    /// Ends the transaction.
    pub(super) fn end(&self, how: &str) -> Result<(), Fault> {
        self.guard.enter(Phase::Ours);
        self.conn.execute_batch(how).map_err(broken)
    }

    fn learn_what_changed(&mut self) -> rusqlite::Result<()> {
        let version: i64 = self.conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        if self.learnt == Some(version) {
            return Ok(());
        }
        self.learn()?;
        self.learnt = Some(version);
        Ok(())
    }

    /// Which tables there are. Virtual ones are connected at once: what they compile for that is
    /// theirs, not a caller's.
    fn learn(&self) -> rusqlite::Result<()> {
        let catalogue = catalogue::read(&self.conn, self.guard.tables())?;
        for name in &catalogue.virtuals {
            let quoted = name.replace('"', "\"\"");
            // One that does not connect fails again where it is used.
            let _ = self.conn.prepare(&format!("SELECT 1 FROM \"{quoted}\""));
        }
        self.guard.learn(catalogue);
        Ok(())
    }

    /// Whether the file is still as the connection took it to be.
    pub(super) fn serves(&self, spec: &SourceSpec, path: &Path) -> Result<bool, Fault> {
        Ok(self.look.still_serves(&Look::at(spec, path)?))
    }

    /// The fault for an error of a statement.
    pub(super) fn told(&self, error: &rusqlite::Error, sql: &str, stop: &Stop) -> Fault {
        let changes = self.guard.lets_changes_through();
        fault(error, sql, self.guard.denied(), changes, stop.until, &stop.budget)
    }

    /// Compiles a statement as one of a caller's, behind all walls.
    pub(super) fn prepare(&self, sql: &str, stop: &Stop) -> Result<Prepared<'_>, Fault> {
        self.guard.denied();
        let words = sql::token_count(Dialect::Sqlite, sql);
        open::limit_values(&self.conn, Some(words)).map_err(broken)?;
        self.guard.enter(Phase::Theirs);
        let prepared = self.conn.prepare(sql).map_err(|error| self.told(&error, sql, stop))?;
        self.guard.enter(Phase::Running);
        Ok(prepared)
    }

    /// Runs the caller's statement, with `before` in front of it, and answers a page. Unless the
    /// guard lets changes through, one that would change something does not run.
    pub(super) fn page(
        &self,
        before: &str,
        statement: &Statement,
        window: Window,
        stop: &Stop,
    ) -> Result<Answer, Fault> {
        if self.guard.tables().hides_columns() && sql::joins_by_name(&statement.sql) {
            let text = "tables of this database are joined by ON, not by USING or NATURAL";
            return Err(Fault::invalid(text));
        }
        let text = format!("{before}{}", statement.sql);
        let told = |error: &rusqlite::Error| self.told(error, &text, stop);
        let mut prepared = self.prepare(&text, stop)?;
        let only_reads = prepared.readonly();
        let is_query = only_reads && prepared.column_count() > 0;
        if !is_query && !self.guard.lets_changes_through() {
            return Err(Fault::invalid("a query is a SELECT, or WITH or VALUES"));
        }
        bind(&mut prepared, &statement.parameters)?;
        let names: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        let mut kinds = vec![Kind::None; names.len()];
        let mut page = Page::new(window);
        let mut skip = window.offset;
        let mut rows = prepared.raw_query();
        while let Some(row) = rows.next().map_err(|error| told(&error))? {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            // A statement that changes rows is stepped to its end.
            if !page.is_full() {
                within(row, names.len(), window.bytes)?;
                let mut values = Vec::with_capacity(names.len());
                for (at, kind) in kinds.iter_mut().enumerate() {
                    let value = row.get_ref(at).map_err(|error| told(&error))?;
                    kind.meet(&value);
                    values.push(shown(value));
                }
                page.push(values)?;
            }
            if page.is_full() && only_reads {
                break;
            }
        }
        let columns = names.into_iter().zip(kinds);
        let columns = columns.map(|(name, kind)| Column { name, kind: kind.word().to_owned() });
        let answer = Answer {
            columns: columns.collect(),
            next_offset: page.next_offset(),
            rows: page.rows,
            stable: sql::is_ordered(Dialect::Sqlite, &statement.sql),
        };
        Ok(answer)
    }
}

/// Whether a row fits an answer, before it is copied.
pub(super) fn within(
    row: &rusqlite::Row<'_>,
    columns: usize,
    bytes_max: usize,
) -> Result<(), Fault> {
    let mut bytes = 0;
    for at in 0..columns {
        if let Ok(ValueRef::Text(value) | ValueRef::Blob(value)) = row.get_ref(at) {
            bytes += value.len();
        }
    }
    if bytes > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn broken(error: rusqlite::Error) -> Fault {
    open::unavailable("the database's file cannot be read").with_source(code(&error))
}

/// What the values of a column are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    One(&'static str),
    Several,
}

impl Kind {
    fn meet(&mut self, value: &ValueRef<'_>) {
        let word = match value {
            ValueRef::Null => return,
            ValueRef::Integer(_) => "integer",
            ValueRef::Real(_) => "real",
            ValueRef::Text(_) => "text",
            ValueRef::Blob(_) => "blob",
        };
        *self = match *self {
            Self::None => Self::One(word),
            Self::One(known) if known == word => return,
            _ => Self::Several,
        };
    }

    fn word(self) -> &'static str {
        match self {
            Self::None => "null",
            Self::One(word) => word,
            Self::Several => "any",
        }
    }
}

fn shown(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => whole(number),
        ValueRef::Real(number) => float(number),
        // What is stored as text need not be.
        ValueRef::Text(bytes) => {
            Value::String(std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), str::to_owned))
        }
        ValueRef::Blob(bytes) => Value::String(hex(bytes)),
    }
}

/// A value for JSON as one for SQLite.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        use rusqlite::types::Value as Own;
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(Own::Null),
            Value::Bool(flag) => ToSqlOutput::Owned(Own::Integer(i64::from(*flag))),
            Value::Number(number) => ToSqlOutput::Owned(match number.as_i64() {
                Some(number) => Own::Integer(number),
                None => Own::Real(number.as_f64().unwrap_or(f64::NAN)),
            }),
            Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            other => ToSqlOutput::Owned(Own::Text(other.to_string())),
        })
    }
}

fn bind(prepared: &mut Prepared<'_>, parameters: &[Parameter]) -> Result<(), Fault> {
    let (wanted, given) = (prepared.parameter_count(), parameters.len());
    if wanted != given {
        return Err(said::parameters(wanted, given));
    }
    for (place, parameter) in (1..).zip(parameters) {
        prepared
            .raw_bind_parameter(place, Bound(&parameter.value))
            .map_err(|_| Fault::invalid(format!("parameter {place} cannot be bound")))?;
    }
    Ok(())
}
