//! What was loaded for a decision, owned; core borrows it.

use std::sync::Arc;

use billing_core::id::SubscriptionId;
use billing_core::invoice::Invoice;
use billing_core::plan::Plan;
use billing_core::subscription::Facts;
use billing_core::usage::Usage;

/// The facts for one decision.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) plan: Arc<Plan>,
    pub(crate) target: Option<Arc<Plan>>,
    pub(crate) usage: Option<Usage>,
    pub(crate) invoice: Option<Invoice>,
    pub(crate) siblings: Vec<(SubscriptionId, Arc<Plan>)>,
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
        }
    }
}
