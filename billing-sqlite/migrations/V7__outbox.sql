-- Jobs are taken, performed and finished.

PRAGMA user_version = 7;

-- From when on it may be taken; a worker that holds it has until then. NULL once it was performed or parked.
ALTER TABLE jobs ADD COLUMN run_at INTEGER;
-- How often it was taken: the number of the lease.
ALTER TABLE jobs ADD COLUMN leases INTEGER NOT NULL DEFAULT 0;
-- When it was performed or parked, and which of them.
ALTER TABLE jobs ADD COLUMN ended_at INTEGER;
ALTER TABLE jobs ADD COLUMN is_parked INTEGER NOT NULL DEFAULT 0 CHECK (is_parked IN (0, 1));
-- What the last worker said of it.
ALTER TABLE jobs ADD COLUMN note TEXT NOT NULL DEFAULT '';

UPDATE jobs SET run_at = created_at;

CREATE INDEX jobs_run ON jobs (run_at, sequence) WHERE run_at IS NOT NULL;
CREATE INDEX jobs_parked ON jobs (sequence) WHERE is_parked = 1;
