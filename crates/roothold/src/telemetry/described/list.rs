//! The descriptions, by what they are about.

use super::{Described, Label, Set, Values};

const fn words(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Words(values) }
}

const fn set(name: &'static str, set: &'static Set) -> Label {
    Label { name, values: Values::Set(set) }
}

pub(crate) static TOOLS: Set = Set {
    name: "tools",
    about: "The name of a tool that is there, those of the configuration among them; `other` for a call of one that is \
            not; empty for what is no call of a tool.",
    words: &[],
};

pub(crate) static METHODS: Set = Set {
    name: "methods",
    about: "The method of the protocol; `jobs/run` is a run of a job, `notifications/…` a look at what a subscription \
            is to be told of.",
    words: &[
        "tools/call",
        "tools/list",
        "resources/read",
        "resources/list",
        "resources/subscribe",
        "completion/complete",
        "subscriptions/listen",
        "notifications/resources/updated",
        "notifications/tasks",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
        "jobs/run",
    ],
};

pub(crate) static FAULTS: Set = Set {
    name: "faults",
    about: "Why it failed, by the code that callers and the audit log see; empty where it did not.",
    words: &[
        "",
        "invalid",
        "denied",
        "not_found",
        "limit",
        "conflict",
        "unsupported",
        "busy",
        "cancelled",
        "timeout",
        "unavailable",
        "internal",
    ],
};

pub(crate) static RULES: Set = Set {
    name: "rules",
    about: "The rule of the policy that denied a call, as the audit log and `roothold explain` name it.",
    words: &[
        "access",
        "client_capabilities",
        "confirmation",
        "databases",
        "exclude",
        "file_mode",
        "file_system",
        "hardlinks",
        "principal_scopes",
        "principals",
        "read",
        "root_itself",
        "roots",
        "scopes",
        "special_files",
        "stores",
        "subtree",
        "tools",
        "write",
        "write_exclude",
    ],
};

pub(crate) static FAILURES: Set = Set {
    name: "failures",
    about: "What was wrong with a credential.",
    words: &[
        "missing",
        "malformed",
        "unknown",
        "expired",
        "not_yet_valid",
        "bad_signature",
        "bad_secret",
        "bad_issuer",
        "bad_audience",
        "bad_algorithm",
        "bad_type",
        "bad_claims",
        "unproven",
        "revoked",
    ],
};

/// All sets, for the reference page.
pub(crate) static SETS: [&Set; 5] = [&TOOLS, &METHODS, &FAULTS, &RULES, &FAILURES];

const TOOL: Label = set("gen_ai_tool_name", &TOOLS);
const FAULT: Label = set("error_type", &FAULTS);
const DATABASE_KIND: Label = words("kind", &["sqlite", "postgres", "mysql"]);
const CACHE: Label = words("cache", &["content", "lines", "index"]);
const DISK: Label = words("disk", &["audit", "state", "spill"]);
const DATASET_OPERATION: Label = words(
    "operation",
    &[
        "describe",
        "query",
        "export",
        "profile",
        "aggregate",
        "search",
        "validate",
        "sample",
        "convert",
        "sql",
    ],
);

pub(crate) static OPERATION_DURATION: Described = Described::histogram(
    "mcp_server_operation_duration",
    "How long operations of the protocol took, from their arrival at the handler to their answer",
)
.seconds()
.by(&[set("mcp_method_name", &METHODS), TOOL, FAULT]);

pub(crate) static ANSWER_BYTES: Described =
    Described::counter("roothold_answer", "Bytes of answers").bytes().by(&[TOOL]);
pub(crate) static ANSWERS_CUT: Described = Described::counter(
    "roothold_answers_cut",
    "Answers that ended at a limit of the call, and have a next page",
)
.by(&[TOOL]);
pub(crate) static DENIALS: Described =
    Described::counter("roothold_denials", "Calls that a rule of the policy denied")
        .by(&[set("rule", &RULES)]);
pub(crate) static CALLS_IN_FLIGHT: Described =
    Described::gauge("roothold_calls_in_flight", "Calls that are running");
pub(crate) static CALLS_WAITING: Described = Described::gauge(
    "roothold_calls_waiting",
    "Calls that wait for a place among the running ones",
);
pub(crate) static CALLS_MAX: Described =
    Described::gauge("roothold_calls_max", "Calls that may run at once (limits.calls_max)");

pub(crate) static HTTP_REQUESTS: Described = Described::counter(
    "roothold_http_requests",
    "HTTP requests, by the class of their status and by whether they went past the transport",
)
.by(&[words("status", &["2xx", "3xx", "4xx", "5xx"]), words("path", &["fast", "full"])]);
pub(crate) static HTTP_CONNECTIONS: Described =
    Described::gauge("roothold_http_connections", "Open connections");
pub(crate) static HTTP_CONNECTIONS_REFUSED: Described = Described::counter(
    "roothold_http_connections_refused",
    "Connections that were closed at once, since there were as many as there may be",
)
.by(&[words("reason", &["total", "per_address"])]);
pub(crate) static RATE_LIMITED: Described =
    Described::counter("roothold_rate_limited", "Requests beyond a principal's rate");
pub(crate) static ANSWERS_HELD: Described = Described::gauge(
    "roothold_answers_held",
    "Memory for answers beyond 64 KiB that their clients have not read yet",
)
.bytes();
pub(crate) static ANSWERS_MAX: Described =
    Described::gauge("roothold_answers_max", "How much that may be (limits.answers_bytes_max)")
        .bytes();
pub(crate) static ANSWERS_REFUSED: Described = Described::counter(
    "roothold_answers_refused",
    "Answers that became a 503, since no room for them came free in time",
);
pub(crate) static AUTH_FAILURES: Described =
    Described::counter("roothold_auth_failures", "Requests without a usable credential")
        .by(&[set("class", &FAILURES)]);
pub(crate) static AUTH_FAILURES_UNRECORDED: Described = Described::counter(
    "roothold_auth_failures_unrecorded",
    "Refused credentials without a line in the audit log",
);

pub(crate) static BUILD_INFO: Described =
    Described::gauge("roothold_build_info", "1, with the version as its label")
        .by(&[words("version", &[env!("CARGO_PKG_VERSION")])]);
pub(crate) static READY: Described =
    Described::gauge("roothold_ready", "1 while /ready says that traffic may come, else 0");
pub(crate) static STOPPING: Described =
    Described::gauge("roothold_stopping", "1 once the process has begun to stop, else 0");
pub(crate) static WALLS: Described =
    Described::gauge("roothold_walls", "1 for each wall around the process that stands, else 0")
        .by(&[words("wall", &["landlock", "seccomp"])]);
pub(crate) static CONFIG_READS: Described = Described::counter(
    "roothold_config_reads",
    "How often the configuration was read while the server ran, by what became of it",
)
.by(&[words("outcome", &["taken", "refused"])]);
pub(crate) static CONFIG_REFUSED: Described = Described::gauge(
    "roothold_config_refused",
    "1 while the configuration that was read last is not the one in force, since it was refused",
);
pub(crate) static TRACE_SPANS: Described = Described::counter(
    "roothold_trace_spans",
    "Spans of traces by what became of them; `dropped` are those that the queue had no room for",
)
.by(&[words("outcome", &["exported", "failed", "dropped"])]);
pub(crate) static LOG_LINES_LOST: Described = Described::counter(
    "roothold_log_lines_lost",
    "Lines of the log that had no room on stderr, since nobody read it",
);
pub(crate) static DISK_FREE: Described = Described::gauge(
    "roothold_disk_free",
    "Free on the file system of the audit log, of the store of jobs, of what queries do not hold in memory",
)
.bytes()
.by(&[DISK]);
pub(crate) static DISK_SIZE: Described =
    Described::gauge("roothold_disk_size", "Size of the same file systems").bytes().by(&[DISK]);

pub(crate) static AUDIT_HEALTHY: Described = Described::gauge(
    "roothold_audit_healthy",
    "1 while calls can be recorded, 0 while every call is refused since they cannot",
);
pub(crate) static AUDIT_FAILURES: Described = Described::counter(
    "roothold_audit_failures",
    "Files of the audit log that could not be written any more; another begins as soon as one can",
);
pub(crate) static AUDIT_LINES: Described =
    Described::counter("roothold_audit_lines", "Lines of the audit log");
pub(crate) static AUDIT_FILE: Described = Described::gauge(
    "roothold_audit_file",
    "Size of the file of the audit log that is written now; another begins at `audit.file_bytes_max`",
)
.bytes();
pub(crate) static AUDIT_UNSYNCED: Described = Described::gauge(
    "roothold_audit_unsynced_lines",
    "Lines of the audit log that are not known to be safe on the disk yet",
);
pub(crate) static AUDIT_LAG: Described =
    Described::gauge("roothold_audit_lag", "How old the oldest of these lines is").seconds();
pub(crate) static AUDIT_SYNCS: Described =
    Described::counter("roothold_audit_syncs", "How often the disk was told to keep the audit log");
pub(crate) static AUDIT_SYNC_TIME: Described =
    Described::counter("roothold_audit_sync", "How long that took").seconds();

pub(crate) static CACHE_REQUESTS: Described =
    Described::counter("roothold_cache_requests", "Requests to what is kept in memory")
        .by(&[CACHE, words("outcome", &["hit", "miss"])]);
pub(crate) static CACHE_BYTES: Described =
    Described::gauge("roothold_cache", "Memory that is taken by what is kept").bytes().by(&[CACHE]);
pub(crate) static SUBSCRIPTIONS: Described =
    Described::gauge("roothold_subscriptions", "Subscriptions to changes that are open");
pub(crate) static NOTIFICATIONS: Described =
    Described::counter("roothold_notifications", "Changes that were told");

pub(crate) static JOBS: Described = Described::gauge(
    "roothold_jobs",
    "Jobs in the store, which replicas share: looked at every 15 seconds",
)
.by(&[words("state", &["queued", "running", "stalled", "ended"])]);
pub(crate) static JOBS_SUBMITTED: Described =
    Described::counter("roothold_jobs_submitted", "Jobs that were taken in here").by(&[TOOL]);
pub(crate) static JOBS_RUNNING: Described =
    Described::gauge("roothold_jobs_running", "Jobs that are worked on here");
pub(crate) static JOB_SILENCE: Described = Described::gauge(
    "roothold_job_silence",
    "How long ago the job here that was silent longest began or committed a chunk; 0 without one",
)
.seconds();
pub(crate) static JOB_CHUNKS: Described =
    Described::counter("roothold_job_chunks", "Chunks of jobs that were committed").by(&[TOOL]);
pub(crate) static JOB_RUNS: Described =
    Described::counter("roothold_job_runs", "Runs of jobs that ended here, by how").by(&[
        TOOL,
        words("outcome", &["completed", "failed", "cancelled", "released", "put_off", "lost"]),
    ]);
pub(crate) static JOB_RUN_DURATION: Described = Described::histogram(
    "roothold_job_run_duration",
    "How long a job was worked on here at a time",
)
.seconds()
.by(&[TOOL]);
pub(crate) static STATE_OUTAGES: Described = Described::counter(
    "roothold_state_outages",
    "Requests to the state store that failed or were not answered in time",
);

pub(crate) static DATASET_DURATION: Described = Described::histogram(
    "roothold_dataset_operation_duration",
    "How long datasets were described, queried, written and processed",
)
.seconds()
.by(&[DATASET_OPERATION, FAULT]);
pub(crate) static DATASET_READ: Described =
    Described::counter("roothold_dataset_read", "Bytes read from files of datasets")
        .bytes()
        .by(&[DATASET_OPERATION]);
pub(crate) static DATASET_MEMORY: Described =
    Described::gauge("roothold_dataset_memory", "Memory that queries and aggregations hold")
        .bytes();
pub(crate) static DATASET_MEMORY_MAX: Described = Described::gauge(
    "roothold_dataset_memory_max",
    "Memory that queries and aggregations may hold",
)
.bytes();
pub(crate) static DATASET_SPILL: Described =
    Described::gauge("roothold_dataset_spill", "Bytes on disk that did not fit").bytes();
pub(crate) static DATASET_SPILL_MAX: Described = Described::gauge(
    "roothold_dataset_spill_max",
    "How many bytes that may be (dataset_engine.spill_bytes_max); 0 where nothing goes to disk",
)
.bytes();

pub(crate) static DATABASE_DURATION: Described =
    Described::histogram("roothold_database_operation_duration", "How long databases were asked")
        .seconds()
        .by(&[
            DATABASE_KIND,
            words("operation", &["describe", "query", "explain", "execute", "probe"]),
            FAULT,
        ]);
pub(crate) static DATABASE_ROWS: Described =
    Described::counter("roothold_database_rows", "Rows that databases answered with")
        .by(&[DATABASE_KIND]);
pub(crate) static DATABASE_CONNECTIONS: Described = Described::gauge(
    "roothold_database_connections",
    "Connections to databases, and how many there may be",
)
.by(&[DATABASE_KIND, words("state", &["in_use", "idle", "max"])]);
pub(crate) static DATABASE_CALLS_WAITING: Described = Described::gauge(
    "roothold_database_calls_waiting",
    "Calls that wait for a connection to their database, since all are in use or those that their principal may have",
)
.by(&[DATABASE_KIND]);
pub(crate) static DATABASES: Described =
    Described::gauge("roothold_databases", "Configured databases by what is known of them")
        .by(&[DATABASE_KIND, words("state", &["unasked", "ready", "disabled", "down"])]);

pub(crate) static DATABASE_ROLES: Described = Described::gauge(
    "roothold_database_roles",
    "Roles by which databases are asked, by what is known of them",
)
.by(&[DATABASE_KIND, words("state", &["unasked", "ready", "disabled", "down"])]);

pub(crate) static CPU_SECONDS: Described =
    Described::counter("process_cpu", "Processor time that was used").seconds();
pub(crate) static RESIDENT_MEMORY: Described =
    Described::gauge("process_resident_memory", "Resident memory").bytes();
pub(crate) static VIRTUAL_MEMORY: Described =
    Described::gauge("process_virtual_memory", "Address space").bytes();
pub(crate) static OPEN_FDS: Described =
    Described::gauge("process_open_fds", "Open file descriptors");
pub(crate) static MAX_FDS: Described =
    Described::gauge("process_max_fds", "File descriptors that may be open");
pub(crate) static THREADS: Described = Described::gauge("process_threads", "Threads");
pub(crate) static START_TIME: Described =
    Described::gauge("process_start_time", "When the process began, since 1970").seconds();
pub(crate) static MEMORY_LIMIT: Described = Described::gauge(
    "roothold_memory_limit",
    "Memory that the process may use: the limit of its control group, else what the machine has",
)
.bytes();
pub(crate) static CPU_LIMIT: Described = Described::gauge(
    "roothold_cpu_limit_cores",
    "Processors that it may use: the quota of its control group, else those that it is let run on",
);
pub(crate) static CPU_THROTTLED: Described = Described::counter(
    "roothold_cpu_throttled",
    "How long the control group held the process back, since its quota was used up",
)
.seconds();
pub(crate) static RUNTIME_WORKERS: Described =
    Described::gauge("roothold_runtime_workers", "Threads that answer requests");
pub(crate) static RUNTIME_BUSY: Described =
    Described::counter("roothold_runtime_busy", "How long these threads had work, in sum")
        .seconds();
pub(crate) static RUNTIME_TASKS: Described =
    Described::gauge("roothold_runtime_tasks", "Tasks that these threads share");
pub(crate) static RUNTIME_QUEUED: Described = Described::gauge(
    "roothold_runtime_queued_tasks",
    "Tasks that could run and wait for one of these threads, in the queue that all share",
);
pub(crate) static BLOCKING_THREADS: Described = Described::gauge(
    "roothold_blocking_threads",
    "Threads that work on files for calls, and how many there may be",
)
.by(&[words("state", &["in_use", "max"])]);
pub(crate) static BLOCKING_WAITING: Described = Described::gauge(
    "roothold_blocking_waiting",
    "Work on files that waits for a thread, since its principal has its share of them, which is half, at work",
);
