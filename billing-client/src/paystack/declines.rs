use billing_core::retry::DeclineClass::{AskCustomer, Retry, Stop};

use crate::decline::DeclineTable;

/// What Paystack's refusals of a charge mean.
///
/// # Source
///
/// Paystack documentation, "API", section "Errors" (those of charges and transactions), and the words of banks that it passes on
/// as `gateway_response`, which are those of the response codes of ISO 8583.
pub fn declines() -> DeclineTable {
    DeclineTable::new(&[
        // Never to be tried again: the networks fine who does.
        ("stolen card", Stop),
        ("lost card", Stop),
        ("pickup card", Stop),
        ("pick up card", Stop),
        ("hot card", Stop),
        ("restricted card", Stop),
        ("suspected fraud", Stop),
        ("unable to process transaction", Stop), // "denied by Paystack's fraud system": the customer has to write to them
        // "The customer should retry the transaction after 24 hours."
        ("denied by fraud system", Retry),
        // Another method, or another word of the customer, is needed.
        ("expired card", AskCustomer),
        ("invalid card", AskCustomer),
        ("no card record", AskCustomer),
        ("no such card", AskCustomer),
        ("card not enabled", AskCustomer),
        ("closed account", AskCustomer),
        ("account closed", AskCustomer),
        ("no savings account", AskCustomer),
        ("no checking account", AskCustomer),
        ("transaction not permitted", AskCustomer),
        ("not permitted to cardholder", AskCustomer),
        ("incorrect pin", AskCustomer),
        ("authorization may be inactive", AskCustomer),
        ("email address does not match authorization code", AskCustomer),
        ("authorization code does not exist", AskCustomer),
        ("invalid authorization code", AskCustomer),
        ("authorization code is invalid", AskCustomer),
        ("authorization is not reusable", AskCustomer),
        ("no active authorizations", AskCustomer),
        // May pass by itself.
        ("insufficient funds", Retry),
        ("not sufficient funds", Retry),
        ("exceeds withdrawal limit", Retry),
        ("exceeds withdrawal frequency", Retry),
        ("issuer or switch inoperative", Retry),
        ("charge attempt cannot be fulfilled until", Retry),
        ("do not honor", Retry),
        ("refer to card issuer", Retry),
        ("declined", Retry),
    ])
}
