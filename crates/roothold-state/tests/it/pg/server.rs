//! A real PostgreSQL server in a temporary directory, on a socket, for as long as the test process
//! lives: a shell holds it, and stops it and removes its directory when our end of a pipe closes,
//! which it does however we end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

/// Makes a cluster, starts it, says where it is, and waits for its standard input to end. A line on it
/// kills the server, the next one starts it again.
const KEEPER: &str = r#"
set -eu
bin=$1 port=$2
dir=$(mktemp -d /tmp/roothold-pg.XXXXXX)
server=
trap 'if [ -n "$server" ]; then kill -QUIT $server 2> /dev/null || :; wait $server 2> /dev/null || :; fi; rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U roothold -A trust --no-sync -E UTF8 --locale=C > "$dir/initdb.log" 2>&1 \
    || { cat "$dir/initdb.log" >&2; exit 1; }
extra='-c listen_addresses='
if [ "$port" != 5432 ]; then
    # Over TCP with TLS, under an authority of our own; the key is for the server's user.
    cd "$dir/data"
    ec='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    {
        openssl req -x509 $ec -keyout ca.key -out ../ca.crt -subj /CN=authority -days 2
        openssl req $ec -keyout server.key -out server.csr -subj /CN=localhost
        echo subjectAltName=DNS:localhost > san
        openssl x509 -req -in server.csr -CA ../ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile san -out server.crt
    } > ../openssl.log 2>&1 || { cat ../openssl.log >&2; exit 1; }
    sed -i '1i hostssl all scram 127.0.0.1/32 scram-sha-256' pg_hba.conf
    extra="-c listen_addresses=127.0.0.1 -c ssl=on"
    cd /
fi
start() {
    "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c fsync=off -c max_connections=100 \
        $extra > "$dir/server.log" 2>&1 < /dev/null &
    server=$!
    for i in $(seq 600); do
        "$bin/psql" -h "$dir" -p "$port" -U roothold -d postgres -qtAc 'SELECT 1' > /dev/null 2>&1 && return 0
        kill -0 $server 2> /dev/null || break
        sleep 0.1
    done
    cat "$dir/server.log" >&2
    exit 1
}
start
echo "$dir"
while read -r word; do
    case $word in
        stop) kill -QUIT $server; wait $server 2> /dev/null || :; server= ;;
        start) start ;;
    esac
    echo done
done
"#;

pub(crate) struct Server {
    dir: PathBuf,
    pub(crate) port: u16,
    talk: Mutex<(ChildStdin, BufReader<std::process::ChildStdout>)>,
    _keeper: Child,
}

impl Server {
    /// The one that all tests share which do not stop it.
    pub(crate) fn shared() -> &'static Arc<Self> {
        static SHARED: OnceLock<Arc<Server>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(Self::start()))
    }

    /// One of its own, on a socket.
    pub(crate) fn start() -> Self {
        Self::on_port(5432)
    }

    /// One that speaks TLS on a port of this machine, too.
    pub(crate) fn with_tls() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self::on_port(port)
    }

    fn on_port(port: u16) -> Self {
        let bin = binaries();
        let mut keeper = as_somebody()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(&bin)
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell to keep the server");
        let stdin = keeper.stdin.take().unwrap();
        let mut stdout = BufReader::new(keeper.stdout.take().unwrap());
        let mut dir = String::new();
        stdout.read_line(&mut dir).unwrap();
        assert!(!dir.trim().is_empty(), "PostgreSQL did not start; what it said stands above");
        let dir = PathBuf::from(dir.trim());
        Self { dir, port, talk: Mutex::new((stdin, stdout)), _keeper: keeper }
    }

    fn say(&self, word: &str) {
        use std::io::Write as _;
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{word}").unwrap();
        let mut answer = String::new();
        talk.1.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "the keeper of the server has ended");
    }

    /// Ends the server at once, as a crash does.
    pub(crate) fn crash(&self) {
        self.say("stop");
    }

    pub(crate) fn restart(&self) {
        self.say("start");
    }

    pub(crate) fn url(&self) -> String {
        format!("host={} port={} user=roothold dbname=postgres", self.dir.display(), self.port)
    }

    /// The certificate of its authority.
    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("ca.crt")).unwrap()
    }
}

/// Where initdb and postgres are.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let has = |dir: &Path, name: &str| dir.join(name).is_file();
    let found = places
        .into_iter()
        .find(|dir| has(dir, "initdb") && has(dir, "postgres") && has(dir, "psql"));
    found.expect("initdb, postgres and psql: install PostgreSQL (Debian: postgresql), or run ./test, which does")
}

/// PostgreSQL does not run as root: then as another user.
fn as_somebody() -> Command {
    if !is_root() {
        return Command::new("env");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| passwd.lines().any(|line| line.starts_with(&format!("{user}:"))))
        .expect("a user postgres or nobody, as whom to run PostgreSQL");
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
