//! What the seller grants beside the plan: coupons, prepaid credit, credit notes; and the tax on top.

use billing_core::coupon::Coupon;
use billing_core::credit::LedgerEntry;
use billing_core::credit_note::{CreditNote, CreditNoteRequest, credited_elsewhere};
use billing_core::id::{CouponCode, CreditNoteId, GrantId, InvoiceId, SubscriptionId, TenantId};
use billing_core::plan::Plan;
use billing_core::ports::CouponState;
use billing_core::subscription::{Command, GrantCredit};
use billing_core::tax::{TaxRequest, TaxTreatment};
use chrono::{DateTime, Utc};

use crate::facts::Noted;
use crate::reads::PAGE;
use crate::{Billing, Error, Receipt, Request};

impl Billing {
    /// Keeps a coupon, or what it says from now on. Discounts that it has left, and how often it was redeemed, stay.
    ///
    /// # Errors
    ///
    /// In order: [`Error::InvalidCoupon`], [`Error::Store`].
    ///
    /// # Example: what is wrong is told at once
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, .. }| {
    /// use billing::Error;
    /// use billing::core::coupon::Coupon;
    ///
    /// let coupon: Coupon = serde_json::from_str(r#"{
    ///     "code": "WRONG", "value": {"percent": "120"}, "duration": {"invoices": 0}, "is_active": true
    /// }"#).unwrap();
    /// let Err(Error::InvalidCoupon { faults, .. }) = billing.put_coupon(&coupon).await else { panic!() };
    /// let paths: Vec<_> = faults.as_slice().iter().map(|fault| &*fault.path).collect();
    /// assert_eq!(paths, ["value.percent", "duration.invoices"]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn put_coupon(&self, coupon: &Coupon) -> Result<(), Error> {
        coupon.validate().map_err(|faults| Error::InvalidCoupon {
            code: coupon.code.clone(),
            faults,
        })?;
        Ok(self.store.put_coupon(coupon).await?)
    }

    /// Redeems a coupon for a subscription: it takes off from the next invoice on. However many redeem it at once, its limits
    /// hold.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`Error::UnknownCoupon`].
    ///
    /// # Example: half off the first invoice
    ///
    /// ```
    /// # futures_executor::block_on(async {
    /// # use billing::core::audit::Actor;
    /// # use billing::core::coupon::Coupon;
    /// # use billing::core::id::{CouponCode, IdempotencyKey, TenantId};
    /// # use billing::{Billing, MemoryStore, NewSubscription, Request, SystemClock};
    /// # use std::sync::Arc;
    /// # let billing = Billing::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock));
    /// # let plan: billing::core::plan::Plan = serde_json::from_str(r#"{
    /// #     "id": "00000000-0000-7000-8000-000000000001", "code": "pro", "version": 1, "product": "app", "name": "Pro",
    /// #     "price": {"minor": 2900, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true}"#).unwrap();
    /// # billing.put_plan(&plan).await?;
    /// # let tenant = TenantId::new(uuid::Uuid::from_u128(1));
    /// # let request = Request::new(IdempotencyKey::new("create").unwrap(), Actor::System);
    /// let coupon: Coupon = serde_json::from_str(r#"{
    ///     "code": "LAUNCH", "value": {"percent": "50"}, "duration": "once", "redemptions_max": 100, "is_active": true
    /// }"#).unwrap();
    /// billing.put_coupon(&coupon).await?;
    ///
    /// let new = NewSubscription { coupon: Some(coupon.code), ..NewSubscription::new(tenant, plan.id) };
    /// let receipt = billing.create(&request, &new).await?;
    /// let invoice = billing.invoice(receipt.invoices[0]).await?.unwrap();
    /// assert_eq!(invoice.lines[1].explanation, "coupon `LAUNCH`: 50% of 29.00 USD");
    /// assert_eq!(invoice.total.minor, 14_50);
    /// # Ok::<(), billing::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn redeem_coupon(
        &self,
        request: &Request,
        id: SubscriptionId,
        code: CouponCode,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::RedeemCoupon { code }).await
    }

    /// A fresh id for a grant of credit.
    ///
    /// # Example: ids grow
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, .. }| {
    /// assert!(billing.new_grant_id() < billing.new_grant_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new_grant_id(&self) -> GrantId {
        GrantId::new(self.ids.next(self.now()))
    }

    /// Grants prepaid credit to a subscription: the invoices that are opened from now on burn it, after discounts and tax, and
    /// before credit for unused time. What there is of it is
    /// [`Subscription::prepaid`](billing_core::subscription::Subscription::prepaid).
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: a grant pays for two months
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, pro, .. }| {
    /// use billing::core::credit::GrantSource;
    /// use billing::core::money::Money;
    /// use billing::core::subscription::GrantCredit;
    ///
    /// let grant = GrantCredit {
    ///     id: billing.new_grant_id(),
    ///     amount: Money::new(40_00, pro.currency()),
    ///     source: GrantSource::Prepaid,
    ///     priority: 50,
    ///     expires_at: None,
    /// };
    /// billing.grant_credit(&request("grant"), id, grant).await?;
    /// for (month, total) in [("2026-07-01T00:00:00Z", 0), ("2026-08-01T00:00:00Z", 18_00)] {
    ///     clock.set(at(month));
    ///     let invoice = billing.advance(&request(month), id).await?.invoices[0];
    ///     assert_eq!(billing.invoice(invoice).await?.unwrap().total.minor, total);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub async fn grant_credit(
        &self,
        request: &Request,
        id: SubscriptionId,
        grant: GrantCredit,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::GrantCredit(grant)).await
    }

    /// Takes back what is left of a grant of credit.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    ///
    /// # Example: what was burned stays burned
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, pro, .. }| {
    /// # use billing::core::credit::GrantSource;
    /// # use billing::core::money::Money;
    /// # use billing::core::subscription::GrantCredit;
    /// # let grant_id = billing.new_grant_id();
    /// # let amount = Money::new(40_00, pro.currency());
    /// # let grant = GrantCredit { id: grant_id, amount, source: GrantSource::Prepaid, priority: 50, expires_at: None };
    /// billing.grant_credit(&request("grant"), id, grant).await?;
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// billing.advance(&request("july"), id).await?;
    /// let receipt = billing.void_credit(&request("void"), id, grant_id).await?;
    /// assert_eq!(receipt.subscription.prepaid(billing.now()).minor, 0);
    /// let amounts: Vec<_> = billing.credit_ledger(id).await?.iter().map(|entry| entry.amount.minor).collect();
    /// assert_eq!(amounts, [40_00, -29_00, -11_00], "granted, burned, voided");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn void_credit(
        &self,
        request: &Request,
        id: SubscriptionId,
        grant_id: GrantId,
    ) -> Result<Receipt, Error> {
        self.execute(request, id, Command::VoidCredit { grant_id }).await
    }

    /// What became of the prepaid credit of a subscription, in order: the sum of the amounts is the balance.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: the sum is the balance
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, pro, .. }| {
    /// # use billing::core::credit::GrantSource;
    /// # use billing::core::money::Money;
    /// # use billing::core::subscription::GrantCredit;
    /// # let amount = Money::new(40_00, pro.currency());
    /// # let id_of_grant = billing.new_grant_id();
    /// # let grant = GrantCredit { id: id_of_grant, amount, source: GrantSource::Prepaid, priority: 50, expires_at: None };
    /// let receipt = billing.grant_credit(&request("grant"), id, grant).await?;
    /// let sum: i64 = billing.credit_ledger(id).await?.iter().map(|entry| entry.amount.minor).sum();
    /// assert_eq!(sum, receipt.subscription.prepaid(billing.now()).minor);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn credit_ledger(&self, id: SubscriptionId) -> Result<Vec<LedgerEntry>, Error> {
        let mut ledger: Vec<LedgerEntry> = Vec::new();
        loop {
            let after = u64::try_from(ledger.len()).unwrap_or(u64::MAX);
            let page = self.store.credit_ledger(id, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            ledger.extend(page);
            if is_last {
                return Ok(ledger);
            }
        }
    }

    /// A fresh id for a credit note.
    ///
    /// # Example: ids grow
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, .. }| {
    /// assert!(billing.new_credit_note_id() < billing.new_credit_note_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new_credit_note_id(&self) -> CreditNoteId {
        CreditNoteId::new(self.ids.next(self.now()))
    }

    /// Gives back what was paid of an invoice, whole or in part: as credit for later invoices, or as money. All notes of an
    /// invoice together never give back more than was paid, nor what a plan change or a cancellation credited already.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`Error::UnknownInvoice`].
    ///
    /// # Example: never more than was paid
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, first_invoice, .. }| {
    /// use billing::core::credit_note::{CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition};
    ///
    /// let all = CreditNoteRequest {
    ///     reason: CreditNoteReason::Unsatisfactory,
    ///     scope: CreditNoteScope::All,
    ///     disposition: Disposition::Credit,
    /// };
    /// let note = billing.new_credit_note_id();
    /// let receipt = billing.issue_credit_note(&request("sorry"), id, note, first_invoice, all.clone()).await?;
    /// assert_eq!(receipt.subscription.credit.minor, 29_00);
    ///
    /// let note = billing.new_credit_note_id();
    /// let again = billing.issue_credit_note(&request("sorry-2"), id, note, first_invoice, all).await;
    /// assert_eq!(again.unwrap_err().to_string(), "nothing is left to credit of 29.00 USD that was paid");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn issue_credit_note(
        &self,
        request: &Request,
        id: SubscriptionId,
        note_id: CreditNoteId,
        invoice_id: InvoiceId,
        asked: CreditNoteRequest,
    ) -> Result<Receipt, Error> {
        let command = Command::IssueCreditNote {
            id: note_id,
            invoice_id,
            request: asked,
        };
        self.execute(request, id, command).await
    }

    /// The credit notes of an invoice, by number.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: numbered for each invoice
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, first_invoice, pro, .. }| {
    /// # use billing::core::credit_note::{CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition};
    /// # use billing::core::credit_note::CreditNoteAmount;
    /// # use billing::core::money::Money;
    /// # let dollar = CreditNoteAmount { line: 0, amount: Money::new(1_00, pro.currency()) };
    /// # let asked = CreditNoteRequest {
    /// #     reason: CreditNoteReason::OrderChange,
    /// #     scope: CreditNoteScope::Lines(vec![dollar]),
    /// #     disposition: Disposition::Refund,
    /// # };
    /// for key in ["first", "second"] {
    ///     let note = billing.new_credit_note_id();
    ///     billing.issue_credit_note(&request(key), id, note, first_invoice, asked.clone()).await?;
    /// }
    /// let notes = billing.credit_notes_of(first_invoice).await?;
    /// let numbers: Vec<_> = notes.iter().map(|note| (note.number, note.total.minor)).collect();
    /// assert_eq!(numbers, [(1, 1_00), (2, 1_00)]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn credit_notes_of(&self, invoice_id: InvoiceId) -> Result<Vec<CreditNote>, Error> {
        Ok(self.store.credit_notes_of(invoice_id).await?)
    }

    pub(crate) async fn coupon_state(
        &self,
        code: &CouponCode,
        tenant_id: TenantId,
    ) -> Result<CouponState, Error> {
        let found = self.store.coupon(code, tenant_id).await?;
        found.ok_or_else(|| Error::UnknownCoupon { code: code.clone() })
    }

    /// The tax on what `plan` bills the tenant.
    pub(crate) async fn treatment(
        &self,
        tenant_id: TenantId,
        plan: &Plan,
        at: DateTime<Utc>,
    ) -> Result<TaxTreatment, Error> {
        let request = TaxRequest {
            tenant_id,
            currency: plan.currency(),
            at,
        };
        let treatment = self.tax.treatment(request).await?;
        treatment
            .validate()
            .map_err(|faults| Error::InvalidTax { tenant_id, faults })?;
        Ok(treatment)
    }

    pub(crate) async fn noted(&self, id: SubscriptionId, invoice_id: InvoiceId) -> Result<Noted, Error> {
        let invoices = self.invoices_of(id).await?;
        Ok(Noted {
            earlier: self.store.credit_notes_of(invoice_id).await?,
            elsewhere: credited_elsewhere(invoice_id, &invoices),
        })
    }
}
