//! A real MariaDB server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Row, Value, from_value};

use crate::keeper::{Keeper, free_port};

/// On a socket in its directory and on a port of this machine, with TLS under an authority of its
/// own for who wants it. The server makes its own tables: the program that usually has it do so needs
/// more of the distribution than the server.
const SCRIPT: &str = r#"
bin=$1 port=$2 share=$3
signal=KILL
make() {
    log=$dir/make.log
    mkdir "$dir/data" "$dir/out"
    {
        printf '%s;\n' 'CREATE DATABASE mysql' 'USE mysql' 'SET @auth_root_socket=NULL' 'SET @skip_auth_anonymous=1'
        cat "$share/mysql_system_tables.sql" "$share/mysql_performance_tables.sql" "$share/mysql_system_tables_data.sql"
    } | "$bin" --no-defaults --bootstrap --datadir="$dir/data" --skip-name-resolve --innodb-log-file-size=8M \
        --innodb-flush-method=nosync > "$log" 2>&1 || give_up "$log"
    cd "$dir"
    new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
    echo subjectAltName=DNS:localhost > names
    {
        openssl req -x509 $new -keyout ca.key -out ca.crt -subj /CN=authority -days 2 &&
        openssl req $new -keyout server.key -out server.csr -subj /CN=localhost &&
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile names -out server.crt
    } > "$log" 2>&1 || give_up "$log"
    cd /
}
launch() {
    : > "$dir/server.log"
    "$bin" --no-defaults --datadir="$dir/data" --tmpdir="$dir" --socket="$dir/s" --pid-file="$dir/pid" \
        --port="$port" --bind-address=127.0.0.1 --skip-name-resolve --max-connections=200 \
        --innodb-log-file-size=8M --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 \
        --innodb-buffer-pool-size=32M --secure-file-priv= --ssl-ca="$dir/ca.crt" --ssl-cert="$dir/server.crt" \
        --ssl-key="$dir/server.key" >> "$dir/server.log" 2>&1 < /dev/null &
    server=$!
}
answers() { grep -q 'ready for connections' "$dir/server.log"; }
"#;

/// A running server, gone when dropped.
pub struct MariaDb {
    keeper: Keeper,
    port: u16,
}

impl MariaDb {
    /// The one that all tests of a process share which do not stop it.
    ///
    /// # Panics
    /// As [`MariaDb::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one of its own.
    ///
    /// # Panics
    /// If MariaDB is not installed or does not start.
    pub fn start() -> Self {
        let port = free_port();
        let (bin, text) = (program(), port.to_string());
        let share = Path::new("/usr/share/mysql");
        let args = [bin.as_os_str(), OsStr::new(&text), share.as_os_str()];
        Self { keeper: Keeper::start(SCRIPT, &args), port }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its directory, which holds `server.log`, and `out`, into which it could write.
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
        format!("mysql://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The connection string over the socket.
    pub fn socket(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@localhost/{database}?socket={}/s", self.dir().display())
    }

    /// The certificate of its authority.
    ///
    /// # Panics
    /// If it is not there.
    pub fn ca_pem(&self) -> Vec<u8> {
        std::fs::read(self.dir().join("ca.crt")).unwrap()
    }

    /// Says something as the administrator, which may be several statements.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn say(&self, database: &str, sql: &str) {
        let mut conn = self.administrator(database).await;
        conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.disconnect().await.unwrap();
    }

    /// The first value that the administrator sees; empty where there is none.
    ///
    /// # Panics
    /// If the server refuses it.
    pub async fn see(&self, database: &str, sql: &str) -> String {
        let mut conn = self.administrator(database).await;
        let row: Option<Row> =
            conn.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        conn.disconnect().await.unwrap();
        let value = row.and_then(|row| row.unwrap_raw().into_iter().next().flatten());
        match value {
            None | Some(Value::NULL) => String::new(),
            Some(value) => from_value(value),
        }
    }

    async fn administrator(&self, database: &str) -> Conn {
        let socket = self.dir().join("s").display().to_string();
        let opts =
            OptsBuilder::default().socket(Some(socket)).user(Some("root")).db_name(Some(database));
        Conn::new(opts).await.unwrap()
    }

    /// A database of its own for one test, with a role of its name that reads its tables.
    ///
    /// # Panics
    /// If the server refuses something of it.
    pub async fn database(&self, name: &str, setup: &str) {
        let role = format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4; CREATE USER {name}@'%'; \
             GRANT SELECT ON {name}.* TO {name}@'%'; USE {name}; {setup}"
        );
        self.say("mysql", &role).await;
    }
}

/// The program of the server: in `PATH`, or where Debian keeps it.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    let programs = places.into_iter().map(|place| place.join("mariadbd"));
    programs.into_iter().find(|program| program.is_file()).expect(
        "mariadbd: install MariaDB (Debian: mariadb-server-core), or run ./test, which does",
    )
}
