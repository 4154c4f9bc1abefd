//! The connection string of a PostgreSQL source, and whether what it asks of TLS is safe.
//!
//! TLS always means that certificate and name are verified. The clear is for this machine, unless
//! the source says otherwise in words.

use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// PostgreSQL's own port.
pub(super) const PORT: u16 = 5432;

/// Reads a connection string. `Err`: why not, in words, without any part of it.
pub(super) fn parse(text: &str, plaintext: bool) -> Result<Config, String> {
    let (text, mode) = plain_mode(text);
    let unreadable = "the connection string does not read: write postgresql://user:password@host/database, \
                      with special characters of the password percent-encoded";
    let mut config: Config = text.parse().map_err(|_| unreadable.to_owned())?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the connection string names no host".to_owned());
    }
    if config.get_user().is_none() {
        return Err(
            "the connection string names no user: the role decides what can be read".to_owned()
        );
    }
    if config.get_options().is_some() {
        return Err(
            "the connection string sets options; set them for the role: ALTER ROLE … SET …"
                .to_owned(),
        );
    }
    let local = is_local(&config);
    let tls = match mode.as_deref() {
        None => !local,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some("disable" | "allow" | "prefer") if local || plaintext => false,
        Some("disable" | "allow" | "prefer") => {
            return Err(
                "rows and password would go in the clear to another machine: leave sslmode out or \
                        say verify-full, or allow it with plaintext = true"
                    .to_owned(),
            );
        }
        Some(_) => {
            return Err(
                "sslmode is verify-full (what require and verify-ca mean here too) or disable"
                    .to_owned(),
            );
        }
    };
    config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
    Ok(config)
}

/// Whether every address that may be connected to is of this machine.
fn is_local(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// The string with a mode of TLS that the driver reads, and the one that was written: the driver
/// knows fewer.
fn plain_mode(text: &str) -> (String, Option<String>) {
    const KEY: &str = "sslmode=";
    let url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let begins = |at: usize| {
        let before = text[..at].chars().next_back();
        // In a URL the driver ends the password at the first @.
        let behind_host = !url || text.find('@').is_none_or(|host| host < at);
        behind_host
            && before.is_none_or(|c| if url { c == '?' || c == '&' } else { c.is_whitespace() })
    };
    let Some(at) = text.match_indices(KEY).map(|(at, _)| at).find(|at| begins(*at)) else {
        return (text.to_owned(), None);
    };
    let value = at + KEY.len();
    let ends = |c: char| if url { c == '&' } else { c.is_whitespace() };
    let end = text[value..].find(ends).map_or(text.len(), |length| value + length);
    let mode = text[value..end].trim_matches('\'').to_owned();
    (format!("{}disable{}", &text[..value], &text[end..]), Some(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> SslMode {
        parse(text, false).unwrap().get_ssl_mode()
    }

    #[test]
    fn another_machine_is_reached_over_tls() {
        assert_eq!(mode("postgresql://u:p@db.example.com/d"), SslMode::Require);
        assert_eq!(
            mode("postgresql://u:p@db.example.com/d?sslmode=verify-full&application_name=x"),
            SslMode::Require
        );
        assert_eq!(mode("host=db.example.com sslmode='verify-ca' user=u"), SslMode::Require);
        assert_eq!(mode("postgresql://u@127.0.0.1/d"), SslMode::Disable);
        assert_eq!(mode("host=/run/postgresql user=u"), SslMode::Disable);
        assert_eq!(mode("postgresql://u@localhost/d?sslmode=require"), SslMode::Require);
        let open = "postgresql://u:s3cr3t@db.example.com/d?sslmode=disable";
        let refused = parse(open, false).unwrap_err();
        assert!(refused.contains("plaintext = true") && !refused.contains("s3cr3t"), "{refused}");
        assert_eq!(parse(open, true).unwrap().get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn what_does_not_read_is_refused_without_a_word_of_it() {
        for text in [
            "s3cr3t",
            "postgresql://u:s3cr3t@h:x/d",
            "user=s3cr3t",
            "host=s3cr3t",
            "postgresql://u:s3cr3t@h/d?sslmode=never",
            "postgresql://u@h/s3cr3t?options=-c%20a%3db",
        ] {
            let refused = parse(text, false).unwrap_err();
            assert!(!refused.contains("s3cr3t"), "{refused}");
        }
    }
}
