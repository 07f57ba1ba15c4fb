//! Jobs are taken, performed and finished: each by one worker at a time, and none forgotten.

use billing_core::id::JobId;
use billing_core::outbox::{JobResult, JobState, LeasedJob};
use billing_core::ports::Store;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::kit::{Kit, plan, tenant, wait};

/// A store with so many jobs, and the instant at which the first may be taken.
fn with_jobs(store: &dyn Store, jobs: u128) -> DateTime<Utc> {
    let kit = Kit::new(store);
    let plan = plan(1, "basic");
    kit.put_plans(&[&plan]);
    let begin = kit.now();
    for n in 1..=jobs {
        kit.set_now(begin + TimeDelta::seconds(i64::try_from(n).expect("few")));
        kit.subscribe(tenant(n), &plan);
    }
    begin + TimeDelta::seconds(1)
}

fn lease(store: &dyn Store, now: DateTime<Utc>, limit: usize) -> Vec<LeasedJob> {
    wait(store.lease_jobs(now, now + TimeDelta::minutes(1), limit)).expect("jobs")
}

fn finish(store: &dyn Store, leased: &LeasedJob, result: JobResult, now: DateTime<Utc>) -> bool {
    wait(store.finish_job(leased.job.id, leased.lease, result, now)).expect("an answer")
}

fn done() -> JobResult {
    JobResult::Done { note: "paid".into() }
}

/// The longest waiting first, none before its time, and none twice.
pub fn a_job_is_taken_by_one_worker_at_a_time(store: &dyn Store) {
    let first = with_jobs(store, 3);
    let all = wait(store.jobs(None, 10)).expect("jobs");
    assert_eq!(lease(store, first - TimeDelta::microseconds(1), 10), []);
    let taken = lease(store, first + TimeDelta::seconds(1), 10);
    let taken: Vec<_> = taken.iter().map(|leased| (leased.job.id, leased.lease)).collect();
    assert_eq!(taken, [(all[0].id, 1), (all[1].id, 1)]);
    let rest = lease(store, first + TimeDelta::seconds(2), 10);
    assert_eq!(rest.len(), 1, "what is held is not taken");
    assert_eq!(rest[0].job, all[2]);
    assert_eq!(lease(store, first, 0), []);
}

/// What a worker that was stopped held comes back by itself; one that was only slow has lost it.
pub fn a_lease_that_is_over_is_lost(store: &dyn Store) {
    let now = with_jobs(store, 1);
    let slow = lease(store, now, 1).remove(0);
    let over = now + TimeDelta::minutes(1);
    assert_eq!(lease(store, over - TimeDelta::microseconds(1), 1), []);
    let other = lease(store, over, 1).remove(0);
    assert_eq!((other.job.id, other.lease), (slow.job.id, 2));
    assert!(!finish(store, &slow, done(), over));
    let until = over + TimeDelta::hours(1);
    assert_eq!(
        wait(store.extend_lease(slow.job.id, slow.lease, until)),
        Ok(false)
    );
    assert!(finish(store, &other, done(), over));
    assert!(!finish(store, &other, done(), over), "finished once");
    assert_eq!(
        wait(store.extend_lease(other.job.id, other.lease, until)),
        Ok(false)
    );
}

/// A worker that takes longer says so in time.
pub fn a_lease_is_extended(store: &dyn Store) {
    let now = with_jobs(store, 1);
    let held = lease(store, now, 1).remove(0);
    let until = now + TimeDelta::hours(1);
    assert_eq!(wait(store.extend_lease(held.job.id, held.lease, until)), Ok(true));
    assert_eq!(lease(store, until - TimeDelta::microseconds(1), 1), []);
    assert_eq!(lease(store, until, 1).len(), 1);
}

/// Done is done; what is tried again waits for its time; what is parked waits for a person.
pub fn a_job_is_finished_in_one_of_three_ways(store: &dyn Store) {
    let first = with_jobs(store, 3);
    let now = first + TimeDelta::minutes(5);
    let [one, two, three] = <[_; 3]>::try_from(lease(store, now, 3)).expect("three jobs");
    let later = now + TimeDelta::hours(1);
    assert!(finish(store, &one, done(), now));
    let again = JobResult::Again {
        at: later,
        because: "no answer".into(),
    };
    assert!(finish(store, &two, again, now));
    let parked = JobResult::Parked {
        because: "whose is it – ✓".into(),
    };
    assert!(finish(store, &three, parked, now));

    let status = |leased: &LeasedJob| {
        let status = wait(store.job(leased.job.id)).expect("an answer").expect("a job");
        assert_eq!((&status.job, status.leases), (&leased.job, leased.lease));
        (status.state, status.note)
    };
    assert_eq!(status(&one), (JobState::Done { done_at: now }, "paid".into()));
    assert_eq!(
        status(&two),
        (JobState::Waiting { until: later }, "no answer".into())
    );
    assert_eq!(
        status(&three),
        (JobState::Parked { parked_at: now }, "whose is it – ✓".into())
    );
    assert_eq!(wait(store.job(JobId::new(Uuid::from_u128(1)))), Ok(None));

    assert_eq!(lease(store, later - TimeDelta::microseconds(1), 10), []);
    let taken = lease(store, later, 10);
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].job.id, taken[0].lease), (two.job.id, 2));
    assert_eq!(
        wait(store.jobs(None, 10)).expect("jobs").len(),
        3,
        "all are listed"
    );
}

/// They come in the order of their commits, in pages, and are let go by a person.
pub fn parked_jobs_are_listed_and_let_go(store: &dyn Store) {
    let first = with_jobs(store, 3);
    let now = first + TimeDelta::minutes(5);
    let leased = lease(store, now, 3);
    for leased in &leased {
        let parked = JobResult::Parked {
            because: "look".into(),
        };
        assert!(finish(store, leased, parked, now));
    }
    let page = |after, limit| {
        let page = wait(store.parked_jobs(after, limit)).expect("jobs");
        page.into_iter().map(|status| status.job.id).collect::<Vec<_>>()
    };
    let ids: Vec<_> = leased.iter().map(|leased| leased.job.id).collect();
    assert_eq!(page(None, 2), ids[..2]);
    assert_eq!(page(Some(ids[1]), 2), ids[2..]);
    assert_eq!(wait(store.unpark_job(ids[1], now)), Ok(true));
    assert_eq!(wait(store.unpark_job(ids[1], now)), Ok(false));
    assert_eq!(page(None, 10), [ids[0], ids[2]]);
    let taken = lease(store, now, 10);
    assert_eq!((taken.len(), taken[0].job.id, taken[0].lease), (1, ids[1], 2));
}

/// What was performed long ago goes, and nothing else.
pub fn jobs_that_were_performed_are_removed(store: &dyn Store) {
    let first = with_jobs(store, 3);
    let now = first + TimeDelta::minutes(5);
    let [one, two, _held] = <[_; 3]>::try_from(lease(store, now, 3)).expect("three jobs");
    assert!(finish(store, &one, done(), now));
    let parked = JobResult::Parked {
        because: "look".into(),
    };
    assert!(finish(store, &two, parked, now));
    assert_eq!(
        wait(store.prune_jobs(now)),
        Ok(0),
        "what was performed at that instant stays"
    );
    assert_eq!(wait(store.prune_jobs(now + TimeDelta::days(1))), Ok(1));
    assert_eq!(wait(store.job(one.job.id)), Ok(None));
    assert_eq!(wait(store.jobs(None, 10)).expect("jobs").len(), 2);
}
