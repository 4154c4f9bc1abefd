//! `move_file`: a file or directory to another name, over nothing.

use roothold_core::files::{Moved, move_entry};
use roothold_core::{Action, Actions, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DRY_RUN, options};
use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct MoveFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file or directory.
    source: String,
    /// Its new path, where nothing may be.
    destination: String,
    /// The hash that a read gave.
    if_match: Option<String>,
    /// Only says what would happen.
    #[serde(alias = "dryRun")]
    dry_run: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Report {
    source: String,
    destination: String,
    dry_run: bool,
}

impl Tool for MoveFile {
    const NAME: &'static str = "move_file";
    const WRITES_FILES: bool = true;
    type Input = Input;
    type Output = Structured<Report>;

    fn about(&self) -> About {
        About {
            title: "Move File",
            description: "Moves or renames a file or directory. It fails if something is at the destination.",
            effect: Effect::Writes { destructive: true, idempotent: false },
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        options(input.if_match.as_deref(), None)?;
        let source = FilePath::parse(&input.source)?;
        let destination = FilePath::parse(&input.destination)?;
        // Whether it may be read depends on what it is: a directory can be looked at.
        let look = Action::file(Verb::Stat, source.clone());
        let writes = [Action::file(Verb::Write, source), Action::file(Verb::Write, destination)];
        Ok(Actions::many(look, writes))
    }

    async fn run(&self, call: Call, given: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permits = given.each().collect::<Result<Vec<_>, _>>()?;
        let [look, from, to] = <[_; 3]>::try_from(permits)
            .map_err(|_| Fault::internal("a move without its three permits"))?;
        let options = options(input.if_match.as_deref(), input.dry_run)?;
        let dry_run = options.dry_run;
        let moved =
            call.blocking(move |budget| move_entry(&look, &from, &to, &options, budget)).await?;
        let (source, destination) = (&input.source, &input.destination);
        let text = if dry_run {
            format!("Would move {source} to {destination}{DRY_RUN}")
        } else {
            format!("Successfully moved {source} to {destination}")
        };
        let Moved { source, destination } = moved;
        Ok(Structured { value: Report { source, destination, dry_run }, text, note: None })
    }
}
