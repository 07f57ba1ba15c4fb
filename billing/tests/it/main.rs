//! The engine, on every store.

mod add_ons;
mod concessions;
mod concurrency;
mod engine;
mod kit;
mod limits;
mod metering;
mod quotes;
mod sweep;
