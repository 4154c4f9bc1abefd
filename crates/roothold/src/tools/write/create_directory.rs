//! `create_directory`: a directory, with those above it.

use roothold_core::files::{Made, make_directory};
use roothold_core::{Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DRY_RUN, change, options};
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct CreateDirectory;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The directory.
    path: String,
    /// "none": refused if it exists.
    if_match: Option<String>,
    /// Only says what would happen.
    #[serde(alias = "dryRun")]
    dry_run: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Report {
    path: String,
    /// How many directories were made; 0 if it was there.
    created: usize,
    dry_run: bool,
}

impl Tool for CreateDirectory {
    const NAME: &'static str = "create_directory";
    const WRITES_FILES: bool = true;
    type Input = Input;
    type Output = Structured<Report>;

    fn about(&self) -> About {
        About {
            title: "Create Directory",
            description: "Makes a directory and those above it. One that exists is left as it is.",
            effect: Effect::Writes { destructive: false, idempotent: true },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        change(&input.path, false)
    }

    async fn run(&self, call: Call, given: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = given.one()?;
        let options = options(input.if_match.as_deref(), input.dry_run)?;
        let dry_run = options.dry_run;
        let made = call.blocking(move |budget| make_directory(&permit, &options, budget)).await?;
        let text = match (dry_run, made.created) {
            (false, _) => format!("Successfully created directory {}", input.path),
            (true, 0) => format!("{} exists already{DRY_RUN}", input.path),
            (true, _) => format!("Would create directory {}{DRY_RUN}", input.path),
        };
        let Made { path, created } = made;
        let note = Some(format!("created={created}"));
        Ok(Structured { value: Report { path, created, dry_run }, text, note })
    }
}
