//! Which answers are waited for, and the place of each for what is JSON already, so that a large
//! answer goes into the line of its message as it is.

use std::collections::HashMap;
use std::io;

use rmcp::RoleServer;
use rmcp::model::{
    ClientNotification, ClientRequest, GetExtensions as _, JsonRpcMessage, RequestId, ServerResult,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};

use crate::verbatim::{Parts, Verbatim};

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
    pub(super) fn left_for(&mut self, message: &TxJsonRpcMessage<RoleServer>) -> Option<Parts> {
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

/// A message as its line, in pieces that are written one behind the other. In the answer of a
/// tool, the first text is put before the other blocks, and the structured form at the end of its
/// result, if they were left.
pub(super) fn line(
    item: &TxJsonRpcMessage<RoleServer>,
    parts: Option<Parts>,
) -> io::Result<Vec<Vec<u8>>> {
    /// What is between the end of a result's last field and the end of the line.
    const END: &[u8] = b"}}";
    let mut line = Vec::with_capacity(1024);
    serde_json::to_writer(&mut line, item)?;
    let Some(Parts { structured, first_text }) = parts.filter(|_| takes_parts(item)) else {
        line.push(b'\n');
        return Ok(vec![line]);
    };
    let mut pieces = Vec::with_capacity(8);
    if let Some(text) = first_text {
        let before = put_first_text(&mut line)?;
        pieces.extend([before, text.into_bytes()]);
    }
    if structured.is_empty() {
        line.push(b'\n');
        pieces.push(line);
        return Ok(pieces);
    }
    if !line.ends_with(END) {
        return Err(io::Error::other("a result that is not the end of its message"));
    }
    line.truncate(line.len() - END.len());
    line.extend_from_slice(b",\"structuredContent\":");
    pieces.push(line);
    pieces.extend(structured.into_iter().map(String::into_bytes));
    pieces.push([END, b"\n"].concat());
    Ok(pieces)
}

/// Makes room for a first text: gives what stands before it, and leaves what comes behind.
fn put_first_text(line: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    /// In a string its quotes would be escaped, so it is found nowhere else before the blocks.
    const BLOCKS: &[u8] = b"\"content\":[";
    let at = memchr::memmem::find(line, BLOCKS)
        .ok_or_else(|| io::Error::other("the answer of a tool without blocks"))?;
    let (before, after) = line.split_at(at + BLOCKS.len());
    let before = [before, b"{\"type\":\"text\",\"text\":"].concat();
    let comma: &[u8] = if after.starts_with(b"]") { b"" } else { b"," };
    *line = [b"}", comma, after].concat();
    Ok(before)
}

/// Whether it is the answer of a tool, which has fields, without a structured form.
fn takes_parts(item: &TxJsonRpcMessage<RoleServer>) -> bool {
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

    fn parsed(line: &[Vec<u8>]) -> Value {
        let line = line.concat();
        assert_eq!(line.last(), Some(&b'\n'));
        assert!(!line[..line.len() - 1].contains(&b'\n'));
        serde_json::from_slice(&line).unwrap()
    }

    #[test]
    fn a_text_is_written_where_the_value_would_be() {
        let structured =
            json!({"tree": [{"name": "\u{e9}\n", "children": []}], "truncated": false});
        let text = structured.to_string();
        let (before, after) = text.split_at(9);
        let parts = || Parts {
            structured: [before, "", after].map(str::to_owned).to_vec(),
            first_text: None,
        };
        let with_value = line(&response(7, Some(structured)), None).unwrap();
        let with_text = line(&response(7, None), Some(parts())).unwrap();
        assert_eq!(parsed(&with_text), parsed(&with_value));
        // One that has a value keeps it.
        let other = line(&response(7, Some(json!({}))), Some(parts())).unwrap();
        assert_eq!(parsed(&other)["result"]["structuredContent"], json!({}));
    }

    #[test]
    fn a_first_text_stands_before_the_other_blocks_whatever_the_request_is_called() {
        let text = "a \"text\" \\\n\u{e9}";
        let parts = || Parts {
            structured: vec!["{}".to_owned()],
            first_text: Some(json!(text).to_string()),
        };
        for notes in [&[][..], &["\"content\":[", "]"][..]] {
            let blocks = |all: &[&str]| all.iter().copied().map(ContentBlock::text).collect();
            let answer = |blocks, structured| {
                let mut result = CallToolResult::success(blocks);
                result.structured_content = structured;
                let id = RequestId::String("\"content\":[\"content\":[".into());
                JsonRpcMessage::response(ServerResult::CallToolResult(result), id)
            };
            let all = [&[text], notes].concat();
            let usual = line(&answer(blocks(&all), Some(json!({}))), None).unwrap();
            let as_it_is = line(&answer(blocks(notes), None), Some(parts())).unwrap();
            assert_eq!(parsed(&as_it_is), parsed(&usual));
            let usual = line(&answer(blocks(&all), None), None).unwrap();
            let text_alone = Parts { structured: Vec::new(), ..parts() };
            let as_it_is = line(&answer(blocks(notes), None), Some(text_alone)).unwrap();
            assert_eq!(parsed(&as_it_is), parsed(&usual));
        }
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
            place.put(Parts { structured: vec![text.to_owned()], first_text: None });
        }
        for id in [2, 1] {
            let parts = places.left_for(&response(id, None)).unwrap();
            assert_eq!(parts.structured.concat(), format!("{{\"a\":{id}}}"));
            assert_eq!(parsed(&line(&response(id, None), Some(parts)).unwrap())["id"], id);
        }
        assert_eq!(places.left_for(&response(3, None)), None);
        drop(failed);
        let error = rmcp::ErrorData::internal_error("x", None);
        places.left_for(&JsonRpcMessage::error(error, Some(RequestId::Number(4))));
        assert!(places.0.is_empty(), "{places:?}");
    }
}
