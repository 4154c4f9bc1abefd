//! Statements that change data, in sources that allow it.

use mysql_async::prelude::Queryable as _;
use roothold_core::{Budget, Fault, FaultKind};

use super::error;
use super::prepare::{Asked, gate, prepare};
use super::query::page;
use super::session::Session;
use crate::answer::{Executed, Statement, Window};
use crate::said;
use crate::sql::{self, Dialect};

/// What a statement may begin with. All else would leave the transaction, the session or the
/// database: `COMMIT`, `SET`, `LOAD`, `CALL`, `HANDLER`, …
const BEGINNINGS: &[&str] = &[
    "insert", "update", "delete", "replace", "with", "create", "alter", "drop", "truncate",
    "rename",
];
/// What the server commits by itself, and what was done before it too.
const COMMITS: &[&str] = &["create", "alter", "drop", "truncate", "rename"];

/// Tables whose changes cannot be undone, other than the server's own.
const UNDONE_NOT: &str = "SELECT COUNT(*) FROM information_schema.tables t \
    JOIN information_schema.engines e ON e.engine = t.engine \
    WHERE t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' \
      AND t.table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
/// The warning that something could not be undone.
const NOT_UNDONE: u16 = 1196;

/// Runs the statement and commits it, or with `dry_run` undoes it again.
pub(super) async fn run(
    mut session: Session,
    statement: &Statement,
    window: Window,
    dry_run: bool,
    budget: &Budget,
) -> Result<Executed, Fault> {
    let changed = changed(&mut session, statement, window, dry_run, budget).await;
    let (executed, open) = match changed {
        Ok(changed) => changed,
        Err(fault) => {
            session.end_failed(&fault);
            return Err(fault);
        }
    };
    if dry_run {
        let undone = undo(&mut session, budget).await;
        return session.finish(undone.map(|()| executed)).await;
    }
    if open {
        budget.check()?;
        budget.note_effect();
        session.commit().await?;
    } else {
        session.end().await;
    }
    Ok(executed)
}

/// What became of it, and whether it is still to be committed.
async fn changed(
    session: &mut Session,
    statement: &Statement,
    window: Window,
    dry_run: bool,
    budget: &Budget,
) -> Result<(Executed, bool), Fault> {
    let asked = Asked::of(statement, BEGINNINGS)?;
    if sql::changes_accounts(Dialect::MySql, asked.sent()) {
        return Err(Fault::new(FaultKind::Denied, said::ACCOUNTS));
    }
    let commits = COMMITS.contains(&asked.first_word());
    if commits && dry_run {
        let text = "the database commits a statement of this kind by itself, so it cannot be tried and undone; \
                    run it without dry_run, or not at all";
        return Err(Fault::invalid(text));
    }
    if !commits {
        gate(session, &asked).await?;
    }
    if dry_run {
        all_can_be_undone(session).await?;
    }
    let bytes_max = session.bytes_max();
    let told = |error: mysql_async::Error| error::fault(&error, Some(&asked), bytes_max);
    let prepared = prepare(session, "", &asked).await?.map_err(told)?;
    let values = asked.values(prepared.num_params().into())?;
    if commits {
        budget.check()?;
        budget.note_effect();
    }
    let window = Window { offset: 0, ..window };
    let (mut answer, rows_affected) =
        page(session, &prepared, values, &asked, (window, true)).await?;
    answer.next_offset = None;
    Ok((Executed { rows_affected, answer, dry_run }, !commits))
}

/// # Errors
/// `Unsupported`: there are tables whose changes cannot be undone, and triggers may reach them.
async fn all_can_be_undone(session: &mut Session) -> Result<(), Fault> {
    let count: Option<u64> = session
        .conn()?
        .query_first(UNDONE_NOT)
        .await
        .map_err(|error| error::fault(&error, None, 0))?;
    if count.unwrap_or(0) == 0 {
        return Ok(());
    }
    let text = "the database has tables whose engine cannot undo a change, so nothing can be tried in it; an \
                operator may convert them to InnoDB";
    Err(Fault::new(FaultKind::Unsupported, text))
}

/// Rolls back, and makes sure that nothing is left.
async fn undo(session: &mut Session, budget: &Budget) -> Result<(), Fault> {
    let told = |error: mysql_async::Error| error::fault(&error, None, 0);
    let conn = session.conn()?;
    conn.query_drop("ROLLBACK").await.map_err(told)?;
    let warnings: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.map_err(told)?;
    if warnings.iter().any(|(_, code, _)| *code == NOT_UNDONE) {
        budget.note_effect();
        let text = "a table of the statement cannot undo a change: part of it was made";
        return Err(Fault::new(FaultKind::Conflict, text));
    }
    Ok(())
}
