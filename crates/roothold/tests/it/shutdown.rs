//! The end of a server with calls in flight, with a tool that takes its time.

use std::time::{Duration, Instant};

use roothold_core::audit;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Conn, Dirs, Request, Server, Spec, custom_tool_binary};

const CALLS: usize = 200;

fn slow_server(dirs: &Dirs) -> Server {
    let more = "calls_max = 300\ncalls_per_principal_max = 300\n";
    let mut spec = Spec::new(dirs.base(), dirs.config(more));
    spec.binary = custom_tool_binary();
    spec.start()
}

fn slow_call(dirs: &Dirs, pause_ms: u64) -> Request {
    Request::call(
        "count_words",
        &json!({"path": dirs.fill_in("$ROOT/hello.txt"), "pause_ms": pause_ms}),
    )
}

fn in_flight(server: &Server, dirs: &Dirs, pause_ms: u64) -> Vec<Conn> {
    let bytes = slow_call(dirs, pause_ms).bytes();
    let conns = (0..CALLS).map(|_| {
        let mut conn = Conn::open(server.address);
        conn.write(&bytes);
        conn
    });
    let conns = conns.collect();
    let until = Instant::now() + Duration::from_secs(20);
    while server.audit().counts().0 < CALLS {
        assert!(Instant::now() < until, "{:?}", server.audit().counts());
        std::thread::sleep(Duration::from_millis(10));
    }
    conns
}

#[test]
fn every_call_in_flight_is_answered_after_sigterm() {
    let dirs = Dirs::with_fixture();
    let mut server = slow_server(&dirs);
    let mut conns = in_flight(&server, &dirs, 4000);
    assert_eq!(server.audit().counts(), (CALLS, 0), "all are running");
    server.signal(Signal::TERM);
    for conn in &mut conns {
        let reply = conn.read().expect("a call in flight is answered");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.result()["structuredContent"]["words"], 1);
    }
    let status = server.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let audit = server.audit();
    assert_eq!(audit.counts(), (CALLS, CALLS));
    let summary = audit::verify(audit.raw.as_slice()).unwrap();
    assert_eq!((summary.intents, summary.outcomes), (CALLS as u64, CALLS as u64));
    assert!(summary.stopped && summary.unfinished == 0);
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn a_second_signal_ends_at_once() {
    let dirs = Dirs::with_fixture();
    let mut server = slow_server(&dirs);
    let mut conns = in_flight(&server, &dirs, 4500);
    server.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.wait(Duration::from_millis(50)).is_none(), "it waits for the calls");
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait(Duration::from_secs(10)).expect("it ends");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_ne!(status.code(), Some(0), "calls were cut");
    let (mut done, mut told) = (0, 0);
    for conn in &mut conns {
        let reply = conn.read().expect("a call in flight is answered");
        match reply.asked() {
            Ok(_) => done += 1,
            Err((kind, text)) => {
                assert!(kind == "unavailable" && text.contains("try again"), "{kind}: {text}");
                told += 1;
            }
        }
    }
    println!("{done} calls were done, {told} were told to try again");
    assert_eq!(done + told, CALLS);
    assert!(told > 0, "nothing was in flight");
    // What was cut is on record as such.
    let audit = server.audit();
    assert_eq!(audit.counts(), (CALLS, CALLS));
    audit::verify(audit.raw.as_slice()).unwrap();
}

#[test]
fn a_tool_of_ones_own_is_policed_tells_progress_and_can_be_cancelled() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/long.txt", "word and word\n".repeat(20_000));
    let server = slow_server(&dirs);
    let denied = server.call("count_words", &json!({"path": dirs.fill_in("$ROOT/.env")})).result();
    assert_eq!(denied["_meta"]["io.roothold/error"]["kind"], "denied");

    let count = Request::call(
        "count_words",
        &json!({"path": dirs.fill_in("$ROOT/long.txt"), "pause_ms": 20}),
    );
    let reply = server
        .send(&count.clone().edit(|body| body["params"]["_meta"]["progressToken"] = "p".into()));
    let events = reply.events();
    let told: Vec<f64> =
        events.iter().filter_map(|event| event["params"]["progress"].as_f64()).collect();
    assert!(told.len() >= 4 && told.is_sorted(), "{told:?}");
    assert_eq!(events.last().unwrap()["result"]["structuredContent"]["words"], 60_000);

    let mut conn = Conn::open(server.address);
    conn.write(&slow_call(&dirs, 4000).bytes());
    std::thread::sleep(Duration::from_millis(200));
    drop(conn);
    let until = Instant::now() + Duration::from_secs(2);
    let cancelled = |server: &Server| {
        server.audit().of_kind("outcome").any(|outcome| outcome["fault"] == "cancelled")
    };
    while !cancelled(&server) {
        assert!(Instant::now() < until, "hanging up does not cancel");
        std::thread::sleep(Duration::from_millis(20));
    }
}
