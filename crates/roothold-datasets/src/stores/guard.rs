//! What a store may talk to: the one server that it was configured with, and not every address
//! that its name may come to mean.
//!
//! **Invariant**: no request leaves for another host or port, and no answer sends one there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Limited};
use object_store_remote::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store_remote::{ClientOptions, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest answer that is no part of an object, in bytes: a page of a list, or an error.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a request was not sent, or its answer not taken; worded to follow the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "was not asked for: the name of its server leads to an address that may not be talked to; tell the operator"
    )]
    Address,
    #[error("was not asked for: the request would have gone to another server than the store's")]
    Host,
    #[error(
        "is answered with a redirect, which is not followed; the operator can configure the URL that it leads to"
    )]
    Redirect,
}

fn refuse(refused: Refused) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, refused)
}

/// Which addresses a store may talk to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    /// Its host is this machine, by that name or address.
    pub(super) loopback: bool,
    /// Addresses of one link are allowed in words.
    pub(super) link_local: bool,
}

impl Addresses {
    /// Whether an address may be talked to.
    pub(super) fn allow(self, address: IpAddr) -> bool {
        let address = plain(address);
        if address.is_loopback() {
            return self.loopback;
        }
        let is_nobody = match address {
            IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.octets()[0] >= 240,
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
        };
        !is_nobody && (self.link_local || !keeps_credentials(address))
    }
}

/// The IPv4 address that an IPv6 address is another form of.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let is_embedded = matches!(s, [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..])
        || (s[..6] == [0; 6] && s[6] != 0);
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [_, _, _, _, _, _, high, low] if is_embedded => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        _ => address,
    }
}

/// Addresses at which clouds give credentials to whoever asks from within: all of a link, and those
/// that some put elsewhere.
fn keeps_credentials(address: IpAddr) -> bool {
    const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const V6: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || V4.contains(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || V6.contains(&v6),
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, host) = (*self, name.as_str().to_owned());
        Box::pin(async move {
            let looked_up = tokio::task::spawn_blocking(move || {
                (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>)
            });
            let mut found = looked_up.await??;
            found.retain(|address| allowed.allow(address.ip()));
            if found.is_empty() {
                return Err(Refused::Address.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

/// The client of one store.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) client: reqwest::Client,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) addresses: Addresses,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HttpConnector for Guarded {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl Guarded {
    fn check(&self, request: &HttpRequest) -> std::result::Result<(), Refused> {
        let uri = request.uri();
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        if tls != self.tls || port != self.port || !host.eq_ignore_ascii_case(&self.host) {
            return Err(Refused::Host);
        }
        // An address is not looked up, so nobody else looks at it.
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) if !self.addresses.allow(address) => Err(Refused::Address),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
        self.check(&request).map_err(refuse)?;
        let response = self.client.call(request).await?;
        if response.status().is_redirection() {
            return Err(refuse(Refused::Redirect));
        }
        // A part of an object is as long as it was asked for, which whoever reads it looks at.
        if response.status().as_u16() == 206 {
            return Ok(response);
        }
        Ok(response.map(|body| {
            let limited = Limited::new(body, ANSWER_BYTES_MAX);
            let failed = |error| HttpError::new_boxed(HttpErrorKind::Decode, error);
            HttpResponseBody::new(limited.map_err(failed))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Addresses = Addresses { loopback: false, link_local: false };

    #[test]
    fn addresses_that_keep_credentials_are_talked_to_in_words_only_in_whatever_form() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            let address = text.parse().unwrap();
            assert!(!USUAL.allow(address), "{text}");
            assert!(Addresses { link_local: true, ..USUAL }.allow(address), "{text}");
        }
    }

    #[test]
    fn this_machine_is_talked_to_where_it_is_meant_and_nobody_never() {
        for text in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            let address = text.parse().unwrap();
            assert!(!USUAL.allow(address), "{text}");
            assert!(Addresses { loopback: true, ..USUAL }.allow(address), "{text}");
        }
        let all = Addresses { loopback: true, link_local: true };
        for text in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1"] {
            assert!(!all.allow(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "192.168.1.1", "52.216.0.1", "2600:1f00::1", "fd12::1"] {
            assert!(USUAL.allow(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_a_name_leads_to_is_looked_at_each_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let name = || "localhost".parse::<Name>().unwrap();
        let Err(error) = runtime.block_on(USUAL.resolve(name())) else {
            panic!("this machine is no store");
        };
        assert_eq!(error.downcast_ref(), Some(&Refused::Address));
        let here = Addresses { loopback: true, ..USUAL };
        assert!(runtime.block_on(here.resolve(name())).unwrap().count() > 0);
    }

    #[test]
    fn requests_go_to_one_server_only() {
        let guarded = Guarded {
            client: reqwest::Client::new(),
            host: "h".into(),
            port: 8080,
            tls: false,
            addresses: USUAL,
        };
        let check = |url: &str| {
            let mut request = HttpRequest::new(bytes::Bytes::new().into());
            *request.uri_mut() = url.parse().unwrap();
            guarded.check(&request)
        };
        assert_eq!(check("http://h:8080/a"), Ok(()));
        assert_eq!(check("http://H:8080/a"), Ok(()));
        for url in ["http://h/a", "https://h:8080/a", "http://i:8080/a", "http://h.i:8080/a"] {
            assert_eq!(check(url), Err(Refused::Host), "{url}");
        }
        let at = |host: &str| Guarded { host: host.into(), ..guarded.clone() };
        for host in ["169.254.169.254", "[fd00:ec2::254]", "127.0.0.1", "[::ffff:a9fe:a9fe]"] {
            let mut request = HttpRequest::new(bytes::Bytes::new().into());
            *request.uri_mut() = format!("http://{host}:8080/a").parse().unwrap();
            assert_eq!(at(host).check(&request), Err(Refused::Address), "{host}");
        }
    }
}
