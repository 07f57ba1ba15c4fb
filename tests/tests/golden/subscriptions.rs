//! Subscriptions, and what is asked of them.

use billing::MemoryStore;
use billing_core::calendar::MonthEnd;
use billing_core::credit::GrantSource;
use billing_core::id::PaymentMethodId;
use billing_core::id::{CouponCode, CreditNoteId, GrantId};
use billing_core::invoice::{InvoiceKind, LineKind, LineRef};
use billing_core::payment::{Collection, CollectionPhase, Debit, PaymentOutcome};
use billing_core::plan::TenantProfile;
use billing_core::ports::Store;
use billing_core::retry::DeclineClass;
use billing_core::subscription::GrantCredit;
use billing_core::subscription::{
    AtPeriodEnd, CancelCause, Command, CommandKind, Create, ExpiredCause, Standing, Status, Subscription,
    UnusedOnCancel, UnusedOnPause, When,
};
use billing_tests::kit::{Kit, add_on, plan_id, request, start, tenant, usd, wait};
use billing_tests::states::states;
use uuid::Uuid;

use super::{golden, invoice_id, later, period, profile, strict, subscription_id};

#[test]
fn subscriptions() {
    let store = MemoryStore::new();
    let kit = Kit::new(&store);
    let states = states(&kit);
    let statuses: std::collections::BTreeSet<_> = states.iter().map(|(_, one)| one.status()).collect();
    assert_eq!(statuses.len(), 6);
    strict::<Subscription>("subscription", &states, &[]);
    let invoices: Vec<_> = states
        .iter()
        .flat_map(|(_, one)| wait(Store::invoices_of(&store, one.id, 0, 100)).unwrap())
        .collect();
    let of = |kind: LineKind| {
        invoices
            .iter()
            .any(|invoice| invoice.lines.iter().any(|line| line.kind == kind))
    };
    for kind in [
        LineKind::Usage,
        LineKind::ProrationCharge,
        LineKind::ProrationCredit,
        LineKind::CreditApplied,
    ] {
        assert!(of(kind), "{kind:?}");
    }
}

#[test]
fn commands() {
    let settled = PaymentOutcome::Settled {
        amount: usd(1000),
        reference: "ch_1 é".into(),
        settled_at: later(),
    };
    let failed = PaymentOutcome::Failed {
        class: DeclineClass::Retry,
        code: "insufficient_funds".into(),
    };
    let method = PaymentMethodId::new(Uuid::from_u128(3));
    let cancel = |when, unused| Command::Cancel {
        when,
        reason: "too dear".into(),
        unused,
    };
    let all = [
        ("advance", Command::Advance),
        ("renew", Command::Renew),
        ("cancel", cancel(When::Now, UnusedOnCancel::None)),
        ("cancel_with_credit", cancel(When::Now, UnusedOnCancel::Credit)),
        (
            "cancel_at_period_end",
            cancel(When::AtPeriodEnd, UnusedOnCancel::Refund),
        ),
        ("undo_cancel", Command::UndoCancel),
        (
            "suspend",
            Command::Suspend {
                reason: "chargeback".into(),
            },
        ),
        ("reactivate", Command::Reactivate),
        (
            "pause",
            Command::Pause {
                when: When::Now,
                resume_at: None,
                unused: UnusedOnPause::Carry,
            },
        ),
        (
            "pause_at_period_end",
            Command::Pause {
                when: When::AtPeriodEnd,
                resume_at: Some(later()),
                unused: UnusedOnPause::Credit,
            },
        ),
        ("resume", Command::Resume),
        (
            "change_plan",
            Command::ChangePlan {
                plan_id: plan_id(2),
                when: None,
                tenant: TenantProfile::default(),
            },
        ),
        (
            "change_plan_now",
            Command::ChangePlan {
                plan_id: plan_id(2),
                when: Some(When::Now),
                tenant: profile(),
            },
        ),
        (
            "change_quantity",
            Command::ChangeQuantity {
                quantity: 5,
                when: None,
            },
        ),
        (
            "change_quantity_at_period_end",
            Command::ChangeQuantity {
                quantity: 1,
                when: Some(When::AtPeriodEnd),
            },
        ),
        (
            "change_add_on",
            Command::ChangeAddOn {
                add_on: add_on("backup"),
                quantity: 0,
                when: Some(When::AtPeriodEnd),
            },
        ),
        (
            "buy_add_on",
            Command::BuyAddOn {
                add_on: add_on("setup"),
                quantity: 2,
            },
        ),
        ("drop_pending_change", Command::DropPendingChange),
        (
            "set_payment_method",
            Command::SetPaymentMethod {
                payment_method: Some(method),
            },
        ),
        (
            "remove_payment_method",
            Command::SetPaymentMethod { payment_method: None },
        ),
        ("set_auto_renew", Command::SetAutoRenew { auto_renew: false }),
        (
            "record_settlement",
            Command::RecordPayment {
                invoice_id: invoice_id(1),
                outcome: settled.clone(),
            },
        ),
        (
            "record_failure",
            Command::RecordPayment {
                invoice_id: invoice_id(1),
                outcome: failed.clone(),
            },
        ),
        ("unpark", Command::Unpark),
        (
            "redeem_coupon",
            Command::RedeemCoupon {
                code: CouponCode::new("LAUNCH").unwrap(),
            },
        ),
        (
            "grant_credit",
            Command::GrantCredit(GrantCredit {
                id: GrantId::new(Uuid::from_u128(8)),
                amount: usd(500),
                source: GrantSource::Promotional,
                priority: 10,
                expires_at: Some(later()),
            }),
        ),
        (
            "void_credit",
            Command::VoidCredit {
                grant_id: GrantId::new(Uuid::from_u128(8)),
            },
        ),
        (
            "issue_credit_note",
            Command::IssueCreditNote {
                id: CreditNoteId::new(Uuid::from_u128(9)),
                invoice_id: invoice_id(1),
                request: super::concessions::note_request(),
            },
        ),
    ];
    let mut kinds: Vec<_> = all.iter().map(|(_, command)| command.kind()).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, CommandKind::ALL, "every kind is here");
    strict("command", &all, &[]);
    strict(
        "payment_outcome",
        &[("settled", settled), ("failed", failed)],
        &[],
    );
    golden("command_kind", &CommandKind::ALL.map(|kind| (kind.code(), kind)));
    for kind in CommandKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.code());
    }
    golden(
        "when",
        &[("now", When::Now), ("at_period_end", When::AtPeriodEnd)],
    );
    let unused = [
        ("none", UnusedOnCancel::None),
        ("credit", UnusedOnCancel::Credit),
        ("refund", UnusedOnCancel::Refund),
    ];
    golden("unused_on_cancel", &unused);
    golden(
        "unused_on_pause",
        &[("credit", UnusedOnPause::Credit), ("carry", UnusedOnPause::Carry)],
    );

    let plain = request(subscription_id(), tenant(1));
    let full = Create {
        tenant: profile(),
        zone: chrono_tz::Tz::America__New_York,
        month_end: MonthEnd::TwentyEighth,
        payment_method: Some(method),
        auto_renew: false,
        trial: false,
        quantity: 5,
        ..plain.clone()
    };
    strict("create", &[("plain", plain), ("full", full)], &[]);
}

#[test]
fn parts_of_a_state() {
    let at_end = [
        (
            "cancel",
            AtPeriodEnd::Cancel {
                reason: "too dear".into(),
            },
        ),
        ("pause", AtPeriodEnd::Pause { resume_at: None }),
        (
            "pause_until",
            AtPeriodEnd::Pause {
                resume_at: Some(later()),
            },
        ),
        ("change_plan", AtPeriodEnd::ChangePlan { plan_id: plan_id(2) }),
        ("change_quantity", AtPeriodEnd::ChangeQuantity { quantity: 5 }),
        (
            "change_add_on",
            AtPeriodEnd::ChangeAddOn {
                add_on: add_on("backup"),
                quantity: 0,
            },
        ),
    ];
    strict("at_period_end", &at_end, &[]);
    let causes = [
        (
            "requested",
            CancelCause::Requested {
                reason: "too dear".into(),
            },
        ),
        ("abandoned", CancelCause::Abandoned),
        ("trial_ended", CancelCause::TrialEnded),
        ("retention_over", CancelCause::RetentionOver),
    ];
    strict("cancel_cause", &causes, &[]);
    let causes = [
        ("trial_ended", ExpiredCause::TrialEnded),
        ("not_renewed", ExpiredCause::NotRenewed),
        ("payment_failed", ExpiredCause::PaymentFailed),
    ];
    golden("expired_cause", &causes);
    let phases = [
        ("charging", CollectionPhase::Charging),
        ("waiting", CollectionPhase::Waiting { retry_at: later() }),
        (
            "awaiting_customer",
            CollectionPhase::AwaitingCustomer { until: later() },
        ),
        ("spent", CollectionPhase::Spent),
    ];
    strict("collection_phase", &phases, &[]);
    let source = LineRef {
        invoice_id: invoice_id(1),
        line: 2,
    };
    let debit = Debit {
        source,
        period: period(),
        amount: usd(1000),
        add_on: Some(add_on("backup")),
    };
    let collection = Collection {
        invoice_id: invoice_id(1),
        kind: InvoiceKind::Renewal,
        amount: usd(1000),
        unpaid_from: start(),
        attempts: 2,
        phase: CollectionPhase::Waiting { retry_at: later() },
        debits: vec![debit],
        spent: None,
    };
    let spent = Collection {
        spent: Some(Box::new(super::concessions::spent())),
        ..collection.clone()
    };
    strict("collection", &[("waiting", collection), ("spent", spent)], &[]);
    let statuses = [
        Status::Pending,
        Status::Trial,
        Status::Active,
        Status::Expired,
        Status::Suspended,
        Status::Canceled,
    ];
    golden("status", &statuses.map(|status| (status.code(), status)));
    for status in statuses {
        assert_eq!(serde_json::to_value(status).unwrap(), status.code());
    }
    let standings = [
        ("current", Standing::Current),
        ("renewing", Standing::Renewing),
        ("in_grace", Standing::InGrace),
        ("restricted", Standing::Restricted),
        ("lapsed", Standing::Lapsed),
    ];
    golden("standing", &standings);
}
