//! The phases of a shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roothold_edge::{Edge, EdgeConfig, Phase, Shutdown, StartError};
use serde_json::json;
use tokio::net::TcpStream;

use crate::client::{Conn, Request};
use crate::fixture::{Server, Setup};

#[tokio::test]
async fn nothing_under_way_is_lost() {
    let config = EdgeConfig {
        pre_stop_delay: Duration::from_millis(200),
        drain_idle_grace: Duration::from_millis(300),
        ..EdgeConfig::default()
    };
    let server = Server::configured(config).await;
    let slow = Request::call("slow", &json!({"ms": 700}));
    let mut calls = Vec::new();
    for _ in 0..200 {
        let mut conn = Conn::open(server.address).await;
        conn.write(&slow.bytes()).await;
        calls.push(conn);
    }
    let mut kept = Conn::open(server.address).await;
    assert_eq!(kept.send(&Request::get("/ready")).await.status, 200);
    server.until(|seen| seen.started.load(Ordering::SeqCst) == 200).await;

    let (address, shutdown) = (server.address, server.shutdown.clone());
    let mut phases = shutdown.watch();
    let stopping = tokio::spawn(server.stop());
    phases.wait_for(|phase| *phase == Phase::Unready).await.unwrap();
    // still accepting, and saying that it should not be sent anything more
    assert_eq!(kept.send(&Request::get("/ready")).await.status, 503);
    let late = Conn::open(address).await.send(&Request::call("read_file", &json!({}))).await;
    assert_eq!((late.status, late.header("connection")), (200, None));

    phases.wait_for(|phase| *phase == Phase::Draining).await.unwrap();
    let kept = kept.send(&Request::call("read_file", &json!({}))).await;
    assert_eq!((kept.status, kept.header("connection")), (200, Some("close")));
    for mut conn in calls {
        let answer = conn.read().await.expect("no call is lost");
        assert_eq!(answer.json()["result"]["content"][0]["text"], "slept");
    }
    let drained = stopping.await.unwrap();
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(shutdown.phase(), Phase::Stopped);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn ready_is_what_the_handler_says_and_alive_is_not() {
    let ready = Arc::new(AtomicBool::new(false));
    let setup = Setup { ready: Some(Arc::clone(&ready)), ..Setup::default() };
    let server = Server::with(setup).await;
    let status = async |path| server.send(&Request::get(path)).await.status;
    assert_eq!((status("/ready").await, status("/health").await), (503, 200));
    assert_eq!(server.send(&Request::call("read_file", &json!({}))).await.status, 200);
    ready.store(true, Ordering::SeqCst);
    assert_eq!(status("/ready").await, 200);
    assert!(server.stop().await.is_clean());
}

#[tokio::test]
async fn a_subscription_ends_with_its_result() {
    let server = Server::start().await;
    let listen = Request::modern(
        "subscriptions/listen",
        &json!({"notifications": {"toolsListChanged": true}}),
    );
    let mut conn = Conn::open(server.address).await;
    conn.write(&listen.bytes()).await;
    let head = conn.read_head().await.unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let stopping = tokio::spawn(server.stop());
    let mut rest = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut conn.stream, &mut rest).await.unwrap();
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("notifications/subscriptions/acknowledged"), "{rest}");
    assert!(rest.contains("io.modelcontextprotocol/subscriptionId") && rest.contains("\"result\""));
    assert!(stopping.await.unwrap().is_clean());
}

#[tokio::test]
async fn what_does_not_end_is_cut_and_counted() {
    let config = EdgeConfig {
        drain_timeout: Duration::from_millis(200),
        drain_idle_grace: Duration::from_millis(10),
        ..EdgeConfig::default()
    };
    let server = Server::configured(config).await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&Request::call("slow", &json!({"ms": 60_000})).bytes()).await;
    server.until(|seen| seen.started.load(Ordering::SeqCst) == 1).await;
    let seen = std::sync::Arc::clone(&server.seen);
    let drained = server.stop().await;
    assert_eq!(drained.connections_cut, 1);
    assert!(!drained.is_clean() && drained.flushed);
    assert_eq!(conn.read().await.map(|answer| answer.status), None);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_abort_waits_for_nothing() {
    let server = Server::start().await;
    let mut conn = Conn::open(server.address).await;
    conn.write(&Request::call("slow", &json!({"ms": 60_000})).bytes()).await;
    server.until(|seen| seen.started.load(Ordering::SeqCst) == 1).await;
    server.shutdown.abort();
    let drained = server.stop().await;
    assert!(drained.took < Duration::from_secs(5));
    assert_eq!(drained.connections_cut, 1);
}

#[tokio::test]
async fn the_flush_has_its_own_limit() {
    let config = EdgeConfig { flush_timeout: Duration::from_millis(50), ..EdgeConfig::default() };
    let handler = NoTools;
    let edge = Edge::builder(handler).config(config).build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = Shutdown::new();
    shutdown.begin();
    let drained = edge.serve(listener, shutdown, std::future::pending()).await.unwrap();
    assert!(!drained.flushed);
}

#[tokio::test]
async fn it_refuses_to_serve_the_network_without_authentication() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let edge = Edge::builder(NoTools).build().unwrap();
    let refused = edge.serve(listener, Shutdown::new(), async {}).await.unwrap_err();
    assert!(matches!(refused, StartError::Unauthenticated { .. }));

    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let config = EdgeConfig { allow_unauthenticated_network: true, ..EdgeConfig::default() };
    let edge = Edge::builder(NoTools).config(config).build().unwrap();
    let shutdown = Shutdown::new();
    shutdown.begin();
    assert!(edge.serve(listener, shutdown, async {}).await.unwrap().is_clean());
}

struct NoTools;

impl rmcp::ServerHandler for NoTools {}
