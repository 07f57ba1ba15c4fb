//! The audit trail: pages, chains, clean-up.

use std::net::IpAddr;

use billing_core::audit::{Actor, AuditEntry, ChainHead, verify};
use billing_core::id::{ActorName, SubscriptionId};
use billing_core::ports::Store;
use billing_core::subscription::{self, Command, Context, Facts, Subscription};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::kit::{Kit, plan, request, start, tenant, wait};

fn entries(store: &dyn Store, id: SubscriptionId) -> Vec<AuditEntry> {
    wait(store.audit_entries(id, 0, 1_000)).expect("entries")
}

fn checkpoint(store: &dyn Store, id: SubscriptionId) -> ChainHead {
    wait(store.audit_checkpoint(id)).expect("a checkpoint")
}

fn prune(store: &dyn Store, id: SubscriptionId, before: DateTime<Utc>) -> u64 {
    wait(store.prune_audit(id, before)).expect("a clean-up")
}

/// A subscription with one entry a day, 1 to `days`, the first at [`start`].
fn chain(kit: &Kit<'_>, n: u128, days: i64) -> Subscription {
    kit.set_now(start());
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let mut one = kit.create(&request(kit.new_id(), tenant(n)), &plan);
    for day in 1..days {
        kit.set_now(start() + TimeDelta::days(day));
        one = kit.run(
            one.id,
            &Command::SetAutoRenew {
                auto_renew: day % 2 == 0,
            },
        );
    }
    one
}

fn day(n: i64) -> DateTime<Utc> {
    start() + TimeDelta::days(n - 1)
}

#[track_caller]
fn check_sound(store: &dyn Store, one: &Subscription) {
    let sound = verify(
        one.id,
        checkpoint(store, one.id),
        &entries(store, one.id),
        one.audit,
    );
    assert_eq!(sound, Ok(()));
}

/// After a sequence, at most so many; two chains do not mix.
pub fn entries_come_by_sequence_in_pages_and_verify(store: &dyn Store) {
    let kit = Kit::new(store);
    let (one, two) = (chain(&kit, 1, 12), chain(&kit, 2, 3));
    let sequences = |after, limit| -> Vec<u64> {
        let page = wait(store.audit_entries(one.id, after, limit)).expect("entries");
        assert!(page.iter().all(|entry| entry.subscription_id == one.id));
        page.iter().map(|entry| entry.sequence).collect()
    };
    assert_eq!(sequences(0, 100), Vec::from_iter(1..=12));
    assert_eq!(sequences(0, usize::MAX), Vec::from_iter(1..=12));
    assert_eq!(sequences(0, 5), [1, 2, 3, 4, 5]);
    assert_eq!(sequences(10, 5), [11, 12]);
    assert_eq!(sequences(12, 5), Vec::<u64>::new());
    assert_eq!(sequences(u64::MAX, 5), Vec::<u64>::new());
    assert_eq!(sequences(4, 0), Vec::<u64>::new());
    check_sound(store, &one);
    check_sound(store, &two);
}

/// Again and again, and the chain goes on behind it.
pub fn a_clean_up_leaves_a_checkpoint_that_the_rest_verifies_against(store: &dyn Store) {
    let kit = Kit::new(store);
    let (one, two) = (chain(&kit, 1, 10), chain(&kit, 2, 10));
    let all = entries(store, one.id);
    let head = |entry: &AuditEntry| ChainHead {
        sequence: entry.sequence,
        hash: entry.hash,
    };
    assert_eq!(prune(store, one.id, DateTime::<Utc>::MIN_UTC), 0);
    assert_eq!(prune(store, one.id, day(1)), 0, "the first is at the bound");
    assert_eq!(checkpoint(store, one.id), ChainHead::default());

    assert_eq!(prune(store, one.id, day(4)), 3);
    assert_eq!(entries(store, one.id), all[3..]);
    assert_eq!(checkpoint(store, one.id), head(&all[2]));
    check_sound(store, &one);
    assert_eq!(prune(store, one.id, day(4)), 0, "twice changes nothing");
    assert_eq!(prune(store, one.id, day(2)), 0, "nor does less");
    assert_eq!(checkpoint(store, one.id), head(&all[2]));
    assert_eq!(wait(store.audit_entries(one.id, 0, 2)), Ok(all[3..5].to_vec()));
    assert_eq!(wait(store.audit_entries(one.id, 6, 2)), Ok(all[6..8].to_vec()));

    // It goes on.
    kit.set_now(day(11));
    let one = kit.run(one.id, &Command::SetAutoRenew { auto_renew: true });
    check_sound(store, &one);
    assert_eq!(prune(store, one.id, day(7) + TimeDelta::microseconds(1)), 4);
    let left: Vec<_> = entries(store, one.id)
        .iter()
        .map(|entry| entry.sequence)
        .collect();
    assert_eq!(left, [8, 9, 10, 11]);
    assert_eq!(checkpoint(store, one.id), head(&all[6]));
    check_sound(store, &one);

    // Another chain is not concerned, nor is the subscription itself.
    assert_eq!(entries(store, two.id).len(), 10);
    assert_eq!(checkpoint(store, two.id), ChainHead::default());
    check_sound(store, &two);
    assert_eq!(kit.read(one.id), one);
    let unknown = SubscriptionId::new(Uuid::from_u128(9));
    assert_eq!(prune(store, unknown, day(100)), 0);
    assert_eq!(checkpoint(store, unknown), ChainHead::default());
}

/// However old it is: a chain is never empty.
pub fn the_last_entry_stays(store: &dyn Store) {
    let kit = Kit::new(store);
    let (one, single) = (chain(&kit, 1, 5), chain(&kit, 2, 1));
    assert_eq!(prune(store, one.id, day(1_000)), 4);
    assert_eq!(entries(store, one.id).len(), 1);
    assert_eq!(checkpoint(store, one.id).sequence, 4);
    check_sound(store, &one);
    assert_eq!(prune(store, one.id, DateTime::<Utc>::MAX_UTC), 0);
    assert_eq!(checkpoint(store, one.id).sequence, 4);
    assert_eq!(prune(store, single.id, DateTime::<Utc>::MAX_UTC), 0);
    check_sound(store, &single);
    let one = kit.run(one.id, &Command::SetAutoRenew { auto_renew: true });
    assert_eq!(prune(store, one.id, DateTime::<Utc>::MAX_UTC), 1);
    check_sound(store, &one);
}

/// A clock may go back: what is older behind a newer one stays, since a chain has no holes.
pub fn a_clean_up_stops_at_the_first_entry_that_is_not_older(store: &dyn Store) {
    let kit = Kit::new(store);
    let mut one = chain(&kit, 1, 3);
    for n in [1, 2, 9, 1] {
        kit.set_now(day(n));
        one = kit.run(one.id, &Command::SetAutoRenew { auto_renew: true });
    }
    // Days 1 2 3 1 2 9 1.
    assert_eq!(prune(store, one.id, day(3)), 2);
    check_sound(store, &one);
    assert_eq!(prune(store, one.id, day(4)), 3);
    check_sound(store, &one);
    assert_eq!(prune(store, one.id, day(4)), 0);
    let left: Vec<_> = entries(store, one.id)
        .iter()
        .map(|entry| entry.sequence)
        .collect();
    assert_eq!(left, [6, 7]);
    assert_eq!(
        prune(store, one.id, day(10)),
        1,
        "all are older, so all but the last go"
    );
    check_sound(store, &one);
}

/// They are part of the hash.
pub fn every_actor_and_address_is_kept(store: &dyn Store) {
    let kit = Kit::new(store);
    let mut one = chain(&kit, 1, 1);
    let plan = plan(1, "basic");
    let name = || ActorName::new("mailto:Ops+1@example.com").expect("a name");
    let actors = [
        Actor::System,
        Actor::User(name()),
        Actor::Operator(name()),
        Actor::Service(name()),
    ];
    let ips: [Option<IpAddr>; 4] = [
        None,
        Some("203.0.113.9".parse().expect("an address")),
        Some("2001:db8::1".parse().expect("an address")),
        Some("::ffff:203.0.113.9".parse().expect("an address")),
    ];
    for actor in &actors {
        for ip in ips {
            let context = Context {
                ip,
                ..kit.context(actor)
            };
            let command = Command::SetAutoRenew {
                auto_renew: ip.is_none(),
            };
            let decision =
                subscription::decide(&one, &command, &Facts::of(&plan), &context).expect("a decision");
            let expected = decision.audit.clone();
            assert_eq!((&expected[0].actor, expected[0].ip), (actor, ip));
            kit.commit(kit.commit_of(decision)).expect("a commit");
            assert_eq!(
                wait(store.audit_entries(one.id, one.audit.sequence, 10)),
                Ok(expected)
            );
            one = kit.read(one.id);
        }
    }
    check_sound(store, &one);
}
