#![doc = include_str!("../../README.md")]

mod clock;
mod engine;
mod error;
mod facts;
mod memory;
mod plans;
mod reads;
mod request;
mod sweep;

pub use billing_core as core;
pub use billing_core::ports::{Clock, PlanStored, Store, StoreError};
#[cfg(feature = "sqlite")]
pub use billing_sqlite::SqliteStore;

pub use clock::{SystemClock, TestClock};
pub use engine::Billing;
pub use error::Error;
pub use memory::MemoryStore;
pub use request::{NewSubscription, Receipt, Request};
pub use sweep::{SweepFailure, SweepOptions, SweepPage, SweepReport, SweepStep};
