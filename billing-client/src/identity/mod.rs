//! The identity service, by the contract in `openapi/identity.v1.json`.
//!
//! **Fallback.** What the service said last of a tenant, and of a user's permissions, is kept in memory. When the service cannot
//! be asked (the breaker is open, no answer, too many calls), that is the answer, if it is not older than
//! [`stale_max`](IdentityClient::stale_max), and is marked with its age. That a tenant is unknown, or that we are not let in, is
//! an answer, and no reason to fall back. Tokens are never answered from memory.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use billing_core::gateway::Health;
use billing_core::id::{ActorName, Permission, TenantId};
use billing_core::identity::{
    AccessToken, Answer, IdentityDirectory, IdentityError, IdentityFuture, TenantRecord, TokenVerdict,
};
use billing_core::ports::{Clock, PortFuture};
use billing_core::resilience::{BreakerPolicy, BreakerSnapshot};
use chrono::TimeDelta;
use reqwest::Method;

use self::last_good::LastGood;
use crate::breaker::BreakerListener;
use crate::config::{ConfigError, ServiceConfig};
use crate::fault::Fault;
use crate::service::Service;
use crate::transport::{Call, Reply};

mod last_good;
pub(crate) mod wire;

/// The contract of the service, as an OpenAPI 3.1 document.
pub const OPENAPI: &str = include_str!("../../openapi/identity.v1.json");

/// The identity service, as a directory.
///
/// ```
/// use billing_client::identity::IdentityClient;
/// use billing_client::{SecretString, ServiceConfig};
/// use billing_core::ports::Clock;
/// # #[derive(Debug)]
/// # struct SystemClock;
/// # impl Clock for SystemClock {
/// #     fn now(&self) -> chrono::DateTime<chrono::Utc> { chrono::DateTime::UNIX_EPOCH }
/// # }
///
/// let mut config = ServiceConfig::new("https://identity.example.com", SecretString::from("key"))?;
/// config.breaker = billing_core::resilience::BreakerPolicy::IDENTITY;
/// let directory = IdentityClient::new(&config, std::sync::Arc::new(SystemClock))?
///     .stale_max(chrono::TimeDelta::minutes(5));
/// assert_eq!(directory.breaker().failures_max, 5);
/// # Ok::<(), billing_client::ConfigError>(())
/// ```
pub struct IdentityClient {
    service: Service,
    stale_max: TimeDelta,
    tenants: LastGood<TenantId, TenantRecord>,
    permissions: LastGood<(TenantId, ActorName), BTreeSet<Permission>>,
}

impl fmt::Debug for IdentityClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityClient")
            .field("service", &self.service)
            .field("stale_max", &self.stale_max)
            .finish_non_exhaustive()
    }
}

impl IdentityClient {
    /// A client for the service that `config` names.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: &ServiceConfig, clock: Arc<dyn Clock>) -> Result<Self, ConfigError> {
        Self::with_listener(config, clock, None)
    }

    /// The same, with somebody told of what the breaker does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn with_listener(
        config: &ServiceConfig,
        clock: Arc<dyn Clock>,
        listener: Option<BreakerListener>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            service: Service::new("identity", config, clock, listener)?,
            stale_max: TimeDelta::minutes(15),
            tenants: LastGood::default(),
            permissions: LastGood::default(),
        })
    }

    /// The configuration from `IDENTITY_MICROSERVICE_URL` and `IDENTITY_MICROSERVICE_KEY`, with
    /// [`BreakerPolicy::IDENTITY`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn config_from(variable: impl Fn(&str) -> Option<String>) -> Result<ServiceConfig, ConfigError> {
        let url = ("IDENTITY_MICROSERVICE_URL", None);
        let mut config = ServiceConfig::from_variables(variable, url, "IDENTITY_MICROSERVICE_KEY")?;
        config.breaker = BreakerPolicy::IDENTITY;
        Ok(config)
    }

    /// How old an answer from memory may be. 15 minutes at first: so long may somebody do what was just forbidden, if the
    /// service is down; zero for never.
    #[must_use]
    pub const fn stale_max(mut self, stale_max: TimeDelta) -> Self {
        self.stale_max = stale_max;
        self
    }

    /// How the breaker stands.
    pub fn breaker(&self) -> BreakerSnapshot {
        self.service.breaker()
    }

    /// Asks, and answers from memory where that is allowed.
    async fn ask<K: Clone + Ord, V: Clone>(
        &self,
        call: &Call<'_>,
        memory: &LastGood<K, V>,
        key: K,
        read: impl FnOnce(&Reply) -> Result<Result<V, IdentityError>, Fault>,
    ) -> Result<Answer<V>, IdentityError> {
        let fault = match self.service.read(call, read).await {
            Ok(Ok(value)) => {
                memory.keep(key, value.clone(), self.service.now(), self.stale_max);
                return Ok(Answer::fresh(value));
            }
            Ok(Err(answer)) => {
                // What was known is not true any more.
                memory.forget(&key);
                return Err(answer);
            }
            Err(fault) => fault,
        };
        match memory.recall(&key, self.service.now(), self.stale_max) {
            Some((value, age)) => {
                let (operation, code) = (call.operation, fault.code());
                tracing::warn!(
                    operation,
                    code,
                    age_secs = age.num_seconds(),
                    "answered from memory"
                );
                Ok(Answer {
                    value,
                    age: Some(age),
                })
            }
            None => Err(fault.into()),
        }
    }
}

impl IdentityDirectory for IdentityClient {
    fn tenant(&self, tenant_id: TenantId) -> IdentityFuture<'_, Answer<TenantRecord>> {
        Box::pin(async move {
            let id = tenant_id.to_string();
            let path = ["v1", "tenants", &id];
            let call = Call::get("tenant", &path);
            self.ask(&call, &self.tenants, tenant_id, |reply| {
                if reply.status == 404 {
                    return Ok(Err(IdentityError::UnknownTenant { tenant_id }));
                }
                answer(reply, |tenant: wire::Tenant| tenant.into_record(tenant_id))
            })
            .await
        })
    }

    fn permissions<'a>(
        &'a self,
        tenant_id: TenantId,
        user: &'a ActorName,
    ) -> IdentityFuture<'a, Answer<BTreeSet<Permission>>> {
        Box::pin(async move {
            let id = tenant_id.to_string();
            let path = ["v1", "tenants", &id, "users", user.as_str(), "permissions"];
            let call = Call::get("permissions", &path);
            self.ask(&call, &self.permissions, (tenant_id, user.clone()), |reply| {
                if reply.status == 404 {
                    return Ok(Err(IdentityError::UnknownTenant { tenant_id }));
                }
                answer(reply, |permissions: wire::Permissions| {
                    Some(permissions.permissions)
                })
            })
            .await
        })
    }

    fn verify_token<'a>(&'a self, token: &'a AccessToken) -> IdentityFuture<'a, TokenVerdict> {
        Box::pin(async move {
            let body = serde_json::to_vec(&wire::Token {
                token: token.expose(),
            })
            .map_err(|_| Fault::NotSent { code: "request" })?;
            // A question, although in a body: in a path the token would stand in logs.
            let call = Call {
                method: Method::POST,
                body: Some(body),
                ..Call::get("verify_token", &["v1", "tokens", "verify"])
            };
            let verdict = self.service.read(&call, |reply| {
                answer(reply, |verdict: wire::Verdict| Some(verdict.into()))
            });
            verdict.await?
        })
    }

    fn health(&self) -> PortFuture<'_, Health> {
        Box::pin(async move {
            let call = Call::get("health", &["v1", "health"]);
            self.service.health(&call, wire::is_well).await
        })
    }
}

/// A 2xx answer through `read`; anything else as the error that it is.
fn answer<W: serde::de::DeserializeOwned, T>(
    reply: &Reply,
    read: impl FnOnce(W) -> Option<T>,
) -> Result<Result<T, IdentityError>, Fault> {
    match reply.status {
        200..=299 => read(reply.read()?)
            .map(Ok)
            .ok_or(Fault::Unreadable { code: "unreadable" }),
        401 | 403 => Ok(Err(IdentityError::Unauthorized)),
        _ => Ok(Err(IdentityError::Refused {
            code: wire::Problem::code_of(reply),
        })),
    }
}
