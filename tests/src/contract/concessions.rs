//! Coupons, prepaid credit, credit notes, and invoice numbers in series.

use billing_core::coupon::{Coupon, CouponDuration, CouponValue};
use billing_core::credit::{GrantSource, LedgerKind};
use billing_core::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition,
};
use billing_core::id::{CouponCode, CreditNoteId, GrantId, InvoiceId, SeriesCode, SubscriptionId};
use billing_core::money::Money;
use billing_core::plan::Plan;
use billing_core::ports::{CommitRefusal, CouponState, Store};
use billing_core::subscription::{Command, CouponRedemption, GrantCredit, Subscription};

use crate::kit::{Kit, cancel_now, plan, product, request, tenant, usd, wait};

fn coupon(redemptions_max: Option<u32>, once_per_tenant: bool) -> Coupon {
    Coupon {
        code: CouponCode::new("LAUNCH").expect("a code"),
        value: CouponValue::Amount(usd(100)),
        duration: CouponDuration::Once,
        plans: [].into(),
        redeem_by: None,
        redemptions_max,
        once_per_tenant,
        is_active: true,
    }
}

/// A redemption that core let through, by facts that may be old by now.
fn redeem(kit: &Kit<'_>, current: &Subscription) -> Result<(), CommitRefusal> {
    let mut commit = kit.bare(current);
    commit.decision.redemption = Some(CouponRedemption {
        code: coupon(None, false).code,
        tenant_id: current.tenant_id,
    });
    kit.commit(commit)
}

/// However many redeem at once: the limits are checked in the transaction.
pub fn a_coupon_is_not_redeemed_more_often_than_it_may_be(store: &dyn Store) {
    let kit = Kit::new(store);
    let one = plan(1, "one");
    let other = Plan {
        product: product("side"),
        ..plan(2, "two")
    };
    kit.put_plans(&[&one, &other]);
    let subscriptions = [
        kit.subscribe(tenant(1), &one),
        kit.subscribe(tenant(1), &other),
        kit.subscribe(tenant(2), &one),
        kit.subscribe(tenant(3), &one),
    ];
    let state = |n| wait(store.coupon(&coupon(None, false).code, tenant(n))).expect("reads");
    assert_eq!(state(1), None);
    let spent = || {
        let code = coupon(None, false).code;
        Err(CommitRefusal::CouponSpent { code })
    };
    assert_eq!(
        redeem(&kit, &subscriptions[0]),
        spent(),
        "there is no such coupon"
    );
    wait(store.put_coupon(&coupon(Some(2), true))).expect("kept");
    assert_eq!(redeem(&kit, &subscriptions[0]), Ok(()));
    assert_eq!(redeem(&kit, &subscriptions[1]), spent(), "once per tenant");
    assert_eq!(redeem(&kit, &subscriptions[2]), Ok(()));
    assert_eq!(redeem(&kit, &subscriptions[3]), spent(), "twice at most");
    let known = |redemptions, redeemed_before, coupon| {
        Some(CouponState {
            coupon,
            redemptions,
            redeemed_before,
        })
    };
    assert_eq!(state(1), known(2, true, coupon(Some(2), true)));
    assert_eq!(state(3), known(2, false, coupon(Some(2), true)));
    // Another limit from now on, and what was redeemed stays.
    wait(store.put_coupon(&coupon(Some(3), false))).expect("kept");
    assert_eq!(state(3), known(2, false, coupon(Some(3), false)));
    assert_eq!(redeem(&kit, &subscriptions[1]), Ok(()));
    assert_eq!(redeem(&kit, &subscriptions[3]), spent());
}

/// In the order of commits, page by page; each subscription its own.
pub fn the_credit_ledger_is_kept_in_order(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let other = kit.subscribe(tenant(2), &plan);
    let grant = |minor| {
        let id = GrantId::new(kit.ids.next());
        let granted = GrantCredit {
            id,
            amount: usd(minor),
            source: GrantSource::Prepaid,
            priority: 50,
            expires_at: None,
        };
        (id, Command::GrantCredit(granted))
    };
    let (first, command) = grant(500);
    kit.run(one.id, &command);
    kit.run(other.id, &grant(900).1);
    kit.run(one.id, &grant(700).1);
    kit.run(one.id, &Command::VoidCredit { grant_id: first });
    let page = |id: SubscriptionId, after, limit| -> Vec<(LedgerKind, Money)> {
        let entries = wait(store.credit_ledger(id, after, limit)).expect("reads");
        entries.iter().map(|entry| (entry.kind, entry.amount)).collect()
    };
    let all = [
        (LedgerKind::Granted, usd(500)),
        (LedgerKind::Granted, usd(700)),
        (LedgerKind::Voided, usd(-500)),
    ];
    assert_eq!(page(one.id, 0, 10), all);
    assert_eq!(page(one.id, 1, 1), all[1..2]);
    assert_eq!(page(one.id, 3, 10), []);
    assert_eq!(page(other.id, 0, 10), [(LedgerKind::Granted, usd(900))]);
    assert_eq!(kit.read(one.id).prepaid(kit.now()), usd(700));
}

/// With their numbers; of each invoice its own.
pub fn credit_notes_are_found_by_their_invoice(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let invoice_id = one.state.collection().expect("an open invoice").invoice_id;
    kit.pay(one.id);
    let note = |minor: i64, disposition| Command::IssueCreditNote {
        id: CreditNoteId::new(kit.ids.next()),
        invoice_id,
        request: CreditNoteRequest {
            reason: CreditNoteReason::OrderChange,
            scope: CreditNoteScope::Lines(vec![CreditNoteAmount {
                line: 0,
                amount: usd(minor),
            }]),
            disposition,
        },
    };
    kit.run(one.id, &note(300, Disposition::Refund));
    let after = kit.run(one.id, &note(200, Disposition::Credit));
    assert_eq!(after.credit, usd(200));
    let notes = wait(store.credit_notes_of(invoice_id)).expect("reads");
    let found: Vec<_> = notes.iter().map(|note| (note.number, note.total)).collect();
    assert_eq!(found, [(1, usd(300)), (2, usd(200))]);
    let mut again = kit.bare(&kit.read(one.id));
    again.decision.note = notes.into_iter().next();
    let id = again.decision.note.as_ref().expect("a note").id;
    assert_eq!(kit.commit(again), Err(CommitRefusal::CreditNoteExists { id }));
    let unknown = InvoiceId::new(kit.ids.next());
    assert_eq!(wait(store.credit_notes_of(unknown)), Ok(vec![]));
}

/// From 1, in the order of commits, whoever they are for, and without a gap where a commit is refused.
pub fn invoices_are_numbered_without_a_gap(store: &dyn Store) {
    let kit = Kit::new(store);
    let of_series = |n, code: &str| Plan {
        invoice_series: Some(SeriesCode::new(code).expect("a series")),
        ..plan(n, code)
    };
    let (eu, us, none) = (of_series(1, "EU"), of_series(2, "US"), plan(3, "none"));
    kit.put_plans(&[&eu, &us, &none]);
    let mut ids = Vec::new();
    for (n, plan) in [(1, &eu), (2, &us), (3, &eu), (4, &none)] {
        ids.push(kit.subscribe(tenant(n), plan).id);
    }
    // One that is refused for its place, and one that is not, in one batch.
    let taken = kit
        .decide_create_as_if(&request(kit.new_id(), tenant(1)), &eu, None, false)
        .expect("a creation");
    let fresh = kit
        .decide_create(&request(kit.new_id(), tenant(5)), &eu)
        .expect("a creation");
    ids.push(fresh.next.id);
    let answers = kit.commit_all(vec![kit.commit_of(taken), kit.commit_of(fresh)]);
    assert!(answers[0].is_err() && answers[1].is_ok(), "{answers:?}");
    // And one that is refused for its version.
    kit.pay(ids[0]);
    let current = kit.read(ids[0]);
    let mut stale = kit.commit_of(kit.decide(&current, &cancel_now()).expect("a decision"));
    stale.expected_version += 1;
    assert!(kit.commit(stale).is_err());
    ids.push(kit.subscribe(tenant(6), &eu).id);
    let serials: Vec<_> = ids
        .iter()
        .map(|id| {
            let invoice = wait(store.invoices_of(*id, 0, 1)).expect("invoices").remove(0);
            assert_eq!(wait(store.invoice(invoice.id)), Ok(Some(invoice.clone())));
            invoice
                .serial
                .map(|serial| (serial.series.to_string(), serial.number))
        })
        .collect();
    let serial = |code: &str, number| Some((String::from(code), number));
    assert_eq!(
        serials,
        [
            serial("EU", 1),
            serial("US", 1),
            serial("EU", 2),
            None,
            serial("EU", 3),
            serial("EU", 4)
        ]
    );
}
