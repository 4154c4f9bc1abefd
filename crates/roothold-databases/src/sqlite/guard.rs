//! What SQLite asks before it compiles a part of a statement, and what it is told: an allow-list.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::functions;
use crate::tables::Tables;

/// Whose statement is being compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// One of fixed text, of ours.
    Ours = 0,
    /// The caller's.
    Theirs = 1,
    /// The caller's runs: what is compiled now belongs to a virtual table.
    Running = 2,
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// A table or column that is not there for callers.
    Name,
    /// A function that is not on the list.
    Function(String),
    /// Something other than reading (or, where it is allowed, changing rows).
    Kind(&'static str),
}

/// The tables of a database, by their names in lower case.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    /// Tables and views, with the names as they are written.
    pub(super) tables: HashMap<String, String>,
    /// Those among them that are virtual.
    pub(super) virtuals: HashSet<String>,
    /// Those among them that are views.
    pub(super) views: HashSet<String>,
    /// Virtual tables that show or search what is hidden.
    pub(super) veiled: HashSet<String>,
    /// Generated columns of tables of which columns are hidden: they may be made of these.
    pub(super) derived: HashSet<(String, String)>,
    /// Tables in which virtual tables keep what they hold.
    pub(super) shadows: HashSet<String>,
}

/// Tables that are none of the database's: functions that give rows.
const TABLE_FUNCTIONS: &[&str] = &["json_each", "json_tree", "jsonb_each", "jsonb_tree"];
/// Names that begin so are SQLite's own.
const MODULES: &[&str] =
    &["sqlite_", "pragma_", "dbstat", "fts3", "fts4", "fts5", "rtree", "bytecode", "tables_used"];
const SCHEMA: &str = "main";

/// The state that the authorizer of one connection shares with who uses it.
pub(super) struct Guard {
    phase: AtomicU8,
    tables: Tables,
    /// Whether what is compiled may change rows.
    changes: AtomicBool,
    catalogue: Mutex<Arc<Catalogue>>,
    denied: Mutex<Option<Denied>>,
}

impl Guard {
    pub(super) fn new(tables: Tables) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Ours as u8),
            tables,
            changes: AtomicBool::new(false),
            catalogue: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub(super) fn let_changes_through(&self, changes: bool) {
        self.changes.store(changes, Ordering::SeqCst);
    }

    pub(super) fn lets_changes_through(&self) -> bool {
        self.changes.load(Ordering::SeqCst)
    }

    pub(super) fn learn(&self, catalogue: Catalogue) {
        *self.catalogue.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalogue);
    }

    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Why the last statement was refused, once.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The answer to SQLite.
    pub(super) fn decide(&self, asked: &AuthContext<'_>) -> Authorization {
        let phase = self.phase.load(Ordering::SeqCst);
        if phase == Phase::Ours as u8 {
            return Authorization::Allow;
        }
        match self.refusal(asked, phase == Phase::Running as u8) {
            None => Authorization::Allow,
            Some(denied) => {
                let mut last = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
                last.get_or_insert(denied);
                Authorization::Deny
            }
        }
    }

    fn refusal(&self, asked: &AuthContext<'_>, running: bool) -> Option<Denied> {
        let elsewhere = asked.database_name.is_some_and(|name| name != SCHEMA);
        match asked.action {
            AuthAction::Select | AuthAction::Recursive => None,
            AuthAction::Function { function_name } => {
                let known = functions::is_allowed(function_name);
                (!known).then(|| Denied::Function(function_name.to_lowercase()))
            }
            AuthAction::Read { table_name, column_name } => {
                let shown = self.shows(table_name, column_name, running, asked.accessor);
                (elsewhere || !shown).then_some(Denied::Name)
            }
            AuthAction::Insert { table_name } => {
                let some = self.tables.hides_columns_of(SCHEMA, table_name);
                let refusal = self.change(table_name, "", elsewhere, running);
                // SQLite does not ask which columns are written.
                refusal.or_else(|| {
                    some.then_some(Denied::Kind(
                        "add rows to a table that it does not see all columns of",
                    ))
                })
            }
            AuthAction::Delete { table_name } => self.change(table_name, "", elsewhere, running),
            AuthAction::Update { table_name, column_name } => {
                self.change(table_name, column_name, elsewhere, running)
            }
            // FTS5 asks whether somebody else changed the file.
            AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } if running => {
                None
            }
            AuthAction::Pragma { .. } => Some(Denied::Kind("use pragmas")),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
                Some(Denied::Kind("attach other files"))
            }
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                Some(Denied::Kind("control the transaction"))
            }
            _ => Some(Denied::Kind("change the schema or the file")),
        }
    }

    /// What is not there for callers is not there to be changed either.
    fn change(&self, table: &str, column: &str, elsewhere: bool, running: bool) -> Option<Denied> {
        if elsewhere || !self.shows(table, column, running, None) {
            return Some(Denied::Name);
        }
        (!self.lets_changes_through()).then_some(Denied::Kind("change rows"))
    }

    /// Whether callers read it. What a view reads must be there for callers as well.
    fn shows(&self, table: &str, column: &str, running: bool, within: Option<&str>) -> bool {
        let catalogue = self.catalogue();
        let lower = table.to_lowercase();
        if catalogue.shadows.contains(&lower) {
            return running;
        }
        let known = |name: &str| catalogue.tables.contains_key(name);
        let hidden_view = within.is_some_and(|view| {
            known(&view.to_lowercase()) && !self.tables.shows_table(SCHEMA, view)
        });
        if hidden_view {
            return false;
        }
        if TABLE_FUNCTIONS.contains(&lower.as_str()) && !known(&lower) {
            return true;
        }
        if column.is_empty() && !known(&lower) {
            // A common table expression of which no column is read, unless it is a module's.
            return !MODULES.iter().any(|module| lower.starts_with(module));
        }
        if catalogue.veiled.contains(&lower)
            || catalogue.derived.contains(&(lower.clone(), column.to_lowercase()))
        {
            return false;
        }
        // A search finds what it does not show: a virtual table has all its columns or none.
        if catalogue.virtuals.contains(&lower) && self.tables.hides_columns_of(SCHEMA, table) {
            return false;
        }
        known(&lower)
            && self.tables.shows_table(SCHEMA, table)
            && self.tables.shows_column(SCHEMA, table, column)
    }
}
