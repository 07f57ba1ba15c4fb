//! Steps that time makes due: trials and periods that are over, retries, retention.

use alloc::vec::Vec;

use chrono::{DateTime, Utc};

use super::decision::{Draft, Effect};
use super::invoicing::Opened;
use super::rejection::Rejection;
use super::state::{
    Active, AtPeriodEnd, CancelCause, Canceled, Expired, ExpiredCause, State, Suspended, Suspension, Term,
    Trialing,
};
use super::{Subscription, cancel, pause, settlement};
use crate::audit::{AuditAction, Details};
use crate::calendar::{self, Period};
use crate::invoice::{InvoiceKind, InvoiceLine};
use crate::payment::{Collection, CollectionPhase, Debit};
use crate::plan::{Plan, TrialEnd};

/// Takes the step that is due at `now`, if one is.
pub(super) fn advance(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let next_due = current.step_due();
    let Some(due) = next_due.filter(|due| *due <= draft.now()) else {
        return Err(Rejection::NotDue {
            id: current.id,
            due: next_due,
        });
    };
    Ok(match &current.state {
        State::Pending(pending) => {
            draft.withdraw(Some(&pending.collection))?;
            draft.next.purchases.clear();
            draft.record(AuditAction::Canceled, Details::new().text("cause", "abandoned"));
            State::Canceled(Canceled {
                canceled_at: due,
                cause: CancelCause::Abandoned,
                collection: None,
            })
        }
        State::Trial(trial) => trial_over(draft, current, trial)?,
        State::Active(active) => period_over(draft, active)?,
        State::Expired(expired) => match &expired.collection {
            Some(collection) => retry_due(draft, collection, |draft, collection| {
                settlement::unpaid(
                    draft,
                    Expired {
                        collection: Some(collection),
                        ..expired.clone()
                    },
                )
            })?,
            None => {
                return Err(Rejection::NotDue {
                    id: current.id,
                    due: None,
                });
            }
        },
        State::Suspended(suspended) => suspension_due(draft, current, suspended, due)?,
        State::Canceled(canceled) => match &canceled.collection {
            Some(collection) => retry_due(draft, collection, |draft, collection| {
                Ok(settlement::closing(draft, canceled, Some(collection)))
            })?,
            None => {
                return Err(Rejection::NotDue {
                    id: current.id,
                    due: None,
                });
            }
        },
    })
}

/// Tries the open invoice again, or gives it up when the customer did not act; `then` puts it into its state.
fn retry_due(
    draft: &mut Draft<'_>,
    collection: &Collection,
    then: impl FnOnce(&mut Draft<'_>, Collection) -> Result<State, Rejection>,
) -> Result<State, Rejection> {
    let next = match collection.phase {
        CollectionPhase::Waiting { .. } => draft.charge_again(collection),
        CollectionPhase::AwaitingCustomer { .. } | CollectionPhase::Charging | CollectionPhase::Spent => {
            draft.record(
                AuditAction::PaymentFailed,
                Details::new()
                    .id("invoice", collection.invoice_id.uuid())
                    .number("attempt", collection.attempts)
                    .text("cause", "customer_did_not_act"),
            );
            collection.spent()
        }
    };
    then(draft, next)
}

fn suspension_due(
    draft: &mut Draft<'_>,
    current: &Subscription,
    suspended: &Suspended,
    due: DateTime<Utc>,
) -> Result<State, Rejection> {
    match &suspended.suspension {
        Suspension::Unpaid { .. } | Suspension::Operator { .. } => {
            cancel::retention_over(draft, current, due)
        }
        Suspension::Paused {
            resume_at: Some(resume_at),
            ..
        } if *resume_at <= due => pause::resumed(draft, suspended, *resume_at),
        Suspension::Paused {
            resume_at,
            carried,
            collection,
        } => match collection {
            None => Err(Rejection::NotDue {
                id: draft.next.id,
                due: *resume_at,
            }),
            Some(collection) => retry_due(draft, collection, |_, collection| {
                Ok(State::Suspended(Suspended {
                    suspended_at: suspended.suspended_at,
                    suspension: Suspension::Paused {
                        resume_at: *resume_at,
                        carried: carried.clone(),
                        collection: Some(collection),
                    },
                }))
            }),
        },
    }
}

fn trial_over(draft: &mut Draft<'_>, current: &Subscription, trial: &Trialing) -> Result<State, Rejection> {
    let ended_at = trial.trial_ends_at;
    let converts = current.pays_after_trial();
    let otherwise = match &draft.facts.plan.trial {
        Some(terms) => terms.without_payment_method,
        None => TrialEnd::Expire,
    };
    match trial.at_end {
        Some(AtPeriodEnd::Cancel { ref reason }) => {
            draft.next.purchases.clear();
            draft.record(AuditAction::Canceled, Details::new().text("reason", reason));
            return Ok(State::Canceled(Canceled {
                canceled_at: ended_at,
                cause: CancelCause::Requested {
                    reason: reason.clone(),
                },
                collection: None,
            }));
        }
        // The plan that the trial's end names for who cannot pay takes the place of the one that was to be paid.
        Some(AtPeriodEnd::ChangePlan { .. }) if !converts && matches!(otherwise, TrialEnd::MoveTo { .. }) => {
        }
        ref at_end => draft.put_in_force(at_end.as_ref(), ended_at)?,
    }
    match otherwise {
        _ if converts => {}
        TrialEnd::Expire => {
            draft.record(AuditAction::Expired, Details::new().text("cause", "trial_ended"));
            return Ok(State::Expired(Expired {
                cause: ExpiredCause::TrialEnded,
                ended_at,
                grace_ends_at: ended_at,
                restricted_ends_at: ended_at,
                resumes: None,
                collection: None,
                at_end: None,
            }));
        }
        TrialEnd::Cancel => {
            draft.next.purchases.clear();
            draft.record(AuditAction::Canceled, Details::new().text("cause", "trial_ended"));
            return Ok(State::Canceled(Canceled {
                canceled_at: ended_at,
                cause: CancelCause::TrialEnded,
                collection: None,
            }));
        }
        TrialEnd::MoveTo { plan_id } => {
            let target = draft.target(plan_id)?;
            draft.next.purchases.clear();
            draft.change_plan_to(target, ended_at);
        }
    }
    // The anchor was set to the trial's end when the trial began.
    let period = draft.next_period()?;
    draft.record(
        AuditAction::TrialConverted,
        Details::new().time("period_end", period.end),
    );
    let lines = draft.advance_lines(period)?;
    draft.begin(InvoiceKind::First, period, lines)
}

fn period_over(draft: &mut Draft<'_>, active: &Active) -> Result<State, Rejection> {
    let Active { term, at_end, .. } = active;
    let end = term.period.end;
    let mut lines = draft.closing_lines(draft.facts.plan, Some(term), end)?;
    match at_end {
        Some(AtPeriodEnd::Cancel { reason }) => {
            draft.record(AuditAction::Canceled, Details::new().text("reason", reason));
            let opened = draft.open_invoice(InvoiceKind::Closing, term.period, end, lines)?;
            return Ok(State::Canceled(Canceled {
                canceled_at: end,
                cause: CancelCause::Requested {
                    reason: reason.clone(),
                },
                collection: opened.collection(),
            }));
        }
        Some(AtPeriodEnd::Pause { resume_at }) => {
            draft.record(AuditAction::Paused, Details::new());
            let opened = draft.open_invoice(InvoiceKind::Closing, term.period, end, lines)?;
            return Ok(State::Suspended(Suspended {
                suspended_at: end,
                suspension: Suspension::Paused {
                    resume_at: *resume_at,
                    carried: None,
                    collection: opened.collection(),
                },
            }));
        }
        Some(
            AtPeriodEnd::ChangePlan { .. }
            | AtPeriodEnd::ChangeQuantity { .. }
            | AtPeriodEnd::ChangeAddOn { .. },
        )
        | None => {}
    }
    if !draft.next.auto_renew {
        let opened = draft.open_invoice(InvoiceKind::Closing, term.period, end, lines)?;
        let expired = draft.expire(
            ExpiredCause::NotRenewed,
            end,
            None,
            opened.collection(),
            at_end.clone(),
        )?;
        return Ok(State::Expired(expired));
    }
    draft.put_in_force(at_end.as_ref(), end)?;
    let period = draft.next_period()?;
    draft.record(
        AuditAction::Renewed,
        Details::new()
            .time("period_start", period.start)
            .time("period_end", period.end),
    );
    lines.splice(0..0, draft.advance_lines(period)?);
    draft.begin(InvoiceKind::Renewal, period, lines)
}

/// Asks for the next period of an expired subscription, or for another attempt at its open invoice.
pub(super) fn renew(draft: &mut Draft<'_>, current: &Subscription) -> Result<State, Rejection> {
    let State::Expired(expired) = &current.state else {
        return Err(draft.missing("an expired subscription"));
    };
    if let Some(collection) = &expired.collection {
        if collection.phase == CollectionPhase::Charging {
            return Err(Rejection::ChargePending {
                id: current.id,
                command: draft.command,
                invoice_id: collection.invoice_id,
            });
        }
        if expired.resumes.is_some() {
            let collection = draft.charge_again(collection);
            let state = State::Expired(Expired {
                collection: Some(collection),
                ..expired.clone()
            });
            return Ok(state);
        }
    }
    // No period was asked for yet: what is open, if anything, is for what was used, and moves to the new invoice.
    let mut lines = draft.withdraw(expired.collection.as_ref())?;
    draft.put_in_force(expired.at_end.as_ref(), expired.ended_at)?;
    let now = draft.now();
    if now >= expired.grace_ends_at {
        draft.anchor_at(now);
    }
    let period = draft.next_period()?;
    let kind = match expired.cause {
        ExpiredCause::TrialEnded => InvoiceKind::First,
        ExpiredCause::NotRenewed | ExpiredCause::PaymentFailed => InvoiceKind::Renewal,
    };
    lines.splice(0..0, draft.advance_lines(period)?);
    draft.record(
        AuditAction::Renewed,
        Details::new()
            .time("period_start", period.start)
            .time("period_end", period.end),
    );
    let opened = draft.open_invoice(kind, period, expired.ended_at, lines)?;
    Ok(match opened {
        Opened::Paid { debits } => draft.active(period, debits),
        Opened::Collecting(collection) => State::Expired(Expired {
            resumes: Some(Term::of(period, Vec::new())),
            collection: Some(collection),
            at_end: None,
            ..expired.clone()
        }),
    })
}

impl<'a> Draft<'a> {
    /// Counts periods from `at` anew.
    pub(super) fn anchor_at(&mut self, at: DateTime<Utc>) {
        self.next.anchor.at = at;
        self.next.next_index = 0;
    }

    /// The period to be bought next, and moves on to the one after it.
    pub(super) fn next_period(&mut self) -> Result<Period, Rejection> {
        let (anchor, interval) = (self.next.anchor, self.plan.interval);
        let (index, period) = match self.next.next_index.checked_sub(1) {
            Some(before) => anchor.next_period(interval, before)?,
            None => (0, anchor.period(interval, 0)?),
        };
        self.next.next_index = index.saturating_add(1);
        Ok(period)
    }

    /// Begins `period`: opens its invoice over `lines`; active while that is collected.
    pub(super) fn begin(
        &mut self,
        kind: InvoiceKind,
        period: Period,
        lines: Vec<InvoiceLine>,
    ) -> Result<State, Rejection> {
        let opened = self.open_invoice(kind, period, period.start, lines)?;
        Ok(match opened {
            Opened::Paid { debits } => self.active(period, debits),
            Opened::Collecting(collection) => State::Active(Active {
                term: Term::of(period, Vec::new()),
                collection: Some(collection),
                at_end: None,
            }),
        })
    }

    /// Active in `period`, which is paid.
    pub(super) fn active(&self, period: Period, debits: Vec<Debit>) -> State {
        State::Active(Active {
            term: Term::of(period, debits),
            collection: None,
            at_end: None,
        })
    }

    /// Puts `plan` in force from `since` on and says so in the audit trail.
    pub(super) fn change_plan_to(&mut self, plan: &'a Plan, since: DateTime<Utc>) {
        let details = Details::new()
            .id("from", self.next.plan_id.uuid())
            .id("to", plan.id.uuid());
        self.record(AuditAction::PlanChanged, details);
        self.adopt(plan);
        self.next.plan_since = Some(since);
        self.drop_add_ons();
    }

    /// Starts another attempt at an open invoice.
    pub(super) fn charge_again(&mut self, collection: &Collection) -> Collection {
        let next = collection.charging();
        self.record(
            AuditAction::PaymentRetried,
            Details::new()
                .id("invoice", next.invoice_id.uuid())
                .number("attempt", next.attempts),
        );
        self.effect(Effect::ChargeInvoice {
            invoice_id: next.invoice_id,
            amount: next.amount,
            attempt: next.attempts,
        });
        next
    }

    /// Expired since `ended_at`, with the grace and restricted stage of the plan in force.
    pub(super) fn expire(
        &mut self,
        cause: ExpiredCause,
        ended_at: DateTime<Utc>,
        resumes: Option<Term>,
        collection: Option<Collection>,
        at_end: Option<AtPeriodEnd>,
    ) -> Result<Expired, Rejection> {
        let (grace_ends_at, restricted_ends_at) = self.next.access.ends(ended_at, &self.next.anchor)?;
        self.record(
            AuditAction::Expired,
            Details::new().time("grace_ends_at", grace_ends_at),
        );
        Ok(Expired {
            cause,
            ended_at,
            grace_ends_at,
            restricted_ends_at,
            resumes,
            collection,
            at_end,
        })
    }

    /// When a suspension that begins now is over for good.
    pub(super) fn retention_ends_at(&self) -> Result<DateTime<Utc>, Rejection> {
        Ok(calendar::add_days(
            self.now(),
            self.plan.retention_days,
            self.next.anchor.zone,
        )?)
    }
}
