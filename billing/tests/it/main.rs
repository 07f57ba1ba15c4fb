//! The engine, on every store.

mod concessions;
mod concurrency;
mod engine;
mod kit;
mod limits;
mod metering;
mod quotes;
mod sweep;
