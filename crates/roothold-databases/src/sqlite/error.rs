//! What SQLite said, for agents: without the file's path, and without telling what is hidden.

use roothold_core::{Budget, Fault, FaultKind};
use rusqlite::{Error, ErrorCode};

use super::guard::Denied;
use super::open::{code, unavailable};
use crate::said;
use crate::sql::line_and_column;
use crate::wait::Until;

/// The fault for an error of the caller's statement.
pub(super) fn fault(
    error: &Error,
    sql: &str,
    denied: Option<Denied>,
    changes: bool,
    until: Until,
    budget: &Budget,
) -> Fault {
    if let Some(denied) = denied {
        return refused(&denied, changes);
    }
    let invalid = |text: &str| Fault::invalid(text.to_owned());
    let (message, offset) = match error {
        Error::MultipleStatement => return invalid(said::ONE_STATEMENT),
        Error::SqlInputError { msg, offset, .. } => (msg.as_str(), usize::try_from(*offset).ok()),
        Error::SqliteFailure(_, Some(message)) => (message.as_str(), None),
        _ => ("", None),
    };
    let unknown = [
        "no such table",
        "no such column",
        "access to ",
        "no such view",
        "no such index",
        "ambiguous column",
    ];
    if unknown.iter().any(|start| message.starts_with(start))
        || message.contains(" has no column named ")
        || message.ends_with("is not a function")
        || message.contains(" has no column named ")
    {
        return invalid(said::NO_NAME);
    }
    let kind = match error {
        Error::SqlInputError { error, .. } | Error::SqliteFailure(error, _) => error.code,
        _ => return invalid("the statement or its parameters do not fit"),
    };
    match kind {
        ErrorCode::OperationInterrupted => {
            until.check(budget).err().unwrap_or_else(|| until.overdue())
        }
        ErrorCode::TooBig => Fault::new(
            FaultKind::Limit,
            "a value or row is larger than SQLite may make here, the less the longer the statement is; ask for parts of it",
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Fault::new(FaultKind::Conflict, "somebody writes to the database just now; try again")
        }
        ErrorCode::ReadOnly => refused(&Denied::Kind("change anything"), changes),
        ErrorCode::ConstraintViolation => invalid(said::CONSTRAINT),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            unavailable("the database's file is damaged").with_source(code(error))
        }
        ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure
        | ErrorCode::DiskFull
        | ErrorCode::OutOfMemory => {
            let text = "SQLite found no room for a temporary file, or cannot read the database; sort and group less at once";
            unavailable(text).with_source(code(error))
        }
        _ => invalid(&format!("{}{}", shown(message), place(sql, offset))),
    }
}

fn refused(denied: &Denied, changes: bool) -> Fault {
    match denied {
        Denied::Name => Fault::invalid(said::NO_NAME),
        Denied::Function(name) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            Fault::new(
                FaultKind::Denied,
                format!("the function {name} is not one that statements may use here"),
            )
        }
        Denied::Kind(what) => {
            let only = if changes { "only reads and changes rows" } else { "only reads" };
            Fault::new(FaultKind::Denied, format!("a statement here {only}: it cannot {what}"))
        }
    }
}

fn shown(message: &str) -> String {
    if message.is_empty() {
        return "the statement fails".to_owned();
    }
    message.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn place(sql: &str, offset: Option<usize>) -> String {
    let place = offset.and_then(|at| line_and_column(sql, at));
    place.map(|(line, column)| format!(" (at line {line}, column {column})")).unwrap_or_default()
}
