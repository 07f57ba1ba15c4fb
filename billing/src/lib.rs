#![doc = include_str!("../../README.md")]

mod clock;
mod commands;
mod concessions;
mod engine;
mod error;
mod facts;
mod limits;
mod memory;
mod plans;
mod quotes;
mod reads;
mod request;
mod sweep;
mod worker;

pub use billing_core as core;
pub use billing_core::ports::{Clock, PlanStored, Store, StoreError};
#[cfg(feature = "sqlite")]
pub use billing_sqlite::{KeyRing, SqliteStore, SqliteVault};

pub use clock::{SystemClock, TestClock};
pub use engine::Billing;
pub use error::Error;
pub use limits::{ConsumeOutcome, LimitCheck, ReserveOutcome};
pub use memory::MemoryStore;
pub use quotes::{Quotable, Quote, QuoteInput, QuoteInputs};
pub use request::{NewSubscription, Receipt, Request};
pub use sweep::{SweepFailure, SweepOptions, SweepPage, SweepReport, SweepStep};
pub use worker::{Told, WorkReport, WorkStep, Worker, WorkerOptions};
