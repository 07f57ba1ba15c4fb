//! Invoices as rows of the FOCUS specification, version 1.2, data set *Cost and Usage*.
//!
//! [FOCUS](https://focus.finops.org/focus-specification/v1-2/) is the format in which tools that watch costs read what
//! a provider charges. [`rows`] makes one row of each line of an invoice; [`write_csv`] writes them as text. Version 1.3
//! renames what is here `ProviderName` and `PublisherName`.
//!
//! # Which line is what
//!
//! | Line | `ChargeCategory` | `ChargeClass` | `ChargeFrequency` |
//! |---|---|---|---|
//! | recurring, in advance and in arrears | Purchase | | Recurring |
//! | proration charge, commitment true-up, add-on bought once | Purchase | | One-Time |
//! | proration credit: part of what an earlier invoice billed, taken back | Purchase | Correction | One-Time |
//! | usage | Usage | | Usage-Based |
//! | usage adjustment: late usage of a period that was invoiced | Usage | Correction | Usage-Based |
//! | discount; credit applied, carried, refunded; prepaid credit applied | Credit | | One-Time |
//! | tax on top | Tax | | One-Time |
//!
//! Tax that is in the prices has no line, so no row. A usage line that moved here from an invoice that was withdrawn is no
//! correction: a void invoice has no rows, so it is billed here for the first time.
//!
//! # Costs
//!
//! `BilledCost` is the amount of the line, so the sum over the rows of an invoice is its total, as FOCUS asks. Credit stays
//! in balance over the invoices: what one keeps (`CreditCarried`, positive) a later one uses up (`CreditApplied`,
//! negative). `CreditRefunded` is positive as well: that money goes back to the customer past the invoices, so a cost
//! report that is to show it takes that row off.
//!
//! `EffectiveCost` is `BilledCost`: no purchase here covers the charges of other rows. `ListCost` and `ContractedCost` are
//! `PricingQuantity` x unit price where there is one, and `BilledCost` where not: the price of the plan is what is published
//! and what was agreed to. They may differ from `BilledCost` by less than a minor unit, since only that is rounded.
//!
//! # Prices
//!
//! FOCUS wants a quantity and a price that make the cost. They are those of the line if their product is its amount, but for
//! the rounding. Else, as with an allowance or a part of a period, the quantity is the amount by the price, if that comes
//! out even. Else, as with tiers, it is one charge at its amount, and the unit is [`WHOLE_CHARGE`].
//!
//! # Columns
//!
//! | Column | From | Null |
//! |---|---|---|
//! | `BilledCost`, `EffectiveCost` | the amount | never |
//! | `BillingAccountId`, `BillingCurrency` | tenant, currency | never |
//! | `BillingAccountName` | [`FocusContext`] | when accounts have no names |
//! | `BillingPeriodStart`, `BillingPeriodEnd` | the period of the invoice | never |
//! | `ChargeCategory`, `ChargeFrequency` | as above | never |
//! | `ChargeClass` | as above | when it is no correction |
//! | `ChargeDescription` | the plan's name, meter, add-on, filter, and the explanation | never |
//! | `ChargePeriodStart`, `ChargePeriodEnd` | the period of the line | never |
//! | `ConsumedQuantity`, `ConsumedUnit` | the quantity, allowance included | when it is not Usage |
//! | `ListCost`, `ContractedCost` | as above | never |
//! | `PricingQuantity`, `PricingUnit`, `ListUnitPrice`, `ContractedUnitPrice` | as above | for Tax, Credit, Correction |
//! | `InvoiceId` | series and number, such as `EU-2026-17`; the id if it has none | never |
//! | `InvoiceIssuerName`, `ProviderName`, `PublisherName`, `ServiceName`, `ServiceCategory` | [`FocusContext`] | never |
//! | `SkuId` | the plan's code, `/` the meter or add-on | for Tax, Credit |
//! | `SkuPriceId` | the id of the plan's version, `/` the meter or add-on, `/` the filter | for Tax, Credit |
//! | `SkuMeter` | the meter | when it is not Usage |
//! | `SkuPriceDetails` | `x_Filter`, the name of the filter | without a filter |
//! | `SubAccountId` | the subscription | never |
//! | `SubAccountName` | [`FocusContext`] | never |
//! | `Tags` | the properties by which the meter groups | without a group |
//!
//! Left out are the columns that FOCUS asks for only where there is such a thing: availability zones, regions, resources,
//! capacity reservations, commitment discounts, several kinds of account, other pricing categories than Standard, other
//! pricing currencies; and `ServiceSubcategory`, which is recommended.
//!
//! # Where we differ
//!
//! A discount is a row of its own, since it is a line of its own; FOCUS would rather have it in the row that it is taken off
//! (`DiscountHandling`). A SKU price with tiers has several unit prices, since an invoice has one line for them.

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use chrono::{DateTime, SubsecRound as _, Utc};
use rust_decimal::Decimal;

pub use self::row::{ChargeCategory, ChargeClass, ChargeFrequency, FocusRow, ServiceCategory, write_csv};
use crate::calendar::{Interval, IntervalUnit};
use crate::id::{MeterCode, PlanId};
use crate::invoice::{Invoice, InvoiceLine, InvoiceStatus, LineKind};
use crate::plan::Plan;

mod row;

/// The pricing unit of a charge that no single unit price makes up.
pub const WHOLE_CHARGE: &str = "Charges";

/// What an invoice does not know.
#[derive(Clone, Copy, Debug)]
pub struct FocusContext<'a> {
    /// Who makes the service available.
    pub provider_name: &'a str,
    /// Who made what is sold; mostly the provider.
    pub publisher_name: &'a str,
    /// Who issues the invoice, such as the legal entity.
    pub invoice_issuer_name: &'a str,
    /// What the product is called.
    pub service_name: &'a str,
    /// What it is for, in a word of FOCUS.
    pub service_category: ServiceCategory,
    /// The name of the tenant, if tenants have one.
    pub billing_account_name: Option<&'a str>,
    /// The name of the subscription; where it has none, its product will do.
    pub sub_account_name: &'a str,
    /// The plans by which the lines are priced, in any order, in the very versions.
    pub plans: &'a [Plan],
    /// What each meter counts, in the plural and with a capital as FOCUS writes units, such as `GB` or `Requests`. A meter
    /// that is not here has its code for a unit.
    pub units: &'a BTreeMap<MeterCode, String>,
}

/// Why an invoice has no rows.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FocusError {
    /// A charge is priced by a plan that is not among those of the context.
    #[error("line {line} is priced by plan `{plan_id}`, which is not among the plans")]
    UnknownPlan {
        /// The line, by its place from 0.
        line: usize,
        /// The plan.
        plan_id: PlanId,
    },
}

/// The rows of an invoice, in the order of its lines; none for a void one.
///
/// See the [module](self) for what each column says.
///
/// # Units
///
/// Major units of the invoice's currency, exact. Instants are cut to whole seconds, as FOCUS writes them.
///
/// # Errors
///
/// [`FocusError::UnknownPlan`], in the order of the lines.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use billing_core::export::focus::{FocusContext, ServiceCategory, rows, write_csv};
/// # use billing_core::{invoice::Invoice, plan::Plan};
/// # let invoice: Invoice = serde_json::from_str(include_str!("example.json")).unwrap();
/// # let plan: Plan = serde_json::from_str(r#"{
/// #     "id": "00000000-0000-7000-8000-000000000001", "code": "pro", "version": 1, "product": "app", "name": "Pro",
/// #     "price": {"minor": 2900, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true}"#).unwrap();
///
/// let context = FocusContext {
///     provider_name: "Acme",
///     publisher_name: "Acme",
///     invoice_issuer_name: "Acme Inc.",
///     service_name: "Acme Cloud",
///     service_category: ServiceCategory::DeveloperTools,
///     billing_account_name: Some("Example Corp"),
///     sub_account_name: "Acme Cloud",
///     plans: &[plan],
///     units: &[("requests".parse().unwrap(), "Requests".into())].into(),
/// };
/// let rows = rows(&invoice, &context).unwrap();
/// assert_eq!(rows[0].charge_description, "Pro: 29.00 USD for every month");
/// assert_eq!(rows.iter().map(|row| row.billed_cost).sum::<rust_decimal::Decimal>(), invoice.total.to_decimal());
///
/// let mut csv = String::new();
/// write_csv(&rows, &mut csv);
/// assert!(csv.starts_with("BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,"));
/// # }
/// ```
pub fn rows(invoice: &Invoice, context: &FocusContext<'_>) -> Result<Vec<FocusRow>, FocusError> {
    match invoice.state {
        InvoiceStatus::Void { .. } => Ok(Vec::new()),
        InvoiceStatus::Open | InvoiceStatus::Paid { .. } | InvoiceStatus::Uncollectible { .. } => invoice
            .lines
            .iter()
            .enumerate()
            .map(|(place, line)| row(invoice, place, line, context))
            .collect(),
    }
}

fn row(
    invoice: &Invoice,
    place: usize,
    line: &InvoiceLine,
    context: &FocusContext<'_>,
) -> Result<FocusRow, FocusError> {
    let (category, class, frequency) = classify(line.kind);
    let billed = line.amount.to_decimal();
    let mut row = FocusRow {
        billed_cost: billed,
        billing_account_id: invoice.tenant_id,
        billing_account_name: context.billing_account_name.map(String::from),
        billing_currency: line.amount.currency,
        billing_period_end: seconds(invoice.period.end),
        billing_period_start: seconds(invoice.period.start),
        charge_category: category,
        charge_class: class,
        charge_description: line.explanation.clone(),
        charge_frequency: frequency,
        charge_period_end: seconds(line.period.end),
        charge_period_start: seconds(line.period.start),
        consumed_quantity: None,
        consumed_unit: None,
        contracted_cost: billed,
        contracted_unit_price: None,
        effective_cost: billed,
        invoice_id: super::serial(invoice).unwrap_or_else(|| invoice.id.to_string()),
        invoice_issuer_name: context.invoice_issuer_name.to_owned(),
        list_cost: billed,
        list_unit_price: None,
        pricing_quantity: None,
        pricing_unit: None,
        provider_name: context.provider_name.to_owned(),
        publisher_name: context.publisher_name.to_owned(),
        service_category: context.service_category,
        service_name: context.service_name.to_owned(),
        sku_id: None,
        sku_meter: None,
        sku_price_details: None,
        sku_price_id: None,
        sub_account_id: invoice.subscription_id,
        sub_account_name: context.sub_account_name.to_owned(),
        tags: line
            .cell
            .as_ref()
            .map(|cell| cell.group.clone())
            .filter(|group| !group.is_empty()),
    };
    match category {
        ChargeCategory::Tax | ChargeCategory::Credit | ChargeCategory::Adjustment => return Ok(row),
        ChargeCategory::Usage | ChargeCategory::Purchase => {}
    }
    let plan = context
        .plans
        .iter()
        .find(|plan| plan.id == line.plan_id)
        .ok_or(FocusError::UnknownPlan {
            line: place,
            plan_id: line.plan_id,
        })?;
    name_sku(&mut row, line, plan);
    let unit = match &line.meter {
        Some(meter) => context
            .units
            .get(meter)
            .cloned()
            .unwrap_or_else(|| meter.to_string()),
        None => interval_unit(plan.interval),
    };
    if category == ChargeCategory::Usage {
        row.consumed_quantity = Some(line.quantity);
        row.consumed_unit = Some(unit.clone());
    }
    // What a correction comes to is a difference, for which FOCUS asks no price.
    if class.is_none() {
        let price = price(line);
        row.pricing_unit = Some(if price.is_whole {
            WHOLE_CHARGE.to_owned()
        } else {
            unit
        });
        row.pricing_quantity = Some(price.quantity);
        row.list_unit_price = Some(price.unit_price);
        row.contracted_unit_price = Some(price.unit_price);
        row.list_cost = price.cost;
        row.contracted_cost = price.cost;
    }
    Ok(row)
}

const fn classify(kind: LineKind) -> (ChargeCategory, Option<ChargeClass>, ChargeFrequency) {
    const CORRECTION: Option<ChargeClass> = Some(ChargeClass::Correction);
    match kind {
        LineKind::RecurringInAdvance | LineKind::RecurringInArrears => {
            (ChargeCategory::Purchase, None, ChargeFrequency::Recurring)
        }
        LineKind::ProrationCharge | LineKind::CommitmentTrueUp | LineKind::AddOn => {
            (ChargeCategory::Purchase, None, ChargeFrequency::OneTime)
        }
        LineKind::ProrationCredit => (ChargeCategory::Purchase, CORRECTION, ChargeFrequency::OneTime),
        LineKind::Usage => (ChargeCategory::Usage, None, ChargeFrequency::UsageBased),
        LineKind::UsageAdjustment => (ChargeCategory::Usage, CORRECTION, ChargeFrequency::UsageBased),
        LineKind::Discount
        | LineKind::CreditApplied
        | LineKind::CreditCarried
        | LineKind::CreditRefunded
        | LineKind::PrepaidApplied => (ChargeCategory::Credit, None, ChargeFrequency::OneTime),
        LineKind::Tax => (ChargeCategory::Tax, None, ChargeFrequency::OneTime),
    }
}

/// Says in `row` what was sold: which plan, meter and filter.
fn name_sku(row: &mut FocusRow, line: &InvoiceLine, plan: &Plan) {
    let (mut sku, mut price, mut name) = (plan.code.to_string(), plan.id.to_string(), plan.name.clone());
    if let Some(meter) = &line.meter {
        sku.push_str(&format!("/{meter}"));
        price.push_str(&format!("/{meter}"));
        name.push_str(&format!(", {meter}"));
        row.sku_meter = Some(meter.to_string());
    }
    if let Some(add_on) = &line.add_on {
        sku.push_str(&format!("/{add_on}"));
        price.push_str(&format!("/{add_on}"));
        let sold = plan.add_ons.get(add_on).map(|sold| &sold.name);
        name.push_str(&format!(", {}", sold.map_or(add_on.as_str(), |name| name)));
    }
    if let Some(filter) = line.cell.as_ref().and_then(|cell| cell.filter.as_ref()) {
        price.push_str(&format!("/{filter}"));
        name.push_str(&format!(", {filter}"));
        row.sku_price_details = Some([("x_Filter".to_owned(), filter.clone())].into());
    }
    row.sku_id = Some(sku);
    row.sku_price_id = Some(price);
    row.charge_description = format!("{name}: {}", line.explanation);
}

/// A quantity and a price that make a cost.
struct Price {
    quantity: Decimal,
    unit_price: Decimal,
    cost: Decimal,
    /// Whether it is one charge at its amount.
    is_whole: bool,
}

/// By which quantity and price a line costs what it does; see the [module](self), "Prices".
fn price(line: &InvoiceLine) -> Price {
    let amount = line.amount.to_decimal();
    if let Some(unit_price) = line.unit_price.filter(|price| !price.is_sign_negative()) {
        let by = |quantity, cost| Price {
            quantity,
            unit_price,
            cost,
            is_whole: false,
        };
        let minor_unit = Decimal::new(1, line.amount.currency.exponent());
        let is_rounded = |cost: &Decimal| {
            let rest = cost.checked_sub(amount);
            rest.is_some_and(|rest| rest.abs() < minor_unit)
        };
        if let Some(cost) = product(line.quantity, unit_price).filter(is_rounded) {
            return by(line.quantity, cost);
        }
        let even = amount
            .checked_div(unit_price)
            .map(|quantity| quantity.normalize());
        if let Some(quantity) = even.filter(|quantity| product(*quantity, unit_price) == Some(amount)) {
            return by(quantity, amount);
        }
    }
    Price {
        quantity: if amount.is_sign_negative() {
            Decimal::NEGATIVE_ONE
        } else {
            Decimal::ONE
        },
        unit_price: amount.abs(),
        cost: amount,
        is_whole: true,
    }
}

/// The product if a decimal holds all its digits. `checked_mul` would round it.
fn product(left: Decimal, right: Decimal) -> Option<Decimal> {
    let (left, right) = (left.normalize(), right.normalize());
    let mantissa = left.mantissa().checked_mul(right.mantissa())?;
    let scale = left.scale().checked_add(right.scale())?;
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// As FOCUS writes units: `Months`, `3 Months`.
fn interval_unit(interval: Interval) -> String {
    let unit = match interval.unit {
        IntervalUnit::Day => "Days",
        IntervalUnit::Week => "Weeks",
        IntervalUnit::Month => "Months",
        IntervalUnit::Year => "Years",
    };
    match interval.count.get() {
        1 => unit.to_owned(),
        count => format!("{count} {unit}"),
    }
}

fn seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0)
}

#[cfg(test)]
mod tests;
