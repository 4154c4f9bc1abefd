//! `delete_file`: a file, for good.

use roothold_core::files::{Precondition, delete};
use roothold_core::{Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DRY_RUN, change, options, permits};
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct DeleteFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file.
    path: String,
    /// The hash that a read gave.
    if_match: Option<String>,
    /// Only says what would happen.
    #[serde(alias = "dryRun")]
    dry_run: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Report {
    path: String,
    dry_run: bool,
}

impl Tool for DeleteFile {
    const NAME: &'static str = "delete_file";
    const WRITES_FILES: bool = true;
    type Input = Input;
    type Output = Structured<Report>;

    fn about(&self) -> About {
        About {
            title: "Delete File",
            description: "Deletes a file, or a symbolic link itself. Directories are not deleted.",
            effect: Effect::Writes { destructive: true, idempotent: true },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        let precondition = Precondition::parse(input.if_match.as_deref())?;
        change(&input.path, precondition.needs_read())
    }

    async fn run(&self, call: Call, given: Permits, input: Input) -> Result<Self::Output, Fault> {
        let (permit, read) = permits(given)?;
        let options = options(input.if_match.as_deref(), input.dry_run)?;
        let dry_run = options.dry_run;
        let path =
            call.blocking(move |budget| delete(&permit, read.as_ref(), &options, budget)).await?;
        let text = if dry_run {
            format!("Would delete {}{DRY_RUN}", input.path)
        } else {
            format!("Successfully deleted {}", input.path)
        };
        Ok(Structured { value: Report { path, dry_run }, text, note: None })
    }
}
