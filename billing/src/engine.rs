//! The engine: load, decide, commit.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use billing_core::audit::{Actor, Digest};
use billing_core::id::{InvoiceId, JobId, SubscriptionId, TenantId};
use billing_core::outbox::Job;
use billing_core::plan::{Plan, TrialEnd};
use billing_core::ports::{Clock, CommandRecord, Commit, Store, StoreError};
use billing_core::subscription::{
    self, Command, CommandKind, Context, Create, CreateFacts, Decision, Subscription,
};
use billing_core::tax::{NoTax, TaxPort};
use billing_core::usage::{Usage, UsageQuery};
use chrono::{DateTime, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::facts::{Loaded, Uncommitted, coupon_facts};
use crate::plans::PlanCache;
use crate::quotes::Inputs;
use crate::{Error, NewSubscription, Receipt, Request};

/// How often a command is decided anew when others keep changing the subscription.
///
/// Each round one of the racing callers gets through, which one is chance: of sixteen callers one in 10^28 loses a
/// thousand rounds, of a hundred one in 20,000.
pub(crate) const ATTEMPTS_MAX: u32 = 1_000;

/// How many steps a subscription takes before a command. Ten years of missed days; more is left to a sweep.
pub(crate) const STEPS_MAX: usize = 4_000;

/// The billing engine.
///
/// Cheap to clone; clones share store, clock and caches. Its futures run on any executor: what waits, waits for the
/// store, and the SQLite store needs no runtime.
///
/// Each command loads the subscription, takes the steps that time has made due, decides by
/// [`subscription::decide`], and commits the whole in one transaction that is guarded by the version it read. When
/// somebody else was faster, it begins anew from fresh state.
#[derive(Clone, Debug)]
pub struct Billing {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) plans: Arc<PlanCache>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) tax: Arc<dyn TaxPort>,
}

/// Makes ids: version 7 by the engine's own clock, strictly growing within one engine.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    context: Mutex<ContextV7>,
}

impl Ids {
    pub(crate) fn next(&self, now: DateTime<Utc>) -> Uuid {
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(
            &self.context,
            seconds,
            now.timestamp_subsec_nanos(),
        ))
    }
}

impl Billing {
    /// An engine on `store` that tells the time by `clock`.
    ///
    /// # Example: an engine in memory, whose time stands still
    ///
    /// ```
    /// use std::sync::Arc;
    /// use billing::{Billing, MemoryStore, TestClock};
    ///
    /// let clock = Arc::new(TestClock::at("2026-06-01T00:00:00Z".parse().unwrap()));
    /// let billing = Billing::new(Arc::new(MemoryStore::new()), clock);
    /// assert_eq!(billing.now().to_string(), "2026-06-01 00:00:00 UTC");
    /// ```
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            plans: Arc::default(),
            ids: Arc::default(),
            tax: Arc::new(NoTax),
        }
    }

    /// The same, asking `tax` which taxes fall on whom; without it there is none. It is asked whenever something may be billed,
    /// so it should answer from memory; what it fails to answer is not billed.
    ///
    /// # Example: 19% on top for everybody
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, pro, .. }| {
    /// use std::sync::Arc;
    /// use billing::NewSubscription;
    /// use billing::core::tax::{FlatTax, TaxRate, TaxTreatment};
    ///
    /// let vat = TaxRate { name: "VAT".into(), percent: 19.into(), jurisdiction: Some("DE".into()) };
    /// let german = FlatTax::new(TaxTreatment { rates: vec![vat], ..TaxTreatment::NONE }).unwrap();
    /// let billing = billing.with_tax(Arc::new(german));
    ///
    /// let new = NewSubscription::new(TenantId::new(Uuid::from_u128(7)), pro.id);
    /// let receipt = billing.create(&request("taxed"), &new).await?;
    /// let invoice = billing.invoice(receipt.invoices[0]).await?.unwrap();
    /// assert_eq!(invoice.lines[1].explanation, "VAT 19% of 29.00 USD");
    /// assert_eq!(invoice.total.minor, 34_51);
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn with_tax(self, tax: Arc<dyn TaxPort>) -> Self {
        Self { tax, ..self }
    }

    /// The store.
    ///
    /// # Example: a second engine on the same store
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// use std::sync::Arc;
    /// use billing::{Billing, SystemClock};
    ///
    /// let other = Billing::new(Arc::clone(billing.store()), Arc::new(SystemClock));
    /// assert_eq!(other.subscription(id).await?, billing.subscription(id).await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The engine's time, in whole microseconds whatever the clock says: it is what stores keep.
    ///
    /// # Example: a clock with nanoseconds
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use billing::{Billing, Clock, MemoryStore};
    /// # use chrono::{DateTime, Utc};
    /// #[derive(Debug)]
    /// struct Precise;
    ///
    /// impl Clock for Precise {
    ///     fn now(&self) -> DateTime<Utc> {
    ///         "2026-06-01T00:00:00.123456789Z".parse().unwrap()
    ///     }
    /// }
    ///
    /// let billing = Billing::new(Arc::new(MemoryStore::new()), Arc::new(Precise));
    /// assert_eq!(billing.now().to_string(), "2026-06-01 00:00:00.123456 UTC");
    /// ```
    pub fn now(&self) -> DateTime<Utc> {
        whole_micros(self.clock.now())
    }

    /// Subscribes a tenant to a plan.
    ///
    /// # Errors
    ///
    /// In order: [`Error::KeyReused`], [`Error::UnknownPlan`], [`Error::Tax`] and [`Error::InvalidTax`],
    /// [`Error::UnknownCoupon`], [`Error::Rejected`] as [`subscription::create()`] says, [`Error::Contended`],
    /// [`Error::Store`].
    ///
    /// # Example: asked twice, created once
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, pro, .. }| {
    /// use billing::{Error, NewSubscription};
    ///
    /// let tenant = TenantId::new(Uuid::from_u128(7));
    /// let new = NewSubscription::new(tenant, pro.id);
    /// let receipt = billing.create(&request("sign-up-7"), &new).await?;
    /// assert_eq!(billing.create(&request("sign-up-7"), &new).await?, receipt, "the answer of the first time");
    ///
    /// let other_seats = NewSubscription { quantity: 5, ..new };
    /// let refused = billing.create(&request("sign-up-7"), &other_seats).await.unwrap_err();
    /// assert!(matches!(refused, Error::KeyReused { .. }));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn create(&self, request: &Request, new: &NewSubscription) -> Result<Receipt, Error> {
        let fingerprint = fingerprint(&("create", new))?;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(receipt) = self.answered(new.tenant_id, request, fingerprint).await? {
                return Ok(receipt);
            }
            let now = self.now();
            let by = (&request.actor, request.ip);
            let decision = match self.decide_create(new, now, by, None).await {
                Ok(decision) => decision,
                Err(error) => return self.refused(new.tenant_id, request, fingerprint, error).await,
            };
            if let Some(receipt) = self
                .commit(vec![(0, decision)], request, fingerprint, now)
                .await?
            {
                return Ok(receipt);
            }
        }
        Err(Error::Contended {
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Loads what a creation needs and decides it.
    pub(crate) async fn decide_create(
        &self,
        new: &NewSubscription,
        now: DateTime<Utc>,
        (actor, ip): (&Actor, Option<IpAddr>),
        inputs: Option<&mut Inputs>,
    ) -> Result<Decision, Error> {
        let plan = self.current_plan(new.plan_id).await?;
        let live = self.store.live_subscription(new.tenant_id, &plan.product).await?;
        let trial_used = match &plan.trial {
            Some(trial) => self.store.trial_used(new.tenant_id, &trial.family).await?,
            None => false,
        };
        let siblings = self.siblings(new.tenant_id, None).await?;
        let siblings: Vec<_> = siblings.iter().map(|(id, plan)| (*id, &**plan)).collect();
        let tax = self.treatment(new.tenant_id, &plan, now).await?;
        let coupon = match &new.coupon {
            Some(code) => Some(self.coupon_state(code, new.tenant_id).await?),
            None => None,
        };
        if let Some(inputs) = inputs {
            inputs.see_plan(&plan)?;
            inputs.see_trial(trial_used)?;
            inputs.see_terms(Some(&tax), coupon.as_ref())?;
        }
        let create = Create {
            id: SubscriptionId::new(self.ids.next(now)),
            tenant_id: new.tenant_id,
            tenant: new.tenant.clone(),
            zone: new.zone,
            month_end: new.month_end,
            payment_method: new.payment_method,
            auto_renew: new.auto_renew,
            trial: new.trial,
            coupon: new.coupon.clone(),
            quantity: new.quantity,
            add_ons: new.add_ons.clone(),
        };
        let facts = CreateFacts {
            plan: &plan,
            live: live.map(|subscription| subscription.id),
            trial_used,
            siblings: &siblings,
            tax: Some(&tax),
            coupon: coupon.as_ref().map(coupon_facts),
        };
        let context = self.context(now, actor, ip);
        Ok(subscription::create(&create, &facts, &context)?)
    }

    /// Carries out `command` on subscription `id`.
    ///
    /// Steps that time has made due are taken first, in the same transaction: a command meets the state that a sweep
    /// on time would have left. Only the outcome of a payment is taken as it comes: it belongs to the state in which
    /// the payment was asked for. What is refused changes nothing and is not recorded: it may be repeated with the
    /// same key.
    ///
    /// # Errors
    ///
    /// In order: [`Error::UnknownSubscription`], [`Error::KeyReused`], [`Error::UnknownPlan`], [`Error::UnknownInvoice`],
    /// [`Error::Tax`] and [`Error::InvalidTax`], [`Error::UnknownCoupon`], [`Error::Rejected`] as
    /// [`subscription::decide`] says, [`Error::Contended`], [`Error::Store`].
    ///
    /// # Example: a refusal changes nothing
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// use billing::Error;
    /// use billing::core::subscription::Command;
    ///
    /// let before = billing.subscription(id).await?;
    /// let refused = billing.execute(&request("resume"), id, Command::Resume).await.unwrap_err();
    /// assert!(matches!(&refused, Error::Rejected(_)));
    /// assert!(refused.to_string().starts_with("cannot resume subscription"));
    /// assert_eq!(billing.subscription(id).await?, before);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn execute(
        &self,
        request: &Request,
        id: SubscriptionId,
        command: Command,
    ) -> Result<Receipt, Error> {
        let fingerprint = fingerprint(&(id, &command))?;
        for _ in 0..ATTEMPTS_MAX {
            let current = self
                .store
                .subscription(id)
                .await?
                .ok_or(Error::UnknownSubscription { id })?;
            if let Some(receipt) = self.answered(current.tenant_id, request, fingerprint).await? {
                return Ok(receipt);
            }
            let now = self.now();
            let by = (&request.actor, request.ip);
            let decisions = match self.decide_all(&current, &command, now, by, None).await {
                Ok(decisions) => decisions,
                Err(error) => return self.refused(current.tenant_id, request, fingerprint, error).await,
            };
            if decisions.is_empty() {
                return Ok(Receipt {
                    subscription: current,
                    invoices: Vec::new(),
                });
            }
            if let Some(receipt) = self.commit(decisions, request, fingerprint, now).await? {
                return Ok(receipt);
            }
        }
        Err(Error::Contended {
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Decides the steps that are due at `now`, then `command` on what they leave; each with the version that it was
    /// decided from.
    pub(crate) async fn decide_all(
        &self,
        current: &Subscription,
        command: &Command,
        now: DateTime<Utc>,
        by: (&Actor, Option<IpAddr>),
        mut inputs: Option<&mut Inputs>,
    ) -> Result<Vec<(u64, Decision)>, Error> {
        let is_advance = command.kind() == CommandKind::Advance;
        let mut decisions = Vec::new();
        if command.kind().comes_after_due_steps() {
            let stepper = if is_advance { by } else { (&Actor::System, None) };
            let (steps, stuck) = self.steps(current, now, stepper, inputs.as_deref_mut()).await;
            match stuck {
                Some(error @ Error::Store(_)) => return Err(error),
                Some(error) if is_advance => return Err(error),
                // A step that cannot be decided must not keep anyone from canceling or suspending.
                Some(_) | None => {}
            }
            decisions = versioned(current, steps);
        }
        if !is_advance {
            let state = decisions.last().map_or(current, |(_, decision)| &decision.next);
            let expected = state.version;
            let before = Uncommitted::of(decisions.iter().map(|(_, decision)| decision));
            let decision = self.decide(state, command, now, by, before, inputs).await?;
            decisions.push((expected, decision));
        }
        Ok(decisions)
    }

    /// The steps that time has made due at `now`, each decided on the state that the one before leaves, and why they
    /// end early, if they do.
    async fn steps(
        &self,
        current: &Subscription,
        now: DateTime<Utc>,
        by: (&Actor, Option<IpAddr>),
        mut inputs: Option<&mut Inputs>,
    ) -> (Vec<Decision>, Option<Error>) {
        let mut steps: Vec<Decision> = Vec::new();
        while steps.len() < STEPS_MAX {
            let state = steps.last().map_or(current, |step| &step.next);
            if state.step_due().is_none_or(|due| due > now) {
                break;
            }
            let before = Uncommitted::of(steps.iter());
            let step = self.decide(state, &Command::Advance, now, by, before, inputs.as_deref_mut());
            match step.await {
                Ok(step) => steps.push(step),
                Err(error) => return (steps, Some(error)),
            }
        }
        (steps, None)
    }

    /// Loads what `command` needs and decides it. `before` are steps that are not committed yet.
    pub(crate) async fn decide(
        &self,
        state: &Subscription,
        command: &Command,
        now: DateTime<Utc>,
        (actor, ip): (&Actor, Option<IpAddr>),
        before: Uncommitted<'_>,
        inputs: Option<&mut Inputs>,
    ) -> Result<Decision, Error> {
        let plan = self.plan_in_force(state.plan_id).await?;
        let needs = subscription::needs(state, command, &plan, now);
        let usage = match needs.usage {
            Some(query) => {
                let query = UsageQuery {
                    up_to: before.read_up_to,
                    ..query
                };
                self.store.usage(&[query]).await?.pop()
            }
            None => None,
        };
        let loaded = self
            .load(state, Arc::clone(&plan), (&needs, command), now, usage, before)
            .await?;
        if let Some(inputs) = inputs {
            inputs.see(&loaded)?;
        }
        let siblings = loaded.siblings();
        let facts = loaded.facts(&siblings);
        Ok(subscription::decide(
            state,
            command,
            &facts,
            &self.context(now, actor, ip),
        )?)
    }

    pub(crate) fn context<'a>(
        &self,
        now: DateTime<Utc>,
        actor: &'a Actor,
        ip: Option<IpAddr>,
    ) -> Context<'a> {
        Context {
            now,
            actor,
            ip,
            invoice_id: InvoiceId::new(self.ids.next(now)),
        }
    }

    /// The receipt of a command that was carried out before under the same key.
    pub(crate) async fn answered(
        &self,
        tenant_id: TenantId,
        request: &Request,
        fingerprint: Digest,
    ) -> Result<Option<Receipt>, Error> {
        let Some(record) = self.store.command(tenant_id, &request.key).await? else {
            return Ok(None);
        };
        if record.fingerprint != fingerprint {
            return Err(Error::KeyReused {
                key: request.key.clone(),
            });
        }
        let receipt = serde_json::from_str(&record.answer).map_err(|error| StoreError::Damaged {
            detail: format!("answer of `{}`: {error}", request.key),
        })?;
        Ok(Some(receipt))
    }

    /// The answer to a command that was refused: the receipt, if the same command got through meanwhile and is why.
    pub(crate) async fn refused(
        &self,
        tenant_id: TenantId,
        request: &Request,
        fingerprint: Digest,
        error: Error,
    ) -> Result<Receipt, Error> {
        self.answered(tenant_id, request, fingerprint).await?.ok_or(error)
    }

    /// Commits decisions on one subscription together, with the receipt; `None` when somebody else was faster.
    pub(crate) async fn commit(
        &self,
        decisions: Vec<(u64, Decision)>,
        request: &Request,
        fingerprint: Digest,
        now: DateTime<Utc>,
    ) -> Result<Option<Receipt>, Error> {
        let invoices = decisions
            .iter()
            .filter_map(|(_, decision)| decision.opened.as_ref().map(|invoice| invoice.id))
            .collect();
        let Some((_, last)) = decisions.last() else {
            return Ok(None);
        };
        let receipt = Receipt {
            subscription: last.next.clone(),
            invoices,
        };
        let record = CommandRecord {
            tenant_id: receipt.subscription.tenant_id,
            key: request.key.clone(),
            fingerprint,
            answer: to_json(&receipt)?,
            recorded_at: now,
        };
        // The key goes with the last decision, the command's own: steps that were due may stand without it.
        let mut commits: Vec<_> = decisions
            .into_iter()
            .map(|(expected_version, decision)| self.commit_of(expected_version, decision, None, now))
            .collect();
        if let Some(commit) = commits.last_mut() {
            commit.command = Some(record);
        }
        let answers = self.store.commit(commits).await?;
        Ok(answers
            .into_iter()
            .all(|answer| answer.is_ok())
            .then_some(receipt))
    }

    /// A decision made ready for the store: its effects become jobs.
    pub(crate) fn commit_of(
        &self,
        expected_version: u64,
        mut decision: Decision,
        command: Option<CommandRecord>,
        now: DateTime<Utc>,
    ) -> Commit {
        let subscription_id = decision.next.id;
        let jobs = std::mem::take(&mut decision.effects)
            .into_iter()
            .map(|effect| Job {
                id: JobId::new(self.ids.next(now)),
                subscription_id,
                effect,
                created_at: now,
            })
            .collect();
        Commit {
            expected_version,
            decision,
            jobs,
            command,
        }
    }

    /// The plans of the tenant's live subscriptions, but for one: those in force and those that are to follow.
    pub(crate) async fn siblings(
        &self,
        tenant_id: TenantId,
        except: Option<SubscriptionId>,
    ) -> Result<Vec<(SubscriptionId, Arc<Plan>)>, Error> {
        let mut siblings = Vec::new();
        for sibling in self.store.subscriptions_of(tenant_id).await? {
            if !sibling.is_live() || Some(sibling.id) == except {
                continue;
            }
            let plan = self.plan_in_force(sibling.plan_id).await?;
            let after_trial = plan
                .trial
                .as_ref()
                .and_then(|trial| match trial.without_payment_method {
                    TrialEnd::MoveTo { plan_id } => Some(plan_id),
                    TrialEnd::Expire | TrialEnd::Cancel => None,
                });
            for id in [sibling.scheduled_plan(), after_trial].into_iter().flatten() {
                siblings.push((sibling.id, self.current_plan(id).await?));
            }
            siblings.push((sibling.id, plan));
        }
        Ok(siblings)
    }

    /// Loads what `needs` names, but for the usage, which a sweep loads for a page at once. `before` are steps
    /// that are not committed yet.
    pub(crate) async fn load(
        &self,
        state: &Subscription,
        plan: Arc<Plan>,
        (needs, command): (&subscription::Needs<'_>, &Command),
        now: DateTime<Utc>,
        usage: Option<Usage>,
        before: Uncommitted<'_>,
    ) -> Result<Loaded, Error> {
        let target = match needs.target {
            Some(id) => Some(self.current_plan(id).await?),
            None => None,
        };
        let invoice = match needs.invoice {
            Some(id) if before.opened.is_some_and(|invoice| invoice.id == id) => before.opened.cloned(),
            Some(id) => Some(
                self.store
                    .invoice(id)
                    .await?
                    .ok_or(Error::UnknownInvoice { id })?,
            ),
            None => None,
        };
        let siblings = if needs.siblings {
            self.siblings(state.tenant_id, Some(state.id)).await?
        } else {
            Vec::new()
        };
        let tax = if needs.tax {
            Some(self.treatment(state.tenant_id, &plan, now).await?)
        } else {
            None
        };
        let coupon = match command {
            Command::RedeemCoupon { code } => Some(self.coupon_state(code, state.tenant_id).await?),
            _ => None,
        };
        let notes = match needs.invoice {
            Some(id) if needs.notes => Some(self.noted(state.id, id).await?),
            _ => None,
        };
        Ok(Loaded {
            plan,
            target,
            usage,
            invoice,
            siblings,
            tax,
            coupon,
            notes,
        })
    }
}

/// `now` cut to whole microseconds.
pub(crate) fn whole_micros(now: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

/// Each decision with the version that it was made from.
pub(crate) fn versioned(current: &Subscription, decisions: Vec<Decision>) -> Vec<(u64, Decision)> {
    let mut version = current.version;
    decisions
        .into_iter()
        .map(|decision| (std::mem::replace(&mut version, decision.next.version), decision))
        .collect()
}

pub(crate) fn fingerprint(asked: &impl serde::Serialize) -> Result<Digest, Error> {
    Ok(Digest::of(to_json(asked)?.as_bytes()))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Internal {
        detail: error.to_string(),
    })
}
