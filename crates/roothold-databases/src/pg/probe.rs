//! The rights of a PostgreSQL role: what it could write, execute, and read from the server's disk.

use roothold_core::Fault;
use tokio_postgres::types::Type;

use super::error::{Asked, fault};
use super::rights::{CHECKS, READABLE, USED_BY_VIEWS};
use super::session::Session;
use crate::probe::{Finding, Report};
use crate::spec::SourceSpec;

/// The most findings of one kind.
const FINDINGS_MAX: i64 = 20;
/// The most tables that the role's SQL names one by one.
const GRANTS_MAX: usize = 500;

pub(super) async fn probe(session: &Session, spec: &SourceSpec) -> Result<Report, Fault> {
    let ours = Asked::OURS;
    let mut findings = Vec::new();
    for check in CHECKS {
        let rows = session
            .client()
            .query_typed(
                check.sql,
                &[(&spec.functions_trusted, Type::TEXT_ARRAY), (&FINDINGS_MAX, Type::INT8)],
            )
            .await
            .map_err(|error| fault(&error, ours))?;
        for row in &rows {
            let read = |error: tokio_postgres::Error| Fault::internal(error.to_string());
            findings.push(Finding {
                disables: check.disables,
                text: row.try_get(0).map_err(read)?,
                sql: row.try_get(1).map_err(read)?,
            });
        }
    }
    let readable = readable(session).await?;
    findings.extend(hidden(&readable, spec));
    if spec.tables.hides_by_name() {
        findings.extend(hidden_by_views(&readable, &used_by_views(session).await?, spec));
    }
    findings.sort_by_key(|finding| !finding.disables);
    let role_sql = role_sql(&readable, spec);
    Ok(Report { findings, role_sql })
}

/// What the role reads: a database, and its tables with their columns.
struct Readable {
    database: String,
    role: String,
    tables: Vec<Table>,
}

/// A table that the role reads.
struct Table {
    schema: String,
    name: String,
    columns: Vec<String>,
    /// Other roles by which it does.
    through: Vec<String>,
}

/// A table that a view uses.
struct Used {
    /// Schema and name.
    view: (String, String),
    schema: String,
    table: String,
    columns: Vec<String>,
}

async fn used_by_views(session: &Session) -> Result<Vec<Used>, Fault> {
    let read = |error: tokio_postgres::Error| fault(&error, Asked::OURS);
    let rows = session.client().query_typed(USED_BY_VIEWS, &[]).await.map_err(read)?;
    let used = |row: &tokio_postgres::Row| {
        Ok(Used {
            view: (row.try_get(0)?, row.try_get(1)?),
            schema: row.try_get(2)?,
            table: row.try_get(3)?,
            columns: row.try_get(4)?,
        })
    };
    rows.iter().map(used).collect::<Result<_, _>>().map_err(read)
}

async fn readable(session: &Session) -> Result<Readable, Fault> {
    let ours = Asked::OURS;
    let client = session.client();
    let read = |error: tokio_postgres::Error| fault(&error, ours);
    let names = "SELECT current_database()::text, current_user::text";
    let names = client.query_typed(names, &[]).await.map_err(read)?;
    let rows = client.query_typed(READABLE, &[]).await.map_err(read)?;
    let names = names.first().ok_or_else(|| Fault::internal("the database has no name"))?;
    let mut tables = Vec::new();
    for row in &rows {
        tables.push(Table {
            schema: row.try_get(0).map_err(read)?,
            name: row.try_get(1).map_err(read)?,
            columns: row.try_get(2).map_err(read)?,
            through: row.try_get(3).map_err(read)?,
        });
    }
    let (database, role) = (names.try_get(0).map_err(read)?, names.try_get(1).map_err(read)?);
    Ok(Readable { database, role, tables })
}

/// What the configuration hides and the role can read all the same: hiding is the role's business.
fn hidden(readable: &Readable, spec: &SourceSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let role = quoted(&readable.role);
    for Table { schema, name: table, columns, through } in &readable.tables {
        let place = format!("{}.{}", quoted(schema), quoted(table));
        let others: Vec<String> = through.iter().map(|name| quoted(name)).collect();
        let leave = match others.join(", ") {
            others if others.is_empty() => String::new(),
            others => format!(" REVOKE {others} FROM {role};"),
        };
        if !spec.tables.shows_table(schema, table) {
            findings.push(Finding {
                disables: true,
                text: format!("the role can read {place}, which the configuration hides"),
                sql: format!("REVOKE SELECT ON {place} FROM PUBLIC, {role};{leave}"),
            });
            continue;
        }
        let shown = |column: &&String| spec.tables.shows_column(schema, table, column);
        let shown: Vec<String> = columns.iter().filter(shown).map(|c| quoted(c)).collect();
        if shown.len() < columns.len() {
            let grant = match shown.join(", ") {
                shown if shown.is_empty() => String::new(),
                shown => format!(" GRANT SELECT ({shown}) ON {place} TO {role};"),
            };
            findings.push(Finding {
                disables: true,
                text: format!("the role can read columns of {place} that the configuration hides"),
                sql: format!("REVOKE SELECT ON {place} FROM PUBLIC, {role};{grant}{leave}"),
            });
        }
    }
    findings.truncate(usize::try_from(FINDINGS_MAX).unwrap_or(0));
    findings
}

/// Views that show what the configuration hides by name. One that it names among `tables` itself is
/// meant to be shown as it is.
fn hidden_by_views(readable: &Readable, used: &[Used], spec: &SourceSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    let role = quoted(&readable.role);
    for Used { view: (schema, view), schema: of_schema, table, columns } in used {
        let is_read = |read: &Table| read.schema == *schema && read.name == *view;
        if spec.tables.names_table(schema, view) || !readable.tables.iter().any(is_read) {
            continue;
        }
        let shows = |column: &String| spec.tables.shows_column(of_schema, table, column);
        if !spec.tables.hides_table(of_schema, table) && columns.iter().all(shows) {
            continue;
        }
        let place = format!("{}.{}", quoted(schema), quoted(view));
        let of = format!("{}.{}", quoted(of_schema), quoted(table));
        findings.push(Finding {
            disables: true,
            text: format!(
                "the role can read the view {place}, which uses what the configuration hides of {of}; if it is \
                 meant to be shown, name it in tables"
            ),
            sql: format!("REVOKE SELECT ON {place} FROM PUBLIC, {role};"),
        });
    }
    findings.truncate(usize::try_from(FINDINGS_MAX).unwrap_or(0));
    findings
}

/// The SQL for a role that reads what callers are to see, and can do nothing else.
fn role_sql(readable: &Readable, spec: &SourceSpec) -> String {
    const ROLE: &str = "roothold_read";
    let database = quoted(&readable.database);
    let mut lines = vec![
        format!(
            "CREATE ROLE {ROLE} LOGIN PASSWORD '…' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;"
        ),
        format!("ALTER ROLE {ROLE} SET default_transaction_read_only = on;"),
        format!("ALTER ROLE {ROLE} SET statement_timeout = '{}ms';", spec.limits.time.as_millis()),
        format!("ALTER ROLE {ROLE} SET temp_file_limit = '1GB';"),
        format!("ALTER ROLE {ROLE} CONNECTION LIMIT {};", spec.connections_max * 4),
        format!("REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC;"),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;".to_owned(),
        "REVOKE EXECUTE ON FUNCTION pg_advisory_lock(bigint), pg_advisory_lock_shared(bigint), \
         pg_advisory_lock(integer, integer), pg_advisory_lock_shared(integer, integer), \
         pg_terminate_backend, pg_cancel_backend, set_config(text, text, boolean) FROM PUBLIC;"
            .to_owned(),
        format!("GRANT CONNECT ON DATABASE {database} TO {ROLE};"),
    ];
    let seen =
        readable.tables.iter().filter(|table| spec.tables.shows_table(&table.schema, &table.name));
    let mut schema_before = None;
    for Table { schema, name: table, columns, .. } in seen.take(GRANTS_MAX) {
        if schema_before != Some(schema) {
            lines.push(format!("GRANT USAGE ON SCHEMA {} TO {ROLE};", quoted(schema)));
            schema_before = Some(schema);
        }
        let shown = columns.iter().filter(|column| spec.tables.shows_column(schema, table, column));
        let some: Vec<String> = shown.map(|column| quoted(column)).collect();
        let what = if spec.tables.hides_columns_of(schema, table) {
            format!("SELECT ({})", some.join(", "))
        } else {
            "SELECT".to_owned()
        };
        lines.push(format!("GRANT {what} ON {}.{} TO {ROLE};", quoted(schema), quoted(table)));
    }
    lines.join("\n")
}

/// A name as SQL takes it, in quotes where it must have them.
fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Secret, SourceKind};
    use crate::tables::Tables;

    #[test]
    fn views_on_what_is_hidden_are_found_unless_they_are_named() {
        let found = |tables: Option<&[&str]>, reads: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            let mut spec = SourceSpec::new("a", SourceKind::Postgres, Secret::new(""));
            let tables = tables.map(own);
            spec.tables =
                Tables::new(tables.as_deref(), &own(&["vault"]), &own(&["customers.card"]))
                    .unwrap();
            let table = |name: &&str| {
                let (schema, name) = ("app".to_owned(), (*name).to_owned());
                Table { schema, name, columns: own(&["id"]), through: Vec::new() }
            };
            let (database, role) = ("shop".to_owned(), "mcp".to_owned());
            let readable = Readable { database, role, tables: reads.iter().map(table).collect() };
            let used = |view: &str, table: &str, columns: &[&str]| Used {
                view: ("app".to_owned(), view.to_owned()),
                schema: "app".to_owned(),
                table: table.to_owned(),
                columns: own(columns),
            };
            let used = [
                used("cards", "customers", &["id", "card"]),
                used("names", "customers", &["id", "name"]),
                used("vaults", "vault", &["s"]),
                used("vaults", "customers", &["id"]),
            ];
            hidden_by_views(&readable, &used, &spec).len()
        };
        let all = ["cards", "names", "vaults"];
        assert_eq!(found(None, &all), 2);
        assert_eq!(found(None, &["names", "cards"]), 1);
        assert_eq!(found(Some(&["app.*"]), &all), 2);
        assert_eq!(found(Some(&["app.*", "cards", "app.vaults"]), &all), 0);
    }

    #[test]
    fn the_role_reads_what_is_shown_and_hiding_is_its_business() {
        let mut spec = SourceSpec::new("a", SourceKind::Postgres, Secret::new(""));
        spec.tables =
            Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
        let table = |name: &str, columns: &[&str]| {
            let columns = columns.iter().map(|&c| c.to_owned()).collect();
            let (schema, name) = ("app".to_owned(), name.to_owned());
            Table { schema, name, columns, through: Vec::new() }
        };
        let readable = Readable {
            database: "Shop".to_owned(),
            role: "mcp".to_owned(),
            tables: vec![table("customers", &["id", "Name", "card"]), table("vault", &["s"])],
        };
        let sql = role_sql(&readable, &spec);
        assert!(sql.contains("ON DATABASE \"Shop\" TO roothold_read"), "{sql}");
        assert!(sql.contains("GRANT SELECT (id, \"Name\") ON app.customers"), "{sql}");
        assert!(!sql.contains("vault") && !sql.contains("card"), "{sql}");
        let found = hidden(&readable, &spec);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|finding| finding.disables));
        assert!(found[1].sql.starts_with("REVOKE SELECT ON app.vault FROM PUBLIC, mcp"));
    }
}
