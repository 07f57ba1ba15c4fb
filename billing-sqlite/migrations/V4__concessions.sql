-- Coupons, prepaid credit, credit notes, and invoice numbers in series.

PRAGMA user_version = 4;

-- The last number that was given in a series. Written in the transaction that commits the invoice, so that there is no gap.
CREATE TABLE invoice_series (
    series TEXT    NOT NULL PRIMARY KEY,
    last   INTEGER NOT NULL CHECK (last > 0)
) STRICT, WITHOUT ROWID;

-- The number of an invoice in its series, which its body names.
ALTER TABLE invoices ADD COLUMN series TEXT;
ALTER TABLE invoices ADD COLUMN serial INTEGER CHECK ((serial IS NULL) = (series IS NULL));
CREATE UNIQUE INDEX invoices_serial ON invoices (series, serial) WHERE series IS NOT NULL;

-- The limits on redemption stand in columns, since a commit is checked against them.
CREATE TABLE coupons (
    code            TEXT    NOT NULL PRIMARY KEY,
    redemptions_max INTEGER,
    once_per_tenant INTEGER NOT NULL CHECK (once_per_tenant IN (0, 1)),
    redemptions     INTEGER NOT NULL DEFAULT 0 CHECK (redemptions >= 0),
    body            TEXT    NOT NULL
) STRICT;

-- Who redeemed what. Nothing is ever removed from it.
CREATE TABLE coupon_redemptions (
    code            TEXT NOT NULL REFERENCES coupons (code),
    tenant_id       BLOB NOT NULL CHECK (length(tenant_id) = 16),
    subscription_id BLOB NOT NULL CHECK (length(subscription_id) = 16),
    PRIMARY KEY (code, tenant_id, subscription_id)
) STRICT, WITHOUT ROWID;

-- What became of prepaid credit: the sum of the amounts is the balance.
CREATE TABLE credit_ledger (
    subscription_id BLOB    NOT NULL CHECK (length(subscription_id) = 16),
    sequence        INTEGER NOT NULL,
    entry           TEXT    NOT NULL,
    PRIMARY KEY (subscription_id, sequence)
) STRICT;

CREATE TABLE credit_notes (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    invoice_id BLOB    NOT NULL REFERENCES invoices (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    body       TEXT    NOT NULL,
    UNIQUE (invoice_id, number)
) STRICT;
