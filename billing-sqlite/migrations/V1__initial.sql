-- Instants are INTEGER microseconds since 1970-01-01 UTC, ids are BLOBs of 16 bytes, decimals are TEXT.
-- What is queried or guarded has a column; the rest is JSON in `body`, as core serializes it.

-- The number of the newest migration, so that a program finds out without reading refinery's history.
PRAGMA user_version = 1;

-- One row per plan version. Availability stands in columns only and overrides the body's: it is the one thing that
-- may change under a plan in use. `used` is set for good by the first subscription, so that asking needs no search.
CREATE TABLE plans (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    code         TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    is_active    INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    discontinued INTEGER NOT NULL CHECK (discontinued IN (0, 1)),
    used         INTEGER NOT NULL DEFAULT 0 CHECK (used IN (0, 1)),
    body         TEXT    NOT NULL,
    -- Also the order of the catalogue, and the newest version by its end.
    UNIQUE (code, version)
) STRICT;

-- A table with a rowid: bodies are about a kilobyte, which a WITHOUT ROWID tree would move into overflow pages.
-- Small columns stand before the body, so that the guards of a commit do not read past it.
-- `is_live` is apart from `status`, so that a change of status does not rewrite the index over live ones.
CREATE TABLE subscriptions (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    tenant_id   BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    product     TEXT    NOT NULL,
    plan_id     BLOB    NOT NULL REFERENCES plans (id),
    is_live     INTEGER NOT NULL CHECK (is_live IN (0, 1)),
    version     INTEGER NOT NULL CHECK (version > 0),
    status      TEXT    NOT NULL,
    next_due_at INTEGER,
    created_at  INTEGER NOT NULL,
    body        TEXT    NOT NULL
) STRICT;

-- At most one live subscription of a product line; also how access finds it. Written at creation and at the end.
CREATE UNIQUE INDEX subscriptions_live ON subscriptions (tenant_id, product) WHERE is_live = 1;

-- All of a tenant, oldest first. Written at creation only.
CREATE INDEX subscriptions_of_tenant ON subscriptions (tenant_id, created_at, id);

-- What is due, page by page. Partial: what waits for a payment or a person is not in it.
CREATE INDEX subscriptions_due ON subscriptions (next_due_at, id) WHERE next_due_at IS NOT NULL;

-- The body is the invoice as it was opened and never changes. `state` holds a later state as JSON, and is NULL until
-- there is one, so that closing an invoice neither reads nor writes its lines.
-- `buys_from` is the start of the period that it buys, NULL when it buys none, was voided, or is a restart: see
-- invoices.rs for why.
CREATE TABLE invoices (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subscription_id BLOB    NOT NULL REFERENCES subscriptions (id),
    number          INTEGER NOT NULL CHECK (number > 0),
    kind            TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    buys_from       INTEGER,
    total_minor     INTEGER NOT NULL,
    currency        TEXT    NOT NULL,
    state           TEXT,
    body            TEXT    NOT NULL,
    -- Also how the invoices of a subscription are listed.
    UNIQUE (subscription_id, number)
) STRICT;

-- No period is billed twice, whatever a program above the store may do.
CREATE UNIQUE INDEX invoices_buy_once ON invoices (subscription_id, buys_from) WHERE buys_from IS NOT NULL;

-- The audit chains. Columns, not JSON: the hash is over these very values.
-- No foreign key: an entry is written only together with its subscription, and outlives whatever is done by hand.
CREATE TABLE audit_entries (
    subscription_id BLOB    NOT NULL,
    sequence        INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    actor_kind      TEXT    NOT NULL,
    actor_name      TEXT,
    ip              TEXT,
    action          TEXT    NOT NULL,
    details         TEXT    NOT NULL,
    hash            BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (subscription_id, sequence)
) STRICT;

-- Where the kept part of a chain begins: the sequence and hash of the last entry that was removed.
CREATE TABLE audit_checkpoints (
    subscription_id BLOB    NOT NULL PRIMARY KEY,
    sequence        INTEGER NOT NULL,
    hash            BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT, WITHOUT ROWID;

-- What was answered to a command, for when it is repeated. With a rowid: an answer may hold a whole subscription.
CREATE TABLE commands (
    tenant_id   BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    answer      TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key)
) STRICT;

-- The trial ledger. Nothing is ever removed from it, also when a subscription ends.
CREATE TABLE trial_grants (
    tenant_id  BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    family     TEXT    NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, family)
) STRICT, WITHOUT ROWID;

-- Usage, clustered as it is summed: one tenant, one stretch of time. `sequence` is the place in the order of commits
-- over all tenants.
CREATE TABLE usage_events (
    tenant_id       BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    occurred_at     INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    meter           TEXT    NOT NULL,
    quantity        TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    recorded_at     INTEGER NOT NULL,
    -- A JSON object; NULL for none, which is the common case.
    properties      TEXT,
    PRIMARY KEY (tenant_id, occurred_at, sequence)
) STRICT, WITHOUT ROWID;

-- A key of a tenant stands for one event.
CREATE UNIQUE INDEX usage_events_key ON usage_events (tenant_id, idempotency_key);

-- What was recorded since a watermark: finds late events without a walk over the tenant's whole history.
CREATE INDEX usage_events_recorded ON usage_events (tenant_id, sequence);

-- The last `sequence` that was given, in one row. A counter and not max(sequence): a number must not come back when
-- the newest events are removed, since a subscription whose watermark is beyond it would never bill what gets it.
CREATE TABLE usage_sequence (
    one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO usage_sequence (one, last) VALUES (1, 0);

-- The outbox. `sequence` is the order of commits; AUTOINCREMENT, so that a worker that stands at the newest job does
-- not miss the next one after that job was removed.
CREATE TABLE jobs (
    sequence        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- Where a page begins.
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    -- What makes a repeated effect the same job.
    key             TEXT    NOT NULL UNIQUE,
    subscription_id BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    effect          TEXT    NOT NULL
) STRICT;
