//! A real PostgreSQL server on a loopback port, for as long as it is held.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Makes a cluster, starts it, says so, and ends it when its input ends, which it does however we end.
const KEEPER: &str = r#"
set -eu
bin=$1 port=$2
dir=$(mktemp -d /tmp/roothold-it-pg.XXXXXX)
server=
trap 'if [ -n "$server" ]; then kill -QUIT $server 2> /dev/null || :; wait $server 2> /dev/null || :; fi; rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U roothold -A trust --no-sync -E UTF8 --locale=C > "$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
"$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=off > "$dir/log" 2>&1 < /dev/null &
server=$!
for i in $(seq 600); do
    "$bin/psql" -h 127.0.0.1 -p "$port" -U roothold -d postgres -qtAc 'SELECT 1' > /dev/null 2>&1 && break
    kill -0 $server 2> /dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
echo ready
read -r end || :
"#;

/// A running server, gone when dropped.
pub(crate) struct Postgres {
    port: u16,
    keeper: Child,
    input: Option<ChildStdin>,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = as_somebody()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(binaries())
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = keeper.stdin.take();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "ready", "PostgreSQL did not start; what it said stands above");
        Self { port, keeper, input }
    }

    /// Says something as the administrator; what comes back, a line a row.
    pub(crate) fn say(&self, sql: &str) -> String {
        let output = Command::new(binaries().join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "roothold"])
            .args(["-d", "postgres", "-qtA", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// How a role reaches it.
    pub(crate) fn url_of(&self, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://roothold:a-password@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.keeper.wait();
    }
}

fn binaries() -> PathBuf {
    let mut places: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let whole =
        |dir: &Path| ["initdb", "postgres", "psql"].iter().all(|name| dir.join(name).is_file());
    places
        .into_iter()
        .find(|dir| whole(dir))
        .expect("initdb, postgres and psql: install PostgreSQL")
}

/// PostgreSQL does not run as root: then as another user.
fn as_somebody() -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new("env");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let is_there = |user: &&str| passwd.lines().any(|line| line.starts_with(&format!("{user}:")));
    let user = ["postgres", "nobody"].into_iter().find(is_there).expect("a user for PostgreSQL");
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]);
    command
}
