//! A real PostgreSQL server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::keeper::{Keeper, free_port};

/// On a socket in its directory and on a port of this machine, with TLS under an authority of its
/// own for who wants it. Anybody may be anyone, but `guarded` needs a password.
const SCRIPT: &str = r#"
bin=$1 port=$2
make() {
    log=$dir/make.log
    "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync -E UTF8 --locale=C > "$log" 2>&1 || give_up "$log"
    mkdir "$dir/pg"
    cd "$dir/data"
    new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    echo subjectAltName=DNS:localhost > names
    {
        openssl req -x509 $new -keyout ca.key -out ../ca.crt -subj /CN=authority -days 2 &&
        openssl req $new -keyout server.key -out server.csr -subj /CN=localhost &&
        openssl x509 -req -in server.csr -CA ../ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile names -out server.crt
    } > "$log" 2>&1 || give_up "$log"
    sed -i '1i hostssl all guarded 127.0.0.1/32 scram-sha-256' pg_hba.conf
    cd /
}
launch() {
    "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" -c listen_addresses=127.0.0.1 -c ssl=on -c fsync=off \
        -c max_connections=200 >> "$dir/server.log" 2>&1 < /dev/null &
    server=$!
}
answers() { "$bin/psql" -h "$dir" -p "$port" -U postgres -d postgres -qtAc 'SELECT 1'; }
"#;

/// A running server, gone when dropped.
pub struct Postgres {
    keeper: Keeper,
    port: u16,
}

impl Postgres {
    /// The one that all tests of a process share which do not stop it.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one of its own.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        let port = free_port();
        let (bin, text) = (binaries(), port.to_string());
        Self { keeper: Keeper::start(SCRIPT, &[bin.as_os_str(), OsStr::new(&text)]), port }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory, which holds its socket, `server.log`, and `pg`, into which it could write.
    pub fn dir(&self) -> &Path {
        self.keeper.dir()
    }

    /// Ends the server at once, as a crash does.
    pub fn crash(&self) {
        self.keeper.crash();
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.keeper.restart();
    }

    /// The connection string over TCP.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The connection string over the socket, to the database `postgres`.
    pub fn socket(&self, user: &str) -> String {
        format!("host={} port={} user={user} dbname=postgres", self.dir().display(), self.port)
    }

    /// The certificate of its authority.
    ///
    /// # Panics
    /// If it is not there.
    pub fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.dir().join("ca.crt")).unwrap()
    }

    /// Says something as the administrator.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn say(&self, database: &str, sql: &str) {
        let talk = |client: Client| async move { client.batch_execute(sql).await };
        self.with(database, talk).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The first value that the administrator sees; empty where there is none.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn see(&self, database: &str, sql: &str) -> String {
        let talk = |client: Client| async move { client.simple_query(sql).await };
        let said =
            self.with(database, talk).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let value = said.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// Takes every connection that the server has left, an administrator's among them, for as long as what it returns is
    /// kept. Those of a role are ended, and taken too.
    ///
    /// # Panics
    /// If there are more than 1,000.
    pub fn crowd(&self, role: &str) -> Crowd {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
        );
        let url = self.url("postgres", "postgres");
        let taken = runtime.block_on(async {
            let mut taken = Vec::new();
            while let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                let talk = tokio::spawn(connection);
                client.batch_execute(&end).await.unwrap();
                taken.push((client, talk));
                assert!(taken.len() <= 1000, "it has no end");
            }
            taken.into_iter().map(|(client, _)| client).collect()
        });
        Crowd { _clients: taken, _runtime: runtime }
    }

    async fn with<T, F: Future<Output = T>>(
        &self,
        database: &str,
        talk: impl FnOnce(Client) -> F,
    ) -> T {
        let (client, connection) =
            tokio_postgres::connect(&self.url("postgres", database), NoTls).await.unwrap();
        let (said, ended) = tokio::join!(talk(client), connection);
        ended.unwrap();
        said
    }

    /// A database of its own for one test, with a role of its name that reads its schema `app`.
    ///
    /// # Panics
    /// If the server refuses something of it.
    pub async fn database(&self, name: &str, setup: &str) {
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

/// Connections that leave none to others, until they are dropped.
pub struct Crowd {
    _clients: Vec<Client>,
    // Dropped last, and with it the connections.
    _runtime: tokio::runtime::Runtime,
}

/// Where the programs of PostgreSQL are: in `PATH`, or where Debian keeps them.
///
/// # Panics
/// If they are not installed.
pub fn binaries() -> PathBuf {
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
