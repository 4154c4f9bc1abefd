use rmcp::model::{ErrorCode, RequestId};

use super::{IdScan, Kind, parse};

fn refused(body: impl AsRef<[u8]>) -> (ErrorCode, Option<RequestId>) {
    let malformed = parse(body.as_ref()).map(|_| ()).unwrap_err();
    (malformed.code, malformed.id)
}

#[test]
fn a_request_a_notification_and_a_response_are_told_apart() {
    let body = br#"{"jsonrpc":"2.0","id":"a","method":"tools\/call","params":{}}"#;
    let Kind::Request { id, method } = parse(body).unwrap().kind else { panic!("a request") };
    assert_eq!((id, &*method), (RequestId::String("a".into()), "tools/call"));
    let body = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert!(matches!(parse(body).unwrap().kind, Kind::Notification { .. }));
    let body = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert!(matches!(parse(body).unwrap().kind, Kind::Response));
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    for body in [
        &b"{"[..],
        b"",
        b"NaN",
        b"[NaN]",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xc0\xaf\"}",
        br#"{"jsonrpc":"2.0","id":NaN,"method":"x"}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#,
    ] {
        assert_eq!(refused(body), (ErrorCode::PARSE_ERROR, None), "{body:?}");
    }
    assert!(
        parse(br#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud83d\ude00 \\ud800"}}"#)
            .is_ok()
    );
}

#[test]
fn the_id_of_what_only_lenient_readers_take_for_json_is_told() {
    let one = Some(RequestId::Number(1));
    let text = Some(RequestId::String("a\u{e9}".into()));
    for (body, id) in [
        (&br#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud800"}}"#[..], &one),
        (br#"{"method":"x","params":{"a":"\udc00\ud800","id":2},"id":1}"#, &one),
        (br#"{"params":[{"id":2,"method":"y"}],"id":"a\u00e9","x":NaN,"method":"\ud800"}"#, &text),
        (b" {\"id\" : 1\t,\"method\":\"x\",\"params\":{\"a\":\"\xff}\\\"\"}}\r\n", &one),
        (b"\xef\xbb\xbf{\"id\":1,\"method\":\"x\"}", &one),
        (br#"{"i\u0064":1,"\u006d\u0065\u0074\u0068\u006f\u0064":"x","a":-Infinity}"#, &one),
        (br#"{"id":1,"method":"x","a":[NaN}}"#, &one),
        // Nobody can tell which request it is, or whether it is one.
        (br#"{"id":1,"id":1,"method":"x","a":NaN}"#, &None),
        (br#"{"id":1,"result":{"a":"\ud800"}}"#, &None),
        (br#"{"id":1,"method":"x","error":{"a":"\ud800"}}"#, &None),
        (br#"{"id":1,"a":"\ud800"}"#, &None),
        (br#"{"id":"\ud800","method":"x"}"#, &None),
        (br#"{"id":1.0,"method":"x","a":NaN}"#, &None),
        (br#"{"id":null,"method":"x","a":NaN}"#, &None),
        (br#"{"params":{"id":1},"method":"x","a":NaN}"#, &None),
        (br#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#, &None),
        (br#"{"jsonrpc":"2.0","id":1,"method":"x""#, &None),
        (br#"{"jsonrpc":"2.0","id":1,"method":"x","a":"}"#, &None),
        (br#"{"id":1 2,"method":"x"}"#, &None),
        (br#"{"id":1,"method":"x","a":"\ud800"}}"#, &None),
        (br#"[{"id":1,"method":"x","a":"\ud800"}]"#, &None),
    ] {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(refused(body), (ErrorCode::PARSE_ERROR, id.clone()), "{shown}");
    }
    let malformed = parse(br#"{"id":1,"method":"x","a":"\ud83d"}"#).unwrap_err();
    assert!(malformed.message.contains("surrogate pair"), "{}", malformed.message);
}

#[test]
fn an_id_is_found_however_the_text_is_cut_and_nothing_is_kept_of_it() {
    let long = "\\\"}]".repeat(5_000);
    let key = "k".repeat(5_000);
    let text = format!(
        r#"{{"{key}":"{long}","params":{{"id":7,"a":["{long}",[[{{"id":8}}]]]}},"id":"i\n{}","method":"x"}}"#,
        "d".repeat(super::ID_BYTES_MAX - 2)
    );
    let wanted = RequestId::String(format!("i\n{}", "d".repeat(super::ID_BYTES_MAX - 2)).into());
    for step in [1, 2, 3, 7, 64, 4096, text.len()] {
        let mut scan = IdScan::default();
        for part in text.as_bytes().chunks(step) {
            assert_eq!(scan.id(), None, "before the end");
            scan.pass(part);
        }
        assert_eq!(scan.id(), Some(wanted.clone()), "{step}");
        let kept = format!("{scan:?}").len();
        assert!(kept < 4_000, "{kept}");
    }
    let long = format!(r#"{{"id":"{}","method":"x"}}"#, "d".repeat(1 << 20));
    let mut scan = IdScan::default();
    scan.pass(&long.as_bytes()[..1 << 20]);
    assert!(format!("{scan:?}").len() < 20_000);
    scan.pass(&long.as_bytes()[1 << 20..]);
    assert_eq!(scan.id(), None);
}

#[test]
fn what_is_json_and_no_message_is_an_invalid_request() {
    let id = Some(RequestId::Number(7));
    for (body, id) in [
        (r#"[{"jsonrpc":"2.0","id":7,"method":"x"}]"#, None),
        ("[]", None),
        ("7", None),
        ("{}", None),
        (r#"{"id":7,"method":"x"}"#, id.clone()),
        (r#"{"jsonrpc":2.0,"id":7,"method":"x"}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":1}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":"x","params":[]}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":"x","result":{}}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"Method":"x"}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":"x","PARAMS":{}}"#, id.clone()),
        ("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"x\",\"param\u{17f}\":{}}", id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":"x","method":"y"}"#, id.clone()),
        (r#"{"jsonrpc":"2.0","id":7,"method":"x","meth\u006fd":"y"}"#, id),
    ] {
        assert_eq!(refused(body), (ErrorCode::INVALID_REQUEST, id), "{body}");
    }
}

#[test]
fn only_ids_that_every_client_can_hold_pass() {
    let with_id = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"x"}}"#);
    for id in ["0", "-1", "9007199254740991", "\"\"", "\"a\""] {
        assert!(parse(with_id(id).as_bytes()).is_ok(), "{id}");
    }
    let long = format!("\"{}\"", "x".repeat(super::ID_BYTES_MAX + 1));
    for id in [
        "null",
        "1.5",
        "1.0",
        "1e400",
        "-0",
        "9007199254740992",
        "-9223372036854775808",
        "9223372036854775807",
        "true",
        "{}",
        "[]",
        &long,
    ] {
        assert_eq!(refused(with_id(id)).0, ErrorCode::INVALID_REQUEST, "{id}");
    }
}

#[test]
fn a_message_of_too_many_values_is_refused_before_they_are_made() {
    let with = |values: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"x","params":{{"a":[{values}]}}}}"#)
    };
    let over = with(&vec![r#"{"":0}"#; 60_000].join(","));
    assert_eq!(refused(&over), (ErrorCode::INVALID_REQUEST, Some(RequestId::Number(7))));
    // By its id the client would take the error for an answer to another request.
    let response = format!(r#"{{"jsonrpc":"2.0","id":7,"result":[{}0]}}"#, "0,".repeat(100_001));
    assert_eq!(refused(response), (ErrorCode::INVALID_REQUEST, None));
    assert!(parse(with(&vec![r#"{"":0}"#; 40_000].join(",")).as_bytes()).is_ok());
    // what stands in strings makes no values
    let text = format!(r#""\",{}","\\""#, "[,{".repeat(100_000));
    assert!(parse(with(&text).as_bytes()).is_ok());
    assert_eq!(refused(format!("[{}", "[,".repeat(100_000))).0, ErrorCode::PARSE_ERROR);
}
