//! `get_file_info`: size, times and mode.

use jiff::Timestamp;
use roothold_core::files::{EntryKind, FileInfo, info};
use roothold_core::{Action, Actions, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};

pub(in crate::tools) struct GetFileInfo;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file or directory.
    path: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::tools) struct Info {
    /// Bytes.
    size: u64,
    /// RFC 3339; left out where the file system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    modified: String,
    accessed: String,
    is_directory: bool,
    is_file: bool,
    /// Three octal digits.
    permissions: String,
    /// The path with symbolic links resolved.
    path: String,
}

impl Tool for GetFileInfo {
    const NAME: &'static str = "get_file_info";
    type Input = Input;
    type Output = Structured<Info>;

    fn about(&self) -> About {
        About {
            title: "Get File Info",
            description: "Tells size, times, kind and permissions of a file or directory without reading it.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::Stat, FilePath::parse(&input.path)?)))
    }

    async fn run(
        &self,
        call: Call,
        permits: Permits,
        _input: Input,
    ) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let found = call.blocking(move |budget| info(&permit, budget)).await?;
        let value = describe(found);
        let created = value.created.as_deref().unwrap_or("unknown");
        let text = format!(
            "size: {}\ncreated: {created}\nmodified: {}\naccessed: {}\nisDirectory: {}\nisFile: {}\npermissions: {}\npath: {}",
            value.size,
            value.modified,
            value.accessed,
            value.is_directory,
            value.is_file,
            value.permissions,
            value.path
        );
        Ok(Structured { value, text, note: None })
    }
}

fn describe(found: FileInfo) -> Info {
    Info {
        size: found.size,
        created: found.created.map(time),
        modified: time(found.modified),
        accessed: time(found.accessed),
        is_directory: found.kind == EntryKind::Directory,
        is_file: found.kind == EntryKind::File,
        permissions: format!("{:03o}", found.mode),
        path: found.path,
    }
}

/// A time with milliseconds. Times that no calendar holds are shown as its beginning.
fn time((seconds, nanoseconds): (i64, u32)) -> String {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    let time = Timestamp::new(seconds, nanoseconds).unwrap_or_default();
    format!("{time:.3}")
}
