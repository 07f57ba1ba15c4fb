use alloc::string::String;

use chrono::{DateTime, TimeDelta, Utc};

use crate::money::Currency;

/// Why a gateway did not do what it was asked. No money has moved by this call.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The breaker lets no call pass. Nothing was sent.
    #[error("payment service `{service}` is not asked before {until}, since it failed too often")]
    BreakerOpen {
        /// Which service.
        service: &'static str,
        /// When it is worth to ask again.
        until: DateTime<Utc>,
    },
    /// It could not be reached. Nothing was sent.
    #[error("payment service `{service}` cannot be reached: {code}")]
    Unreachable {
        /// Which service.
        service: &'static str,
        /// A short code, such as `connect`.
        code: &'static str,
    },
    /// It asks for fewer calls, and did not carry out this one.
    #[error("payment service `{service}` asks for fewer calls")]
    TooManyCalls {
        /// Which service.
        service: &'static str,
        /// How long it asks to be left alone, if it says so.
        retry_after: Option<TimeDelta>,
    },
    /// What only reads, or prepares, has had no answer that can be used. [`charge`](super::PaymentGateway::charge) and
    /// [`refund`](super::PaymentGateway::refund) never fail like this: what they do not know they return as unknown.
    #[error("payment service `{service}` did not answer as documented: {code}")]
    NoAnswer {
        /// Which service.
        service: &'static str,
        /// A short code, such as `timeout`, `server_error` or `unreadable`.
        code: &'static str,
    },
    /// It did not take our credentials.
    #[error("payment service `{service}` refused our credentials")]
    Unauthorized {
        /// Which service.
        service: &'static str,
    },
    /// It refused the request as such: the same request again would be refused again.
    #[error("payment service `{service}` refused the request: {code}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// Its code, or its message where it has no codes.
        code: String,
    },
    /// The adapter does not know in which unit the provider counts this currency. Nothing was sent.
    #[error("payment service `{service}` is not known to take {currency}")]
    UnsupportedCurrency {
        /// Which service.
        service: &'static str,
        /// The currency.
        currency: Currency,
    },
    /// The request is out of its bounds. Nothing was sent.
    #[error("`{field}` cannot be sent to payment service `{service}`: expected {expected}")]
    Invalid {
        /// Which service.
        service: &'static str,
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The provider has no such operation.
    #[error("payment service `{service}` does not offer to {operation}")]
    Unsupported {
        /// Which service.
        service: &'static str,
        /// What.
        operation: &'static str,
    },
}

impl GatewayError {
    /// Whether the same call may succeed later without anybody's doing.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::BreakerOpen { .. }
            | Self::Unreachable { .. }
            | Self::TooManyCalls { .. }
            | Self::NoAnswer { .. } => true,
            Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::UnsupportedCurrency { .. }
            | Self::Invalid { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_error_says_what_happened_and_whether_it_passes() {
        let until = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let service = "paystack";
        for (error, text, is_transient) in [
            (
                GatewayError::BreakerOpen { service, until },
                "payment service `paystack` is not asked before 2023-11-14 22:13:20 UTC, since it failed too often",
                true,
            ),
            (
                GatewayError::Refused {
                    service,
                    code: "invalid_key".into(),
                },
                "payment service `paystack` refused the request: invalid_key",
                false,
            ),
            (
                GatewayError::UnsupportedCurrency {
                    service,
                    currency: Currency::from_code("UGX").unwrap(),
                },
                "payment service `paystack` is not known to take UGX",
                false,
            ),
        ] {
            assert_eq!(
                (error.to_string().as_str(), error.is_transient()),
                (text, is_transient)
            );
        }
    }
}
