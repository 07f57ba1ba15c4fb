use billing_core::retry::DeclineClass::{AskCustomer, Retry, Stop};

use crate::decline::DeclineTable;

/// What Flutterwave's refusals of a charge mean.
///
/// # Source
///
/// Flutterwave support, "Common card transaction errors"; Flutterwave documentation, "Flutterwave Errors"; and the words of banks
/// that it passes on as `processor_response`, which are those of the response codes of ISO 8583.
pub fn declines() -> DeclineTable {
    DeclineTable::new(&[
        // Never to be tried again: the networks fine who does.
        ("stolen card", Stop),
        ("lost card", Stop),
        ("pick up card", Stop),
        ("pickup card", Stop),
        ("restricted card", Stop),
        ("suspected fraud", Stop),
        ("flagged as fraudulent", Stop),
        ("security violation", Stop),
        // Another method, or a word of the customer, is needed.
        ("expired card", AskCustomer),
        ("card expired", AskCustomer),
        ("card has expired", AskCustomer),
        ("invalid card", AskCustomer),
        ("invalid token", AskCustomer),
        ("wrong token or email passed", AskCustomer),
        ("card not registered on token platform", AskCustomer),
        ("no card record", AskCustomer),
        ("cannot retrieve the account number from the card", AskCustomer),
        ("account closed", AskCustomer),
        ("closed account", AskCustomer),
        ("invalid account", AskCustomer),
        ("authentication failed", AskCustomer),
        ("could not verify this payment", AskCustomer),
        ("transaction not permitted", AskCustomer),
        ("function not permitted to cardholder", AskCustomer),
        ("aborted", AskCustomer),
        // May pass by itself.
        ("insufficient funds", Retry),
        ("insufficient balance", Retry),
        ("no sufficient funds", Retry),
        ("exceeds withdrawal limit", Retry),
        ("amount greater than daily transaction limit", Retry),
        ("acceptor contact acquirer", Retry),
        ("acquirer system error", Retry),
        ("issuer or switch inoperative", Retry),
        ("do not honor", Retry),
        ("do not honour", Retry),
        ("refer to card issuer", Retry),
        ("failure declined", Retry),
        ("declined", Retry),
    ])
}
