//! The addresses that a server listens on, before it does: whether this machine has them, and whether
//! one keeps the server from the other.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use crate::builder::StartError;
use crate::config::Config;
use crate::passing::is_of_the_address;

/// The addresses of the private port that `host:port` means; none for an empty text.
///
/// # Errors
/// For a name that leads to none.
pub(crate) fn private(listen: &str) -> Result<Vec<SocketAddr>, StartError> {
    if listen.is_empty() {
        return Ok(Vec::new());
    }
    listen.to_socket_addrs().map(Iterator::collect).map_err(|error| unusable(listen, &error))
}

/// Why the private port cannot be listened on.
pub(super) fn unusable(listen: &str, error: &io::Error) -> StartError {
    let what = format!(
        "telemetry.listen: {listen} cannot be used ({error}); choose another address, or \"\" for none"
    );
    if is_of_the_address(error) { StartError::Unavailable(what) } else { StartError::Front(what) }
}

/// Refuses an address for the private port that the main one takes.
///
/// # Errors
/// In one sentence with the key and the mend.
pub(super) fn refuse_same(main: SocketAddr, listen: &str) -> Result<(), StartError> {
    let found = private(listen)?;
    if found.is_empty() || !found.iter().all(|address| overlap(main, *address)) {
        return Ok(());
    }
    Err(StartError::Front(format!(
        "telemetry.listen: {listen} is the address of server.listen, {main}; choose another port, or \"\" for none"
    )))
}

/// Whether who listens on one address keeps others from the other. The system chooses a free port for 0.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let every = |address: IpAddr| address.is_unspecified();
    let (host, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // Who listens on `[::]` has every address of both kinds.
    let has = |all: IpAddr, one: IpAddr| every(all) && (all.is_ipv6() || one.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (host == other || has(host, other) || has(other, host))
}

/// Whether this machine has the addresses of a configuration, and its user may have their ports. Whether these are
/// free is not asked: the server that has them may be the one that is to be started anew.
///
/// # Errors
/// In one sentence with the key and the mend.
pub(crate) fn could_listen(config: &Config) -> Result<(), StartError> {
    let listen = config.server.listen;
    could_bind(listen).map_err(|error| {
        StartError::Front(format!(
            "server.listen: {listen} cannot be used ({error}); choose another address"
        ))
    })?;
    let name = &config.telemetry.listen;
    // The first that can be used is.
    let tried = private(name)?.into_iter().map(could_bind);
    tried.reduce(Result::or).unwrap_or(Ok(())).map_err(|error| unusable(name, &error))
}

/// Takes an address without listening on it, and gives it back.
fn could_bind(address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket(family, SocketType::STREAM, None)?;
    // Else who really listens could not, for a moment.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    match bind(&socket, &address) {
        Ok(()) | Err(Errno::ADDRINUSE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_port_is_another_than_the_main_one() {
        for (main, listen, good) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", false),
            ("127.0.0.1:8000", "0.0.0.0:8000", false),
            ("0.0.0.0:8000", "127.0.0.1:8000", false),
            ("[::]:8000", "127.0.0.1:8000", false),
            ("127.0.0.1:8000", "[::ffff:127.0.0.1]:8000", false),
            ("127.0.0.1:8000", "127.0.0.1:9464", true),
            ("127.0.0.1:8000", "127.0.0.2:8000", true),
            ("0.0.0.0:8000", "[::1]:8000", true),
            ("127.0.0.1:0", "127.0.0.1:0", true),
            ("127.0.0.1:8000", "", true),
        ] {
            let refused = refuse_same(main.parse().unwrap(), listen);
            assert_eq!(refused.is_ok(), good, "{main} and {listen}: {refused:?}");
        }
    }

    #[test]
    fn an_address_is_this_machines_or_not_and_a_port_that_is_taken_no_reason() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        could_bind(taken.local_addr().unwrap()).unwrap();
        could_bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let error = could_bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let of = |text: &str| could_listen(&toml::from_str(text).unwrap());
        let main = "[server]\nlisten = \"127.0.0.1:0\"\n[telemetry]\n";
        of(&format!("{main}listen = \"\"\n")).unwrap();
        let said = of(&format!("{main}listen = \"192.0.2.1:1\"\n")).unwrap_err().to_string();
        assert!(said.starts_with("telemetry.listen: 192.0.2.1:1 cannot be used"), "{said}");
        // While it is asked, somebody else can listen.
        let free = taken.local_addr().unwrap();
        drop(taken);
        let family = AddressFamily::INET;
        let asking = socket(family, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&asking, true).unwrap();
        bind(&asking, &free).unwrap();
        std::net::TcpListener::bind(free).unwrap();
    }
}
