//! A real PostgreSQL server in a temporary directory for as long as the test process lives: a shell
//! keeps it, and ends it when our end of a pipe closes, which it does however we end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use tokio_postgres::NoTls;

/// Starts a cluster and says where it is. A line on its standard input stops it or starts it again;
/// the end of the input ends all.
const KEEPER: &str = r#"
set -eu
bin=$1 port=$2
dir=$(mktemp -d /tmp/roothold-db.XXXXXX)
server=
quit() { [ -z "$server" ] || { kill -QUIT "$server" 2> /dev/null || :; wait "$server" 2> /dev/null || :; server=; }; }
# Backends may outlive their parent by a moment, and write.
trap 'quit; rm -rf "$dir" 2> /dev/null || { sleep 1; rm -rf "$dir"; }' EXIT
say() { cat "$1" >&2; exit 1; }
"$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 --locale=C > "$dir/log" 2>&1 || say "$dir/log"
cd "$dir/data"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ../ca.crt \
    -subj /CN=authority -days 2 > ../openssl.log 2>&1 || say ../openssl.log
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr \
    -subj /CN=localhost > ../openssl.log 2>&1 || say ../openssl.log
echo subjectAltName=DNS:localhost > names
openssl x509 -req -in server.csr -CA ../ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names \
    -out server.crt > ../openssl.log 2>&1 || say ../openssl.log
sed -i '1i hostssl all guarded 127.0.0.1/32 scram-sha-256' pg_hba.conf
cd /
start() {
    "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c ssl=on -c fsync=off \
        -c max_connections=200 > "$dir/server.log" 2>&1 < /dev/null &
    server=$!
    for _ in $(seq 600); do
        "$bin/psql" -h "$dir" -p "$port" -U postgres -d postgres -qtAc 'SELECT 1' > /dev/null 2>&1 && return 0
        kill -0 $server 2> /dev/null || break
        sleep 0.1
    done
    say "$dir/server.log"
}
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

pub(crate) struct Server {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _keeper: Child,
}

impl Server {
    /// The one that all tests share which do not stop it.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(crate) fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut keeper = as_somebody()
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(binaries())
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell to keep the server");
        let input = keeper.stdin.take().unwrap();
        let mut output = BufReader::new(keeper.stdout.take().unwrap());
        let mut dir = String::new();
        output.read_line(&mut dir).unwrap();
        assert!(!dir.trim().is_empty(), "PostgreSQL did not start; what it said stands above");
        let dir = PathBuf::from(dir.trim());
        Self { dir, port, talk: Mutex::new((input, output)), _keeper: keeper }
    }

    /// `stop` ends the server at once, `start` starts it again.
    pub(crate) fn tell(&self, word: &str) {
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{word}").unwrap();
        let mut answer = String::new();
        talk.1.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "the keeper of the server has ended");
    }

    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("ca.crt")).unwrap()
    }

    /// Says something as the administrator.
    pub(crate) async fn say(&self, database: &str, sql: &str) {
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres", database), NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        drop(client);
        driver.await.unwrap().unwrap();
    }

    /// The first value that the administrator sees.
    pub(crate) async fn see(&self, database: &str, sql: &str) -> String {
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres", database), NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let said =
            client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let value = said.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        drop(client);
        driver.await.unwrap().unwrap();
        value.unwrap_or_default()
    }

    /// A database of its own for one test, with a role that reads its schema `app`.
    pub(crate) async fn database(&self, name: &str, setup: &str) {
        self.say("postgres", &format!("CREATE DATABASE {name}")).await;
        let role = format!(
            "CREATE ROLE {name} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA app; \
             GRANT USAGE ON SCHEMA app TO {name}; ALTER ROLE {name} SET search_path = app; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {name}; \
             SET search_path = app; {setup}"
        );
        self.say(name, &role).await;
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
    let all = |dir: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| has(dir, name));
    places.into_iter().find(all).expect(
        "initdb, postgres and psql: install PostgreSQL (Debian: postgresql), or run ./test, which does",
    )
}

/// PostgreSQL does not run as root: then as another user.
fn as_somebody() -> Command {
    use std::os::unix::fs::MetadataExt as _;
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        return Command::new("env");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = |user: &&str| passwd.lines().any(|line| line.starts_with(&format!("{user}:")));
    let user = ["postgres", "nobody"].into_iter().find(known);
    let mut command = Command::new("runuser");
    command.args(["-u", user.expect("a user postgres or nobody, as whom to run PostgreSQL"), "--"]);
    command
}
