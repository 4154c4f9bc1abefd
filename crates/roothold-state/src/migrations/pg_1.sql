-- The store's time, in milliseconds since 1970: the server's clock, whatever those of the replicas say.
CREATE FUNCTION state_now() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Who has jobs, and when they were served last: the fair order. A row is locked by whoever submits
-- or claims for its owner, so that quotas hold over all replicas.
CREATE TABLE owners (
    owner  text   NOT NULL PRIMARY KEY,
    served bigint NOT NULL DEFAULT 0
);
CREATE SEQUENCE owners_served;

CREATE TABLE jobs (
    seq          bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           bytea   NOT NULL UNIQUE CHECK (length(id) = 16),
    owner        text    NOT NULL REFERENCES owners (owner),
    kind         text    NOT NULL,
    state        text    NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    cancel_asked boolean NOT NULL DEFAULT false,
    epoch        bigint  NOT NULL DEFAULT 0,
    attempts     bigint  NOT NULL DEFAULT 0,
    attempts_max bigint  NOT NULL,
    worker       text,
    lease_until  bigint,
    not_before   bigint  NOT NULL DEFAULT 0,
    next         bigint  NOT NULL DEFAULT 0,
    chunks       bigint  NOT NULL DEFAULT 0,
    parts        bigint  NOT NULL DEFAULT 0,
    parts_bytes  bigint  NOT NULL DEFAULT 0,
    bytes_done   bigint  NOT NULL DEFAULT 0,
    bytes_total  bigint,
    rows_done    bigint  NOT NULL DEFAULT 0,
    message      text,
    fault_kind   text,
    fault_public text,
    submitted_at bigint  NOT NULL,
    started_at   bigint,
    updated_at   bigint  NOT NULL,
    deadline_at  bigint  NOT NULL,
    retention    bigint  NOT NULL,
    ended_at     bigint,
    expires_at   bigint,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'running')))
);

CREATE INDEX jobs_live ON jobs (owner, seq) WHERE ended_at IS NULL;
CREATE INDEX jobs_ended ON jobs (expires_at) WHERE ended_at IS NOT NULL;
CREATE INDEX jobs_owner ON jobs (owner, seq);

-- What is large stays out of the rows that every heartbeat writes.
CREATE TABLE contents (
    job     bigint NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    slot    text   NOT NULL CHECK (slot IN ('input', 'checkpoint', 'partial', 'result')),
    content bytea  NOT NULL,
    PRIMARY KEY (job, slot)
);

CREATE TABLE parts (
    job     bigint NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    number  bigint NOT NULL,
    content bytea  NOT NULL,
    PRIMARY KEY (job, number)
);

CREATE TABLE chain_heads (
    replica text   NOT NULL,
    chain   text   NOT NULL,
    seq     bigint NOT NULL,
    hash    text   NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (replica, chain)
);
