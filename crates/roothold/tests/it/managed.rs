//! What a service manager is told, as systemd is where a unit says `Type=notify`.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Dirs, Server, Spec};

const PATIENCE: Duration = Duration::from_secs(30);

/// A manager that the server can write to.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(dirs: &Dirs) -> Self {
        let path = dirs.base().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    fn start(&self, dirs: &Dirs, more: &str) -> Server {
        let more = format!("[server]\nlandlock = \"require\"\npre_stop_delay_seconds = 1\n{more}");
        let mut spec = Spec::new(dirs.base(), dirs.config(&more));
        spec.env = vec![("NOTIFY_SOCKET", self.path.to_str().unwrap())];
        spec.start()
    }

    /// The next message, in lines.
    fn told(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let len = self.socket.recv(&mut message).expect("a message in time");
        let text = std::str::from_utf8(&message[..len]).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    let dirs = Dirs::with_fixture();
    let manager = Manager::new(&dirs);
    let mut server = manager.start(&dirs, "");
    let serving = format!("STATUS=serving MCP at /mcp on {}", server.address);
    assert_eq!(manager.told(), ["READY=1".to_owned(), serving]);
    assert!(server.is_ready(), "it was told no earlier than it is true");

    dirs.write("roothold.toml", "no = configuration");
    server.signal(Signal::HUP);
    let reloading = manager.told();
    assert_eq!(reloading[0], "RELOADING=1");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
    assert!(at > 0);
    let reloaded = manager.told();
    assert_eq!(reloaded[0], "READY=1");
    assert!(reloaded[1].contains("was not taken"), "{reloaded:?}");

    server.signal(Signal::TERM);
    let stopping = manager.told();
    assert_eq!(stopping[0], "STOPPING=1");
    let within = stopping[1].strip_prefix("EXTEND_TIMEOUT_USEC=").unwrap().parse::<u64>().unwrap();
    assert!(within > 31_000_000, "the delay, the drain, and more: {within}");
    assert_eq!(server.wait(PATIENCE).unwrap().code(), Some(0), "{}", server.log());
}

#[test]
fn a_manager_that_watches_is_told_again_and_again_that_calls_are_answered() {
    let dirs = Dirs::with_fixture();
    let manager = Manager::new(&dirs);
    let mut spec = Spec::new(dirs.base(), dirs.config("[server]\nlandlock = \"require\"\n"));
    spec.env = vec![("NOTIFY_SOCKET", manager.path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let mut server = spec.start();
    let told = |word: &str| manager.told().iter().any(|line| line == word);
    let mut ready = false;
    for _ in 0..5 {
        while !told("WATCHDOG=1") {
            ready = true;
        }
    }
    assert!(ready, "the start is told beside it");
    // A process that stands still says nothing, whatever it said before.
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(200));
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    std::thread::sleep(Duration::from_secs(1));
    assert!(manager.socket.recv(&mut [0; 4096]).is_err(), "it is told by one that is stopped");
    server.signal(Signal::CONT);
    manager.socket.set_nonblocking(false).unwrap();
    while !told("WATCHDOG=1") {}
    server.signal(Signal::TERM);
    while !told("STOPPING=1") {}
    assert_eq!(server.wait(PATIENCE).unwrap().code(), Some(0), "{}", server.log());
}

/// Its socket is full, and what it is told would wait for ever.
#[test]
fn a_manager_that_does_not_listen_keeps_nobody() {
    let dirs = Dirs::with_fixture();
    let manager = Manager::new(&dirs);
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"X=1", &manager.path).is_ok() {}
    let mut server = manager.start(&dirs, "");
    assert!(server.is_ready());
    assert!(server.log().contains("does not listen"), "{}", server.log());
    server.signal(Signal::TERM);
    assert_eq!(server.wait(PATIENCE).unwrap().code(), Some(0), "{}", server.log());
}

/// A socket that is not there is a line in the log.
#[test]
fn a_manager_that_is_gone_is_a_warning() {
    let dirs = Dirs::with_fixture();
    let manager = Manager::new(&dirs);
    std::fs::remove_file(&manager.path).unwrap();
    let server = manager.start(&dirs, "");
    assert!(server.is_ready());
    assert!(server.log().contains("could not be told"), "{}", server.log());
}
