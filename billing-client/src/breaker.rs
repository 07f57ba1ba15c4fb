//! Core's breaker, shared by all calls to a service.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing_core::ports::Clock;
use billing_core::resilience::{Breaker, BreakerPolicy, BreakerSnapshot, Permit, Transition};

use crate::fault::Fault;

/// A breaker has opened or closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BreakerNews {
    /// Of which service.
    pub service: &'static str,
    /// What it changed into.
    pub transition: Transition,
    /// How it stands.
    pub snapshot: BreakerSnapshot,
}

/// Told of what a breaker does, while the call that made it do so waits: pass it on, and come back.
pub type BreakerListener = Arc<dyn Fn(BreakerNews) + Send + Sync>;

pub(crate) struct SharedBreaker {
    service: &'static str,
    breaker: Mutex<Breaker>,
    clock: Arc<dyn Clock>,
    listener: Option<BreakerListener>,
}

impl fmt::Debug for SharedBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

impl SharedBreaker {
    pub(crate) fn new(
        service: &'static str,
        policy: BreakerPolicy,
        clock: Arc<dyn Clock>,
        listener: Option<BreakerListener>,
    ) -> Self {
        Self {
            service,
            breaker: Mutex::new(Breaker::new(policy)),
            clock,
            listener,
        }
    }

    /// The state is whole after each of its steps, so one that panicked in between has broken nothing.
    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> BreakerSnapshot {
        self.lock().snapshot(self.clock.now())
    }

    /// Lets a call pass, or not.
    pub(crate) fn enter(&self) -> Result<Passage<'_>, Fault> {
        let now = self.clock.now();
        match self.lock().try_acquire(now) {
            Ok(permit) => Ok(Passage {
                shared: self,
                permit: Some(permit),
            }),
            Err(refusal) => Err(Fault::BreakerOpen {
                until: refusal.until(),
            }),
        }
    }

    fn leave(&self, permit: Permit, fault: Option<&Fault>) {
        let now = self.clock.now();
        let mut breaker = self.lock();
        let transition = match fault {
            Some(fault) if fault.is_failure() => breaker.fail(permit, fault.code(), now),
            Some(_) | None => breaker.succeed(permit, now),
        };
        let Some(transition) = transition else { return };
        let snapshot = breaker.snapshot(now);
        drop(breaker);
        let (service, code) = (self.service, snapshot.last_error.map(|error| error.code));
        match transition {
            Transition::Opened { until } => tracing::warn!(service, code, %until, "breaker opened"),
            Transition::Closed => tracing::info!(service, "breaker closed"),
        }
        if let Some(listener) = &self.listener {
            listener(BreakerNews {
                service,
                transition,
                snapshot,
            });
        }
    }
}

/// A call that was let pass. Dropped without an outcome, as when its task is canceled, it says nothing of the service.
pub(crate) struct Passage<'a> {
    shared: &'a SharedBreaker,
    permit: Option<Permit>,
}

impl Passage<'_> {
    pub(crate) fn leave(mut self, fault: Option<&Fault>) {
        if let Some(permit) = self.permit.take() {
            self.shared.leave(permit, fault);
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let now = self.shared.clock.now();
            self.shared.lock().abandon(permit, now);
        }
    }
}
