//! The command line, as people and scripts use it.

mod audit;
mod call;
mod config;
mod explain;
mod install;
mod jobs;
mod keys;
#[cfg(feature = "datasets")]
mod process;
mod runbook;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// `nobody`.
const UNPRIVILEGED: u32 = 65534;

/// The files of a person who runs commands; everything is removed at the end.
struct Person {
    home: TempDir,
}

impl Person {
    fn new() -> Self {
        Self { home: tempfile::Builder::new().prefix("roothold-cli").tempdir().unwrap() }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file below the home directory and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roothold"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// As a user for whom file modes count, although tests may run as root.
    fn unprivileged(&self, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        if !rustix::process::geteuid().is_root() {
            return plain;
        }
        // The build's own directory may be closed to others. It is copied by a process of its own: a file
        // that this one has open to write, and with it any child that another test starts, cannot be run.
        let copy = self.home().join("roothold");
        if !copy.exists() {
            let copied = Command::new("cp").arg(plain.get_program()).arg(&copy).status().unwrap();
            assert!(copied.success());
        }
        let mut command = Command::new(copy);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .uid(UNPRIVILEGED)
            .gid(UNPRIVILEGED);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Starts a server, and waits until it says where it listens.
    fn serve(&self, arguments: &[&str]) -> Serving {
        let log = self.home().join(format!("stderr-{}", arguments[0]));
        let child = self
            .command(arguments)
            .env("ROOTHOLD_TELEMETRY__LISTEN", "")
            .env("ROOTHOLD_TELEMETRY__LOG_FORMAT", "json")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut serving = Serving { child, url: String::new() };
        let until = Instant::now() + PATIENCE;
        while serving.url.is_empty() {
            let text = std::fs::read_to_string(&log).unwrap();
            let mut events =
                text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = events.find_map(|event| event["address"].as_str().map(str::to_owned));
            if let Some(address) = address {
                serving.url = format!("http://{address}");
            }
            let ended = serving.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "no start: {text}");
            std::thread::sleep(Duration::from_millis(5));
        }
        serving
    }
}

/// A server; killed when dropped.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    /// The first lines of stdout, up to one that begins with `last`.
    fn says(&mut self, last: &str) -> String {
        let mut text = String::new();
        for line in BufReader::new(self.child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            text.push_str(&line);
            text.push('\n');
            if line.contains(last) {
                return text;
            }
        }
        panic!("stdout ended: {text}");
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a command.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The result of a command that must have succeeded.
    fn good(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The one sentence of a command that must have failed in this way.
    fn bad(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{}", self.err);
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "one sentence: {}", self.err);
        lines[0].to_owned()
    }
}

#[cfg(not(feature = "datasets"))]
#[test]
fn without_datasets_a_file_is_not_processed() {
    let person = Person::new();
    let file = person.file("a.csv", "a\n1\n");
    let refused = person.run(&["process", &file]).bad(2);
    assert!(refused.contains("built without datasets"), "{refused}");
}
