-- Who has jobs, and when they were served last: the fair order.
CREATE TABLE owners (
    owner  TEXT    NOT NULL PRIMARY KEY,
    served INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Times are milliseconds since 1970; the store's clock.
CREATE TABLE jobs (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    owner        TEXT    NOT NULL REFERENCES owners (owner),
    kind         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    attempts_max INTEGER NOT NULL,
    worker       TEXT,
    lease_until  INTEGER,
    not_before   INTEGER NOT NULL DEFAULT 0,
    next         INTEGER NOT NULL DEFAULT 0,
    chunks       INTEGER NOT NULL DEFAULT 0,
    parts        INTEGER NOT NULL DEFAULT 0,
    parts_bytes  INTEGER NOT NULL DEFAULT 0,
    bytes_done   INTEGER NOT NULL DEFAULT 0,
    bytes_total  INTEGER,
    rows_done    INTEGER NOT NULL DEFAULT 0,
    message      TEXT,
    fault_kind   TEXT,
    fault_public TEXT,
    submitted_at INTEGER NOT NULL,
    started_at   INTEGER,
    updated_at   INTEGER NOT NULL,
    deadline_at  INTEGER NOT NULL,
    retention    INTEGER NOT NULL,
    ended_at     INTEGER,
    expires_at   INTEGER,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'running')))
) STRICT;

CREATE INDEX jobs_live ON jobs (owner, seq) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (expires_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_owner ON jobs (owner, seq);

-- What is large stays out of the rows that every heartbeat writes.
CREATE TABLE contents (
    job     INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    slot    TEXT    NOT NULL CHECK (slot IN ('input', 'checkpoint', 'partial', 'result')),
    content BLOB    NOT NULL,
    PRIMARY KEY (job, slot)
) STRICT;

CREATE TABLE parts (
    job     INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number  INTEGER NOT NULL,
    content BLOB    NOT NULL,
    PRIMARY KEY (job, number)
) STRICT;

CREATE TABLE chain_heads (
    replica TEXT    NOT NULL,
    chain   TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    hash    TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (replica, chain)
) STRICT;
