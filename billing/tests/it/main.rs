//! The engine, on every store.

mod concurrency;
mod engine;
mod kit;
mod limits;
mod metering;
mod quotes;
mod sweep;
