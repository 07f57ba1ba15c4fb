//! Coupons, prepaid credit, credit notes and tax.

use billing_core::coupon::{Coupon, CouponDuration, CouponValue, Discount};
use billing_core::credit::{CreditGrant, GrantSource, LedgerEntry, LedgerKind};
use billing_core::credit_note::{
    CreditNote, CreditNoteAmount, CreditNoteLine, CreditNoteReason, CreditNoteRequest, CreditNoteScope,
    Disposition,
};
use billing_core::id::{CouponCode, CreditNoteId, GrantId};
use billing_core::payment::Spent;
use billing_core::tax::{TaxAmount, TaxBehavior, TaxExemption, TaxRate, TaxTreatment};
use billing_tests::kit::{decimal, start, tenant, usd};
use uuid::Uuid;

use super::{golden, invoice_id, later, strict, subscription_id};

fn code() -> CouponCode {
    CouponCode::new("LAUNCH").unwrap()
}

fn grant_id() -> GrantId {
    GrantId::new(Uuid::from_u128(8))
}

fn entry(kind: LedgerKind, minor: i64) -> LedgerEntry {
    LedgerEntry {
        grant_id: grant_id(),
        at: start(),
        kind,
        amount: usd(minor),
    }
}

pub(super) fn spent() -> Spent {
    Spent {
        burned: vec![entry(
            LedgerKind::Burned {
                invoice_id: invoice_id(1),
            },
            -500,
        )],
        coupons: vec![code()],
    }
}

pub(super) fn note_request() -> CreditNoteRequest {
    CreditNoteRequest {
        reason: CreditNoteReason::Other("wrong region".into()),
        scope: CreditNoteScope::Lines(vec![CreditNoteAmount {
            line: 1,
            amount: usd(250),
        }]),
        disposition: Disposition::Refund,
    }
}

#[test]
fn coupons() {
    let coupon = Coupon {
        code: code(),
        value: CouponValue::Percent(decimal("12.5")),
        duration: CouponDuration::Invoices(3),
        plans: [billing_core::id::PlanCode::new("basic").unwrap()].into(),
        redeem_by: Some(later()),
        redemptions_max: Some(100),
        once_per_tenant: true,
        is_active: true,
    };
    let amount = Coupon {
        value: CouponValue::Amount(usd(777)),
        duration: CouponDuration::Once,
        plans: [].into(),
        redeem_by: None,
        redemptions_max: None,
        ..coupon.clone()
    };
    let forever = Coupon {
        duration: CouponDuration::Forever,
        ..amount.clone()
    };
    strict(
        "coupon",
        &[
            ("percent", coupon.clone()),
            ("amount", amount),
            ("forever", forever),
        ],
        &[],
    );
    let discount = Discount {
        code: coupon.code,
        value: coupon.value,
        invoices_left: Some(2),
        plans: coupon.plans,
    };
    strict("discount", &[("discount", discount)], &[]);
}

#[test]
fn prepaid_credit() {
    let grant = CreditGrant {
        expires_at: Some(later()),
        remaining: usd(400),
        ..CreditGrant::new(grant_id(), usd(1000), GrantSource::Prepaid, start())
    };
    strict("credit_grant", &[("credit_grant", grant)], &[]);
    let invoice_id = invoice_id(1);
    strict(
        "ledger_entry",
        &[
            ("granted", entry(LedgerKind::Granted, 1000)),
            ("burned", entry(LedgerKind::Burned { invoice_id }, -600)),
            ("returned", entry(LedgerKind::Returned { invoice_id }, 100)),
            ("expired", entry(LedgerKind::Expired, -100)),
            ("voided", entry(LedgerKind::Voided, -400)),
        ],
        &[],
    );
    golden(
        "grant_source",
        &[
            ("prepaid", GrantSource::Prepaid),
            ("promotional", GrantSource::Promotional),
        ],
    );
    strict("spent", &[("spent", spent())], &[]);
}

#[test]
fn credit_notes() {
    let note = CreditNote {
        id: CreditNoteId::new(Uuid::from_u128(9)),
        invoice_id: invoice_id(1),
        tenant_id: tenant(1),
        subscription_id: subscription_id(),
        number: 1,
        issued_at: start(),
        reason: CreditNoteReason::Duplicate,
        lines: vec![CreditNoteLine {
            line: 1,
            amount: usd(250),
            explanation: "2.50 USD of 10.00 USD left: 10.00 USD".into(),
        }],
        total: usd(250),
        disposition: Disposition::Credit,
    };
    strict("credit_note", &[("credit_note", note)], &[]);
    let all = CreditNoteRequest {
        reason: CreditNoteReason::Fraudulent,
        scope: CreditNoteScope::All,
        ..note_request()
    };
    strict(
        "credit_note_request",
        &[("lines", note_request()), ("all", all)],
        &[],
    );
}

#[test]
fn taxes() {
    let rate = TaxRate {
        name: "VAT".into(),
        percent: decimal("19"),
        jurisdiction: Some("DE".into()),
    };
    let treatment = TaxTreatment {
        rates: vec![rate.clone()],
        behavior: TaxBehavior::Inclusive,
        exemption: None,
    };
    let exempt = |exemption| TaxTreatment {
        exemption: Some(exemption),
        ..TaxTreatment::NONE
    };
    strict(
        "tax_treatment",
        &[
            ("inclusive", treatment),
            ("customer", exempt(TaxExemption::Customer)),
            ("reverse_charge", exempt(TaxExemption::ReverseCharge)),
            ("not_registered", exempt(TaxExemption::NotRegistered)),
        ],
        &[],
    );
    let amount = TaxAmount {
        rate,
        behavior: TaxBehavior::Exclusive,
        taxable: usd(1000),
        amount: usd(190),
        explanation: "VAT 19% of 10.00 USD".into(),
    };
    strict("tax_amount", &[("tax_amount", amount)], &[]);
}
