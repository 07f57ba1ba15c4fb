-- Keys of usage events in a narrow table of their own, in the place of a wide index.

PRAGMA user_version = 6;

-- One row per event, at the place that follows from its tenant and key: see keys.rs, which also moves the keys of older
-- files here, out of the index `usage_events_key`, and drops that. A number and not the key, so that a page holds three
-- times as many: keys that callers draw at random lie anywhere, and each page that is touched is written.
-- Nothing is ever removed from it: a search for a key ends at the first place that is free.
CREATE TABLE usage_keys (
    place       INTEGER NOT NULL PRIMARY KEY,
    -- Where the event is, with its tenant.
    occurred_at INTEGER NOT NULL,
    sequence    INTEGER NOT NULL
) STRICT;
