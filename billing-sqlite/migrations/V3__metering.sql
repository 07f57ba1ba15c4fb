-- Windows of usage that were billed, so that what comes late is rated by the plan and in the period of its own time; and
-- counters for every aggregation.

PRAGMA user_version = 3;

-- Written with the invoice that bills the window. `since`, `period_start` and `period_end` are NULL for usage that
-- belongs to no billing period.
CREATE TABLE usage_windows (
    subscription_id BLOB    NOT NULL CHECK (length(subscription_id) = 16),
    starts_at       INTEGER NOT NULL,
    ends_at         INTEGER NOT NULL CHECK (ends_at > starts_at),
    plan_id         BLOB    NOT NULL CHECK (length(plan_id) = 16),
    since           INTEGER,
    period_start    INTEGER,
    period_end      INTEGER,
    PRIMARY KEY (subscription_id, starts_at)
) STRICT, WITHOUT ROWID;

-- What was billed before this migration is one window, by the plan that is in force now: which periods there were was
-- not kept.
INSERT INTO usage_windows (subscription_id, starts_at, ends_at, plan_id)
SELECT id, origin, billed, plan_id FROM (
    SELECT id, plan_id,
        unixepoch(substr(body ->> '$.usage.origin', 1, 19) || 'Z') * 1000000
            + CAST(substr(rtrim(substr(body ->> '$.usage.origin', 21), 'Z') || '000000', 1, 6) AS INTEGER) AS origin,
        unixepoch(substr(body ->> '$.usage.from', 1, 19) || 'Z') * 1000000
            + CAST(substr(rtrim(substr(body ->> '$.usage.from', 21), 'Z') || '000000', 1, 6) AS INTEGER) AS billed
    FROM subscriptions
) WHERE origin < billed;

-- Counters are made again when they are asked for.
DROP TABLE usage_counters;

-- What the events of a tenant's meter in a window add up to, by one aggregation (as JSON). A row is made the first time
-- that a window is asked for; from then on every transaction that records an event of the window writes it.
CREATE TABLE usage_counters (
    tenant_id   BLOB    NOT NULL CHECK (length(tenant_id) = 16),
    meter       TEXT    NOT NULL,
    starts_at   INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL CHECK (ends_at > starts_at),
    aggregation TEXT    NOT NULL,
    used        TEXT    NOT NULL,
    events      INTEGER NOT NULL CHECK (events >= 0),
    -- When the last event occurred that counts; NULL for none.
    last_at     INTEGER,
    PRIMARY KEY (tenant_id, meter, starts_at, ends_at, aggregation)
) STRICT, WITHOUT ROWID;
