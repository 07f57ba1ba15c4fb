//! What a commit leaves, and what it answers.

use std::task::{Context, Waker};

use billing_core::invoice::InvoiceStatus;
use billing_core::ports::{Commit, Store};
use billing_core::subscription::{Command, Create, Effect, Status};

use crate::kit::{
    Kit, cancel_now, event, family, key, meter, plan, product, request, settled, tenant, wait, with_meter,
    with_trial,
};

/// Everything that a commit holds is there afterwards, by every way of reading it.
pub fn a_commit_is_read_back_whole(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_trial(plan(1, "basic"), "first-time");
    kit.put_plans(&[&plan]);

    // With a trial, no invoice.
    let trial = request(kit.new_id(), tenant(1));
    let decision = kit.decide_create(&trial, &plan).expect("a creation");
    let commit = kit.commit_of(decision.clone());
    kit.commit(commit).expect("a commit");
    assert_eq!(kit.read(trial.id), decision.next);
    assert_eq!(decision.next.status(), Status::Trial);
    assert_eq!(wait(store.trial_used(tenant(1), &family("first-time"))), Ok(true));
    assert_eq!(
        wait(store.trial_used(tenant(2), &family("first-time"))),
        Ok(false)
    );
    assert_eq!(
        wait(store.trial_used(tenant(1), &family("second-time"))),
        Ok(false)
    );
    assert_eq!(wait(store.jobs(None, 10)), Ok(vec![]));

    // With an invoice, a job and a command.
    let paid = Create {
        trial: false,
        payment_method: kit.method(),
        ..request(kit.new_id(), tenant(2))
    };
    let decision = kit.decide_create(&paid, &plan).expect("a creation");
    let record = kit.record(tenant(2), "create-1", "{\"ok\":true}");
    let commit = Commit {
        command: Some(record.clone()),
        ..kit.commit_of(decision.clone())
    };
    let jobs = commit.jobs.clone();
    let invoice = decision.opened.clone().expect("an invoice");
    kit.commit(commit).expect("a commit");
    assert_eq!(jobs.len(), 1);
    assert_eq!(decision.audit.len(), 1);
    assert_eq!(kit.read(paid.id), decision.next);
    assert_eq!(
        wait(store.live_subscription(tenant(2), &product("main"))),
        Ok(Some(decision.next.clone()))
    );
    assert_eq!(wait(store.subscriptions_of(tenant(2))), Ok(vec![decision.next]));
    assert_eq!(wait(store.invoice(invoice.id)), Ok(Some(invoice.clone())));
    assert_eq!(wait(store.invoices_of(paid.id, 0, 10)), Ok(vec![invoice]));
    assert_eq!(wait(store.audit_entries(paid.id, 0, 10)), Ok(decision.audit));
    assert_eq!(wait(store.jobs(None, 10)), Ok(jobs));
    assert_eq!(wait(store.command(tenant(2), &key("create-1"))), Ok(Some(record)));
    assert_eq!(
        wait(store.trial_used(tenant(2), &family("first-time"))),
        Ok(false)
    );
}

/// A payment closes the invoice and leaves its lines as they were.
pub fn a_decision_that_closes_an_invoice_is_read_back(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let created = kit.subscribe(tenant(1), &plan);
    let open = wait(store.invoices_of(created.id, 0, 10))
        .expect("invoices")
        .remove(0);
    assert!(open.is_open() && open.adds_up() && open.lines.len() == 1);

    kit.pass_days(1);
    let command = settled(&created, "pay-7", kit.now()).expect("an open invoice");
    let decision = kit.decide(&created, &command).expect("a payment");
    kit.commit(kit.commit_of(decision.clone())).expect("a commit");
    assert_eq!(kit.read(created.id), decision.next);
    let paid = wait(store.invoice(open.id)).expect("reads").expect("the invoice");
    let state = InvoiceStatus::Paid {
        paid_at: kit.now(),
        reference: Some("pay-7".into()),
        covers: None,
    };
    assert_eq!(decision.closed[0].state, state);
    assert_eq!(paid, billing_core::invoice::Invoice { state, ..open });
    let entries = wait(store.audit_entries(created.id, 1, 10)).expect("entries");
    assert_eq!(entries, decision.audit);
}

/// The second commit of a batch may build on the first.
pub fn commits_of_a_batch_see_each_other_in_order(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let first = kit
        .decide_create(&request(kit.new_id(), tenant(1)), &plan)
        .expect("a creation");
    let second = kit
        .decide(&first.next, &Command::SetAutoRenew { auto_renew: false })
        .expect("a decision");
    let third = kit
        .decide(&second.next, &cancel_now_without_invoice())
        .expect("a decision");
    let id = first.next.id;
    let commits = [first, second, third.clone()].map(|decision| kit.commit_of(decision));
    assert_eq!(kit.commit_all(commits.into()), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(kit.read(id), third.next);
    let entries = wait(store.audit_entries(id, 0, 10)).expect("entries");
    assert_eq!(entries.len(), 3);
}

fn cancel_now_without_invoice() -> Command {
    // Scheduled, so that nothing must be loaded that the batch has not committed yet.
    Command::Cancel {
        when: billing_core::subscription::When::AtPeriodEnd,
        reason: "moved away".into(),
        unused: billing_core::subscription::UnusedOnCancel::None,
    }
}

/// Five hundred commits at once, every third of them a conflict.
pub fn a_long_batch_is_answered_in_order(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let mut commits = Vec::new();
    let mut ids = Vec::new();
    for n in 0..500 {
        let request = request(kit.new_id(), tenant(n));
        ids.push(request.id);
        let mut commit = kit.commit_of(kit.decide_create(&request, &plan).expect("a creation"));
        if n % 3 == 0 {
            commit.expected_version = 5;
        }
        commits.push(commit);
    }
    let answers = kit.commit_all(commits);
    assert_eq!(answers.len(), 500);
    for (n, (answer, id)) in answers.iter().zip(ids).enumerate() {
        assert_eq!(answer.is_ok(), n % 3 != 0, "{n}");
        assert_eq!(
            wait(store.subscription(id)).expect("reads").is_some(),
            n % 3 != 0,
            "{n}"
        );
    }
}

/// Nothing in, nothing out.
pub fn an_empty_batch_has_no_answers(store: &dyn Store) {
    assert_eq!(wait(store.commit(vec![])), Ok(vec![]));
    assert_eq!(wait(store.record_usage(vec![], crate::kit::start())), Ok(vec![]));
    assert_eq!(wait(store.usage(&[])), Ok(vec![]));
}

/// The record of a command is kept byte by byte; keys are scoped by tenant.
pub fn a_command_is_answered_as_the_first_time(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let answer = format!("{{\"text\":\"{} – “š” \u{1F4B6}\"}}", "x".repeat(100_000));
    let longest = "k".repeat(255);
    for (n, idempotency_key) in [(1, "a"), (2, "a"), (3, longest.as_str()), (4, "A")] {
        kit.pass_days(1);
        let record = kit.record(tenant(n), idempotency_key, &format!("{n}{answer}"));
        let decision = kit
            .decide_create(&request(kit.new_id(), tenant(n)), &plan)
            .expect("a creation");
        let commit = Commit {
            command: Some(record.clone()),
            ..kit.commit_of(decision)
        };
        kit.commit(commit).expect("a commit");
        assert_eq!(
            wait(store.command(tenant(n), &key(idempotency_key))),
            Ok(Some(record))
        );
    }
    let first = wait(store.command(tenant(1), &key("a")))
        .expect("reads")
        .expect("a record");
    assert!(
        first.answer.starts_with("1{"),
        "the second tenant has not replaced it"
    );
    assert_eq!(
        wait(store.command(tenant(4), &key("a"))),
        Ok(None),
        "keys are case-sensitive"
    );
    assert_eq!(wait(store.command(tenant(9), &key("a"))), Ok(None));
}

/// A second job with the key of a first is dropped and the rest of its commit stands.
pub fn a_job_with_a_known_key_is_not_kept(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let created = kit.subscribe(tenant(1), &plan);
    let first = wait(store.jobs(None, 10)).expect("jobs");
    assert_eq!(first.len(), 1);
    let effect = first[0].effect.clone();
    let Effect::ChargeInvoice {
        invoice_id, amount, ..
    } = effect
    else {
        panic!("expected a charge, got {effect:?}");
    };
    let another = |attempt| Effect::ChargeInvoice {
        invoice_id,
        amount,
        attempt,
    };

    let decision = kit
        .decide(&created, &Command::SetAutoRenew { auto_renew: false })
        .expect("a decision");
    let mut commit = kit.commit_of(decision.clone());
    // The key is what counts: the amount is not part of it.
    let other_amount = Effect::ChargeInvoice {
        invoice_id,
        amount: crate::kit::usd(1),
        attempt: 1,
    };
    commit.jobs = [
        effect,
        another(2),
        other_amount,
        another(2),
        Effect::VerifyPayment {
            invoice_id,
            attempt: 1,
        },
    ]
    .map(|effect| kit.job(created.id, effect))
    .into();
    let (second, verify) = (commit.jobs[1].clone(), commit.jobs[4].clone());
    kit.commit(commit).expect("a commit");
    assert_eq!(
        wait(store.jobs(None, 10)),
        Ok(vec![first[0].clone(), second, verify])
    );
    assert_eq!(kit.read(created.id), decision.next);
}

/// A future that is dropped, polled or not, leaves all of its commit or nothing, and a store that works.
pub fn a_dropped_future_does_no_harm(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_meter(plan(1, "basic"), "api");
    kit.put_plans(&[&plan]);
    let mut context = Context::from_waker(Waker::noop());
    let mut dropped = Vec::new();
    for n in 0..40 {
        let request = Create {
            payment_method: kit.method(),
            ..request(kit.new_id(), tenant(n))
        };
        let decision = kit.decide_create(&request, &plan).expect("a creation");
        let commit = Commit {
            command: Some(kit.record(tenant(n), "create", "{}")),
            ..kit.commit_of(decision.clone())
        };
        let (id, job) = (request.id, commit.jobs[0].clone());
        let mut future = store.commit(vec![commit]);
        let mut usage = store.record_usage(vec![event(tenant(n), "u", "api", "1", kit.now())], kit.now());
        let mut read = store.subscription(id);
        let mut prune = store.prune_audit(id, kit.now());
        if n % 2 == 0 {
            // A store that is ready at once answers here; one that is not has begun.
            let _ = future.as_mut().poll(&mut context);
            let _ = usage.as_mut().poll(&mut context);
            let _ = read.as_mut().poll(&mut context);
            let _ = prune.as_mut().poll(&mut context);
        }
        drop((future, usage, read, prune));
        dropped.push((n, id, decision, job));
    }

    // This one comes after all of them.
    let last = kit.subscribe(tenant(100), &plan);
    assert_eq!(last.version, 1);
    let jobs = wait(store.jobs(None, 100)).expect("jobs");
    for (n, id, decision, job) in dropped {
        let found = wait(store.subscription(id)).expect("reads");
        let there = found.is_some();
        assert!(found.is_none_or(|found| found == decision.next));
        let record = wait(store.command(tenant(n), &key("create"))).expect("reads");
        assert_eq!(record.is_some(), there, "{n}");
        let invoices = wait(store.invoices_of(id, 0, 10)).expect("reads");
        assert_eq!(
            invoices,
            if there {
                Vec::from_iter(decision.opened)
            } else {
                vec![]
            },
            "{n}"
        );
        let entries = wait(store.audit_entries(id, 0, 10)).expect("reads");
        assert_eq!(entries, if there { decision.audit } else { vec![] }, "{n}");
        assert_eq!(jobs.contains(&job), there, "{n}");
        let again = kit.use_up(vec![event(tenant(n), "u", "api", "1", kit.now())]);
        assert_eq!(again.len(), 1);
        let query = billing_core::usage::UsageQuery {
            tenant_id: tenant(n),
            subscription_id: id,
            plan: &plan,
            origin: kit.now(),
            from: kit.now(),
            until: kit.now() + chrono::TimeDelta::days(1),
            term: None,
            watermark: 0,
            up_to: None,
        };
        let usage = wait(store.usage(&[query])).expect("usage");
        assert_eq!(
            usage[0].meters[&meter("api")][&Default::default()].events,
            1,
            "{n}: recorded once, by the first or by the second"
        );
    }
    kit.run(last.id, &cancel_now());
}
