//! What answers as a server is not trusted either.

use roothold_core::FaultKind;
use roothold_databases::{Secret, Source, SourceKind, SourceSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::refused;

/// A packet of the protocol.
fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&length[..3], &[number], body].concat()
}

async fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// Greets as a server that wants no password, up to the first statement.
async fn greeted(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let capabilities = 0x00_0f_a6_87_u32.to_le_bytes();
    let greeting = [
        &b"\x0a8.0.30\0\x01\0\0\0abcdefgh\0"[..],
        &capabilities[..2],
        b"\x2d\x02\0",
        &capabilities[2..],
        b"\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0",
    ]
    .concat();
    stream.write_all(&packet(0, &greeting)).await.unwrap();
    read_packet(&mut stream).await;
    stream.write_all(&packet(2, b"\0\0\0\x02\0\0\0")).await.unwrap();
    assert_eq!(read_packet(&mut stream).await, b"\x03SELECT VERSION()");
    stream
}

async fn listen() -> (TcpListener, Source) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mysql://u@127.0.0.1:{}/d", listener.local_addr().unwrap().port());
    let spec = SourceSpec::new("rogue", SourceKind::MySql, Secret::new(url));
    (listener, Source::new(spec).unwrap())
}

#[tokio::test]
async fn a_server_that_asks_for_a_file_of_ours_gets_none() {
    let (listener, source) = listen().await;
    let server = async {
        let mut stream = greeted(&listener).await;
        stream.write_all(&packet(1, b"\xfb/etc/passwd")).await.unwrap();
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).await.unwrap();
        sent
    };
    let (fault, sent) = tokio::join!(refused(&source, "SELECT 1"), server);
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    assert!(sent.is_empty(), "{}", String::from_utf8_lossy(&sent));
}

#[tokio::test]
async fn a_server_that_sends_more_than_an_answer_may_be_is_not_held() {
    let (listener, source) = listen().await;
    let server = async {
        let mut stream = greeted(&listener).await;
        // The head of a message of 16 MB; the connection ends before much of it was read.
        stream.write_all(b"\xff\xff\xff\x01").await.unwrap();
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(&[0x20; 1 << 12]).await.is_ok() {
            sent += 1 << 12;
        }
        sent
    };
    let (fault, sent) = tokio::join!(refused(&source, "SELECT 1"), server);
    assert!(matches!(fault.kind(), FaultKind::Unavailable | FaultKind::Limit), "{fault}");
    assert!(sent < 32 << 20, "it took {sent} bytes");
}

#[tokio::test]
async fn what_is_no_server_is_told_as_one_that_cannot_be_reached() {
    for said in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x05\0\0\0\x09nope", b"\xff\xff\xff\0", b""]
    {
        let (listener, source) = listen().await;
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        };
        let (fault, ()) = tokio::join!(refused(&source, "SELECT 1"), server);
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
        assert!(fault.public().contains("cannot be reached"), "{fault}");
    }
}
