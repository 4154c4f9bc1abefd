//! The reference: the least that an HTTP server in this language can do for a query. It parses the
//! JSON-RPC request, takes a connection from a pool, sends the statements that the server sends,
//! and serializes the row. It checks nothing, decides nothing and records nothing.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use deadpool::managed::{self, Metrics, RecycleResult};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, NoTls, SimpleQueryMessage};

use super::CONNECTIONS;
use super::recipe::{BEGIN, DECLARE, DESCRIBE, DISCARD, FETCH, ROLLBACK};

#[derive(Deserialize)]
struct Request {
    id: Value,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    arguments: Arguments,
}

#[derive(Deserialize)]
struct Arguments {
    sql: String,
    parameters: Vec<i32>,
}

struct Connections(String);

impl managed::Manager for Connections {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client, Error> {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn recycle(&self, _: &mut Client, _: &Metrics) -> RecycleResult<Error> {
        Ok(())
    }
}

type Pool = managed::Pool<Connections>;
/// Names and types.
type Columns = Vec<(String, Type)>;

/// Serves at the address until the process is ended: `bare-databases ADDR DSN`.
pub(in crate::bench) fn run(args: &[String]) -> anyhow::Result<()> {
    let [addr, dsn] = args else { bail!("bare-databases needs an address and a database") };
    let addr: SocketAddr = addr.parse().context("the address")?;
    let dsn = format!("{dsn}?sslmode=disable");
    let pool = Pool::builder(Connections(dsn)).max_size(CONNECTIONS).build()?;
    let app = Router::new().route("/mcp", post(call)).with_state(pool);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(addr).await?;
        // Without it the comparison would be with Nagle's algorithm.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, app).await?)
    })
}

async fn call(State(pool): State<Pool>, Json(request): Json<Request>) -> Json<Value> {
    let Ok(client) = pool.get().await else { return failed(&request.id) };
    let Ok((columns, rows)) = query(&client, &request.params.arguments).await else {
        return failed(&request.id);
    };
    let text = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Json(json!({
        "jsonrpc": "2.0",
        "id": request.id,
        "result": {
            "content": [{"type": "text", "text": text}],
            "structuredContent": {"columns": columns, "rows": rows},
            "isError": false,
        },
    }))
}

fn failed(id: &Value) -> Json<Value> {
    Json(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603}}))
}

async fn query(client: &Client, asked: &Arguments) -> Result<(Vec<Value>, Vec<Value>), Error> {
    client.batch_execute(BEGIN).await?;
    let declare = format!("{DECLARE}{}", asked.sql);
    let bound = asked.parameters.iter().map(|parameter| (parameter, Type::INT4));
    client.query_typed_raw(&declare, bound).await?.try_collect::<Vec<_>>().await?;
    let columns = async {
        let described = client.prepare(DESCRIBE).await?;
        let columns = described.columns().iter();
        Ok(columns.map(|column| (column.name().to_owned(), column.type_().clone())).collect())
    };
    let rows = async { client.simple_query_raw(FETCH).await?.try_collect::<Vec<_>>().await };
    let (columns, rows): (Result<Columns, Error>, _) = tokio::join!(biased; columns, rows);
    let columns = columns?;
    let rows = rows?.iter().filter_map(|message| row(&columns, message)).collect();
    let named = columns.iter().map(|(name, kind)| json!({"name": name, "type": kind.name()}));
    let named = named.collect();
    let (rolled_back, discarded) =
        tokio::join!(biased; client.batch_execute(ROLLBACK), client.batch_execute(DISCARD));
    rolled_back?;
    discarded?;
    Ok((named, rows))
}

fn row(columns: &[(String, Type)], message: &SimpleQueryMessage) -> Option<Value> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let values = columns.iter().enumerate().map(|(at, (_, kind))| match row.get(at) {
        Some(text) if *kind == Type::INT4 => text.parse::<i32>().map_or(Value::Null, Value::from),
        text => text.map_or(Value::Null, Value::from),
    });
    Some(values.collect())
}
