//! The connection string: what it asks of TLS, and whether that is safe.
//!
//! The driver knows fewer modes of TLS than PostgreSQL's own clients, and takes what it does not
//! get in the clear. Here TLS always means that certificate and name are verified, and the clear
//! is for this machine alone, unless the configuration says otherwise in words.

use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::OpenError;

const SSLMODE: &str = "sslmode";

/// Reads a connection string: `postgresql://…` or `key=value …`.
///
/// # Errors
/// It does not read, or asks for what is unsafe. No part of it is in the error: it may hold a password.
pub(super) fn parse(url: &str, plaintext_allowed: bool) -> Result<Config, OpenError> {
    let (rest, mode) = without_sslmode(url).ok_or_else(unreadable)?;
    let mut config: Config = rest.parse().map_err(|_| unreadable())?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return refused("state.postgres names no host");
    }
    let local = is_local(&config);
    let tls = match mode.as_deref() {
        None => !local,
        Some("require" | "verify-ca" | "verify-full") => true,
        Some("disable" | "allow" | "prefer") if local || plaintext_allowed => false,
        Some("disable" | "allow" | "prefer") => {
            return refused(
                "state.postgres would send jobs and password in the clear to another machine; leave \
                 sslmode out or say verify-full, or allow it with state.plaintext = true",
            );
        }
        Some(_) => {
            return refused(
                "state.postgres: sslmode is verify-full (what require and verify-ca mean here too) or disable",
            );
        }
    };
    config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
    Ok(config)
}

fn refused<T>(text: &str) -> Result<T, OpenError> {
    Err(OpenError::Options(text.to_owned()))
}

fn unreadable() -> OpenError {
    OpenError::Options(
        "state.postgres does not read as a connection string: write postgresql://user:password@host/database, \
         with special characters of the password percent-encoded; certificates of your own \
         authority are named by state.tls_ca_file"
            .to_owned(),
    )
}

/// Whether every address that may be connected to is of this machine.
fn is_local(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        #[cfg(unix)]
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

/// The string without its `sslmode`, and that. `None`: it does not read.
fn without_sslmode(text: &str) -> Option<(String, Option<String>)> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return without_keyword(text);
    }
    // As the driver reads it: the first @ ends the password, which may hold a question mark.
    let host = text.find('@').map_or(0, |at| at + 1);
    let Some(query) = text[host..].find('?').map(|at| host + at) else {
        return Some((text.to_owned(), None));
    };
    let (mut kept, mut mode) = (Vec::new(), None);
    for pair in text[query + 1..].split('&') {
        match pair.split_once('=') {
            Some((SSLMODE, value)) => mode = Some(value.to_owned()),
            _ => kept.push(pair),
        }
    }
    let mut rest = text[..query].to_owned();
    if !kept.is_empty() {
        rest.push('?');
        rest.push_str(&kept.join("&"));
    }
    Some((rest, mode))
}

/// The same of the form `key=value key='quoted value'`.
fn without_keyword(text: &str) -> Option<(String, Option<String>)> {
    let (mut kept, mut mode) = (String::new(), None);
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let end = value_end(after)?;
        if key.trim() == SSLMODE {
            mode = Some(after[..end].trim_matches('\'').to_owned());
        } else {
            kept.push_str(key.trim());
            kept.push('=');
            kept.push_str(&after[..end]);
            kept.push(' ');
        }
        rest = after[end..].trim_start();
    }
    Some((kept, mode))
}

/// Where the value at the beginning of `text` ends.
fn value_end(text: &str) -> Option<usize> {
    let quoted = text.starts_with('\'');
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if quoted => return Some(at + 1),
            c if !quoted && c.is_whitespace() => return Some(at),
            _ => {}
        }
    }
    (!quoted).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        parse(url, false).unwrap_or_else(|error| panic!("{url}: {error}")).get_ssl_mode()
    }

    #[test]
    fn other_machines_are_reached_over_tls() {
        for url in [
            "postgresql://u:p@db.example/jobs",
            "postgres://u:p@db.example/jobs?sslmode=verify-full",
            "postgres://u:p@db.example/jobs?application_name=x&sslmode=require",
            "postgres://u:what?@db.example/jobs?sslmode=verify-ca&connect_timeout=3",
            "host=db.example user=u password='a b' sslmode=verify-full",
            "host = db.example user=u",
            "host=10.0.0.1 user=u sslmode='require'",
            "host=localhost hostaddr=10.0.0.1 user=u",
            "host=localhost,db.example user=u",
        ] {
            assert_eq!(mode(url), SslMode::Require, "{url}");
        }
    }

    #[test]
    fn this_machine_is_reached_in_the_clear_unless_tls_is_asked_for() {
        for url in [
            "postgresql://u:p@localhost/jobs",
            "postgresql://u:p@127.0.0.1/jobs?sslmode=disable",
            "postgresql://u:p@[::1]/jobs?sslmode=prefer",
            "host=/var/run/postgresql user=u",
        ] {
            assert_eq!(mode(url), SslMode::Disable, "{url}");
        }
        assert_eq!(mode("host=localhost user=u sslmode=verify-full"), SslMode::Require);
    }

    #[test]
    fn the_clear_to_another_machine_is_refused_unless_allowed_in_words() {
        for word in ["disable", "allow", "prefer"] {
            let url = format!("postgresql://u:p@db.example/jobs?sslmode={word}");
            let error = parse(&url, false).unwrap_err().to_string();
            assert!(error.contains("in the clear"), "{error}");
            assert_eq!(parse(&url, true).unwrap().get_ssl_mode(), SslMode::Disable);
        }
        assert_eq!(
            parse("host=db.example user=u", true).unwrap().get_ssl_mode(),
            SslMode::Require,
            "allowing it does not ask for it"
        );
    }

    #[test]
    fn no_error_holds_a_part_of_the_string() {
        for url in [
            "postgresql://u:s3cr3t@db.example/jobs?s3cr3t=s3cr3t",
            "postgresql://u:s3cr3t@db.example:s3cr3t/jobs",
            "postgresql://u:s3cr3t@db.example/jobs?sslmode=s3cr3t",
            "postgresql://u:s3cr3t@db.example/jobs?sslmode=disable",
            "postgresql://u:s3cr3t@db.example/jobs?sslrootcert=s3cr3t",
            "host=h password=very s3cr3t",
            "host=h password='s3cr3t",
            "host=h s3cr3t=1",
            "user=u password=s3cr3t",
            "s3cr3t",
            "mysql://u:s3cr3t@db.example/jobs",
            "",
        ] {
            let error = parse(url, false).map(|_| ()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_not_about_tls_stays_as_it_was() {
        let config =
            parse("host=localhost password='a\\'b c' user=u sslmode=disable", false).unwrap();
        assert_eq!(config.get_password(), Some(&b"a'b c"[..]));
        assert_eq!(config.get_user(), Some("u"));
        let config =
            parse("postgres://u:a%40b@localhost/d?sslmode=disable&application_name=n", false);
        let config = config.unwrap();
        assert_eq!(config.get_password(), Some(&b"a@b"[..]));
        assert_eq!(config.get_application_name(), Some("n"));
    }
}
