//! The smallest server with a tool of your own: a text of about two hundred bytes, decided,
//! recorded and measured like any call. The benchmark of the HTTP front calls it.
//!
//! ```text
//! cargo run --release -p roothold --example hello -- serve --listen 127.0.0.1:8000 ~/projects
//! ```

use std::process::ExitCode;

use roothold::core::{Action, Actions, Fault};
use roothold::schemars::{self, JsonSchema};
use roothold::{About, Call, Effect, Permits, Roothold, Text, Tool};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(roothold::cli::run_with(|| Roothold::builder().tool(Hello)))
}

struct Hello;

/// Takes nothing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {}

impl Tool for Hello {
    const NAME: &'static str = "hello";
    type Input = Input;
    type Output = Text;

    fn about(&self) -> About {
        About { title: "Hello", description: "Says hello.", effect: Effect::Reads }
    }

    fn actions(&self, _input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::named("greeting", Some("files:read"))))
    }

    async fn run(&self, _call: Call, _permits: Permits, _input: Input) -> Result<Text, Fault> {
        let text = "Hello. This call was found in the catalog, decided by the policy, admitted, written \
                    to the audit log before and after it ran, counted and timed, and what you read is \
                    some two hundred bytes.";
        Ok(Text { text: text.to_owned(), note: None })
    }
}
