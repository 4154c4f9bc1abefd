//! The connection string of a MySQL source, and whether what it asks of TLS is safe.
//!
//! TLS always means that certificate and name are verified. The clear is for this machine, unless
//! the source says otherwise in words.

use std::net::IpAddr;

use mysql_async::Opts;
use percent_encoding::percent_decode_str;

/// Where a server is, and whom we are to it.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// The socket of this machine that is used instead.
    pub(super) socket: Option<String>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) tls: bool,
}

/// Reads a connection string. `Err`: why not, in words, without any part of it.
pub(super) fn parse(text: &str, plaintext: bool) -> Result<Target, String> {
    let unreadable = || {
        "the connection string does not read: write mysql://user:password@host/database, with special \
         characters of the password percent-encoded"
            .to_owned()
    };
    let (url, settings) = text.split_once('?').unwrap_or((text, ""));
    let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"));
    let url = format!("mysql://{}", rest.ok_or_else(unreadable)?);
    let opts = Opts::from_url(&url).map_err(|_| unreadable())?;
    let user = opts.user().filter(|user| !user.is_empty()).ok_or_else(|| {
        "the connection string names no user: the role decides what can be read".to_owned()
    })?;
    let (mut socket, mut mode) = (None, None);
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| unreadable())?;
        match name {
            "socket" if value.starts_with('/') => socket = Some(value.into_owned()),
            "socket" => return Err("socket is the whole path of the server's socket".to_owned()),
            "ssl-mode" | "sslmode" => mode = Some(value.to_ascii_lowercase().replace('-', "_")),
            _ => {
                let text = "the connection string has a setting that is not known; there are socket and ssl-mode";
                return Err(text.to_owned());
            }
        }
    }
    let host = opts.ip_or_hostname().trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.is_empty() && socket.is_none() {
        return Err("the connection string names no host".to_owned());
    }
    let tls = tls(mode.as_deref(), socket.is_some(), is_local(&host), plaintext)?;
    Ok(Target {
        port: opts.tcp_port(),
        user: user.to_owned(),
        password: opts.pass().map(str::to_owned),
        database: opts.db_name().filter(|name| !name.is_empty()).map(str::to_owned),
        host,
        socket,
        tls,
    })
}

fn tls(mode: Option<&str>, socket: bool, local: bool, plaintext: bool) -> Result<bool, String> {
    let text = match mode {
        _ if socket => return Ok(false),
        None => return Ok(!local),
        Some("required" | "verify_ca" | "verify_identity") => return Ok(true),
        Some("disabled" | "preferred") if local || plaintext => return Ok(false),
        Some("disabled" | "preferred") => {
            "rows and password would go in the clear to another machine: leave ssl-mode out or say \
             verify_identity, or allow it with plaintext = true"
        }
        Some(_) => {
            "ssl-mode is verify_identity (what required and verify_ca mean here too) or disabled"
        }
    };
    Err(text.to_owned())
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls_of(text: &str) -> bool {
        parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}")).tls
    }

    #[test]
    fn another_machine_is_reached_over_tls() {
        assert!(tls_of("mysql://u:p@db.example.com/d"));
        assert!(tls_of("mysql://u:p@db.example.com/d?ssl-mode=VERIFY_IDENTITY"));
        assert!(tls_of("mariadb://u@localhost/d?ssl-mode=required"));
        assert!(!tls_of("mysql://u@127.0.0.1/d") && !tls_of("mysql://u@[::1]:3307"));
        assert!(!tls_of("mysql://u@anywhere/d?socket=/run/mysqld/mysqld.sock"));
        let open = "mysql://u:s3cr3t@db.example.com/d?ssl-mode=disabled";
        let refused = parse(open, false).err().unwrap();
        assert!(refused.contains("plaintext = true") && !refused.contains("s3cr3t"), "{refused}");
        assert!(!parse(open, true).ok().unwrap().tls);
    }

    #[test]
    fn names_and_passwords_are_decoded() {
        let target = parse("mysql://u%40x:p%2F%3F%C3%A9@[::1]/d", false).ok().unwrap();
        assert_eq!((target.user.as_str(), target.password.as_deref()), ("u@x", Some("p/?é")));
        assert_eq!((target.host.as_str(), target.port), ("::1", 3306));
        assert_eq!(target.database.as_deref(), Some("d"));
        let bare = parse("mysql://u@localhost:3310", false).ok().unwrap();
        assert_eq!((bare.port, bare.database, bare.password), (3310, None, None));
    }

    #[test]
    fn what_does_not_read_is_refused_without_a_word_of_it() {
        for text in [
            "s3cr3t",
            "mysql://u:s3cr3t@h:x/d",
            "postgresql://u:s3cr3t@h/d",
            "mysql://h/s3cr3t",
            "mysql://u:s3cr3t@h/d?ssl-mode=never",
            "mysql://u@h/d?s3cr3t=1",
            "mysql://u@h/d?socket=s3cr3t",
            "mysql://u@h/d?socket=/%ff%fe",
        ] {
            let refused = parse(text, false).err().unwrap_or_else(|| panic!("{text} reads"));
            assert!(!refused.contains("s3cr3t"), "{refused}");
        }
    }
}
