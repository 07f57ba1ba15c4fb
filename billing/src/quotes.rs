//! Quotes: what a command would cost, and the promise that it costs just that.

use std::collections::BTreeMap;

use billing_core::audit::{Actor, Digest};
use billing_core::calendar::Period;
use billing_core::id::{InvoiceId, MeterCode, SubscriptionId};
use billing_core::invoice::{Invoice, InvoiceKind, InvoiceLine};
use billing_core::money::Money;
use billing_core::plan::Plan;
use billing_core::ports::CouponState;
use billing_core::subscription::{Command, CommandKind, Decision, Effect, Subscription};
use billing_core::tax::TaxTreatment;
use billing_core::usage::{Detail, MeterUsage, UsageQuery};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::engine::{ATTEMPTS_MAX, fingerprint, to_json};
use crate::facts::{Loaded, Uncommitted};
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
    /// The invoices that would be opened, in order: by steps that are due before the command, then by the command. What is
    /// new has another id when it is carried out.
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
    /// The subscription as it was, and where it matters, for a creation and a plan change, those that the tenant has or had
    /// beside it.
    pub subscription: Digest,
    /// The plans: in force, to move to, and of the tenant's other subscriptions. Not whether they are on sale.
    pub plans: Digest,
    /// The usage that is billed.
    pub usage: Digest,
    /// The open invoice.
    pub invoice: Digest,
    /// Tax, and the coupon that is redeemed.
    pub terms: Digest,
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
    /// See [`QuoteInputs::terms`].
    Terms,
    /// The inputs are the same, and what comes out is not what the quote shows: it was altered, or the program was.
    Outcome,
}

impl QuoteInputs {
    /// Which parts are others now.
    fn changed(&self, now: &Self) -> Vec<QuoteInput> {
        [
            (self.subscription != now.subscription, QuoteInput::Subscription),
            (self.plans != now.plans, QuoteInput::Plans),
            (self.usage != now.usage, QuoteInput::Usage),
            (self.invoice != now.invoice, QuoteInput::Invoice),
            (self.terms != now.terms, QuoteInput::Terms),
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
    terms: String,
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

    /// Versions tell of what happened meanwhile, also of what began and ended.
    fn see_subscriptions(&mut self, subscriptions: &[Subscription]) -> Result<(), Error> {
        for subscription in subscriptions {
            self.subscription += &to_json(&(subscription.id, subscription.version))?;
        }
        Ok(())
    }

    pub(crate) fn see_plan(&mut self, plan: &Plan) -> Result<(), Error> {
        // Availability is judged by the decision, and an engine may know it later than another.
        let terms = Plan {
            is_active: true,
            discontinued: false,
            ..plan.clone()
        };
        self.plans += &to_json(&terms)?;
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
        if let Some(usage) = &loaded.usage {
            self.see_usage(&usage.meters)?;
            for late in &usage.late {
                self.usage += &to_json(&late.billed)?;
                self.see_usage(&late.before)?;
                self.see_usage(&late.after)?;
            }
        }
        if let Some(invoice) = &loaded.invoice {
            self.invoice += &to_json(invoice)?;
        }
        if let Some(noted) = &loaded.notes {
            self.invoice += &to_json(&(&noted.earlier, &noted.elsewhere))?;
        }
        self.see_terms(loaded.tax.as_ref(), loaded.coupon.as_ref())
    }

    /// Not how often a coupon was redeemed: that it still can be is checked by the commit.
    pub(crate) fn see_terms(
        &mut self,
        tax: Option<&TaxTreatment>,
        coupon: Option<&CouponState>,
    ) -> Result<(), Error> {
        self.terms += &to_json(&(tax, coupon.map(|state| &state.coupon)))?;
        Ok(())
    }

    fn see_usage(&mut self, meters: &BTreeMap<MeterCode, MeterUsage>) -> Result<(), Error> {
        for (meter, usage) in meters {
            for (cell, used) in usage {
                self.usage += &to_json(&(meter, cell, used.quantity, used.events))?;
                self.usage += &match &used.detail {
                    Detail::None => String::new(),
                    Detail::Events(events) => to_json(events)?,
                    Detail::Matrix(cells) => to_json(&cells.iter().collect::<Vec<_>>())?,
                };
            }
        }
        Ok(())
    }

    fn hashed(&self) -> QuoteInputs {
        QuoteInputs {
            subscription: Digest::of(self.subscription.as_bytes()),
            plans: Digest::of(self.plans.as_bytes()),
            usage: Digest::of(self.usage.as_bytes()),
            invoice: Digest::of(self.invoice.as_bytes()),
            terms: Digest::of(self.terms.as_bytes()),
        }
    }
}

/// What was decided for a quote, and from what.
struct Decided {
    /// The subscription that it is about, as it was; none for a creation.
    current: Option<Subscription>,
    decisions: Vec<(u64, Decision)>,
    inputs: QuoteInputs,
}

/// What a customer sees of an invoice: ids are given when it is opened.
fn shown(invoice: &Invoice) -> (InvoiceKind, Period, Vec<InvoiceLine>, Money) {
    let mut lines = invoice.lines.clone();
    for source in lines.iter_mut().filter_map(|line| line.source.as_mut()) {
        // A discount points at a line of its own invoice.
        if source.invoice_id == invoice.id {
            source.invoice_id = InvoiceId::new(Uuid::nil());
        }
    }
    (invoice.kind, invoice.period, lines, invoice.total)
}

impl Billing {
    /// The invoice that the next step of a subscription would open, such as that of the running period at its end: a draft, with
    /// the usage so far, without a number, and not stored. `None` when the next step opens none.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute), of [`Command::Advance`].
    ///
    /// # Example: what the month comes to so far
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, id, .. }| {
    /// billing.record_usage(vec![calls(&billing, "use", 250)]).await?;
    /// let draft = billing.upcoming_invoice(id).await?.unwrap();
    /// let lines: Vec<_> = draft.lines.iter().map(|line| &*line.explanation).collect();
    /// assert_eq!(lines[1], "(250 - 100 included) x 0.01 = 1.5 USD");
    /// assert_eq!(draft.total.minor, 29_00 + 1_50);
    /// assert_eq!(billing.invoice(draft.id).await?, None, "it is not stored");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn upcoming_invoice(&self, id: SubscriptionId) -> Result<Option<Invoice>, Error> {
        let current = self.subscription(id).await?;
        let Some(due) = current.step_due() else {
            return Ok(None);
        };
        let (at, by) = (due.max(self.now()), (&Actor::System, None));
        let decision = self.decide(&current, &Command::Advance, at, by, Uncommitted::default(), None);
        Ok(decision.await?.opened)
    }

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
    ///
    /// # Example: what an upgrade would cost
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, team, .. }| {
    /// use billing::Quotable;
    /// use billing::core::plan::TenantProfile;
    /// use billing::core::subscription::Command;
    /// use chrono::TimeDelta;
    ///
    /// let command = Command::ChangePlan { plan_id: team, when: None, tenant: TenantProfile::default() };
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let quote = billing.quote(Quotable::Execute { id, command }, TimeDelta::hours(1)).await?;
    /// assert_eq!(quote.invoices[0].total.minor, 49_50 - 14_50);
    /// assert_ne!(billing.subscription(id).await?.plan_id, team, "nothing has happened");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn quote(&self, asked: Quotable, valid_for: TimeDelta) -> Result<Quote, Error> {
        let at = self.now();
        let in_range = valid_for > TimeDelta::zero() && valid_for <= Self::QUOTE_MAX;
        let expires_at = at.checked_add_signed(valid_for).filter(|_| in_range);
        let expires_at = expires_at.ok_or(Error::QuoteLength { valid_for })?;
        let decided = self.decided(&asked, at, (&Actor::System, None)).await?;
        let Decided {
            decisions, inputs, ..
        } = decided;
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
    /// because something that it was computed from has changed, a step has fallen due since, or something was used since
    /// that it would leave unbilled.
    ///
    /// # Errors
    ///
    /// In order: [`Error::KeyReused`], [`Error::QuoteExpired`], then what [`create`](Self::create) or
    /// [`execute`](Self::execute) refuse, [`Error::NothingToDo`], [`Error::QuoteChanged`], [`Error::Contended`],
    /// [`Error::Store`].
    ///
    /// # Example: the price of then, or none
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, team, .. }| {
    /// # use billing::Quotable;
    /// # use billing::core::plan::TenantProfile;
    /// # use billing::core::subscription::Command;
    /// # use chrono::TimeDelta;
    /// # let command = Command::ChangePlan { plan_id: team, when: None, tenant: TenantProfile::default() };
    /// use billing::{Error, QuoteInput};
    ///
    /// clock.set(at("2026-06-16T00:00:00Z"));
    /// let asked = Quotable::Execute { id, command };
    /// let quote = billing.quote(asked.clone(), TimeDelta::hours(1)).await?;
    /// billing.set_auto_renew(&request("off"), id, false).await?;
    /// let refused = billing.execute_quote(&request("accept"), &quote).await;
    /// let Err(Error::QuoteChanged { changed, .. }) = refused else { panic!() };
    /// assert_eq!(changed, [QuoteInput::Subscription]);
    ///
    /// let quote = billing.quote(asked, TimeDelta::hours(1)).await?;
    /// clock.advance(TimeDelta::minutes(59));
    /// let receipt = billing.execute_quote(&request("accept"), &quote).await?;
    /// let charged = billing.invoice(receipt.invoices[0]).await?.unwrap();
    /// assert_eq!(charged.total, quote.invoices[0].total, "as of an hour ago");
    /// # Ok(())
    /// # });
    /// ```
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
            let decisions = match decided {
                Ok(decided) => self.unchanged(quote, decided, now).await,
                Err(error) => Err(error),
            };
            let decisions = match decisions {
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

    /// The decisions of a quote that still holds at `now`.
    async fn unchanged(
        &self,
        quote: &Quote,
        decided: Decided,
        now: DateTime<Utc>,
    ) -> Result<Vec<(u64, Decision)>, Error> {
        let Decided {
            current,
            decisions,
            inputs,
        } = decided;
        let mut changed = quote.inputs.changed(&inputs);
        let Some((_, last)) = decisions.last() else {
            return Err(Error::NothingToDo);
        };
        let next = &last.next;
        // What fell due since the quote would be decided before the command, and what it leaves must not be due already.
        let fell_due = |due: Option<DateTime<Utc>>| due.is_some_and(|due| due > quote.at && due <= now);
        let before = current.as_ref().and_then(Subscription::step_due);
        if (fell_due(before) || fell_due(next.step_due())) && !changed.contains(&QuoteInput::Subscription) {
            changed.push(QuoteInput::Subscription);
        }
        if let Some(current) = &current
            && next.usage.from >= quote.at
            && !changed.contains(&QuoteInput::Usage)
            && self.used_since(current, quote.at, now).await?
        {
            changed.push(QuoteInput::Usage);
        }
        let opened = decisions
            .iter()
            .filter_map(|(_, decision)| decision.opened.as_ref());
        if changed.is_empty() && !opened.map(shown).eq(quote.invoices.iter().map(shown)) {
            changed.push(QuoteInput::Outcome);
        }
        if changed.is_empty() {
            Ok(decisions)
        } else {
            Err(Error::QuoteChanged { changed })
        }
    }

    /// Whether the subscription was used in `[from, until)`: a quote that bills its usage up to `from` would leave that to
    /// another plan, or to none.
    async fn used_since(
        &self,
        current: &Subscription,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let plan = self.plan_in_force(current.plan_id).await?;
        if plan.meters.is_empty() || from >= until {
            return Ok(false);
        }
        let query = UsageQuery {
            tenant_id: current.tenant_id,
            subscription_id: current.id,
            plan: &plan,
            origin: from,
            from,
            until,
            term: None,
            watermark: u64::MAX,
            up_to: None,
        };
        let usage = self.store.usage(&[query]).await?;
        let mut cells = usage
            .iter()
            .flat_map(|usage| usage.meters.values())
            .flat_map(MeterUsage::values);
        Ok(cells.any(|cell| cell.events > 0))
    }

    async fn decided(
        &self,
        asked: &Quotable,
        at: DateTime<Utc>,
        by: (&Actor, Option<std::net::IpAddr>),
    ) -> Result<Decided, Error> {
        let mut inputs;
        let current;
        let decisions = match asked {
            Quotable::Create(new) => {
                inputs = Inputs::default();
                inputs.see_subscriptions(&self.store.subscriptions_of(new.tenant_id).await?)?;
                let decision = self.decide_create(new, at, by, Some(&mut inputs)).await?;
                current = None;
                vec![(0, decision)]
            }
            Quotable::Execute { id, command } => {
                let found = self.subscription(*id).await?;
                inputs = Inputs::of(&found)?;
                if command.kind() == CommandKind::ChangePlan {
                    inputs.see_subscriptions(&self.store.subscriptions_of(found.tenant_id).await?)?;
                }
                let decisions = self
                    .decide_all(&found, command, at, by, Some(&mut inputs))
                    .await?;
                current = Some(found);
                decisions
            }
        };
        Ok(Decided {
            current,
            decisions,
            inputs: inputs.hashed(),
        })
    }
}
