//! What can go wrong with a call, told apart by what it means for the money.

use std::time::Duration;

use billing_core::gateway::{GatewayError, UnknownReason};
use billing_core::identity::IdentityError;
use chrono::{DateTime, TimeDelta, Utc};

/// Why a call has no answer that can be used. Holds nothing that a service said, so that it can be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The breaker lets no call pass.
    BreakerOpen { until: DateTime<Utc> },
    /// There was no connection to send it on.
    NotSent { code: &'static str },
    /// The service did not carry it out, and asks for fewer calls (429).
    TooManyCalls { retry_after: Option<Duration> },
    /// It was sent, or may have been, and no answer came in time.
    Timeout,
    /// The connection broke after it was sent, or while the answer came.
    ConnectionLost,
    /// The service answered that it failed (5xx).
    ServerError {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// The answer is not what is documented.
    Unreadable { code: &'static str },
}

impl Fault {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::BreakerOpen { .. } => "breaker_open",
            Self::NotSent { code } | Self::Unreadable { code } => code,
            Self::TooManyCalls { .. } => "too_many_calls",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection_lost",
            Self::ServerError { .. } => "server_error",
        }
    }

    /// Whether it is certain that the service has carried nothing out.
    pub(crate) const fn is_harmless(&self) -> bool {
        match self {
            Self::BreakerOpen { .. } | Self::NotSent { .. } | Self::TooManyCalls { .. } => true,
            Self::Timeout | Self::ConnectionLost | Self::ServerError { .. } | Self::Unreadable { .. } => {
                false
            }
        }
    }

    /// Whether the same call may succeed in a moment. An answer that cannot be read would be the same again.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::NotSent { .. } | Self::TooManyCalls { .. } | Self::Timeout | Self::ConnectionLost => true,
            // 501 and 505 say that the service cannot, and not that it fails.
            Self::ServerError { status, .. } => matches!(status, 500 | 502..=504),
            Self::BreakerOpen { .. } | Self::Unreadable { .. } => false,
        }
    }

    /// Whether it says that the service is not well. That it asks for fewer calls does not.
    pub(crate) const fn is_failure(&self) -> bool {
        match self {
            Self::NotSent { .. }
            | Self::Timeout
            | Self::ConnectionLost
            | Self::ServerError { .. }
            | Self::Unreadable { .. } => true,
            Self::BreakerOpen { .. } | Self::TooManyCalls { .. } => false,
        }
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyCalls { retry_after } | Self::ServerError { retry_after, .. } => *retry_after,
            Self::BreakerOpen { .. }
            | Self::NotSent { .. }
            | Self::Timeout
            | Self::ConnectionLost
            | Self::Unreadable { .. } => None,
        }
    }

    /// For a call that moves money: what is not certain is unknown, and never an error.
    pub(crate) fn of_a_movement(self, service: &'static str) -> Result<UnknownReason, GatewayError> {
        match self {
            Self::Timeout => Ok(UnknownReason::Timeout),
            Self::ConnectionLost => Ok(UnknownReason::ConnectionLost),
            Self::ServerError { status, .. } => Ok(UnknownReason::ServerError { status }),
            Self::Unreadable { .. } => Ok(UnknownReason::Unreadable),
            Self::BreakerOpen { .. } | Self::NotSent { .. } | Self::TooManyCalls { .. } => {
                Err(self.of_a_question(service))
            }
        }
    }

    /// For a call that moves nothing.
    pub(crate) fn of_a_question(self, service: &'static str) -> GatewayError {
        match self {
            Self::BreakerOpen { until } => GatewayError::BreakerOpen { service, until },
            Self::NotSent { code } => GatewayError::Unreachable { service, code },
            Self::TooManyCalls { retry_after } => GatewayError::TooManyCalls {
                service,
                retry_after: span(retry_after),
            },
            Self::Timeout | Self::ConnectionLost | Self::ServerError { .. } | Self::Unreadable { .. } => {
                let code = self.code();
                GatewayError::NoAnswer { service, code }
            }
        }
    }
}

impl From<Fault> for IdentityError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::BreakerOpen { until } => Self::BreakerOpen { until },
            Fault::TooManyCalls { retry_after } => Self::TooManyCalls {
                retry_after: span(retry_after),
            },
            Fault::NotSent { .. }
            | Fault::Timeout
            | Fault::ConnectionLost
            | Fault::ServerError { .. }
            | Fault::Unreadable { .. } => Self::Unavailable { code: fault.code() },
        }
    }
}

fn span(retry_after: Option<Duration>) -> Option<TimeDelta> {
    retry_after.and_then(|duration| TimeDelta::from_std(duration).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_is_an_error_when_money_moves() {
        let server = |status| Fault::ServerError {
            status,
            retry_after: None,
        };
        for (fault, unknown) in [
            (Fault::Timeout, Some("timeout")),
            (Fault::ConnectionLost, Some("connection_lost")),
            (server(500), Some("server_error")),
            (server(503), Some("server_error")),
            (Fault::Unreadable { code: "too_large" }, Some("unreadable")),
            (Fault::NotSent { code: "connect" }, None),
            (Fault::TooManyCalls { retry_after: None }, None),
            (
                Fault::BreakerOpen {
                    until: DateTime::UNIX_EPOCH,
                },
                None,
            ),
        ] {
            let harmless = fault.is_harmless();
            let moved = fault.of_a_movement("x");
            assert_eq!(moved.as_ref().ok().map(UnknownReason::code), unknown);
            assert_eq!(moved.is_err(), harmless, "{moved:?}");
        }
        assert!(server(502).is_transient() && !server(501).is_transient());
    }
}
