//! The rights of a PostgreSQL role: what it could write, execute, and read from the server's disk.

use roothold_core::Fault;
use tokio_postgres::types::Type;

use super::error::{Asked, fault};
use super::rights::{CHECKS, Disables, READABLE, SHOWING};
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
                disables: match check.disables {
                    Disables::Always => true,
                    Disables::WithCost => spec.limits.cost_max.is_some(),
                    Disables::Never => false,
                },
                text: row.try_get(0).map_err(read)?,
                sql: row.try_get(1).map_err(read)?,
            });
        }
    }
    let readable = readable(session).await?;
    findings.extend(hidden(&readable, spec));
    if spec.tables.hides_by_name() {
        findings.extend(showing(session, &readable.role, spec).await?);
    }
    findings.sort_by_key(|finding| !finding.disables);
    let role_sql = role_sql(&readable, &findings, spec);
    for finding in &mut findings {
        (finding.text, finding.sql) = (visible(&finding.text), visible(&finding.sql));
    }
    Ok(Report { findings, role_sql: visible(&role_sql) })
}

/// Names may hold what a terminal takes for more than text.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Views, and parts of tables, that show what the configuration hides by its name. A view that it allows by
/// its own name is one that callers are meant to read.
async fn showing(session: &Session, role: &str, spec: &SourceSpec) -> Result<Vec<Finding>, Fault> {
    let read = |error: tokio_postgres::Error| fault(&error, Asked::OURS);
    let rows = session.client().query_typed(SHOWING, &[]).await.map_err(read)?;
    let mut findings = Vec::new();
    for row in &rows {
        let name = |at: usize| row.try_get::<_, String>(at).map_err(read);
        let (schema, view, of_schema, table) = (name(0)?, name(1)?, name(2)?, name(3)?);
        let columns: Vec<Option<String>> = row.try_get(4).map_err(read)?;
        let shows = |column: &String| spec.tables.shows_column(&of_schema, &table, column);
        let all_shown = columns.iter().flatten().all(shows);
        let hides = spec.tables.hides_table(&of_schema, &table) || !all_shown;
        let meant = spec.tables.names_table(&schema, &view);
        if !hides || meant || !spec.tables.shows_table(&schema, &view) {
            continue;
        }
        let (view, table) = (format!("{}.{}", quoted(&schema), quoted(&view)), quoted(&table));
        let text = format!(
            "the role can read {view}, which shows what the configuration hides of {}.{table}; if callers are \
             meant to read it, the configuration names it among its tables",
            quoted(&of_schema)
        );
        let sql = format!("REVOKE SELECT ON {view} FROM PUBLIC, {};", quoted(role));
        findings.push(Finding { disables: true, text, sql });
    }
    findings.truncate(usize::try_from(FINDINGS_MAX).unwrap_or(0));
    Ok(findings)
}

/// What the role reads: a database, and its tables with their columns.
struct Readable {
    database: String,
    role: String,
    /// Schema, table, columns, and the roles that ours is a member of and that read it by themselves.
    tables: Vec<(String, String, Vec<String>, Vec<String>)>,
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
        tables.push((
            row.try_get(0).map_err(read)?,
            row.try_get(1).map_err(read)?,
            row.try_get(2).map_err(read)?,
            row.try_get(3).map_err(read)?,
        ));
    }
    let (database, role) = (names.try_get(0).map_err(read)?, names.try_get(1).map_err(read)?);
    Ok(Readable { database, role, tables })
}

/// What the configuration hides and the role can read all the same: hiding is the role's business.
fn hidden(readable: &Readable, spec: &SourceSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (schema, table, columns, groups) in &readable.tables {
        let role = quoted(&readable.role);
        let leave = |group: &String| format!(" REVOKE {} FROM {role};", quoted(group));
        let leave: String = groups.iter().map(leave).collect();
        let place = format!("{}.{}", quoted(schema), quoted(table));
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
            findings.push(Finding {
                disables: true,
                text: format!("the role can read columns of {place} that the configuration hides"),
                sql: format!(
                    "REVOKE SELECT ON {place} FROM PUBLIC, {role}; GRANT SELECT ({}) ON {place} TO {role};{leave}",
                    shown.join(", ")
                ),
            });
        }
    }
    findings.truncate(usize::try_from(FINDINGS_MAX).unwrap_or(0));
    findings
}

/// The SQL for a role that reads what callers are to see, and can do nothing else.
fn role_sql(readable: &Readable, findings: &[Finding], spec: &SourceSpec) -> String {
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
        format!("GRANT CONNECT ON DATABASE {database} TO {ROLE};"),
    ];
    // What everybody may run, the new role may, too.
    let to_all = format!(" FROM PUBLIC, {};", quoted(&readable.role));
    for finding in findings.iter().filter(|finding| finding.sql.contains(" ON ROUTINE ")) {
        lines.push(finding.sql.replace(&to_all, " FROM PUBLIC;"));
    }
    let seen =
        readable.tables.iter().filter(|(schema, table, ..)| spec.tables.shows_table(schema, table));
    let mut schema_before = None;
    for (schema, table, columns, _) in seen.take(GRANTS_MAX) {
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
    fn the_role_reads_what_is_shown_and_hiding_is_its_business() {
        let mut spec = SourceSpec::new("a", SourceKind::Postgres, Secret::new(""));
        spec.tables =
            Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
        let table = |name: &str, columns: &[&str]| {
            let columns = columns.iter().map(|&c| c.to_owned()).collect();
            ("app".to_owned(), name.to_owned(), columns, vec!["readers".to_owned()])
        };
        let readable = Readable {
            database: "Shop".to_owned(),
            role: "mcp".to_owned(),
            tables: vec![table("customers", &["id", "Name", "card"]), table("vault", &["s"])],
        };
        let lock = Finding {
            disables: false,
            text: String::new(),
            sql: "REVOKE EXECUTE ON ROUTINE f() FROM PUBLIC, mcp;".to_owned(),
        };
        let sql = role_sql(&readable, &[lock], &spec);
        assert!(sql.contains("REVOKE EXECUTE ON ROUTINE f() FROM PUBLIC;"), "{sql}");
        assert!(sql.contains("ON DATABASE \"Shop\" TO roothold_read"), "{sql}");
        assert!(sql.contains("GRANT SELECT (id, \"Name\") ON app.customers"), "{sql}");
        assert!(!sql.contains("vault") && !sql.contains("card"), "{sql}");
        let found = hidden(&readable, &spec);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|finding| finding.disables));
        assert!(found[1].sql.starts_with("REVOKE SELECT ON app.vault FROM PUBLIC, mcp"));
        assert!(found.iter().all(|finding| finding.sql.ends_with("REVOKE readers FROM mcp;")));
        assert_eq!(visible("a\u{1b}[2J\nb"), "a\\u{1b}[2J\nb");
    }
}
