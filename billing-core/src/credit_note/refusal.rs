use crate::id::InvoiceId;
use crate::invoice::LineKind;
use crate::money::{Money, MoneyError};

/// The longest text of [`CreditNoteReason::Other`](super::CreditNoteReason::Other), in characters.
pub(super) const REASON_MAX: usize = 255;

/// Why no credit note is issued. Nothing has changed. When several apply, the first listed is returned, and of the lines
/// of a request the first.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CreditNoteRefusal {
    /// The reason is none, or too long.
    #[error("expected a reason of 1 to {REASON_MAX} characters, got {found}")]
    Reason {
        /// How many characters came.
        found: usize,
    },
    /// No line was named.
    #[error("expected at least one line to credit, got none")]
    NoLines,
    /// Nothing or less was asked for.
    #[error("cannot credit {amount} of line {line}, expected an amount above zero")]
    NotPositive {
        /// The line.
        line: u32,
        /// What came.
        amount: Money,
    },
    /// The invoice was not paid, so there is nothing to give back.
    #[error("cannot credit invoice `{invoice_id}`: it is {status}, expected paid")]
    NotPaid {
        /// Which.
        invoice_id: InvoiceId,
        /// Where it [stands](crate::invoice::InvoiceStatus::code).
        status: &'static str,
    },
    /// The invoice has no such line.
    #[error("cannot credit line {line}: the invoice has {lines} lines, counted from 0")]
    UnknownLine {
        /// The line.
        line: u32,
        /// How many there are.
        lines: usize,
    },
    /// The line charges nothing.
    #[error("cannot credit line {line} of {amount}: it is no charge")]
    NotCharge {
        /// The line.
        line: u32,
        /// What it is for.
        kind: LineKind,
        /// What it comes to.
        amount: Money,
    },
    /// More was asked for than is left of the line.
    #[error("cannot credit {amount} of line {line}: {left} of it is left")]
    LineExceeded {
        /// The line.
        line: u32,
        /// What came.
        amount: Money,
        /// The most that can be credited: what it cost, net of discounts, less what was credited before.
        left: Money,
    },
    /// More was asked for than is left of what was paid.
    #[error("cannot credit {amount}: {left} is left of {paid} that was paid")]
    TotalExceeded {
        /// What all lines come to.
        amount: Money,
        /// The most that can be credited.
        left: Money,
        /// What was paid.
        paid: Money,
    },
    /// All was asked for, and nothing is left.
    #[error("nothing is left to credit of {paid} that was paid")]
    NothingLeft {
        /// What was paid.
        paid: Money,
    },
    /// Two currencies, or more than fits.
    #[error(transparent)]
    Money(#[from] MoneyError),
}
