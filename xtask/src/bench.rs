//! `cargo xtask bench`: runs the benches and prints their ratios.

use crate::run::{Error, cargo, pass};

/// Runs every bench; each prints its own ratios at its end.
pub(crate) fn bench() -> Result<(), Error> {
    pass(&mut cargo("bench --package billing-benches"))
}
