//! `strace` on a server that runs: it has system calls of it fail, or end it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// An `strace` that holds a process; it lets go when dropped, and the process goes on.
pub(crate) struct Strace {
    child: Child,
    trace: PathBuf,
}

impl Strace {
    /// Attaches to all threads of a process. `inject` is what `--inject` takes; with `only`, no calls but those on
    /// that file are looked at.
    pub(crate) fn attach(pid: u32, inject: &[&str], only: Option<&Path>, trace: PathBuf) -> Self {
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--decode-fds=path", "--output"]).arg(&trace);
        let calls: Vec<_> = inject.iter().filter_map(|rule| rule.split(':').next()).collect();
        command.arg(format!("--trace={}", calls.join(",")));
        command.args(inject.iter().map(|rule| format!("--inject={rule}")));
        if let Some(only) = only {
            command.arg("--trace-path").arg(only);
        }
        command.arg(format!("--attach={pid}")).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("this test needs strace");
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut so_far = String::new();
        // It says so once it holds every thread.
        while !so_far.contains(" attached") {
            let read = said.read_line(&mut so_far).unwrap();
            assert!(read > 0, "strace cannot attach, for which it may need root: {so_far}");
        }
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, trace }
    }

    /// Ends it, and returns what it saw, a line each call.
    pub(crate) fn end(mut self) -> String {
        self.let_go();
        std::fs::read_to_string(&self.trace).unwrap()
    }

    fn let_go(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.let_go();
    }
}
