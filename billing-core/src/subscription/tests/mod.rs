//! The state machine as a whole; what a leaf computes by itself is tested beside it.

mod account;
mod add_on;
mod commitment;
mod concessions;
mod create;
mod describe;
mod dunning;
mod exhaustive;
mod kit;
mod money;
mod periods;
mod promises;
mod quantity;
mod random;
mod refusals;
mod scenes;
mod standing;
mod stops;
mod transitions;
mod usage;
