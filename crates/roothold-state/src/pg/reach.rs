//! What a process must be able to reach for its connections, for whoever builds a wall around it.

use tokio_postgres::config::{Host, SslMode};

use super::{PgOptions, dsn};
use crate::error::OpenError;

/// What connections need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PgReach {
    /// The TCP ports that are connected to.
    pub ports: Vec<u16>,
    /// Whether a host is named, so that its address is looked up, again after each outage.
    pub looks_up: bool,
    /// Whether TLS is spoken, for which the system's authorities are read.
    pub tls: bool,
}

/// PostgreSQL's own port, where none is named.
const PORT: u16 = 5432;

impl PgOptions {
    /// What connections by these options need.
    ///
    /// # Errors
    /// [`OpenError`], when the options are wrong or unsafe.
    pub fn reach(&self) -> Result<PgReach, OpenError> {
        self.check()?;
        let config = dsn::parse(&self.url, self.plaintext)?;
        let over_tcp = |host: &Host| matches!(host, Host::Tcp(_));
        let is_name = |host: &Host| match host {
            Host::Tcp(name) => name.parse::<std::net::IpAddr>().is_err(),
            Host::Unix(_) => false,
        };
        let addresses = config.get_hostaddrs();
        let has_tcp = !addresses.is_empty() || config.get_hosts().iter().any(over_tcp);
        let mut ports = config.get_ports().to_vec();
        if ports.is_empty() {
            ports.push(PORT);
        }
        ports.retain(|_| has_tcp);
        Ok(PgReach {
            ports,
            looks_up: addresses.is_empty() && config.get_hosts().iter().any(is_name),
            tls: config.get_ssl_mode() != SslMode::Disable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(url: &str) -> PgReach {
        PgOptions { url: url.to_owned(), ..PgOptions::default() }.reach().unwrap()
    }

    #[test]
    fn what_connections_need_follows_from_where_the_server_is() {
        let remote = reach("postgresql://u:p@db.example.com/roothold");
        assert_eq!(remote, PgReach { ports: vec![5432], looks_up: true, tls: true });
        let local = reach("postgresql://u@127.0.0.1:5433/roothold");
        assert_eq!(local, PgReach { ports: vec![5433], looks_up: false, tls: false });
        let socket = reach("host=/run/postgresql user=u");
        assert_eq!(socket, PgReach::default());
    }

    #[test]
    fn an_unsafe_string_is_refused() {
        let url = "postgresql://u:p@db.example.com/roothold?sslmode=disable".to_owned();
        assert!(PgOptions { url, ..PgOptions::default() }.reach().is_err());
    }
}
