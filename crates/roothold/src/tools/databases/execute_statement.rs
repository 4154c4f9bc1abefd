//! `execute_statement`: one statement that changes data, in a database that allows it.

use roothold_core::{Actions, Fault, Verb};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::change::{self, Change, Changed, Wanted};
use super::statement;
use crate::call::{Call, Resumed};
use crate::databases::Databases;
use crate::tool::{About, Asks, DatabaseUse, Effect, Pace, Permits, Structured, Tool};

pub(in crate::tools) struct ExecuteStatement(pub(in crate::tools) Databases);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// A name of list_databases, with access write
    database: String,
    /// One statement, such as INSERT, UPDATE, DELETE
    sql: String,
    /// As for query_database
    #[serde(default)]
    parameters: Vec<Value>,
    /// Run it and undo it again, to see what it would change
    #[serde(default)]
    dry_run: bool,
}

impl Tool for ExecuteStatement {
    const NAME: &'static str = "execute_statement";
    const PACE: Pace = Pace::Database;
    const DATABASES: Option<DatabaseUse> = Some(DatabaseUse::Writes);
    type Input = Input;
    type Output = Asks<Structured<Changed>>;

    fn about(&self) -> About {
        About {
            title: "Execute Statement",
            description: "Runs one SQL statement that changes data in a database, and commits it. A person may be asked first. Put values into parameters, not into the SQL.",
            effect: Effect::Writes { destructive: true, idempotent: false },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        self.0.action(Verb::Write, &input.database, Some(&input.sql)).map(Actions::one)
    }

    /// A call that is not confirmed yet touches less: it asks.
    fn page_actions(&self, input: &Input, page: &Resumed<'_>) -> Result<Actions, Fault> {
        let wanted = Wanted { sql: &input.sql, dry_run: input.dry_run, confirm: None };
        change::action(&self.0, &input.database, &wanted, page).map(Actions::one)
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let change = Change {
            statement: statement(input.sql, input.parameters),
            dry_run: input.dry_run,
            confirm: None,
            purpose: None,
            names: Vec::new(),
        };
        Box::pin(change::change(&call, &self.0, &permits.one()?, change)).await
    }
}
