//! The sections and keys, with their defaults; the reference page is made from this file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use roothold_core::PrincipalSpec;
use roothold_core::audit::AuditOptions;
use roothold_edge::auth::JwtAlgorithm;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::databases::DatabaseSection;
use super::datasets::{DatasetEngine, DatasetSection};
use super::jobs::{Jobs, State};
use super::stores::StoreSection;
use super::telemetry::Telemetry;
use super::tools::ToolSection;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the server listens and how it ends.
    pub server: Server,
    /// The directories that callers can reach, in the order in which they are listed.
    pub roots: Vec<RootSection>,
    /// Patterns over all roots; they see the path of the URI without its leading slash. They can change while the server runs.
    pub policy: PolicySection,
    /// What each principal is granted. Without any entry everyone who authenticates has the whole policy; with one, principals without an entry have nothing. They can change while the server runs, though not to none.
    pub principals: Vec<PrincipalSection>,
    /// How callers prove who they are.
    pub auth: Auth,
    /// Limits of calls and connections.
    pub limits: Limits,
    /// What is kept in memory so that it need not be read again. It is compared with the disk before each use, and policy is asked each time.
    pub cache: Cache,
    /// The audit log.
    pub audit: Audit,
    /// Where jobs are kept.
    pub state: State,
    /// Work that goes on after the answer to the call which began it.
    pub jobs: Jobs,
    /// Files, and objects of stores, that agents can ask for by a name. Other files need none: a path is a data source, too.
    pub datasets: Vec<DatasetSection>,
    /// Stores over the network whose objects are datasets: what lies below their URLs can be read.
    pub stores: Vec<StoreSection>,
    /// What reading and querying datasets may use.
    pub dataset_engine: DatasetEngine,
    /// Databases that agents can describe and ask. They need no roots.
    pub databases: Vec<DatabaseSection>,
    /// Tools that are made of SQL: one statement with parameters each. They can change while the server runs.
    pub tools: Vec<ToolSection>,
    /// The keys that seal cursors.
    pub handles: Handles,
    /// Logs, metrics and traces.
    pub telemetry: Telemetry,
    /// The file that this was read from, if it was.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// Where the server listens and how it ends.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address of `/mcp`, `/health` and `/ready`.
    pub listen: SocketAddr,
    /// The URL by which clients reach `/mcp`, such as `https://mcp.example.com/mcp`; the audience of tokens and the resource of the OAuth metadata.
    pub public_url: Option<String>,
    /// Host names that requests may name besides loopback and the host of `public_url`.
    pub allowed_hosts: Vec<String>,
    /// Browser origins that may call; requests without an Origin header pass.
    pub allowed_origins: Vec<String>,
    /// How long the server still accepts connections after it has said on `/ready` that it stops, in seconds.
    pub pre_stop_delay_seconds: u64,
    /// How long running requests may take to end, in seconds.
    pub drain_timeout_seconds: u64,
    /// How often the configuration file, and what `[[databases]]` read from files, is looked at for changes, in seconds; 0 leaves that to SIGHUP.
    pub config_poll_seconds: u64,
    /// Sessions for clients of older revisions that need requests from the server; off by default.
    pub legacy_sessions: Option<LegacySessions>,
    /// Whether the kernel keeps the process to the roots, the audit log and the configured ports (Landlock, Linux 5.13 or later): `on` warns where it cannot, `require` refuses to start there.
    pub landlock: LandlockWord,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            pre_stop_delay_seconds: 0,
            drain_timeout_seconds: 30,
            config_poll_seconds: 5,
            legacy_sessions: None,
            landlock: LandlockWord::On,
        }
    }
}

/// What to do about Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LandlockWord {
    /// Not used.
    Off,
    /// Used where the kernel can.
    #[default]
    On,
    /// Used, or nothing is served.
    Require,
}

/// Sticky sessions of the older revisions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LegacySessions {
    /// The most sessions at once; one principal who authenticated has at most a quarter of them.
    pub sessions_max: usize,
    /// How long a session may be idle, in seconds.
    pub idle_timeout_seconds: u64,
}

impl Default for LegacySessions {
    fn default() -> Self {
        Self { sessions_max: 1000, idle_timeout_seconds: 300 }
    }
}

/// A directory that callers can reach.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootSection {
    /// The directory on disk, relative to this file; callers never see it.
    pub path: PathBuf,
    /// The public `file:///…` URI. Default: the absolute path of the directory.
    #[serde(default)]
    pub uri: Option<String>,
    /// A name for people. Default: the last part of the URI.
    #[serde(default)]
    pub name: Option<String>,
    /// What it holds, for agents.
    #[serde(default)]
    pub description: String,
    /// `ro`: nothing can be changed; `rw`: what the write patterns cover can.
    #[serde(default)]
    pub access: AccessWord,
    /// Narrows what may be read, by patterns relative to the root.
    #[serde(default)]
    pub read: Option<Vec<String>>,
    /// Narrows what may be written, by patterns relative to the root.
    #[serde(default)]
    pub write: Option<Vec<String>>,
    /// Excluded here too, by patterns relative to the root.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Never written, by patterns relative to the root.
    #[serde(default)]
    pub write_exclude: Vec<String>,
    /// What to do with files that have several names. Default: `deny` once principals are configured or callers authenticate, else `allow`.
    #[serde(default)]
    pub hardlinks: Option<HardlinksWord>,
    /// Directories below the root that may be mount points, relative to it.
    #[serde(default)]
    pub mounts: Vec<String>,
}

impl RootSection {
    /// A root with nothing but a directory.
    pub fn of(path: PathBuf, access: AccessWord) -> Self {
        Self {
            path,
            uri: None,
            name: None,
            description: String::new(),
            access,
            read: None,
            write: None,
            exclude: Vec::new(),
            write_exclude: Vec::new(),
            hardlinks: None,
            mounts: Vec::new(),
        }
    }
}

/// `ro` or `rw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessWord {
    /// Nothing can be changed.
    #[default]
    Ro,
    /// What the write patterns cover can be changed.
    Rw,
}

/// What to do with files that have several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HardlinksWord {
    /// Refuse them.
    Deny,
    /// Serve them.
    Allow,
}

/// Patterns over all roots.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySection {
    /// What may be read. Default: everything.
    pub read: Option<Vec<String>>,
    /// What may be written, in roots whose access is `rw`. Default: everything.
    pub write: Option<Vec<String>>,
    /// What does not exist for any caller. Default: files that hold secrets by custom, such as `.env` and `*.key`; see the policy page.
    pub exclude: Option<Vec<String>>,
}

/// What one principal is granted; a key that is left out grants everything that the policy allows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalSection {
    /// The name that authentication yields, or `*` for everyone without an entry.
    pub name: String,
    /// The scopes that the principal can use at most. A misspelt one refuses the start.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// The roots, by name or URI.
    #[serde(default)]
    pub roots: Option<Vec<String>>,
    /// The tools, by name. One that does not exist refuses the start.
    #[serde(default)]
    pub tools: Option<Vec<String>>,
}

impl Config {
    /// What each principal is granted.
    pub(crate) fn principal_specs(&self) -> Vec<PrincipalSpec> {
        self.principals.iter().map(PrincipalSection::spec).collect()
    }

    /// Whether what one user may see is not what another may.
    pub(crate) fn has_several_users(&self) -> bool {
        self.authenticates() || !self.principals.is_empty()
    }
}

impl PrincipalSection {
    pub(crate) fn spec(&self) -> PrincipalSpec {
        PrincipalSpec {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            roots: self.roots.clone(),
            tools: self.tools.clone(),
        }
    }
}

/// How callers prove who they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The file of API keys, made by `roothold keys new`.
    pub keys_file: Option<PathBuf>,
    /// JWT bearer tokens of an authorization server.
    pub jwt: Option<Jwt>,
    /// Must say `on-the-network` to serve callers who prove nothing on an address that is not loopback, or where `server.public_url` is `https` or names another host.
    pub unauthenticated: Option<Unauthenticated>,
}

/// The words that must be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unauthenticated {
    /// Whoever reaches the address has everything that the policy allows.
    OnTheNetwork,
}

/// JWT bearer tokens (RFC 9068).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The issuer, exactly as the `iss` claim has it.
    pub issuer: String,
    /// The audience, exactly as the `aud` claim has it. Default: `server.public_url`.
    #[serde(default)]
    pub audience: Option<String>,
    /// The file of the issuer's keys, a JWKS.
    pub jwks_file: PathBuf,
    /// The signature algorithms that are accepted.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<String>,
    /// How far clocks may differ, in seconds; at most 60.
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u64,
    /// Accept tokens whose `typ` is not `at+jwt`, which RFC 9068 forbids, but some issuers do not set.
    #[serde(default)]
    pub accept_untyped: bool,
    /// The claim that names the principal.
    #[serde(default = "default_claim")]
    pub principal_claim: String,
}

fn default_algorithms() -> Vec<String> {
    JwtAlgorithm::DEFAULT.map(|algorithm| algorithm.name().to_owned()).to_vec()
}

fn default_leeway() -> u64 {
    30
}

fn default_claim() -> String {
    "sub".to_owned()
}

/// Limits of calls and connections.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The size of a text answer when the caller does not say, in bytes.
    pub result_bytes_default: u64,
    /// The largest text answer that a caller can ask for, in bytes.
    pub result_bytes_ceiling: u64,
    /// The most entries in one page of a listing.
    pub result_entries_max: usize,
    /// The largest file that `read_media_file` gives, in bytes.
    pub media_bytes_max: u64,
    /// The largest file that `resources/read` gives, in bytes.
    pub resource_bytes_max: u64,
    /// The largest file that a tool writes, and that `edit_file` reads, in bytes; over HTTP `body_bytes_max` must leave room for it.
    pub write_bytes_max: u64,
    /// The most calls in one `batch`.
    pub batch_calls_max: usize,
    /// How long a call may run, in seconds.
    pub call_timeout_seconds: u64,
    /// How long a call may run that works in steps and is no job, in seconds.
    pub long_call_timeout_seconds: u64,
    /// The most calls that run at once.
    pub calls_max: usize,
    /// The most calls of one principal that run at once.
    pub calls_per_principal_max: usize,
    /// How long a call may wait for its turn, in seconds.
    pub admission_timeout_seconds: u64,
    /// Requests per second of one principal; 0 for no limit. Default: 200 when callers authenticate, no limit for a local user.
    pub requests_per_second: Option<f64>,
    /// How many requests a principal may save up for a burst.
    pub requests_burst: u32,
    /// Requests per second of one remote address that may carry no usable credential; more are answered 429 unread. 0 for no limit. Default: 10, or no limit where `server.public_url` is `https`: then a proxy ends TLS, every client has the proxy's address, and the proxy must count.
    pub auth_failures_per_second: Option<f64>,
    /// How many such requests an address may save up for a burst.
    pub auth_failures_burst: u32,
    /// The most subscriptions to changes that are open at once.
    pub subscriptions_max: usize,
    /// The most of one principal.
    pub subscriptions_per_principal_max: usize,
    /// The most URIs in one subscription.
    pub subscription_uris_max: usize,
    /// The most URIs in all subscriptions.
    pub watches_max: usize,
    /// The shortest time between two notifications of one URI, in seconds; changes in between are told as one.
    pub notification_interval_seconds: u64,
    /// How often a watched URI is looked at where the kernel tells of no changes, as on network file systems, in seconds; elsewhere it is looked at 12 times more seldom, and on every hint.
    pub watch_poll_seconds: u64,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// The most memory that all answers together may take until their clients have read them, in bytes; one beyond waits, and becomes a 503 after 5 seconds. Answers up to 64 KiB are not counted.
    pub answers_bytes_max: usize,
    /// The most open connections.
    pub connections_max: usize,
    /// How long a client may take for the headers of a request, in seconds.
    pub header_timeout_seconds: u64,
    /// How long a client may take for the body of a request, in seconds.
    pub body_timeout_seconds: u64,
    /// How long an idle connection is kept, in seconds; must outlive the balancer's 60.
    pub keep_alive_timeout_seconds: u64,
    /// How long a client's machine may be silent, not even acknowledging what it is sent, before its connection is closed, in seconds.
    pub peer_timeout_seconds: u64,
    /// Threads for blocking file work.
    pub blocking_threads_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            result_bytes_default: 64 * 1024,
            result_bytes_ceiling: 1024 * 1024,
            result_entries_max: 10_000,
            media_bytes_max: 5 * 1024 * 1024,
            resource_bytes_max: 1024 * 1024,
            write_bytes_max: 8 * 1024 * 1024,
            batch_calls_max: 100,
            call_timeout_seconds: 30,
            long_call_timeout_seconds: 600,
            calls_max: 256,
            calls_per_principal_max: 128,
            admission_timeout_seconds: 10,
            requests_per_second: None,
            requests_burst: 400,
            auth_failures_per_second: None,
            auth_failures_burst: 50,
            subscriptions_max: 1024,
            subscriptions_per_principal_max: 64,
            subscription_uris_max: 256,
            watches_max: 16_384,
            notification_interval_seconds: 1,
            watch_poll_seconds: 5,
            body_bytes_max: 4 * 1024 * 1024,
            answers_bytes_max: 256 * 1024 * 1024,
            connections_max: 10_000,
            header_timeout_seconds: 10,
            body_timeout_seconds: 30,
            keep_alive_timeout_seconds: 75,
            peer_timeout_seconds: 120,
            blocking_threads_max: 32,
        }
    }
}

impl Limits {
    pub(crate) fn call_timeout(&self) -> Duration {
        Duration::from_secs(self.call_timeout_seconds)
    }

    pub(crate) fn long_call_timeout(&self) -> Duration {
        Duration::from_secs(self.long_call_timeout_seconds)
    }

    pub(crate) fn admission_timeout(&self) -> Duration {
        Duration::from_secs(self.admission_timeout_seconds)
    }
}

/// The audit log.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// The directory of the log's files. Default: `roothold/audit` in the user's state directory.
    pub dir: Option<PathBuf>,
    /// When the lines of reads are stored: `written` before the answer, or `queued` within 100 ms. Of requests without a usable credential at most 20 a second are recorded; the metric `roothold_auth_failures_unrecorded_total` counts the others.
    pub reads: AuditReads,
    /// The name of this replica in its log, and in the state store, which keeps how far each log has come. Default: the host's name.
    pub replica: Option<String>,
    /// The size in bytes from which on the log goes on in another file. The one before is closed when the calls that began in it have ended, and may be moved away then.
    pub file_bytes_max: u64,
}

impl Default for Audit {
    fn default() -> Self {
        let file_bytes_max = AuditOptions::default().file_bytes_max;
        Self { dir: None, reads: AuditReads::default(), replica: None, file_bytes_max }
    }
}

/// When the lines of reads are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditReads {
    /// Before the answer; on disk within a second.
    #[default]
    Written,
    /// In a bounded queue that refuses calls when it is full.
    Queued,
}

/// The keys that seal cursors.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Handles {
    /// `kid:secret` each, where the secret is 32 bytes as base64url and may be `${VARIABLE}`; the first seals, all open. Unset: a key per process, good for one replica.
    #[serde(deserialize_with = "secrets")]
    pub keys: Vec<String>,
}

/// A list of secrets, or one. What is neither is refused without being shown.
fn secrets<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Secrets {
        One(String),
        Many(Vec<String>),
    }
    match Secrets::deserialize(from) {
        Ok(Secrets::One(secret)) => Ok(vec![secret]),
        Ok(Secrets::Many(secrets)) => Ok(secrets),
        Err(_) => {
            Err(serde::de::Error::custom("handles.keys must be a list of \"kid:secret\" texts"))
        }
    }
}
