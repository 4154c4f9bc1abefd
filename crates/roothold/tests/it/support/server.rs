//! The real binary as a child process.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Asked, Audit, Conn, Reply, Request};

const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is started.
pub(crate) struct Spec<'a> {
    pub(crate) config: String,
    /// Where the configuration file and the audit log go.
    pub(crate) base: &'a Path,
    pub(crate) cwd: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) uid: Option<u32>,
    pub(crate) audit: PathBuf,
    pub(crate) log: &'a str,
    /// Whether no file that the server writes may grow beyond some KiB.
    pub(crate) small_files: bool,
    /// The seccomp profile that it runs under.
    pub(crate) profile: Option<PathBuf>,
    /// Variables over the configuration.
    pub(crate) env: Vec<(&'a str, &'a str)>,
}

impl<'a> Spec<'a> {
    pub(crate) fn new(base: &'a Path, config: impl Into<String>) -> Self {
        Self {
            config: config.into(),
            base,
            cwd: base.join("outside"),
            binary: PathBuf::from(env!("CARGO_BIN_EXE_roothold")),
            uid: None,
            audit: base.join("audit"),
            log: "debug",
            small_files: false,
            profile: None,
            env: Vec::new(),
        }
    }

    pub(crate) fn start(self) -> Server {
        Server::start(&self)
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) private: SocketAddr,
    log: Arc<Mutex<String>>,
    audit: PathBuf,
}

impl Server {
    fn start(spec: &Spec<'_>) -> Self {
        let private = free_address();
        let file = spec.base.join("roothold.toml");
        std::fs::write(&file, &spec.config).unwrap();
        let mut command = match &spec.profile {
            None => Command::new(&spec.binary),
            Some(profile) => under_profile(profile, &spec.binary),
        };
        if spec.small_files {
            // Without the signal, writing beyond the limit is an error like a full disk's.
            let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\"";
            command = Command::new("/bin/sh");
            command.args(["-c", script]).arg(&spec.binary);
        }
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--log", spec.log])
            .arg("--config")
            .arg(&file)
            .arg("--audit-dir")
            .arg(&spec.audit)
            .env("ROOTHOLD_TELEMETRY__LISTEN", private.to_string())
            .env("XDG_STATE_HOME", spec.base.join("state-home"))
            .current_dir(&spec.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for (name, value) in &spec.env {
            command.env(name, value);
        }
        if let Some(uid) = spec.uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let reader = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in reader.split(b'\n').map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        let audit = spec.audit.clone();
        let mut server = Self { child, address: private, private, log, audit };
        server.address = server.listening();
        server
    }

    fn listening(&mut self) -> SocketAddr {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().lines().find(|line| line.contains("serving MCP")) {
                let event: Value = serde_json::from_str(line).unwrap();
                return event["address"].as_str().unwrap().parse().unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "no start: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn send(&self, request: &Request) -> Reply {
        Conn::open(self.address).send(request)
    }

    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> Reply {
        self.send(&Request::call(tool, arguments))
    }

    /// The structured answer of a call, or the kind of its error with the text.
    pub(crate) fn asked(&self, tool: &str, arguments: &Value) -> Asked {
        self.call(tool, arguments).asked()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn metrics(&self) -> String {
        let reply = Conn::open_soon(self.private).send(&Request::get("/metrics"));
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.body).unwrap();
        // Whatever a test does, nothing else may become a series.
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert_eq!(roothold::undescribed(&text, is_name), [""; 0]);
        text
    }

    /// What the private port says of the process.
    pub(crate) fn status(&self) -> Value {
        Conn::open_soon(self.private).send(&Request::get("/status")).json()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The value of a metric without labels.
    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn is_ready(&self) -> bool {
        Conn::open(self.address).send(&Request::get("/ready")).status == 200
    }

    pub(crate) fn audit(&self) -> Audit {
        Audit::read(&self.audit)
    }

    /// Resident memory in bytes, now and at its highest.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (self.status_bytes("VmRSS:"), self.status_bytes("VmHWM:"))
    }

    /// The memory that is the process's own, in bytes: without pages of the program's file, of which
    /// a program built for tests has many times as many, and which the kernel takes back as it likes.
    pub(crate) fn own_memory(&self) -> u64 {
        self.status_bytes("RssAnon:") + self.status_bytes("RssShmem:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free just now, on a loopback host of this process's own: whoever asks the
/// system for a port on the usual one meanwhile does not get it.
fn free_address() -> SocketAddr {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let [low, high, ..] = std::process::id().to_le_bytes();
    let host = Ipv4Addr::new(127, low.max(1), high, STARTED.fetch_add(1, Ordering::Relaxed));
    std::net::TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// The example of a user's own tool, built once.
pub(crate) fn custom_tool_binary() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["-p", "example-custom-tool"])).clone()
}

/// A program that is to run under a seccomp profile, without a container.
pub(crate) fn under_profile(profile: &Path, program: &Path) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let runner = BUILT.get_or_init(|| build(&["-p", "roothold", "--example", "under_profile"]));
    let mut command = Command::new(runner);
    command.arg(profile).arg(program);
    command
}

fn build(what: &[&str]) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--message-format=json-render-diagnostics"])
        .args(what)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    built.reduce(|_, last| last).expect("cargo says where it put the program")
}
