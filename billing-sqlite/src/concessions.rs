//! Coupons, the ledger of prepaid credit, credit notes.

use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::CreditNote;
use billing_core::id::{CouponCode, CreditNoteId, InvoiceId, SubscriptionId, TenantId};
use billing_core::ports::{CouponState, StoreError};
use billing_core::subscription::CouponRedemption;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::column::{json, limit, stored, to_json};
use crate::error::store_error;

pub(crate) const COUPON: &str = "SELECT body, redemptions FROM coupons WHERE code = ?1";
pub(crate) const NOTES: &str = "SELECT body FROM credit_notes WHERE invoice_id = ?1 ORDER BY number";
pub(crate) const LEDGER: &str = "SELECT entry FROM credit_ledger \
     WHERE subscription_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3";

const REDEEMED: &str = "SELECT 1 FROM coupon_redemptions WHERE code = ?1 AND tenant_id = ?2";

/// Keeps a coupon, or what it says from now on; how often it was redeemed stays.
pub(crate) fn put_coupon(connection: &Connection, coupon: &Coupon) -> Result<(), StoreError> {
    let sql = "INSERT INTO coupons (code, redemptions_max, once_per_tenant, body) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (code) DO UPDATE SET redemptions_max = ?2, once_per_tenant = ?3, body = ?4";
    connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .execute(params![
            coupon.code.as_str(),
            coupon.redemptions_max,
            coupon.once_per_tenant,
            to_json(coupon)?,
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn coupon(
    connection: &Connection,
    code: &CouponCode,
    tenant_id: TenantId,
) -> Result<Option<CouponState>, StoreError> {
    let mut statement = connection.prepare_cached(COUPON).map_err(store_error)?;
    let mut rows = statement.query([code.as_str()]).map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(None);
    };
    Ok(Some(CouponState {
        coupon: json(row, 0, format_args!("coupon `{code}`"))?,
        redemptions: row.get(1).map_err(store_error)?,
        redeemed_before: redeemed(connection, code, tenant_id)?,
    }))
}

fn redeemed(connection: &Connection, code: &CouponCode, tenant_id: TenantId) -> Result<bool, StoreError> {
    connection
        .prepare_cached(REDEEMED)
        .map_err(store_error)?
        .exists(params![code.as_str(), tenant_id.uuid().as_bytes()])
        .map_err(store_error)
}

/// Whether the limits of the coupon leave room for one redemption more.
pub(crate) fn may_redeem(connection: &Connection, redemption: &CouponRedemption) -> Result<bool, StoreError> {
    let CouponRedemption { code, tenant_id } = redemption;
    let sql = "SELECT once_per_tenant FROM coupons \
         WHERE code = ?1 AND (redemptions_max IS NULL OR redemptions < redemptions_max)";
    let once = connection
        .prepare_cached(sql)
        .map_err(store_error)?
        .query_row([code.as_str()], |row| row.get::<_, bool>(0))
        .optional()
        .map_err(store_error)?;
    match once {
        None => Ok(false),
        Some(false) => Ok(true),
        Some(true) => Ok(!redeemed(connection, code, *tenant_id)?),
    }
}

/// Writes a redemption that [`may_redeem`] let through.
pub(crate) fn redeem(
    connection: &Connection,
    subscription_id: SubscriptionId,
    redemption: &CouponRedemption,
) -> Result<(), StoreError> {
    let CouponRedemption { code, tenant_id } = redemption;
    connection
        .prepare_cached("UPDATE coupons SET redemptions = redemptions + 1 WHERE code = ?1")
        .map_err(store_error)?
        .execute([code.as_str()])
        .map_err(store_error)?;
    connection
        .prepare_cached(
            "INSERT INTO coupon_redemptions (code, tenant_id, subscription_id) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO NOTHING",
        )
        .map_err(store_error)?
        .execute(params![
            code.as_str(),
            tenant_id.uuid().as_bytes(),
            subscription_id.uuid().as_bytes(),
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn write_ledger(
    connection: &Connection,
    subscription_id: SubscriptionId,
    entries: &[LedgerEntry],
) -> Result<(), StoreError> {
    let sql = "INSERT INTO credit_ledger (subscription_id, sequence, entry) VALUES (?1, \
         (SELECT coalesce(max(sequence), 0) + 1 FROM credit_ledger WHERE subscription_id = ?1), ?2)";
    for entry in entries {
        connection
            .prepare_cached(sql)
            .map_err(store_error)?
            .execute(params![subscription_id.uuid().as_bytes(), to_json(entry)?])
            .map_err(store_error)?;
    }
    Ok(())
}

pub(crate) fn ledger(
    connection: &Connection,
    subscription_id: SubscriptionId,
    after: u64,
    rows: usize,
) -> Result<Vec<LedgerEntry>, StoreError> {
    let mut statement = connection.prepare_cached(LEDGER).map_err(store_error)?;
    let mut rows = statement
        .query(params![
            subscription_id.uuid().as_bytes(),
            stored(after)?,
            limit(rows)
        ])
        .map_err(store_error)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        entries.push(json(row, 0, "an entry of the credit ledger")?);
    }
    Ok(entries)
}

pub(crate) fn note_exists(connection: &Connection, id: CreditNoteId) -> Result<bool, StoreError> {
    connection
        .prepare_cached("SELECT 1 FROM credit_notes WHERE id = ?1")
        .map_err(store_error)?
        .exists([id.uuid().as_bytes()])
        .map_err(store_error)
}

pub(crate) fn insert_note(connection: &Connection, note: &CreditNote) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO credit_notes (id, invoice_id, number, body) VALUES (?1, ?2, ?3, ?4)")
        .map_err(store_error)?
        .execute(params![
            note.id.uuid().as_bytes(),
            note.invoice_id.uuid().as_bytes(),
            note.number,
            to_json(note)?,
        ])
        .map(drop)
        .map_err(store_error)
}

pub(crate) fn notes_of(
    connection: &Connection,
    invoice_id: InvoiceId,
) -> Result<Vec<CreditNote>, StoreError> {
    let mut statement = connection.prepare_cached(NOTES).map_err(store_error)?;
    let mut rows = statement
        .query([invoice_id.uuid().as_bytes()])
        .map_err(store_error)?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        notes.push(json(
            row,
            0,
            format_args!("a credit note of invoice `{invoice_id}`"),
        )?);
    }
    Ok(notes)
}
