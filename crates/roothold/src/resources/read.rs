//! One file as a resource: whole, or refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roothold_core::files::read_whole;
use roothold_core::{Action, Actions, Fault, FilePath, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::tool::{About, Effect, Permits, Structured, Tool};
use crate::tools::media_type;

pub(super) const NAME: &str = "resources/read";

pub(super) struct ReadResource;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    uri: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Content {
    pub(super) uri: String,
    pub(super) mime_type: String,
    pub(super) text: Option<String>,
    pub(super) blob: Option<String>,
}

impl Tool for ReadResource {
    const NAME: &'static str = NAME;
    type Input = Input;
    type Output = Structured<Content>;

    fn about(&self) -> About {
        About { title: "Read a resource", description: "One file, whole", effect: Effect::Reads }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::file(Verb::Read, FilePath::parse_uri(&input.uri)?)))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let permit = permits.one()?;
        let limit = call.limits().resource_bytes_max;
        let instead = "a resource has no pages, so use the tool read_text_file, which has";
        let file = call.blocking(move |budget| read_whole(&permit, limit, instead, budget)).await?;
        let mime_type = media_type(file.path.as_bytes()).to_owned();
        let (text, blob) = match String::from_utf8(file.bytes) {
            Ok(text) if !text.contains('\0') => (Some(text), None),
            Ok(text) => (None, Some(STANDARD.encode(text))),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        // The URI is that of the request: the client keeps contents by it.
        let value = Content { uri: input.uri, mime_type, text, blob };
        Ok(Structured { value, text: String::new(), note: None })
    }
}
