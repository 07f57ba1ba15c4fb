//! Reading what the engine keeps, recording usage, and looking after the audit trail.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use billing_core::access;
use billing_core::audit::{self, AuditEntry, ChainHead};
use billing_core::id::JobId;
use billing_core::id::{FeatureCode, InvoiceId, SubscriptionId, TenantId};
use billing_core::invoice::Invoice;
use billing_core::outbox::Job;
use billing_core::plan::Plan;
use billing_core::subscription::{Subscription, UsageCursor};
use billing_core::usage::{UsageEvent, UsageOutcome};
use chrono::{DateTime, Utc};

use crate::{Billing, Error};

/// How many rows a paged read takes at once.
pub(crate) const PAGE: usize = 1_000;

impl Billing {
    /// A subscription as it was committed last; see [`Subscription::standing`] for what time has made of it since.
    ///
    /// # Errors
    ///
    /// In order: [`Error::UnknownSubscription`], [`Error::Store`].
    ///
    /// # Example: as it was committed last
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{Standing, Status};
    ///
    /// billing.set_auto_renew(&request("off"), id, false).await?;
    /// clock.set(at("2026-12-01T00:00:00Z"));
    /// let stale = billing.subscription(id).await?;
    /// assert_eq!(stale.status(), Status::Active, "no sweep has come by");
    /// assert_eq!(stale.standing(billing.now()), Standing::Lapsed, "and nothing is granted all the same");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn subscription(&self, id: SubscriptionId) -> Result<Subscription, Error> {
        self.store
            .subscription(id)
            .await?
            .ok_or(Error::UnknownSubscription { id })
    }

    /// All subscriptions of a tenant, live or not, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: also what has ended
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, id, pro, .. }| {
    /// use billing::NewSubscription;
    /// use billing::core::subscription::{UnusedOnCancel, When};
    ///
    /// billing.cancel(&request("leave"), id, When::Now, "moved", UnusedOnCancel::None).await?;
    /// billing.create(&request("back"), &NewSubscription::new(tenant, pro.id)).await?;
    /// let live: Vec<_> = billing.subscriptions_of(tenant).await?.iter().map(|one| one.is_live()).collect();
    /// assert_eq!(live, [false, true]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn subscriptions_of(&self, tenant_id: TenantId) -> Result<Vec<Subscription>, Error> {
        Ok(self.store.subscriptions_of(tenant_id).await?)
    }

    /// Whether any subscription of the tenant grants `feature` now.
    ///
    /// # Errors
    ///
    /// In order: [`Error::UnknownPlan`] for a damaged store, [`Error::Store`].
    ///
    /// # Example: a feature of the other plan
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, tenant, id, team, .. }| {
    /// use billing::core::id::FeatureCode;
    /// use billing::core::plan::TenantProfile;
    ///
    /// let sso = FeatureCode::new("sso").unwrap();
    /// assert!(!billing.grants(tenant, &sso).await?);
    /// billing.change_plan(&request("grow"), id, team, None, TenantProfile::default()).await?;
    /// assert!(billing.grants(tenant, &sso).await?, "while the payment is being collected");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn grants(&self, tenant_id: TenantId, feature: &FeatureCode) -> Result<bool, Error> {
        let now = self.now();
        for subscription in self.store.subscriptions_of(tenant_id).await? {
            let plan = self.plan_in_force(subscription.plan_id).await?;
            if access::grants(&subscription, &plan, feature, now) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An invoice, if there is one with this id.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: paid, and by what
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, first_invoice, .. }| {
    /// use billing::core::invoice::InvoiceStatus;
    ///
    /// let invoice = billing.invoice(first_invoice).await?.unwrap();
    /// assert_eq!(invoice.lines[0].amount, invoice.total);
    /// let InvoiceStatus::Paid { reference, .. } = invoice.state else { panic!() };
    /// assert_eq!(reference.as_deref(), Some("ch_1"));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn invoice(&self, id: InvoiceId) -> Result<Option<Invoice>, Error> {
        Ok(self.store.invoice(id).await?)
    }

    /// All invoices of a subscription, by number.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: two months
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// billing.advance(&request("july"), id).await?;
    /// let invoices = billing.invoices_of(id).await?;
    /// let open: Vec<_> = invoices.iter().map(|invoice| (invoice.number, invoice.is_open())).collect();
    /// assert_eq!(open, [(1, false), (2, true)]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn invoices_of(&self, id: SubscriptionId) -> Result<Vec<Invoice>, Error> {
        let mut invoices: Vec<Invoice> = Vec::new();
        loop {
            let after = invoices.last().map_or(0, |invoice| invoice.number);
            let page = self.store.invoices_of(id, after, PAGE).await?;
            if page.is_empty() {
                return Ok(invoices);
            }
            invoices.extend(page);
        }
    }

    /// Jobs of the outbox in the order of their commits, beginning after `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: page by page
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::Effect;
    ///
    /// let first = billing.jobs(None, 1).await?.remove(0);
    /// assert!(matches!(first.effect, Effect::ChargeInvoice { attempt: 1, .. }));
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// billing.advance(&request("july"), id).await?;
    /// let rest = billing.jobs(Some(first.id), 100).await?;
    /// assert!(rest.iter().any(|job| matches!(job.effect, Effect::ChargeInvoice { .. })), "that of July");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn jobs(&self, after: Option<JobId>, limit: usize) -> Result<Vec<Job>, Error> {
        Ok(self.store.jobs(after, limit).await?)
    }

    /// Records usage events, durably; one answer per event, in order.
    ///
    /// An event of time whose usage was billed already is recorded too, and [told so](UsageOutcome::Late): it stands on an
    /// adjustment line of the next invoice.
    ///
    /// # Errors
    ///
    /// [`Error::Store`]: then nothing was recorded. An event that is refused is an answer, not an error.
    ///
    /// # Example: accepted, known, refused, late
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::usage::UsageOutcome;
    ///
    /// let use_1 = calls(&billing, "use-1", 5);
    /// let other = UsageEvent { quantity: 6.into(), ..use_1.clone() };
    /// let outcomes = billing.record_usage(vec![use_1.clone(), use_1, other]).await?;
    /// assert_eq!(outcomes[..2], [UsageOutcome::Accepted, UsageOutcome::Duplicate]);
    /// assert!(matches!(outcomes[2], UsageOutcome::Refused(_)));
    ///
    /// let june = calls(&billing, "use-2", 5);
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// billing.advance(&request("july"), id).await?;
    /// assert!(matches!(billing.record_usage(vec![june]).await?[0], UsageOutcome::Late { .. }));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn record_usage(&self, events: Vec<UsageEvent>) -> Result<Vec<UsageOutcome>, Error> {
        let now = self.now();
        let mut outcomes = Vec::with_capacity(events.len());
        let mut sound = Vec::with_capacity(events.len());
        for event in events {
            match event.check(now) {
                Ok(()) => {
                    outcomes.push(None);
                    sound.push(event);
                }
                Err(refusal) => outcomes.push(Some(UsageOutcome::Refused(refusal))),
            }
        }
        let billed_until = self.billed_until(&sound).await?;
        let recorded = self.store.record_usage(sound, now).await?;
        let mut recorded = recorded
            .into_iter()
            .zip(billed_until)
            .map(|(outcome, billed_until)| match (outcome, billed_until) {
                (UsageOutcome::Accepted, Some(billed_until)) => UsageOutcome::Late { billed_until },
                (outcome, _) => outcome,
            });
        Ok(outcomes
            .into_iter()
            .filter_map(|refused| refused.or_else(|| recorded.next()))
            .collect())
    }

    /// For each event until when usage is billed, if it occurred before.
    async fn billed_until(&self, events: &[UsageEvent]) -> Result<Vec<Option<DateTime<Utc>>>, Error> {
        let mut known: HashMap<TenantId, Vec<(Arc<Plan>, UsageCursor)>> = HashMap::new();
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            let cursors = match known.entry(event.tenant_id) {
                Entry::Occupied(cursors) => cursors.into_mut(),
                Entry::Vacant(place) => {
                    let mut cursors = Vec::new();
                    for subscription in self.store.subscriptions_of(event.tenant_id).await? {
                        if subscription.is_live() {
                            let plan = self.plan_in_force(subscription.plan_id).await?;
                            cursors.push((plan, subscription.usage));
                        }
                    }
                    place.insert(cursors)
                }
            };
            let was_billed = |usage: &UsageCursor| (usage.origin..usage.from).contains(&event.occurred_at);
            let found = cursors
                .iter()
                .find(|(plan, usage)| plan.meters.contains_key(&event.meter) && was_billed(usage));
            answers.push(found.map(|(_, usage)| usage.from));
        }
        Ok(answers)
    }

    /// The audit trail of a subscription, from the last clean-up on.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: who did what
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// billing.suspend(&request("stop"), id, "fraud").await?;
    /// let trail = billing.audit_trail(id).await?;
    /// let actions: Vec<_> = trail.iter().map(|entry| entry.action.code()).collect();
    /// assert_eq!(actions, ["created", "payment_settled", "suspended"]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn audit_trail(&self, id: SubscriptionId) -> Result<Vec<AuditEntry>, Error> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.sequence);
            let page = self.store.audit_entries(id, after, PAGE).await?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    /// Checks the audit chain of a subscription, from its checkpoint to the head that the subscription holds.
    /// Returns where the chain stands.
    ///
    /// # Errors
    ///
    /// In order: [`Error::UnknownSubscription`], [`Error::AuditChain`] with the first fault, [`Error::Store`].
    ///
    /// # Example: up to where it stands
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// let head = billing.verify_audit(id).await?;
    /// assert_eq!(head.sequence, 2, "created and paid");
    /// assert_eq!(head, billing.subscription(id).await?.audit);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn verify_audit(&self, id: SubscriptionId) -> Result<ChainHead, Error> {
        loop {
            let head = self.subscription(id).await?.audit;
            let start = self.store.audit_checkpoint(id).await?;
            let entries = self.audit_trail(id).await?;
            let verified = audit::verify(id, start, &entries, head);
            // A change or a clean-up in between the reads looks like a fault; only a quiet chain is judged.
            let quiet =
                self.subscription(id).await?.audit == head && self.store.audit_checkpoint(id).await? == start;
            match verified {
                Ok(()) => return Ok(head),
                Err(fault) if quiet => return Err(Error::AuditChain { id, fault }),
                Err(_) => {}
            }
        }
    }

    /// Removes the audit entries of a subscription before `before`, but for the last, and leaves a checkpoint that
    /// the rest verifies against. Returns how many were removed.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: the last entry stays
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// clock.set(at("2027-06-01T00:00:00Z"));
    /// assert_eq!(billing.prune_audit(id, billing.now()).await?, 1);
    /// assert_eq!(billing.audit_trail(id).await?.len(), 1);
    /// assert!(billing.verify_audit(id).await.is_ok(), "what is left begins at a checkpoint");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn prune_audit(&self, id: SubscriptionId, before: DateTime<Utc>) -> Result<u64, Error> {
        Ok(self.store.prune_audit(id, before).await?)
    }
}
