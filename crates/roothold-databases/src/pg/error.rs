//! What the server said, for agents and for the log: never a row, a literal or a place in its code.

use std::error::Error as StdError;
use std::io;

use roothold_core::{Fault, FaultKind};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::frame::TooLarge;
use crate::said::{self, ForLog};
use crate::sql::line_and_column;

/// Why a connection could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody answered, or not as a server does.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused.
    #[error("{}", words(.0))]
    Said(#[source] tokio_postgres::Error),
}

impl Trouble {
    pub(super) fn of_io(error: &io::Error) -> Self {
        // The kind alone: the text may name a path of this machine.
        Self::Unreachable(error.kind().to_string())
    }

    pub(super) fn fault(self) -> Fault {
        match &self {
            Self::Said(error) if is_refusal(error) => said::refused_credentials(self.to_string()),
            _ => said::unreachable(self.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        if error.as_db_error().is_some() {
            Self::Said(error)
        } else {
            Self::Unreachable(words(&error))
        }
    }
}

/// Credentials or rights, rather than a server that is not there.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("28") || code.code() == "3D000")
}

/// An error of the driver for the log: its code and, where this cannot hold rows, its words.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return if may_quote_rows(db.code()) {
            format!("SQLSTATE {}", db.code().code())
        } else {
            format!("{} (SQLSTATE {})", db.message(), db.code().code())
        };
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Whether the message of an error may hold a value from a row: conversions, constraints, what
/// functions raise.
fn may_quote_rows(code: &SqlState) -> bool {
    ["22", "23", "P0", "38", "39", "44", "HV", "01", "02", "XX"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

/// Whether a hint is about the statement, and not about the server's own settings.
fn is_for_callers(code: &SqlState) -> bool {
    let of_server = ["08", "53", "54", "57", "58"];
    !may_quote_rows(code) && !of_server.iter().any(|class| code.code().starts_with(class))
}

pub(super) fn is_too_large(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(next) = cause {
        let held = next.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if held.and_then(|held| held.downcast_ref::<TooLarge>()).is_some() {
            return true;
        }
        cause = next.source();
    }
    false
}

/// Whether the connection was lost, rather than the statement refused.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        // 57P01 to 57P03: the server is stopped, or our session was ended.
        Some(code) => code.code().starts_with("08") || code.code().starts_with("57P"),
        None => true,
    }
}

/// Whether a transaction that changes data was refused since the server is a standby, which is what answers for a
/// while after a failover.
pub(super) fn is_standby(error: &tokio_postgres::Error) -> bool {
    let codes = [&SqlState::FEATURE_NOT_SUPPORTED, &SqlState::READ_ONLY_SQL_TRANSACTION];
    error.code().is_some_and(|code| codes.contains(&code))
}

/// The text of the caller, and how many characters more than in it stand before what was sent of it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    sql: &'a str,
    before: i64,
}

impl<'a> Asked<'a> {
    /// Nothing of a caller's.
    pub(super) const OURS: Self = Self { sql: "", before: 0 };

    /// What stands in the caller's text from `from` on, in bytes, was sent behind `before`.
    pub(super) fn behind(sql: &'a str, before: &str, from: usize) -> Self {
        let count = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        Self { sql, before: count(before) - count(&sql[..from]) }
    }
}

/// The fault for what the server said of a statement.
pub(super) fn fault(error: &tokio_postgres::Error, asked: Asked<'_>) -> Fault {
    let cause = ForLog(words(error));
    let Some(db) = error.as_db_error() else {
        let bound = error.to_string().starts_with("error serializing");
        let (kind, text) = if bound {
            (FaultKind::Invalid, "a parameter does not fit its type")
        } else {
            (FaultKind::Unavailable, said::LOST)
        };
        return Fault::new(kind, text).with_source(cause);
    };
    let (kind, words) = told(db);
    let mut text = format!("{words} (SQLSTATE {}", db.code().code());
    if let Some(at) = position(db, asked) {
        text.push_str(", ");
        text.push_str(&at);
    }
    text.push(')');
    if let Some(hint) = db.hint().filter(|_| is_for_callers(db.code())) {
        text.push_str("; the database's hint: ");
        text.push_str(&first_line(hint));
    }
    Fault::new(kind, text).with_source(cause)
}

/// The kind, and the error in words.
fn told(db: &DbError) -> (FaultKind, String) {
    use FaultKind::{Busy, Conflict, Denied, Invalid, Limit, Timeout, Unavailable};
    let code = db.code().code();
    let fixed = |kind, text: &str| (kind, text.to_owned());
    match code {
        "25006" => fixed(Denied, said::READ_ONLY),
        "57014" => fixed(Timeout, said::TOO_LONG),
        "55P03" | "40P01" | "40001" => fixed(Conflict, said::LOCKED),
        "25P03" | "25P02" => fixed(Timeout, "the database ended the transaction; try again"),
        "42601" if db.message().starts_with("cannot insert multiple commands") => {
            fixed(Invalid, said::ONE_STATEMENT)
        }
        // A SELECT is put under a cursor, so the grammar refuses all else at its first word.
        "42601" => (
            Invalid,
            format!("the statement does not parse, or is no SELECT: {}", first_line(db.message())),
        ),
        "08P01" if db.message().starts_with("bind message") => {
            fixed(Invalid, "the statement has another number of parameters than values were given")
        }
        "42P11" | "0A000" | "42P02" => (Invalid, first_line(db.message())),
        "42501" => (Denied, format!("the database refuses: {}", first_line(db.message()))),
        "53300" => fixed(Busy, said::NO_CONNECTION),
        "22023" | "22P02" | "22007" | "22003" | "22012" | "22008" => fixed(Invalid, said::NO_VALUE),
        _ if code.starts_with("22") => fixed(Invalid, "the statement fails on a value"),
        _ if code.starts_with("23") => fixed(Invalid, said::CONSTRAINT),
        _ if code.starts_with("P0") || code.starts_with("38") => fixed(Invalid, said::RAISED),
        _ if code.starts_with("53") || code.starts_with("54") => (
            Limit,
            format!("the database ran into a limit of its own: {}", first_line(db.message())),
        ),
        _ if code.starts_with("57") || code.starts_with("58") || code.starts_with("XX") => {
            fixed(Unavailable, said::OWN_CONDITION)
        }
        _ => (Invalid, first_line(db.message())),
    }
}

fn first_line(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().take(300).collect();
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Where in the caller's text the error is.
fn position(db: &DbError, asked: Asked<'_>) -> Option<String> {
    let Some(ErrorPosition::Original(at)) = db.position() else { return None };
    if asked.sql.is_empty() {
        return None;
    }
    let at = usize::try_from(i64::from(*at) - asked.before).ok().filter(|at| *at >= 1)?;
    let at = asked.sql.char_indices().nth(at - 1).map_or(asked.sql.len(), |(at, _)| at);
    let (line, column) = line_and_column(asked.sql, at)?;
    Some(format!("at line {line}, column {column}"))
}
