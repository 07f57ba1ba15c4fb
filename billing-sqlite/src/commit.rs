//! Applying a commit: first every check, then the rows, so that a refusal leaves no trace and needs no savepoint.
//!
//! Most commits have little to check: their rows are their own check, see [`quick`].

use billing_core::ports::{Commit, CommitRefusal, StoreError};
use rusqlite::Connection;

use crate::column::to_json;
use crate::subscriptions::{self, Standing};
use crate::{audit, commands, concessions, invoices, outbox, windows};

/// A commit with its JSON, which is made on the caller's thread: the writer only binds it.
#[derive(Debug)]
pub(crate) struct Prepared {
    commit: Commit,
    subscription: String,
    opened: Option<String>,
    /// Of each closed invoice the new state.
    closed: Vec<String>,
    /// Of each job its key and effect.
    jobs: Vec<(String, String)>,
}

impl Prepared {
    pub(crate) fn new(commit: Commit) -> Result<Self, StoreError> {
        let decision = &commit.decision;
        Ok(Self {
            subscription: to_json(&decision.next)?,
            opened: decision.opened.as_ref().map(to_json).transpose()?,
            closed: decision
                .closed
                .iter()
                .map(|closed| to_json(&closed.state))
                .collect::<Result<_, _>>()?,
            jobs: commit
                .jobs
                .iter()
                .map(|job| Ok((job.effect.idempotency_key(), to_json(&job.effect)?)))
                .collect::<Result<_, _>>()?,
            commit,
        })
    }

    /// About how many rows it writes.
    pub(crate) fn rows(&self) -> usize {
        let decision = &self.commit.decision;
        let rows = decision.audit.len() + decision.closed.len() + decision.ledger.len() + self.jobs.len();
        rows + 1
            + usize::from(decision.billed.is_some())
            + usize::from(self.opened.is_some())
            + usize::from(self.commit.command.is_some())
    }
}

/// Applies a commit inside the transaction that holds the write lock.
///
/// The refusals are checked in the order in which [`CommitRefusal`] lists them.
pub(crate) fn apply(
    connection: &Connection,
    prepared: &Prepared,
) -> Result<Result<(), CommitRefusal>, StoreError> {
    if quick(connection, prepared)? {
        return Ok(Ok(()));
    }
    let standing = match check(connection, &prepared.commit)? {
        Ok(standing) => standing,
        Err(refusal) => return Ok(Err(refusal)),
    };
    write(connection, prepared, standing.as_ref())?;
    Ok(Ok(()))
}

/// Writes a step that closes nothing, as a sweep and most commands make it, without looking first: the unique indexes
/// and the version in the `WHERE` refuse it just as well, and it saves three look-ups, and one more for a command.
///
/// `false`, and no trace, when that is not enough or something refused: then the long way tells what and why.
fn quick(connection: &Connection, prepared: &Prepared) -> Result<bool, StoreError> {
    let Commit {
        expected_version,
        decision,
        command,
        ..
    } = &prepared.commit;
    // A plan that is scheduled is marked as used, which only the long way does.
    let is_simple = *expected_version > 0
        && decision.trial.is_none()
        && decision.redemption.is_none()
        && decision.note.is_none()
        && decision.closed.is_empty()
        && decision.next.scheduled_plan().is_none();
    if !is_simple {
        return Ok(false);
    }
    if let Some(command) = command
        && !commands::insert_command(connection, command)?
    {
        return Ok(false);
    }
    if !quick_rows(connection, prepared)? {
        if let Some(command) = command {
            commands::take_back_command(connection, command)?;
        }
        return Ok(false);
    }
    write_trail(connection, prepared)?;
    Ok(true)
}

/// The invoice and the subscription of a [`quick`] commit, or neither.
fn quick_rows(connection: &Connection, prepared: &Prepared) -> Result<bool, StoreError> {
    let Commit {
        expected_version,
        decision,
        ..
    } = &prepared.commit;
    let opened = decision.opened.as_ref().zip(prepared.opened.as_ref());
    // Before the subscription: this can be taken back, an update cannot.
    if let Some((invoice, body)) = opened
        && !invoices::insert(connection, invoice, body)?
    {
        return Ok(false);
    }
    let advanced = subscriptions::advance(
        connection,
        *expected_version,
        &decision.next,
        &prepared.subscription,
    )?;
    if let Some((invoice, _)) = opened
        && !advanced
    {
        invoices::take_back(connection, invoice.id)?;
    }
    Ok(advanced)
}

fn check(
    connection: &Connection,
    commit: &Commit,
) -> Result<Result<Option<Standing>, CommitRefusal>, StoreError> {
    let Commit {
        expected_version,
        decision,
        command,
        ..
    } = commit;
    let next = &decision.next;
    if let Some(command) = command
        && commands::command_exists(connection, command)?
    {
        let key = command.key.clone();
        return Ok(Err(CommitRefusal::CommandExists { key }));
    }
    let standing = Standing::of(connection, next)?;
    let found = standing.as_ref().map_or(0, |standing| standing.version);
    if found != *expected_version {
        return Ok(Err(CommitRefusal::VersionConflict {
            id: next.id,
            expected: *expected_version,
            found,
        }));
    }
    let holds_place = standing.as_ref().is_some_and(Standing::holds_place);
    if next.is_live() && !holds_place && subscriptions::place_taken(connection, next)? {
        return Ok(Err(CommitRefusal::LiveExists {
            tenant_id: next.tenant_id,
            product: next.product.clone(),
        }));
    }
    if let Some(grant) = &decision.trial
        && subscriptions::trial_used(connection, grant.tenant_id, &grant.family)?
    {
        return Ok(Err(CommitRefusal::TrialExists {
            tenant_id: grant.tenant_id,
            family: grant.family.clone(),
        }));
    }
    if let Some(redemption) = &decision.redemption
        && !concessions::may_redeem(connection, redemption)?
    {
        let code = redemption.code.clone();
        return Ok(Err(CommitRefusal::CouponSpent { code }));
    }
    if let Some(opened) = &decision.opened
        && invoices::is_taken(connection, opened, &decision.closed)?
    {
        return Ok(Err(CommitRefusal::InvoiceExists {
            subscription_id: opened.subscription_id,
            number: opened.number,
        }));
    }
    if let Some(note) = &decision.note
        && concessions::note_exists(connection, note.id)?
    {
        return Ok(Err(CommitRefusal::CreditNoteExists { id: note.id }));
    }
    for closed in &decision.closed {
        if !invoices::may_close(connection, closed)? {
            let invoice_id = closed.invoice_id;
            return Ok(Err(CommitRefusal::InvoiceNotOpen { invoice_id }));
        }
    }
    Ok(Ok(standing))
}

fn write(
    connection: &Connection,
    prepared: &Prepared,
    standing: Option<&Standing>,
) -> Result<(), StoreError> {
    let decision = &prepared.commit.decision;
    subscriptions::write(connection, standing, &decision.next, &prepared.subscription)?;
    // Closed before opened: the invoice that is voided may have bought the period that the new one buys.
    for (closed, state) in decision.closed.iter().zip(&prepared.closed) {
        invoices::close(connection, closed, state)?;
    }
    if let (Some(invoice), Some(body)) = (&decision.opened, &prepared.opened)
        && !invoices::insert(connection, invoice, body)?
    {
        return Err(StoreError::Internal {
            detail: format!("invoice `{}` does not fit what was checked", invoice.id),
        });
    }
    if let Some(grant) = &decision.trial {
        subscriptions::grant_trial(connection, grant)?;
    }
    if let Some(redemption) = &decision.redemption {
        concessions::redeem(connection, decision.next.id, redemption)?;
    }
    if let Some(note) = &decision.note {
        concessions::insert_note(connection, note)?;
    }
    if let Some(command) = &prepared.commit.command
        && !commands::insert_command(connection, command)?
    {
        return Err(StoreError::Internal {
            detail: format!("command `{}` does not fit what was checked", command.key),
        });
    }
    write_trail(connection, prepared)
}

/// Writes what nothing refuses: audit entries, the window that was billed, the number of the invoice, the ledger, jobs.
fn write_trail(connection: &Connection, prepared: &Prepared) -> Result<(), StoreError> {
    let decision = &prepared.commit.decision;
    for entry in &decision.audit {
        audit::insert(connection, entry)?;
    }
    if let Some(billed) = &decision.billed {
        windows::insert(connection, decision.next.id, billed)?;
    }
    if let Some(invoice) = &decision.opened {
        invoices::number(connection, invoice)?;
    }
    concessions::write_ledger(connection, decision.next.id, &decision.ledger)?;
    for (job, (key, effect)) in prepared.commit.jobs.iter().zip(&prepared.jobs) {
        outbox::insert(connection, job, key, effect)?;
    }
    Ok(())
}
