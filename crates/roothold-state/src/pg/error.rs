//! What the server said, without what it may not say here.

use std::error::Error as StdError;

use tokio_postgres::error::SqlState;

use crate::error::StateError;

/// An error of the driver for the log: its code and first line. Details are left out, for they
/// may quote rows; and nothing of the connection string is in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Said(pub(super) String);

/// The error in words, with its causes.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message(), db.code().code());
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

impl From<tokio_postgres::Error> for StateError {
    fn from(error: tokio_postgres::Error) -> Self {
        let cause = Box::new(Said(said(&error)));
        if may_pass(&error) { Self::Unavailable(cause) } else { Self::Internal(cause) }
    }
}

impl From<deadpool_postgres::PoolError> for StateError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            deadpool_postgres::PoolError::Closed => Self::Closed,
            other => Self::Unavailable(Box::new(Said(other.to_string()))),
        }
    }
}

/// Whether the same may succeed later: the server is not there, is stopping, has no room, is a
/// standby just now, or a lock was not to be had.
fn may_pass(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        // The driver's own: all but those that say that a statement does not fit its parameters.
        let text = error.to_string();
        let defects = [
            "error serializing",
            "error deserializing",
            "invalid column",
            "query returned",
            "expected ",
        ];
        return !defects.iter().any(|defect| text.starts_with(defect));
    };
    let classes = ["08", "28", "40", "53", "57", "58"];
    classes.iter().any(|class| code.code().starts_with(class))
        || [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::INVALID_CATALOG_NAME,
        ]
        .contains(code)
}
