//! The commands of the engine by their names: each is an [`execute`](Billing::execute).

use billing_core::id::{AddOnCode, InvoiceId, PaymentMethodId, PlanId, SubscriptionId};
use billing_core::payment::PaymentOutcome;
use billing_core::plan::TenantProfile;
use billing_core::subscription::{Command, UnusedOnCancel, UnusedOnPause, When};
use chrono::{DateTime, Utc};

use crate::{Billing, Error, Receipt, Request};

impl Billing {
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
    ///
    /// # Example: two backups for the rest of the month
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # use billing::core::id::AddOnCode;
    /// # run(async |Example { billing, clock, id, .. }| {
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let backup = AddOnCode::new("backup").unwrap();
    /// let held = billing.change_add_on(&request("two"), id, backup.clone(), 2, None).await?;
    /// let invoice = billing.invoice(held.invoices[0]).await?.unwrap();
    /// assert_eq!(invoice.lines[0].explanation, "backup: 2 x 4.00 USD x 1296000 s / 2592000 s");
    /// assert_eq!(invoice.total.minor, 4_00);
    /// pay(&billing, id, held.invoices[0]).await?;
    ///
    /// let none = billing.change_add_on(&request("none"), id, backup, 0, None).await?;
    /// assert_eq!(none.subscription.add_ons.len(), 1, "until July");
    /// # Ok(())
    /// # });
    /// ```
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
    ///
    /// # Example: a set-up, on the invoice of July
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # use billing::core::id::AddOnCode;
    /// # run(async |Example { billing, id, .. }| {
    /// let setup = AddOnCode::new("setup").unwrap();
    /// let bought = billing.buy_add_on(&request("buy"), id, setup, 1).await?;
    /// assert!(bought.invoices.is_empty(), "nothing is charged now");
    /// let upcoming = billing.upcoming_invoice(id).await?.unwrap();
    /// assert_eq!(upcoming.total.minor, 29_00 + 50_00);
    /// # Ok(())
    /// # });
    /// ```
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
}
