//! Suites across the crates.

pub mod contract;
pub mod gateway;
pub mod kit;
pub mod states;
pub mod workload;
