//! The section of logs, metrics and traces: `[telemetry]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds::{HOUR, within};
use super::databases::read_own;
use super::load::{ConfigError, expand};
use crate::telemetry::LogFormat;

/// The most headers for a collector.
const HEADERS_MAX: usize = 32;
/// Where a collector takes traces over HTTP, unless its URL says so itself.
const HTTP_PATH: &str = "/v1/traces";

/// Logs, metrics and traces.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The address of `/metrics`; empty for none. On loopback requests must name it, loopback or one of `server.allowed_hosts` as their host.
    pub listen: String,
    /// The log filter, such as `info` or `roothold=debug,info`.
    pub log: String,
    /// The form of the log lines.
    pub log_format: LogFormat,
    /// Where traces are sent: the URL of an OpenTelemetry collector, such as `http://collector:4317`. Default: nowhere, and nothing is recorded.
    pub otlp_endpoint: Option<String>,
    /// How the collector is spoken to: `grpc`, for which it usually listens on port 4317, or `http/protobuf`, on 4318 at `/v1/traces`.
    pub otlp_protocol: OtlpProtocol,
    /// Headers that the collector wants, such as one with a token. They are secrets, so write `${VARIABLE}`.
    pub otlp_headers: BTreeMap<String, String>,
    /// A file of certificates, in PEM, of the authorities to trust for `https` instead of the system's.
    pub otlp_ca_file: Option<PathBuf>,
    /// Whether headers may go to another machine in the clear, over `http`.
    pub otlp_plaintext: bool,
    /// How long the collector may take to receive what is sent at a time, in seconds. No call waits for it.
    pub otlp_timeout_seconds: u64,
    /// Which part of the traces that begin here is recorded, from 0 to 1. A trace that a caller began is recorded if the caller says so.
    pub sample_ratio: f64,
    /// The most spans that wait for the collector, of about 200 bytes each. Those beyond are left out; the metric `roothold_trace_spans_total` counts them.
    pub trace_queue_max: usize,
    /// The name of this service in traces.
    pub service_name: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9464".to_owned(),
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            otlp_protocol: OtlpProtocol::Grpc,
            otlp_headers: BTreeMap::new(),
            otlp_ca_file: None,
            otlp_plaintext: false,
            otlp_timeout_seconds: 10,
            sample_ratio: 1.0,
            trace_queue_max: 8192,
            service_name: "roothold".to_owned(),
        }
    }
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP over HTTP, in Protobuf.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// A collector as it is reached, with its variables and files read. It holds secrets, and so has no
/// `Debug` form.
pub(crate) struct Collector {
    /// The URL, with the path by which it takes traces over HTTP.
    pub(crate) url: String,
    pub(crate) protocol: OtlpProtocol,
    /// Marked as secret, each.
    pub(crate) headers: HeaderMap,
    pub(crate) ca_pem: Option<Vec<u8>>,
    pub(crate) timeout: Duration,
    pub(crate) is_tls: bool,
}

/// What must be within reach for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CollectorReach {
    pub(crate) port: u16,
    pub(crate) looks_up: bool,
    pub(crate) authorities: bool,
}

fn refuse(key: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value { key: format!("telemetry.{key}"), reason: reason.into() }
}

impl Telemetry {
    /// Whether every number and address can be used. It reads no variable and no file.
    ///
    /// # Errors
    /// A [`ConfigError::Value`] that names the key and the mend, and shows nothing of a secret.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let has_port = self
            .listen
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !self.listen.is_empty() && !has_port {
            let reason = "is no address; write host:port, such as 127.0.0.1:9464, or \"\" for none";
            return Err(refuse("listen", format!("`{}` {reason}", self.listen)));
        }
        within("telemetry.sample_ratio", self.sample_ratio, 0.0..=1.0)?;
        within("telemetry.trace_queue_max", self.trace_queue_max, 64..=1_000_000)?;
        within("telemetry.otlp_timeout_seconds", self.otlp_timeout_seconds, 1..=HOUR)?;
        let name = &self.service_name;
        if !(1..=128).contains(&name.len()) || name.chars().any(char::is_control) {
            let reason = "must be a name of 1 to 128 bytes without control characters";
            return Err(refuse("service_name", reason));
        }
        if self.otlp_headers.len() > HEADERS_MAX {
            return Err(refuse("otlp_headers", format!("write at most {HEADERS_MAX}")));
        }
        self.endpoint().map(drop)
    }

    /// The collector's URL, if there is one.
    fn endpoint(&self) -> Result<Option<Uri>, ConfigError> {
        let Some(text) = &self.otlp_endpoint else { return Ok(None) };
        // Nothing of it is shown: it may hold a password.
        let wrong = "is no address of a collector; write http://host:port or https://host:port";
        let uri: Uri = text.parse().map_err(|_| refuse("otlp_endpoint", wrong))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|host| !host.is_empty());
        let Some(host) = host.filter(|_| is_web && uri.query().is_none()) else {
            return Err(refuse("otlp_endpoint", wrong));
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            let reason =
                "must not hold a user or a password; put a token into telemetry.otlp_headers";
            return Err(refuse("otlp_endpoint", reason));
        }
        if self.otlp_protocol == OtlpProtocol::Grpc && !matches!(uri.path(), "" | "/") {
            let reason = "has a path, which gRPC has not; leave it out, or set telemetry.otlp_protocol = \"http/protobuf\"";
            return Err(refuse("otlp_endpoint", reason));
        }
        let in_the_clear = uri.scheme_str() == Some("http") && !is_loopback(host);
        if in_the_clear && !self.otlp_headers.is_empty() && !self.otlp_plaintext {
            let reason = "would go to another machine in the clear; write https:// in telemetry.otlp_endpoint, or set telemetry.otlp_plaintext = true";
            return Err(refuse("otlp_headers", reason));
        }
        Ok(Some(uri))
    }

    /// What must be within reach for the collector, if there is one.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn collector_reach(&self) -> Result<Option<CollectorReach>, ConfigError> {
        let Some(uri) = self.endpoint()? else { return Ok(None) };
        let is_tls = uri.scheme_str() == Some("https");
        Ok(Some(CollectorReach {
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            looks_up: uri.host().and_then(address).is_none(),
            authorities: is_tls && self.otlp_ca_file.is_none(),
        }))
    }

    /// The collector, if there is one, with its variables and its file read.
    ///
    /// # Errors
    /// A [`ConfigError::Value`] that names the key and the mend, and shows nothing of a secret.
    pub(crate) fn collector(&self) -> Result<Option<Collector>, ConfigError> {
        let Some(uri) = self.endpoint()? else { return Ok(None) };
        let mut headers = HeaderMap::new();
        for (name, text) in &self.otlp_headers {
            let wrong = |what: &str| refuse("otlp_headers", format!("`{name}`: {what}"));
            let key = HeaderName::from_bytes(name.as_bytes());
            let key = key.map_err(|_| wrong("is no name of a header"))?;
            let value = expand(text).map_err(|reason| wrong(&reason))?;
            let value = HeaderValue::from_str(value.trim());
            let mut value = value.map_err(|_| wrong("its value cannot be in a header"))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let ca_pem = self.otlp_ca_file.as_deref().map(read_own).transpose();
        let base = self.otlp_endpoint.as_deref().unwrap_or_default().trim_end_matches('/');
        let has_path = self.otlp_protocol == OtlpProtocol::Grpc || base.ends_with(HTTP_PATH);
        Ok(Some(Collector {
            url: if has_path { base.to_owned() } else { format!("{base}{HTTP_PATH}") },
            protocol: self.otlp_protocol,
            headers,
            ca_pem: ca_pem.map_err(|reason| refuse("otlp_ca_file", reason))?,
            timeout: Duration::from_secs(self.otlp_timeout_seconds),
            is_tls: uri.scheme_str() == Some("https"),
        }))
    }
}

/// The address that a host of a URL is, if it is no name.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Telemetry {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn without_an_endpoint_there_is_no_collector() {
        let telemetry = Telemetry::default();
        telemetry.check().unwrap();
        assert_eq!(telemetry.collector_reach().unwrap(), None);
        assert!(telemetry.collector().unwrap().is_none());
    }

    #[test]
    fn an_endpoint_is_a_port_within_reach_and_a_url() {
        let grpc = of("otlp_endpoint = \"http://127.0.0.1:4317/\"");
        let reach = CollectorReach { port: 4317, looks_up: false, authorities: false };
        assert_eq!(grpc.collector_reach().unwrap(), Some(reach));
        assert_eq!(grpc.collector().unwrap().unwrap().url, "http://127.0.0.1:4317");
        for (endpoint, url, reach) in [
            ("https://otel.example", "https://otel.example/v1/traces", (443, true, true)),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces", (4318, false, false)),
            ("http://otel/a/v1/traces", "http://otel/a/v1/traces", (80, true, false)),
        ] {
            let http =
                of(&format!("otlp_endpoint = \"{endpoint}\"\notlp_protocol = \"http/protobuf\""));
            assert_eq!(http.collector().unwrap().unwrap().url, url);
            let (port, looks_up, authorities) = reach;
            let reach = CollectorReach { port, looks_up, authorities };
            assert_eq!(http.collector_reach().unwrap(), Some(reach));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_never_shown() {
        for (text, key) in [
            ("otlp_endpoint = \"collector:4317\"", "otlp_endpoint"),
            ("otlp_endpoint = \"ftp://collector\"", "otlp_endpoint"),
            ("otlp_endpoint = \"http://\"", "otlp_endpoint"),
            ("otlp_endpoint = \"http://me:CANARY@collector:4317\"", "otlp_endpoint"),
            ("otlp_endpoint = \"http://collector:4317/v1/traces\"", "otlp_endpoint"),
            ("otlp_endpoint = \"http://collector:4317/?key=CANARY\"", "otlp_endpoint"),
            ("otlp_endpoint = \"http://c:1\"\notlp_headers = {a = \"CANARY\"}", "otlp_headers"),
            ("sample_ratio = 1.5", "sample_ratio"),
            ("sample_ratio = nan", "sample_ratio"),
            ("trace_queue_max = 0", "trace_queue_max"),
            ("otlp_timeout_seconds = 0", "otlp_timeout_seconds"),
            ("service_name = \"\"", "service_name"),
        ] {
            let error = of(text).check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("telemetry.{key}: ")), "{text}: {error}");
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn headers_are_secret_and_go_in_the_clear_only_where_that_is_said() {
        let with = |more: &str| {
            of(&format!("otlp_headers = {{Authorization = \"Bearer CANARY\"}}\n{more}"))
        };
        for sound in [
            "otlp_endpoint = \"https://c\"",
            "otlp_endpoint = \"http://localhost:1\"",
            "otlp_endpoint = \"http://c\"\notlp_plaintext = true",
        ] {
            let collector = with(sound).collector().unwrap().unwrap();
            assert_eq!(collector.headers["authorization"], "Bearer CANARY");
            assert!(!format!("{:?}", collector.headers).contains("CANARY"));
        }
        for broken in ["{a = \"CANARY\\nb\"}", "{\"a b\" = \"CANARY\"}", "{a = \"${NO_SUCH}\"}"] {
            let text = format!("otlp_endpoint = \"https://c\"\notlp_headers = {broken}");
            let error = of(&text).collector().err().unwrap().to_string();
            assert!(!error.contains("CANARY"), "{error}");
        }
    }
}
