//! The engine, on every store.

mod concurrency;
mod engine;
mod kit;
mod sweep;
