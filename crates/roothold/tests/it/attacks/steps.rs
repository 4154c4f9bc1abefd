//! The battery's calls as this product's.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::case::Step;
use crate::support::{Conn, Dirs, Request, Server, Stdio, content_hash, texts};

/// What one call ended with.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) tool: String,
    /// In the battery's words.
    pub(super) outcome: &'static str,
    /// Everything that came back, as it was on the wire.
    pub(super) raw: Vec<u8>,
    pub(super) message: Value,
    pub(super) took: Duration,
}

/// A step in this product's terms.
pub(super) enum Ask {
    Call(&'static str, Value),
    /// A tool that the product does not mean to have: called all the same.
    Unknown(String, Value),
    ReadResource(String),
    Complete(String),
}

impl Ask {
    /// What to send for a step.
    pub(super) fn of(step: &Step, dirs: &Dirs) -> Self {
        let text =
            |key: &str| step.args.get(key).and_then(Value::as_str).map(|s| long(&dirs.fill_in(s)));
        let path = || json!({"path": text("path")});
        match step.tool.as_str() {
            "read_file" | "hash" => Self::Call("read_text_file", path()),
            "stat" => Self::Call("get_file_info", path()),
            "list_dir" => Self::Call("list_directory", path()),
            "tree" => Self::Call("directory_tree", path()),
            "find_files" => {
                Self::Call("search_files", json!({"path": text("path"), "pattern": text("glob")}))
            }
            "search_text" => Self::Call(
                "search_content",
                json!({"path": text("path"), "pattern": text("pattern")}),
            ),
            "write_file" => {
                let mut arguments = json!({"path": text("path"), "content": text("content")});
                if step.args.get("if_match").is_some_and(|tag| tag == "@etag") {
                    let file = dirs.fill_in(step.args["path"].as_str().unwrap());
                    arguments["if_match"] = json!(content_hash(&std::fs::read(file).unwrap()));
                }
                Self::Call("write_file", arguments)
            }
            "edit_file" => {
                let edits = json!([{"oldText": text("old"), "newText": text("new")}]);
                let dry = step.args.get("dry_run").cloned().unwrap_or(json!(false));
                Self::Call(
                    "edit_file",
                    json!({"path": text("path"), "edits": edits, "dryRun": dry}),
                )
            }
            "mkdir" => Self::Call("create_directory", path()),
            "move" => {
                Self::Call("move_file", json!({"source": text("from"), "destination": text("to")}))
            }
            "delete" => {
                let mut arguments = path();
                if let Some(recursive) = step.args.get("recursive") {
                    arguments["recursive"] = recursive.clone();
                }
                Self::Call("delete_file", arguments)
            }
            "read_resource" => Self::ReadResource(text("uri").unwrap()),
            "complete" => Self::Complete(text("prefix").unwrap()),
            other => {
                let filled: Map<String, Value> =
                    step.args.keys().map(|key| (key.clone(), json!(text(key)))).collect();
                Self::Unknown(other.to_owned(), Value::Object(filled))
            }
        }
    }

    /// The tool that the product must have for this to mean anything.
    pub(super) fn needs(&self) -> Option<&'static str> {
        match self {
            Self::Call(tool, _) => Some(tool),
            _ => None,
        }
    }

    pub(super) fn method_and_params(&self) -> (&'static str, Value) {
        match self {
            Self::Call(tool, arguments) => {
                ("tools/call", json!({"name": tool, "arguments": arguments}))
            }
            Self::Unknown(tool, arguments) => {
                ("tools/call", json!({"name": tool, "arguments": arguments}))
            }
            Self::ReadResource(uri) => ("resources/read", json!({"uri": uri})),
            Self::Complete(prefix) => {
                let template = json!({"type": "ref/resource", "uri": "file:///{+path}"});
                let argument = json!({"name": "path", "value": prefix});
                ("completion/complete", json!({"ref": template, "argument": argument}))
            }
        }
    }

    pub(super) fn request(&self) -> Request {
        match self {
            Self::Call(tool, arguments) => Request::call(tool, arguments),
            Self::Unknown(tool, arguments) => Request::call(tool, arguments),
            Self::ReadResource(uri) => Request::read_resource(uri),
            Self::Complete(_) => {
                let (method, params) = self.method_and_params();
                Request::modern(method, &params)
            }
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Call(tool, _) => (*tool).to_owned(),
            Self::Unknown(tool, _) => tool.clone(),
            Self::ReadResource(_) => "resources/read".to_owned(),
            Self::Complete(_) => "completion/complete".to_owned(),
        }
    }
}

/// `@repeat::x:3` is `xxx`.
pub(super) fn long(text: &str) -> String {
    match text.strip_prefix("@repeat::").and_then(|rest| rest.split_once(':')) {
        Some((unit, times)) => unit.repeat(times.parse().unwrap()),
        None => text.to_owned(),
    }
}

/// The outcome of an answer, in the battery's words.
pub(super) fn outcome_of(message: &Value) -> &'static str {
    let result = &message["result"];
    let kind = if result.is_object() {
        if result["isError"] != true {
            return "ok";
        }
        result["_meta"]["io.roothold/error"]["kind"].as_str()
    } else {
        message["error"]["data"]["kind"].as_str()
    };
    let unknown =
        || message["error"]["message"].as_str().unwrap_or_default().starts_with("unknown tool");
    match kind {
        Some("denied") => "deny",
        Some("not_found") => "not_found",
        // The battery's `unsupported` is a tool that does not exist; a target of the wrong kind is `invalid`.
        Some("invalid" | "unsupported") => "invalid",
        Some("limit" | "timeout") => "limit",
        Some("conflict") => "conflict",
        Some("busy" | "unavailable") => "retry",
        Some("cancelled") => "cancelled",
        None if unknown() => "unsupported",
        None if message["error"]["code"] == -32602 => "invalid",
        _ => "unexpected",
    }
}

/// Where calls go.
pub(super) enum Wire<'a> {
    Http(&'a Server, Conn),
    Stdio(Stdio),
}

impl Wire<'_> {
    pub(super) fn ask(&mut self, ask: &Ask) -> Seen {
        let started = Instant::now();
        let (message, raw) = match self {
            Self::Http(_, conn) => {
                let reply = conn.send(&ask.request());
                let mut raw = reply.body.clone();
                for (name, value) in &reply.headers {
                    raw.extend(format!("\n{name}: {value}").bytes());
                }
                (reply.json(), raw)
            }
            Self::Stdio(stdio) => {
                let (method, params) = ask.method_and_params();
                stdio.request(method, &params)
            }
        };
        let outcome = outcome_of(&message);
        Seen { tool: ask.name(), outcome, raw, message, took: started.elapsed() }
    }

    /// Asks, and hangs up after some milliseconds. Returns when the server has noticed.
    pub(super) fn hang_up_after(&mut self, ms: u64, ask: &Ask) -> Seen {
        let Self::Http(server, _) = self else { panic!("stdio has one connection") };
        let mut conn = Conn::open(server.address);
        conn.write(&ask.request().bytes());
        std::thread::sleep(Duration::from_millis(ms));
        drop(conn);
        let hung_up = Instant::now();
        while server.audit().counts().0 != server.audit().counts().1 {
            assert!(hung_up.elapsed() < Duration::from_secs(10), "the call does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (raw, message) = (Vec::new(), Value::Null);
        Seen { tool: ask.name(), outcome: "cancelled", raw, message, took: hung_up.elapsed() }
    }

    /// Asks all of it at once, over as many connections.
    pub(super) fn ask_at_once<'a>(&mut self, asks: impl IntoIterator<Item = &'a Ask>) -> Vec<Seen> {
        let Self::Http(server, own) = self else { panic!("one client cannot be many") };
        let started = Instant::now();
        let open = |ask: &'a Ask| {
            let mut conn = Conn::open(server.address);
            conn.write(&ask.request().bytes());
            (ask, conn)
        };
        let conns: Vec<(&Ask, Conn)> = asks.into_iter().map(open).collect();
        let seen = conns.into_iter().map(|(ask, mut conn)| {
            let reply = conn.read().expect("every call is answered");
            let message = reply.json();
            let outcome = outcome_of(&message);
            let took = started.elapsed();
            Seen { tool: ask.name(), outcome, raw: reply.body, message, took }
        });
        let seen = seen.collect();
        // A connection that sent nothing all that time may have been closed.
        *own = Conn::open(server.address);
        seen
    }
}

impl Seen {
    /// What an agent would read of it.
    pub(super) fn text(&self) -> String {
        let result = &self.message["result"];
        let mut text = texts(result).join("\n");
        text += &result["structuredContent"].to_string();
        for part in [&result["contents"], &result["completion"], &self.message["error"]] {
            if !part.is_null() {
                text += &part.to_string();
            }
        }
        text
    }
}
