//! `WWW-Authenticate` and the protected resource metadata of RFC 9728.
//!
//! Both are made once, at start, from configuration. Nothing of a request flows into them, so every
//! refused credential gets the same bytes back.

use bytes::Bytes;
use http::{HeaderValue, Uri};
use serde::Serialize;

use super::name::is_scope;

/// Where RFC 9728 §3 puts the metadata of a resource, before the resource's own path.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What this server tells OAuth clients about itself.
#[derive(Debug, Clone)]
pub struct ProtectedResource {
    /// The public URL of the MCP endpoint, as clients write it: `https://host/mcp`.
    pub url: String,
    /// The issuers of access tokens, as URLs. Empty where no OAuth is offered: then no metadata is
    /// served.
    pub authorization_servers: Vec<String>,
    /// Every scope that this server knows.
    pub scopes_supported: Vec<String>,
    /// The scopes a client should ask for first, named in the 401 challenge. Empty: all supported.
    pub initial_scopes: Vec<String>,
    /// A name for people.
    pub name: String,
}

/// Why the description of the resource was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// A URL that is not absolute, not HTTPS, or carries a query or user.
    #[error(
        "{field} must be an absolute https url without query, fragment or user (http is taken for localhost only), but is {url:?}"
    )]
    Url {
        /// Which setting.
        field: &'static str,
        /// Its value.
        url: String,
    },
    /// A scope that cannot stand in a scope list.
    #[error(
        "scope {0:?} is not usable: a scope has 1 to 128 visible ascii characters without quotes and backslashes, and `offline_access` is between client and issuer"
    )]
    Scope(String),
}

/// The prepared answers.
#[derive(Debug)]
pub(super) struct Challenges {
    missing: HeaderValue,
    invalid: HeaderValue,
    metadata_param: String,
    metadata: Option<(String, Bytes)>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    authorization_servers: &'a [String],
    scopes_supported: &'a [String],
    bearer_methods_supported: [&'static str; 1],
    resource_name: &'a str,
}

impl Challenges {
    /// The answers of a server that describes no resource.
    pub(super) fn bare() -> Self {
        Self {
            missing: HeaderValue::from_static("Bearer realm=\"mcp\""),
            invalid: HeaderValue::from_static("Bearer realm=\"mcp\", error=\"invalid_token\""),
            metadata_param: String::new(),
            metadata: None,
        }
    }

    pub(super) fn new(resource: &ProtectedResource) -> Result<Self, ResourceError> {
        let url = parse_url("the public url of the mcp endpoint", &resource.url)?;
        for server in &resource.authorization_servers {
            parse_url("an authorization server", server)?;
        }
        for scope in resource.scopes_supported.iter().chain(&resource.initial_scopes) {
            if !is_scope(scope) || scope == "offline_access" {
                return Err(ResourceError::Scope(scope.clone()));
            }
        }
        if resource.authorization_servers.is_empty() {
            return Ok(Self::bare());
        }
        let path = match url.path() {
            "/" => WELL_KNOWN.to_owned(),
            path => format!("{WELL_KNOWN}{path}"),
        };
        let origin = format!(
            "{}://{}",
            url.scheme_str().unwrap_or_default(),
            url.authority().map_or("", |authority| authority.as_str())
        );
        let metadata_param = format!("resource_metadata=\"{origin}{path}\"");
        let first = if resource.initial_scopes.is_empty() {
            &resource.scopes_supported
        } else {
            &resource.initial_scopes
        };
        let scope = scope_param(first.iter().map(String::as_str));
        let metadata = Metadata {
            resource: &resource.url,
            authorization_servers: &resource.authorization_servers,
            scopes_supported: &resource.scopes_supported,
            bearer_methods_supported: ["header"],
            resource_name: &resource.name,
        };
        let json = serde_json::to_vec(&metadata).expect("strings and lists always serialize");
        Ok(Self {
            missing: header(&format!("Bearer {metadata_param}{scope}")),
            invalid: header(&format!("Bearer error=\"invalid_token\", {metadata_param}{scope}")),
            metadata_param: format!(", {metadata_param}"),
            metadata: Some((path, Bytes::from(json))),
        })
    }

    pub(super) fn unauthorized(&self, credential_presented: bool) -> HeaderValue {
        if credential_presented { self.invalid.clone() } else { self.missing.clone() }
    }

    pub(super) fn insufficient_scope(&self, needed: &[&str]) -> HeaderValue {
        let scope = scope_param(needed.iter().copied());
        header(&format!("Bearer error=\"insufficient_scope\"{scope}{}", self.metadata_param))
    }

    pub(super) fn metadata_json(&self) -> Option<Bytes> {
        self.metadata.as_ref().map(|(_, json)| json.clone())
    }

    pub(super) fn metadata_path(&self) -> Option<&str> {
        self.metadata.as_ref().map(|(path, _)| path.as_str())
    }
}

/// `, scope="a b"`, of the scopes that are well formed; nothing if none is.
fn scope_param<'a>(scopes: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<&str> = scopes.filter(|scope| is_scope(scope)).collect();
    if list.is_empty() { String::new() } else { format!(", scope=\"{}\"", list.join(" ")) }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("urls and scopes were checked to be visible ascii")
}

/// Parses a URL that clients will be told: HTTPS, or HTTP on this machine for development.
fn parse_url(field: &'static str, url: &str) -> Result<Uri, ResourceError> {
    let refused = || ResourceError::Url { field, url: url.to_owned() };
    let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\#@".contains(&b));
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let host = uri.host().ok_or_else(refused)?;
    let scheme_fits = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    };
    if plain && scheme_fits && uri.query().is_none() { Ok(uri) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource() -> ProtectedResource {
        ProtectedResource {
            url: "https://host.example/mcp".into(),
            authorization_servers: vec!["https://issuer.example".into()],
            scopes_supported: vec!["files:read".into(), "files:write".into()],
            initial_scopes: vec!["files:read".into()],
            name: "Roothold".into(),
        }
    }

    #[test]
    fn the_challenge_names_metadata_and_first_scopes() {
        let made = Challenges::new(&resource()).unwrap();
        let place =
            "resource_metadata=\"https://host.example/.well-known/oauth-protected-resource/mcp\"";
        assert_eq!(made.unauthorized(false), format!("Bearer {place}, scope=\"files:read\""));
        assert_eq!(
            made.unauthorized(true),
            format!("Bearer error=\"invalid_token\", {place}, scope=\"files:read\"")
        );
        assert_eq!(
            made.insufficient_scope(&["files:read", "files:write"]),
            format!(
                "Bearer error=\"insufficient_scope\", scope=\"files:read files:write\", {place}"
            )
        );
    }

    #[test]
    fn the_metadata_document_is_rfc_9728() {
        let made = Challenges::new(&resource()).unwrap();
        assert_eq!(made.metadata_path(), Some("/.well-known/oauth-protected-resource/mcp"));
        let json: serde_json::Value =
            serde_json::from_slice(&made.metadata_json().unwrap()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "resource": "https://host.example/mcp",
                "authorization_servers": ["https://issuer.example"],
                "scopes_supported": ["files:read", "files:write"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Roothold",
            })
        );
    }

    #[test]
    fn without_an_issuer_there_is_no_metadata() {
        let made =
            Challenges::new(&ProtectedResource { authorization_servers: vec![], ..resource() })
                .unwrap();
        assert_eq!(made.metadata_json(), None);
        assert_eq!(made.unauthorized(false), "Bearer realm=\"mcp\"");
        assert_eq!(made.insufficient_scope(&[]), "Bearer error=\"insufficient_scope\"");
    }

    #[test]
    fn urls_and_scopes_are_checked_at_start() {
        for url in [
            "http://host.example/mcp",
            "/mcp",
            "https://",
            "https://u@host/mcp",
            "https://host/mcp#x",
            "https://host/mcp?x",
            "ftp://host/mcp",
            "https://ho st/",
        ] {
            let made = Challenges::new(&ProtectedResource { url: url.into(), ..resource() });
            assert!(matches!(made, Err(ResourceError::Url { .. })), "{url}");
        }
        for url in ["http://localhost:8000/mcp", "http://[::1]:8000/mcp", "https://host"] {
            Challenges::new(&ProtectedResource { url: url.into(), ..resource() }).unwrap();
        }
        for scope in ["a b", "offline_access", ""] {
            let made = ProtectedResource { scopes_supported: vec![scope.into()], ..resource() };
            assert_eq!(Challenges::new(&made).unwrap_err(), ResourceError::Scope(scope.into()));
        }
    }
}
