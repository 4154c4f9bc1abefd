//! Connections: how the server is reached, and what is learnt of it first.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use roothold_core::Fault;
use tokio_util::task::TaskTracker;

use super::dsn::{self, Target};
use super::error;
use crate::said::unreachable;
use crate::source::SourceReach;
use crate::spec::{SourceSpec, SpecError};
use crate::tls;

/// A message may be larger than the answer by this: a long statement, a row's smaller values.
const MESSAGE_SLACK: usize = 2 << 20;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that is gone is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// What the driver would ask the server for: its own pool, which is not used, would need it.
const WAIT_TIMEOUT_SECONDS: usize = 28_800;

/// How the server is reached.
pub(super) struct Way {
    opts: Opts,
    reach: SourceReach,
    answer_bytes_max: usize,
    cost_max: Option<f64>,
    database: Option<String>,
    tasks: TaskTracker,
}

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    MySql,
    MariaDb,
}

/// A connection to the server.
pub(super) struct Link {
    conn: Option<Conn>,
    pub(super) id: u32,
    pub(super) flavor: Flavor,
    /// How long the role lets a statement run, in milliseconds; 0 is no limit. It is never loosened.
    pub(super) role_time: u64,
}

impl Link {
    #[cfg(test)]
    pub(super) fn closed(flavor: Flavor, role_time: u64) -> Self {
        Self { conn: None, id: 0, flavor, role_time }
    }

    /// # Errors
    /// The connection was hung up.
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Fault> {
        self.conn.as_mut().ok_or_else(|| unreachable("the connection was hung up"))
    }

    pub(super) fn is_open(&self) -> bool {
        self.conn.as_ref().is_some_and(|conn| !conn.is_disconnected())
    }

    /// Closes the socket. The driver would read a result to its end first: so it gets one turn, in
    /// which it says goodbye if nothing is on its way, and is dropped.
    pub(super) fn hang_up(&mut self) {
        if let Some(conn) = self.conn.take() {
            let _ = futures::FutureExt::now_or_never(conn.disconnect());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl Way {
    pub(super) fn of(spec: &SourceSpec, tasks: TaskTracker) -> Result<Self, SpecError> {
        let target =
            dsn::parse(spec.dsn.expose(), spec.plaintext).map_err(|what| spec.wrong(what))?;
        let answer_bytes_max = spec.limits.bytes_max;
        let reach = SourceReach {
            ports: if target.socket.is_some() { Vec::new() } else { vec![target.port] },
            looks_up: target.socket.is_none() && target.host.parse::<std::net::IpAddr>().is_err(),
            tls: target.tls,
            file: None,
        };
        let roots = match (target.tls, &spec.ca_pem) {
            (false, _) => None,
            (true, Some(pem)) => Some(tls::named(pem)),
            (true, None) => Some(tls::of_system()),
        };
        let roots = roots.transpose().map_err(|what| spec.wrong(what))?;
        let ssl = roots.map(|roots| {
            let root = |root: rustls::pki_types::CertificateDer<'_>| root.to_vec().into();
            SslOpts::default()
                .with_root_certs(roots.into_iter().map(root).collect())
                .with_disable_built_in_roots(true)
        });
        let (database, cost_max) = (target.database.clone(), spec.limits.cost_max);
        let opts = opts(target, ssl, answer_bytes_max + MESSAGE_SLACK);
        Ok(Self { opts, reach, answer_bytes_max, cost_max, database, tasks })
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) fn reach(&self) -> SourceReach {
        self.reach.clone()
    }

    pub(super) fn answer_bytes_max(&self) -> usize {
        self.answer_bytes_max
    }

    pub(super) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    pub(super) fn cost_max(&self) -> Option<f64> {
        self.cost_max
    }

    async fn connect(&self) -> Result<Conn, Fault> {
        match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(self.opts.clone())).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(error)) => Err(error::of_connecting(&error)),
            Err(_) => Err(unreachable("no answer in time")),
        }
    }

    pub(super) async fn open(&self) -> Result<Link, Fault> {
        let mut conn = self.connect().await?;
        let ask = async {
            let version: Option<String> = conn.query_first("SELECT VERSION()").await?;
            let maria = version.is_some_and(|version| version.contains("MariaDB"));
            let flavor = if maria { Flavor::MariaDb } else { Flavor::MySql };
            let time = match flavor {
                Flavor::MariaDb => "SELECT CAST(CEIL(@@max_statement_time * 1000) AS UNSIGNED)",
                Flavor::MySql => "SELECT @@max_execution_time",
            };
            let role_time: Option<u64> = conn.query_first(time).await?;
            Ok::<_, mysql_async::Error>((flavor, role_time.unwrap_or(0)))
        };
        let asked = tokio::time::timeout(CONNECT_TIMEOUT, ask).await;
        let (flavor, role_time) = asked
            .map_err(|_| unreachable("no answer in time"))?
            .map_err(|error| error::of_connecting(&error))?;
        Ok(Link { id: conn.id(), conn: Some(conn), flavor, role_time })
    }

    /// Ends a connection from another one, and what runs on it with it. To kill the statement alone
    /// would find nothing between two messages of a call.
    pub(super) async fn kill(&self, id: u32) {
        let kill = async {
            // What went wrong would help nobody: the socket is closed besides, and the server's own
            // time limit stands.
            if let Ok(mut conn) = self.connect().await {
                let _ = conn.query_drop(format!("KILL {id}")).await;
                let _ = conn.disconnect().await;
            }
        };
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, kill).await;
    }
}

/// What the driver is to do, and what not: no files of ours for the server, no settings of the
/// server's, no socket that the server names, no passwords in the clear, no cache of statements.
fn opts(target: Target, ssl: Option<SslOpts>, message_bytes_max: usize) -> Opts {
    OptsBuilder::default()
        .ip_or_hostname(target.host)
        .tcp_port(target.port)
        .socket(target.socket)
        .user(Some(target.user))
        .pass(target.password)
        .db_name(target.database)
        .ssl_opts(ssl)
        .prefer_socket(false)
        .max_allowed_packet(Some(message_bytes_max))
        .wait_timeout(Some(WAIT_TIMEOUT_SECONDS))
        .tcp_keepalive(Some(KEEPALIVE))
        .stmt_cache_size(0)
        .enable_cleartext_plugin(false)
        .secure_auth(true)
        .into()
}
