//! The section of tools that are made of SQL: `[[tools]]`.

mod parameter;

use std::collections::BTreeSet;

use roothold_databases::{Fingerprint, bind_names};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use parameter::{ParameterType, ToolParameter};

use super::databases::{ConfirmWord, DatabaseAccess, DatabaseSection, check_principals};
use super::load::ConfigError;
use super::sections::PrincipalSection;

/// The most tools that are made of SQL: each costs every agent that may use it some of its context.
const TOOLS_MAX: usize = 200;
/// The most parameters of one.
const PARAMETERS_MAX: usize = 50;
const NAME_LEN_MAX: usize = 64;
/// The longest description of a tool or a parameter, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 2_000;
/// The longest statement, in bytes.
const SQL_BYTES_MAX: usize = 100_000;
/// How statements begin that have a plan and read.
const READ: [&str; 4] = ["select", "with", "values", "table"];
/// How statements begin that have a plan and change rows.
const CHANGE: [&str; 5] = ["insert", "update", "delete", "merge", "replace"];
/// Arguments that tools have by themselves.
const RESERVED: [&str; 3] = ["cursor", "max_bytes", "dry_run"];

/// A tool that is one SQL statement with named parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSection {
    /// The name by which agents call it: up to 64 letters, digits, `_` and `-`, with a letter first. No other tool may have it.
    pub name: String,
    /// A title for people. Default: the name.
    #[serde(default)]
    pub title: Option<String>,
    /// What it does and when to use it, for agents.
    pub description: String,
    /// The database that it asks, by name. Who may not use that does not see the tool.
    pub database: String,
    /// One statement. `:name` stands for a parameter; its value is bound, never put into the text.
    pub sql: String,
    /// The parameters, each of which the statement names.
    #[serde(default)]
    pub parameters: Vec<ToolParameter>,
    /// What it answers: `rows`, page by page; `row`, one at most; `value`, one column of one row at most.
    #[serde(default)]
    pub result: ResultWord,
    /// `write`: the statement changes data. The database must have `access = "write"`, callers the scope `databases:write`, and they can ask for a `dry_run`.
    #[serde(default)]
    pub access: DatabaseAccess,
    /// Whether a person confirms each call that changes data. Default: as the database has it.
    #[serde(default)]
    pub confirm: Option<ConfirmWord>,
    /// What clients are told of a tool that changes data.
    #[serde(default)]
    pub annotations: Option<ToolAnnotations>,
    /// The principals who may use it, of those who may use the database; for others it is not there. Default: all of these.
    #[serde(default)]
    pub principals: Option<Vec<String>>,
}

/// What clients are told of a tool that changes data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolAnnotations {
    /// Whether something can be lost.
    pub destructive: bool,
    /// Whether repeating a call changes nothing more.
    pub idempotent: bool,
}

impl Default for ToolAnnotations {
    fn default() -> Self {
        Self { destructive: true, idempotent: false }
    }
}

/// What a tool answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResultWord {
    /// Rows, page by page.
    #[default]
    Rows,
    /// One row at most, as an object.
    Row,
    /// One value at most.
    Value,
}

/// Whether the sections can be used, as far as that is known without the databases and other tools.
///
/// # Errors
/// A [`ConfigError::Value`] that names the tool and the key.
pub(super) fn check(
    tools: &[ToolSection],
    databases: &[DatabaseSection],
    principals: &[PrincipalSection],
) -> Result<(), ConfigError> {
    if tools.len() > TOOLS_MAX {
        return Err(refuse(format!("there are more than {TOOLS_MAX}")));
    }
    let mut names = BTreeSet::new();
    for tool in tools {
        let name = &tool.name;
        if !is_name(name) {
            return Err(refuse(format!(
                "`{}` is no name; write up to {NAME_LEN_MAX} letters, digits, _ and -, with a letter first",
                name.escape_debug()
            )));
        }
        if !names.insert(name) {
            return Err(refuse(format!("two are called `{name}`; give each its own name")));
        }
        tool.check(databases, principals)
            .map_err(|reason| refuse(format!("`{name}`: {reason}")))?;
    }
    Ok(())
}

fn refuse(reason: String) -> ConfigError {
    ConfigError::Value { key: "tools".to_owned(), reason }
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The first word of a statement, in lower case, behind brackets and comments.
fn first_word(sql: &str, database: &DatabaseSection) -> String {
    let text = Fingerprint::of(database.kind.source_kind(), sql).text;
    let first = text.trim_start_matches(['(', ' ']).split(' ').next();
    first.unwrap_or_default().to_owned()
}

/// Whether a text that agents read is there and not too long.
fn check_text(key: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("{key} is empty; agents choose by it"));
    }
    if text.len() > DESCRIPTION_BYTES_MAX {
        return Err(format!("{key} is longer than {DESCRIPTION_BYTES_MAX} bytes"));
    }
    Ok(())
}

impl ToolSection {
    /// The statement with the places that its database knows in place of the names.
    ///
    /// # Errors
    /// A name that is no parameter, in words.
    pub(crate) fn bound_sql(&self, database: &DatabaseSection) -> Result<String, String> {
        let names: Vec<&str> = self.parameters.iter().map(|one| one.name.as_str()).collect();
        bind_names(database.kind.source_kind(), &self.sql, &names)
    }

    /// Whether databases have a plan for the statement: for changes of tables they have none.
    pub(crate) fn has_plan(&self, database: &DatabaseSection) -> bool {
        let first = first_word(&self.sql, database);
        READ.contains(&first.as_str()) || CHANGE.contains(&first.as_str())
    }

    fn check(
        &self,
        databases: &[DatabaseSection],
        principals: &[PrincipalSection],
    ) -> Result<(), String> {
        check_text("description", &self.description)?;
        if let Some(title) = &self.title {
            check_text("title", title)?;
        }
        let named = databases.iter().find(|database| database.name == self.database);
        let database = named.ok_or_else(|| {
            format!(
                "database: `{}` is no name of one of [[databases]]",
                self.database.escape_debug()
            )
        })?;
        self.check_access(database)?;
        self.check_principals(database, principals)?;
        self.check_parameters()?;
        self.check_sql(database)
    }

    fn check_access(&self, database: &DatabaseSection) -> Result<(), String> {
        if self.access == DatabaseAccess::Write {
            if database.access != DatabaseAccess::Write {
                let reason = "access is `write`, and the database is only read; set access = \"write\" there too";
                return Err(reason.to_owned());
            }
            return Ok(());
        }
        for (key, is_there) in
            [("annotations", self.annotations.is_some()), ("confirm", self.confirm.is_some())]
        {
            if is_there {
                return Err(format!(
                    "{key} means something only for a tool that changes data; set access = \"write\", or remove it"
                ));
            }
        }
        Ok(())
    }

    /// Whether those who may use it could: others would never be told that they cannot.
    fn check_principals(
        &self,
        database: &DatabaseSection,
        principals: &[PrincipalSection],
    ) -> Result<(), String> {
        let named = self.principals.as_deref();
        check_principals(named, principals)?;
        let (Some(named), Some(admitted)) = (named, database.admitted()) else { return Ok(()) };
        match named.iter().find(|name| !admitted.contains(*name)) {
            Some(name) => Err(format!(
                "principals names `{name}`, who may not use the database; name them there, too, or remove them here"
            )),
            None => Ok(()),
        }
    }

    fn check_parameters(&self) -> Result<(), String> {
        if self.parameters.len() > PARAMETERS_MAX {
            return Err(format!("there are more than {PARAMETERS_MAX} parameters"));
        }
        let mut names = BTreeSet::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            if RESERVED.contains(&name.as_str()) {
                return Err(format!(
                    "a parameter cannot be called `{name}`: tools have an argument of that name"
                ));
            }
            if !names.insert(name) {
                return Err(format!("two parameters are called `{name}`"));
            }
            parameter
                .check()
                .map_err(|reason| format!("parameter `{}`: {reason}", name.escape_debug()))?;
        }
        Ok(())
    }

    /// Whether the statement is of the kind that the tool says, as far as its first word tells: no call
    /// of one that is not would ever run.
    fn check_kind(&self, database: &DatabaseSection) -> Result<(), String> {
        let first = first_word(&self.sql, database);
        let (reads, changes) = (READ.contains(&first.as_str()), CHANGE.contains(&first.as_str()));
        match self.access {
            DatabaseAccess::Read if changes => {
                Err("sql changes data, and the tool does not say so; set access = \"write\""
                    .to_owned())
            }
            DatabaseAccess::Write if reads && first != "with" => {
                Err("sql changes no data; leave access = \"write\" out".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_sql(&self, database: &DatabaseSection) -> Result<(), String> {
        if self.sql.trim().is_empty() {
            return Err("sql is empty".to_owned());
        }
        if self.sql.len() > SQL_BYTES_MAX {
            return Err(format!("sql is longer than {SQL_BYTES_MAX} bytes"));
        }
        self.check_kind(database)?;
        self.bound_sql(database).map_err(|reason| format!("sql: {reason}"))?;
        let kind = database.kind.source_kind();
        for parameter in &self.parameters {
            let name = parameter.name.as_str();
            let others = self.parameters.iter().map(|one| one.name.as_str());
            let others: Vec<&str> = others.filter(|other| *other != name).collect();
            // A name that may be missing is one that the statement does not have.
            if bind_names(kind, &self.sql, &others).is_ok() {
                return Err(format!(
                    "sql does not have the parameter `{name}`; write :{name} where its value belongs"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
