//! The hosts by which the private port is asked where it listens on loopback.
//!
//! A page in a browser on the same machine can have a name of its own lead to loopback, and read what is
//! answered to it. Who is asked by a name that is none of theirs does not answer. On other addresses a
//! port has names that the server does not know, and who reaches it is the network's to say.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, header};

use crate::config::Config;

/// Which names are meant.
pub(in crate::serve) struct Hosts {
    /// Besides loopback's own; none, where every name is.
    named: Option<Vec<String>>,
}

impl Hosts {
    /// Those of the port at `address`.
    pub(in crate::serve) fn of(address: Option<SocketAddr>, config: &Config) -> Self {
        let is_loopback = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        let configured = config.telemetry.listen.rsplit_once(':').map(|(host, _)| host.to_owned());
        let named = || configured.into_iter().chain(config.server.allowed_hosts.clone()).collect();
        Self { named: is_loopback.then(named) }
    }

    /// Whether a request means this port. One that names no host is from no browser.
    pub(super) fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(named) = &self.named else { return true };
        let mut hosts = headers.get_all(header::HOST).into_iter();
        let (first, second) = (hosts.next(), hosts.next());
        let Some(first) = first else { return true };
        let authority = first.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
        second.is_none() && authority.is_some_and(|authority| is_one_of(&authority, named))
    }
}

fn is_one_of(authority: &Authority, named: &[String]) -> bool {
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    let spellings = [host, bare, authority.as_str()];
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse().is_ok_and(is_loopback)
        || named.iter().any(|one| spellings.iter().any(|name| name.eq_ignore_ascii_case(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &str, text: &str) -> Hosts {
        Hosts::of(Some(address.parse().unwrap()), &toml::from_str(text).unwrap())
    }

    fn admits(hosts: &Hosts, names: &[&str]) -> bool {
        let names = names.iter().map(|name| (header::HOST, name.parse().unwrap()));
        hosts.admit(&names.collect())
    }

    #[test]
    fn on_loopback_it_is_asked_by_names_that_lead_nowhere_else() {
        let of = hosts("127.0.0.1:9464", "[server]\nallowed_hosts = [\"watch.example\"]\n");
        for good in ["127.0.0.1:9464", "localhost:9464", "LOCALHOST", "[::1]:9464", "127.8.0.1"] {
            assert!(admits(&of, &[good]), "{good}");
        }
        assert!(admits(&of, &["Watch.example:9464"]) && admits(&of, &[]));
        for bad in ["evil.example:9464", "localhost.evil.example", "10.0.0.1", "", "a b"] {
            assert!(!admits(&of, &[bad]), "{bad}");
        }
        assert!(!admits(&of, &["localhost", "evil.example"]));
        assert!(!admits(&of, &["watch.example", "watch.example"]));
        let named = hosts("127.0.0.1:1", "[telemetry]\nlisten = \"metrics.internal:1\"\n");
        assert!(admits(&named, &["metrics.internal:1"]));
        assert!(!admits(&hosts("[::1]:1", ""), &["evil.example"]));
    }

    #[test]
    fn elsewhere_it_does_not_know_its_names() {
        assert!(admits(&hosts("0.0.0.0:9464", ""), &["roothold-0.pods.example:9464"]));
        assert!(admits(&hosts("10.1.2.3:9464", ""), &["10.1.2.3:9464"]));
    }
}
