//! What a payment, or its failure, does to a subscription.

use chrono::{DateTime, Utc};

use super::Subscription;
use super::decision::{Draft, Effect};
use super::rejection::Rejection;
use super::state::{
    Active, Canceled, Expired, ExpiredCause, Held, Pending, State, Suspended, Suspension, Term,
};
use crate::audit::{AuditAction, Details};
use crate::calendar::Period;
use crate::id::InvoiceId;
use crate::invoice::{Invoice, InvoiceStatus};
use crate::money::Money;
use crate::payment::{Collection, CollectionPhase, Debit, PaymentOutcome};
use crate::retry::DeclineClass;

pub(super) fn record(
    draft: &mut Draft<'_>,
    current: &Subscription,
    invoice_id: InvoiceId,
    outcome: &PaymentOutcome,
) -> Result<State, Rejection> {
    let invoice = draft
        .facts
        .invoice
        .filter(|invoice| invoice.id == invoice_id)
        .ok_or_else(|| draft.missing("the invoice"))?;
    if invoice.subscription_id != current.id {
        return Err(Rejection::ForeignInvoice {
            id: current.id,
            invoice_id,
        });
    }
    if let PaymentOutcome::Settled { amount, .. } = outcome
        && *amount != invoice.total
    {
        return Err(Rejection::AmountMismatch {
            invoice_id,
            expected: invoice.total,
            found: *amount,
        });
    }
    let collection = current
        .state
        .collection()
        .filter(|collection| collection.invoice_id == invoice_id);
    Ok(match (collection, outcome) {
        (
            Some(collection),
            PaymentOutcome::Settled {
                reference,
                settled_at,
                ..
            },
        ) => {
            draft.record(
                AuditAction::PaymentSettled,
                Details::new()
                    .id("invoice", invoice_id.uuid())
                    .money("amount", invoice.total)
                    .text("reference", reference),
            );
            // Not before there was an invoice, whatever the provider's clock says: paid time would begin in the past.
            let settled_at = (*settled_at).max(invoice.opened_at);
            settled(draft, current, collection, reference, settled_at)?
        }
        (Some(collection), PaymentOutcome::Failed { class, code }) => {
            failed(draft, current, collection, *class, code)?
        }
        (
            None,
            PaymentOutcome::Settled {
                amount,
                reference,
                settled_at,
            },
        ) => {
            not_owed(draft, invoice, *amount, reference, *settled_at)?;
            current.state.clone()
        }
        (None, PaymentOutcome::Failed { .. }) => {
            return Err(Rejection::InvoiceClosed {
                invoice_id,
                status: invoice.state.code(),
            });
        }
    })
}

/// A payment for an invoice that is not being collected: late, or a second one. What is not owed is paid back.
fn not_owed(
    draft: &mut Draft<'_>,
    invoice: &Invoice,
    amount: Money,
    reference: &str,
    settled_at: DateTime<Utc>,
) -> Result<(), Rejection> {
    let owed = match &invoice.state {
        // By this very payment; or there was nothing to pay, and there is nothing to pay back.
        InvoiceStatus::Paid { reference: known, .. }
            if known.as_deref().is_none_or(|known| known == reference) =>
        {
            return Err(Rejection::InvoiceClosed {
                invoice_id: invoice.id,
                status: invoice.state.code(),
            });
        }
        InvoiceStatus::Paid { .. } | InvoiceStatus::Void { .. } => false,
        InvoiceStatus::Open | InvoiceStatus::Uncollectible { .. } => true,
    };
    draft.record(
        AuditAction::PaymentSettled,
        Details::new()
            .id("invoice", invoice.id.uuid())
            .money("amount", amount)
            .text("reference", reference)
            .flag("owed", owed),
    );
    if owed {
        let state = InvoiceStatus::Paid {
            paid_at: settled_at,
            reference: Some(reference.into()),
            covers: None,
        };
        draft.close(invoice.id, state);
    } else {
        draft.effect(Effect::RefundPayment {
            invoice_id: invoice.id,
            amount,
            reference: reference.into(),
        });
    }
    Ok(())
}

fn settled(
    draft: &mut Draft<'_>,
    current: &Subscription,
    collection: &Collection,
    reference: &str,
    settled_at: DateTime<Utc>,
) -> Result<State, Rejection> {
    let mut covers = None;
    let state = match &current.state {
        State::Pending(Pending { .. }) => from_settlement(draft, collection, settled_at, &mut covers)?,
        State::Active(active) => State::Active(paid(active, collection)),
        State::Expired(expired) => expired_paid(draft, expired, collection, settled_at, &mut covers)?,
        State::Suspended(suspended) => {
            let suspended_at = suspended.suspended_at;
            let suspension = match &suspended.suspension {
                Suspension::Unpaid { held, .. } => {
                    // The period that was asked for was not served, so a new one begins at the settlement.
                    let late = Expired {
                        grace_ends_at: held.ended_at,
                        ..held.clone()
                    };
                    let state = expired_paid(draft, &late, collection, settled_at, &mut covers)?;
                    let state = match state {
                        State::Expired(_) => State::Expired(Expired {
                            collection: None,
                            ..held.clone()
                        }),
                        State::Active(_)
                        | State::Pending(_)
                        | State::Trial(_)
                        | State::Suspended(_)
                        | State::Canceled(_) => state,
                    };
                    return Ok(close_paid(
                        draft, collection, reference, settled_at, covers, state,
                    ));
                }
                // A payment does not undo an operator's decision; it waits inside.
                Suspension::Operator {
                    reason,
                    retention_ends_at,
                    held,
                } => Suspension::Operator {
                    reason: reason.clone(),
                    retention_ends_at: *retention_ends_at,
                    held: held_paid(draft, held, collection, settled_at, &mut covers)?,
                },
                Suspension::Paused {
                    resume_at, carried, ..
                } => Suspension::Paused {
                    resume_at: *resume_at,
                    carried: carried.clone(),
                    collection: None,
                },
            };
            State::Suspended(Suspended {
                suspended_at,
                suspension,
            })
        }
        State::Canceled(canceled) => State::Canceled(Canceled {
            collection: None,
            ..canceled.clone()
        }),
        State::Trial(_) => current.state.clone(),
    };
    Ok(close_paid(
        draft, collection, reference, settled_at, covers, state,
    ))
}

fn close_paid(
    draft: &mut Draft<'_>,
    collection: &Collection,
    reference: &str,
    paid_at: DateTime<Utc>,
    covers: Option<Period>,
    state: State,
) -> State {
    draft.close(
        collection.invoice_id,
        InvoiceStatus::Paid {
            paid_at,
            reference: Some(reference.into()),
            covers,
        },
    );
    state
}

/// Active with its invoice paid: what it debited is what an unused part is credited from now on.
fn paid(active: &Active, collection: &Collection) -> Active {
    let mut paid = Active {
        collection: None,
        ..active.clone()
    };
    paid.term.debits = match collection.kind.pays_for_time() {
        true => collection.debits.clone(),
        false => active.term.debits.clone(),
    };
    paid
}

fn held_paid(
    draft: &mut Draft<'_>,
    held: &Held,
    collection: &Collection,
    settled_at: DateTime<Utc>,
    covers: &mut Option<Period>,
) -> Result<Held, Rejection> {
    Ok(match held {
        Held::Trial(trial) => Held::Trial(trial.clone()),
        Held::Active(active) => Held::Active(paid(active, collection)),
        Held::Expired(expired) => match expired_paid(draft, expired, collection, settled_at, covers)? {
            State::Active(active) => Held::Active(active),
            State::Expired(expired) => Held::Expired(expired),
            State::Pending(_) | State::Trial(_) | State::Suspended(_) | State::Canceled(_) => held.clone(),
        },
    })
}

/// An expired subscription is paid for: in grace the period that was asked for goes on, after it a new one begins at
/// the settlement. An invoice for what was used buys nothing.
fn expired_paid(
    draft: &mut Draft<'_>,
    expired: &Expired,
    collection: &Collection,
    settled_at: DateTime<Utc>,
    covers: &mut Option<Period>,
) -> Result<State, Rejection> {
    let Some(term) = &expired.resumes else {
        return Ok(State::Expired(Expired {
            collection: None,
            ..expired.clone()
        }));
    };
    if collection.kind.buys_period() && settled_at >= expired.grace_ends_at {
        let state = from_settlement(draft, collection, settled_at, covers)?;
        return Ok(match state {
            State::Active(active) => State::Active(Active {
                at_end: expired.at_end.clone(),
                ..active
            }),
            State::Pending(_)
            | State::Trial(_)
            | State::Expired(_)
            | State::Suspended(_)
            | State::Canceled(_) => state,
        });
    }
    if settled_at >= expired.grace_ends_at && settled_at >= term.period.end {
        // The period was over unserved, and so was what follows it: the next one begins at the settlement.
        draft.anchor_at(settled_at);
    }
    let active = Active {
        term: term.clone(),
        collection: None,
        at_end: expired.at_end.clone(),
    };
    Ok(State::Active(paid(&active, collection)))
}

/// A whole period that begins at the settlement.
fn from_settlement(
    draft: &mut Draft<'_>,
    collection: &Collection,
    settled_at: DateTime<Utc>,
    covers: &mut Option<Period>,
) -> Result<State, Rejection> {
    draft.anchor_at(settled_at);
    let period = draft.next_period()?;
    *covers = Some(period);
    let debits = collection
        .debits
        .iter()
        .map(|debit| Debit {
            period,
            ..debit.clone()
        })
        .collect();
    Ok(draft.active(period, debits))
}

fn failed(
    draft: &mut Draft<'_>,
    current: &Subscription,
    collection: &Collection,
    class: DeclineClass,
    code: &str,
) -> Result<State, Rejection> {
    let invoice_id = collection.invoice_id;
    if collection.phase != CollectionPhase::Charging {
        // The failure was counted when it first came.
        return Err(Rejection::NoAttempt { invoice_id });
    }
    draft.record(
        AuditAction::PaymentFailed,
        Details::new()
            .id("invoice", invoice_id.uuid())
            .number("attempt", collection.attempts)
            .text("class", class.code())
            .text("code", code),
    );
    if class == DeclineClass::Unknown {
        draft.effect(Effect::VerifyPayment {
            invoice_id,
            attempt: collection.attempts,
        });
        return Ok(current.state.clone());
    }
    let next = collection.failed(class, &draft.plan.retry, current.id.uuid().as_u128(), draft.now());
    Ok(match &current.state {
        // A first payment is not retried by itself: the customer is there, and it has its own end.
        State::Pending(pending) => State::Pending(Pending {
            pay_by: pending.pay_by,
            collection: Collection {
                phase: CollectionPhase::AwaitingCustomer {
                    until: pending.pay_by,
                },
                ..collection.clone()
            },
        }),
        State::Active(active) => {
            let expired = lost(draft, active, next)?;
            unpaid(draft, expired)?
        }
        State::Expired(expired) => unpaid(
            draft,
            Expired {
                collection: Some(next),
                ..expired.clone()
            },
        )?,
        State::Suspended(suspended) => {
            let suspension = match &suspended.suspension {
                Suspension::Unpaid {
                    retention_ends_at,
                    held,
                } => Suspension::Unpaid {
                    retention_ends_at: *retention_ends_at,
                    held: Expired {
                        collection: Some(next.spent()),
                        ..held.clone()
                    },
                },
                Suspension::Operator {
                    reason,
                    retention_ends_at,
                    held,
                } => Suspension::Operator {
                    reason: reason.clone(),
                    retention_ends_at: *retention_ends_at,
                    held: match held {
                        Held::Trial(trial) => Held::Trial(trial.clone()),
                        Held::Active(active) => Held::Expired(lost(draft, active, next)?),
                        Held::Expired(expired) => Held::Expired(Expired {
                            collection: Some(next),
                            ..expired.clone()
                        }),
                    },
                },
                Suspension::Paused {
                    resume_at, carried, ..
                } => Suspension::Paused {
                    resume_at: *resume_at,
                    carried: carried.clone(),
                    collection: Some(next),
                },
            };
            State::Suspended(Suspended {
                suspended_at: suspended.suspended_at,
                suspension,
            })
        }
        State::Canceled(canceled) => closing(draft, canceled, Some(next)),
        State::Trial(_) => current.state.clone(),
    })
}

/// An active subscription whose payment failed: paid time ended where the unpaid time began.
fn lost(draft: &mut Draft<'_>, active: &Active, collection: Collection) -> Result<Expired, Rejection> {
    let ended_at = collection.unpaid_from;
    let term: Term = active.term.clone();
    draft.expire(
        ExpiredCause::PaymentFailed,
        ended_at,
        Some(term),
        Some(collection),
        active.at_end.clone(),
    )
}

/// Expired with an unpaid invoice, or suspended when its retries are spent.
pub(super) fn unpaid(draft: &mut Draft<'_>, expired: Expired) -> Result<State, Rejection> {
    let spent = expired
        .collection
        .as_ref()
        .is_some_and(|next| next.phase == CollectionPhase::Spent);
    if !spent {
        return Ok(State::Expired(expired));
    }
    let retention_ends_at = draft.retention_ends_at()?;
    draft.record(AuditAction::Suspended, Details::new().text("cause", "unpaid"));
    Ok(State::Suspended(Suspended {
        suspended_at: draft.now(),
        suspension: Suspension::Unpaid {
            retention_ends_at,
            held: expired,
        },
    }))
}

/// A canceled subscription with its closing invoice, which is given up when its retries are spent.
pub(super) fn closing(draft: &mut Draft<'_>, canceled: &Canceled, collection: Option<Collection>) -> State {
    let given_up_at = draft.now();
    let collection = collection.filter(|collection| {
        let spent = collection.phase == CollectionPhase::Spent;
        if spent {
            draft.close(
                collection.invoice_id,
                InvoiceStatus::Uncollectible { given_up_at },
            );
        }
        !spent
    });
    State::Canceled(Canceled {
        collection,
        ..canceled.clone()
    })
}
