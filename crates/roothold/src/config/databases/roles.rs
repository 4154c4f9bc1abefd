//! Roles that principals have in a database: `[[databases.roles]]`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatabaseSection, check_dsn, check_principals};
use crate::config::sections::PrincipalSection;

/// The most roles of one database.
const ROLES_MAX: usize = 100;
/// The most connections that the roles of one database may have together.
const CONNECTIONS_MAX: usize = 1_000;

/// The role that one principal has in a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseRoleSection {
    /// Whose role it is.
    pub principal: String,
    /// How the database is reached as that role; as the `dsn` of a database.
    #[serde(default)]
    pub dsn: Option<String>,
    /// A file that holds the `dsn` instead; it is read at start and on reload.
    #[serde(default)]
    pub dsn_file: Option<PathBuf>,
}

impl DatabaseSection {
    /// Those who may use it, by name; `None` is everyone who may use databases.
    pub(crate) fn admitted(&self) -> Option<BTreeSet<String>> {
        if self.role_per_principal {
            return Some(self.roles.iter().map(|role| role.principal.clone()).collect());
        }
        self.principals.as_ref().map(|names| names.iter().cloned().collect())
    }

    /// The database as each role has it, with whose role it is: first the one of everybody who has
    /// none of their own, if there is one. Who may use it is no business of these.
    pub(crate) fn by_role(&self) -> Vec<(Option<String>, Self)> {
        let plain =
            Self { principals: None, roles: Vec::new(), role_per_principal: false, ..self.clone() };
        let of_principal = |role: &DatabaseRoleSection| {
            let (dsn, dsn_file) = (role.dsn.clone(), role.dsn_file.clone());
            (Some(role.principal.clone()), Self { dsn, dsn_file, ..plain.clone() })
        };
        let of_principals: Vec<_> = self.roles.iter().map(of_principal).collect();
        let shared = (!self.role_per_principal).then_some((None, plain));
        shared.into_iter().chain(of_principals).collect()
    }

    pub(super) fn check_roles(&self, principals: &[PrincipalSection]) -> Result<(), String> {
        if self.roles.len() > ROLES_MAX {
            return Err(format!("roles has more than {ROLES_MAX} entries"));
        }
        if self.role_per_principal && self.roles.is_empty() {
            let reason = "role_per_principal leaves it to nobody; add [[databases.roles]], one for each \
                          principal, or remove it";
            return Err(reason.to_owned());
        }
        let connections = self.roles.len() * self.pool_size;
        if connections > CONNECTIONS_MAX {
            return Err(format!(
                "{} roles with a pool_size of {} may have {connections} connections; {CONNECTIONS_MAX} are the most, \
                 so lower pool_size",
                self.roles.len(),
                self.pool_size
            ));
        }
        let mut named = BTreeSet::new();
        for role in &self.roles {
            let shown = role.principal.escape_debug();
            self.check_role(role, principals)
                .map_err(|reason| format!("roles: `{shown}`: {reason}"))?;
            if !named.insert(&role.principal) {
                return Err(format!("roles: `{shown}` has two; leave one"));
            }
        }
        let lacks = |name: &&String| self.role_per_principal && !named.contains(name);
        match self.principals.iter().flatten().find(lacks) {
            Some(name) => Err(format!(
                "principals names `{name}`, who has no role in roles and could not use it; add one, or remove the name"
            )),
            None => Ok(()),
        }
    }

    fn check_role(
        &self,
        role: &DatabaseRoleSection,
        principals: &[PrincipalSection],
    ) -> Result<(), String> {
        if role.principal.is_empty() {
            return Err("principal is empty".to_owned());
        }
        check_principals(Some(std::slice::from_ref(&role.principal)), principals).map_err(
            |_| {
                "[[principals]] grants nothing to that name; add an entry, or correct the name"
                    .to_owned()
            },
        )?;
        if self.principals.as_ref().is_some_and(|names| !names.contains(&role.principal)) {
            return Err("may not use the database; name it in principals, too".to_owned());
        }
        if role.dsn.is_some() == role.dsn_file.is_some() {
            return Err("a role is named by dsn or dsn_file, and by one of them".to_owned());
        }
        check_dsn(role.dsn.as_deref())
    }
}
