//! A client that sends exactly the bytes it is given, one thread and no runtime.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const MODERN: &str = "2026-07-28";
const PATIENCE: Duration = Duration::from_secs(40);

/// A structured answer, or the kind of an error with its text.
pub(crate) type Asked = Result<Value, (String, String)>;

/// One connection.
pub(crate) struct Conn {
    stream: BufReader<TcpStream>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The last message of the answer, be it JSON or an event stream.
    pub(crate) fn json(&self) -> Value {
        if let Ok(value) = serde_json::from_slice(&self.body) {
            return value;
        }
        self.events()
            .pop()
            .unwrap_or_else(|| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON messages of an event stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        data.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
    }

    pub(crate) fn result(&self) -> Value {
        let mut message = self.json();
        assert!(message["error"].is_null(), "{message}");
        message["result"].take()
    }

    /// The structured answer, or the kind of the error with its text.
    pub(crate) fn asked(&self) -> Asked {
        outcome(self.result())
    }

    /// The texts of the result's blocks, joined by line breaks.
    pub(crate) fn text(&self) -> String {
        texts(&self.result()).join("\n")
    }
}

/// The structured answer of a result, or the kind of the error with its text.
pub(crate) fn outcome(mut result: Value) -> Asked {
    if result["isError"] == true {
        let kind = result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap().to_owned();
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        return Err((kind, text));
    }
    Ok(result["structuredContent"].take())
}

pub(crate) fn texts(result: &Value) -> Vec<String> {
    let blocks = result["content"].as_array().cloned().unwrap_or_default();
    blocks.iter().filter_map(|block| block["text"].as_str().map(str::to_owned)).collect()
}

impl Conn {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// To what may not listen yet: the private port does a moment after the server says that it
    /// serves.
    pub(crate) fn open_soon(address: SocketAddr) -> Self {
        let patience = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => return Self::over(stream),
                Err(error) => assert!(Instant::now() < patience, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it is open, and nothing has come.
    pub(crate) fn is_silent(&self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let found = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Writes to a server that may be gone, which reading tells.
    pub(crate) fn write_if_open(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    pub(crate) fn send(&mut self, request: &Request) -> Reply {
        self.write(&request.bytes());
        self.read().expect("an answer")
    }

    /// Reads one answer; nothing if the connection ended before one.
    pub(crate) fn read(&mut self) -> Option<Reply> {
        let mut reply = self.read_head()?;
        if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut reply.body).ok()?;
        } else if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).ok()?;
                let mut chunk = vec![0; size + 2];
                self.stream.read_exact(&mut chunk).ok()?;
                if size == 0 {
                    break;
                }
                reply.body.extend_from_slice(&chunk[..size]);
            }
        }
        Some(reply)
    }

    /// Reads the head of an answer, and leaves its body.
    pub(crate) fn read_head(&mut self) -> Option<Reply> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Reply { status, headers, body: Vec::new() })
    }

    /// One line without its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(read) if read > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }
}

/// A request in the making: a sound one of revision 2026-07-28 to begin with.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn call(tool: &str, arguments: &Value) -> Self {
        let params = json!({"name": tool, "arguments": arguments});
        let name = header_form(tool);
        Self::modern("tools/call", &params).with("Mcp-Name", &name)
    }

    /// As a client that declares the tasks extension.
    pub(crate) fn with_tasks(self) -> Self {
        let tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        self.edit(|body| {
            body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = tasks;
        })
    }

    /// A request about a task, by a client that declares the extension.
    pub(crate) fn task(method: &str, id: &str, more: &Value) -> Self {
        let mut params = more.clone();
        params["taskId"] = id.into();
        Self::modern(method, &params).with("Mcp-Name", &header_form(id)).with_tasks()
    }

    pub(crate) fn read_resource(uri: &str) -> Self {
        Self::modern("resources/read", &json!({"uri": uri})).with("Mcp-Name", &header_form(uri))
    }

    pub(crate) fn modern(method: &str, params: &Value) -> Self {
        let mut params = params.clone();
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
        params["_meta"]["io.modelcontextprotocol/clientInfo"] =
            json!({"name": "t", "version": "1"});
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        Self::older(method, &params).with("MCP-Protocol-Version", MODERN).with("Mcp-Method", method)
    }

    /// A request without the headers of any revision.
    pub(crate) fn older(method: &str, params: &Value) -> Self {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let fields = [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        Self {
            method: "POST".into(),
            target: "/mcp".into(),
            headers: fields.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn get(target: &str) -> Self {
        let headers = vec![("Host".into(), "localhost".into())];
        Self { method: "GET".into(), target: target.into(), headers, body: Vec::new() }
    }

    /// Sets a header, in place of one of the same name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut body = serde_json::from_slice(&self.body).unwrap();
        edit(&mut body);
        self.body = body.to_string().into_bytes();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let mut bytes = format!("{head}Content-Length: {}\r\n\r\n", self.body.len()).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A value as a header carries it: plain where it can be, else in the protocol's Base64 form.
pub(crate) fn header_form(value: &str) -> String {
    use base64::Engine as _;
    let plain = value.bytes().all(|b| (0x21..0x7f).contains(&b)) && !value.starts_with("=?");
    if plain && !value.is_empty() {
        return value.to_owned();
    }
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(value))
}
