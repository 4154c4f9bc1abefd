//! Which tables and columns of a source are there for callers.
//!
//! In SQLite the authorizer enforces it. In PostgreSQL the role does: here it filters what is
//! described, and a role that can read what is hidden disables its source.

/// Names of tables and columns, allowed or hidden. Hidden beats allowed.
///
/// A table is `table`, in any schema, or `schema.table`; `schema.*` are all of one. A column is
/// `table.column` or `schema.table.column`. Case does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    allowed: Option<Vec<Pattern>>,
    hidden: Vec<Pattern>,
    columns: Vec<(Pattern, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    schema: Option<String>,
    /// `None`: every table.
    table: Option<String>,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty() || part.chars().any(char::is_control)) {
            return None;
        }
        let table = |name: &str| (name != "*").then(|| name.to_lowercase());
        match parts[..] {
            [name] if name != "*" => Some(Self { schema: None, table: table(name) }),
            [schema, name] if schema != "*" => {
                Some(Self { schema: Some(schema.to_lowercase()), table: table(name) })
            }
            _ => None,
        }
    }

    fn covers(&self, schema: &str, table: &str) -> bool {
        let same = |pattern: &Option<String>, name: &str| {
            pattern.as_ref().is_none_or(|pattern| *pattern == name.to_lowercase())
        };
        same(&self.schema, schema) && same(&self.table, table)
    }
}

impl Tables {
    /// Reads the three lists. With `allowed` as `None` every table is there that is not hidden.
    ///
    /// # Errors
    /// The entry that does not read, in words.
    pub fn new(
        allowed: Option<&[String]>,
        hidden: &[String],
        hidden_columns: &[String],
    ) -> Result<Self, String> {
        let table = |text: &String| {
            Pattern::parse(text).ok_or_else(|| {
                format!("`{text}` names no table: write table, schema.table or schema.*")
            })
        };
        let column = |text: &String| {
            let wrong =
                || format!("`{text}` names no column: write table.column or schema.table.column");
            let (owner, column) = text.rsplit_once('.').ok_or_else(wrong)?;
            let pattern = Pattern::parse(owner).ok_or_else(wrong)?;
            let column = column.trim().to_lowercase();
            if column.is_empty() || column == "*" || pattern.table.is_none() {
                return Err(wrong());
            }
            Ok((pattern, column))
        };
        Ok(Self {
            allowed: allowed.map(|list| list.iter().map(table).collect()).transpose()?,
            hidden: hidden.iter().map(table).collect::<Result<_, _>>()?,
            columns: hidden_columns.iter().map(column).collect::<Result<_, _>>()?,
        })
    }

    /// Whether every table and column is there.
    pub fn is_everything(&self) -> bool {
        self.allowed.is_none() && self.hidden.is_empty() && self.columns.is_empty()
    }

    /// Whether callers see the table.
    pub fn shows_table(&self, schema: &str, table: &str) -> bool {
        let covers = |list: &[Pattern]| list.iter().any(|pattern| pattern.covers(schema, table));
        self.allowed.as_deref().is_none_or(covers) && !covers(&self.hidden)
    }

    /// Whether the table is hidden by its name, rather than not among those that are allowed.
    pub(crate) fn hides_table(&self, schema: &str, table: &str) -> bool {
        self.hidden.iter().any(|pattern| pattern.covers(schema, table))
    }

    /// Whether the table is allowed by its own name, rather than with all of its schema.
    pub(crate) fn names_table(&self, schema: &str, table: &str) -> bool {
        let names = |pattern: &Pattern| pattern.table.is_some() && pattern.covers(schema, table);
        self.allowed.as_deref().unwrap_or_default().iter().any(names)
    }

    /// Whether anything is hidden by its name.
    pub(crate) fn hides_by_name(&self) -> bool {
        !self.hidden.is_empty() || !self.columns.is_empty()
    }

    /// Whether callers see the column of a table that they see.
    pub fn shows_column(&self, schema: &str, table: &str, column: &str) -> bool {
        let hides = |(pattern, name): &(Pattern, String)| {
            pattern.covers(schema, table) && *name == column.to_lowercase()
        };
        !self.columns.iter().any(hides)
    }

    /// Whether a column of any table is hidden.
    pub(crate) fn hides_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Whether a column of the table is hidden.
    pub(crate) fn hides_columns_of(&self, schema: &str, table: &str) -> bool {
        self.columns.iter().any(|(pattern, _)| pattern.covers(schema, table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(allowed: Option<&[&str]>, hidden: &[&str], columns: &[&str]) -> Tables {
        let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Tables::new(allowed.map(own).as_deref(), &own(hidden), &own(columns)).unwrap()
    }

    #[test]
    fn hidden_beats_allowed_and_case_does_not_matter() {
        let all = tables(None, &[], &[]);
        assert!(
            all.is_everything() && all.shows_table("s", "t") && all.shows_column("s", "t", "c")
        );
        let some = tables(Some(&["app.*", "log"]), &["App.Vault"], &["customers.CARD"]);
        assert!(some.shows_table("app", "orders") && some.shows_table("x", "LOG"));
        assert!(!some.shows_table("app", "vault") && !some.shows_table("APP", "VAULT"));
        assert!(!some.shows_table("x", "orders"));
        assert!(some.names_table("x", "log") && !some.names_table("app", "orders"));
        assert!(some.hides_table("app", "vault") && !some.hides_table("x", "orders"));
        assert!(some.hides_by_name() && !all.hides_by_name() && !all.names_table("s", "t"));
        assert!(!some.shows_column("app", "Customers", "card"));
        assert!(some.shows_column("app", "customers", "name"));
        assert!(
            some.hides_columns_of("app", "customers") && !some.hides_columns_of("app", "orders")
        );
    }

    #[test]
    fn what_does_not_read_is_named() {
        let one = |text: &str| [text.to_owned()];
        for text in ["", "a.b.c", "*", "*.t", "a..b", "a\0b"] {
            assert!(Tables::new(None, &one(text), &[]).unwrap_err().contains("names no table"));
        }
        for text in ["c", "t.", "t.*", "s.*.c", "a.b.c.d"] {
            assert!(Tables::new(None, &[], &one(text)).unwrap_err().contains("names no column"));
        }
    }
}
