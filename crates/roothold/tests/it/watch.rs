//! Change notifications: `subscriptions/listen`, and `resources/subscribe` of older revisions.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Audit, Conn, Dirs, Request, Server, Spec, Stdio};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than changes are kept back to be told as one: what is told of them is told by then.
pub(crate) const SETTLED: Duration = Duration::from_millis(1500);
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// An open `subscriptions/listen`.
pub(crate) struct Listening(Conn);

impl Listening {
    pub(crate) fn open(server: &Server, uris: &[String]) -> Self {
        Self::with(server, &json!({"resourceSubscriptions": uris}))
    }

    pub(crate) fn with(server: &Server, notifications: &Value) -> Self {
        Self::send(
            server,
            &Request::modern("subscriptions/listen", &json!({"notifications": notifications})),
        )
    }

    pub(crate) fn send(server: &Server, request: &Request) -> Self {
        let mut conn = Conn::open(server.address);
        conn.write(&request.bytes());
        let head = conn.read_head().unwrap();
        assert_eq!(head.status, 200);
        let kind = head.header("content-type").unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self(conn)
    }

    /// The next message of the stream.
    pub(crate) fn message(&mut self) -> Value {
        loop {
            let line = self.0.line().expect("the stream goes on");
            let data = line.strip_prefix("data:").map(str::trim).unwrap_or_default();
            if !data.is_empty() {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The URIs that are acknowledged, which is the first message.
    pub(crate) fn acknowledged(&mut self) -> Value {
        let message = self.message();
        assert_eq!(message["method"], "notifications/subscriptions/acknowledged", "{message}");
        assert_eq!(message["params"]["_meta"][SUBSCRIPTION_ID], 1, "{message}");
        message["params"]["notifications"].clone()
    }

    /// The URI of the next update.
    pub(crate) fn updated(&mut self) -> String {
        let message = self.message();
        assert_eq!(message["method"], "notifications/resources/updated", "{message}");
        assert_eq!(message["params"]["_meta"][SUBSCRIPTION_ID], 1, "{message}");
        message["params"]["uri"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn uri(dirs: &Dirs, path: &str) -> String {
    format!("file://{}", dirs.fill_in(&format!("$ROOT/{path}"))).trim_end_matches('/').to_owned()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until so many subscriptions have looked for the first time.
pub(crate) fn begun(server: &Server, subscriptions: usize) {
    let done = |audit: &Audit| audit.counts().1 >= subscriptions;
    eventually("the subscriptions are made", || done(&server.audit()));
}

fn serve(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

#[test]
fn changes_of_files_and_directories_are_told_as_they_were_asked_for() {
    let dirs = Dirs::with_fixture();
    let server = serve(&dirs, "");
    let [file, dir, missing] = ["hello.txt", "sub", "not/yet.txt"].map(|path| uri(&dirs, path));
    let mut listening = Listening::open(&server, &[file.clone(), dir.clone(), missing.clone()]);
    let accepted = listening.acknowledged();
    assert_eq!(accepted, json!({"resourceSubscriptions": [file, dir, missing]}));
    begun(&server, 1);
    assert!((server.gauge("roothold_subscriptions") - 1.0).abs() < 0.1);
    dirs.write("work/hello.txt", "PUBLIC-OTHER");
    assert_eq!(listening.updated(), file);
    dirs.write("work/sub/new.txt", "PUBLIC");
    assert_eq!(listening.updated(), dir);
    dirs.write("work/not/yet.txt", "PUBLIC");
    assert_eq!(listening.updated(), missing);
    fs::rename(dirs.work().join("sub/new.txt"), dirs.work().join("hello.txt")).unwrap();
    let mut both = [listening.updated(), listening.updated()];
    both.sort();
    assert_eq!(both, [file, dir]);
    let told = server.gauge("roothold_notifications_total");
    assert!((told - 5.0).abs() < 0.1, "{told}");
    drop(listening);
    eventually("it is over when the client is gone", || {
        server.gauge("roothold_subscriptions").abs() < 0.1
    });
    let audit = server.audit();
    let (intents, outcomes) = audit.counts();
    assert_eq!(intents, outcomes);
    let text = String::from_utf8_lossy(&audit.raw).into_owned();
    let of = |tool: &str| text.matches(&format!("\"tool\":\"{tool}\"")).count();
    assert!(
        of("subscriptions/listen") >= 1 && of("notifications/resources/updated") >= 4,
        "{text}"
    );
}

#[test]
fn nothing_is_told_of_what_is_excluded_outside_or_not_asked_for() {
    let dirs = Dirs::with_fixture();
    let server = serve(&dirs, "");
    let [root, link, last] = ["", "a.txt", "sub/last.txt"].map(|path| uri(&dirs, path));
    dirs.write("work/a.txt", "PUBLIC");
    let mut listening = Listening::open(&server, &[root.clone(), link, last.clone()]);
    listening.acknowledged();
    begun(&server, 1);
    dirs.write("work/.env", "CANARY-OTHER");
    dirs.write("work/other.key", "CANARY-NEW");
    fs::remove_file(dirs.work().join("other.key")).unwrap();
    dirs.write("outside/secret.txt", "CANARY-OTHER");
    dirs.write("work/sub/s.txt", "PUBLIC-OTHER");
    dirs.write("ro/ro.txt", "PUBLIC-OTHER");
    std::thread::sleep(SETTLED);
    // A link to an excluded file in the place of one that may be read: an entry of another kind.
    std::os::unix::fs::symlink(".env", dirs.outside().join("link")).unwrap();
    fs::rename(dirs.outside().join("link"), dirs.work().join("a.txt")).unwrap();
    assert_eq!(listening.updated(), root);
    dirs.write("work/.env", "CANARY-AGAIN");
    std::thread::sleep(SETTLED);
    dirs.write("work/sub/last.txt", "PUBLIC");
    assert_eq!(listening.updated(), last, "and of the link itself nothing");
}

#[test]
fn what_may_not_be_seen_is_not_watched_and_answers_alike_whether_it_exists() {
    let dirs = Dirs::with_fixture();
    let server = serve(&dirs, "");
    let good = uri(&dirs, "hello.txt");
    let outside = format!("file://{}", dirs.outside().join("secret.txt").display());
    let mut some = Listening::open(&server, &[uri(&dirs, ".env"), good.clone(), outside.clone()]);
    assert_eq!(some.acknowledged(), json!({"resourceSubscriptions": [good]}));
    let refusal = |path: &str| {
        let mut none = Listening::open(&server, &[uri(&dirs, path)]);
        assert_eq!(none.acknowledged(), json!({}));
        none.message()["error"]["message"].as_str().unwrap().to_owned()
    };
    let there = refusal(".env");
    assert!(there.contains("exclude"), "{there}");
    assert_eq!(there, refusal("sub/.env"));
    assert_eq!(there, refusal("nosuch/.env"));
    let mut none = Listening::open(&server, &[outside]);
    none.acknowledged();
    assert!(none.message()["error"]["message"].as_str().unwrap().contains("roots"));
    let mut bad = Listening::open(&server, &["http://host/x".to_owned()]);
    bad.acknowledged();
    assert!(bad.message()["error"]["code"].as_i64().unwrap() < 0);
    // An outcome may come right behind its answer.
    eventually("each attempt is recorded", || server.audit().counts() == (6, 6));
}

#[test]
fn what_is_not_offered_is_not_acknowledged() {
    let dirs = Dirs::with_fixture();
    let mut server = serve(&dirs, "");
    let asked =
        json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true});
    let mut listening = Listening::with(&server, &asked);
    assert_eq!(listening.acknowledged(), json!({"toolsListChanged": true}));
    server.signal(Signal::TERM);
    assert_eq!(listening.message()["result"]["resultType"], "complete");
    assert!(server.wait(PATIENCE).unwrap().success());
}

#[test]
fn many_changes_are_told_as_few() {
    let dirs = Dirs::with_fixture();
    let server = serve(&dirs, "notification_interval_seconds = 2\n");
    let [file, last] = ["hello.txt", "last.txt"].map(|path| uri(&dirs, path));
    let mut listening = Listening::open(&server, &[file.clone(), last.clone()]);
    listening.acknowledged();
    begun(&server, 1);
    let started = Instant::now();
    for at in 0..2000 {
        dirs.write("work/hello.txt", format!("PUBLIC-{at}"));
    }
    dirs.write("work/last.txt", "PUBLIC");
    let mut told = 0;
    while listening.updated() != last {
        told += 1;
    }
    let rounds = started.elapsed().as_secs() / 2 + 2;
    assert!((1..=rounds).contains(&told), "{told} in {rounds} rounds");
}

#[test]
fn where_the_kernel_gives_no_hints_a_clock_does() {
    let dirs = Dirs::with_fixture();
    std::os::unix::fs::symlink("sub", dirs.work().join("way")).unwrap();
    let server = serve(&dirs, "watch_poll_seconds = 1\n");
    let behind = uri(&dirs, "way/new.txt");
    let mut listening = Listening::open(&server, std::slice::from_ref(&behind));
    listening.acknowledged();
    begun(&server, 1);
    dirs.write("work/sub/new.txt", "PUBLIC");
    assert_eq!(listening.updated(), behind);
}

#[test]
fn subscriptions_are_bounded_and_a_place_is_free_again() {
    let dirs = Dirs::with_fixture();
    let limits = "subscriptions_per_principal_max = 2\nsubscription_uris_max = 3\n";
    let server = serve(&dirs, limits);
    let all = |count: usize| (0..count).map(|at| uri(&dirs, &at.to_string())).collect::<Vec<_>>();
    let refused = |listening: &mut Listening| {
        let message = listening.message();
        message["error"]["message"].as_str().map(str::to_owned).unwrap_or_default()
    };
    let mut large = Listening::open(&server, &all(4));
    large.acknowledged();
    assert!(
        refused(&mut large).contains("4 URIs are more than the 3 of one subscription (limits.")
    );
    let mut first = Listening::open(&server, &all(3));
    first.acknowledged();
    let mut second = Listening::open(&server, &all(1));
    second.acknowledged();
    begun(&server, 3);
    let mut third = Listening::open(&server, &all(1));
    third.acknowledged();
    let said = refused(&mut third);
    assert!(said.contains("as many subscriptions as you may"), "{said}");
    assert!(said.contains("limits.subscriptions_per_principal_max"), "{said}");
    // One that is told of nothing lasts as long as the others.
    let mut idle = Listening::open(&server, &[]);
    idle.acknowledged();
    assert!(refused(&mut idle).contains("as many subscriptions as you may"));
    drop(first);
    eventually("a place is free", || server.gauge("roothold_subscriptions") < 1.5);
    let mut again = Listening::open(&server, &all(2));
    again.acknowledged();
    begun(&server, 5);
    dirs.write("work/1", "PUBLIC");
    assert_eq!(again.updated(), uri(&dirs, "1"));
    let few = serve(&dirs, "watches_max = 2\n");
    let mut large = Listening::open(&few, &all(3));
    large.acknowledged();
    assert!(refused(&mut large).contains("all places for subscriptions are taken"));
}

#[test]
fn a_subscription_ends_with_its_result_when_the_server_drains() {
    let dirs = Dirs::with_fixture();
    let mut server = serve(&dirs, "");
    let mut listening = Listening::open(&server, &[uri(&dirs, "hello.txt")]);
    listening.acknowledged();
    begun(&server, 1);
    server.signal(Signal::TERM);
    let result = listening.message();
    assert_eq!(result["id"], 1, "{result}");
    assert_eq!(result["result"]["resultType"], "complete", "{result}");
    assert_eq!(result["result"]["_meta"][SUBSCRIPTION_ID], 1, "{result}");
    assert!(server.wait(PATIENCE).expect("it ends").success(), "{}", server.log());
}

#[test]
fn over_stdio_older_clients_subscribe_to_one_uri_at_a_time() {
    let dirs = Dirs::with_fixture();
    let mut stdio = Stdio::start(dirs.base(), &dirs.config(""));
    let [file, other] = ["hello.txt", "sub/s.txt"].map(|path| uri(&dirs, path));
    for uri in [&file, &other, &file] {
        let answer = stdio.request("resources/subscribe", &json!({"uri": uri})).0;
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let denied = stdio.request("resources/subscribe", &json!({"uri": uri(&dirs, ".env")})).0;
    assert!(denied["error"]["message"].as_str().unwrap().contains("exclude"), "{denied}");
    dirs.write("work/hello.txt", "PUBLIC-OTHER");
    let told = stdio.notification();
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], file);
    let answer = stdio.request("resources/unsubscribe", &json!({"uri": file})).0;
    assert_eq!(answer["result"], json!({}), "{answer}");
    dirs.write("work/hello.txt", "PUBLIC-AGAIN");
    dirs.write("work/sub/s.txt", "PUBLIC-OTHER");
    assert_eq!(stdio.notification()["params"]["uri"], other);
    let ended = Instant::now();
    assert!(stdio.end().success());
    assert!(ended.elapsed() < Duration::from_secs(4), "nothing is waited for");
}

#[test]
fn older_clients_subscribe_over_http_where_there_are_sessions() {
    let dirs = Dirs::with_fixture();
    let hello = Request::older(
        "initialize",
        &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
    );
    let subscribe = |uri: &str| {
        let request = Request::older("resources/subscribe", &json!({"uri": uri}));
        request.with("MCP-Protocol-Version", "2025-11-25")
    };
    let file = uri(&dirs, "hello.txt");
    let without = serve(&dirs, "");
    let offered = without.send(&hello).result()["capabilities"]["resources"].clone();
    assert_eq!(offered["subscribe"], Value::Null, "{offered}");
    let refused = without.send(&subscribe(&file)).json();
    assert!(refused["error"]["message"].as_str().unwrap().contains("legacy_sessions"), "{refused}");
    let server = serve(&dirs, "[server.legacy_sessions]\n");
    let welcome = server.send(&hello);
    assert_eq!(welcome.result()["capabilities"]["resources"]["subscribe"], true);
    let session = welcome.header("mcp-session-id").unwrap().to_owned();
    let with = |request: Request| {
        request.with("Mcp-Session-Id", &session).with("MCP-Protocol-Version", "2025-11-25")
    };
    server.send(&with(Request::older("notifications/initialized", &json!({}))));
    let mut stream = Request::get("/mcp").with("Accept", "text/event-stream");
    stream = with(stream);
    let mut stream = Listening::send(&server, &stream);
    assert_eq!(server.send(&with(subscribe(&file))).result(), json!({}));
    dirs.write("work/hello.txt", "PUBLIC-OTHER");
    let told = stream.message();
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], file);
    let mut end = with(Request::get("/mcp"));
    end.method = "DELETE".into();
    server.send(&end);
    eventually("it is over with its session", || {
        server.gauge("roothold_subscriptions").abs() < 0.1
    });
}
