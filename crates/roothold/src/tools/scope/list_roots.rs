//! `listRoots`: the roots and the access policy.

use roothold_core::{Access, Action, Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct ListRoots;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {}

// The roots that you can use, and what may be done in them.
#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Scope {
    roots: Vec<Root>,
    access_policy: AccessPolicy,
}

#[derive(Serialize, JsonSchema)]
struct Root {
    uri: String,
    name: String,
    description: String,
}

/// Glob patterns: without a slash they match a name at any depth, with one a whole path.
#[derive(Serialize, JsonSchema)]
struct AccessPolicy {
    read: Vec<String>,
    write: Vec<String>,
    exclude: Vec<String>,
}

impl Tool for ListRoots {
    const NAME: &'static str = "listRoots";
    type Input = Input;
    type Output = Structured<Scope>;

    fn about(&self) -> About {
        About {
            title: "List Roots",
            description: "Lists the roots that you can use and the access policy. Call it first; every path must lie inside a root.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, _input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::named("roots", None)))
    }

    async fn run(
        &self,
        call: Call,
        _permits: Permits,
        _input: Input,
    ) -> Result<Self::Output, Fault> {
        let roots = call.policy().roots_of(call.principal()).map(|root| Root {
            uri: root.uri().to_owned(),
            name: root.name().to_owned(),
            description: root.description().to_owned(),
        });
        let spec = call.policy().spec();
        let mut usable = call.policy().roots_of(call.principal());
        // Patterns that no root lets apply would only mislead.
        let write = if usable.any(|root| root.access() == Access::ReadWrite) {
            spec.write.clone()
        } else {
            Vec::new()
        };
        let access_policy =
            AccessPolicy { read: spec.read.clone(), write, exclude: spec.exclude.clone() };
        let value = Scope { roots: roots.collect(), access_policy };
        let text = serde_json::to_string(&value).map_err(Fault::internal)?;
        Ok(Structured { value, text, note: None })
    }
}
