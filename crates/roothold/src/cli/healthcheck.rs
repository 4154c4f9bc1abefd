//! `roothold healthcheck`: for images that have no shell and no curl.

use std::time::Duration;

use clap::Args;

use super::call::http::{agent, is_local};
use super::{print, say};

/// Asks a server whether it is alive, in one line and by exit code.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Healthcheck {
    /// The URL to ask; `/ready` instead of `/health` asks whether it takes traffic.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000/health")]
    url: String,
}

const EXAMPLES: &str =
    "Exit code: 0 the answer is 200, 1 it is not, or there is none within 3 seconds.

Examples:
  roothold healthcheck
  roothold healthcheck --url http://127.0.0.1:8000/ready";

const TIMEOUT: Duration = Duration::from_secs(3);

impl Healthcheck {
    #[expect(clippy::unnecessary_wraps, reason = "every command has this form")]
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let url = &self.url;
        let status = agent(TIMEOUT, is_local(url)).get(url).call().map(|answer| answer.status());
        match status {
            Ok(status) if status == ureq::http::StatusCode::OK => {
                print(&format!("{url} answers 200"));
                Ok(0)
            }
            Ok(status) => {
                say(&format!("roothold: {url} answers {}", status.as_u16()));
                Ok(1)
            }
            Err(error) => {
                say(&format!("roothold: {url} does not answer: {error}"));
                Ok(1)
            }
        }
    }
}
