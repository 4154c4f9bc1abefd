//! Connections: how the server is reached, what is learnt of it first, and how many there are.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::poll_fn;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::types::Type;
use tokio_postgres::{CancelToken, Client, Config, Connection, NoTls};
use tokio_postgres_rustls_improved::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::dsn;
use super::error::{Trouble, is_too_large};
use super::frame::{Framed, FramedTls};
use super::socket::Socket;
use crate::spec::{SourceSpec, SpecError};

/// A message of the server may be larger than the answer by this: names of columns, errors.
const MESSAGE_SLACK: usize = 256 << 10;
/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Types of a database's own that new connections learn at once.
const TYPES_MAX: usize = 200;

/// One address of the server.
#[derive(Debug, Clone)]
enum Address {
    Tcp { host: String, port: u16 },
    Resolved { host: String, at: SocketAddr },
    Unix { path: std::path::PathBuf },
}

/// How the server is reached.
pub(super) struct Way {
    config: Config,
    addresses: Vec<Address>,
    tls: Option<MakeRustlsConnect>,
    message_bytes_max: usize,
    tasks: TaskTracker,
    /// Types of the database's own that results had.
    types: Mutex<Vec<Type>>,
    /// The role's own time limits, in milliseconds; 0 is none.
    limits: Mutex<RoleLimits>,
}

/// What the role is set to, in milliseconds; 0 is no limit. It is never loosened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RoleLimits {
    pub(super) statement: u64,
    pub(super) lock: u64,
    pub(super) idle: u64,
    /// Whether the server can look, while it works, whether its client is still there (from 14 on).
    pub(super) looks_for_client: bool,
}

impl Way {
    pub(super) fn of(spec: &SourceSpec, tasks: TaskTracker) -> Result<Self, SpecError> {
        let mut config =
            dsn::parse(spec.dsn.expose(), spec.plaintext).map_err(|what| spec.wrong(what))?;
        if config.get_application_name().is_none() {
            config.application_name("roothold");
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(
                tls(spec.ca_pem.as_deref()).map_err(|what| spec.wrong(what))?,
            )),
        };
        Ok(Self {
            addresses: addresses(&config),
            config,
            tls,
            message_bytes_max: spec.limits.bytes_max + MESSAGE_SLACK,
            tasks,
            types: Mutex::default(),
            limits: Mutex::default(),
        })
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) fn answer_bytes_max(&self) -> usize {
        self.message_bytes_max - MESSAGE_SLACK
    }

    pub(super) fn role_limits(&self) -> RoleLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a type of the database's own, so that later connections know it from the start.
    pub(super) fn remember(&self, kind: &Type) {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        if types.len() < TYPES_MAX && !types.contains(kind) {
            types.push(kind.clone());
        }
    }

    async fn connect(&self) -> Result<Conn, Trouble> {
        let mut last = Trouble::Unreachable("there is no address to connect to".to_owned());
        for address in &self.addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.open_at(address)).await {
                Ok(Ok(conn)) => return Ok(conn),
                // The server answered: another address has no better word.
                Ok(Err(trouble @ Trouble::Said(_))) => return Err(trouble),
                Ok(Err(trouble)) => last = trouble,
                Err(_) => last = Trouble::Unreachable("no answer in time".to_owned()),
            }
        }
        Err(last)
    }

    async fn open_at(&self, address: &Address) -> Result<Conn, Trouble> {
        let stream = socket(address).await.map_err(|error| Trouble::of_io(&error))?;
        let (client, drive) = match &self.tls {
            None => {
                let framed = Framed::new(stream, self.message_bytes_max);
                let (client, connection) = self.config.connect_raw(framed, NoTls).await?;
                (client, self.drive(connection))
            }
            Some(make) => {
                let inner = connector(make, address)?;
                let tls = FramedTls { inner, bytes_max: self.message_bytes_max };
                let (client, connection) = self.config.connect_raw(stream, tls).await?;
                (client, self.drive(connection))
            }
        };
        Ok(Conn { client, address: address.clone(), drive })
    }

    /// Lets a connection run. What the server says unasked (notices may hold rows) is dropped.
    fn drive<S, T>(&self, mut connection: Connection<S, T>) -> Drive
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: TlsStream + Unpin + Send + 'static,
    {
        let too_large = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&too_large);
        let run = async move {
            let ended = poll_fn(|cx| {
                loop {
                    match std::task::ready!(connection.poll_message(cx)) {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return std::task::Poll::Ready(Some(error)),
                        None => return std::task::Poll::Ready(None),
                    }
                }
            });
            if ended.await.is_some_and(|error| is_too_large(&error)) {
                flag.store(true, Ordering::Release);
            }
        };
        Drive { task: self.tasks.spawn(run).abort_handle(), too_large }
    }

    /// Asks the server to cancel what runs on a connection.
    pub(super) async fn cancel(&self, cancel: &Cancel) {
        let asked = async {
            let Ok(stream) = socket(&cancel.address).await else { return };
            // What went wrong would help nobody: the socket is closed besides, and the server's
            // own time limit stands.
            let _ = match &self.tls {
                None => cancel.token.cancel_query_raw(stream, NoTls).await,
                Some(make) => match connector(make, &cancel.address) {
                    Ok(tls) => cancel.token.cancel_query_raw(stream, tls).await,
                    Err(_) => return,
                },
            };
        };
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, asked).await;
    }

    /// A connection of which is known what must be.
    pub(super) async fn open_known(&self) -> Result<Conn, Trouble> {
        let conn = self.connect().await?;
        self.greet(&conn).await?;
        Ok(conn)
    }

    /// What is learnt of a new connection: the role's own limits, and types of the database's own.
    async fn greet(&self, conn: &Conn) -> Result<(), Trouble> {
        let sql = "SELECT name::text, setting::int8 FROM pg_catalog.pg_settings WHERE name IN \
                   ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'client_connection_check_interval')";
        let mut limits = RoleLimits::default();
        for row in conn.client.query_typed(sql, &[]).await? {
            let value = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
            match row.try_get::<_, &str>(0)? {
                "statement_timeout" => limits.statement = value,
                "lock_timeout" => limits.lock = value,
                "client_connection_check_interval" => limits.looks_for_client = true,
                _ => limits.idle = value,
            }
        }
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        let types = self.types.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !types.is_empty() {
            let places: Vec<String> = (1..=types.len()).map(|n| format!("${n}")).collect();
            let ask = format!("SELECT {}", places.join(", "));
            if conn.client.prepare_typed(&ask, &types).await.is_err() {
                // One of them was dropped meanwhile: they are learnt anew.
                self.types.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
        Ok(())
    }
}

/// A connection to the server.
pub(super) struct Conn {
    pub(super) client: Client,
    address: Address,
    drive: Drive,
}

struct Drive {
    task: AbortHandle,
    too_large: Arc<AtomicBool>,
}

/// What cancels what runs on one connection.
pub(super) struct Cancel {
    token: CancelToken,
    address: Address,
}

impl Conn {
    pub(super) fn cancel(&self) -> Cancel {
        Cancel { token: self.client.cancel_token(), address: self.address.clone() }
    }

    /// Closes the socket, so that nothing more is sent.
    pub(super) fn hang_up(&self) {
        self.drive.task.abort();
    }

    /// Whether it ended because a message was too large.
    pub(super) fn met_too_large(&self) -> bool {
        self.drive.too_large.load(Ordering::Acquire)
    }
}

fn addresses(config: &Config) -> Vec<Address> {
    let ports = config.get_ports();
    let port = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(dsn::PORT);
    let hosts = config.get_hosts();
    let fixed = config.get_hostaddrs();
    (0..hosts.len().max(fixed.len()))
        .map(|at| match (hosts.get(at), fixed.get(at)) {
            (Some(Host::Unix(dir)), _) => {
                Address::Unix { path: dir.join(format!(".s.PGSQL.{}", port(at))) }
            }
            (Some(Host::Tcp(host)), None) => Address::Tcp { host: host.clone(), port: port(at) },
            (Some(Host::Tcp(host)), Some(ip)) => {
                Address::Resolved { host: host.clone(), at: SocketAddr::new(*ip, port(at)) }
            }
            (None, ip) => {
                let ip = ip.copied().unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
                Address::Resolved { host: ip.to_string(), at: SocketAddr::new(ip, port(at)) }
            }
        })
        .collect()
}

async fn socket(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Unix { path } => Socket::unix(path).await,
        Address::Tcp { host, port } => Socket::tcp((host.as_str(), *port)).await,
        Address::Resolved { at, .. } => Socket::tcp(at).await,
    }
}

type Connector = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

fn connector(make: &MakeRustlsConnect, address: &Address) -> Result<Connector, Trouble> {
    let name = match address {
        Address::Tcp { host, .. } | Address::Resolved { host, .. } => host.as_str(),
        Address::Unix { .. } => "localhost",
    };
    let mut make = make.clone();
    MakeTlsConnect::<Socket>::make_tls_connect(&mut make, name).map_err(|_| {
        Trouble::Unreachable("the host's name is none that a certificate has".to_owned())
    })
}

/// Certificates are verified with the given authorities, or with the system's.
fn tls(ca_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, &'static str> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "the TLS library knows no protocol version")?;
    let verified = match ca_pem {
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(crate::tls::named(pem)?);
            builder.with_root_certificates(roots)
        }
        None => builder
            .with_platform_verifier()
            .map_err(|_| "the system's certificates cannot be used; name a tls_ca_file")?,
    };
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

impl Way {
    /// The ports that are connected to, and whether a name is looked up, and TLS spoken.
    pub(super) fn reach(&self) -> crate::source::SourceReach {
        let mut reach =
            crate::source::SourceReach { tls: self.tls.is_some(), ..Default::default() };
        for address in &self.addresses {
            match address {
                Address::Tcp { host, port } => {
                    reach.ports.push(*port);
                    reach.looks_up |= host.parse::<std::net::IpAddr>().is_err();
                }
                Address::Resolved { at, .. } => reach.ports.push(at.port()),
                Address::Unix { .. } => {}
            }
        }
        reach
    }
}
