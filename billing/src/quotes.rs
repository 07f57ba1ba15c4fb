//! Quotes: what a command would cost, and the promise that it costs just that.

use billing_core::audit::{Actor, Digest};
use billing_core::id::SubscriptionId;
use billing_core::invoice::Invoice;
use billing_core::plan::Plan;
use billing_core::subscription::{Command, Decision, Effect, Subscription};
use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::{ATTEMPTS_MAX, fingerprint, to_json};
use crate::facts::Loaded;
use crate::{Billing, Error, NewSubscription, Receipt, Request};

/// What a quote is for.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::exhaustive_enums, reason = "what can be asked of the engine")]
pub enum Quotable {
    /// Subscribing a tenant to a plan.
    Create(NewSubscription),
    /// A command on a subscription.
    Execute {
        /// Which.
        id: SubscriptionId,
        /// What.
        command: Command,
    },
}

/// What a command would do at an instant, and would be charged for.
///
/// The host keeps it until the customer has made up their mind. It is not signed: one that comes back from somebody
/// else's hand is first compared with the one that was given out.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Quote {
    /// What was asked.
    pub asked: Quotable,
    /// The instant for which everything is computed, also when it is executed later.
    pub at: DateTime<Utc>,
    /// Until when it can be executed.
    pub expires_at: DateTime<Utc>,
    /// The subscription afterwards.
    pub subscription: Subscription,
    /// The invoices that would be opened, in order: by steps that are due before the command, then by the command. They
    /// have other ids when they are.
    pub invoices: Vec<Invoice>,
    /// What would be performed, such as a charge or a refund.
    pub effects: Vec<Effect>,
    /// What it was computed from.
    pub inputs: QuoteInputs,
}

/// Hashes of what a quote was computed from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct QuoteInputs {
    /// The subscription as it was; for a creation, whether the tenant had the trial.
    pub subscription: Digest,
    /// The plans: in force, to move to, and of the tenant's other subscriptions.
    pub plans: Digest,
    /// The usage that is billed.
    pub usage: Digest,
    /// The open invoice.
    pub invoice: Digest,
}

/// A part of what a quote was computed from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the fields of `QuoteInputs`")]
pub enum QuoteInput {
    /// See [`QuoteInputs::subscription`].
    Subscription,
    /// See [`QuoteInputs::plans`].
    Plans,
    /// See [`QuoteInputs::usage`].
    Usage,
    /// See [`QuoteInputs::invoice`].
    Invoice,
}

impl QuoteInputs {
    /// Which parts are others now.
    fn changed(&self, now: &Self) -> Vec<QuoteInput> {
        [
            (self.subscription != now.subscription, QuoteInput::Subscription),
            (self.plans != now.plans, QuoteInput::Plans),
            (self.usage != now.usage, QuoteInput::Usage),
            (self.invoice != now.invoice, QuoteInput::Invoice),
        ]
        .into_iter()
        .filter_map(|(differs, input)| differs.then_some(input))
        .collect()
    }
}

/// Collects what decisions are made from, as text to be hashed.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    subscription: String,
    plans: String,
    usage: String,
    invoice: String,
}

impl Inputs {
    fn of(current: &Subscription) -> Result<Self, Error> {
        Ok(Self {
            subscription: to_json(current)?,
            ..Self::default()
        })
    }

    pub(crate) fn see_trial(&mut self, used: bool) -> Result<(), Error> {
        self.subscription += &to_json(&used)?;
        Ok(())
    }

    pub(crate) fn see_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        self.plans += &to_json(plan)?;
        Ok(())
    }

    pub(crate) fn see(&mut self, loaded: &Loaded) -> Result<(), Error> {
        self.see_plan(&loaded.plan)?;
        if let Some(target) = &loaded.target {
            self.see_plan(target)?;
        }
        for (_, sibling) in &loaded.siblings {
            self.see_plan(sibling)?;
        }
        // Not how far the store was read: every event of anyone moves that.
        for (meter, used) in loaded.usage.iter().flat_map(|usage| &usage.meters) {
            self.usage += &to_json(&(meter, used.quantity, used.late_quantity, used.events))?;
        }
        if let Some(invoice) = &loaded.invoice {
            self.invoice += &to_json(invoice)?;
        }
        Ok(())
    }

    fn hashed(&self) -> QuoteInputs {
        QuoteInputs {
            subscription: Digest::of(self.subscription.as_bytes()),
            plans: Digest::of(self.plans.as_bytes()),
            usage: Digest::of(self.usage.as_bytes()),
            invoice: Digest::of(self.invoice.as_bytes()),
        }
    }
}

/// What was decided for a quote, and from what.
struct Decided {
    decisions: Vec<(u64, Decision)>,
    inputs: QuoteInputs,
}

impl Billing {
    /// The longest that a quote can be good for.
    pub const QUOTE_MAX: TimeDelta = TimeDelta::hours(24);

    /// What `asked` would do now and would be charged for: the very function that carries it out, without the commit.
    ///
    /// The quote can be [executed](Self::execute_quote) for as long as `valid_for`, and is then computed for this
    /// instant.
    ///
    /// # Errors
    ///
    /// In order: [`Error::QuoteLength`], then what [`create`](Self::create) or [`execute`](Self::execute) refuse,
    /// [`Error::NothingToDo`].
    pub async fn quote(&self, asked: Quotable, valid_for: TimeDelta) -> Result<Quote, Error> {
        let at = self.now();
        let in_range = valid_for > TimeDelta::zero() && valid_for <= Self::QUOTE_MAX;
        let expires_at = at.checked_add_signed(valid_for).filter(|_| in_range);
        let expires_at = expires_at.ok_or(Error::QuoteLength { valid_for })?;
        let Decided { decisions, inputs } = self.decided(&asked, at, (&Actor::System, None)).await?;
        let Some((_, last)) = decisions.last() else {
            return Err(Error::NothingToDo);
        };
        let subscription = last.next.clone();
        let mut invoices = Vec::new();
        let mut effects = Vec::new();
        for (_, decision) in decisions {
            invoices.extend(decision.opened);
            effects.extend(decision.effects);
        }
        Ok(Quote {
            asked,
            at,
            expires_at,
            subscription,
            invoices,
            effects,
            inputs,
        })
    }

    /// Carries out what was quoted, for the instant of the quote: it charges exactly what the quote showed, or is refused
    /// because something that it was computed from has changed.
    ///
    /// # Errors
    ///
    /// In order: [`Error::KeyReused`], [`Error::QuoteExpired`], then what [`create`](Self::create) or
    /// [`execute`](Self::execute) refuse, [`Error::QuoteChanged`], [`Error::Contended`], [`Error::Store`].
    pub async fn execute_quote(&self, request: &Request, quote: &Quote) -> Result<Receipt, Error> {
        let fingerprint = fingerprint(&("quote", &quote.asked, quote.at, &quote.inputs))?;
        for _ in 0..ATTEMPTS_MAX {
            let tenant_id = quote.subscription.tenant_id;
            if let Some(receipt) = self.answered(tenant_id, request, fingerprint).await? {
                return Ok(receipt);
            }
            let now = self.now();
            let longest = quote.at.checked_add_signed(Self::QUOTE_MAX);
            let is_good = quote.at <= now && now < quote.expires_at && longest >= Some(quote.expires_at);
            let decided = if is_good {
                let by = (&request.actor, request.ip);
                self.decided(&quote.asked, quote.at, by).await
            } else {
                Err(Error::QuoteExpired {
                    at: quote.at,
                    expires_at: quote.expires_at,
                    now,
                })
            };
            let decided = decided.and_then(|decided| {
                let changed = quote.inputs.changed(&decided.inputs);
                if !changed.is_empty() {
                    Err(Error::QuoteChanged { changed })
                } else if decided.decisions.is_empty() {
                    Err(Error::NothingToDo)
                } else {
                    Ok(decided.decisions)
                }
            });
            let decisions = match decided {
                Ok(decisions) => decisions,
                Err(error) => return self.refused(tenant_id, request, fingerprint, error).await,
            };
            if let Some(receipt) = self.commit(decisions, request, fingerprint, now).await? {
                return Ok(receipt);
            }
        }
        Err(Error::Contended {
            attempts: ATTEMPTS_MAX,
        })
    }

    async fn decided(
        &self,
        asked: &Quotable,
        at: DateTime<Utc>,
        by: (&Actor, Option<std::net::IpAddr>),
    ) -> Result<Decided, Error> {
        let mut inputs;
        let decisions = match asked {
            Quotable::Create(new) => {
                inputs = Inputs::default();
                let decision = self.decide_create(new, at, by, Some(&mut inputs)).await?;
                vec![(0, decision)]
            }
            Quotable::Execute { id, command } => {
                let current = self.subscription(*id).await?;
                inputs = Inputs::of(&current)?;
                self.decide_all(&current, command, at, by, Some(&mut inputs))
                    .await?
            }
        };
        Ok(Decided {
            decisions,
            inputs: inputs.hashed(),
        })
    }
}
