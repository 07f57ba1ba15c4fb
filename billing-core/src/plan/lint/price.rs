//! What is odd in the price of a meter.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::{FindingKind, Findings, Plan, is_free, only_rises};
use crate::charge::{ChargeModel, Needs, Used, VolumeAllowance};
use crate::money::Exact;
use crate::rating::{PeriodTerms, Rated, rate};
use crate::usage::add_quantities;

/// What usage costs in a whole billing period, and how much usage it can hold.
pub(super) struct Price<'a> {
    plan: &'a Plan,
    /// The path of what the price is part of.
    at: String,
    charge: &'a ChargeModel,
    terms: PeriodTerms,
    /// The hard limit, if it is that of the period.
    most: Option<Decimal>,
}

/// The tiers of any model that has some.
struct Tiers {
    model: &'static str,
    tiers: Vec<TierPrice>,
    /// Whether each tier prices its own part. Otherwise one prices all units.
    is_graduated: bool,
    empty_first_fee: bool,
}

/// One tier, with its bounds as usage of the meter: what is included is in them.
struct TierPrice {
    index: usize,
    /// Usage above this is in the tier.
    above: Decimal,
    up_to: Option<Decimal>,
    /// Of a unit, or in percent.
    price: Decimal,
    flat_fee: Decimal,
}

impl Tiers {
    /// Whether `tier` and the one before it could be one.
    fn is_repeated(&self, before: &TierPrice, tier: &TierPrice) -> bool {
        // A graduated tier adds its fee to those before it.
        let same_fee = if self.is_graduated {
            tier.flat_fee.is_zero()
        } else {
            tier.flat_fee == before.flat_fee
        };
        tier.price == before.price && same_fee
    }
}

impl<'a> Price<'a> {
    /// `most` is the most that the period is charged for, if the plan says so.
    pub(super) fn new(
        plan: &'a Plan,
        at: String,
        charge: &'a ChargeModel,
        terms: PeriodTerms,
        most: Option<Decimal>,
    ) -> Self {
        Self {
            plan,
            at,
            charge,
            terms: PeriodTerms {
                allowance: terms.allowance.normalize(),
                minimum: terms.minimum.map(|minimum| minimum.normalize()),
                maximum: terms.maximum.map(|maximum| maximum.normalize()),
            },
            most: most.map(|most| most.normalize()),
        }
    }

    /// `one_allowance` says whether no other meter of the plan has an allowance.
    pub(super) fn lint(&self, one_allowance: bool, findings: &mut Findings) {
        // Nothing passes the limit: the meter is switched off, whatever it would cost.
        if self.most == Some(Decimal::ZERO) {
            return;
        }
        let nothing_charged = self.most.is_some_and(|most| most <= self.terms.allowance);
        if nothing_charged && !is_free(self.charge) && self.cost_of_nothing().is_zero() {
            let allowance = self.terms.allowance;
            self.found(
                findings,
                "charge",
                FindingKind::UnreachedPrice,
                format!("the hard limit is the allowance of {allowance}, so nothing above it is charged"),
            );
            return;
        }
        if let Some(tiers) = self.tiers() {
            self.lint_tiers(tiers, findings);
        }
        self.lint_bounds(findings);
        if one_allowance {
            self.lint_overage(findings);
        }
    }

    fn lint_tiers(&self, all: Tiers, findings: &mut Findings) {
        // The tier before that is not dead.
        let mut last: Option<&TierPrice> = None;
        for tier in &all.tiers {
            let path = format!("charge.{}.tiers[{}]", all.model, tier.index);
            if let Some(reason) = self.why_dead(&all, tier) {
                self.found(findings, &path, FindingKind::DeadTier, reason);
                continue;
            }
            let before = last.replace(tier);
            if let Some(before) = before.filter(|before| all.is_repeated(before, tier)) {
                let message = format!(
                    "it changes no amount: the price is that of tiers[{}]",
                    before.index
                );
                self.found(findings, &path, FindingKind::RepeatedTier, message);
            }
            if only_rises(self.charge) {
                continue;
            }
            if let Some(message) = self.why_cheaper(tier) {
                self.found(findings, &path, FindingKind::CheaperWithMore, message);
            }
        }
    }

    /// Why no usage reaches the tier, if none does.
    fn why_dead(&self, all: &Tiers, tier: &TierPrice) -> Option<String> {
        let above = tier.above;
        if tier.index == 0 && all.empty_first_fee && !tier.flat_fee.is_zero() {
            return None;
        }
        if let Some(most) = self.most.filter(|most| above >= *most) {
            return Some(format!(
                "it begins when more than {above} is used, but the hard limit is {most}"
            ));
        }
        let allowance = self.terms.allowance;
        if let Some(up_to) = tier.up_to.filter(|up_to| *up_to <= allowance) {
            return Some(format!(
                "it ends at {up_to}, but nothing is charged up to the allowance of {allowance}"
            ));
        }
        // What comes after the maximum is cut off, if the price only rises.
        let maximum = self
            .terms
            .maximum
            .filter(|_| tier.index > 0 && only_rises(self.charge))?;
        let rated = self.cost(above, self.unbounded())?;
        (rated.exact >= Exact::from(maximum)).then(|| {
            format!(
                "the maximum of {maximum} is reached before it: {}",
                rated.explanation
            )
        })
    }

    /// Why more usage costs less where the tier begins, if it does.
    fn why_cheaper(&self, tier: &TierPrice) -> Option<String> {
        let less = tier.above.max(self.terms.allowance);
        let one_more = add_quantities(less, Decimal::ONE).ok()?;
        let bounds = [tier.up_to, self.most].into_iter().flatten();
        let more = bounds.fold(one_more, Decimal::min).normalize();
        let (cost, cost_of_more) = (self.cost(less, self.terms)?, self.cost(more, self.terms)?);
        (cost_of_more.amount.minor < cost.amount.minor).then(|| {
            format!(
                "{more} used costs {}, less than {less} used for {}: {} and {}",
                cost_of_more.amount, cost.amount, cost_of_more.explanation, cost.explanation
            )
        })
    }

    /// The minimum and the maximum.
    fn lint_bounds(&self, findings: &mut Findings) {
        let minimum = self.terms.minimum.filter(|minimum| !minimum.is_zero());
        if let Some(minimum) = minimum.filter(|_| only_rises(self.charge)) {
            let nothing = self.cost_of_nothing();
            if nothing >= Exact::from(minimum) {
                let message =
                    format!("what is due without usage, {nothing}, is never below the minimum of {minimum}");
                self.found(findings, "minimum", FindingKind::IdleMinimum, message);
            }
            let counts_total = self.charge.needs(self.terms.allowance) == Needs::Total;
            if counts_total
                && !is_free(self.charge)
                && let Some(most) = self.most
                && let Some(rated) = self.cost(most, self.unbounded())
                && rated.exact < Exact::from(minimum)
            {
                let message = format!(
                    "usage up to the hard limit of {most} never comes to the minimum of {minimum}: {}",
                    rated.explanation
                );
                self.found(findings, "minimum", FindingKind::UnreachedMinimum, message);
            }
        }
        if let Some(maximum) = self.terms.maximum
            && let Ok(first) = add_quantities(self.terms.allowance, Decimal::ONE)
            && self.most.is_none_or(|most| first <= most)
            && let Some(rated) = self.cost(first, self.unbounded())
            && rated.exact > Exact::from(maximum)
        {
            let message = format!(
                "the first unit costs more than the maximum of {maximum}: {}",
                rated.explanation
            );
            self.found(findings, "maximum", FindingKind::LowMaximum, message);
        }
    }

    /// What is above the allowance, compared with what the recurring price comes to for each unit in it.
    fn lint_overage(&self, findings: &mut Findings) {
        let (allowance, price) = (self.terms.allowance, self.plan.price);
        if allowance.is_zero() || price.is_zero() || is_free(self.charge) {
            return;
        }
        if let Some(message) = self.why_undercut(allowance) {
            self.found(findings, "charge", FindingKind::CheapOverage, message);
        }
    }

    fn why_undercut(&self, allowance: Decimal) -> Option<String> {
        let price = self.plan.price;
        let twice = add_quantities(allowance, allowance).ok()?;
        let quantity = self.most.map_or(twice, |most| most.min(twice));
        let overage = quantity
            .checked_sub(allowance)
            .filter(|overage| !overage.is_zero())?;
        let rated = self.cost(quantity, self.unbounded())?;
        // cost / overage < price / allowance, without a division.
        let cost = rated.exact.checked_mul(allowance)?;
        (cost < Exact::product(overage, price.to_decimal())).then(|| {
            format!(
                "{overage} above the allowance cost less a unit than the price of {price} for {allowance} \
                 included: {}",
                rated.explanation
            )
        })
    }

    /// The tiers of the model, if it has some and their bounds fit.
    fn tiers(&self) -> Option<Tiers> {
        let allowance = self.terms.allowance;
        let tiers = match self.charge {
            ChargeModel::Graduated(graduated) => Tiers {
                model: "graduated",
                tiers: tier_prices(
                    allowance,
                    graduated
                        .tiers
                        .iter()
                        .map(|tier| (tier.up_to, tier.unit_price, tier.flat_fee)),
                )?,
                is_graduated: true,
                empty_first_fee: graduated.empty_first_fee,
            },
            ChargeModel::GraduatedPercentage(graduated) => Tiers {
                model: "graduated_percentage",
                tiers: tier_prices(
                    allowance,
                    graduated
                        .tiers
                        .iter()
                        .map(|tier| (tier.up_to, tier.percent, tier.flat_fee)),
                )?,
                is_graduated: true,
                empty_first_fee: graduated.empty_first_fee,
            },
            ChargeModel::Volume(volume) => {
                let included = match volume.allowance {
                    VolumeAllowance::Excess => allowance,
                    VolumeAllowance::Whole => Decimal::ZERO,
                };
                Tiers {
                    model: "volume",
                    tiers: tier_prices(
                        included,
                        volume
                            .tiers
                            .iter()
                            .map(|tier| (tier.up_to, tier.unit_price, tier.flat_fee)),
                    )?,
                    is_graduated: false,
                    empty_first_fee: volume.empty_first_fee,
                }
            }
            ChargeModel::Flat { .. }
            | ChargeModel::PerUnit { .. }
            | ChargeModel::Package(_)
            | ChargeModel::Percentage(_)
            | ChargeModel::Matrix(_) => return None,
        };
        Some(tiers)
    }

    /// What is due without any usage, the minimum aside.
    fn cost_of_nothing(&self) -> Exact {
        rate(
            self.charge,
            &Used::NONE,
            &self.unbounded(),
            self.plan.currency(),
            self.plan.rounding,
        )
        .map_or(Exact::ZERO, |rated| rated.exact)
    }

    /// What a quantity costs that came in one event; none when that does not tell, or does not fit.
    fn cost(&self, quantity: Decimal, terms: PeriodTerms) -> Option<Rated> {
        let used = Used::Total { quantity, events: 1 };
        rate(
            self.charge,
            &used,
            &terms,
            self.plan.currency(),
            self.plan.rounding,
        )
        .ok()
    }

    /// The terms without minimum and maximum.
    fn unbounded(&self) -> PeriodTerms {
        PeriodTerms {
            allowance: self.terms.allowance,
            ..PeriodTerms::default()
        }
    }

    fn found(&self, findings: &mut Findings, field: &str, kind: FindingKind, message: String) {
        findings.push(format!("{}.{field}", self.at), kind, message);
    }
}

/// Tiers as `(up_to, price, flat fee)`, whose bounds count from `included` on. None if one does not fit.
fn tier_prices(
    included: Decimal,
    tiers: impl Iterator<Item = (Option<Decimal>, Decimal, Decimal)>,
) -> Option<Vec<TierPrice>> {
    let mut above = included;
    let mut prices = Vec::new();
    for (index, (up_to, price, flat_fee)) in tiers.enumerate() {
        let up_to = match up_to {
            Some(up_to) => Some(add_quantities(included, up_to).ok()?),
            None => None,
        };
        prices.push(TierPrice {
            index,
            above,
            up_to,
            price,
            flat_fee,
        });
        above = up_to.unwrap_or(above);
    }
    Some(prices)
}
