//! Why a commit is refused, in which order, and that nothing of it stays.

use billing_core::audit::AuditEntry;
use billing_core::calendar::Period;
use billing_core::id::InvoiceId;
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceStatus};
use billing_core::outbox::Job;
use billing_core::ports::{CommandRecord, Commit, CommitRefusal, Store};
use billing_core::subscription::{
    Command, Create, Effect, InvoiceClosed, Status, Subscription, TrialGrant, When,
};
use chrono::{DateTime, Utc};

use crate::kit::{
    Kit, at, cancel_now, family, key, plan, product, request, start, tenant, usd, wait, with_trial,
};

/// All that a commit could leave.
#[derive(Debug, PartialEq)]
struct Traces {
    subscription: Option<Subscription>,
    of_tenant: Vec<Subscription>,
    due: Vec<Subscription>,
    invoices: Vec<Option<Invoice>>,
    numbers: Vec<Invoice>,
    entries: Vec<AuditEntry>,
    jobs: Vec<Job>,
    command: Option<CommandRecord>,
    trial_used: bool,
}

impl Traces {
    fn of(store: &dyn Store, commit: &Commit) -> Self {
        let next = &commit.decision.next;
        let closed = commit.decision.closed.iter().map(|closed| closed.invoice_id);
        let opened = commit.decision.opened.iter().map(|opened| opened.id);
        Self {
            subscription: wait(store.subscription(next.id)).expect("reads"),
            of_tenant: wait(store.subscriptions_of(next.tenant_id)).expect("reads"),
            due: wait(store.due(DateTime::<Utc>::MAX_UTC, None, 1_000)).expect("reads"),
            invoices: closed
                .chain(opened)
                .map(|id| wait(store.invoice(id)).expect("reads"))
                .collect(),
            numbers: wait(store.invoices_of(next.id, 0, 1_000)).expect("reads"),
            entries: wait(store.audit_entries(next.id, 0, 1_000)).expect("reads"),
            jobs: wait(store.jobs(None, 1_000)).expect("reads"),
            command: commit
                .command
                .as_ref()
                .and_then(|command| wait(store.command(command.tenant_id, &command.key)).expect("reads")),
            trial_used: commit
                .decision
                .trial
                .as_ref()
                .is_some_and(|trial| wait(store.trial_used(trial.tenant_id, &trial.family)).expect("reads")),
        }
    }
}

/// Commits `commit` as it is, and with a command and a job more: it is refused as `expected`.
#[track_caller]
fn check_refused(kit: &Kit<'_>, commit: &Commit, expected: &CommitRefusal) {
    check_no_trace(kit, commit, expected);
    let mut full = commit.clone();
    let next = &full.decision.next;
    let fresh = || kit.record(next.tenant_id, &format!("refused-{}", kit.ids.next()), "{}");
    full.command = Some(full.command.unwrap_or_else(fresh));
    let invoice_id = InvoiceId::new(kit.ids.next());
    full.jobs.push(kit.job(
        next.id,
        Effect::VerifyPayment {
            invoice_id,
            attempt: 1,
        },
    ));
    check_no_trace(kit, &full, expected);
}

/// Commits `commit`, alone and between two others: it is refused as `expected`, leaves no trace, and they stand.
#[track_caller]
fn check_no_trace(kit: &Kit<'_>, commit: &Commit, expected: &CommitRefusal) {
    let before = Traces::of(kit.store, commit);
    assert_eq!(kit.commit(commit.clone()), Err(expected.clone()));
    assert_eq!(Traces::of(kit.store, commit), before);

    let other = plan(999, "bystander");
    kit.put_plans(&[&other]);
    let bystander = || {
        let request = request(kit.new_id(), tenant(kit.ids.next().as_u128()));
        kit.commit_of(kit.decide_create(&request, &other).expect("a creation"))
    };
    let (left, right) = (bystander(), bystander());
    let answers = kit.commit_all(vec![left.clone(), commit.clone(), right.clone()]);
    assert_eq!(answers, [Ok(()), Err(expected.clone()), Ok(())]);
    for stands in [left, right] {
        assert_eq!(kit.read(stands.decision.next.id), stands.decision.next);
        // Cleared away, so that the traces below are those of the refused commit alone.
        let id = stands.decision.next.id;
        let entries = wait(kit.store.audit_entries(id, 0, 10)).expect("reads");
        assert_eq!(entries, stands.decision.audit);
    }
    let after = Traces::of(kit.store, commit);
    let no_bystanders = |traces: Traces| Traces {
        due: vec![],
        jobs: traces
            .jobs
            .into_iter()
            .filter(|job| commit.jobs.contains(job))
            .collect(),
        ..traces
    };
    assert_eq!(no_bystanders(after), no_bystanders(before));
}

/// An invoice of `current` over one period that begins at `start`.
fn invoice(
    kit: &Kit<'_>,
    current: &Subscription,
    number: u32,
    kind: InvoiceKind,
    start: DateTime<Utc>,
) -> Invoice {
    Invoice {
        id: InvoiceId::new(kit.ids.next()),
        tenant_id: current.tenant_id,
        subscription_id: current.id,
        number,
        kind,
        period: Period::new(start, start + chrono::TimeDelta::days(30)).expect("a period"),
        opened_at: kit.now(),
        due_at: None,
        serial: None,
        taxes: vec![],
        lines: vec![],
        total: usd(0),
        state: InvoiceStatus::Open,
    }
}

/// One commit to which all refusals apply, then without the first, and so on, then none: the documented order.
pub fn refusals_come_in_their_order(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = with_trial(plan(1, "basic"), "once");
    kit.put_plans(&[&plan]);
    // One that has ended, with invoice number 1, a trial that was used, and another that lives.
    let ended = {
        let created = kit.create(&request(kit.new_id(), tenant(1)), &plan);
        kit.run(created.id, &cancel_now())
    };
    let live = kit.subscribe(tenant(1), &plan);
    assert_eq!(
        (ended.status(), live.status()),
        (Status::Canceled, Status::Active)
    );
    let known = Commit {
        command: Some(kit.record(tenant(1), "k", "{}")),
        ..kit.bare(&live)
    };
    kit.commit(known).expect("a commit");
    let mut numbered = kit.bare(&ended);
    numbered.decision.opened = Some(invoice(&kit, &ended, 1, InvoiceKind::Closing, start()));
    kit.commit(numbered).expect("a commit");
    let ended = kit.read(ended.id);

    let missing = InvoiceId::new(kit.ids.next());
    let mut commit = kit.bare(&ended);
    commit.command = Some(kit.record(tenant(1), "k", "{\"again\":1}"));
    commit.expected_version = 40;
    commit.decision.next.state.clone_from(&live.state);
    commit.decision.trial = Some(TrialGrant {
        tenant_id: tenant(1),
        family: family("once"),
        granted_at: kit.now(),
    });
    commit.decision.opened = Some(invoice(&kit, &ended, 1, InvoiceKind::Closing, start()));
    commit.decision.closed = vec![InvoiceClosed {
        invoice_id: missing,
        state: InvoiceStatus::Void { voided_at: kit.now() },
    }];

    check_refused(&kit, &commit, &CommitRefusal::CommandExists { key: key("k") });
    commit.command = None;
    let conflict = CommitRefusal::VersionConflict {
        id: ended.id,
        expected: 40,
        found: ended.version,
    };
    check_refused(&kit, &commit, &conflict);
    commit.expected_version = ended.version;
    let live_exists = CommitRefusal::LiveExists {
        tenant_id: tenant(1),
        product: product("main"),
    };
    check_refused(&kit, &commit, &live_exists);
    commit.decision.next.state.clone_from(&ended.state);
    let trial_exists = CommitRefusal::TrialExists {
        tenant_id: tenant(1),
        family: family("once"),
    };
    check_refused(&kit, &commit, &trial_exists);
    commit.decision.trial = None;
    let exists = CommitRefusal::InvoiceExists {
        subscription_id: ended.id,
        number: 1,
    };
    check_refused(&kit, &commit, &exists);
    commit.decision.opened = Some(invoice(&kit, &ended, 2, InvoiceKind::Closing, start()));
    check_refused(
        &kit,
        &commit,
        &CommitRefusal::InvoiceNotOpen { invoice_id: missing },
    );
    commit.decision.closed = vec![];
    assert_eq!(kit.commit(commit.clone()), Ok(()));
    assert_eq!(kit.read(ended.id), commit.decision.next);
}

/// The key of a command is taken once per tenant.
pub fn a_command_is_carried_out_once(store: &dyn Store) {
    let kit = Kit::new(store);
    let (main, side) = (
        plan(1, "basic"),
        billing_core::plan::Plan {
            product: product("side"),
            ..plan(2, "side")
        },
    );
    kit.put_plans(&[&main, &side]);
    let keyed = |tenant_n: u128, plan| {
        let decision = kit
            .decide_create(&request(kit.new_id(), tenant(tenant_n)), plan)
            .expect("a creation");
        Commit {
            command: Some(kit.record(tenant(tenant_n), "k", "{}")),
            ..kit.commit_of(decision)
        }
    };
    // Both in one batch: the second is refused.
    let answers = kit.commit_all(vec![keyed(1, &main), keyed(1, &side), keyed(2, &main)]);
    let exists = CommitRefusal::CommandExists { key: key("k") };
    assert_eq!(answers, [Ok(()), Err(exists.clone()), Ok(())]);
    check_refused(&kit, &keyed(1, &side), &exists);
}

/// Of two decisions from one version the first stands.
pub fn a_version_is_decided_once(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let off = kit
        .decide(&one, &Command::SetAutoRenew { auto_renew: false })
        .expect("a decision");
    let stop = kit
        .decide(
            &one,
            &Command::Suspend {
                reason: "fraud".into(),
            },
        )
        .expect("a decision");
    kit.commit(kit.commit_of(off.clone())).expect("a commit");
    let conflict = CommitRefusal::VersionConflict {
        id: one.id,
        expected: 1,
        found: 2,
    };
    check_refused(&kit, &kit.commit_of(stop), &conflict);
    assert_eq!(kit.read(one.id), off.next);

    // A creation expects nothing to be there.
    let again = Create {
        id: one.id,
        ..request(one.id, tenant(3))
    };
    let created = kit.decide_create(&again, &plan).expect("a creation");
    let conflict = CommitRefusal::VersionConflict {
        id: one.id,
        expected: 0,
        found: 2,
    };
    check_refused(&kit, &kit.commit_of(created), &conflict);

    let mut far = kit.bare(&kit.read(one.id));
    far.expected_version = i64::MAX.unsigned_abs();
    let conflict = CommitRefusal::VersionConflict {
        id: one.id,
        expected: i64::MAX.unsigned_abs(),
        found: 2,
    };
    check_refused(&kit, &far, &conflict);

    // And a step expects something.
    let unknown = Subscription {
        id: kit.new_id(),
        tenant_id: tenant(4),
        version: 3,
        ..one
    };
    let conflict = CommitRefusal::VersionConflict {
        id: unknown.id,
        expected: 3,
        found: 0,
    };
    check_refused(&kit, &kit.bare(&unknown), &conflict);
}

/// In whatever live state it is; other tenants and other products are not concerned.
pub fn a_product_has_one_live_subscription_per_tenant(store: &dyn Store) {
    let kit = Kit::new(store);
    let main = plan(1, "basic");
    let other = billing_core::plan::Plan {
        product: product("other"),
        ..plan(2, "other")
    };
    kit.put_plans(&[&main, &other]);
    let one = kit.subscribe(tenant(1), &main);
    kit.subscribe(tenant(1), &other);
    kit.subscribe(tenant(2), &main);
    let blind = || {
        let request = Create {
            payment_method: kit.method(),
            ..request(kit.new_id(), tenant(1))
        };
        kit.commit_of(
            kit.decide_create_as_if(&request, &main, None, false)
                .expect("a creation"),
        )
    };
    let exists = CommitRefusal::LiveExists {
        tenant_id: tenant(1),
        product: product("main"),
    };
    check_refused(&kit, &blind(), &exists);
    let suspended = kit.run(
        one.id,
        &Command::Suspend {
            reason: "fraud".into(),
        },
    );
    assert_eq!(suspended.status(), Status::Suspended);
    check_refused(&kit, &blind(), &exists);
    kit.run(one.id, &cancel_now());
    assert_eq!(
        wait(store.live_subscription(tenant(1), &product("main"))),
        Ok(None)
    );
    // Now there is room for one; of two in a batch for the first.
    let (first, second) = (blind(), blind());
    let id = first.decision.next.id;
    assert_eq!(kit.commit_all(vec![first, second]), [Ok(()), Err(exists)]);
    let live = wait(store.live_subscription(tenant(1), &product("main"))).expect("reads");
    assert_eq!(live.map(|live| live.id), Some(id));
    // Itself is not another.
    kit.run(id, &Command::SetAutoRenew { auto_renew: false });
}

/// Also after the subscription that had it has ended.
pub fn a_trial_is_granted_once_per_tenant_and_family(store: &dyn Store) {
    let kit = Kit::new(store);
    let (first, second) = (
        with_trial(plan(1, "first"), "family"),
        with_trial(plan(2, "second"), "family"),
    );
    let stranger = with_trial(plan(3, "stranger"), "Family");
    kit.put_plans(&[&first, &second, &stranger]);
    let grant = |n, plan| {
        let request = request(kit.new_id(), tenant(n));
        kit.commit_of(
            kit.decide_create_as_if(&request, plan, None, false)
                .expect("a creation"),
        )
    };
    let one = grant(1, &first);
    let id = one.decision.next.id;
    kit.commit(one).expect("a commit");
    kit.run(id, &cancel_now());
    let exists = CommitRefusal::TrialExists {
        tenant_id: tenant(1),
        family: family("family"),
    };
    check_refused(&kit, &grant(1, &second), &exists);
    let other = grant(1, &stranger);
    let other_id = other.decision.next.id;
    assert_eq!(
        kit.commit_all(vec![other, grant(2, &second)]),
        [Ok(()), Ok(())],
        "codes are case-sensitive"
    );
    kit.run(other_id, &cancel_now());
    check_refused(&kit, &grant(1, &first), &exists);
}

/// Whatever the two invoices are for; another subscription counts for itself.
pub fn an_invoice_number_is_given_once(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let (one, two) = (kit.subscribe(tenant(1), &plan), kit.subscribe(tenant(2), &plan));
    let (later, kinds) = (
        at("2025-01-01T00:00:00Z"),
        [
            InvoiceKind::First,
            InvoiceKind::Renewal,
            InvoiceKind::Restart,
            InvoiceKind::PlanChange,
            InvoiceKind::QuantityChange,
            InvoiceKind::AddOnChange,
            InvoiceKind::Closing,
        ],
    );
    for kind in kinds {
        let mut commit = kit.bare(&one);
        commit.decision.opened = Some(invoice(&kit, &one, 1, kind, later));
        let exists = CommitRefusal::InvoiceExists {
            subscription_id: one.id,
            number: 1,
        };
        check_refused(&kit, &commit, &exists);
    }
    for current in [one, two] {
        let mut commit = kit.bare(&current);
        commit.decision.opened = Some(invoice(&kit, &current, 2, InvoiceKind::Renewal, later));
        assert_eq!(kit.commit(commit), Ok(()));
    }
}

/// By a first invoice or a renewal, also when the one that is there is closed.
pub fn a_period_is_bought_once(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let bought = wait(store.invoices_of(one.id, 0, 1)).expect("reads").remove(0);
    assert_eq!((bought.kind, bought.period.start), (InvoiceKind::First, start()));
    let open = |kind, number, from| {
        let current = kit.read(one.id);
        let mut commit = kit.bare(&current);
        commit.decision.opened = Some(invoice(&kit, &current, number, kind, from));
        commit
    };
    let exists = |number| CommitRefusal::InvoiceExists {
        subscription_id: one.id,
        number,
    };
    check_refused(&kit, &open(InvoiceKind::First, 2, start()), &exists(2));
    check_refused(&kit, &open(InvoiceKind::Renewal, 2, start()), &exists(2));
    kit.pay(one.id);
    check_refused(&kit, &open(InvoiceKind::Renewal, 2, start()), &exists(2));
    // What buys no period may begin when one does.
    assert_eq!(kit.commit(open(InvoiceKind::PlanChange, 2, start())), Ok(()));
    assert_eq!(kit.commit(open(InvoiceKind::QuantityChange, 3, start())), Ok(()));
    assert_eq!(kit.commit(open(InvoiceKind::Closing, 4, start())), Ok(()));
    // One microsecond later is another period.
    let later = start() + chrono::TimeDelta::microseconds(1);
    assert_eq!(kit.commit(open(InvoiceKind::Renewal, 5, later)), Ok(()));
    check_refused(&kit, &open(InvoiceKind::First, 6, later), &exists(6));
    // Another subscription buys its own.
    kit.subscribe(tenant(2), &plan);
}

/// What was voided bought nothing, also when it is voided by the very commit that opens another for its period.
pub fn a_voided_invoice_gives_its_period_free(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    let first = one.state.collection().expect("an open invoice").invoice_id;
    let swap = |invoice_id, number, state: InvoiceStatus| {
        let current = kit.read(one.id);
        let mut commit = kit.bare(&current);
        commit.decision.closed = vec![InvoiceClosed { invoice_id, state }];
        commit.decision.opened = Some(invoice(&kit, &current, number, InvoiceKind::Renewal, start()));
        commit
    };
    let now = kit.now();
    let void = InvoiceStatus::Void { voided_at: now };
    let given_up = InvoiceStatus::Uncollectible { given_up_at: now };
    let exists = |number| CommitRefusal::InvoiceExists {
        subscription_id: one.id,
        number,
    };
    check_refused(&kit, &swap(first, 2, given_up), &exists(2));
    check_refused(&kit, &swap(first, 1, void.clone()), &exists(1));
    let second = swap(first, 2, void.clone());
    let second_id = second.decision.opened.as_ref().expect("an invoice").id;
    assert_eq!(kit.commit(second), Ok(()));
    // Now the second has the period.
    let not_open = CommitRefusal::InvoiceNotOpen { invoice_id: first };
    check_refused(&kit, &swap(first, 3, void.clone()), &exists(3));
    let mut both = swap(first, 3, void.clone());
    both.decision.closed.push(InvoiceClosed {
        invoice_id: second_id,
        state: void.clone(),
    });
    check_refused(&kit, &both, &not_open);
    let mut withdrawn = kit.bare(&kit.read(one.id));
    withdrawn.decision.closed = vec![InvoiceClosed {
        invoice_id: second_id,
        state: void,
    }];
    assert_eq!(kit.commit(withdrawn), Ok(()));
    let mut third = kit.bare(&kit.read(one.id));
    third.decision.opened = Some(invoice(&kit, &one, 3, InvoiceKind::First, start()));
    assert_eq!(kit.commit(third), Ok(()));
}

/// At a clock that stands still a subscription can be suspended and put back twice: each begins a period then.
pub fn periods_may_restart_at_one_instant(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let one = kit.subscribe(tenant(1), &plan);
    kit.pay(one.id);
    let pause = Command::Pause {
        when: When::Now,
        resume_at: None,
        unused: billing_core::subscription::UnusedOnPause::Credit,
    };
    kit.pass_days(3);
    for _ in 0..3 {
        let paused = kit.run(one.id, &pause);
        assert_eq!(paused.status(), Status::Suspended);
        let resumed = kit.run(one.id, &Command::Resume);
        assert_eq!(resumed.status(), Status::Active);
        if resumed.state.collection().is_some() {
            kit.pay(one.id);
        }
    }
    let restarts = wait(store.invoices_of(one.id, 0, 100)).expect("reads");
    let restarts = restarts
        .iter()
        .filter(|invoice| invoice.kind == InvoiceKind::Restart);
    assert!(
        restarts.clone().count() == 3 && restarts.clone().all(|invoice| invoice.period.start == kit.now())
    );
    // Nor does a restart stand in the way of a renewal that begins with it, or the other way round.
    let current = kit.read(one.id);
    for (n, kind) in [(1, InvoiceKind::Renewal), (2, InvoiceKind::Restart)] {
        let current = kit.read(current.id);
        let mut commit = kit.bare(&current);
        commit.decision.opened = Some(invoice(&kit, &current, current.invoices + n, kind, kit.now()));
        assert_eq!(kit.commit(commit), Ok(()));
    }
}

/// An open invoice is closed once; one that was given up may still be paid.
pub fn an_invoice_is_closed_once(store: &dyn Store) {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let now = kit.now();
    let paid = InvoiceStatus::Paid {
        paid_at: now,
        reference: Some("r".into()),
        covers: None,
    };
    let void = InvoiceStatus::Void { voided_at: now };
    let given_up = InvoiceStatus::Uncollectible { given_up_at: now };
    let all = [paid.clone(), void.clone(), given_up.clone()];
    for (n, first) in (1..).zip(&all) {
        let one = kit.subscribe(tenant(n), &plan);
        let invoice_id = one.state.collection().expect("an open invoice").invoice_id;
        let close = |state: &InvoiceStatus| {
            let mut commit = kit.bare(&kit.read(one.id));
            commit.decision.closed = vec![InvoiceClosed {
                invoice_id,
                state: state.clone(),
            }];
            commit
        };
        assert_eq!(kit.commit(close(first)), Ok(()));
        let state = || {
            wait(store.invoice(invoice_id))
                .expect("reads")
                .expect("there")
                .state
        };
        assert_eq!(state(), *first);
        let not_open = CommitRefusal::InvoiceNotOpen { invoice_id };
        for second in &all {
            if (first, second) == (&given_up, &paid) {
                continue;
            }
            check_refused(&kit, &close(second), &not_open);
        }
        if *first == given_up {
            assert_eq!(kit.commit(close(&paid)), Ok(()));
            assert_eq!(state(), paid);
            check_refused(&kit, &close(&paid), &not_open);
        }
    }
    // The second that is to be closed is not there: the first stays open.
    let one = kit.subscribe(tenant(9), &plan);
    let invoice_id = one.state.collection().expect("an open invoice").invoice_id;
    let missing = InvoiceId::new(kit.ids.next());
    let mut commit = kit.bare(&one);
    commit.decision.closed = [invoice_id, missing]
        .map(|invoice_id| InvoiceClosed {
            invoice_id,
            state: void.clone(),
        })
        .into();
    check_refused(
        &kit,
        &commit,
        &CommitRefusal::InvoiceNotOpen { invoice_id: missing },
    );
}
