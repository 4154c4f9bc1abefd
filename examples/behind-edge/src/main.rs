//! An rmcp server of about ten lines, in production form: put behind `roothold-edge`.
//!
//! ```text
//! cargo run -p example-behind-edge
//! curl -s localhost:8000/mcp -H 'Content-Type: application/json' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"}}}'
//! ```
//!
//! Ctrl-C drains: calls under way are finished, new connections are not taken.

use rmcp::handler::server::wrapper::Parameters;
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use roothold_edge::{Edge, Shutdown};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Greet {
    /// Whom to greet.
    name: String,
}

#[derive(Clone)]
struct Greeter {
    greeting: &'static str,
}

#[tool_router]
impl Greeter {
    #[tool(description = "Greets somebody by name")]
    fn greet(&self, Parameters(Greet { name }): Parameters<Greet>) -> String {
        format!("{}, {name}", self.greeting)
    }
}

#[tool_handler]
impl ServerHandler for Greeter {}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.begin();
        }
    });
    let greeter = Greeter { greeting: "hello" };
    Edge::builder(greeter).build()?.serve(listener, shutdown, async {}).await?;
    Ok(())
}
