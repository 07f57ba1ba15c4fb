//! What was loaded for a decision, owned; core borrows it.

use std::sync::Arc;

use billing_core::credit_note::{CreditNote, CreditNoteAmount};
use billing_core::id::SubscriptionId;
use billing_core::invoice::Invoice;
use billing_core::plan::Plan;
use billing_core::ports::CouponState;
use billing_core::subscription::{CouponFacts, Decision, Facts, NoteFacts};
use billing_core::tax::TaxTreatment;
use billing_core::usage::Usage;

/// What steps leave that are not committed yet: the store does not have it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uncommitted<'a> {
    /// The newest invoice.
    pub(crate) opened: Option<&'a Invoice>,
    /// How far the record of usage was read, if a window of it was billed. It must not be read further, since the store does
    /// not know of that window yet, and what came late for it would be missed.
    pub(crate) read_up_to: Option<u64>,
}

impl<'a> Uncommitted<'a> {
    pub(crate) fn of(decisions: impl DoubleEndedIterator<Item = &'a Decision> + Clone) -> Self {
        let mut billed = decisions.clone().filter(|decision| decision.billed.is_some());
        Self {
            opened: decisions.rev().find_map(|decision| decision.opened.as_ref()),
            read_up_to: billed.next().map(|decision| decision.next.usage.watermark),
        }
    }
}

/// The facts for one decision.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) plan: Arc<Plan>,
    pub(crate) target: Option<Arc<Plan>>,
    pub(crate) usage: Option<Usage>,
    pub(crate) invoice: Option<Invoice>,
    pub(crate) siblings: Vec<(SubscriptionId, Arc<Plan>)>,
    pub(crate) tax: Option<TaxTreatment>,
    pub(crate) coupon: Option<CouponState>,
    pub(crate) notes: Option<Noted>,
}

/// What was credited of an invoice before.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) earlier: Vec<CreditNote>,
    pub(crate) elsewhere: Vec<CreditNoteAmount>,
}

/// What core asks of a coupon.
pub(crate) fn coupon_facts(state: &CouponState) -> CouponFacts<'_> {
    CouponFacts {
        coupon: &state.coupon,
        redemptions: state.redemptions,
        redeemed_before: state.redeemed_before,
    }
}

impl Loaded {
    pub(crate) fn siblings(&self) -> Vec<(SubscriptionId, &Plan)> {
        self.siblings.iter().map(|(id, plan)| (*id, &**plan)).collect()
    }

    pub(crate) fn facts<'a>(&'a self, siblings: &'a [(SubscriptionId, &'a Plan)]) -> Facts<'a> {
        Facts {
            plan: &self.plan,
            target: self.target.as_deref(),
            usage: self.usage.as_ref(),
            invoice: self.invoice.as_ref(),
            siblings,
            tax: self.tax.as_ref(),
            coupon: self.coupon.as_ref().map(coupon_facts),
            notes: self.notes.as_ref().map(|noted| NoteFacts {
                earlier: &noted.earlier,
                elsewhere: &noted.elsewhere,
            }),
        }
    }
}
