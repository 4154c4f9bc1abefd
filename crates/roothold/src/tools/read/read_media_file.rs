//! `read_media_file`: a whole file as base64. Media cannot be cut, so a large one is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ContentBlock, ResourceContents};
use roothold_core::files::read_whole;
use roothold_core::{Action, Actions, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::call::Call;
use crate::tool::{About, Blocks, Effect, Permits, Tool};
use crate::tools::media_type;

pub(in crate::tools) struct ReadMediaFile;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// The file.
    path: String,
}

impl Tool for ReadMediaFile {
    const NAME: &'static str = "read_media_file";
    type Input = Input;
    type Output = Blocks;

    fn about(&self) -> About {
        About {
            title: "Read Media File",
            description: "Reads a whole file as base64: images and audio as such, anything else as an embedded resource.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::Read, FilePath::parse(&input.path)?)))
    }

    async fn run(&self, call: Call, permits: Permits, _input: Input) -> Result<Blocks, Fault> {
        let permit = permits.one()?;
        let limit = call.limits().media_bytes_max;
        // Base64 makes four bytes of three; in a batch it must fit into the call's share.
        let share = call.budget().result_bytes_max as u64 / 4 * 3;
        let limit = if call.is_nested() { limit.min(share) } else { limit };
        call.blocking(move |budget| {
            let file = read_whole(
                &permit,
                limit,
                "media cannot be cut, so ask for a smaller file",
                budget,
            )?;
            let media_type = media_type(file.path.as_bytes());
            let data = STANDARD.encode(&file.bytes);
            Ok(Blocks(vec![match media_type.split('/').next() {
                Some("image") => ContentBlock::image(data, media_type),
                Some("audio") => ContentBlock::audio(data, media_type),
                _ => {
                    let contents = ResourceContents::blob(data, file.uri);
                    // What the reference server does not know it calls bytes, text included.
                    ContentBlock::resource(contents.with_mime_type("application/octet-stream"))
                }
            }]))
        })
        .await
    }
}
