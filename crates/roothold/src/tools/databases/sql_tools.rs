//! Tools that are made of SQL: which are configured, and who has them.
//!
//! A call of one goes the way of every call ([`crate::call`]); what its action touches is the
//! database, which policy decides on.
//!
//! **Invariant**: a tool is there only for who may use its database and is not left out of its
//! `principals`; for everybody else a call of it reads as one of a tool that does not exist.

mod arguments;
mod shape;
mod tool;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rmcp::model::Tool as ToolModel;
use roothold_core::{Policy, Principal};

use crate::builder::StartError;
use crate::catalog::{Catalog, Entry};
use crate::config::{Config, DatabaseAccess, ToolSection};
use crate::databases::Databases;

use tool::SqlTool;

/// The tools of a configuration that are made of SQL.
#[derive(Default)]
pub(crate) struct SqlTools(Vec<Arc<Made>>);

/// One of them.
pub(crate) struct Made {
    pub(crate) entry: Entry,
    section: ToolSection,
    principals: Option<BTreeSet<String>>,
}

impl Made {
    /// Whether it is there for a principal, whatever the credential says: what that lacks can be had.
    fn admits(&self, principal: &Principal, policy: &Policy) -> bool {
        let is_named = |names: &BTreeSet<String>| names.contains(principal.name());
        self.principals.as_ref().is_none_or(is_named)
            && policy.grants_tool(principal, self.entry.tool.name())
    }

    /// Whether a principal may use it, with a credential that has the scopes.
    fn is_for(&self, principal: &Principal, policy: &Policy) -> bool {
        let writes = self.section.access == DatabaseAccess::Write;
        self.admits(principal, policy)
            && policy.may_use_for(principal, &self.section.database, writes)
    }
}

impl SqlTools {
    /// Makes the tools of a configuration that may take the place of this one.
    ///
    /// # Errors
    /// [`StartError::Grant`], for a name that another tool has.
    pub(crate) fn again(
        &self,
        config: &Config,
        catalog: &Catalog,
        databases: &Databases,
    ) -> Result<Self, StartError> {
        let one = |section: &ToolSection| {
            if catalog.get(&section.name).is_some() {
                return Err(StartError::Grant(format!(
                    "tools: `{}` is the name of a tool that is there already; choose another",
                    section.name
                )));
            }
            let named = config.databases.iter().find(|database| database.name == section.database);
            // What the check of the configuration has found to be there.
            let database = named.ok_or_else(|| {
                StartError::Grant(format!("tools: `{}` names no database", section.name))
            })?;
            let tool = SqlTool::new(intern(&section.name), section, database, databases.clone())
                .map_err(|reason| {
                    StartError::Grant(format!("tools: `{}`: {reason}", section.name))
                })?;
            let model = tool.model();
            // The figures of a tool go on where its name stays.
            let known = self.0.iter().find(|known| known.section.name == section.name);
            let successes =
                known.map(|known| Arc::clone(&known.entry.successes)).unwrap_or_default();
            let entry = Entry { tool: Box::new(tool), model, reading: None, successes };
            // Those of the tool are among those of its database, as the check of the configuration sees to.
            let named = section.principals.as_ref().map(|names| names.iter().cloned().collect());
            let principals = named.or_else(|| database.admitted());
            Ok(Arc::new(Made { entry, section: section.clone(), principals }))
        };
        config.tools.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// The tool of a name, if it is there for the principal.
    pub(crate) fn find(
        &self,
        principal: &Principal,
        policy: &Policy,
        name: &str,
    ) -> Option<Arc<Made>> {
        let found = self.0.iter().find(|made| made.entry.tool.name() == name)?;
        found.admits(principal, policy).then(|| Arc::clone(found))
    }

    /// What clients are told of those that a principal may use.
    pub(crate) fn listed(&self, principal: &Principal, policy: &Policy) -> Vec<ToolModel> {
        let usable = self.0.iter().filter(|made| made.is_for(principal, policy));
        usable.map(|made| made.entry.model.clone()).collect()
    }

    /// What clients are told of one, whoever they are.
    pub(crate) fn model(&self, name: &str) -> Option<ToolModel> {
        let found = self.0.iter().find(|made| made.entry.tool.name() == name);
        found.map(|made| made.entry.model.clone())
    }
}

/// A name that lives as long as the process, as the names of all tools do. Each is kept once, so
/// that reloads take no more memory than the operator has thought of names.
fn intern(name: &str) -> &'static str {
    static KNOWN: OnceLock<Mutex<BTreeSet<&'static str>>> = OnceLock::new();
    let mut known =
        KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known.get(name) {
        return same;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    known.insert(kept);
    kept
}

#[cfg(test)]
mod tests;
