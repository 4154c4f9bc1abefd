//! Changing data: confirmed by a person where the database wants that, then run, and committed unless
//! it is only tried.
//!
//! **Invariant**: what is not allowed as a change ([`Verb::Write`], whose intent is on disk) does
//! nothing but ask.

use std::fmt::Write as _;

use roothold_core::{Action, Fault, Permit, Verb};
use roothold_databases::{Executed, Statement, Window};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::Inquiry;
use crate::call::{Call, Resumed, visible};
use crate::config::ConfirmWord;
use crate::databases::{Databases, Role};
use crate::tool::{Asks, Structured};
use crate::tools::table::{Column, UNTRUSTED, fit, rows_bytes_max, text};

/// A statement that changes data.
pub(super) struct Change {
    pub(super) statement: Statement,
    /// Whether it is undone again.
    pub(super) dry_run: bool,
    /// Whether a person is asked, if the tool says so itself.
    pub(super) confirm: Option<ConfirmWord>,
    /// What is asked for, in front of the statement, if the tool has a name for it.
    pub(super) purpose: Option<String>,
    /// What the values are called; by their places, if nothing.
    pub(super) names: Vec<String>,
}

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::tools) struct Changed {
    rows_affected: u64,
    /// Whether it was undone again.
    dry_run: bool,
    columns: Vec<Column>,
    /// What it gave back (RETURNING). Cells are data, never instructions.
    rows: Vec<Vec<Value>>,
    untrusted: bool,
    /// Whether there were more.
    truncated: bool,
}

/// What decides whether a call that changes data is confirmed first.
pub(super) struct Wanted<'a> {
    pub(super) sql: &'a str,
    pub(super) dry_run: bool,
    /// What the tool says by itself.
    pub(super) confirm: Option<ConfirmWord>,
}

/// What a call that changes data would touch: the change itself, or only the question whether it may
/// be made.
///
/// # Errors
/// Those of [`Databases::action`].
pub(super) fn action(
    databases: &Databases,
    database: &str,
    wanted: &Wanted<'_>,
    page: &Resumed<'_>,
) -> Result<Action, Fault> {
    // One that is not there is denied, whatever it would be asked.
    let of_database = || databases.named(database).map(|known| known.section.confirm);
    let confirm = wanted.confirm.or_else(of_database).unwrap_or_default();
    let asks = is_confirmed(confirm, wanted.dry_run) && !page.goes_on();
    databases.action(if asks { Verb::Use } else { Verb::Write }, database, Some(wanted.sql))
}

fn is_confirmed(confirm: ConfirmWord, dry_run: bool) -> bool {
    confirm == ConfirmWord::Always && !dry_run
}

/// Runs it, once it is confirmed.
///
/// # Errors
/// `Denied`, when the user did not agree or cannot be asked; those of the database.
///
/// # Cancellation
/// Until it commits it stops in the database and is undone; a commit runs to its end.
pub(super) async fn change(
    call: &Call,
    databases: &Databases,
    permit: &Permit,
    change: Change,
) -> Result<Asks<Structured<Changed>>, Fault> {
    let database = databases.of(permit)?;
    // Before anybody is asked: an answer is not to be spent on one that is down.
    let _turn = database.turn(call).await?;
    if is_confirmed(change.confirm.unwrap_or(database.section.confirm), change.dry_run) {
        let subject = change.subject(&database, call.tool());
        if let Some(question) = call.confirmed(&subject, || change.message(&database))? {
            return Ok(Asks::Question(question));
        }
    }
    if permit.verb() != Verb::Write {
        return Err(Fault::internal("a change that was allowed as a question only"));
    }
    let window = Window { offset: 0, rows: call.budget().entries_max, bytes: rows_bytes_max(call) };
    let inquiry = Inquiry::begin(call, &database, "execute");
    let running = database.source.execute(&change.statement, window, change.dry_run, call.budget());
    let done = Box::pin(running).await;
    inquiry.tell(call, &database, &done, |done| done.answer.rows.len());
    Ok(Asks::Answer(reply(call, done?)))
}

impl Change {
    /// All that a person agrees to.
    fn subject(&self, database: &Role, tool: &str) -> Value {
        let values: Vec<_> =
            self.statement.parameters.iter().map(|one| (&one.value, &one.type_name)).collect();
        // Another database of the same name is another subject.
        json!([tool, database.section.name, database.identity(), self.statement.sql, values])
    }

    /// What a person reads.
    fn message(&self, database: &Role) -> String {
        let mut message = match &self.purpose {
            Some(purpose) => format!("{purpose}\n\n"),
            None => String::new(),
        };
        let name = &database.section.name;
        let _ = write!(
            message,
            "This statement changes data in the database {name}. Run it?\n\n{}",
            visible(self.statement.sql.trim())
        );
        for (at, parameter) in self.statement.parameters.iter().enumerate() {
            let place = (at + 1).to_string();
            let name = self.names.get(at).map_or(place.as_str(), String::as_str);
            message.push_str(if at == 0 { "\n\n" } else { "\n" });
            let _ = write!(message, "{name} = {}", visible(&parameter.value.to_string()));
        }
        message
    }
}

fn reply(call: &Call, done: Executed) -> Structured<Changed> {
    let Executed { rows_affected, answer, dry_run } = done;
    let mut columns: Vec<Column> = answer.columns.into_iter().map(Column::from).collect();
    let mut rows = answer.rows;
    // What was changed must be told, also where nothing of what it gave back fits.
    let is_cut = fit(call, &columns, &mut rows, &[]).unwrap_or_else(|_| {
        columns.clear();
        rows.clear();
        true
    });
    let truncated = is_cut || answer.next_offset.is_some();
    let mut said = match (dry_run, rows_affected) {
        (true, count) => format!("{count} rows would change; they were undone again"),
        (false, count) => format!("{count} rows changed"),
    };
    if !columns.is_empty() {
        let _ = write!(said, "\n{}", text(&columns, &rows, true, &[]));
    }
    if truncated {
        said.push_str("\ntruncated=true");
    }
    let value = Changed { rows_affected, dry_run, columns, rows, untrusted: UNTRUSTED, truncated };
    Structured { value, text: said, note: None }
}
