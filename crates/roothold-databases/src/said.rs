//! What is said of a failure, where it is the same for every engine.

use roothold_core::{Fault, FaultKind};

/// One text for what is not there and for what is hidden.
pub(crate) const NO_NAME: &str = "a table or column of the statement is not there, or is not to be read; name \
                                  columns instead of *, and look at the description of the database";
pub(crate) const ONE_STATEMENT: &str = "one statement at a time: send each by itself";
pub(crate) const READ_ONLY: &str = "this source is read only: the statement would change something";
pub(crate) const TOO_LONG: &str =
    "the database cancelled the statement: it took longer than it may; ask for less";
pub(crate) const LOCKED: &str = "rows are locked or changed by others just now; try again";
pub(crate) const NO_CONNECTION: &str = "the database has no connection to spare; try again later";
pub(crate) const NO_VALUE: &str = "a value cannot be converted or computed as the statement asks";
pub(crate) const CONSTRAINT: &str = "the change breaks a constraint of the table";
pub(crate) const RAISED: &str = "a function that the statement runs raised an error";
pub(crate) const LOST: &str = "the connection to the database was lost; try again";
pub(crate) const OWN_CONDITION: &str = "the database met a condition of its own; try again later";

pub(crate) const ACCOUNTS: &str = "accounts, roles and settings of the whole server are not changed here: they are the operator's";

/// A cause for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ForLog(pub(crate) String);

/// The server does not answer, or not as one does.
pub(crate) fn unreachable(cause: impl Into<String>) -> Fault {
    let text = "the database cannot be reached just now; try again later";
    Fault::new(FaultKind::Unavailable, text).with_source(ForLog(cause.into()))
}

/// The server takes no changes, whatever its role may do.
pub(crate) fn only_reads(cause: impl Into<String>) -> Fault {
    let text = "the database can only be read just now, as a standby can, and nothing was changed; try again later";
    Fault::new(FaultKind::Unavailable, text).with_source(ForLog(cause.into()))
}

/// The server does not let us in.
pub(crate) fn refused_credentials(cause: impl Into<String>) -> Fault {
    let text = "the database refuses this server's credentials; an operator must mend them";
    Fault::new(FaultKind::Unavailable, text).with_source(ForLog(cause.into()))
}

/// The statement has places for another number of values.
pub(crate) fn parameters(wanted: usize, given: usize) -> Fault {
    Fault::invalid(format!("the statement has {wanted} parameters and {given} values were given"))
}

/// The statement begins with a word that none begins with here.
pub(crate) fn begins_with(words: &[&str]) -> Fault {
    Fault::invalid(format!("a statement here begins with {}", words.join(", ")))
}

/// The plan costs more than a source allows.
pub(crate) fn costs(cost: Option<f64>, cost_max: f64) -> Fault {
    let cost = cost.map(|cost| format!(" {cost:.0},")).unwrap_or_default();
    let text = format!(
        "the plan costs{cost} more than the {cost_max:.0} that this source allows; filter more, join less, \
         or use a column with an index"
    );
    Fault::new(FaultKind::Limit, text)
}
