//! The cases of the HTTP battery that need the whole product: keys, sessions, cursors, the
//! audit log, the log and the metrics. The front's own tests run the others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use roothold_edge::auth::KeysFile;
use serde_json::{Value, json};

use crate::support::{
    Audit, Conn, Dirs, Reply, Request, Server, Spec, custom_tool_binary, find_canary, full, texts,
};

/// The groups that are looked at here, case by case.
const GROUPS: &[&str] = &["state", "authz", "observability", "transport"];

/// Which test answers a case.
const ANSWERED: &[(&str, &str)] = &[
    ("HT-130", "a_key_without_the_scope_is_told_which_it_needs"),
    ("HT-134", "a_key_without_the_scope_is_told_which_it_needs: the replica itself authenticates"),
    ("HT-400", "a_session_belongs_to_its_maker"),
    ("HT-403", "a_session_belongs_to_its_maker"),
    ("HT-405", "one_id_from_many_clients_never_crosses"),
    ("HT-408", "a_cursor_is_good_for_its_maker_tool_and_arguments_only"),
    ("HT-409", "answers_are_private"),
    ("HT-410", "answers_are_private"),
    ("HT-507", "a_storm_of_hang_ups_leaves_nothing"),
    ("HT-513", "a_flood_of_one_is_slowed_and_the_other_is_served"),
    ("HT-600", "what_callers_write_stays_inside_its_line"),
    ("HT-601", "what_callers_write_makes_no_series"),
    ("HT-602", "forged_traces_are_ignored"),
    ("HT-603", "forged_traces_are_ignored"),
];

/// Cases that are not run in this crate, with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("HT-132", "there are no jobs whose result could outlive a token"),
    ("HT-135", "no upstream is called, so no token can be passed on"),
    ("HT-406", "there are no tasks"),
    ("HT-500", "roothold-edge, tests/it/transport.rs"),
    ("HT-502", "roothold-edge, tests/it/transport.rs"),
    ("HT-503", "roothold-edge, tests/it/transport.rs"),
    ("HT-504", "roothold-edge, tests/it/transport.rs"),
    ("HT-508", "roothold-edge, tests/it/revisions.rs"),
    ("HT-511", "roothold-edge, tests/it/transport.rs"),
    ("HT-512", "roothold-edge, tests/it/transport.rs"),
    ("HT-515", "roothold-edge, tests/it/transport.rs"),
];

#[test]
fn every_case_of_these_groups_is_answered_or_listed() {
    let text = include_str!("../../../roothold-edge/tests/batteries/http.json");
    let battery: Value = serde_json::from_str(text).unwrap();
    let cases = battery["cases"].as_array().unwrap().iter();
    let cases = cases.filter(|case| GROUPS.contains(&case["group"].as_str().unwrap()));
    let wanted: BTreeSet<&str> = cases.map(|case| case["id"].as_str().unwrap()).collect();
    let known: BTreeSet<&str> = ANSWERED.iter().chain(ELSEWHERE).map(|(id, _)| *id).collect();
    println!(
        "{} cases: {} answered here, {} listed",
        wanted.len(),
        ANSWERED.len(),
        ELSEWHERE.len()
    );
    for (id, why) in ELSEWHERE {
        println!("not run here: {id}: {why}");
    }
    assert_eq!(wanted, known);
}

/// A server with a key for each of two callers, and one that may manage jobs only.
struct Keyed {
    server: Server,
    dirs: Dirs,
    anna: String,
    ben: String,
    jobs: String,
}

/// The public key of RFC 8037, appendix A.2.
const JWKS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "k1",
  "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn keyed(more: &str) -> Keyed {
    keyed_with(more, None)
}

fn keyed_with(more: &str, binary: Option<std::path::PathBuf>) -> Keyed {
    let dirs = Dirs::with_fixture();
    let path = dirs.base().join("keys");
    let file = KeysFile::open(&path).unwrap();
    let key = |name: &str, scope: &str| {
        file.new_key(name, &[scope.to_owned()], None).unwrap().1.reveal().to_owned()
    };
    let (anna, ben, jobs) =
        (key("anna", "files:read"), key("ben", "files:read"), key("jobs", "jobs:manage"));
    dirs.write("jwks.json", JWKS);
    let more = format!("{more}\n[auth]\nkeys_file = \"{}\"\n", path.display());
    let mut spec = Spec::new(dirs.base(), dirs.config(&more));
    spec.binary = binary.unwrap_or(spec.binary);
    let server = spec.start();
    Keyed { server, dirs, anna, ben, jobs }
}

impl Keyed {
    fn hello(&self) -> Request {
        Request::call("read_text_file", &json!({"path": self.dirs.fill_in("$ROOT/hello.txt")}))
    }

    fn send(&self, request: &Request, token: &str) -> Reply {
        self.server.send(&request.clone().bearer(token))
    }
}

#[test]
fn a_key_without_the_scope_is_told_which_it_needs() {
    // The challenge points at the issuer's metadata only where there is an issuer.
    let keyed = keyed(
        "[server]\npublic_url = \"https://mcp.example.com/mcp\"\n[auth.jwt]\nissuer = \"https://issuer.example\"\njwks_file = \"jwks.json\"",
    );
    assert_eq!(keyed.server.send(&keyed.hello()).status, 401);
    let root = keyed.dirs.fill_in("$ROOT");
    let calls = [
        keyed.hello(),
        Request::call("list_directory", &json!({"path": root})),
        Request::call("search_files", &json!({"path": root, "pattern": "**"})),
        Request::read_resource(&format!("file://{root}/hello.txt")),
        Request::modern("resources/list", &json!({})),
    ];
    for request in &calls {
        let reply = keyed.send(request, &keyed.jobs);
        let name = &request.headers;
        assert_eq!(reply.status, 403, "{name:?}");
        let challenge = reply.header("www-authenticate").unwrap();
        for part in
            ["error=\"insufficient_scope\"", "scope=\"files:read\"", "resource_metadata=\"https://"]
        {
            assert!(challenge.contains(part), "{challenge}");
        }
        assert!(!String::from_utf8_lossy(&reply.body).contains("PUBLIC-"));
        assert_eq!(keyed.send(request, &keyed.anna).status, 200, "{name:?}");
    }
    // The refusals are on record, each with its outcome.
    assert_eq!(keyed.server.audit().counts(), (10, 10));
}

const OLDER: &str = "2025-11-25";

fn in_session(request: Request, id: &str) -> Request {
    request.with("Mcp-Session-Id", id).with("MCP-Protocol-Version", OLDER)
}

#[test]
fn a_session_belongs_to_its_maker() {
    let keyed = keyed("[server.legacy_sessions]\nsessions_max = 10");
    let hello = json!({"protocolVersion": OLDER, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let reply = keyed.send(&Request::older("initialize", &hello), &keyed.anna);
    let id = reply.header("mcp-session-id").unwrap().to_owned();
    let done = Request::older("notifications/initialized", &json!({}))
        .edit(|body| drop(body.as_object_mut().unwrap().remove("id")));
    assert_eq!(keyed.send(&in_session(done, &id), &keyed.anna).status, 202);
    let path = keyed.dirs.fill_in("$ROOT/hello.txt");
    let call = Request::older(
        "tools/call",
        &json!({"name": "read_text_file", "arguments": {"path": path}}),
    );
    let stream = Request::get("/mcp").with("Accept", "text/event-stream");
    let mut end = stream.clone();
    end.method = "DELETE".to_owned();
    for request in [&call, &stream, &end] {
        let stolen = keyed.send(&in_session(request.clone(), &id), &keyed.ben);
        assert!(matches!(stolen.status, 403 | 404), "{}", stolen.status);
        assert!(!String::from_utf8_lossy(&stolen.body).contains("PUBLIC-"));
    }
    let mut first = Conn::open(keyed.server.address);
    first.write(&in_session(stream.clone(), &id).bearer(&keyed.anna).bytes());
    assert_eq!(first.read_head().unwrap().status, 200);
    let second = keyed.send(&in_session(stream, &id), &keyed.anna);
    assert!(matches!(second.status, 403 | 404 | 409), "{}", second.status);
    let hers = keyed.send(&in_session(call, &id), &keyed.anna);
    assert!(hers.text().contains("PUBLIC-HELLO"));
}

#[test]
fn one_id_from_many_clients_never_crosses() {
    let keyed = keyed("");
    for at in 0..500 {
        keyed.dirs.write(&format!("work/own/{at}.txt"), format!("only-for-{at}."));
    }
    let mut conns = Vec::new();
    for at in 0..500 {
        let path = keyed.dirs.fill_in(&format!("$ROOT/own/{at}.txt"));
        let token = if at % 2 == 0 { &keyed.anna } else { &keyed.ben };
        let mut conn = Conn::open(keyed.server.address);
        conn.write(&Request::call("read_text_file", &json!({"path": path})).bearer(token).bytes());
        conns.push(conn);
    }
    for (at, conn) in conns.iter_mut().enumerate() {
        let text = conn.read().unwrap().text();
        assert!(text.starts_with(&format!("only-for-{at}.")), "{at}: {text}");
    }
    assert_eq!(keyed.server.audit().counts(), (500, 500));
}

#[test]
fn a_cursor_is_good_for_its_maker_tool_and_arguments_only() {
    let keyed = keyed("");
    for at in 0..100 {
        keyed.dirs.write(&format!("work/many/file-{at}"), "");
    }
    let path = keyed.dirs.fill_in("$ROOT/many");
    let list = |tool: &str, more: Value, token: &str| {
        let mut arguments = json!({"path": path, "max_bytes": 2048});
        for (key, value) in more.as_object().unwrap() {
            arguments[key] = value.clone();
        }
        keyed.send(&Request::call(tool, &arguments), token).result()
    };
    let first = list("list_directory", json!({}), &keyed.anna);
    let cursor = first["structuredContent"]["next_cursor"].as_str().unwrap().to_owned();
    assert!(!cursor.contains("file-") && cursor.starts_with("v1."));
    let good = list("list_directory", json!({"cursor": cursor}), &keyed.anna);
    assert_ne!(good["structuredContent"]["entries"], first["structuredContent"]["entries"]);

    let mut forged: Vec<String> = vec![
        String::new(),
        "v1".into(),
        "v1..".into(),
        "v2".to_owned() + &cursor[2..],
        cursor[..cursor.len() - 2].into(),
        cursor.clone() + "A",
        cursor.replacen("process", "other", 1),
        "x".repeat(9000),
        "\u{0}".into(),
    ];
    for at in (10..cursor.len()).step_by(7) {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        forged.push(String::from_utf8(bytes).unwrap());
    }
    let refusal = |result: Value| {
        assert_eq!(result["_meta"]["io.roothold/error"]["kind"], "invalid", "{result}");
        texts(&result).join("")
    };
    let said: BTreeSet<String> = forged
        .iter()
        .map(|cursor| refusal(list("list_directory", json!({"cursor": cursor}), &keyed.anna)))
        .chain([
            refusal(list("list_directory", json!({"cursor": cursor}), &keyed.ben)),
            refusal(list("list_directory_with_sizes", json!({"cursor": cursor}), &keyed.anna)),
        ])
        .collect();
    assert_eq!(said.len(), 1, "the reasons can be told apart: {said:?}");
    let other = json!({"cursor": cursor, "path": keyed.dirs.fill_in("$ROOT")});
    assert!(refusal(list("list_directory", other, &keyed.anna)).contains("other arguments"));
    println!("{} forged cursors were refused", forged.len());
}

#[test]
fn answers_are_private() {
    let keyed = keyed("");
    let requests = [
        keyed.hello(),
        Request::modern("tools/list", &json!({})),
        Request::modern("resources/list", &json!({})),
        Request::read_resource(&format!("file://{}", keyed.dirs.fill_in("$ROOT/hello.txt"))),
        Request::modern("server/discover", &json!({})),
    ];
    for request in &requests {
        let reply = keyed.send(&request.clone().with("Mcp-Session-Id", "anything"), &keyed.anna);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let vary = reply.header("vary").unwrap().to_ascii_lowercase();
        assert!(vary.contains("authorization"), "{vary}");
        assert_eq!(reply.header("mcp-session-id"), None);
        let result = reply.result();
        if !result["cacheScope"].is_null() {
            assert!(
                result["cacheScope"] == "private" || !result["supportedVersions"].is_null(),
                "{result}"
            );
        }
    }
    for request in &requests[1..4] {
        assert_eq!(keyed.send(request, &keyed.anna).result()["cacheScope"], "private");
    }
}

#[test]
fn a_storm_of_hang_ups_leaves_nothing() {
    let calls: u64 = if full() { 10_000 } else { 1500 };
    let more = "calls_max = 64\ncalls_per_principal_max = 64\n";
    let keyed = keyed_with(more, Some(custom_tool_binary()));
    let slow = json!({"path": keyed.dirs.fill_in("$ROOT/hello.txt"), "pause_ms": 1000});
    let slow = Request::call("count_words", &slow).bearer(&keyed.anna).bytes();
    let before = keyed.server.gauge("process_open_fds");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (slow, address) = (&slow, keyed.server.address);
            scope.spawn(move || {
                for call in 0..calls / 8 {
                    let mut conn = Conn::open(address);
                    conn.write(slow);
                    // Spread over 0 to 50 ms without a source of chance.
                    std::thread::sleep(Duration::from_millis((call * 31 + thread * 17) % 50));
                }
            });
        }
    });
    let until = Instant::now() + Duration::from_secs(20);
    let quiet = |audit: &Audit| audit.counts().0 == audit.counts().1;
    while !quiet(&keyed.server.audit()) {
        assert!(Instant::now() < until, "{:?}", keyed.server.audit().counts());
        std::thread::sleep(Duration::from_millis(50));
    }
    let audit = keyed.server.audit();
    let cancelled =
        audit.of_kind("outcome").filter(|outcome| outcome["fault"] == "cancelled").count();
    println!("{:?} of {calls} calls began, {cancelled} were cancelled", audit.counts());
    assert!(cancelled as u64 > calls / 4);
    std::thread::sleep(Duration::from_millis(500));
    assert!(keyed.server.gauge("process_open_fds") < before + 20.0);
    assert!(keyed.server.gauge("roothold_calls_in_flight") < 0.5);
    // Every place is free again.
    let began = Instant::now();
    assert!(keyed.send(&keyed.hello(), &keyed.anna).text().contains("PUBLIC-HELLO"));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_flood_of_one_is_slowed_and_the_other_is_served() {
    let keyed = keyed("requests_per_second = 5.0\nrequests_burst = 10");
    let (hello, mut limited, mut served) = (keyed.hello(), 0, 0);
    let mut calm = Conn::open(keyed.server.address);
    let hers = hello.clone().bearer(&keyed.anna);
    let his = hello.bearer(&keyed.ben);
    for at in 0..200 {
        // A refused request whose body was not read ends its connection.
        let reply = keyed.server.send(&hers);
        match reply.status {
            200 => served += 1,
            429 => {
                limited += 1;
                let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=2).contains(&seconds), "{seconds}");
            }
            other => panic!("{other}"),
        }
        if at % 40 == 0 {
            assert_eq!(calm.send(&his).status, 200);
        }
    }
    assert!(limited > 100 && served >= 10, "{limited} limited, {served} served");
    assert!(keyed.server.metrics().contains(&format!("roothold_rate_limited_total {limited}")));
}

#[test]
fn what_callers_write_stays_inside_its_line() {
    let keyed = keyed("");
    let nasty =
        "x\n{\"level\":\"INFO\",\"forged\":true}\r\u{1b}[31m\u{2028}\u{85}\u{202e}CANARY-LOG";
    let nasty_path = format!("/{nasty}");
    let mut calls = 0;
    for tool in [nasty, "read_text_file", "search_files", "batch"] {
        let arguments = json!({"path": nasty_path, "pattern": nasty, "calls": [{"tool": nasty}]});
        let mut arguments = arguments.as_object().unwrap().clone();
        arguments.retain(|key, _| match tool {
            "read_text_file" => key == "path",
            "search_files" => key != "calls",
            "batch" => key == "calls",
            _ => true,
        });
        let request = Request::call(tool, &Value::Object(arguments)).edit(|body| {
            body["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] =
                json!({"name": nasty, "version": nasty});
            body["id"] = nasty.into();
        });
        let agent = nasty.replace(['\n', '\r', '\u{1b}'], " ");
        for request in
            [request.clone(), request.with("User-Agent", &agent).with("X-Request-Id", "a b{\"c\"}")]
        {
            keyed.send(&request, &keyed.anna);
            // the call inside the batch is a call of its own
            calls += if tool == "batch" { 2 } else { 1 };
        }
    }
    keyed.send(&keyed.hello(), "CANARY-TOKEN");
    let log = keyed.server.log();
    for line in log.lines() {
        let event: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not one event: {line:?}"));
        assert!(event["level"].is_string() && event["forged"].is_null(), "{line}");
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}'),
            "{line:?}"
        );
    }
    let audit = keyed.server.audit();
    assert_eq!(audit.counts(), (calls, calls));
    let text = std::str::from_utf8(&audit.raw).unwrap();
    for line in text.lines() {
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}'),
            "{line:?}"
        );
    }
    assert_eq!(audit.lines.iter().filter(|line| !line["forged"].is_null()).count(), 0);
    assert!(
        find_canary(b"CANARY-TOKEN").is_some()
            && !text.contains("CANARY-TOKEN")
            && !log.contains("CANARY-TOKEN")
    );
}

#[test]
fn what_callers_write_makes_no_series() {
    let rounds = if full() { 100_000 } else { 2000 };
    let keyed = keyed("");
    let mut conn = Conn::open(keyed.server.address);
    let series =
        |server: &Server| server.metrics().lines().filter(|line| !line.starts_with('#')).count();
    let mut after_warm_up = 0;
    for at in 0..rounds {
        let odd = format!("n{}", at * 7919);
        let request = match at % 5 {
            0 => Request::call(&odd, &json!({})),
            1 => Request::modern(&odd, &json!({})),
            2 => Request::call("read_text_file", &json!({"path": format!("/{odd}")})),
            3 => Request::read_resource(&format!("file:///{odd}")),
            _ => keyed.hello().with("User-Agent", &odd).with("X-Request-Id", &odd),
        };
        conn.write(&request.bearer(&keyed.anna).bytes());
        if conn.read().is_none() {
            conn = Conn::open(keyed.server.address);
        }
        if at == 100 {
            after_warm_up = series(&keyed.server);
        }
    }
    let text = keyed.server.metrics();
    assert!(!text.contains("n7919") && !text.contains("anna"));
    let now = series(&keyed.server);
    println!("{now} series after {rounds} odd requests");
    assert!(now <= after_warm_up + 20 && now < 600, "{after_warm_up}, then {now}");
}

#[test]
fn forged_traces_are_ignored() {
    let keyed = keyed("");
    let long = "a".repeat(3000);
    for trace in [
        "00-ff..",
        "",
        "00-00000000000000000000000000000000-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz",
        &long,
    ] {
        let header = keyed
            .hello()
            .with("traceparent", trace)
            .with("tracestate", &long)
            .with("baggage", "k=CANARY-BAG");
        let meta = keyed.hello().edit(|body| body["params"]["_meta"]["traceparent"] = trace.into());
        let both = header.clone().edit(|body| {
            body["params"]["_meta"]["traceparent"] =
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into();
        });
        for request in [header, meta, both] {
            let reply = keyed.send(&request, &keyed.anna);
            assert_eq!(reply.status, 200, "{trace}");
            assert!(reply.text().contains("PUBLIC-HELLO"));
            assert!(
                reply
                    .headers
                    .iter()
                    .all(|(_, value)| !value.contains("CANARY") && !value.contains(&long))
            );
        }
    }
    let huge = keyed.hello().with("tracestate", &"a=b,".repeat(25_000));
    let reply = keyed.send(&huge, &keyed.anna);
    assert!(matches!(reply.status, 200 | 400 | 431), "{}", reply.status);
    assert!(find_canary(keyed.server.log().as_bytes()).is_none());
    assert!(find_canary(&keyed.server.audit().raw).is_none());
}
