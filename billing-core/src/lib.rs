//! The domain of the billing engine: pure functions over plain data.

#![no_std]
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::exhaustive_enums,
    clippy::expect_used,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
// Tests compute their expectations in plain arithmetic, and fail by it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::integer_division,
        clippy::wildcard_enum_match_arm
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// In the order in which they build on each other: a file uses only what stands before it.
pub mod id;
pub mod validate;
pub mod money;
pub mod calendar;
pub mod audit;
pub mod retry;
pub mod charge;
pub mod aggregation;
pub mod plan;
pub mod usage;
pub mod proration;
pub mod rating;
pub mod tax;
pub mod coupon;
pub mod credit;
pub mod invoice;
pub mod payment;
pub mod credit_note;
pub mod subscription;
pub mod limit;
pub mod access;
pub mod outbox;
pub mod ports;
pub mod resilience;
pub mod gateway;
pub mod identity;
pub mod export;
