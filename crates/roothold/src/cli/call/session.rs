//! One client's conversation: which revision is spoken, and requests in its form.
//!
//! Over HTTP the newest revision is tried first, which needs no handshake; a server that does
//! not speak it gets the handshake of the older ones. Over pipes the handshake comes first,
//! because an older server may end at a request that it does not know.

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Map, Value, json};

use super::show::Progress;

/// The stateless revision.
pub(super) const MODERN: &str = "2026-07-28";
/// The older revisions, newest first.
const OLDER: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];
const INTERNAL_ERROR: i64 = -32603;
/// A server with more pages of tools than this is out of order.
const TOOL_PAGES_MAX: usize = 100;
const PROGRESS_TOKEN: &str = "call";

/// The server was reached and said no; the exit code is 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// One message to the server.
pub(super) struct Message<'a> {
    /// The revision that is spoken; none before the handshake.
    pub(super) revision: Option<&'a str>,
    pub(super) body: &'a Value,
    /// Headers that mirror arguments.
    pub(super) headers: &'a [(String, String)],
}

/// What carries messages.
pub(super) trait Wire {
    /// Sends a request, and returns the JSON-RPC message that answers it.
    fn request(
        &mut self,
        message: &Message<'_>,
        notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value>;

    /// Sends a notification.
    fn notify(&mut self, message: &Message<'_>) -> anyhow::Result<()>;
}

/// A conversation with a server.
pub(super) struct Session {
    wire: Box<dyn Wire>,
    revision: String,
    next_id: u64,
    tools: Option<Vec<Value>>,
}

impl Session {
    /// Begins with the newest revision, and goes back to an older one where the server says so.
    pub(super) fn newest(wire: Box<dyn Wire>) -> anyhow::Result<Self> {
        let mut session = Self { wire, revision: MODERN.to_owned(), next_id: 1, tools: None };
        let answer = session.exchange("tools/list", Map::new(), &[], &mut |_| {})?;
        let Some(error) = answer.get("error") else {
            session.tools = Some(session.all_tools(&answer["result"])?);
            return Ok(session);
        };
        let supported = error["data"]["supported"].as_array();
        let speaks = |revision: &&&str| {
            supported.is_none_or(|list| list.iter().any(|one| one == **revision))
        };
        let Some(revision) = OLDER.iter().find(speaks) else {
            return Err(refusal(error).into());
        };
        // An older server says many things to a request without a handshake, but not this.
        if error["code"] == INTERNAL_ERROR {
            return Err(refusal(error).into());
        }
        session.handshake(revision)?;
        Ok(session)
    }

    /// Begins with the handshake of the older revisions.
    pub(super) fn older(wire: Box<dyn Wire>) -> anyhow::Result<Self> {
        let mut session = Self { wire, revision: MODERN.to_owned(), next_id: 1, tools: None };
        match session.handshake(OLDER[0]) {
            Err(error) if error.is::<Refused>() => MODERN.clone_into(&mut session.revision),
            other => other?,
        }
        Ok(session)
    }

    fn handshake(&mut self, revision: &str) -> anyhow::Result<()> {
        let params = json!({
            "protocolVersion": revision,
            "capabilities": {},
            "clientInfo": client(),
        });
        let body = self.body("initialize", &params);
        let message = Message { revision: None, body: &body, headers: &[] };
        let answer = self.wire.request(&message, &mut |_| {})?;
        if let Some(error) = answer.get("error") {
            return Err(refusal(error).into());
        }
        let chosen = answer["result"]["protocolVersion"].as_str();
        let chosen = chosen.context("the server's answer to the handshake names no revision")?;
        if !OLDER.contains(&chosen) {
            bail!("the server speaks revision {chosen}, which this client does not");
        }
        chosen.clone_into(&mut self.revision);
        let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.wire.notify(&Message { revision: Some(chosen), body: &body, headers: &[] })
    }

    /// The input schema of a tool.
    pub(super) fn input_schema(&mut self, tool: &str) -> anyhow::Result<Value> {
        let tools = if let Some(tools) = self.tools.take() {
            tools
        } else {
            let first = self.result("tools/list", Map::new(), &[], &mut |_| {})?;
            self.all_tools(&first)?
        };
        let found = tools.iter().find(|one| one["name"] == tool);
        found.map(|found| found["inputSchema"].clone()).ok_or_else(|| {
            let names: Vec<&str> = tools.iter().filter_map(|one| one["name"].as_str()).collect();
            let shown = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Refused(format!("the server has no tool `{tool}` for you; it has {shown}")).into()
        })
    }

    fn all_tools(&mut self, first: &Value) -> anyhow::Result<Vec<Value>> {
        let mut page = first.clone();
        let mut tools = Vec::new();
        for _ in 0..TOOL_PAGES_MAX {
            if let Some(Value::Array(list)) = page.get_mut("tools") {
                tools.append(list);
            }
            let Some(cursor) = page.get("nextCursor").filter(|cursor| !cursor.is_null()) else {
                return Ok(tools);
            };
            let params = Map::from_iter([("cursor".to_owned(), cursor.clone())]);
            page = self.result("tools/list", params, &[], &mut |_| {})?;
        }
        bail!("the server's list of tools does not end");
    }

    /// Calls a tool and returns its result.
    pub(super) fn call_tool(
        &mut self,
        tool: &str,
        arguments: Map<String, Value>,
        schema: &Value,
        progress: &Progress,
    ) -> anyhow::Result<Value> {
        let headers = if self.is_modern() {
            super::headers::mirrored(schema, &arguments)
        } else {
            Vec::new()
        };
        let mut params = Map::new();
        params.insert("name".to_owned(), tool.into());
        params.insert("arguments".to_owned(), arguments.into());
        if progress.is_shown() {
            params.insert("_meta".to_owned(), json!({"progressToken": PROGRESS_TOKEN}));
        }
        let result = self.result("tools/call", params, &headers, &mut |message| {
            if message["method"] == "notifications/progress" {
                progress.update(&message["params"]);
            }
        })?;
        if result["resultType"] == "input_required" {
            return Err(Refused(
                "the tool asks for more input, which a single call cannot give".to_owned(),
            )
            .into());
        }
        Ok(result)
    }

    fn is_modern(&self) -> bool {
        self.revision == MODERN
    }

    fn result(
        &mut self,
        method: &str,
        params: Map<String, Value>,
        headers: &[(String, String)],
        notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value> {
        let mut answer = self.exchange(method, params, headers, notified)?;
        if let Some(error) = answer.get("error") {
            return Err(refusal(error).into());
        }
        let result = answer.get_mut("result").map(Value::take);
        result.ok_or_else(|| anyhow!("the server's answer has neither result nor error"))
    }

    fn exchange(
        &mut self,
        method: &str,
        mut params: Map<String, Value>,
        headers: &[(String, String)],
        notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value> {
        if self.is_modern() {
            let meta = params.entry("_meta").or_insert_with(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
            meta["io.modelcontextprotocol/clientInfo"] = client();
        }
        let body = self.body(method, &Value::Object(params));
        let message = Message { revision: Some(&self.revision), body: &body, headers };
        self.wire.request(&message, notified)
    }

    fn body(&mut self, method: &str, params: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }
}

fn client() -> Value {
    json!({"name": "roothold", "version": env!("CARGO_PKG_VERSION")})
}

fn refusal(error: &Value) -> Refused {
    let message = error["message"].as_str().unwrap_or("no reason was given");
    Refused(format!("the server refused: {message} ({})", error["code"]))
}

#[cfg(test)]
#[path = "session/tests.rs"]
mod tests;
