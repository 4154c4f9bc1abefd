//! What an operator may set on the front, with defaults that are safe on the open network.
//!
//! Plain data: it reads no file and no environment. Every limit here has a unit, a default and a
//! test that reaches it.

use std::time::Duration;

/// The limits and names of one front.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Host names, or `host:port`, that may stand in `Host`. Loopback names and the host of
    /// [`public_url`](Self::public_url) always may. An entry without a port allows every port.
    pub allowed_hosts: Vec<String>,
    /// Browser origins (`https://app.example.com`, or `http://localhost:*` for every port) that may
    /// call. An origin equal to the (checked) `Host` always may; a request without `Origin` passes.
    pub allowed_origins: Vec<String>,
    /// The URL that clients know this server by, for example `https://mcp.example.com/mcp`.
    pub public_url: Option<String>,
    /// Where MCP is served. Default `/mcp`.
    pub path: String,
    /// Largest request body, in bytes. Default 4 MiB.
    pub body_bytes_max: usize,
    /// Most memory that all request bodies together may take, in bytes; a body that would go beyond
    /// answers 503. Bodies up to 16 KiB are not counted. Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// Most memory that all answers together may take until their clients have read them, in
    /// bytes; at least 64 KiB. One beyond waits up to 5 s for room, and then becomes a 503. Answers up
    /// to 64 KiB and streams are not counted. Default 256 MiB.
    pub answers_bytes_max: usize,
    /// Largest request head of HTTP/1 and header list of HTTP/2, in bytes; at least 8 KiB. Default 32 KiB.
    pub header_bytes_max: usize,
    /// Most header fields in a request. Default 100.
    pub headers_max: usize,
    /// Time in which the head of a request must arrive. Default 10 s.
    pub header_timeout: Duration,
    /// Time in which the body of a request must arrive. Default 30 s.
    pub body_timeout: Duration,
    /// How long an idle connection stays open. Default 75 s: longer than nginx keeps it (60 s), so
    /// that it is the balancer who closes, never this side under a request that is on its way.
    pub keep_alive_timeout: Duration,
    /// How long a client may read nothing of an answer or a stream before it is cut. Default 30 s.
    pub write_timeout: Duration,
    /// How long the machine of a client may be silent, not even acknowledging, before its connection is cut; at least
    /// 4 s. Default 2 min. Without it one that vanished would be kept until the kernel gives up, or for ever
    /// where nothing is sent to it, as in a subscription that has nothing to tell.
    pub peer_timeout: Duration,
    /// Most open connections; one beyond is closed at once. Default 10,000.
    pub connections_max: usize,
    /// Most open connections of one remote address. Default none, since behind a balancer every
    /// client comes from the balancer's address.
    pub connections_per_ip_max: Option<usize>,
    /// Most concurrent streams of one HTTP/2 connection. Default 200.
    pub h2_streams_max: u32,
    /// Most HTTP/2 streams that a client may reset before they were accepted; beyond, the
    /// connection ends with `GOAWAY` (CVE-2023-44487). Default 20.
    pub h2_resets_max: usize,
    /// Smallest answer that is compressed where the client accepts gzip, in bytes; streams never
    /// are. Default 16 KiB. `None` switches compression off.
    pub gzip_bytes_min: Option<usize>,
    /// How long connections are still accepted after `/ready` has begun to answer 503. Default 0.
    pub pre_stop_delay: Duration,
    /// How long idle connections stay open in the draining phase, for requests that are already on
    /// their way. Default 1 s.
    pub drain_idle_grace: Duration,
    /// How long the draining phase lasts at most. Default 30 s.
    pub drain_timeout: Duration,
    /// How long the flushing phase lasts at most. Default 5 s.
    pub flush_timeout: Duration,
    /// Sessions for revisions before 2026-07-28. Default none: those revisions are served without
    /// sessions too, which every balancer can spread.
    pub legacy_sessions: Option<SessionLimits>,
    /// Whether results of revision 2026-07-28 carry `serverInfo` in `_meta`. Default true.
    pub server_info_in_results: bool,
    /// Serve without authentication on an address that is not loopback. Default false.
    pub allow_unauthenticated_network: bool,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: None,
            path: "/mcp".to_owned(),
            body_bytes_max: 4 * 1024 * 1024,
            bodies_bytes_max: 256 * 1024 * 1024,
            answers_bytes_max: 256 * 1024 * 1024,
            header_bytes_max: 32 * 1024,
            headers_max: 100,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            peer_timeout: Duration::from_mins(2),
            connections_max: 10_000,
            connections_per_ip_max: None,
            h2_streams_max: 200,
            h2_resets_max: 20,
            gzip_bytes_min: Some(16 * 1024),
            pre_stop_delay: Duration::ZERO,
            drain_idle_grace: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(30),
            flush_timeout: Duration::from_secs(5),
            legacy_sessions: None,
            server_info_in_results: true,
            allow_unauthenticated_network: false,
        }
    }
}

/// The bounds of sessions for revisions before 2026-07-28.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Most open sessions; `initialize` beyond answers 503. Default 1,000, about 56 MB. Where callers
    /// authenticate, one principal holds at most a quarter of them (rounded up); beyond, 429.
    pub sessions_max: usize,
    /// A session that is not used for this long ends. Default 5 minutes.
    pub idle_timeout: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { sessions_max: 1_000, idle_timeout: Duration::from_mins(5) }
    }
}
