//! Invoices, usage, the audit trail, the outbox.

use billing_core::audit::{Actor, AuditAction, AuditEntry, ChainHead, Digest};
use billing_core::id::{ActorName, JobId};
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceLine, InvoiceStatus, LineCell, LineKind, LineRef};
use billing_core::outbox::Job;
use billing_core::subscription::Effect;
use billing_core::usage::{UsageEvent, UsageField, UsageOutcome, UsageRefusal};
use billing_tests::kit::{decimal, event, key, meter, plan_id, start, tenant, usd};
use chrono::TimeDelta;
use serde_json::{Map, Value};
use std::net::IpAddr;
use uuid::Uuid;

use super::{golden, invoice_id, later, period, same_as_file, strict, subscription_id};

#[test]
fn invoices() {
    let line = InvoiceLine {
        kind: LineKind::RecurringInAdvance,
        plan_id: plan_id(1),
        meter: None,
        add_on: None,
        cell: None,
        period: period(),
        quantity: decimal("1"),
        unit_price: Some(decimal("10.00")),
        amount: usd(1000),
        explanation: "10.00 USD for every month".into(),
        source: None,
    };
    let usage = InvoiceLine {
        kind: LineKind::UsageAdjustment,
        meter: Some(meter("api")),
        add_on: None,
        cell: Some(Box::new(LineCell {
            filter: Some("EU".into()),
            group: [("project".into(), "a".into())].into(),
        })),
        quantity: decimal("1234.567890123456"),
        unit_price: Some(decimal("0.0000004")),
        amount: usd(0),
        explanation: "é – \u{1F4B6}".into(),
        source: Some(LineRef {
            invoice_id: invoice_id(7),
            line: 3,
        }),
        ..line.clone()
    };
    let credit = InvoiceLine {
        kind: LineKind::CreditApplied,
        unit_price: None,
        amount: usd(-100),
        ..line.clone()
    };
    let open = Invoice {
        id: invoice_id(1),
        tenant_id: tenant(1),
        subscription_id: subscription_id(),
        number: 3,
        kind: InvoiceKind::Renewal,
        period: period(),
        opened_at: start(),
        due_at: None,
        serial: None,
        taxes: vec![],
        lines: vec![line, usage, credit],
        total: usd(900),
        state: InvoiceStatus::Open,
    };
    assert!(open.adds_up());
    let paid = |reference: Option<&str>, covers| InvoiceStatus::Paid {
        paid_at: later(),
        reference: reference.map(String::from),
        covers,
    };
    let with = |state| Invoice {
        state,
        ..open.clone()
    };
    let all = [
        ("paid", with(paid(Some("ch_1"), None))),
        (
            "paid_for_another_period",
            with(paid(Some("ch_1"), Some(period()))),
        ),
        (
            "paid_over_nothing",
            Invoice {
                lines: vec![],
                total: usd(0),
                ..with(paid(None, None))
            },
        ),
        ("void", with(InvoiceStatus::Void { voided_at: later() })),
        (
            "uncollectible",
            with(InvoiceStatus::Uncollectible { given_up_at: later() }),
        ),
        ("open", open.clone()),
    ];
    for (name, invoice) in &all {
        let json = serde_json::to_value(invoice).unwrap();
        assert_eq!(json["state"]["status"], invoice.state.code(), "{name}");
    }
    strict("invoice", &all, &[]);
    let kinds = [
        InvoiceKind::First,
        InvoiceKind::Renewal,
        InvoiceKind::Restart,
        InvoiceKind::PlanChange,
        InvoiceKind::QuantityChange,
        InvoiceKind::AddOnChange,
        InvoiceKind::Closing,
    ];
    golden("invoice_kind", &kinds.map(|kind| (kind.code(), kind)));
    for kind in kinds {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
    }
    let kinds = [
        ("recurring_in_advance", LineKind::RecurringInAdvance),
        ("recurring_in_arrears", LineKind::RecurringInArrears),
        ("proration_charge", LineKind::ProrationCharge),
        ("proration_credit", LineKind::ProrationCredit),
        ("usage", LineKind::Usage),
        ("usage_adjustment", LineKind::UsageAdjustment),
        ("commitment_true_up", LineKind::CommitmentTrueUp),
        ("add_on", LineKind::AddOn),
        ("credit_applied", LineKind::CreditApplied),
        ("credit_carried", LineKind::CreditCarried),
        ("credit_refunded", LineKind::CreditRefunded),
    ];
    golden("line_kind", &kinds);
}

#[test]
fn usage() {
    let plain = event(tenant(1), "k", "api", "1.50", later());
    let mut full = event(tenant(1), "k-2", "gb:out", "9999999999.999999999999", start());
    full.properties = [("region", "eu"), ("modèle", "日本")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    strict("usage_event", &[("plain", plain.clone()), ("full", full)], &[]);
    let mut minimal = serde_json::to_value(&plain).unwrap();
    minimal.as_object_mut().unwrap().remove("properties");
    assert_eq!(serde_json::from_value::<UsageEvent>(minimal).unwrap(), plain);

    let fields = [
        ("meter", UsageField::Meter),
        ("quantity", UsageField::Quantity),
        ("occurred_at", UsageField::OccurredAt),
        ("properties", UsageField::Properties),
    ];
    golden("usage_field", &fields);
    let refusals = [
        (
            "key_reused",
            UsageRefusal::KeyReused {
                idempotency_key: key("k"),
                field: UsageField::OccurredAt,
            },
        ),
        (
            "negative",
            UsageRefusal::Negative {
                quantity: decimal("-1"),
            },
        ),
        (
            "too_large",
            UsageRefusal::TooLarge {
                quantity: decimal("10000000001"),
            },
        ),
        (
            "too_precise",
            UsageRefusal::TooPrecise {
                quantity: decimal("0.0000000000001"),
            },
        ),
        (
            "in_future",
            UsageRefusal::InFuture {
                occurred_at: later(),
                now: start(),
            },
        ),
    ];
    golden("usage_refusal", &refusals);
    let outcomes = [
        ("accepted", UsageOutcome::Accepted),
        (
            "late",
            UsageOutcome::Late {
                billed_until: later(),
            },
        ),
        ("duplicate", UsageOutcome::Duplicate),
        ("refused", UsageOutcome::Refused(refusals[0].1.clone())),
    ];
    golden("usage_outcome", &outcomes);
}

#[test]
fn audit() {
    let actions = [
        AuditAction::Created,
        AuditAction::TrialConverted,
        AuditAction::Renewed,
        AuditAction::Expired,
        AuditAction::CancelScheduled,
        AuditAction::CancelUndone,
        AuditAction::Canceled,
        AuditAction::Suspended,
        AuditAction::Reactivated,
        AuditAction::PauseScheduled,
        AuditAction::Paused,
        AuditAction::Resumed,
        AuditAction::PlanChangeScheduled,
        AuditAction::PlanChanged,
        AuditAction::QuantityChangeScheduled,
        AuditAction::QuantityChanged,
        AuditAction::AddOnChangeScheduled,
        AuditAction::AddOnChanged,
        AuditAction::AddOnBought,
        AuditAction::PendingChangeDropped,
        AuditAction::PaymentMethodSet,
        AuditAction::AutoRenewSet,
        AuditAction::PaymentRetried,
        AuditAction::PaymentSettled,
        AuditAction::PaymentFailed,
        AuditAction::Parked,
        AuditAction::Unparked,
    ];
    golden("audit_action", &actions.map(|action| (action.code(), action)));
    for action in actions {
        assert_eq!(serde_json::to_value(action).unwrap(), action.code());
    }
    let name = || ActorName::new("ops@example.com").unwrap();
    let actors = [
        ("system", Actor::System),
        ("user", Actor::User(name())),
        ("operator", Actor::Operator(name())),
        ("service", Actor::Service(name())),
    ];
    golden("actor", &actors);
    let ips: [Option<IpAddr>; 4] = [
        None,
        Some("203.0.113.9".parse().unwrap()),
        Some("2001:db8::1".parse().unwrap()),
        None,
    ];
    // One chain, so the hashes are frozen too.
    let mut head = ChainHead::default();
    let mut chain = Vec::new();
    for ((label, actor), ip) in actors.iter().zip(ips) {
        let details = format!("{{\"reason\":\"é – {label}\",\"n\":1}}");
        let by = (actor, ip);
        let entry = AuditEntry::seal(
            &mut head,
            subscription_id(),
            later(),
            by,
            AuditAction::Suspended,
            details,
        );
        chain.push((*label, entry));
    }
    let entries = chain.iter().map(|(_, entry)| entry);
    assert_eq!(
        billing_core::audit::verify(subscription_id(), ChainHead::default(), entries, head),
        Ok(())
    );
    strict("audit_entry", &chain, &[]);
    strict(
        "chain_head",
        &[("default", ChainHead::default()), ("head", head)],
        &[],
    );
    golden(
        "digest",
        &[("of_nothing", Digest::of(b"")), ("zero", Digest::default())],
    );
    let upper = format!("\"{}\"", Digest::of(b"")).to_uppercase();
    assert!(serde_json::from_str::<Digest>(&upper).is_err());
}

#[test]
fn jobs() {
    let effects = [
        (
            "charge_invoice",
            Effect::ChargeInvoice {
                invoice_id: invoice_id(1),
                amount: usd(900),
                attempt: 2,
            },
        ),
        (
            "verify_payment",
            Effect::VerifyPayment {
                invoice_id: invoice_id(1),
                attempt: 2,
            },
        ),
        (
            "refund_unused",
            Effect::RefundUnused {
                invoice_id: invoice_id(1),
                amount: usd(300),
            },
        ),
        (
            "refund_payment",
            Effect::RefundPayment {
                invoice_id: invoice_id(1),
                amount: usd(900),
                reference: "ch_1 é".into(),
            },
        ),
    ];
    let keys: Map<String, Value> = effects
        .iter()
        .map(|(name, effect)| (String::from(*name), effect.idempotency_key().into()))
        .collect();
    same_as_file("effect_keys", &keys);
    strict("effect", &effects, &[]);
    let jobs = effects.map(|(name, effect)| {
        let job = Job {
            id: JobId::new(Uuid::from_u128(9)),
            subscription_id: subscription_id(),
            effect,
            created_at: start() + TimeDelta::microseconds(7),
        };
        (name, job)
    });
    strict("job", &jobs, &[]);
}
