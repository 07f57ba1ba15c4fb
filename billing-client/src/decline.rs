use billing_core::retry::DeclineClass;

/// What a provider's refusals mean for the next attempt.
///
/// Neither Paystack nor Flutterwave has documented codes for declines: both pass on the words of the bank. A rule applies to a
/// text that holds its words in their order, case and punctuation aside; the first that applies counts. Rules that are
/// [added](Self::with) come before those that are there.
///
/// ```
/// use billing_client::paystack::declines;
/// use billing_core::retry::DeclineClass;
///
/// let table = declines();
/// assert_eq!(table.class("Insufficient Funds"), DeclineClass::Retry);
/// assert_eq!(table.class("Expired Card."), DeclineClass::AskCustomer);
/// assert_eq!(table.class("Pickup card (stolen card)"), DeclineClass::Stop);
/// let strict = table.with("insufficient funds", DeclineClass::AskCustomer);
/// assert_eq!(strict.class("Insufficient Funds"), DeclineClass::AskCustomer);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeclineTable {
    rules: Vec<DeclineRule>,
    /// For what no rule knows: another try may help, and the number of tries is bounded.
    otherwise: DeclineClass,
}

/// Words, and what a refusal with them means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeclineRule {
    /// In lower case, with single spaces.
    words: String,
    class: DeclineClass,
}

impl DeclineTable {
    pub(crate) fn new(rules: &[(&str, DeclineClass)]) -> Self {
        let rules = rules.iter().map(|(words, class)| DeclineRule {
            words: plain(words),
            class: *class,
        });
        Self {
            rules: rules.collect(),
            otherwise: DeclineClass::Retry,
        }
    }

    /// The same with a rule before all others. [`DeclineClass::Unknown`] makes such a refusal be verified first.
    #[must_use]
    pub fn with(mut self, words: &str, class: DeclineClass) -> Self {
        let words = plain(words);
        self.rules.insert(0, DeclineRule { words, class });
        self
    }

    /// The same with another class for what no rule knows; [`DeclineClass::Retry`] at first.
    #[must_use]
    pub const fn otherwise(mut self, class: DeclineClass) -> Self {
        self.otherwise = class;
        self
    }

    /// What a refusal in these words means.
    pub fn class(&self, text: &str) -> DeclineClass {
        self.known(text).unwrap_or(self.otherwise)
    }

    /// The same if a rule knows it.
    pub(crate) fn known(&self, text: &str) -> Option<DeclineClass> {
        let text = format!(" {} ", plain(text));
        let rule = self
            .rules
            .iter()
            .find(|rule| !rule.words.is_empty() && text.contains(&format!(" {} ", rule.words)))?;
        Some(rule.class)
    }
}

/// Words in lower case with single spaces between.
fn plain(text: &str) -> String {
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeclineClass::{AskCustomer, Retry, Stop, Unknown};

    #[test]
    fn the_first_rule_whose_words_are_there_counts() {
        let table = DeclineTable::new(&[("card stolen", Stop), ("card", AskCustomer), ("", Unknown)]);
        for (text, class) in [
            ("CARD_STOLEN!", Stop),
            ("your card, is blocked", AskCustomer),
            ("stolen card", AskCustomer),
            ("cardinal error", Retry),
            ("", Retry),
        ] {
            assert_eq!(table.class(text), class, "{text}");
        }
        assert_eq!(
            table.clone().with("CARD  stolen", Retry).class("card stolen"),
            Retry
        );
        assert_eq!(table.otherwise(Stop).class("who knows"), Stop);
    }
}
