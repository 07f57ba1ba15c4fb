//! Invoices.
//!
//! # Which invoices buy a period
//!
//! Core promises at most one invoice that [buys](billing_core::invoice::InvoiceKind::buys_period) a given period start.
//! The store enforces it for first and renewal invoices, and leaves out
//!
//! - void ones: they buy nothing any more, and what is billed instead may begin at the same instant;
//! - restarts: a period that begins anew begins at the instant of the command. Two commands may come at one instant
//!   (a frozen test clock; a free plan that is paused and resumed at once), and each restart is guarded by the version
//!   of the subscription anyhow. Renewals are what a sweep might bill twice, and those begin where a period ended.

use billing_core::id::{InvoiceId, SubscriptionId};
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceStatus};
use billing_core::ports::StoreError;
use billing_core::subscription::InvoiceClosed;
use rusqlite::{Connection, OptionalExtension as _, Row, ffi, params};

use crate::column::{counter, json, limit, micros, text, uuid};
use crate::error::store_error;

pub(crate) const BY_ID: &str = "SELECT id, state, body, serial FROM invoices WHERE id = ?1";
pub(crate) const OF_SUBSCRIPTION: &str = "SELECT id, state, body, serial FROM invoices \
     WHERE subscription_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3";

pub(crate) fn by_id(connection: &Connection, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
    let mut statement = connection.prepare_cached(BY_ID).map_err(store_error)?;
    let mut rows = statement.query([id.uuid().as_bytes()]).map_err(store_error)?;
    rows.next().map_err(store_error)?.map(invoice_in).transpose()
}

pub(crate) fn of_subscription(
    connection: &Connection,
    subscription_id: SubscriptionId,
    after: u32,
    rows: usize,
) -> Result<Vec<Invoice>, StoreError> {
    let mut statement = connection.prepare_cached(OF_SUBSCRIPTION).map_err(store_error)?;
    let mut rows = statement
        .query(params![subscription_id.uuid().as_bytes(), after, limit(rows)])
        .map_err(store_error)?;
    let mut invoices = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        invoices.push(invoice_in(row)?);
    }
    Ok(invoices)
}

fn invoice_in(row: &Row<'_>) -> Result<Invoice, StoreError> {
    let id = uuid(row, 0)?;
    let mut invoice: Invoice = json(row, 2, format_args!("invoice `{id}`"))?;
    if row.get_ref(1).map_err(store_error)? != rusqlite::types::ValueRef::Null {
        invoice.state = json(row, 1, format_args!("state of invoice `{id}`"))?;
    }
    if let Some(serial) = &mut invoice.serial {
        serial.number = counter(row, 3)?;
    }
    Ok(invoice)
}

/// Gives an invoice that was inserted the next number of its series, if it names one. Not before nothing can refuse the commit
/// any more: a number that is taken back would be a gap.
pub(crate) fn number(connection: &Connection, invoice: &Invoice) -> Result<(), StoreError> {
    let Some(serial) = &invoice.serial else {
        return Ok(());
    };
    let next = "INSERT INTO invoice_series (series, last) VALUES (?1, 1) \
         ON CONFLICT (series) DO UPDATE SET last = last + 1 RETURNING last";
    let number: i64 = connection
        .prepare_cached(next)
        .map_err(store_error)?
        .query_row([serial.series.as_str()], |row| row.get(0))
        .map_err(store_error)?;
    connection
        .prepare_cached("UPDATE invoices SET series = ?2, serial = ?3 WHERE id = ?1")
        .map_err(store_error)?
        .execute(params![
            invoice.id.uuid().as_bytes(),
            serial.series.as_str(),
            number
        ])
        .map(drop)
        .map_err(store_error)
}

/// Whether `opened` cannot stand beside what is there, and beside what `closed` leaves of it.
pub(crate) fn is_taken(
    connection: &Connection,
    opened: &Invoice,
    closed: &[InvoiceClosed],
) -> Result<bool, StoreError> {
    let subscription_id = opened.subscription_id.uuid();
    let number_taken = connection
        .prepare_cached("SELECT 1 FROM invoices WHERE subscription_id = ?1 AND number = ?2")
        .map_err(store_error)?
        .exists(params![subscription_id.as_bytes(), opened.number])
        .map_err(store_error)?;
    if number_taken {
        return Ok(true);
    }
    let Some(buys_from) = buys_from(opened) else {
        return Ok(false);
    };
    let found = connection
        .prepare_cached("SELECT id FROM invoices WHERE subscription_id = ?1 AND buys_from = ?2")
        .map_err(store_error)?
        .query_row(params![subscription_id.as_bytes(), buys_from], |row| {
            Ok(uuid(row, 0))
        })
        .optional()
        .map_err(store_error)?
        .transpose()?
        .map(InvoiceId::new);
    Ok(found.is_some_and(|found| {
        let voided = |closed: &InvoiceClosed| closed.invoice_id == found && is_void(&closed.state);
        !closed.iter().any(voided)
    }))
}

/// The start of the period that nobody else may bill.
fn buys_from(invoice: &Invoice) -> Option<i64> {
    match invoice.kind {
        InvoiceKind::First | InvoiceKind::Renewal if !is_void(&invoice.state) => {
            Some(micros(invoice.period.start))
        }
        InvoiceKind::First
        | InvoiceKind::Renewal
        | InvoiceKind::Restart
        | InvoiceKind::PlanChange
        | InvoiceKind::QuantityChange
        | InvoiceKind::AddOnChange
        | InvoiceKind::Closing => None,
    }
}

const fn is_void(state: &InvoiceStatus) -> bool {
    match state {
        InvoiceStatus::Void { .. } => true,
        InvoiceStatus::Open | InvoiceStatus::Paid { .. } | InvoiceStatus::Uncollectible { .. } => false,
    }
}

/// Writes an invoice that was opened. `body` is it as JSON.
///
/// `false`, and nothing written, when its number or period is taken or its subscription is not there.
pub(crate) fn insert(connection: &Connection, opened: &Invoice, body: &str) -> Result<bool, StoreError> {
    let sql = "INSERT INTO invoices \
         (id, subscription_id, number, kind, status, buys_from, total_minor, currency, body) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
         ON CONFLICT (subscription_id, number) DO NOTHING \
         ON CONFLICT (subscription_id, buys_from) WHERE buys_from IS NOT NULL DO NOTHING";
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let written = statement.execute(params![
        opened.id.uuid().as_bytes(),
        opened.subscription_id.uuid().as_bytes(),
        opened.number,
        opened.kind.code(),
        opened.state.code(),
        buys_from(opened),
        opened.total.minor,
        opened.total.currency.code(),
        body,
    ]);
    match written {
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY =>
        {
            Ok(false)
        }
        written => written.map(|written| written == 1).map_err(store_error),
    }
}

/// Takes back an invoice that was written a moment ago.
pub(crate) fn take_back(connection: &Connection, id: InvoiceId) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM invoices WHERE id = ?1")
        .map_err(store_error)?
        .execute([id.uuid().as_bytes()])
        .map(drop)
        .map_err(store_error)
}

/// Whether an invoice may be closed as `closed` says: it is open, or was given up and is paid after all.
pub(crate) fn may_close(connection: &Connection, closed: &InvoiceClosed) -> Result<bool, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT status FROM invoices WHERE id = ?1")
        .map_err(store_error)?;
    let mut rows = statement
        .query([closed.invoice_id.uuid().as_bytes()])
        .map_err(store_error)?;
    let Some(row) = rows.next().map_err(store_error)? else {
        return Ok(false);
    };
    let paid = match &closed.state {
        InvoiceStatus::Paid { .. } => true,
        InvoiceStatus::Open | InvoiceStatus::Void { .. } | InvoiceStatus::Uncollectible { .. } => false,
    };
    let status = text(row, 0)?;
    Ok(status == "open" || (status == "uncollectible" && paid))
}

/// Sets the state of an invoice. `state` is it as JSON.
pub(crate) fn close(connection: &Connection, closed: &InvoiceClosed, state: &str) -> Result<(), StoreError> {
    // Naming `buys_from` rewrites its index, so only a void invoice does.
    let sql = if is_void(&closed.state) {
        "UPDATE invoices SET status = ?2, state = ?3, buys_from = NULL WHERE id = ?1"
    } else {
        "UPDATE invoices SET status = ?2, state = ?3 WHERE id = ?1"
    };
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    statement
        .execute(params![
            closed.invoice_id.uuid().as_bytes(),
            closed.state.code(),
            state,
        ])
        .map(drop)
        .map_err(store_error)
}
