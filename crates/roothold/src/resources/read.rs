//! One file as a resource: whole, or refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roothold_core::files::{Encoding, read_whole};
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
    /// Of the text.
    pub(super) encoding: Option<String>,
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
        let found = text_of(&file.bytes, &mime_type);
        let encoding = found.as_ref().map(|(_, encoding)| encoding.name().to_owned());
        let (text, blob) = match found {
            Some((text, _)) => (Some(text), None),
            None => (None, Some(STANDARD.encode(&file.bytes))),
        };
        // The URI is that of the request: the client keeps contents by it.
        let value = Content { uri: input.uri, mime_type, text, encoding, blob };
        Ok(Structured { value, text: String::new(), note: None })
    }
}

/// The text of a file, if all of it is text that could be written back as it was.
fn text_of(bytes: &[u8], media_type: &str) -> Option<(String, Encoding)> {
    let encoding = Encoding::detect(bytes).ok()?;
    let is_media = ["image/", "audio/"].iter().any(|kind| media_type.starts_with(kind));
    if is_media && encoding == Encoding::Windows1252 {
        return None;
    }
    let text = encoding.decode(bytes).ok()?;
    (!text.contains('\0')).then_some((text, encoding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_is_text_to_its_end() {
        let text = |bytes: &[u8]| text_of(bytes, "text/plain").map(|(text, _)| text);
        assert_eq!(text(b"\xff\xfea\0").unwrap(), "a");
        assert_eq!(text(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(text(b"caf\xe9").unwrap(), "caf\u{e9}");
        assert_eq!(text_of(b"caf\xe9", "image/png"), None);
        let late_nul = [vec![b'a'; 9000], vec![0]].concat();
        for no_text in
            [&late_nul[..], b"\xff\xfea", "größe\u{fffd}\0".as_bytes(), b"gr\xc3\xb6\xff"]
        {
            assert_eq!(text(no_text), None, "{no_text:x?}");
        }
    }
}
