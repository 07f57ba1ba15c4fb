//! Export: invoices for other eyes, as pure functions of `&Invoice`.
//!
//! | For | By |
//! |---|---|
//! | programs | JSON: [`Invoice`] has serde, behind the feature `serde` |
//! | those who watch costs | [`focus`]: rows of the `FinOps` FOCUS specification, one per line, as CSV or JSON |
//! | people | [`html`]: one page of HTML to read and to print |
//!
//! # Example: JSON
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! use billing_core::invoice::Invoice;
//!
//! # let invoice: Invoice = serde_json::from_str(include_str!("example.json")).unwrap();
//! let text = serde_json::to_string(&invoice).unwrap();
//! assert_eq!(serde_json::from_str::<Invoice>(&text).unwrap(), invoice);
//! # }
//! ```

use alloc::format;
use alloc::string::String;

use crate::invoice::Invoice;

pub mod focus;
pub mod html;

/// The number of an invoice in its series, such as `EU-2026-17`; none without a series, and before the store has given one.
fn serial(invoice: &Invoice) -> Option<String> {
    let serial = invoice.serial.as_ref().filter(|serial| serial.number > 0)?;
    Some(format!("{}-{}", serial.series, serial.number))
}

#[cfg(test)]
mod kit;
