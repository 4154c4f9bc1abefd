//! `Host` and `Origin`: the wall against DNS rebinding and foreign web pages.
//!
//! `X-Forwarded-Host` and `Forwarded` are never read. Invariant: a request passes only if its
//! authority is a loopback name or configured, and its origin, where there is one, is that
//! authority or configured.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// The names that requests may be addressed to, and come from.
#[derive(Debug)]
pub(crate) struct Names {
    hosts: Vec<(String, Option<u16>)>,
    origins: Vec<Allowed>,
}

#[derive(Debug, PartialEq)]
struct Allowed {
    scheme: String,
    host: String,
    port: Port,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Port {
    Any,
    Exactly(u16),
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the check of the origin found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Absent,
    Allowed,
    Foreign,
}

impl Names {
    /// Reads the configured names; the error is the entry that is none.
    pub(crate) fn new(
        hosts: &[String],
        origins: &[String],
        public_url: Option<&str>,
    ) -> Result<Self, String> {
        let mut names = Self { hosts: Vec::new(), origins: Vec::new() };
        for host in hosts {
            let parsed = split_authority(host).ok_or_else(|| host.clone())?;
            names.hosts.push(parsed);
        }
        if let Some(url) = public_url {
            let uri: Uri = url.parse().map_err(|_| url.to_owned())?;
            let host = uri.scheme().and_then(|_| uri.host()).ok_or_else(|| url.to_owned())?;
            names.hosts.push((host.to_ascii_lowercase(), None));
        }
        for origin in origins {
            names.origins.push(parse_allowed(origin).ok_or_else(|| origin.clone())?);
        }
        Ok(names)
    }

    /// Whether the request is addressed to one of our names.
    pub(crate) fn host_allowed(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(HOST).iter();
        let header = values.next().map(http::HeaderValue::as_bytes);
        if values.next().is_some() {
            return false;
        }
        let authority = uri.authority().map(http::uri::Authority::as_str);
        match (header, authority) {
            (Some(header), None) => self.authority_allowed(header),
            (None, Some(authority)) => self.authority_allowed(authority.as_bytes()),
            // both: an absolute-form target, or HTTP/2 with a Host; they must agree
            (Some(header), Some(authority)) => {
                header.eq_ignore_ascii_case(authority.as_bytes()) && self.authority_allowed(header)
            }
            (None, None) => false,
        }
    }

    fn authority_allowed(&self, authority: &[u8]) -> bool {
        let Some((host, port)) = std::str::from_utf8(authority).ok().and_then(split) else {
            return false;
        };
        let loopback = LOOPBACK.iter().any(|name| host.eq_ignore_ascii_case(name));
        loopback
            || self.hosts.iter().any(|(name, allowed)| {
                host.eq_ignore_ascii_case(name) && (allowed.is_none() || *allowed == port)
            })
    }

    /// Whether a page of the request's origin may call. The host must have been checked before.
    pub(crate) fn origin(&self, uri: &Uri, headers: &HeaderMap) -> Origin {
        let mut values = headers.get_all(ORIGIN).iter();
        let Some(value) = values.next() else { return Origin::Absent };
        if values.next().is_some() {
            return Origin::Foreign;
        }
        let Some(origin) = value.to_str().ok().and_then(parse_origin) else {
            return Origin::Foreign;
        };
        let host = match uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        let same = host.and_then(split).is_some_and(|(host, port)| {
            let default = default_port(&origin.scheme);
            host.eq_ignore_ascii_case(&origin.host)
                && Port::Exactly(port.or(default).unwrap_or(80)) == origin.port
        });
        let listed = self.origins.iter().any(|allowed| {
            allowed.scheme == origin.scheme
                && allowed.host == origin.host
                && (allowed.port == Port::Any || allowed.port == origin.port)
        });
        if same || listed { Origin::Allowed } else { Origin::Foreign }
    }
}

fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    split(text).map(|(host, port)| (host.to_ascii_lowercase(), port))
}

/// Splits `host[:port]`; an IPv6 host stands in brackets.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority[bracket..].find(':').map(|at| bracket + at),
        None => authority.find(':'),
    };
    let (host, port) = match colon {
        Some(at) => (&authority[..at], Some(authority[at + 1..].parse().ok()?)),
        None => (authority, None),
    };
    let odd = |byte: u8| byte.is_ascii_control() || matches!(byte, b' ' | b'/' | b'@' | b'\\');
    (!host.is_empty() && !host.bytes().any(odd)).then_some((host, port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn parse_origin(text: &str) -> Option<Allowed> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = split_authority(rest)?;
    let port = Port::Exactly(port.or_else(|| default_port(&scheme))?);
    Some(Allowed { scheme, host, port })
}

fn parse_allowed(text: &str) -> Option<Allowed> {
    match text.strip_suffix(":*") {
        Some(any) => {
            let (scheme, host) = any.split_once("://")?;
            let (host, port) = split_authority(host)?;
            let scheme = scheme.to_ascii_lowercase();
            port.is_none().then_some(Allowed { scheme, host, port: Port::Any })
        }
        None => parse_origin(text),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn names() -> Names {
        let origins = ["https://app.example.com".to_owned(), "http://localhost:*".to_owned()];
        let hosts = ["mcp.internal:8000".to_owned()];
        Names::new(&hosts, &origins, Some("https://mcp.example.com/mcp")).unwrap()
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[test]
    fn only_own_names_pass() {
        let uri = Uri::from_static("/mcp");
        for (host, passes) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:9", true),
            ("[::1]:9", true),
            ("mcp.example.com", true),
            ("mcp.internal:8000", true),
            ("mcp.internal:8001", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("localhost:x", false),
            ("127.0.0.1@evil.example", false),
            ("", false),
        ] {
            assert_eq!(names().host_allowed(&uri, &headers(host, None)), passes, "{host}");
        }
        let mut two = headers("localhost", None);
        two.append(HOST, HeaderValue::from_static("localhost"));
        assert!(!names().host_allowed(&uri, &two));
        assert!(!names().host_allowed(&uri, &HeaderMap::new()));
        let absolute = Uri::from_static("http://evil.example/mcp");
        assert!(!names().host_allowed(&absolute, &headers("localhost", None)));
    }

    #[test]
    fn only_own_and_configured_origins_pass() {
        let uri = Uri::from_static("/mcp");
        for (origin, found) in [
            (None, Origin::Absent),
            (Some("null"), Origin::Foreign),
            (Some("https://evil.example"), Origin::Foreign),
            (Some("https://app.example.com"), Origin::Allowed),
            (Some("http://app.example.com"), Origin::Foreign),
            (Some("https://app.example.com:8443"), Origin::Foreign),
            (Some("http://localhost:6274"), Origin::Allowed),
            (Some("http://127.0.0.1:8000"), Origin::Allowed),
            (Some("http://127.0.0.1:8001"), Origin::Foreign),
        ] {
            let found_here = names().origin(&uri, &headers("127.0.0.1:8000", origin));
            assert_eq!(found_here, found, "{origin:?}");
        }
    }
}
