//! A server in a temporary directory for as long as somebody holds it: a shell keeps it, and ends
//! it when our end of a pipe closes, which it does however we end.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Before the part of a kind of server, which defines `make`, `launch` and `answers`.
const HEAD: &str = r#"
set -eu
dir=$(mktemp -d /tmp/roothold-server.XXXXXX)
server=
signal=QUIT
quit() {
    [ -z "$server" ] || { kill -$signal "$server" 2> /dev/null || :; wait "$server" 2> /dev/null || :; server=; }
}
# What the server started may outlive it by a moment, and write.
trap 'quit; cd /; rm -rf "$dir" 2> /dev/null || { sleep 1; rm -rf "$dir"; }' EXIT
give_up() { cat "$1" >&2; exit 1; }
"#;

/// Behind it. A word a line stops the server or starts it again; the end of the input ends all.
const TAIL: &str = r#"
start() {
    launch
    for _ in $(seq 600); do
        answers > /dev/null 2>&1 && return 0
        kill -0 "$server" 2> /dev/null || break
        sleep 0.1
    done
    give_up "$dir/server.log"
}
make
start
echo "$dir"
while read -r word; do
    case $word in
        stop) quit ;;
        start) start ;;
    esac
    echo done
done
"#;

/// A shell that keeps one server. Dropped, it waits until the server and its directory are gone.
pub struct Keeper {
    dir: PathBuf,
    talk: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    shell: Child,
}

impl Keeper {
    /// Runs `script` with `args` in a shell, as another user where we are root: servers refuse that.
    /// It defines `make`, which makes the data in `$dir`; `launch`, which starts the server, with its
    /// output in `$dir/server.log` and its process in `$server`; and `answers`, which succeeds when
    /// it can be used. `$signal` is what ends the server at once.
    ///
    /// # Panics
    /// If the server does not start; what it said is on the standard error.
    pub fn start<A: AsRef<OsStr>>(script: &str, args: &[A]) -> Self {
        let mut shell = as_somebody()
            .args(["sh", "-c", &format!("{HEAD}{script}{TAIL}"), "keeper"])
            .args(args)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell to keep the server");
        let input = shell.stdin.take().unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        let mut dir = String::new();
        output.read_line(&mut dir).unwrap();
        assert!(!dir.trim().is_empty(), "the server did not start; what it said stands above");
        Self { dir: dir.trim().into(), talk: Mutex::new(Some((input, output))), shell }
    }

    /// The directory of the server, which is the server's user's.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends the server at once, as a crash does.
    ///
    /// # Panics
    /// If the shell has ended.
    pub fn crash(&self) {
        self.tell("stop");
    }

    /// Starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&self) {
        self.tell("start");
    }

    fn tell(&self, word: &str) {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, output) = talk.as_mut().unwrap();
        writeln!(input, "{word}").unwrap();
        let mut answer = String::new();
        output.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "the keeper of the server has ended");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        *self.talk.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.shell.wait();
    }
}

/// The command before which another user stands where we are root.
fn as_somebody() -> Command {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return Command::new("env");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = |user: &&str| passwd.lines().any(|line| line.starts_with(&format!("{user}:")));
    let user = ["postgres", "nobody"].into_iter().find(known);
    let mut command = Command::new("runuser");
    command.args(["-u", user.expect("a user postgres or nobody, as whom to run servers"), "--"]);
    command
}

/// A port of 127.0.0.1 that nobody listens on now, for a server that must be told one.
///
/// # Panics
/// If there is none.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
