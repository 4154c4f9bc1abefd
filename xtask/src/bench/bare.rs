//! The reference: the least that an HTTP server in this language can do for a `tools/call`. It
//! parses the JSON-RPC request, does the same work, and serializes an answer. It checks nothing,
//! decides nothing and records nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::extract::State;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::server::PUBLIC;

#[derive(Deserialize)]
struct Request {
    id: Value,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    name: String,
    #[expect(dead_code, reason = "parsed as a server must, though nothing needs it")]
    arguments: Value,
}

/// Serves at the address until the process is ended: `bare ADDR FILE`.
pub(super) fn run(args: &[String]) -> anyhow::Result<()> {
    let [addr, file] = args else { bail!("bare needs an address and a file") };
    let addr: SocketAddr = addr.parse().context("the address")?;
    let file = Arc::new(PathBuf::from(file));
    let app = Router::new().route("/mcp", post(call)).with_state(file);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(addr).await?;
        // Without it the comparison would be with Nagle's algorithm.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, app).await?)
    })
}

async fn call(State(file): State<Arc<PathBuf>>, Json(request): Json<Request>) -> Json<Value> {
    let text = match request.params.name.as_str() {
        "read_text_file" => {
            let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(&*file)).await;
            match read {
                Ok(Ok(text)) => text,
                _ => {
                    return Json(
                        json!({"jsonrpc": "2.0", "id": request.id, "error": {"code": -32603}}),
                    );
                }
            }
        }
        _ => format!("Allowed directories:\n{PUBLIC}"),
    };
    Json(json!({
        "jsonrpc": "2.0",
        "id": request.id,
        "result": {"content": [{"type": "text", "text": text}], "isError": false},
    }))
}
