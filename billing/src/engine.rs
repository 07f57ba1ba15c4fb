//! The engine: load, decide, commit.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use billing_core::audit::{Actor, Digest};
use billing_core::id::{AddOnCode, InvoiceId, JobId, PaymentMethodId, PlanId, SubscriptionId, TenantId};
use billing_core::payment::PaymentOutcome;
use billing_core::plan::{Plan, TenantProfile, TrialEnd};
use billing_core::ports::{Clock, CommandRecord, Commit, Job, Store, StoreError};
use billing_core::subscription::{
    self, Command, CommandKind, Context, Create, CreateFacts, Decision, Subscription, UnusedOnCancel,
    UnusedOnPause, When,
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

    /// Asks for the next period of an expired subscription, or for another attempt at its open invoice.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a customer comes back after the period is over
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::Status;
    ///
    /// billing.set_auto_renew(&request("off"), id, false).await?;
    /// clock.set(at("2026-07-02T00:00:00Z"));
    /// let over = billing.advance(&request("july"), id).await?;
    /// assert_eq!(over.status(), Status::Expired);
    ///
    /// let renewed = billing.renew(&request("again"), id).await?;
    /// let paid = pay(&billing, id, renewed.invoices[0]).await?;
    /// assert_eq!(paid.status(), Status::Active);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn renew(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::Renew).await
    }

    /// Ends a subscription, now or when its period is over.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: half of the month is paid back, less what was used
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{Status, UnusedOnCancel, When};
    ///
    /// clock.set(at("2026-06-10T00:00:00Z"));
    /// billing.record_usage(vec![calls(&billing, "use", 300)]).await?;
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let receipt = billing.cancel(&request("leave"), id, When::Now, "moved", UnusedOnCancel::Refund).await?;
    /// assert_eq!(receipt.status(), Status::Canceled);
    ///
    /// let invoice = billing.invoice(receipt.invoices[0]).await?.unwrap();
    /// let amounts: Vec<_> = invoice.lines.iter().map(|line| line.amount.minor).collect();
    /// // Half a month includes half of the 100 calls.
    /// assert_eq!(amounts, [2_50, -14_50, 12_00], "250 calls, unused time, paid back");
    /// assert_eq!(invoice.total.minor, 0);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn cancel(
        &self,
        request: &Request,
        id: SubscriptionId,
        when: When,
        reason: &str,
        unused: UnusedOnCancel,
    ) -> Result<Receipt, Error> {
        self.execute(
            request,
            id,
            Command::Cancel {
                when,
                reason: reason.into(),
                unused,
            },
        )
        .await
    }

    /// Takes back a cancellation that was scheduled.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a change of mind before the end
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{Status, UnusedOnCancel, When};
    ///
    /// billing.cancel(&request("leave"), id, When::AtPeriodEnd, "too dear", UnusedOnCancel::None).await?;
    /// clock.set(at("2026-06-30T00:00:00Z"));
    /// billing.undo_cancel(&request("stay"), id).await?;
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let renewed = billing.advance(&request("july"), id).await?;
    /// assert_eq!((renewed.status(), renewed.invoices.len()), (Status::Active, 1));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn undo_cancel(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::UndoCancel).await
    }

    /// Stops a subscription by an operator's decision.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: what is suspended is not renewed
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{Standing, Status};
    ///
    /// clock.set(at("2026-06-20T00:00:00Z"));
    /// let receipt = billing.suspend(&request("stop"), id, "fraud").await?;
    /// assert_eq!(receipt.subscription.standing(billing.now()), Standing::Lapsed);
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let later = billing.advance(&request("july"), id).await?;
    /// assert_eq!((later.status(), later.invoices.len()), (Status::Suspended, 0));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn suspend(
        &self,
        request: &Request,
        id: SubscriptionId,
        reason: &str,
    ) -> Result<Receipt, Error> {
        self.execute(
            request,
            id,
            Command::Suspend {
                reason: reason.into(),
            },
        )
        .await
    }

    /// Puts a suspended subscription back.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a suspension that lasted a week of paid time
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::Standing;
    ///
    /// billing.suspend(&request("stop"), id, "a chargeback").await?;
    /// clock.set(at("2026-06-08T00:00:00Z"));
    /// let receipt = billing.reactivate(&request("go-on"), id).await?;
    /// assert_eq!(receipt.subscription.standing(billing.now()), Standing::Current);
    /// assert!(receipt.invoices.is_empty(), "the month is paid, and not made longer");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn reactivate(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::Reactivate).await
    }

    /// Stops billing and access at the customer's request, now or when the period is over.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: unused time becomes credit
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{Status, UnusedOnPause, When};
    ///
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let resume_at = Some(at("2026-08-01T00:00:00Z"));
    /// let receipt = billing.pause(&request("summer"), id, When::Now, resume_at, UnusedOnPause::Credit).await?;
    /// assert_eq!(receipt.status(), Status::Suspended);
    /// assert_eq!(receipt.subscription.credit.minor, 14_50);
    ///
    /// clock.set(at("2026-08-01T00:00:00Z"));
    /// let resumed = billing.advance(&request("august"), id).await?;
    /// let invoice = billing.invoice(resumed.invoices[0]).await?.unwrap();
    /// assert_eq!(invoice.total.minor, 29_00 - 14_50);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn pause(
        &self,
        request: &Request,
        id: SubscriptionId,
        when: When,
        resume_at: Option<DateTime<Utc>>,
        unused: UnusedOnPause,
    ) -> Result<Receipt, Error> {
        self.execute(
            request,
            id,
            Command::Pause {
                when,
                resume_at,
                unused,
            },
        )
        .await
    }

    /// Ends a pause.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: time that was carried is served first
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::{UnusedOnPause, When};
    ///
    /// clock.set(at("2026-06-11T00:00:00Z"));
    /// billing.pause(&request("pause"), id, When::Now, None, UnusedOnPause::Carry).await?;
    /// clock.set(at("2026-08-01T00:00:00Z"));
    /// let receipt = billing.resume(&request("resume"), id).await?;
    /// assert!(receipt.invoices.is_empty());
    /// let term = receipt.subscription.term().unwrap().period;
    /// assert_eq!(term.end, at("2026-08-21T00:00:00Z"), "the twenty days that were left of June");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn resume(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::Resume).await
    }

    /// Moves a subscription to another plan; without `when`, now if it costs at least as much over a year, else when
    /// the period is over.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`Error::UnknownPlan`].
    ///
    /// # Example: an upgrade in the middle of the month
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, team, .. }| {
    /// use billing::core::plan::TenantProfile;
    ///
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let profile = TenantProfile::default();
    /// let receipt = billing.change_plan(&request("grow"), id, team, None, profile).await?;
    /// let invoice = billing.invoice(receipt.invoices[0]).await?.unwrap();
    /// let amounts: Vec<_> = invoice.lines.iter().map(|line| line.amount.minor).collect();
    /// assert_eq!(amounts, [-14_50, 49_50], "half of what was paid for one, half of the price of the other");
    /// assert_eq!(receipt.subscription.plan_id, team, "from now on, before it is paid");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn change_plan(
        &self,
        request: &Request,
        id: SubscriptionId,
        plan_id: PlanId,
        when: Option<When>,
        tenant: TenantProfile,
    ) -> Result<Receipt, Error> {
        self.execute(
            request,
            id,
            Command::ChangePlan {
                plan_id,
                when,
                tenant,
            },
        )
        .await
    }

    /// Takes more or fewer of the plan: seats. Without `when`, more now and fewer when the period is over; in a trial, now.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: seats: more now, fewer when the period is over
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let more = billing.change_quantity(&request("more"), id, 3, None).await?;
    /// let invoice = billing.invoice(more.invoices[0]).await?.unwrap();
    /// assert_eq!((more.subscription.quantity, invoice.total.minor), (3, 29_00), "two more, for half a month");
    /// pay(&billing, id, more.invoices[0]).await?;
    ///
    /// let fewer = billing.change_quantity(&request("fewer"), id, 2, None).await?;
    /// assert_eq!((fewer.subscription.quantity, fewer.invoices.len()), (3, 0), "until July");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn change_quantity(
        &self,
        request: &Request,
        id: SubscriptionId,
        quantity: u32,
        when: Option<When>,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::ChangeQuantity { quantity, when })
            .await
    }

    /// Holds more or fewer of a recurring add-on of the plan, or none. Without `when`, more now and fewer when the period is
    /// over; in a trial, now.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub async fn change_add_on(
        &self,
        request: &Request,
        id: SubscriptionId,
        add_on: AddOnCode,
        quantity: u32,
        when: Option<When>,
    ) -> Result<Receipt, Error> {
        let command = Command::ChangeAddOn {
            add_on,
            quantity,
            when,
        };
        self.execute(request, id, command).await
    }

    /// Buys an add-on of the plan that is charged once; it stands on the next invoice, whatever that is for.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub async fn buy_add_on(
        &self,
        request: &Request,
        id: SubscriptionId,
        add_on: AddOnCode,
        quantity: u32,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::BuyAddOn { add_on, quantity })
            .await
    }

    /// Takes back a change of plan, quantity or add-on, or a pause, that was scheduled.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a downgrade that does not come
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::When;
    ///
    /// billing.change_quantity(&request("more"), id, 3, Some(When::AtPeriodEnd)).await?;
    /// billing.drop_pending_change(&request("no"), id).await?;
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let july = billing.advance(&request("july"), id).await?;
    /// assert_eq!(july.subscription.quantity, 1);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn drop_pending_change(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::DropPendingChange).await
    }

    /// Sets or removes the payment method.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a method that is removed
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// let receipt = billing.set_payment_method(&request("card"), id, None).await?;
    /// assert_eq!(receipt.subscription.payment_method, None);
    /// // Invoices are opened all the same: how they are paid is not known then.
    /// assert!(billing.upcoming_invoice(id).await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn set_payment_method(
        &self,
        request: &Request,
        id: SubscriptionId,
        payment_method: Option<PaymentMethodId>,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::SetPaymentMethod { payment_method })
            .await
    }

    /// Switches automatic renewal.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: the period is the last one
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::subscription::Status;
    ///
    /// billing.set_auto_renew(&request("off"), id, false).await?;
    /// assert_eq!(billing.subscription(id).await?.status(), Status::Active, "to the end of what is paid");
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let over = billing.advance(&request("july"), id).await?;
    /// assert_eq!((over.status(), over.invoices.len()), (Status::Expired, 0));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn set_auto_renew(
        &self,
        request: &Request,
        id: SubscriptionId,
        auto_renew: bool,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::SetAutoRenew { auto_renew })
            .await
    }

    /// Tells what became of a payment of an invoice.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a payment fails, and the next attempt settles
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// use billing::core::payment::PaymentOutcome;
    /// use billing::core::retry::DeclineClass;
    /// use billing::core::subscription::Standing;
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let invoice = billing.advance(&request("july"), id).await?.invoices[0];
    /// let declined = PaymentOutcome::Failed { class: DeclineClass::Retry, code: "insufficient_funds".into() };
    /// let failed = billing.record_payment(&request("try-1"), id, invoice, declined).await?;
    /// assert_eq!(failed.subscription.standing(billing.now()), Standing::InGrace, "nothing is taken away yet");
    ///
    /// let settled = pay(&billing, id, invoice).await?;
    /// assert_eq!(settled.subscription.standing(billing.now()), Standing::Current);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn record_payment(
        &self,
        request: &Request,
        id: SubscriptionId,
        invoice_id: InvoiceId,
        outcome: PaymentOutcome,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::RecordPayment { invoice_id, outcome })
            .await
    }

    /// Lets a subscription that the runaway guard parked bill again.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a human has looked at it
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, pro, .. }| {
    /// use billing::NewSubscription;
    /// use billing::core::plan::Plan;
    ///
    /// let id = billing.new_plan_id();
    /// let narrow = Plan { id, version: 2, invoice_lines_per_day_max: 1, ..pro };
    /// billing.put_plan(&narrow).await?;
    /// let new = NewSubscription::new(TenantId::new(Uuid::from_u128(7)), id);
    /// let created = billing.create(&request("sign-up-7"), &new).await?;
    /// pay(&billing, created.id(), created.invoices[0]).await?;
    /// let used = UsageEvent { tenant_id: new.tenant_id, ..calls(&billing, "use", 500) };
    /// billing.record_usage(vec![used]).await?;
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let parked = billing.advance(&request("july"), created.id()).await?;
    /// assert!(parked.invoices.is_empty(), "two lines are more than one");
    /// billing.unpark(&request("go-on"), created.id()).await?;
    /// let billed = billing.advance(&request("july-again"), created.id()).await?;
    /// assert_eq!(billed.invoices.len(), 1);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn unpark(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::Unpark).await
    }

    /// Takes every step that time has made due for one subscription. When nothing is due, nothing changes and the key is
    /// not recorded.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: nothing is due, so nothing is kept
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// let idle = billing.advance(&request("tick"), id).await?;
    /// assert!(idle.invoices.is_empty());
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// let due = billing.advance(&request("tick"), id).await?;
    /// assert_eq!(due.invoices.len(), 1, "the key was free still");
    /// assert_eq!(billing.advance(&request("tick"), id).await?, due, "and now is taken");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn advance(&self, request: &Request, id: SubscriptionId) -> Result<Receipt, Error> {
        self.execute(request, id, Command::Advance).await
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
