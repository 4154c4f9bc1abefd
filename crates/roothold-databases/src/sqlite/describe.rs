//! Tables, columns, keys and indexes of a SQLite file, asked with fixed text of ours.

use roothold_core::Fault;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::db::{Db, Stop, broken};
use super::guard::{Catalogue, Phase};
use crate::describe::{
    DescribeRequest, Description, EXPRESSION, Index, Key, Reference, Table, TableColumn,
};

const SCHEMA: &str = "main";

impl Db {
    /// On an error the connection is closed.
    pub(super) fn describe(
        &mut self,
        request: &DescribeRequest,
        stop: &Stop,
    ) -> Result<Description, Fault> {
        self.begin("BEGIN", stop)?;
        let described = self.described(request)?;
        self.end("ROLLBACK")?;
        Ok(described)
    }

    fn described(&self, request: &DescribeRequest) -> Result<Description, Fault> {
        let catalogue = self.guard.catalogue();
        let tables = self.guard.tables();
        let wanted = |name: &&String| {
            let named = request.table.as_ref().is_none_or(|table| table.eq_ignore_ascii_case(name));
            let schema = request.schema.as_ref().is_none_or(|schema| schema == SCHEMA);
            named && schema && tables.shows_table(SCHEMA, name) && self.reads(&catalogue, name)
        };
        let mut names: Vec<&String> = catalogue.tables.values().filter(wanted).collect();
        names.sort();
        if let (true, Some(fault)) = (names.is_empty(), request.nothing()) {
            return Err(fault);
        }
        let (page, next_offset) = request.page(names);
        let mut described = Vec::new();
        for name in page {
            let mut table = table(&self.conn, name).map_err(broken)?;
            let of = name.to_lowercase();
            let derived =
                |column: &str| catalogue.derived.contains(&(of.clone(), column.to_lowercase()));
            table.columns.retain(|column| !derived(&column.name));
            table.reduce(tables);
            described.push(table);
        }
        Ok(Description { tables: described, next_offset })
    }

    /// Whether callers can read anything of it: not of a view over what is hidden.
    fn reads(&self, catalogue: &Catalogue, name: &str) -> bool {
        let lower = name.to_lowercase();
        if catalogue.veiled.contains(&lower) {
            return false;
        }
        if !catalogue.views.contains(&lower) || self.guard.tables().is_everything() {
            return true;
        }
        self.guard.enter(Phase::Theirs);
        let quoted = name.replace('"', "\"\"");
        let compiled = self.conn.prepare(&format!("SELECT 1 FROM \"{quoted}\"")).is_ok();
        self.guard.enter(Phase::Ours);
        let denied = self.guard.denied().is_some();
        compiled || !denied
    }
}

fn table(conn: &Connection, name: &str) -> rusqlite::Result<Table> {
    let kind: String = conn.query_row(
        "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
        [name],
        |row| row.get(0),
    )?;
    let kind = if kind == "virtual" { "virtual table".to_owned() } else { kind };
    let (columns, mut primary) = columns(conn, name)?;
    primary.sort();
    let mut keys = Vec::new();
    if !primary.is_empty() {
        let columns = primary.into_iter().map(|(_, column)| column).collect();
        keys.push(Key { kind: "primary".to_owned(), columns, references: None });
    }
    let indexes = indexes(conn, name, &mut keys)?;
    keys.extend(foreign(conn, name)?);
    Ok(Table {
        schema: SCHEMA.to_owned(),
        name: name.to_owned(),
        kind,
        comment: None,
        rows_estimate: estimate(conn, name)?,
        columns,
        keys,
        indexes,
    })
}

/// The columns, and those of the primary key with their places in it.
type Columns = (Vec<TableColumn>, Vec<(i64, String)>);

fn columns(conn: &Connection, name: &str) -> rusqlite::Result<Columns> {
    let sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let mut prepared = conn.prepare(sql)?;
    let mut rows = prepared.query([name])?;
    let (mut columns, mut primary) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (column, place): (String, i64) = (row.get(0)?, row.get(3)?);
        if place > 0 {
            primary.push((place, column.clone()));
        }
        let nullable = !row.get::<_, bool>(2)?;
        columns.push(TableColumn {
            name: column,
            kind: row.get(1)?,
            nullable,
            comment: None,
            values: None,
        });
    }
    Ok((columns, primary))
}

fn indexes(conn: &Connection, name: &str, keys: &mut Vec<Key>) -> rusqlite::Result<Vec<Index>> {
    let mut prepared =
        conn.prepare("SELECT name, \"unique\", origin FROM pragma_index_list(?1) ORDER BY name")?;
    let mut rows = prepared.query([name])?;
    let mut indexes = Vec::new();
    while let Some(row) = rows.next()? {
        let (index, unique, origin): (String, bool, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let mut of = conn.prepare("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")?;
        let columns = of.query_map([&index], |row| row.get::<_, Option<String>>(0))?;
        let columns = columns
            .map(|column| Ok(column?.unwrap_or_else(|| EXPRESSION.to_owned())))
            .collect::<rusqlite::Result<Vec<String>>>()?;
        match origin.as_str() {
            "pk" => {}
            "u" => keys.push(Key { kind: "unique".to_owned(), columns, references: None }),
            _ => indexes.push(Index { name: index, unique, columns }),
        }
    }
    Ok(indexes)
}

fn foreign(conn: &Connection, name: &str) -> rusqlite::Result<Vec<Key>> {
    let sql =
        "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq";
    let mut prepared = conn.prepare(sql)?;
    let mut rows = prepared.query([name])?;
    let mut keys: Vec<(i64, Key)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, table, from): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let to: Option<String> = row.get(3)?;
        if keys.last().is_none_or(|(last, _)| *last != id) {
            let references = Reference { schema: SCHEMA.to_owned(), table, columns: Vec::new() };
            let key = Key {
                kind: "foreign".to_owned(),
                columns: Vec::new(),
                references: Some(references),
            };
            keys.push((id, key));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.columns.push(from);
            if let (Some(references), Some(to)) = (&mut key.references, to) {
                references.columns.push(to);
            }
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// What `ANALYZE` counted, if it ever ran.
fn estimate(conn: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let there = "SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND name = 'sqlite_stat1'";
    if conn.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT stat FROM sqlite_stat1 WHERE tbl = ?1 AND stat IS NOT NULL LIMIT 1";
    let stat: Option<String> = conn.query_row(sql, params![name], |row| row.get(0)).optional()?;
    Ok(stat.and_then(|stat| stat.split(' ').next()?.parse().ok()))
}
