//! The front of a server, from its configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rmcp::ServerHandler;
use roothold_edge::auth::{
    Authenticator, FailureLimit, JwtAlgorithm, JwtConfig, JwtVerifier, KeyEntry, KeyRing, KeysFile,
    ProtectedResource, RateLimit, TokenType,
};
use roothold_edge::{Edge, EdgeBuilder, EdgeConfig, SessionLimits, StartError as EdgeError};

use super::addresses;
use super::observer::FrontObserver;
use crate::builder::{Roothold, StartError};
use crate::config::{Config, Jwt};
use crate::handler::Handler;

/// The scopes of the built-in tools, for the OAuth metadata.
fn scopes(config: &Config) -> Vec<String> {
    let (datasets, databases) = (cfg!(feature = "datasets"), !config.databases.is_empty());
    let all = [
        ("files:read", true),
        ("files:write", true),
        ("datasets:read", datasets),
        ("databases:read", databases),
        ("databases:write", databases),
        ("jobs:manage", true),
    ];
    all.iter().filter(|(_, is)| *is).map(|(scope, _)| (*scope).to_owned()).collect()
}

/// Requests per second of one principal, unless configured: far above an agent's pace, far below a flood.
const RATE_AUTHENTICATED: f64 = 200.0;

/// Failed authentications per second of one address, unless configured: a client whose key has
/// expired stays below it, a guesser or a flood does not.
const RATE_FAILURES: f64 = 10.0;

pub(super) fn edge(server: &Roothold) -> Result<Edge<Handler>, StartError> {
    let config = &server.config;
    let observer = Arc::new(FrontObserver::new(Arc::clone(&server.engine)));
    let engine = Arc::clone(&server.engine);
    // A call that cannot be recorded is refused, so a replica with a broken log is of no use; nor is one
    // without a database that the operator says it is there for.
    let mut builder = guarded(server.handler(), config)?
        .observer(observer)
        .calls(server.handler())
        .ready_when(move || engine.audit.is_healthy() && engine.databases.required_are_ready());
    if server.engine.jobs.is_some() {
        builder = builder.task_listeners(server.handler());
    }
    built(builder, config)
}

/// Whether a front can be made of the configuration, and may listen where it says.
///
/// # Errors
/// A [`StartError`] that names the key and the mend.
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    refuse_strangers(config, config.server.listen)?;
    addresses::refuse_same(config.server.listen, &config.telemetry.listen)?;
    built(guarded(Nothing, config)?, config).map(drop)
}

/// What works, and is hardly meant, in one sentence each. It reads the file of keys, which [`check`] has
/// found good.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let Some(path) = &config.auth.keys_file else { return Vec::new() };
    let now = SystemTime::now();
    let is_good = |key: &KeyEntry| {
        key.revoked().is_none() && key.expires().is_none_or(|expires| expires > now)
    };
    let keys = KeysFile::open(path).and_then(|file| file.list()).unwrap_or_default();
    if keys.iter().any(is_good) {
        return Vec::new();
    }
    let others = if config.auth.jwt.is_some() { "" } else { ", so nobody is let in" };
    vec![format!(
        "auth.keys_file: holds no key that is good{others}; make one with `roothold keys new NAME`"
    )]
}

/// A handler for a front that is only looked at.
struct Nothing;

impl ServerHandler for Nothing {}

/// Whether others reach what this URL leads to, so that a proxy stands before a loopback address.
fn is_public(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    // What has no scheme is no URL, and is refused as such.
    let (Some(scheme), Some(host)) = (url.scheme_str(), url.host()) else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_here = host
        .parse::<std::net::IpAddr>()
        .map_or(host == "localhost" || host.ends_with(".localhost"), |host| host.is_loopback());
    scheme == "https" || !is_here
}

/// Refuses to serve everyone on an address or under a URL that others reach, unless the operator has
/// said so.
pub(super) fn refuse_strangers(config: &Config, address: SocketAddr) -> Result<(), StartError> {
    let open = !config.authenticates() && config.auth.unauthenticated.is_none();
    if !open {
        return Ok(());
    }
    if let Some(url) = config.server.public_url.as_deref().filter(|url| is_public(url)) {
        return Err(StartError::Front(format!(
            "server.public_url: refusing to serve without authentication under {url}, where others get \
             through a proxy; set auth.keys_file or [auth.jwt], or set auth.unauthenticated = \
             \"on-the-network\""
        )));
    }
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(StartError::Front(format!(
        "server.listen: refusing to serve without authentication on {address}; set auth.keys_file or \
         [auth.jwt], listen on a loopback address, or set auth.unauthenticated = \"on-the-network\""
    )))
}

/// A front with the configured limits and authentication around a handler.
fn guarded<H: ServerHandler>(handler: H, config: &Config) -> Result<EdgeBuilder<H>, StartError> {
    let mut builder =
        Edge::builder(handler).config(edge_config(config)).auth(authenticator(config)?);
    let default_rate = if config.authenticates() { RATE_AUTHENTICATED } else { 0.0 };
    let rate = config.limits.requests_per_second.unwrap_or(default_rate);
    if rate > 0.0 {
        builder = builder.rate_limit(RateLimit::per_second(rate, config.limits.requests_burst));
    }
    let rate = failures_per_second(config);
    if rate > 0.0 {
        let burst = config.limits.auth_failures_burst;
        builder = builder.failure_limit(FailureLimit::per_second(rate, burst));
    }
    Ok(builder)
}

/// How often one address may fail to authenticate. The front speaks no TLS: where clients use
/// `https`, a proxy stands before it, and a limit on the proxy's address would lock everyone out.
fn failures_per_second(config: &Config) -> f64 {
    let url = config.server.public_url.as_deref().unwrap_or_default();
    let proxied = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    let default = if config.authenticates() && !proxied { RATE_FAILURES } else { 0.0 };
    config.limits.auth_failures_per_second.unwrap_or(default)
}

fn built<H: ServerHandler>(
    builder: EdgeBuilder<H>,
    config: &Config,
) -> Result<Edge<H>, StartError> {
    builder.build().map_err(|error| {
        let server = &config.server;
        let key = match &error {
            EdgeError::BadName { entry } if server.allowed_hosts.contains(entry) => {
                "server.allowed_hosts: "
            }
            EdgeError::BadName { entry } if server.allowed_origins.contains(entry) => {
                "server.allowed_origins: "
            }
            EdgeError::BadName { .. } => "server.public_url: ",
            _ => "",
        };
        StartError::Front(format!("{key}{error}"))
    })
}

fn edge_config(config: &Config) -> EdgeConfig {
    let (server, limits) = (&config.server, &config.limits);
    let seconds = Duration::from_secs;
    EdgeConfig {
        allowed_hosts: server.allowed_hosts.clone(),
        allowed_origins: server.allowed_origins.clone(),
        public_url: server.public_url.clone(),
        body_bytes_max: limits.body_bytes_max,
        answers_bytes_max: limits.answers_bytes_max,
        header_timeout: seconds(limits.header_timeout_seconds),
        body_timeout: seconds(limits.body_timeout_seconds),
        keep_alive_timeout: seconds(limits.keep_alive_timeout_seconds),
        peer_timeout: seconds(limits.peer_timeout_seconds),
        connections_max: limits.connections_max,
        pre_stop_delay: seconds(server.pre_stop_delay_seconds),
        drain_timeout: seconds(server.drain_timeout_seconds),
        legacy_sessions: server.legacy_sessions.as_ref().map(|sessions| SessionLimits {
            sessions_max: sessions.sessions_max,
            idle_timeout: seconds(sessions.idle_timeout_seconds),
        }),
        allow_unauthenticated_network: config.auth.unauthenticated.is_some(),
        ..EdgeConfig::default()
    }
}

fn authenticator(config: &Config) -> Result<Authenticator, StartError> {
    if !config.authenticates() {
        return Ok(Authenticator::none());
    }
    let refuse =
        |key: &str, error: &dyn std::fmt::Display| StartError::Front(format!("{key}: {error}"));
    let mut builder = Authenticator::builder();
    if let Some(path) = &config.auth.keys_file {
        builder =
            builder.keys(KeyRing::load(path).map_err(|error| refuse("auth.keys_file", &error))?);
    }
    let mut issuers = Vec::new();
    if let Some(jwt) = &config.auth.jwt {
        issuers.push(jwt.issuer.clone());
        builder = builder.jwt(verifier(config, jwt, &jwt.jwks_file)?);
    }
    if let Some(url) = &config.server.public_url {
        builder = builder.resource(ProtectedResource {
            url: url.clone(),
            authorization_servers: issuers,
            scopes_supported: scopes(config),
            initial_scopes: vec!["files:read".to_owned()],
            name: "Roothold".to_owned(),
        });
    }
    builder.build().map_err(|error| refuse("server.public_url", &error))
}

fn verifier(config: &Config, jwt: &Jwt, jwks: &Path) -> Result<JwtVerifier, StartError> {
    let refuse = |reason: String| StartError::Front(format!("auth.jwt: {reason}"));
    let audience = jwt.audience.clone().or_else(|| config.server.public_url.clone());
    let audience = audience.ok_or_else(|| {
        refuse("set audience, or server.public_url, which is its default".to_owned())
    })?;
    let mut rules = JwtConfig::new(jwt.issuer.clone(), audience);
    let algorithms = jwt.algorithms.iter().map(|name| {
        JwtAlgorithm::parse(name)
            .map_err(|_| refuse(format!("the algorithm `{name}` is not one that can be accepted")))
    });
    rules.algorithms = algorithms.collect::<Result<_, _>>()?;
    rules.leeway = Duration::from_secs(jwt.leeway_seconds);
    rules.principal_claim.clone_from(&jwt.principal_claim);
    if jwt.accept_untyped {
        rules.token_type = TokenType::AcceptUntyped;
    }
    JwtVerifier::from_file(rules, jwks).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_others_reach_wants_callers_who_prove_who_they_are() {
        let refused = |url: &str, more: &str| {
            let text = format!("[server]\nlisten = \"127.0.0.1:0\"\npublic_url = {url:?}\n{more}");
            let config: Config = toml::from_str(&text).unwrap();
            refuse_strangers(&config, config.server.listen).err().map(|error| error.to_string())
        };
        for url in [
            "https://mcp.example.com/mcp",
            "HTTPS://localhost:8443/mcp",
            "http://mcp.example.com/mcp",
            "http://10.0.0.7:8000/mcp",
            "http://localhost.example.com/mcp",
            "http://127.0.0.1.example.com/mcp",
            "http://[2001:db8::1]:8000/mcp",
        ] {
            let said = refused(url, "").unwrap_or_default();
            let both = said.contains("auth.keys_file") && said.contains("auth.unauthenticated = ");
            assert!(said.starts_with("server.public_url: ") && both, "{url}: {said}");
            assert_eq!(refused(url, "[auth]\nunauthenticated = \"on-the-network\"\n"), None);
            assert_eq!(refused(url, "[auth]\nkeys_file = \"keys.jsonl\"\n"), None);
        }
        for url in [
            "http://localhost:8000/mcp",
            "http://127.0.0.1:8000/mcp",
            "http://[::1]:8000/mcp",
            "mcp",
        ] {
            assert_eq!(refused(url, ""), None, "{url}");
        }
    }
}
