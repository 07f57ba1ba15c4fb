use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{CreditNoteAmount, at_least_zero};
use crate::invoice::{Invoice, InvoiceLine};
use crate::money::{Money, MoneyError};

/// What is left of a line to be credited. None of it is negative.
pub(super) struct Rest {
    /// What it cost; zero for a line that is no charge.
    pub(super) charged: Money,
    /// What other lines of the invoice take off it.
    taken_off: Money,
    /// What was credited of it before.
    pub(super) credited: Money,
}

impl Rest {
    pub(super) fn of_lines(
        invoice: &Invoice,
        credited: &[CreditNoteAmount],
    ) -> Result<Vec<Self>, MoneyError> {
        let zero = Money::zero(invoice.total.currency);
        let new = |line: &InvoiceLine| Self {
            charged: if line.kind.is_charge() {
                at_least_zero(line.amount)
            } else {
                zero
            },
            taken_off: zero,
            credited: zero,
        };
        let mut rests: Vec<_> = invoice.lines.iter().map(new).collect();
        for line in invoice.lines.iter().filter(|line| line.amount.is_negative()) {
            let source = line.source.filter(|source| source.invoice_id == invoice.id);
            if let Some(rest) = source.and_then(|source| Self::at(&mut rests, source.line)) {
                rest.taken_off = rest.taken_off.checked_sub(line.amount)?;
            }
        }
        for CreditNoteAmount { line, amount } in credited.iter().copied() {
            if let Some(rest) = Self::at(&mut rests, line) {
                rest.credited = rest.credited.checked_add(amount)?;
            }
        }
        Ok(rests)
    }

    fn at(rests: &mut [Self], line: u32) -> Option<&mut Self> {
        rests.get_mut(usize::try_from(line).ok()?)
    }

    pub(super) fn left(&self) -> Result<Money, MoneyError> {
        let net = self.charged.checked_sub(self.taken_off)?;
        Ok(at_least_zero(net.checked_sub(self.credited)?))
    }

    /// Of what `amount` is a part: `10.00 USD of 70.00 USD left: 100.00 USD - 20.00 USD off - 10.00 USD credited before`.
    pub(super) fn explain(&self, amount: Money) -> Result<String, MoneyError> {
        let mut text = format!("{amount} of {} left: {}", self.left()?, self.charged);
        for (minus, why) in [(self.taken_off, "off"), (self.credited, "credited before")] {
            if !minus.is_zero() {
                text.push_str(&format!(" - {minus} {why}"));
            }
        }
        Ok(text)
    }
}
