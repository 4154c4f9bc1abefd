//! The edge's strict JSON-RPC parser: the input is a body, or what a sound body is made of.

use rmcp::model::RequestId;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

#[path = "../../crates/roothold-edge/src/rpc.rs"]
mod rpc;

use rpc::Kind;

/// Asks what must hold of one body.
pub fn run(data: &[u8]) {
    any(data);
    sound(&String::from_utf8_lossy(data));
}

/// What passes says to every JSON reader what it says here.
fn any(body: &[u8]) {
    let Ok(envelope) = rpc::parse(body) else {
        // However it is cut, the same id is found or none.
        let (one, other) = body.split_at(body.len() / 2);
        let mut scan = rpc::IdScan::default();
        scan.pass(one);
        scan.pass(other);
        assert!(body.starts_with(b"\xef") || scan.id() == rpc::IdScan::of(body));
        return;
    };
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        // JSON all the same, but with a number too large or nested too deep for a value: what is
        // typed later refuses it.
        let read = serde_json::from_slice::<IgnoredAny>(body);
        assert!(read.is_ok(), "{} is no JSON", String::from_utf8_lossy(body));
        return;
    };
    assert_eq!(value["jsonrpc"], "2.0");
    let params = envelope.params.map(|raw| serde_json::from_str(raw.get()).expect("JSON"));
    assert_eq!(params.as_ref(), value.get("params"), "{value}");
    match envelope.kind {
        Kind::Request { id, method } => {
            assert_eq!(serde_json::to_value(&id).expect("an id"), value["id"], "{value}");
            assert_eq!(value["method"], *method, "{value}");
            assert_eq!(rpc::IdScan::of(body), Some(id), "{value}");
        }
        Kind::Notification { method } => {
            assert_eq!(value["method"], *method, "{value}");
            assert!(value.get("id").is_none(), "{value}");
            assert_eq!(rpc::IdScan::of(body), None, "{value}");
        }
        Kind::Response => {
            assert!(value.get("method").is_none(), "{value}");
            assert_eq!(rpc::IdScan::of(body), None, "{value}");
        }
    }
}

/// What a client with a sound library sends passes, whatever its strings hold.
fn sound(text: &str) {
    let (method, rest) = text.split_at(text.floor_char_boundary(text.len().min(20)));
    let id = &rest[..rest.floor_char_boundary(rest.len().min(rpc::ID_BYTES_MAX))];
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {text: [text]}});
    let body = body.to_string();
    let envelope = rpc::parse(body.as_bytes()).expect("a sound request");
    let Kind::Request { id: found, method: called } = envelope.kind else { panic!("{body}") };
    assert_eq!((found, &*called), (RequestId::String(id.into()), method));
}
