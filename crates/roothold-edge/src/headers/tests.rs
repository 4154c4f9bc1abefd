use http::HeaderValue;
use serde_json::json;

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn the_name_must_be_the_bodys() {
    let tool = "read_file";
    for good in ["read_file", "=?base64?cmVhZF9maWxl?="] {
        assert_eq!(check_name(&headers(&[("mcp-name", good)]), tool), Ok(()));
    }
    for bad in [
        "READ_FILE",
        "",
        "=?BASE64?cmVhZF9maWxl?=",
        "=?base64?d3JpdGVfZmlsZQ==?=",
        "=?base64?%%%?=",
        "=?base64?/w==?=",
    ] {
        assert!(check_name(&headers(&[("mcp-name", bad)]), tool).is_err(), "{bad}");
    }
    assert!(check_name(&headers(&[]), tool).is_err());
    let twice = headers(&[("mcp-name", "read_file"), ("mcp-name", "read_file")]);
    assert!(check_name(&twice, tool).is_err());
}

#[test]
fn the_method_must_be_the_bodys() {
    assert!(check_method(&headers(&[("mcp-method", "tools/call")]), "tools/call").is_ok());
    assert!(check_method(&headers(&[("mcp-method", "tools/list")]), "tools/call").is_err());
    assert!(check_method(&headers(&[]), "tools/call").is_err());
    let both = headers(&[("mcp-method", "tools/call"), ("mcp_method", "tools/call")]);
    assert!(check_method(&both, "tools/call").is_err());
}

#[test]
fn annotated_arguments_are_compared_with_their_headers() {
    let schema = Arc::new(
        json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "place": {"type": "object", "properties": {
                "floor": {"type": "integer", "x-mcp-header": "Floor"}}}}})
        .as_object()
        .unwrap()
        .clone(),
    );
    let params = ParamHeaders::new();
    let check = |fields: &[(&'static str, &'static str)], arguments: Value| {
        let schema = || Some(Arc::clone(&schema));
        params.check(&headers(fields), "deploy", arguments.as_object(), Instant::now(), schema)
    };
    let both = [("mcp-param-region", "eu"), ("mcp-param-floor", "42")];
    assert!(check(&both, json!({"region": "eu", "place": {"floor": 42}})).is_ok());
    assert!(check(&[], json!({})).is_ok());
    assert!(check(&[("mcp-param-region", "=?base64?w6k=?=")], json!({"region": "é"})).is_ok());
    assert!(check(&both, json!({"region": "us", "place": {"floor": 42}})).is_err());
    assert!(check(&both, json!({"region": "eu", "place": {"floor": 42.0}})).is_err());
    assert!(check(&both[..1], json!({"region": "eu", "place": {"floor": 42}})).is_err());
    assert!(check(&both[..1], json!({"region": null})).is_err());
    assert!(check(&[("mcp-param-root", "other")], json!({})).is_err());
    let other = headers(&[("mcp-param-root", "x")]);
    let unknown = params.check(&other, "other", None, Instant::now(), || None);
    assert!(unknown.is_ok());
}
