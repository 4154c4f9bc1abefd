//! `list_allowed_directories`: the roots, as the reference server's clients ask for them.

use roothold_core::{Action, Actions, Fault, shown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct ListAllowedDirectories;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Directories {
    directories: Vec<String>,
}

impl Tool for ListAllowedDirectories {
    const NAME: &'static str = "list_allowed_directories";
    type Input = Input;
    type Output = Structured<Directories>;

    fn about(&self) -> About {
        About {
            title: "List Allowed Directories",
            description: "Lists the directories that you can use, as absolute paths.",
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
        let directories: Vec<String> =
            call.policy().roots_of(call.principal()).map(|root| shown(root.public())).collect();
        let text = format!("Allowed directories:\n{}", directories.join("\n"));
        Ok(Structured { value: Directories { directories }, text, note: None })
    }
}
