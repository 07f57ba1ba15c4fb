//! What the seller grants beside the plan: coupons, prepaid credit, credit notes.

use super::decision::{CouponRedemption, Draft, Effect};
use super::rejection::Rejection;
use super::state::State;
use super::{GrantCredit, Subscription};
use crate::audit::{AuditAction, Details};
use crate::coupon::{Discount, Redemption};
use crate::credit::{CreditGrant, Credits};
use crate::credit_note::{self, CreditNoteRequest, Disposition};
use crate::id::{CouponCode, CreditNoteId, GrantId, InvoiceId};
use crate::invoice::{InvoiceStatus, LineRef};
use crate::money::Money;

/// The most coupons that a subscription holds.
const DISCOUNTS_MAX: usize = 20;

impl Draft<'_> {
    /// Leaves the discount of a coupon on the subscription.
    pub(super) fn redeem(&mut self, code: &CouponCode) -> Result<Discount, Rejection> {
        let facts = self.facts.coupon.filter(|facts| facts.coupon.code == *code);
        let facts = facts.ok_or_else(|| self.missing("the coupon"))?;
        // What is spent goes, but for what an open invoice may still give back.
        let open = self.collected.as_ref().map_or(&[][..], |spent| &spent.coupons);
        self.next
            .discounts
            .retain(|discount| discount.invoices_left != Some(0) || open.contains(&discount.code));
        if self.next.discounts.len() >= DISCOUNTS_MAX {
            return Err(Rejection::TooManyCoupons { max: DISCOUNTS_MAX });
        }
        let discount = facts.coupon.redeem(&Redemption {
            plan: &self.plan.code,
            currency: self.plan.currency(),
            held: &self.next.discounts,
            redeemed_before: facts.redeemed_before,
            redemptions: facts.redemptions,
            now: self.now(),
        })?;
        self.redemption = Some(CouponRedemption {
            code: code.clone(),
            tenant_id: self.next.tenant_id,
        });
        self.next.discounts.push(discount.clone());
        self.record(
            AuditAction::CouponRedeemed,
            Details::new().plain("coupon", code.as_str()),
        );
        Ok(discount)
    }
}

pub(super) fn redeem(
    draft: &mut Draft<'_>,
    current: &Subscription,
    code: &CouponCode,
) -> Result<State, Rejection> {
    draft.redeem(code)?;
    Ok(current.state.clone())
}

/// Grants prepaid credit.
pub(super) fn grant(
    draft: &mut Draft<'_>,
    current: &Subscription,
    granted: &GrantCredit,
) -> Result<State, Rejection> {
    let grant = CreditGrant {
        priority: granted.priority,
        expires_at: granted.expires_at,
        ..CreditGrant::new(granted.id, granted.amount, granted.source, draft.now())
    };
    let mut credits = credits(draft)?;
    let expired = credits.expire(draft.now());
    draft.ledger.extend(expired);
    let entry = credits.grant(grant)?;
    draft.ledger.push(entry);
    draft.next.grants = credits.into_grants();
    draft.record(
        AuditAction::CreditGranted,
        Details::new()
            .id("grant", granted.id.uuid())
            .money("amount", granted.amount),
    );
    Ok(current.state.clone())
}

/// Takes back what is left of a grant.
pub(super) fn void(
    draft: &mut Draft<'_>,
    current: &Subscription,
    grant_id: GrantId,
) -> Result<State, Rejection> {
    let mut credits = credits(draft)?;
    let entries = credits.void(grant_id, draft.now())?;
    draft.ledger.extend(entries);
    draft.next.grants = credits.into_grants();
    draft.record(
        AuditAction::CreditVoided,
        Details::new().id("grant", grant_id.uuid()),
    );
    Ok(current.state.clone())
}

fn credits(draft: &mut Draft<'_>) -> Result<Credits, Rejection> {
    let grants = core::mem::take(&mut draft.next.grants);
    Ok(Credits::load(draft.next.credit.currency, grants)?)
}

/// Issues a credit note for an invoice that was paid, as credit for later invoices or as money paid back.
///
/// What it credits of a line is not debited any more: a plan change must not credit it once more.
pub(super) fn issue_note(
    draft: &mut Draft<'_>,
    current: &Subscription,
    id: CreditNoteId,
    invoice_id: InvoiceId,
    request: &CreditNoteRequest,
) -> Result<State, Rejection> {
    let invoice = draft.facts.invoice.filter(|invoice| invoice.id == invoice_id);
    let invoice = invoice.ok_or_else(|| draft.missing("the invoice"))?;
    if invoice.subscription_id != current.id {
        return Err(Rejection::ForeignInvoice {
            id: current.id,
            invoice_id,
        });
    }
    if request.disposition == Disposition::Credit && !current.is_live() {
        return Err(Rejection::NothingToCredit { id: current.id });
    }
    let facts = draft
        .facts
        .notes
        .ok_or_else(|| draft.missing("what was credited of the invoice before"))?;
    let now = draft.now();
    let note = credit_note::issue(id, invoice, facts.earlier, facts.elsewhere, request, now)?;
    let mut state = current.state.clone();
    for line in &note.lines {
        let source = LineRef {
            invoice_id,
            line: line.line,
        };
        state.reduce_debit(source, line.amount);
    }
    match note.disposition {
        Disposition::Credit => draft.next.credit = draft.next.credit.checked_add(note.total)?,
        Disposition::Refund => {
            let reference = match &invoice.state {
                InvoiceStatus::Paid { reference, .. } => reference.clone().unwrap_or_default(),
                InvoiceStatus::Open | InvoiceStatus::Void { .. } | InvoiceStatus::Uncollectible { .. } => {
                    alloc::string::String::new()
                }
            };
            draft.effect(Effect::RefundNote {
                note_id: id,
                invoice_id,
                amount: note.total,
                reference,
            });
        }
    }
    draft.record(
        AuditAction::CreditNoteIssued,
        Details::new()
            .id("note", id.uuid())
            .id("invoice", invoice_id.uuid())
            .money("amount", note.total),
    );
    draft.note = Some(note);
    Ok(state)
}

impl State {
    /// Takes `amount` off what is debited for a line, where it still is.
    fn reduce_debit(&mut self, source: LineRef, amount: Money) {
        for debit in self.debits_mut() {
            if debit.source == source {
                debit.amount.minor = debit.amount.minor.saturating_sub(amount.minor).max(0);
            }
        }
    }
}
