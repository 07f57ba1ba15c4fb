//! A call as a whole: breaker, attempts, waits.

use std::fmt;
use std::sync::Arc;

use billing_core::gateway::Health;
use billing_core::ports::Clock;
use billing_core::resilience::{BreakerSnapshot, BreakerState};
use chrono::{DateTime, Utc};

use crate::Backoff;
use crate::breaker::{BreakerListener, SharedBreaker};
use crate::config::{ConfigError, ServiceConfig};
use crate::fault::Fault;
use crate::transport::{Call, Effect, Reply, Transport};

/// A remote service.
pub(crate) struct Service {
    name: &'static str,
    transport: Transport,
    breaker: SharedBreaker,
    backoff: Backoff,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(
        name: &'static str,
        config: &ServiceConfig,
        clock: Arc<dyn Clock>,
        listener: Option<BreakerListener>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            name,
            transport: Transport::new(config)?,
            breaker: SharedBreaker::new(name, config.breaker, Arc::clone(&clock), listener),
            backoff: config.backoff,
            clock,
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn breaker(&self) -> BreakerSnapshot {
        self.breaker.snapshot()
    }

    /// Sends a call, again where that is safe and may help, and reads the answer. One that cannot be read counts as a failure
    /// of the service. To the breaker it is one call, whatever it took.
    pub(crate) async fn read<T>(
        &self,
        call: &Call<'_>,
        read: impl FnOnce(&Reply) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let passage = self.breaker.enter()?;
        let result = match self.attempts(call).await {
            Ok(reply) => read(&reply),
            Err(fault) => Err(fault),
        };
        if let Err(fault @ Fault::Unreadable { .. }) = &result {
            self.tell(call, fault, 0);
        }
        passage.leave(result.as_ref().err());
        result
    }

    async fn attempts(&self, call: &Call<'_>) -> Result<Reply, Fault> {
        let mut retry = 0;
        loop {
            let fault = match self.transport.attempt(call, self.clock.now()).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            self.tell(call, &fault, retry);
            let safe = call.effect == Effect::Asks || fault.is_harmless();
            if !safe || !fault.is_transient() || self.is_open() {
                return Err(fault);
            }
            retry += 1;
            let Some(wait) = self.backoff.wait(retry, &fault, fastrand::u32(..)) else {
                return Err(fault);
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Others may have opened it since: then there is no point in going on.
    fn is_open(&self) -> bool {
        self.breaker.snapshot().state == BreakerState::Open
    }

    fn tell(&self, call: &Call<'_>, fault: &Fault, retry: u32) {
        tracing::debug!(
            service = self.name,
            operation = call.operation,
            code = fault.code(),
            retry,
            "call failed"
        );
    }

    /// Asks the service how it is, past an open breaker; if it is half open, this is its probe.
    pub(crate) async fn health(
        &self,
        call: &Call<'_>,
        is_well: impl FnOnce(&Reply) -> Result<(), &'static str>,
    ) -> Health {
        let started_at = self.clock.now();
        let passage = self.breaker.enter().ok();
        let reply = self.transport.attempt(call, started_at).await;
        if let Some(passage) = passage {
            passage.leave(reply.as_ref().err());
        }
        let code = match &reply {
            Ok(reply) => is_well(reply).err().unwrap_or("ok"),
            Err(fault) => fault.code(),
        };
        Health {
            is_up: code == "ok",
            code,
            took: self.clock.now().signed_duration_since(started_at),
            breaker: self.breaker(),
        }
    }
}
