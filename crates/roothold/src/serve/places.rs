//! Which answers are waited for, and the place of each for its structured form as text, so that a
//! large one goes into the line of its message as it is.

use std::collections::HashMap;
use std::io;

use rmcp::RoleServer;
use rmcp::model::{
    ClientNotification, ClientRequest, GetExtensions as _, JsonRpcMessage, RequestId, ServerResult,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};

use crate::verbatim::Verbatim;

/// The places for the answers to what runs, until they are sent or given up.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<RequestId, Verbatim>);

impl Places {
    /// Gives a call its place, and takes that of one that is cancelled: its answer is never sent.
    pub(super) fn received(&mut self, message: &mut RxJsonRpcMessage<RoleServer>) {
        match message {
            JsonRpcMessage::Request(request) => {
                if let ClientRequest::CallToolRequest(call) = &mut request.request
                    // A number that is in use already means two requests; the other is as ever.
                    && !self.0.contains_key(&request.id)
                {
                    let place = Verbatim::default();
                    call.extensions_mut().insert(place.clone());
                    self.0.insert(request.id.clone(), place);
                }
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.0.remove(id);
                }
            }
            _ => {}
        }
    }

    /// What was left in the place of a message that is about to be sent.
    pub(super) fn structured(&mut self, message: &TxJsonRpcMessage<RoleServer>) -> Option<String> {
        match message {
            JsonRpcMessage::Response(response) => self.0.remove(&response.id)?.take(),
            JsonRpcMessage::Error(_) => {
                self.0.retain(|_, place| !place.is_given_up());
                None
            }
            _ => None,
        }
    }
}

/// A message as its line, with the structured form at the end of its result if there is one.
pub(super) fn line(
    item: &TxJsonRpcMessage<RoleServer>,
    structured: Option<&str>,
) -> io::Result<Vec<u8>> {
    /// What is between the end of a result's last field and the end of the line.
    const END: &[u8] = b"}}";
    let mut line = Vec::with_capacity(1024 + structured.map_or(0, |json| json.len() * 2));
    serde_json::to_writer(&mut line, item)?;
    if let (Some(structured), true) = (structured, wants_structured(item)) {
        if !line.ends_with(END) {
            return Err(io::Error::other("a result that is not the end of its message"));
        }
        line.truncate(line.len() - END.len());
        line.extend_from_slice(b",\"structuredContent\":");
        line.extend_from_slice(structured.as_bytes());
        line.extend_from_slice(END);
    }
    line.push(b'\n');
    Ok(line)
}

/// Whether it is the answer of a tool, which has fields, without a structured form.
fn wants_structured(item: &TxJsonRpcMessage<RoleServer>) -> bool {
    let JsonRpcMessage::Response(response) = item else { return false };
    let ServerResult::CallToolResult(result) = &response.result else { return false };
    result.structured_content.is_none()
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolResult, ContentBlock};
    use serde_json::{Value, json};

    use super::*;

    fn response(id: i64, structured: Option<Value>) -> TxJsonRpcMessage<RoleServer> {
        let mut result = CallToolResult::success(vec![ContentBlock::text("a \"text\"\n")]);
        result.structured_content = structured;
        JsonRpcMessage::response(ServerResult::CallToolResult(result), RequestId::Number(id))
    }

    fn parsed(line: &[u8]) -> Value {
        assert_eq!(line.last(), Some(&b'\n'));
        assert!(!line[..line.len() - 1].contains(&b'\n'));
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn a_text_is_written_where_the_value_would_be() {
        let structured =
            json!({"tree": [{"name": "\u{e9}\n", "children": []}], "truncated": false});
        let text = structured.to_string();
        let with_value = line(&response(7, Some(structured)), None).unwrap();
        let with_text = line(&response(7, None), Some(&text)).unwrap();
        assert_eq!(parsed(&with_text), parsed(&with_value));
        // One that has a value keeps it.
        let other = line(&response(7, Some(json!({}))), Some(&text)).unwrap();
        assert_eq!(parsed(&other)["result"]["structuredContent"], json!({}));
    }

    fn received(places: &mut Places, message: &Value) -> Option<Verbatim> {
        let mut message = serde_json::from_value(message.clone()).unwrap();
        places.received(&mut message);
        let JsonRpcMessage::Request(request) = message else { return None };
        request.request.extensions().get::<Verbatim>().cloned()
    }

    #[test]
    fn each_answer_finds_its_own_text_and_nothing_is_left() {
        let mut places = Places::default();
        let call = |id: i64| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "t"}});
        let first = received(&mut places, &call(1)).unwrap();
        let second = received(&mut places, &call(2)).unwrap();
        assert!(received(&mut places, &call(1)).is_none(), "a number that is in use");
        let third = received(&mut places, &call(3)).unwrap();
        let failed = received(&mut places, &call(4)).unwrap();
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 3}});
        received(&mut places, &cancel);
        for (place, text) in [(&first, "{\"a\":1}"), (&second, "{\"a\":2}"), (&third, "{\"a\":3}")]
        {
            place.put(text.to_owned());
        }
        for id in [2, 1] {
            let text = places.structured(&response(id, None)).unwrap();
            assert_eq!(parsed(&line(&response(id, None), Some(&text)).unwrap())["id"], id);
            assert_eq!(text, format!("{{\"a\":{id}}}"));
        }
        assert_eq!(places.structured(&response(3, None)), None);
        drop(failed);
        let error = rmcp::ErrorData::internal_error("x", None);
        places.structured(&JsonRpcMessage::error(error, Some(RequestId::Number(4))));
        assert!(places.0.is_empty(), "{places:?}");
    }
}
