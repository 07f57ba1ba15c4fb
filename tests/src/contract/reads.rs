//! What is read, in which order, and in pages.

use std::slice::from_ref;

use billing_core::audit::ChainHead;
use billing_core::id::{InvoiceId, JobId, PlanCode, SubscriptionId};
use billing_core::plan::{Activation, Plan};
use billing_core::ports::{Commit, DueCursor, Store};
use billing_core::retry::DeclineClass;
use billing_core::subscription::{Command, Create, Effect, Status, Subscription};
use billing_core::usage::{Usage, UsageQuery};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::kit::{
    Kit, at, cancel_now, failed, family, key, plan, plan_id, product, request, start, tenant, usd, wait,
    with_trial,
};
use crate::states::states;

const FIRST: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;
const LAST: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// No method fails because there is nothing.
pub fn an_empty_store_answers_with_nothing(store: &dyn Store) {
    let id = SubscriptionId::new(Uuid::from_u128(7));
    let job = JobId::new(Uuid::from_u128(7));
    let code = PlanCode::new("basic").expect("a code");
    assert_eq!(wait(store.command(tenant(1), &key("k"))), Ok(None));
    assert_eq!(
        wait(store.set_plan_availability(plan_id(1), true, false)),
        Ok(false)
    );
    assert_eq!(wait(store.plan(plan_id(1))), Ok(None));
    assert_eq!(wait(store.plan_by_code(&code, None)), Ok(None));
    assert_eq!(wait(store.plan_by_code(&code, Some(1))), Ok(None));
    assert_eq!(wait(store.plans()), Ok(vec![]));
    assert_eq!(wait(store.subscription(id)), Ok(None));
    assert_eq!(
        wait(store.live_subscription(tenant(1), &product("main"))),
        Ok(None)
    );
    assert_eq!(wait(store.subscriptions_of(tenant(1))), Ok(vec![]));
    assert_eq!(wait(store.due(LAST, None, 10)), Ok(vec![]));
    assert_eq!(
        wait(store.due(LAST, Some(DueCursor { due_at: FIRST, id }), 10)),
        Ok(vec![])
    );
    assert_eq!(wait(store.trial_used(tenant(1), &family("f"))), Ok(false));
    assert_eq!(wait(store.invoice(InvoiceId::new(Uuid::nil()))), Ok(None));
    assert_eq!(wait(store.invoices_of(id, 0, 10)), Ok(vec![]));
    assert_eq!(wait(store.audit_entries(id, 0, 10)), Ok(vec![]));
    assert_eq!(wait(store.audit_checkpoint(id)), Ok(ChainHead::default()));
    assert_eq!(wait(store.prune_audit(id, LAST)), Ok(0));
    assert_eq!(wait(store.jobs(None, 10)), Ok(vec![]));
    assert_eq!(wait(store.jobs(Some(job), 10)), Ok(vec![]));
    let query = UsageQuery {
        tenant_id: tenant(1),
        subscription_id: id,
        plan: &plan(9, "none"),
        origin: FIRST,
        from: FIRST,
        until: LAST,
        term: None,
        watermark: 0,
        up_to: None,
    };
    assert_eq!(wait(store.usage(&[query])), Ok(vec![Usage::default()]));
}

/// As it was decided: every state and what is inside it, its invoices, and what it is due for.
pub fn every_state_is_read_back(store: &dyn Store) {
    let kit = Kit::new(store);
    let states = states(&kit);
    for (name, expected) in &states {
        assert_eq!(kit.read(expected.id), *expected, "{name}");
        let entries = wait(store.audit_entries(expected.id, 0, 1_000)).expect("entries");
        let sound = billing_core::audit::verify(expected.id, ChainHead::default(), &entries, expected.audit);
        assert_eq!(sound, Ok(()), "{name}");
        let invoices = wait(store.invoices_of(expected.id, 0, 1_000)).expect("invoices");
        assert_eq!(
            invoices.len(),
            usize::try_from(expected.invoices).expect("fits"),
            "{name}"
        );
        assert!(
            invoices.iter().all(billing_core::invoice::Invoice::adds_up),
            "{name}"
        );
        let open: Vec<_> = invoices
            .iter()
            .filter(|invoice| invoice.is_open())
            .map(|invoice| invoice.id)
            .collect();
        let collected: Vec<_> = expected
            .state
            .collection()
            .map(|collection| collection.invoice_id)
            .into_iter()
            .collect();
        assert_eq!(open, collected, "{name}");
        let live = wait(store.live_subscription(expected.tenant_id, &expected.product)).expect("reads");
        assert_eq!(live.as_ref(), expected.is_live().then_some(expected), "{name}");
    }
    let due = wait(store.due(LAST, None, 1_000)).expect("due");
    let mut expected: Vec<_> = states
        .iter()
        .filter_map(|(_, one)| one.next_due().map(|due_at| DueCursor { due_at, id: one.id }))
        .collect();
    expected.sort();
    assert_eq!(due.iter().map(cursor).collect::<Vec<_>>(), expected);
}

fn cursor(one: &Subscription) -> DueCursor {
    DueCursor {
        due_at: one.next_due().expect("it is due"),
        id: one.id,
    }
}

/// The bound is inside, the cursor is not, and a page never splits or repeats what is due at one instant.
pub fn what_is_due_comes_by_instant_and_id(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_trial(plan(1, "basic"), "family");
    kit.put_plans(&[&plan]);
    let mut all = Vec::new();
    // Later ones first; five at each instant.
    for day in [4, 1, 3, 0, 2] {
        kit.set_now(start() + TimeDelta::days(day));
        for n in 0..5 {
            let tenant_id = tenant(u128::try_from(day).expect("fits") * 5 + n);
            all.push(cursor(&kit.create(&request(kit.new_id(), tenant_id), &plan)));
        }
    }
    all.sort();
    let read = |until, after, limit| -> Vec<DueCursor> {
        wait(store.due(until, after, limit))
            .expect("due")
            .iter()
            .map(cursor)
            .collect()
    };
    assert_eq!(read(LAST, None, usize::MAX), all);
    assert_eq!(read(LAST, None, 1_000), all);
    assert_eq!(read(LAST, None, 0), []);
    assert_eq!(read(FIRST, None, 1_000), []);
    let third = all[10].due_at;
    assert_eq!(read(third, None, 1_000), all[..15], "the bound is inside");
    assert_eq!(read(third - TimeDelta::microseconds(1), None, 1_000), all[..10]);
    for size in [1, 2, 5, 7, 24, 25, 26] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = read(LAST, after, size);
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(*last);
            found.extend(page);
            assert!(found.len() <= all.len(), "the pages do not end");
        }
        assert_eq!(found, all, "pages of {size}");
    }
    // A cursor need not be of one that is there, or still due.
    let before = DueCursor {
        due_at: third,
        id: SubscriptionId::new(Uuid::nil()),
    };
    assert_eq!(read(LAST, Some(before), 1_000), all[10..]);
    let after = DueCursor {
        due_at: third,
        id: SubscriptionId::new(Uuid::max()),
    };
    assert_eq!(read(LAST, Some(after), 1_000), all[15..]);
    assert_eq!(read(third, Some(after), 1_000), []);
    // What has ended is not due any more, what was put off is due later.
    kit.run(all[0].id, &cancel_now());
    assert_eq!(read(LAST, None, 1_000), all[1..]);
    kit.set_now(all[1].due_at);
    kit.run(
        all[1].id,
        &Command::Suspend {
            reason: "fraud".into(),
        },
    );
    let found = read(LAST, None, 1_000);
    assert_eq!(found[..23], all[2..]);
    assert_eq!(found[23].id, all[1].id);
}

/// Waiting for a payment or for a person is not waiting for time.
pub fn what_waits_for_something_else_is_not_due(store: &dyn Store) {
    let kit = Kit::new(store);
    let immediate = Plan {
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1,
        ..plan(1, "basic")
    };
    let on_payment = Plan {
        activation: Activation::OnPayment { pay_within_hours: 24 },
        ..plan(2, "later")
    };
    kit.put_plans(&[&immediate, &on_payment]);
    let due = || wait(store.due(LAST, None, 100)).expect("due");
    let one = kit.subscribe(tenant(1), &immediate);
    assert_eq!(due(), [], "its payment is awaited");
    let one = kit.pay(one.id);
    assert_eq!(due(), from_ref(&one));
    let pending = kit.subscribe(tenant(2), &on_payment);
    assert_eq!(
        due(),
        [pending.clone(), one.clone()],
        "unpaid, it is abandoned tomorrow"
    );
    kit.run(pending.id, &cancel_now());
    assert_eq!(due(), from_ref(&one));
    // A payment that failed is tried again when time has come.
    let other = kit.subscribe(tenant(3), &immediate);
    let declined = failed(&other, DeclineClass::Retry).expect("an open invoice");
    let waiting = kit.run(other.id, &declined);
    assert_eq!(due(), [waiting.clone(), one.clone()]);
    kit.set_now(waiting.next_due().expect("it is due"));
    kit.run(waiting.id, &Command::Advance);
    assert_eq!(due(), from_ref(&one));
    // A parked one waits for a person.
    let mut parked = kit
        .decide(&one, &Command::SetAutoRenew { auto_renew: true })
        .expect("a decision");
    parked.next.parked_at = Some(kit.now());
    assert_eq!(parked.next.next_due(), None);
    kit.commit(kit.commit_of(parked)).expect("a commit");
    assert_eq!(due(), []);
    let unparked = kit.run(one.id, &Command::Unpark);
    assert_eq!(due(), [unparked]);
}

/// Live or not, and whatever their ids.
pub fn subscriptions_of_a_tenant_come_oldest_first(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let mut expected = Vec::new();
    for _ in 0..8 {
        let one = kit.subscribe(tenant(1), &plan);
        kit.subscribe(tenant(1_000 + kit.ids.next().as_u128() % 1_000_000), &plan);
        expected.push(kit.run(one.id, &cancel_now()));
        kit.pass_days(1);
    }
    expected.push(kit.subscribe(tenant(1), &plan));
    let ids: Vec<_> = expected.iter().map(|one| one.id).collect();
    assert!(!ids.is_sorted(), "the ids tell nothing");
    assert_eq!(wait(store.subscriptions_of(tenant(1))), Ok(expected.clone()));
    let live = wait(store.live_subscription(tenant(1), &product("main"))).expect("reads");
    assert_eq!(live.as_ref(), expected.last());
    assert_eq!(
        wait(store.live_subscription(tenant(1), &product("Main"))),
        Ok(None)
    );
}

/// After a number, at most so many.
pub fn invoices_come_by_number_in_pages(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    kit.subscribe(tenant(2), &plan);
    for _ in 0..11 {
        let paid = kit.pay(one.id);
        kit.set_now(paid.next_due().expect("a renewal"));
        kit.run(one.id, &Command::Advance);
    }
    let numbers = |after, limit| -> Vec<u32> {
        let invoices = wait(store.invoices_of(one.id, after, limit)).expect("invoices");
        assert!(invoices.iter().all(|invoice| invoice.subscription_id == one.id));
        invoices.iter().map(|invoice| invoice.number).collect()
    };
    assert_eq!(numbers(0, 100), Vec::from_iter(1..=12));
    assert_eq!(numbers(0, usize::MAX), Vec::from_iter(1..=12));
    assert_eq!(numbers(0, 5), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(5, 5), [6, 7, 8, 9, 10]);
    assert_eq!(numbers(10, 5), [11, 12]);
    assert_eq!(numbers(12, 5), Vec::<u32>::new());
    assert_eq!(numbers(u32::MAX, 5), Vec::<u32>::new());
    assert_eq!(numbers(3, 0), Vec::<u32>::new());
}

/// Not in the order of their ids or instants.
pub fn jobs_come_in_commit_order_in_pages(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let mut expected = Vec::new();
    for n in 0..6 {
        // The clock may go back.
        kit.set_now(start() - TimeDelta::days(i64::try_from(n).expect("fits")));
        let mut batch = Vec::new();
        for part in 0..2 {
            let request = Create {
                payment_method: kit.method(),
                ..request(kit.new_id(), tenant(n * 2 + part))
            };
            let decision = kit.decide_create(&request, &plan).expect("a creation");
            let mut commit = kit.commit_of(decision);
            let invoice_id = commit
                .decision
                .next
                .state
                .collection()
                .expect("an invoice")
                .invoice_id;
            commit.jobs.push(kit.job(
                request.id,
                Effect::VerifyPayment {
                    invoice_id,
                    attempt: 1,
                },
            ));
            commit.jobs.push(kit.job(
                request.id,
                Effect::RefundUnused {
                    invoice_id,
                    amount: usd(5),
                },
            ));
            let reference = "re\u{301}f".into();
            commit.jobs.push(kit.job(
                request.id,
                Effect::RefundPayment {
                    invoice_id,
                    amount: usd(6),
                    reference,
                },
            ));
            expected.extend(commit.jobs.clone());
            batch.push(commit);
        }
        assert_eq!(kit.commit_all(batch), [Ok(()), Ok(())]);
    }
    let ids: Vec<_> = expected.iter().map(|job| job.id).collect();
    assert!(!ids.is_sorted(), "the ids tell nothing");
    assert_eq!(wait(store.jobs(None, 1_000)), Ok(expected.clone()));
    assert_eq!(wait(store.jobs(None, usize::MAX)), Ok(expected.clone()));
    assert_eq!(wait(store.jobs(None, 0)), Ok(vec![]));
    for size in [1, 7, 48, 49] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = wait(store.jobs(after, size)).expect("jobs");
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.extend(page);
            assert!(found.len() <= expected.len(), "the pages do not end");
        }
        assert_eq!(found, expected, "pages of {size}");
    }
}

/// Whatever a person may write, a NUL and a lone combining mark included.
pub fn any_text_is_kept(store: &dyn Store) {
    let texts = [
        "Ünïcödé – 日本語 – العربية – \u{1F1F3}\u{1F1EC}",
        "nul \u{0} bell \u{7} newline \n tab \t quote \" ' ` back \\ slash",
        "\u{301}\u{FEFF}\u{202E}\u{10FFFF}\u{FFFD}",
        "'); DROP TABLE subscriptions; --",
        "{\"not\":\"json\"}%s?1:a@b$c",
    ];
    let kit = Kit::new(store);
    for (n, text) in (1..).zip(texts) {
        let plan = Plan {
            name: text.into(),
            ..plan(n, &format!("plan-{n}"))
        };
        kit.put_plans(&[&plan]);
        assert_eq!(wait(store.plan(plan.id)), Ok(Some(plan.clone())));
        let one = kit.subscribe(tenant(n), &plan);
        let command = crate::kit::settled(&one, text, kit.now()).expect("an open invoice");
        kit.run(one.id, &command);
        let invoice = wait(store.invoices_of(one.id, 0, 1)).expect("invoices").remove(0);
        assert!(matches!(invoice.state,
            billing_core::invoice::InvoiceStatus::Paid { reference: Some(kept), .. } if kept == text));
        let current = kit.read(one.id);
        let decision = kit
            .decide(&current, &Command::Suspend { reason: text.into() })
            .expect("a decision");
        let record = kit.record(tenant(n), "k", text);
        let commit = Commit {
            command: Some(record.clone()),
            ..kit.commit_of(decision.clone())
        };
        kit.commit(commit).expect("a commit");
        assert_eq!(kit.read(one.id), decision.next);
        assert_eq!(wait(store.command(tenant(n), &key("k"))), Ok(Some(record)));
        let entries = wait(store.audit_entries(one.id, 2, 10)).expect("entries");
        assert_eq!(entries, decision.audit);
        let all = wait(store.audit_entries(one.id, 0, 10)).expect("entries");
        let sound = billing_core::audit::verify(one.id, ChainHead::default(), &all, decision.next.audit);
        assert_eq!(sound, Ok(()));
    }
}

/// To the microsecond, from long ago to long ahead.
pub fn any_instant_is_kept(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_trial(plan(1, "basic"), "family");
    kit.put_plans(&[&plan]);
    let instants = [
        at("0001-01-01T00:00:00Z"),
        at("1677-09-21T00:12:43.145224Z"),
        at("1969-12-31T23:59:59.999999Z"),
        at("1970-01-01T00:00:00Z"),
        at("2024-02-29T12:34:56.123456Z"),
        at("2262-04-11T23:47:16.854776Z"),
        at("9998-12-31T23:59:59.999999Z"),
        at("+012345-06-07T00:00:00.000001Z"),
        at("-000044-03-15T00:00:00Z"),
    ];
    for (n, now) in (1..).zip(instants) {
        kit.set_now(now);
        let decision = kit
            .decide_create(&request(kit.new_id(), tenant(n)), &plan)
            .expect("a creation");
        assert_eq!(decision.next.status(), Status::Trial);
        let record = kit.record(tenant(n), "k", "{}");
        let commit = Commit {
            command: Some(record.clone()),
            ..kit.commit_of(decision.clone())
        };
        kit.commit(commit).expect("a commit");
        let one = kit.read(decision.next.id);
        assert_eq!(one, decision.next);
        assert_eq!(one.created_at, now);
        assert_eq!(wait(store.command(tenant(n), &key("k"))), Ok(Some(record)));
        let entries = wait(store.audit_entries(one.id, 0, 10)).expect("entries");
        assert_eq!(entries, decision.audit);
    }
    let due: Vec<_> = wait(store.due(LAST, None, 100))
        .expect("due")
        .iter()
        .map(cursor)
        .collect();
    assert!(
        due.len() == instants.len() && due.is_sorted(),
        "by time, not by text: {due:?}"
    );
}
