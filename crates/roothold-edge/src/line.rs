//! The front's rules for a message that came without HTTP: over stdin, as one line.
//!
//! Strict JSON-RPC and the shape of the parameters; there are no headers, and who sent it is known.

use std::borrow::Cow;

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::RxJsonRpcMessage;
use serde::Serialize;

use crate::request::{self, Params};
use crate::rpc::{self, IdScan, Kind};
use crate::{dispatch, tasks};

/// A message that is refused before any handler sees it.
#[derive(Debug, PartialEq)]
pub struct RefusedLine {
    id: Option<RequestId>,
    error: ErrorData,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RequestId>,
    error: &'a ErrorData,
}

impl RefusedLine {
    /// A refusal of a request, by its id.
    pub fn of_request(id: RequestId, error: ErrorData) -> Self {
        Self { id: Some(id), error }
    }

    /// The refusal of a request that needs the tasks extension, by a client that did not declare it.
    pub fn undeclared_tasks(id: RequestId) -> Self {
        Self::of_request(id, tasks::undeclared())
    }

    /// The answer as one line, with its end. Where the message has no id that could be read, the
    /// answer's is `null` (JSON-RPC 2.0, section 5).
    ///
    /// # Panics
    /// Never: an error can always be written as JSON.
    pub fn to_line(&self) -> Vec<u8> {
        let answer = Answer { jsonrpc: "2.0", id: self.id.as_ref(), error: &self.error };
        // It has only string keys, so it can be written; a peer that gets an empty line ignores it.
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// A line that is longer than may be kept: it is passed part by part, for the id of its request.
#[derive(Debug, Default)]
pub struct LongLine(IdScan);

impl LongLine {
    /// Looks at the next part, and keeps nothing of it.
    pub fn pass(&mut self, part: &[u8]) {
        self.0.pass(part);
    }

    /// The refusal of the line, of which all was passed: by its id where it is a request that has one.
    pub fn refused(&self, message: impl Into<Cow<'static, str>>) -> RefusedLine {
        RefusedLine { id: self.0.id(), error: ErrorData::invalid_request(message, None) }
    }
}

/// What a message that passed asks for that the SDK's types have no place for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedLine {
    /// The tasks that a `subscriptions/listen` names, if it names any.
    pub tasks: Option<Vec<String>>,
    /// Whether the client declares the tasks extension with this request.
    pub declares_tasks: bool,
}

/// Reads a message by the rules that the front has for one in the body of a request.
///
/// # Errors
/// `-32700` for what is not JSON, `-32600` for what is no message, `-32602` for parameters of the
/// wrong shape.
pub fn read_line(line: &[u8]) -> Result<(RxJsonRpcMessage<RoleServer>, CheckedLine), RefusedLine> {
    let (call, checked) = check(line)?;
    if let Some(call) = call {
        return Ok((call, checked));
    }
    let parsed = serde_json::from_slice(line);
    parsed.map(|message| (message, checked)).map_err(|error| {
        tracing::debug!(%error, "a message has no shape that the protocol knows");
        let error =
            ErrorData::invalid_request("the message has no shape that the protocol knows", None);
        RefusedLine { id: IdScan::of(line), error }
    })
}

/// Checks a message. A `tools/call` is parsed by that, and to have the SDK parse it once more would
/// cost several times as much.
fn check(line: &[u8]) -> Result<(Option<RxJsonRpcMessage<RoleServer>>, CheckedLine), RefusedLine> {
    let envelope = rpc::parse(line).map_err(|bad| RefusedLine {
        id: bad.id,
        error: ErrorData::new(bad.code, bad.message, None),
    })?;
    let Kind::Request { id, method } = envelope.kind else {
        return Ok((None, CheckedLine::default()));
    };
    let wrong = |error| dispatch::wrong_params(&method, &error);
    let refused = |error| RefusedLine { id: Some(id.clone()), error: wrong(error) };
    let typed = request::parse(&method, envelope.params).map_err(refused)?;
    let declares_tasks = typed.seen().declared.tasks;
    let (call, tasks) = match typed.params {
        Params::Call(call) if !call.resumes() => {
            let call = call.into_request(envelope.params).map_err(refused)?;
            (Some(JsonRpcMessage::request(ClientRequest::CallToolRequest(call), id)), None)
        }
        Params::Listen(listen) => (None, listen.tasks),
        _ => (None, None),
    };
    Ok((call, CheckedLine { tasks, declares_tasks }))
}

#[cfg(test)]
mod tests {
    use rmcp::model::RequestMetaObject;
    use serde_json::Value;

    use super::*;

    fn check_line(line: &[u8]) -> Result<CheckedLine, RefusedLine> {
        check(line).map(|(_, checked)| checked)
    }

    fn answer(line: &[u8]) -> (i64, Value) {
        let refused = check_line(line).unwrap_err();
        let text = String::from_utf8(refused.to_line()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let answer: Value = serde_json::from_str(&text).unwrap();
        (answer["error"]["code"].as_i64().unwrap(), answer["id"].clone())
    }

    #[test]
    fn a_bad_line_is_answered_as_json_rpc_wants_it() {
        for (line, code, id) in [
            (&b"{"[..], -32700, Value::Null),
            (b"\xff\xfe", -32700, Value::Null),
            (b"[]", -32600, Value::Null),
            (br#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, 7.into()),
            (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, Value::Null),
            (br#"{"jsonrpc":"2.0","id":"a","method":"tools/call"}"#, -32602, "a".into()),
            (
                br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":1,"a":2}}}"#,
                -32602,
                1.into(),
            ),
            (br#"{"jsonrpc":"2.0","params":{"a":"\ud83d"},"id":"b","method":"ping"}"#, -32700, "b".into()),
        ] {
            assert_eq!(answer(line), (code, id), "{}", String::from_utf8_lossy(line));
        }
        // What is no message to the SDK; by the id of a response nothing is answered.
        let refused = read_line(br#"{"jsonrpc":"2.0","id":1,"error":{}}"#).unwrap_err();
        assert_eq!((refused.id, refused.error.code.0), (None, -32600));
        let nothing = Ok(CheckedLine::default());
        assert_eq!(check_line(br#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#), nothing);
        assert_eq!(check_line(br#"{"jsonrpc":"2.0","method":"notifications/x"}"#), nothing);
    }

    #[test]
    fn the_tasks_of_a_subscription_are_seen() {
        let meta = r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
        let listen = |filter: &str, meta: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{filter}{meta}}}}}"#
            )
        };
        let checked = |filter: &str, meta: &str| check_line(listen(filter, meta).as_bytes());
        let meta = format!(",{meta}");
        let tasks = Some(vec!["job-1".to_owned()]);
        let seen = CheckedLine { tasks: tasks.clone(), declares_tasks: true };
        assert_eq!(checked(r#"{"taskIds":["job-1"]}"#, &meta), Ok(seen));
        let seen = CheckedLine { tasks, declares_tasks: false };
        assert_eq!(checked(r#"{"taskIds":["job-1"]}"#, ""), Ok(seen));
        for none in ["{}", r#"{"taskIds":[]}"#, r#"{"taskIds":null}"#] {
            assert_eq!(checked(none, ""), Ok(CheckedLine::default()), "{none}");
        }
        for bad in [r#"{"taskIds":"job-1"}"#, r#"{"taskIds":[1]}"#] {
            assert!(checked(bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_call_is_the_message_that_the_sdk_would_read() {
        let meta = r#""_meta":{"progressToken":7,"io.modelcontextprotocol/clientCapabilities":{"extensions":{}},"x":{"y":[null,-0.5]}}"#;
        for params in [
            r#""name":"t""#,
            r#""name":"t","arguments":null,"_meta":null"#,
            r#""name":"t","arguments":{}"#,
            r#""arguments":{"a":[1,2.0,-0,1e300,18446744073709551615,-9223372036854775808,"\u00e9\n",{"b":{"c":null}}]},"name":"t\"\u0041""#,
            &format!(r#"{meta},"name":"t","arguments":{{"a":true}},"more":[1]"#),
            r#""name":"t","_meta":{}"#,
        ] {
            for id in ["1", "-7", r#""a\"b""#] {
                let line = format!(
                    r#"{{"method":"tools/call","id":{id},"params":{{{params}}},"jsonrpc":"2.0"}}"#
                );
                let (call, _) = check(line.as_bytes()).unwrap();
                let theirs: RxJsonRpcMessage<RoleServer> = serde_json::from_str(&line).unwrap();
                let meta = |message: &RxJsonRpcMessage<RoleServer>| match message {
                    JsonRpcMessage::Request(request) => match &request.request {
                        ClientRequest::CallToolRequest(call) => (
                            call.extensions.get::<RequestMetaObject>().cloned(),
                            call.params.clone(),
                        ),
                        other => panic!("{other:?}"),
                    },
                    other => panic!("{other:?}"),
                };
                let ours = call.unwrap();
                assert_eq!(meta(&ours), meta(&theirs), "{line}");
                let json = |message: &RxJsonRpcMessage<RoleServer>| {
                    serde_json::to_string(message).unwrap()
                };
                assert_eq!(json(&ours), json(&theirs));
                assert_eq!(json(&read_line(line.as_bytes()).unwrap().0), json(&theirs));
            }
        }
        // What goes on with an earlier call is the SDK's to read.
        let resumed = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","requestState":"s"}}"#;
        assert!(check(resumed).unwrap().0.is_none());
        let JsonRpcMessage::Request(request) = read_line(resumed).unwrap().0 else { panic!() };
        let ClientRequest::CallToolRequest(call) = request.request else { panic!() };
        assert_eq!(call.params.request_state.as_deref(), Some("s"));
    }
}
