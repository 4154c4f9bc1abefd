//! What a file holds, as its guard must know it: tables, and those that tell of others.

use rusqlite::{Connection, Error};

use super::guard::Catalogue;
use crate::tables::Tables;

const SCHEMA: &str = "main";
const LIST: &str = "SELECT t.name, t.type, s.sql FROM pragma_table_list t \
    LEFT JOIN sqlite_schema s ON s.name = t.name AND s.type IN ('table', 'view') \
    WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
/// Columns, whether they are generated, and other names that SQLite asks with.
const COLUMNS: &str = "SELECT t.name, c.name, c.hidden IN (2, 3) \
    FROM pragma_table_list t, pragma_table_xinfo(t.name) c WHERE t.schema = 'main' AND t.type <> 'virtual' \
    UNION ALL SELECT tbl_name, name, 0 FROM sqlite_schema";

/// Reads it.
///
/// # Errors
/// Those of SQLite; a name that is not UTF-8, with which nothing can be decided.
pub(super) fn read(conn: &Connection, tables: &Tables) -> Result<Catalogue, Error> {
    let mut catalogue = Catalogue::default();
    let mut virtuals: Vec<(String, String)> = Vec::new();
    let mut list = conn.prepare(LIST)?;
    let mut rows = list.query([])?;
    while let Some(row) = rows.next()? {
        let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
        let lower = name.to_lowercase();
        match kind.as_str() {
            "shadow" => {
                catalogue.shadows.insert(lower);
                continue;
            }
            "view" => {
                catalogue.views.insert(lower.clone());
            }
            "virtual" => {
                let sql: Option<String> = row.get(2)?;
                virtuals.push((lower.clone(), sql.unwrap_or_default().to_lowercase()));
                catalogue.virtuals.insert(lower.clone());
            }
            _ => {}
        }
        catalogue.tables.insert(lower, name);
    }
    let mut list = conn.prepare(COLUMNS)?;
    let mut rows = list.query([])?;
    while let Some(row) = rows.next()? {
        let (table, column, generated): (String, String, bool) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        if generated && tables.hides_columns_of(SCHEMA, &table) {
            catalogue.derived.insert((table.to_lowercase(), column.to_lowercase()));
        }
    }
    veil(&mut catalogue, &virtuals, tables);
    Ok(catalogue)
}

/// Finds the virtual tables that are made over what is hidden, by the names in their arguments, and
/// those that are made over these. One that names what it is not made over is hidden with them.
fn veil(catalogue: &mut Catalogue, virtuals: &[(String, String)], tables: &Tables) {
    let hides =
        |name: &str| !tables.shows_table(SCHEMA, name) || tables.hides_columns_of(SCHEMA, name);
    let mut hidden: Vec<String> =
        catalogue.tables.keys().filter(|name| hides(name)).cloned().collect();
    while let Some(name) = hidden.pop() {
        for (table, sql) in virtuals {
            let over = table != &name && names(sql, &name);
            if over && catalogue.veiled.insert(table.clone()) {
                hidden.push(table.clone());
            }
        }
    }
}

/// Whether the name stands in the text by itself.
fn names(sql: &str, name: &str) -> bool {
    let is_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    sql.match_indices(name).any(|(at, _)| {
        let before = sql[..at].chars().next_back().is_some_and(is_of_name);
        let behind = sql[at + name.len()..].chars().next().is_some_and(is_of_name);
        !before && !behind
    })
}
