//! The rights of a MySQL role: what it could write, execute, and read of the server.

use mysql_async::prelude::Queryable as _;
use roothold_core::Fault;

use super::connect::Flavor;
use super::describe::{Readable, readable};
use super::error;
use super::grants::{self, Grant, On, account, quoted};
use super::session::Session;
use crate::probe::{Finding, Report};
use crate::spec::SourceSpec;

/// The most findings.
const FINDINGS_MAX: usize = 100;
/// The most tables that the role's SQL names one by one.
const GRANTS_MAX: usize = 500;
/// Views that the role sees.
const VIEWS: &str = "SELECT table_schema, table_name FROM information_schema.views \
    WHERE table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";
/// Who we are, and the rights of the role that was taken last.
const OF_ME: &str = "SHOW GRANTS FOR CURRENT_USER()";
const OF_ROLE: &str = "SHOW GRANTS FOR CURRENT_ROLE";
/// Whom everybody's rights are of.
const PUBLIC: &str = "PUBLIC";
/// The role that is proposed.
const ROLE: &str = "'roothold_read'@'%'";

/// Rights that only read, or tell of what is read.
const HARMLESS: &[&str] = &["USAGE", "SELECT", "SHOW VIEW"];

/// What all rights together are called.
const EVERYTHING: &str = "ALL PRIVILEGES";

/// Rights and what can be done with them.
const WORDS: &[(&str, &str)] = &[
    (EVERYTHING, "do everything with"),
    ("EXECUTE", "run, with the rights of its owner,"),
    ("FILE", "read and write files of the server with its right FILE on"),
    ("PROCESS", "see the statements of all others, with their values, with its right PROCESS on"),
    ("PROXY", "be taken for other accounts by its right PROXY on"),
];

/// Whose rights they are, and what takes them from our role.
struct Holder {
    /// The account or role as SQL takes it.
    name: String,
    /// For a role: what takes it from ours.
    mend: Option<String>,
}

pub(super) async fn probe(session: &mut Session, spec: &SourceSpec) -> Result<Report, Fault> {
    let me = current_user(session).await?;
    let mut grants: Vec<(Holder, Grant)> = Vec::new();
    let mut findings = Vec::new();
    for line in lines(session, OF_ME).await? {
        let holder = Holder { name: account(&me), mend: None };
        take(&line, holder, &mut grants, &mut findings);
    }
    // What is read is asked before a role is taken.
    let readable = readable(session, None, None).await?;
    let views = if spec.tables.hides_by_name() { views(session).await? } else { Vec::new() };
    roles(session, &me, &mut grants, &mut findings).await?;
    for (holder, grant) in &grants {
        findings.extend(too_much(holder, grant, spec));
    }
    findings.extend(hidden(&grants, &readable, spec));
    findings.extend(views_unknown(&grants, &readable, &views, spec));
    findings.sort_by_key(|finding| !finding.disables);
    findings.dedup();
    findings.truncate(FINDINGS_MAX);
    let flavor = session.link().flavor;
    Ok(Report { findings, role_sql: role_sql(flavor, &readable, spec) })
}

async fn current_user(session: &mut Session) -> Result<String, Fault> {
    let me: Option<String> = session
        .conn()?
        .query_first("SELECT CURRENT_USER()")
        .await
        .map_err(|error| error::fault(&error, None, 0))?;
    me.ok_or_else(|| Fault::internal("the database does not say who we are"))
}

async fn lines(session: &mut Session, sql: &str) -> Result<Vec<String>, Fault> {
    session.conn()?.query(sql).await.map_err(|error| error::fault(&error, None, 0))
}

/// Adds a line to what is known; one that does not read may be anything, so it disables.
fn take(
    line: &str,
    holder: Holder,
    grants: &mut Vec<(Holder, Grant)>,
    findings: &mut Vec<Finding>,
) {
    match grants::read(line) {
        Ok(grant) => grants.extend(grant.map(|grant| (holder, grant))),
        Err(()) => findings.push(Finding {
            disables: true,
            // The line may hold the hash of a password.
            text: "the role has a right that is not known here".to_owned(),
            sql: format!("SHOW GRANTS FOR {};", holder.name),
        }),
    }
}

/// The rights of every role that ours may take, taken or not, and of everybody. Roles of roles are told
/// with them.
async fn roles(
    session: &mut Session,
    me: &str,
    grants: &mut Vec<(Holder, Grant)>,
    findings: &mut Vec<Finding>,
) -> Result<(), Fault> {
    let mut names: Vec<String> = Vec::new();
    for (_, grant) in grants.iter() {
        if let On::Role(role) = &grant.on {
            names.push(account(role));
        }
    }
    let asks = match session.link().flavor {
        Flavor::MariaDb => {
            let each =
                |name: &String| (name.clone(), format!("SET ROLE {name}"), OF_ROLE.to_owned());
            let everybody =
                (PUBLIC.to_owned(), "DO 0".to_owned(), format!("SHOW GRANTS FOR {PUBLIC}"));
            names.iter().map(each).chain([everybody]).collect()
        }
        Flavor::MySql if names.is_empty() => Vec::new(),
        Flavor::MySql => {
            let all = names.join(", ");
            vec![(all.clone(), "DO 0".to_owned(), format!("{OF_ME} USING {all}"))]
        }
    };
    for (name, first, then) in asks {
        let everybody = name == PUBLIC;
        let mend = (!everybody).then(|| format!("REVOKE {name} FROM {};", account(me)));
        match told(session, &first, &then).await? {
            Some(lines) => {
                for line in lines {
                    let holder = Holder { name: name.clone(), mend: mend.clone() };
                    take(&line, holder, grants, findings);
                }
            }
            // Not every server has rights of everybody.
            None if everybody => {}
            None => findings.push(Finding {
                disables: true,
                text: format!("the role is a member of {name}, whose rights are not told"),
                sql: mend.unwrap_or_default(),
            }),
        }
    }
    Ok(())
}

/// The lines of the second statement, after the first; none where the server does not tell.
async fn told(
    session: &mut Session,
    first: &str,
    then: &str,
) -> Result<Option<Vec<String>>, Fault> {
    let conn = session.conn()?;
    let shown = match conn.query_drop(first).await {
        Ok(()) => conn.query(then).await,
        Err(error) => Err(error),
    };
    match shown {
        Ok(shown) => Ok(Some(shown)),
        Err(error) if error::is_lost(&error) => Err(error::fault(&error, None, 0)),
        Err(_) => Ok(None),
    }
}

/// What of a grant a source that is read must not have.
fn too_much(holder: &Holder, grant: &Grant, spec: &SourceSpec) -> Vec<Finding> {
    let place = grant.on.place();
    let finding = |disables, text: String, sql: String| Finding {
        disables,
        text,
        sql: holder.mend.clone().unwrap_or(sql),
    };
    let revoke = |rights: &str| format!("REVOKE {rights} ON {place} FROM {};", holder.name);
    let mut findings = Vec::new();
    if let On::Role(role) = &grant.on {
        if grant.grantable {
            let name = account(role);
            findings.push(finding(
                true,
                format!("the role can give the rights of {name} to others"),
                format!("REVOKE ADMIN OPTION FOR {name} FROM {};", holder.name),
            ));
        }
        return findings;
    }
    let mut changes: Vec<String> = Vec::new();
    for (right, columns) in &grant.rights {
        let words = WORDS.iter().find(|(name, _)| name == right).map(|(_, words)| *words);
        match right.as_str() {
            "EXECUTE" if is_trusted(&grant.on, spec) => {}
            "SHOW DATABASES" => findings.push(finding(
                false,
                "the role sees the names of all databases".to_owned(),
                revoke(right),
            )),
            "SELECT" if grant.on.covers_schema("mysql") => findings.push(finding(
                true,
                format!("the role reads {place}, where the server keeps its accounts"),
                revoke(right),
            )),
            _ if HARMLESS.contains(&right.as_str()) => {}
            _ => match words {
                Some(words) => findings.push(finding(
                    true,
                    format!("the role can {words} {place}"),
                    revoke(right),
                )),
                None if columns.is_empty() => changes.push(right.clone()),
                None => {
                    let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
                    changes.push(format!("{right} ({})", columns.join(", ")));
                }
            },
        }
    }
    if !changes.is_empty() {
        let changes = changes.join(", ");
        let text = format!("the role can do more than read {place}: {changes}");
        findings.push(finding(true, text, revoke(&changes)));
    }
    if grant.grantable {
        findings.push(finding(
            true,
            format!("the role can give its rights on {place} to others"),
            revoke("GRANT OPTION"),
        ));
    }
    findings
}

fn is_trusted(on: &On, spec: &SourceSpec) -> bool {
    let On::Routine(_, schema, name) = on else { return false };
    let name = format!("{schema}.{name}");
    spec.functions_trusted.iter().any(|trusted| trusted.eq_ignore_ascii_case(&name))
}

/// What the configuration hides and the role can read all the same: hiding is the role's business.
fn hidden(grants: &[(Holder, Grant)], readable: &[Readable], spec: &SourceSpec) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (schema, table, columns) in readable {
        let place = format!("{}.{}", quoted(schema), quoted(table));
        let shown = columns.iter().all(|column| spec.tables.shows_column(schema, table, column));
        let text = match (spec.tables.shows_table(schema, table), shown) {
            (true, true) => continue,
            (false, _) => format!("the role can read {place}, which the configuration hides"),
            (true, false) => {
                format!("the role can read columns of {place} that the configuration hides")
            }
        };
        let reads = |(_, grant): &&(Holder, Grant)| {
            grant.on.covers(schema, table)
                && grant.rights.iter().any(|(right, _)| right == "SELECT" || right == EVERYTHING)
        };
        let sql: Vec<String> =
            grants.iter().filter(reads).map(|grant| narrower(grant, readable, spec)).collect();
        findings.push(Finding { disables: true, text, sql: sql.join("\n") });
    }
    // One grant may be the reason for many: it is taken away once.
    let mut told: Vec<String> = Vec::new();
    findings.retain(|finding| {
        let new = !told.contains(&finding.sql);
        told.push(finding.sql.clone());
        new
    });
    findings
}

async fn views(session: &mut Session) -> Result<Vec<(String, String)>, Fault> {
    session.conn()?.query(VIEWS).await.map_err(|error| error::fault(&error, None, 0))
}

/// Views that the role reads. The server does not tell such a role what they use, which they read with
/// their owner's rights; so while something is hidden each is named among `tables`, or not read.
fn views_unknown(
    grants: &[(Holder, Grant)],
    readable: &[Readable],
    views: &[(String, String)],
    spec: &SourceSpec,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (schema, view) in views {
        let is_read = readable.iter().any(|(of, name, _)| of == schema && name == view);
        if !is_read || spec.tables.names_table(schema, view) {
            continue;
        }
        let place = format!("{}.{}", quoted(schema), quoted(view));
        let on_it = |(_, grant): &&(Holder, Grant)| grant.on.place() == place;
        let revoke = |(holder, _): &(Holder, Grant)| {
            let sql = format!("REVOKE SELECT ON {place} FROM {};", holder.name);
            holder.mend.clone().unwrap_or(sql)
        };
        let sql: Vec<String> = grants.iter().filter(on_it).map(revoke).collect();
        findings.push(Finding {
            disables: true,
            text: format!(
                "the role can read the view {place}, which may show what the configuration hides; if it is meant to be \
                 shown, name it in tables"
            ),
            sql: sql.join("\n"),
        });
    }
    findings
}

/// The SQL that puts rights on what is shown in the place of a wider one.
fn narrower((holder, grant): &(Holder, Grant), readable: &[Readable], spec: &SourceSpec) -> String {
    if let Some(mend) = &holder.mend {
        return mend.clone();
    }
    let columns = grant.rights.iter().find(|(right, _)| right == "SELECT");
    let columns: Vec<String> =
        columns.map(|(_, columns)| columns.iter().map(|c| quoted(c)).collect()).unwrap_or_default();
    let what = if columns.is_empty() {
        "SELECT".to_owned()
    } else {
        format!("SELECT ({})", columns.join(", "))
    };
    let mut lines = Vec::new();
    // All rights together are taken away by a finding of their own.
    if grant.rights.iter().all(|(right, _)| right != EVERYTHING) {
        lines.push(format!("REVOKE {what} ON {} FROM {};", grant.on.place(), holder.name));
    }
    let within = |(schema, table, _): &&Readable| grant.on.covers(schema, table);
    lines.extend(grants_for(readable.iter().filter(within), &holder.name, spec));
    lines.join("\n")
}

/// One `GRANT` for each table that is shown.
fn grants_for<'a>(
    tables: impl Iterator<Item = &'a Readable>,
    role: &str,
    spec: &SourceSpec,
) -> Vec<String> {
    let shown = tables.filter(|(schema, table, _)| spec.tables.shows_table(schema, table));
    let grant = |(schema, table, columns): &Readable| {
        let shown = |column: &&String| spec.tables.shows_column(schema, table, column);
        let some: Vec<String> = columns.iter().filter(shown).map(|c| quoted(c)).collect();
        let what = if spec.tables.hides_columns_of(schema, table) {
            format!("SELECT ({})", some.join(", "))
        } else {
            "SELECT".to_owned()
        };
        format!("GRANT {what} ON {}.{} TO {role};", quoted(schema), quoted(table))
    };
    shown.take(GRANTS_MAX).map(grant).collect()
}

/// The SQL for a role that reads what callers are to see, and can do nothing else.
fn role_sql(flavor: Flavor, readable: &[Readable], spec: &SourceSpec) -> String {
    let time = match flavor {
        Flavor::MariaDb => format!(" MAX_STATEMENT_TIME {:.3}", spec.limits.time.as_secs_f64()),
        Flavor::MySql => String::new(),
    };
    let mut lines = vec![format!(
        "CREATE USER {ROLE} IDENTIFIED BY '…' WITH MAX_USER_CONNECTIONS {}{time};",
        spec.connections_max * 4
    )];
    lines.extend(grants_for(readable.iter(), ROLE, spec));
    lines.join("\n")
}
