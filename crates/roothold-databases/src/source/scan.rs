//! A source's tables, for whoever registers them among tables of other kinds.

use roothold_core::{Budget, Fault, FaultKind};

use super::Source;
use crate::answer::Statement;
use crate::describe::DescribeRequest;
use crate::scan::{Batches, Field, FieldType, Scan, ScanRequest, statement};

impl Source {
    /// The columns of a table as far as callers see them, with the types of its values.
    ///
    /// # Errors
    /// `NotFound`, for a table that is not there for callers; those of [`Source::describe`].
    ///
    /// # Cancellation
    /// Dropped or cancelled, it stops in the database.
    pub async fn fields(
        &self,
        schema: &str,
        table: &str,
        budget: &Budget,
    ) -> Result<Vec<Field>, Fault> {
        let request = DescribeRequest {
            schema: Some(schema.to_owned()),
            table: Some(table.to_owned()),
            ..DescribeRequest::default()
        };
        let described = self.describe(&request, budget).await?;
        // SQLite finds names whatever their case.
        let same = |name: &str| name.eq_ignore_ascii_case(table);
        let found = described.tables.into_iter().find(|found| same(&found.name));
        let found = found.ok_or_else(|| not_there("table"))?;
        let field = |column: crate::describe::TableColumn| Field {
            kind: FieldType::of(self.spec.kind, &column.kind),
            name: column.name,
            nullable: column.nullable,
        };
        Ok(found.columns.into_iter().map(field).collect())
    }

    /// Begins to read a table: the columns that are wanted, and as many rows as are wanted at most. It is
    /// one statement that reads, under the rules, limits and rights of all others; all of it has the time of
    /// one statement.
    ///
    /// # Errors
    /// Those of [`Source::fields`]; `NotFound`, for a column that is not there for callers.
    ///
    /// # Cancellation
    /// Dropped, also in the middle of its rows, it stops in the database.
    pub async fn scan<'a>(
        &'a self,
        request: &ScanRequest,
        budget: &'a Budget,
    ) -> Result<Scan<'a>, Fault> {
        let all = self.fields(&request.schema, &request.table, budget).await?;
        let wanted = |name: &String| {
            let found = all.iter().find(|field| field.name == *name).cloned();
            found.ok_or_else(|| not_there("column"))
        };
        let fields = request.columns.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
        let statement = Statement::new(statement(self.spec.kind, request));
        self.check(&statement)?;
        let limits = &self.spec.limits;
        let (into, batches) = Batches::new(limits.rows_max, limits.bytes_max);
        let kinds: Vec<FieldType> = fields.iter().map(|field| field.kind).collect();
        let call = self.call(budget);
        let work = async move { self.engine.scan(&statement, &kinds, into, call).await };
        Ok(Scan { fields, work: Some(Box::pin(work)), batches })
    }
}

fn not_there(what: &str) -> Fault {
    let text = format!(
        "there is no such {what}, or it is not to be read; describe_schema tells what is there"
    );
    Fault::new(FaultKind::NotFound, text)
}
