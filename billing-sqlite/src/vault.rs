//! Payment methods, sealed in the store's file.

use std::sync::Arc;

use billing_core::gateway::{MethodToken, PaymentMethodVault, StoredMethod};
use billing_core::id::{PaymentMethodId, TenantId};
use billing_core::ports::{PortFuture, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::column::uuid;
use crate::error::{damaged, store_error};
use crate::seal::{SealError, Sealed};
use crate::{KeyRing, SqliteStore, answer};

/// The payment methods of tenants, in the file of a store: token and e-mail address lie there sealed, never as they are. Without a
/// key ring there is no vault, so nothing can be kept that is not sealed.
///
/// ```
/// use std::sync::Arc;
/// use billing_core::gateway::{MethodToken, PaymentMethodVault as _, StoredMethod};
/// use billing_core::id::{PaymentMethodId, TenantId};
/// use billing_sqlite::{KeyRing, SqliteStore, SqliteVault};
/// use uuid::Uuid;
///
/// # futures_executor::block_on(async {
/// let store = Arc::new(SqliteStore::in_memory()?);
/// // From wherever the application keeps its secrets.
/// let vault = SqliteVault::new(store, KeyRing::new("2026-11", &[7; 32]));
/// let (tenant, id) = (TenantId::new(Uuid::from_u128(1)), PaymentMethodId::new(Uuid::from_u128(2)));
/// let method = StoredMethod {
///     token: MethodToken::new("AUTH_pmx3mgawyd").unwrap(),
///     email: "ada@example.com".parse().unwrap(),
///     country: None,
/// };
/// vault.put(tenant, id, &method).await?;
/// assert_eq!(vault.find(tenant, id).await?, Some(method));
/// # Ok::<(), billing_core::ports::StoreError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct SqliteVault {
    store: Arc<SqliteStore>,
    keys: KeyRing,
}

impl SqliteVault {
    /// The payment methods in the file of `store`, sealed and opened with `keys`.
    pub const fn new(store: Arc<SqliteStore>, keys: KeyRing) -> Self {
        Self { store, keys }
    }

    /// Keeps a payment method, or replaces the one of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`Internal`](StoreError::Internal) when the system gives no random numbers.
    pub async fn put(
        &self,
        tenant_id: TenantId,
        id: PaymentMethodId,
        method: &StoredMethod,
    ) -> Result<(), StoreError> {
        let country = method.country.map(|country| country.to_string());
        let plain = serde_json::to_vec(&(method.token.expose(), method.email.to_string(), country));
        let plain = plain.map_err(|error| StoreError::Internal {
            detail: error.to_string(),
        })?;
        let sealed = self
            .keys
            .seal(&identity(tenant_id, id), &plain)
            .map_err(not_sealed)?;
        let put = move |connection: &Connection| write(connection, tenant_id, id, &sealed);
        answer(Ok(self.store.writer.submit(1, put))).await
    }

    /// Forgets a payment method; `false` when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn remove(&self, tenant_id: TenantId, id: PaymentMethodId) -> Result<bool, StoreError> {
        let remove = move |connection: &Connection| {
            connection
                .prepare_cached("DELETE FROM payment_methods WHERE tenant_id = ?1 AND id = ?2")
                .map_err(store_error)?
                .execute(params![tenant_id.uuid().as_bytes(), id.uuid().as_bytes()])
                .map(|removed| removed == 1)
                .map_err(store_error)
        };
        answer(Ok(self.store.writer.submit(1, remove))).await
    }

    /// Seals up to `limit` records anew that another key than the active one has sealed, in one transaction; how many. Called again
    /// and again until it answers 0: it may be stopped at any time and goes on where it was. Then the old keys can go.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`Damaged`](StoreError::Damaged) when the ring lacks the key of a record, or that was changed.
    pub async fn rotate(&self, limit: usize) -> Result<usize, StoreError> {
        let keys = self.keys.clone();
        let rotate = move |connection: &Connection| rotate(connection, &keys, limit);
        answer(Ok(self.store.writer.submit(limit, rotate))).await
    }
}

impl PaymentMethodVault for SqliteVault {
    fn find(
        &self,
        tenant_id: TenantId,
        id: PaymentMethodId,
    ) -> PortFuture<'_, Result<Option<StoredMethod>, StoreError>> {
        self.store.snapshot(move |reader| {
            let sql = "SELECT key_id, nonce, sealed FROM payment_methods WHERE tenant_id = ?1 AND id = ?2";
            let found = reader
                .prepare_cached(sql)
                .map_err(store_error)?
                .query_row(
                    params![tenant_id.uuid().as_bytes(), id.uuid().as_bytes()],
                    sealed_in,
                )
                .optional()
                .map_err(store_error)?;
            let Some(sealed) = found else { return Ok(None) };
            let plain = self.keys.open(&identity(tenant_id, id), &sealed);
            let plain = plain.map_err(|error| unreadable(id, error))?;
            method_in(&plain)
                .map(Some)
                .ok_or_else(|| unreadable(id, "not a payment method"))
        })
    }
}

fn rotate(connection: &Connection, keys: &KeyRing, limit: usize) -> Result<usize, StoreError> {
    let sql = "SELECT key_id, nonce, sealed, tenant_id, id FROM payment_methods WHERE key_id <> ?1 LIMIT ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let mut rows = statement
        .query(params![keys.active(), crate::column::limit(limit)])
        .map_err(store_error)?;
    let mut old = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let (tenant_id, id) = (TenantId::new(uuid(row, 3)?), PaymentMethodId::new(uuid(row, 4)?));
        old.push((tenant_id, id, sealed_in(row).map_err(store_error)?));
    }
    for (tenant_id, id, sealed) in &old {
        let of = identity(*tenant_id, *id);
        let plain = keys.open(&of, sealed).map_err(|error| unreadable(*id, error))?;
        write(
            connection,
            *tenant_id,
            *id,
            &keys.seal(&of, &plain).map_err(not_sealed)?,
        )?;
    }
    Ok(old.len())
}

fn write(
    connection: &Connection,
    tenant_id: TenantId,
    id: PaymentMethodId,
    sealed: &Sealed,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO payment_methods (tenant_id, id, key_id, nonce, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET key_id = ?3, nonce = ?4, sealed = ?5";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            tenant_id.uuid().as_bytes(),
            id.uuid().as_bytes(),
            sealed.key_id,
            sealed.nonce,
            sealed.sealed,
        ])
        .map(drop)
        .map_err(store_error)
}

fn sealed_in(row: &Row<'_>) -> rusqlite::Result<Sealed> {
    Ok(Sealed {
        key_id: row.get(0)?,
        nonce: row.get(1)?,
        sealed: row.get(2)?,
    })
}

fn method_in(plain: &[u8]) -> Option<StoredMethod> {
    let (token, email, country): (String, String, Option<String>) = serde_json::from_slice(plain).ok()?;
    Some(StoredMethod {
        token: MethodToken::new(&token).ok()?,
        email: email.parse().ok()?,
        country: match country {
            Some(country) => Some(country.parse().ok()?),
            None => None,
        },
    })
}

/// What a sealed record is bound to: it opens nowhere else.
fn identity(tenant_id: TenantId, id: PaymentMethodId) -> Vec<u8> {
    [
        b"payment_method".as_slice(),
        tenant_id.uuid().as_bytes(),
        id.uuid().as_bytes(),
    ]
    .concat()
}

fn unreadable(id: PaymentMethodId, why: impl std::fmt::Display) -> StoreError {
    damaged(format_args!("payment method `{id}`"), why)
}

fn not_sealed(error: SealError) -> StoreError {
    StoreError::Internal {
        detail: error.to_string(),
    }
}
