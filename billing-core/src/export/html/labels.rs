//! The words of an invoice.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The words of an invoice, in English by default. To translate them, replace the fields.
        ///
        /// ```
        /// use billing_core::export::html::Labels;
        ///
        /// let german = Labels { lang: "de", title: "Rechnung", customer: "An", ..Labels::default() };
        /// assert_eq!(german.issuer, "From");
        /// ```
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct Labels<'a> {
            $($(#[$doc])* pub $name: &'a str,)*
        }

        impl Default for Labels<'_> {
            fn default() -> Self {
                Self { $($name: $text,)* }
            }
        }
    };
}

labels! {
    /// The language of all of them, as a tag of BCP 47.
    lang = "en",
    /// The heading.
    title = "Invoice",
    /// Above who sells.
    issuer = "From",
    /// Above who buys.
    customer = "Bill to",
    /// Before a tax id.
    tax_id = "Tax ID",
    /// Before the number of an invoice or a credit note.
    number = "Number",
    /// Before the status.
    status = "Status",
    /// To be paid.
    open = "Open",
    /// Paid; the day follows.
    paid = "Paid",
    /// Withdrawn; the day follows.
    void = "Void",
    /// Given up; the day follows.
    uncollectible = "Uncollectible",
    /// Before the day of an invoice or a credit note.
    issued = "Issued",
    /// Before the last day to pay.
    due = "Due",
    /// In place of that day if there is none.
    due_at_once = "On receipt",
    /// Before the first and the last day of a period.
    period = "Period",
    /// Between these two.
    until = "to",
    /// The caption of the lines.
    lines = "Items",
    /// What a line is for.
    description = "Description",
    /// How much of it.
    quantity = "Quantity",
    /// The price of one.
    unit_price = "Unit price",
    /// What it comes to.
    amount = "Amount",
    /// A line for a whole period.
    recurring = "Subscription",
    /// A line for what is left of a period after a change.
    proration_charge = "Rest of the period",
    /// A line for what was paid and not used.
    proration_credit = "Unused time",
    /// A line for usage.
    usage = "Usage",
    /// A line for usage that came after its period was billed.
    usage_adjustment = "Late usage",
    /// A line for what was missing from a minimum.
    commitment_true_up = "Minimum commitment",
    /// A line for an add-on that was bought once.
    add_on = "Add-on",
    /// The caption of the totals.
    totals = "Totals",
    /// The sum of the lines.
    subtotal = "Subtotal",
    /// What a coupon takes off.
    discount = "Discount",
    /// Tax of which no more is known.
    tax = "Tax",
    /// Before a tax that is in the prices.
    includes = "Includes",
    /// Prepaid credit that was used.
    prepaid_applied = "Prepaid credit used",
    /// Credit for unused time that was used.
    credit_applied = "Credit used",
    /// Credit that is left over.
    credit_carried = "Kept for the next invoice",
    /// Credit that goes back to where it was paid from.
    credit_refunded = "Paid back",
    /// The total.
    total = "Total",
    /// What of it is to be paid.
    amount_due = "Amount due",
    /// The caption of the credit notes.
    credit_notes = "Credit notes",
    /// Why one was issued.
    reason = "Reason",
    /// Billed twice.
    duplicate = "Duplicate",
    /// Not ordered.
    fraudulent = "Fraudulent",
    /// Ordered otherwise, or less.
    order_change = "Order change",
    /// Not as promised.
    unsatisfactory = "Unsatisfactory",
}
