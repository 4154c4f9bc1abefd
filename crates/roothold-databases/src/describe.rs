//! What a source holds, as it is described to callers.

use roothold_core::Fault;
use serde::{Deserialize, Serialize};

use crate::tables::Tables;

/// The most tables of one page.
const TABLES_MAX: usize = 200;
/// The tables of one page, unless another number is asked for.
const TABLES_DEFAULT: usize = 50;

/// Which tables are to be described.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribeRequest {
    /// Only this schema.
    pub schema: Option<String>,
    /// Only tables of this name.
    pub table: Option<String>,
    /// How many tables come before the page, in the order of their names.
    pub offset: usize,
    /// The most tables; 0 is 50, and more than 200 are never told.
    pub tables: usize,
}

impl DescribeRequest {
    fn count(&self) -> usize {
        if self.tables == 0 { TABLES_DEFAULT } else { self.tables.min(TABLES_MAX) }
    }

    /// The part of all visible tables that is wanted, and where the next begins.
    pub(crate) fn page<T>(&self, mut all: Vec<T>) -> (Vec<T>, Option<usize>) {
        let offset = self.offset.min(all.len());
        let end = offset + self.count();
        let next = (end < all.len()).then_some(end);
        all.truncate(end);
        (all.split_off(offset), next)
    }

    /// What is said when a table was named and is not there, or not for callers.
    pub(crate) fn nothing(&self) -> Option<Fault> {
        let table = self.table.as_ref()?;
        let name: String = table.chars().filter(|c| !c.is_control()).take(128).collect();
        Some(Fault::not_found(format!(
            "there is no table `{name}` to be read; leave the name out to see all"
        )))
    }
}

/// Tables of a source.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Description {
    /// The tables of the page.
    pub tables: Vec<Table>,
    /// Where the next page begins, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<usize>,
}

/// A table, view or the like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its schema; `main` in SQLite.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `table`, `view`, `materialized view`, `foreign table`, `partitioned table`, `virtual table`.
    pub kind: String,
    /// What its owner says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// About how many rows it has, where the database knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_estimate: Option<u64>,
    /// Its columns that can be read.
    pub columns: Vec<TableColumn>,
    /// Its keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
    /// Its indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type, in the database's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// What its owner says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The values of an enumeration, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// A primary, unique or foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// `primary`, `unique` or `foreign`.
    pub kind: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// For a foreign key: where it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<Reference>,
}

/// What a foreign key points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether it keeps values unique.
    pub unique: bool,
    /// Its columns in their order; an expression is shown as `(expression)`.
    pub columns: Vec<String>,
}

impl Table {
    /// Leaves out what callers do not see: hidden columns, keys and indexes with one of them, and
    /// what points to what they do not see.
    pub(crate) fn reduce(&mut self, tables: &Tables) {
        let (schema, table) = (&self.schema, &self.name);
        self.columns.retain(|column| tables.shows_column(schema, table, &column.name));
        let there = |name: &String| self.columns.iter().any(|column| column.name == *name);
        self.keys.retain(|key| key.columns.iter().all(there));
        let points_to_seen = |reference: &Reference| {
            let (schema, table) = (&reference.schema, &reference.table);
            tables.shows_table(schema, table)
                && reference.columns.iter().all(|column| tables.shows_column(schema, table, column))
        };
        self.keys.retain(|key| key.references.as_ref().is_none_or(points_to_seen));
        let hides = tables.hides_columns_of(schema, table);
        // What an expression is made of is not known, so it may be made of what is hidden.
        let known = |name: &String| there(name) || (!hides && name == EXPRESSION);
        self.indexes.retain(|index| index.columns.iter().all(known));
    }
}

/// Stands for an expression of an index.
pub(crate) const EXPRESSION: &str = "(expression)";

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |name: &str| TableColumn {
            name: name.to_owned(),
            kind: "text".to_owned(),
            nullable: true,
            comment: None,
            values: None,
        };
        let key = |columns: &[&str], references| Key {
            kind: "unique".to_owned(),
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            references,
        };
        let to = |table: &str| Reference {
            schema: "app".to_owned(),
            table: table.to_owned(),
            columns: vec!["id".to_owned()],
        };
        let index = |column: &str| Index {
            name: format!("by_{column}"),
            unique: false,
            columns: vec![column.to_owned()],
        };
        Table {
            schema: "app".to_owned(),
            name: "customers".to_owned(),
            kind: "table".to_owned(),
            comment: None,
            rows_estimate: None,
            columns: vec![column("id"), column("card")],
            keys: vec![
                key(&["id"], None),
                key(&["id", "card"], None),
                key(&["id"], Some(to("vault"))),
                key(&["id"], Some(to("orders"))),
            ],
            indexes: vec![index("id"), index("card"), index(EXPRESSION)],
        }
    }

    #[test]
    fn nothing_tells_of_what_is_hidden() {
        let tables =
            Tables::new(None, &["vault".to_owned()], &["customers.card".to_owned()]).unwrap();
        let mut seen = table();
        seen.reduce(&tables);
        let text = serde_json::to_string(&seen).unwrap();
        assert!(
            !text.contains("card") && !text.contains("vault") && !text.contains("expression"),
            "{text}"
        );
        assert_eq!((seen.keys.len(), seen.indexes.len()), (2, 1));
        let mut all = table();
        all.reduce(&Tables::default());
        assert_eq!(all, table());
    }

    #[test]
    fn pages_follow_each_other() {
        let ask = |offset| DescribeRequest { offset, tables: 2, ..DescribeRequest::default() };
        assert_eq!(ask(0).page(vec![1, 2, 3]), (vec![1, 2], Some(2)));
        assert_eq!(ask(2).page(vec![1, 2, 3]), (vec![3], None));
        assert_eq!(ask(9).page(vec![1, 2, 3]), (vec![], None));
    }
}
