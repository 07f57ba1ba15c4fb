-- Payment methods, sealed: what is in `sealed` can be read with a key of the key ring alone.

PRAGMA user_version = 8;

CREATE TABLE payment_methods (
    tenant_id BLOB NOT NULL CHECK (length(tenant_id) = 16),
    id        BLOB NOT NULL CHECK (length(id) = 16),
    -- Which key of the ring.
    key_id    TEXT NOT NULL,
    nonce     BLOB NOT NULL CHECK (length(nonce) = 12),
    -- Token, e-mail address and country under AES-256-GCM, with tenant, id and key as associated data.
    sealed    BLOB NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

-- What is to be sealed anew when the key changes.
CREATE INDEX payment_methods_key ON payment_methods (key_id);
