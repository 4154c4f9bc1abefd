//! The HTTP wire: one POST per message, answered as JSON or as an event stream.

use std::io::{BufRead, BufReader, Read as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::headers;
use super::session::{MODERN, Message, Refused, Wire};

/// The largest answer, in bytes: an answer of the largest size with its JSON around it.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer that is not JSON-RPC is shown.
const SHOWN_CHARS_MAX: usize = 300;

/// A server behind a URL.
pub(super) struct Http {
    agent: Agent,
    url: String,
    authorization: Option<String>,
    session: Option<String>,
}

/// An agent that follows no redirect, since one would carry the credential elsewhere.
pub(crate) fn agent(timeout: Duration, is_local: bool) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let mut config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_TIMEOUT.min(timeout)))
        .timeout_global(Some(timeout))
        .user_agent(concat!("roothold/", env!("CARGO_PKG_VERSION")));
    if is_local {
        config = config.proxy(None);
    }
    config.build().new_agent()
}

/// The endpoint that a URL means: without a path, `/mcp`.
pub(crate) fn endpoint(url: &str) -> anyhow::Result<String> {
    let parsed: http::Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
    ensure!(
        matches!(parsed.scheme_str(), Some("http" | "https")) && parsed.host().is_some(),
        "`{url}` is no http:// or https:// URL"
    );
    let userless = !parsed.authority().is_some_and(|authority| authority.as_str().contains('@'));
    ensure!(userless, "a URL must not hold a password; use --token-file");
    if parsed.path() == "/" && parsed.query().is_none() {
        return Ok(format!("{}/mcp", url.trim_end_matches('/')));
    }
    Ok(url.to_owned())
}

/// Whether a URL leads to another machine without encryption.
pub(super) fn is_exposed(url: &str) -> bool {
    !url.starts_with("https://") && !is_local(url)
}

/// Whether a URL leads to this machine.
pub(crate) fn is_local(url: &str) -> bool {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Http {
    pub(super) fn new(url: &str, token: Option<String>, timeout: Duration) -> Self {
        Self {
            agent: agent(timeout, is_local(url)),
            url: url.to_owned(),
            authorization: token.map(|token| format!("Bearer {token}")),
            session: None,
        }
    }

    fn post(&self, message: &Message<'_>) -> anyhow::Result<ureq::http::Response<Body>> {
        let mut request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        if let Some(revision) = message.revision {
            request = request.header("mcp-protocol-version", revision);
        }
        if message.revision == Some(MODERN) {
            let method = message.body["method"].as_str().unwrap_or_default();
            request = request.header("mcp-method", method);
            if let Some(name) = message.body["params"]["name"].as_str() {
                request = request.header("mcp-name", headers::value(name));
            }
            for (name, value) in message.headers {
                request = request.header(name, value);
            }
        }
        request
            .send(message.body.to_string().as_bytes())
            .with_context(|| format!("no answer from {} (start a server there with `roothold serve`, or name another with --url)", self.url))
    }
}

impl Wire for Http {
    fn request(
        &mut self,
        message: &Message<'_>,
        notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value> {
        let response = self.post(message)?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let kind = header("content-type").unwrap_or_default();
        if let Some(session) = header("mcp-session-id") {
            self.session = Some(session);
        }
        let status = response.status();
        let retry_after = header("retry-after");
        let body = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
        if status.is_success() && kind.starts_with("text/event-stream") {
            return events(BufReader::new(body), &message.body["id"], notified);
        }
        let mut text = String::new();
        let limit = if status.is_success() { ANSWER_BYTES_MAX } else { ANSWER_BYTES_MAX / 256 };
        body.take(limit).read_to_string(&mut text).context("the answer broke off")?;
        let answer = serde_json::from_str::<Value>(&text).ok();
        let answer = answer.filter(|answer| answer["jsonrpc"] == "2.0");
        let turned_away = matches!(status.as_u16(), 401 | 403 | 429 | 500..);
        match answer {
            Some(answer) if !turned_away => Ok(answer),
            answer => Err(refused(status.as_u16(), retry_after, answer.as_ref(), &text)),
        }
    }

    fn notify(&mut self, message: &Message<'_>) -> anyhow::Result<()> {
        let status = self.post(message)?.status();
        ensure!(status.is_success(), "the server refused the handshake with HTTP status {status}");
        Ok(())
    }
}

/// An HTTP status as a sentence with what to do next.
fn refused(
    status: u16,
    retry_after: Option<String>,
    answer: Option<&Value>,
    text: &str,
) -> anyhow::Error {
    let said = answer.and_then(|answer| {
        let error = answer["error"]["message"].as_str();
        error.or_else(|| answer["result"]["content"][0]["text"].as_str())
    });
    // A page of a proxy says nothing in its first lines.
    let said = said.or((!text.trim_start().starts_with('<')).then_some(text)).unwrap_or_default();
    let reason: String = said.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    let next = match status {
        401 => "give a valid credential with --token-file or in ROOTHOLD_TOKEN".to_owned(),
        403 => "the credential does not allow this".to_owned(),
        404 | 405 => "is the path of the URL right? MCP is at /mcp".to_owned(),
        429 | 503 => {
            let seconds = retry_after.map_or("a while".to_owned(), |text| format!("{text} s"));
            format!("try again in {seconds}")
        }
        _ => "that is not an MCP answer".to_owned(),
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    Refused(format!("the server answered with HTTP status {status}{reason}; {next}")).into()
}

/// Reads an event stream up to the answer to `id`.
fn events(
    mut stream: impl BufRead,
    id: &Value,
    notified: &mut dyn FnMut(&Value),
) -> anyhow::Result<Value> {
    let (mut line, mut data) = (String::new(), String::new());
    loop {
        line.clear();
        let read = stream.read_line(&mut line).context("the answer broke off")?;
        let text = line.trim_end_matches(['\r', '\n']);
        if let Some(part) = text.strip_prefix("data:") {
            if !data.is_empty() {
                data.push('\n');
            }
            data.push_str(part.strip_prefix(' ').unwrap_or(part));
        } else if text.is_empty() && !data.is_empty() {
            let message: Value = serde_json::from_str(&data)
                .map_err(|_| anyhow!("the server sent an event that is not JSON"))?;
            data.clear();
            if message.get("method").is_some() {
                notified(&message);
            } else if message["id"] == *id {
                return Ok(message);
            }
        }
        if read == 0 {
            bail!("the server ended the stream without an answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_endpoint_has_a_path_and_no_password() {
        assert_eq!(endpoint("http://h:1").unwrap(), "http://h:1/mcp");
        assert_eq!(endpoint("http://h:1/").unwrap(), "http://h:1/mcp");
        assert_eq!(endpoint("https://h/a/b").unwrap(), "https://h/a/b");
        for bad in ["h:1", "ftp://h", "http://u:p@h/mcp", "http://"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_and_tls_are_safe_for_a_token() {
        for safe in
            ["https://h/mcp", "http://127.0.0.1:1/mcp", "http://[::1]:1/", "http://localhost"]
        {
            assert!(!is_exposed(safe), "{safe}");
        }
        for bad in ["http://10.0.0.1/mcp", "http://localhost.example.com/", "http://h"] {
            assert!(is_exposed(bad), "{bad}");
        }
    }

    #[test]
    fn a_stream_gives_notifications_and_then_the_answer() {
        let stream = ": ping\n\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\n\
                      id: 1\r\ndata: {\"id\":7,\r\ndata: \"result\":{}}\r\n\r\n";
        let mut seen = 0;
        let answer = events(stream.as_bytes(), &json!(7), &mut |_| seen += 1).unwrap();
        assert_eq!((answer, seen), (json!({"id": 7, "result": {}}), 1));
        let cut = events(&b"data: {}\n"[..], &json!(7), &mut |_| {}).unwrap_err();
        assert!(cut.to_string().contains("without an answer"), "{cut}");
    }

    #[test]
    fn a_refusal_says_what_to_do_and_shows_no_control_characters() {
        let error = refused(401, None, None, "\u{1b}[31mno").to_string();
        assert!(error.contains("([31mno)") && error.contains("--token-file"), "{error}");
        assert!(!refused(502, None, None, "<html>").to_string().contains('<'));
        let answer = json!({"error": {"message": "slow down"}});
        let error = refused(429, Some("2".to_owned()), Some(&answer), "").to_string();
        assert!(error.contains("(slow down); try again in 2 s"), "{error}");
    }
}
