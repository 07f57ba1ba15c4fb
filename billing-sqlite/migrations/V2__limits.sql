-- Counters over windows of usage, and leases, so that limits are checked without a walk over events.

PRAGMA user_version = 2;

-- What the events of a tenant's meter in a window add up to. A row is made the first time that a window is asked for;
-- from then on every transaction that records an event of the window writes it.
CREATE TABLE usage_counters (
    tenant_id BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    meter     TEXT    NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER NOT NULL CHECK (ends_at > starts_at),
    used      TEXT    NOT NULL,
    events    INTEGER NOT NULL CHECK (events >= 0),
    PRIMARY KEY (tenant_id, meter, starts_at, ends_at)
) STRICT, WITHOUT ROWID;

-- Quantities that are held. A lease that has ended stays for a while, so that a repeated request finds what became of
-- it.
CREATE TABLE usage_leases (
    tenant_id  BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    key        TEXT    NOT NULL,
    meter      TEXT    NOT NULL,
    starts_at  INTEGER NOT NULL,
    ends_at    INTEGER NOT NULL CHECK (ends_at > starts_at),
    quantity   TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('held', 'settled', 'released')),
    PRIMARY KEY (tenant_id, key)
) STRICT, WITHOUT ROWID;

-- What is held of a meter; and what is over and may be forgotten.
CREATE INDEX usage_leases_held ON usage_leases (tenant_id, meter, state, expires_at);
