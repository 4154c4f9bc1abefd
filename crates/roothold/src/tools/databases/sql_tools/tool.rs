//! One tool that is made of SQL, as the catalog holds tools.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool as ToolModel};
use roothold_core::{Actions, Fault, FaultKind, Verb};
use roothold_databases::{Statement, Window};
use serde_json::Value;

use super::super::change::{self, Change, Changed, Wanted};
use super::super::{Inquiry, query_database};
use super::arguments::{self, Given};
use super::shape::{self, OneRow, OneValue};
use crate::call::{Call, Resumed};
use crate::catalog::{add_page_arguments, schema_of_output};
use crate::config::{
    DatabaseAccess, DatabaseKind, DatabaseSection, ResultWord, ToolAnnotations, ToolSection,
};
use crate::databases::{Databases, Role};
use crate::long::AsJob;
use crate::tool::{
    Answer, AnyTool, BoxFuture, DatabaseUse, Effect, Pace, Parsed, Permits, Reply as _,
};
use crate::tools::table::rows_bytes_max;

/// A tool that is one statement.
pub(super) struct SqlTool {
    name: &'static str,
    section: ToolSection,
    /// The statement with the places that the database knows.
    sql: String,
    /// Whose places these are.
    kind: DatabaseKind,
    databases: Databases,
}

impl SqlTool {
    /// # Errors
    /// A name in the statement that is no parameter.
    pub(super) fn new(
        name: &'static str,
        section: &ToolSection,
        database: &DatabaseSection,
        databases: Databases,
    ) -> Result<Self, String> {
        let sql = section.bound_sql(database)?;
        Ok(Self { name, section: section.clone(), sql, kind: database.kind, databases })
    }

    fn writes(&self) -> bool {
        self.section.access == DatabaseAccess::Write
    }

    fn effect(&self) -> Effect {
        if !self.writes() {
            return Effect::Reads;
        }
        let ToolAnnotations { destructive, idempotent } =
            self.section.annotations.clone().unwrap_or_default();
        Effect::Writes { destructive, idempotent }
    }

    /// What clients are told of it.
    pub(super) fn model(&self) -> ToolModel {
        let mut input = self.input_schema();
        if self.paged() {
            add_page_arguments(&mut input);
        }
        let title = self.section.title.as_deref().unwrap_or(self.name);
        let output = match (self.writes(), self.section.result) {
            (true, _) => schema_of_output::<Changed>(),
            (false, ResultWord::Rows) => schema_of_output::<query_database::Page>(),
            (false, ResultWord::Row) => schema_of_output::<OneRow>(),
            (false, ResultWord::Value) => schema_of_output::<OneValue>(),
        };
        ToolModel::new(self.name, self.section.description.clone(), Arc::new(input))
            .with_title(title)
            .with_annotations(self.effect().annotations())
            .with_raw_output_schema(Arc::new(output))
    }

    async fn run(&self, call: Call, permits: Permits, given: Given) -> Result<Answer, Fault> {
        let permit = permits.one()?;
        let database = self.databases.of(&permit)?;
        if database.section.kind != self.kind {
            let what = "the configuration changed just now; try again";
            return Err(Fault::new(FaultKind::Conflict, what));
        }
        let statement = Statement { sql: self.sql.clone(), parameters: given.parameters };
        if !self.writes() {
            return self.read(&call, &database, &statement).await;
        }
        let title = self.section.title.as_deref().unwrap_or(self.name);
        let change = Change {
            statement,
            dry_run: given.dry_run,
            confirm: self.section.confirm,
            purpose: Some(format!("{title}: {}", self.section.description)),
            names: self.section.parameters.iter().map(|one| one.name.clone()).collect(),
        };
        let done = Box::pin(change::change(&call, &self.databases, &permit, change)).await?;
        Ok(done.into_answer())
    }

    async fn read(
        &self,
        call: &Call,
        database: &Role,
        statement: &Statement,
    ) -> Result<Answer, Fault> {
        let offset = call.resume::<u64>()?.unwrap_or_default();
        let _turn = database.turn(call).await?;
        // One more than one row shows that there is not one.
        let rows = if self.paged() { call.budget().entries_max } else { 2 };
        let window = Window { offset, rows, bytes: rows_bytes_max(call) };
        let inquiry = Inquiry::begin(call, database, "query");
        let answer = Box::pin(database.source.query(statement, window, call.budget())).await;
        inquiry.tell(call, database, &answer, |answer| answer.rows.len());
        let answer = answer?;
        Ok(match self.section.result {
            ResultWord::Rows => query_database::reply(call, answer, offset)?.into_answer(),
            ResultWord::Row => shape::row(call, answer)?.into_answer(),
            ResultWord::Value => shape::value(call, answer)?.into_answer(),
        })
    }
}

impl AnyTool for SqlTool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn paged(&self) -> bool {
        !self.writes() && self.section.result == ResultWord::Rows
    }

    fn independent(&self) -> bool {
        false
    }

    fn writes_files(&self) -> bool {
        false
    }

    fn as_job(&self) -> AsJob {
        AsJob::Never
    }

    fn pace(&self) -> Pace {
        Pace::Database
    }

    fn databases(&self) -> Option<DatabaseUse> {
        Some(if self.writes() { DatabaseUse::Writes } else { DatabaseUse::Reads })
    }

    fn granted_as(&self) -> &'static str {
        self.name
    }

    fn input_schema(&self) -> JsonObject {
        arguments::schema(&self.section.parameters, self.writes())
    }

    fn parse(&self, arguments: Value, page: &Resumed<'_>) -> Result<Parsed<'_>, Fault> {
        let given = arguments::read(&self.section.parameters, self.writes(), arguments)?;
        let (database, sql) = (&self.section.database, self.sql.as_str());
        let action = if self.writes() {
            let confirm = self.section.confirm;
            let wanted = Wanted { sql, dry_run: given.dry_run, confirm };
            change::action(&self.databases, database, &wanted, page)?
        } else {
            self.databases.action(Verb::Read, database, Some(sql))?
        };
        let run = move |call: Call, permits: Permits| -> BoxFuture<'_, Result<Answer, Fault>> {
            Box::pin(self.run(call, permits, given))
        };
        Ok(Parsed { actions: Actions::one(action), run: Box::new(run) })
    }
}
