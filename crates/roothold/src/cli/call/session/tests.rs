use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::*;

/// The messages that a server was sent, each with the revision that was spoken.
type Sent = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// A server that answers from a list and keeps what it was sent.
struct Scripted {
    answers: VecDeque<Value>,
    sent: Sent,
}

impl Wire for Scripted {
    fn request(
        &mut self,
        message: &Message<'_>,
        _notified: &mut dyn FnMut(&Value),
    ) -> anyhow::Result<Value> {
        self.notify(message)?;
        Ok(self.answers.pop_front().expect("a request that the test did not foresee"))
    }

    fn notify(&mut self, message: &Message<'_>) -> anyhow::Result<()> {
        let revision = message.revision.map(str::to_owned);
        self.sent.lock().unwrap().push((revision, message.body.clone()));
        Ok(())
    }
}

fn scripted(answers: &[Value]) -> (Box<Scripted>, Sent) {
    let sent = Sent::default();
    let wire = Scripted { answers: answers.iter().cloned().collect(), sent: Arc::clone(&sent) };
    (Box::new(wire), sent)
}

fn tools(names: &[&str], cursor: Option<&str>) -> Value {
    let tools: Vec<Value> =
        names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    json!({"result": {"tools": tools, "nextCursor": cursor}})
}

#[test]
fn a_modern_server_needs_no_handshake_and_all_pages_of_tools_are_read() {
    let (wire, sent) = scripted(&[tools(&["a"], Some("2")), tools(&["b"], None)]);
    let mut session = Session::newest(wire).unwrap();
    assert!(session.input_schema("b").is_ok());
    let sent = sent.lock().unwrap();
    assert_eq!(sent.len(), 2);
    let meta = &sent[0].1["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], MODERN);
    assert_eq!(sent[1].1["params"]["cursor"], "2");
}

#[test]
fn an_older_server_gets_the_newest_revision_that_it_supports() {
    let refused =
        json!({"error": {"code": -32022, "message": "no", "data": {"supported": ["2025-06-18"]}}});
    let agreed = json!({"result": {"protocolVersion": "2025-06-18"}});
    let (wire, sent) = scripted(&[refused, agreed, tools(&["a"], None)]);
    let mut session = Session::newest(wire).unwrap();
    assert!(session.input_schema("a").is_ok());
    let sent = sent.lock().unwrap();
    assert_eq!(sent[1].1["params"]["protocolVersion"], "2025-06-18");
    assert_eq!(sent[2].1["method"], "notifications/initialized");
    assert_eq!(sent[3].0.as_deref(), Some("2025-06-18"));
    assert!(sent[3].1["params"].get("_meta").is_none());
}

#[test]
fn an_unknown_tool_is_a_refusal_that_names_those_there_are() {
    let (wire, _) = scripted(&[tools(&["a", "b"], None)]);
    let error = Session::newest(wire).unwrap().input_schema("c").unwrap_err();
    assert!(error.is::<Refused>());
    assert_eq!(error.to_string(), "the server has no tool `c` for you; it has a, b");
}

#[test]
fn a_server_without_a_common_revision_is_a_refusal() {
    let refused =
        json!({"error": {"code": -32022, "message": "no", "data": {"supported": ["2099-01-01"]}}});
    let (wire, _) = scripted(&[refused]);
    let error = Session::newest(wire).map(drop).unwrap_err();
    assert!(error.is::<Refused>(), "{error}");
}
