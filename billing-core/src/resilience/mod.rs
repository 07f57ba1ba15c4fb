//! Staying up when something else is down: when not to call a remote service, and when not to be called so often.
//!
//! Both are state machines without a clock: the instant is an argument, so that what they do can be tested to the microsecond.

mod breaker;
mod rate_limit;

pub use breaker::{
    Breaker, BreakerPolicy, BreakerRefusal, BreakerSnapshot, BreakerState, LastError, Permit, Transition,
};
pub use rate_limit::{RateAction, RateAnswer, RateCell, RateLimit, RateLimiter, RateLimits};
