//! What is SQLite's own. What every store must do is in the contract suite (`tests/` in the repository).

mod committing;
pub(crate) mod kit;
mod migrating;
mod opening;
mod plans_of_queries;
mod recording;
mod vault;
