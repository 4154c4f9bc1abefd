//! What the configuration grants one principal, compiled.

use std::collections::HashSet;

use super::spec::{PolicyError, PrincipalSpec};
use crate::roots::Roots;

#[derive(Debug)]
pub(super) struct Grant {
    scopes: Option<HashSet<String>>,
    roots: Option<HashSet<usize>>,
    tools: Option<HashSet<String>>,
}

impl Grant {
    pub(super) fn compile(spec: &PrincipalSpec, roots: &Roots) -> Result<Self, PolicyError> {
        let roots = match &spec.roots {
            None => None,
            Some(names) => Some(
                names
                    .iter()
                    .map(|name| {
                        let (principal, root) = (spec.name.clone(), name.clone());
                        match roots.positions(name)[..] {
                            [only] => Ok(only),
                            [] => Err(PolicyError::UnknownRoot { principal, root }),
                            _ => Err(PolicyError::AmbiguousRoot { principal, root }),
                        }
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        let set =
            |list: &Option<Vec<String>>| list.as_ref().map(|list| list.iter().cloned().collect());
        Ok(Self { scopes: set(&spec.scopes), roots, tools: set(&spec.tools) })
    }

    pub(super) fn allows_scope(&self, scope: &str) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(scope))
    }

    pub(super) fn allows_root(&self, at: usize) -> bool {
        self.roots.as_ref().is_none_or(|roots| roots.contains(&at))
    }

    pub(super) fn allows_tool(&self, tool: &str) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(tool))
    }
}
