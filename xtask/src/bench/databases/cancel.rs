//! How soon a query is gone from the database after its client hung up.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

use super::super::Options;
use super::super::client::Latencies;
use super::super::process::{BOTH_CORES, Server};
use super::super::report::{Goal, Row};
use super::{NAME as ROLE, Site, call};

pub(super) const NAME: &str = "query gone after its client hung up";

const GOAL: Goal = Goal::AtMost(200.0);
/// What is asked, and would take a minute.
const LONG: &str = "SELECT pg_sleep(60)";
/// When something is amiss.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(site: &Site, options: &Options) -> anyhow::Result<[Row; 2]> {
    let server = site.roothold(BOTH_CORES, ROLE)?;
    let dsn = format!("{}?sslmode=disable", site.dsn("postgres"));
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await?;
    let driven = tokio::spawn(connection);
    let mut times = Vec::new();
    for _ in 0..options.cancels() {
        times.push(hang_up(&server, &client).await?);
    }
    drop(client);
    driven.await??;
    let times = Latencies::of(times);
    Ok([row(&times, 0.99, Some(GOAL)), row(&times, 0.5, None)])
}

fn row(times: &Latencies, share: f64, goal: Option<Goal>) -> Row {
    let name = format!("{NAME}, p{:.0} of {}", share * 100.0, times.count());
    Row::new(name, "ms", times.percentile_us(share) / 1e3, None, goal)
}

/// Asks, waits until the database runs it, hangs up, and waits until it does no longer.
async fn hang_up(server: &Server, watch: &Client) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(server.addr).await.context("connecting")?;
    stream.set_nodelay(true)?;
    stream.write_all(&call(server.addr, LONG, "[]")).await?;
    let sleeps = "usename = $1 AND wait_event = 'PgSleep'";
    until(watch, sleeps, true).await.context("the query never ran")?;
    drop(stream);
    let began = Instant::now();
    let works = "usename = $1 AND state <> 'idle'";
    until(watch, works, false).await.context("the query still runs")?;
    Ok(began.elapsed())
}

/// Waits until there is a backend of this kind, or none.
async fn until(watch: &Client, kind: &str, there: bool) -> anyhow::Result<()> {
    let asked = format!("SELECT count(*) FROM pg_stat_activity WHERE {kind}");
    let asked = watch.prepare(&asked).await?;
    let began = Instant::now();
    loop {
        let count: i64 = watch.query_one(&asked, &[&ROLE]).await?.get(0);
        if (count > 0) == there {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("nothing changed within {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
