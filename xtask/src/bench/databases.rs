//! `bench databases`: what a query costs over HTTP, how many callers share few connections, and how
//! soon a query that nobody waits for is gone, all on a PostgreSQL server that the bench starts.
//!
//! The references come from the same run: `pgbench` for latencies, and for processor time a bare
//! handler that sends the same statements, which is checked in the server's log.

mod bare;
mod cancel;
mod cost;
mod load;
mod pgbench;
mod recipe;
mod watched;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use roothold_testing::Postgres;
use serde_json::Value;

use super::Options;
use super::client::{Era, tools_call};
use super::process::{Server, free_addr, pin_client};
use super::report::Row;
use super::server::path_text;

pub(super) use bare::run as bare;

/// What the reference for processor time is called.
const BARE: &str = "bare handler, same statements";
/// Connections to the database, of the server, of the bare handler and of pgbench.
const CONNECTIONS: usize = 8;
/// Rows of the table that is asked.
const ITEMS: u32 = 100_000;
/// The database, and the role that reads it.
const NAME: &str = "bench";
/// A role that is the same, and of which the server writes down every statement.
const WATCHED: &str = "watched";

/// The question: one row by its primary key.
const LOOKUP: &str = "SELECT id, name, amount FROM items WHERE id = $1";

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        if options.wants(load::NAME) || options.wants(cancel::NAME) {
            // Wherever there is a free core, as in operation.
            let site = Site::new().await?;
            if options.wants(load::NAME) {
                rows.extend(load::run(&site, options).await?);
            }
            if options.wants(cancel::NAME) {
                rows.extend(cancel::run(&site, options).await?);
            }
        }
        if options.wants(cost::NAME) {
            // What is started from here on shares the client's core; the measured server has its own.
            pin_client()?;
            let site = Site::new().await?;
            watched::same_statements(&site).await?;
            rows.extend(cost::run(&site, options).await?);
        }
        Ok(rows)
    })
}

/// A PostgreSQL server with something in it, and a folder for what asks it.
struct Site {
    postgres: Postgres,
    dir: tempfile::TempDir,
    /// The folder of the programs: `TARGET/PROFILE`.
    programs: PathBuf,
}

impl Site {
    async fn new() -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let programs = here.parent().context("the bench lies in a folder")?.to_owned();
        let site = Self { postgres: Postgres::start(), dir: tempfile::tempdir()?, programs };
        let setup = format!(
            "CREATE TABLE items (id int PRIMARY KEY, name text, amount int); INSERT INTO items \
             SELECT i, 'item ' || i, i * 10 FROM generate_series(1, {ITEMS}) i; ANALYZE items; \
             CREATE ROLE {WATCHED} LOGIN IN ROLE {NAME}; ALTER ROLE {WATCHED} SET search_path = app; \
             ALTER ROLE {WATCHED} SET log_min_duration_statement = 0"
        );
        site.postgres.database(NAME, &setup).await;
        site.postgres.say(NAME, "VACUUM app.items").await;
        Ok(site)
    }

    fn dsn(&self, role: &str) -> String {
        self.postgres.url(role, NAME)
    }

    /// Starts the server, on the cores named, asking as `role`.
    fn roothold(&self, cores: &str, role: &str) -> anyhow::Result<Server> {
        let addr = free_addr()?;
        let config = self.dir.path().join("roothold.toml");
        std::fs::write(&config, self.configuration(addr, free_addr()?, role)?)?;
        let config = path_text(&config)?;
        let program = self.programs.join("roothold");
        Server::start_on(cores, &program, &["serve", "--config", &config], addr)
    }

    /// Starts the bare handler.
    fn bare(&self, cores: &str, role: &str) -> anyhow::Result<Server> {
        let addr = free_addr()?;
        let args = ["bench", "bare-databases", &addr.to_string(), &self.dsn(role)];
        Server::start_on(cores, &self.programs.join("xtask"), &args, addr)
    }

    /// The least that an operator would write: what is not said here is measured at its default.
    fn configuration(
        &self,
        listen: SocketAddr,
        telemetry: SocketAddr,
        role: &str,
    ) -> anyhow::Result<String> {
        let root = self.dir.path().join("root");
        std::fs::create_dir_all(&root)?;
        let (root, audit) = (path_text(&root)?, path_text(&self.dir.path().join("audit"))?);
        Ok(format!(
            r#"[server]
listen = "{listen}"

[[roots]]
name = "bench"
path = "{root}"

[[databases]]
name = "{NAME}"
kind = "postgres"
dsn = "{dsn}"
pool_size = {CONNECTIONS}

[audit]
dir = "{audit}"

[telemetry]
listen = "{telemetry}"
"#,
            dsn = self.dsn(role)
        ))
    }
}

/// The call that asks for one row.
fn lookup(addr: SocketAddr, id: u32) -> Vec<u8> {
    call(addr, LOOKUP, &format!("[{id}]"))
}

/// A call of `query_database`; `parameters` is JSON.
fn call(addr: SocketAddr, sql: &str, parameters: &str) -> Vec<u8> {
    let sql = Value::from(sql);
    let arguments = format!(r#"{{"database":"{NAME}","sql":{sql},"parameters":{parameters}}}"#);
    tools_call(Era::Modern, addr, "query_database", &arguments)
}

/// Keys all over the table, so that no page of it is the only one.
fn keys(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|turn| turn.wrapping_mul(2_654_435_761) % ITEMS + 1)
}

/// Whoever answers must answer with the row.
async fn answers_rightly(server: &Server) -> anyhow::Result<()> {
    let id = 4_711;
    let body = super::client::body(server.addr, &lookup(server.addr, id)).await?;
    let answer: Value = serde_json::from_slice(&body)?;
    let row = &answer["result"]["structuredContent"]["rows"][0];
    let expected = serde_json::json!([id, format!("item {id}"), id * 10]);
    ensure!(*row == expected, "the row is {row}, not {expected}: {answer}");
    Ok(())
}
