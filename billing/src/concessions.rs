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
    pub fn new_credit_note_id(&self) -> CreditNoteId {
        CreditNoteId::new(self.ids.next(self.now()))
    }

    /// Gives back what was paid of an invoice, whole or in part: as credit for later invoices, or as money. All notes of an
    /// invoice together never give back more than was paid, nor what a plan change or a cancellation credited already.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), and [`Error::UnknownInvoice`].
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
