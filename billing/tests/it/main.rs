//! The engine, on every store.

mod concurrency;
mod engine;
mod kit;
mod limits;
mod quotes;
mod sweep;
