//! Tables, columns, keys and indexes from the catalogue: of what the role can read only.

use std::collections::HashMap;

use mysql_async::prelude::{FromRow, Queryable as _};
use mysql_async::{Params, Row, Value};
use roothold_core::Fault;

use super::error;
use super::session::Session;
use crate::describe::{
    DescribeRequest, Description, EXPRESSION, Index, Key, Reference, Table, TableColumn,
};
use crate::tables::Tables;

/// The most columns of a database that are looked at.
const COLUMNS_MAX: usize = 500_000;
/// The most values of an enumeration that are told.
const VALUES_MAX: usize = 200;

/// Every column that can be read; two optional names.
const READABLE: &str = "SELECT table_schema, table_name, column_name FROM information_schema.columns \
    WHERE privileges LIKE '%select%' \
      AND table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
      AND (? IS NULL OR table_schema = ?) AND (? IS NULL OR table_name = ?) \
    ORDER BY table_schema, table_name, ordinal_position LIMIT 500000";
const TABLES: &str = "SELECT table_name, table_type, table_comment, table_rows \
    FROM information_schema.tables WHERE table_schema = ? AND table_name IN ";
const COLUMNS: &str = "SELECT table_name, column_name, column_type, is_nullable, column_comment \
    FROM information_schema.columns WHERE privileges LIKE '%select%' AND table_schema = ? AND table_name IN ";
const INDEXES: &str = "SELECT table_name, index_name, non_unique, column_name \
    FROM information_schema.statistics WHERE table_schema = ? AND table_name IN ";
const FOREIGN: &str = "SELECT table_name, constraint_name, column_name, referenced_table_schema, \
      referenced_table_name, referenced_column_name \
    FROM information_schema.key_column_usage \
    WHERE referenced_table_name IS NOT NULL AND table_schema = ? AND table_name IN ";

/// The schema, the table and the columns of it that the role reads.
pub(super) type Readable = (String, String, Vec<String>);

/// What the role can read, in the order of names.
pub(super) async fn readable(
    session: &mut Session,
    schema: Option<&str>,
    table: Option<&str>,
) -> Result<Vec<Readable>, Fault> {
    let name = |name: Option<&str>| name.map_or(Value::NULL, Value::from);
    let names = vec![name(schema), name(schema), name(table), name(table)];
    let rows: Vec<(String, String, String)> = ask(session, READABLE, names).await?;
    if rows.len() >= COLUMNS_MAX {
        return Err(Fault::new(
            roothold_core::FaultKind::Limit,
            "the database has too many tables to be looked through; name a schema or a table",
        ));
    }
    let mut tables: Vec<Readable> = Vec::new();
    for (schema, table, column) in rows {
        match tables.last_mut() {
            Some((last_schema, last_table, columns))
                if *last_schema == schema && *last_table == table =>
            {
                columns.push(column);
            }
            _ => tables.push((schema, table, vec![column])),
        }
    }
    Ok(tables)
}

pub(super) async fn describe(
    session: &mut Session,
    request: &DescribeRequest,
    tables: &Tables,
) -> Result<Description, Fault> {
    let (schema, table) = (request.schema.as_deref(), request.table.as_deref());
    let mut seen = readable(session, schema, table).await?;
    seen.retain(|(schema, table, _)| tables.shows_table(schema, table));
    if let (true, Some(fault)) = (seen.is_empty(), request.nothing()) {
        return Err(fault);
    }
    let (page, next_offset) = request.page(seen);
    let mut described = Vec::new();
    for of_schema in page.chunk_by(|(one, ..), (other, ..)| one == other) {
        let names: Vec<&str> = of_schema.iter().map(|(_, table, _)| table.as_str()).collect();
        described.extend(in_schema(session, &of_schema[0].0, &names).await?);
    }
    for table in &mut described {
        // A key or an index may hold a column that the role cannot read.
        table.reduce(tables);
    }
    Ok(Description { tables: described, next_offset })
}

/// Tables of one schema, in the order of `names`.
async fn in_schema(
    session: &mut Session,
    schema: &str,
    names: &[&str],
) -> Result<Vec<Table>, Fault> {
    let mut tables: HashMap<String, Table> = HashMap::new();
    let about_tables: Vec<(String, String, Option<String>, Option<u64>)> =
        about(session, TABLES, "", schema, names).await?;
    for (name, kind, comment, rows) in about_tables {
        tables.insert(name.clone(), table(schema, name, &kind, comment, rows));
    }
    let columns: Vec<(String, String, String, String, String)> =
        about(session, COLUMNS, " ORDER BY table_name, ordinal_position", schema, names).await?;
    for (name, column, kind, nullable, comment) in columns {
        let Some(table) = tables.get_mut(&name) else { continue };
        table.columns.push(TableColumn {
            name: column,
            values: enumeration(&kind),
            kind,
            nullable: nullable == "YES",
            comment: Some(comment).filter(|comment| !comment.is_empty()),
        });
    }
    keys(session, schema, names, &mut tables).await?;
    Ok(names.iter().filter_map(|name| tables.remove(*name)).collect())
}

fn table(
    schema: &str,
    name: String,
    kind: &str,
    comment: Option<String>,
    rows: Option<u64>,
) -> Table {
    let kind = match kind {
        "BASE TABLE" | "SYSTEM VERSIONED" => "table".to_owned(),
        other => other.to_ascii_lowercase(),
    };
    let said = |text: &String| !(text.is_empty() || kind == "view" && text == "VIEW");
    Table {
        schema: schema.to_owned(),
        name,
        comment: comment.filter(said),
        rows_estimate: rows.filter(|_| kind == "table"),
        kind,
        columns: Vec::new(),
        keys: Vec::new(),
        indexes: Vec::new(),
    }
}

async fn keys(
    session: &mut Session,
    schema: &str,
    names: &[&str],
    tables: &mut HashMap<String, Table>,
) -> Result<(), Fault> {
    let order = " ORDER BY table_name, index_name <> 'PRIMARY', index_name, seq_in_index";
    let parts: Vec<(String, String, u8, Option<String>)> =
        about(session, INDEXES, order, schema, names).await?;
    for of_index in parts.chunk_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1)) {
        let (name, index, not_unique, _) = &of_index[0];
        let Some(table) = tables.get_mut(name) else { continue };
        let column = |part: &(_, _, _, Option<String>)| {
            part.3.clone().unwrap_or_else(|| EXPRESSION.to_owned())
        };
        let columns: Vec<String> = of_index.iter().map(column).collect();
        let unique = *not_unique == 0;
        if unique && !columns.iter().any(|column| column == EXPRESSION) {
            let kind = if index == "PRIMARY" { "primary" } else { "unique" };
            table.keys.push(Key { kind: kind.to_owned(), columns, references: None });
        } else {
            table.indexes.push(Index { name: index.clone(), unique, columns });
        }
    }
    let order = " ORDER BY table_name, constraint_name, ordinal_position";
    let parts: Vec<(String, String, String, String, String, String)> =
        about(session, FOREIGN, order, schema, names).await?;
    for of_key in parts.chunk_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1)) {
        let (name, _, _, to_schema, to_table, _) = &of_key[0];
        let Some(table) = tables.get_mut(name) else { continue };
        let references = Reference {
            schema: to_schema.clone(),
            table: to_table.clone(),
            columns: of_key.iter().map(|part| part.5.clone()).collect(),
        };
        table.keys.push(Key {
            kind: "foreign".to_owned(),
            columns: of_key.iter().map(|part| part.2.clone()).collect(),
            references: Some(references),
        });
    }
    Ok(())
}

/// The rows of a question about tables of one schema.
async fn about<T: FromRow>(
    session: &mut Session,
    sql: &str,
    order: &str,
    schema: &str,
    names: &[&str],
) -> Result<Vec<T>, Fault> {
    let places = vec!["?"; names.len()].join(", ");
    let values = std::iter::once(&schema).chain(names).map(|name| Value::from(*name)).collect();
    ask(session, &format!("{sql}({places}){order}"), values).await
}

async fn ask<T: FromRow>(
    session: &mut Session,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<T>, Fault> {
    let rows: Vec<Row> = session
        .conn()?
        .exec(sql, Params::Positional(values))
        .await
        .map_err(|error| error::fault(&error, None, 0))?;
    let read = |row| mysql_async::from_row_opt(row);
    rows.into_iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|_| Fault::internal("a row of the catalogue does not read"))
}

/// The values of `enum('a','b')`: a quote in one is doubled.
fn enumeration(kind: &str) -> Option<Vec<String>> {
    let list = kind.strip_prefix("enum(").or_else(|| kind.strip_prefix("set("))?;
    let mut rest = list.strip_suffix(')')?;
    let mut values = Vec::new();
    while let Some(quoted) = rest.strip_prefix('\'') {
        let (mut value, mut chars) = (String::new(), quoted.char_indices().peekable());
        let end = loop {
            match (chars.next()?, chars.peek()) {
                ((_, '\''), Some((_, '\''))) => {
                    chars.next();
                    value.push('\'');
                }
                ((at, '\''), _) => break at,
                ((_, c), _) => value.push(c),
            }
        };
        values.push(value);
        rest = quoted[end + 1..].strip_prefix(',').unwrap_or("");
    }
    values.truncate(VALUES_MAX);
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_enumerations_are_read() {
        let of = |kind| enumeration(kind).unwrap_or_default();
        assert_eq!(of("enum('sad','it''s','a,b','')"), ["sad", "it's", "a,b", ""]);
        assert_eq!(of("set('é')"), ["é"]);
        assert_eq!(enumeration("varchar(10)"), None);
        assert_eq!(enumeration("enum('a"), None);
        assert_eq!(enumeration("enum('a)"), None);
    }
}
