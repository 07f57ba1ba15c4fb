#![doc = include_str!("../README.md")]
#![deny(
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

// In the order in which they build on each other: a file uses only what stands before it.
mod fault;
mod backoff;
mod config;
mod transport;
mod breaker;
mod service;

mod instant;
mod units;
mod decline;
pub mod webhook;

pub mod identity;
pub mod payment;
pub mod paystack;
pub mod flutterwave;

pub use backoff::Backoff;
pub use breaker::{BreakerListener, BreakerNews};
pub use config::{ConfigError, ServiceConfig};
pub use decline::{DeclineRule, DeclineTable};
pub use secrecy::SecretString;
pub use units::CurrencyUnits;
