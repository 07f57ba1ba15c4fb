//! A row of FOCUS, and rows as CSV.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use core::fmt::Write as _;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::id::{SubscriptionId, TenantId};
use crate::money::Currency;

macro_rules! allowed_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[expect(
            clippy::exhaustive_enums,
            reason = "the allowed values of FOCUS 1.2; another version is another module"
        )]
        pub enum $name {
            $($(#[$value_doc])* #[cfg_attr(feature = "serde", serde(rename = $text))] $value,)*
        }

        impl $name {
            /// As FOCUS writes it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

allowed_values! {
    /// How a charge came about.
    ChargeCategory {
        /// By a quantity that was used.
        Usage = "Usage",
        /// By what was bought at once or for a time, refunds of it included.
        Purchase = "Purchase",
        /// Levied by an authority.
        Tax = "Tax",
        /// Granted or moved by the seller.
        Credit = "Credit",
        /// None of the others; no line of an invoice is.
        Adjustment = "Adjustment",
    }
}

allowed_values! {
    /// Whether a charge corrects a period that was invoiced before.
    ChargeClass {
        /// It does.
        Correction = "Correction",
    }
}

allowed_values! {
    /// How often a charge comes.
    ChargeFrequency {
        /// Once.
        OneTime = "One-Time",
        /// Each period, whatever was used.
        Recurring = "Recurring",
        /// Whenever something was used.
        UsageBased = "Usage-Based",
    }
}

allowed_values! {
    /// What a service is for.
    ServiceCategory {
        /// Artificial intelligence and machine learning.
        AiAndMachineLearning = "AI and Machine Learning",
        /// Processing, analysis and display of data.
        Analytics = "Analytics",
        /// Business and productivity applications.
        BusinessApplications = "Business Applications",
        /// Machines, containers, functions.
        Compute = "Compute",
        /// Databases.
        Databases = "Databases",
        /// Development and delivery of software.
        DeveloperTools = "Developer Tools",
        /// Identity and access.
        Identity = "Identity",
        /// What lets applications work with each other.
        Integration = "Integration",
        /// Devices and their networks.
        InternetOfThings = "Internet of Things",
        /// Management, logs, observability.
        ManagementAndGovernance = "Management and Governance",
        /// Media and entertainment.
        Media = "Media",
        /// Moving applications and data.
        Migration = "Migration",
        /// Mobile technologies.
        Mobile = "Mobile",
        /// Several clouds, or clouds and own machines, together.
        Multicloud = "Multicloud",
        /// Networks.
        Networking = "Networking",
        /// None of the others.
        Other = "Other",
        /// Monitoring of security, compliance.
        Security = "Security",
        /// Storage.
        Storage = "Storage",
        /// What applications offer on the Internet.
        Web = "Web",
    }
}

/// One row: one charge. The fields are the columns, in the order of the alphabet; see the [module](super) for their rules.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "PascalCase", deny_unknown_fields)
)]
pub struct FocusRow {
    /// What is on the invoice.
    pub billed_cost: Decimal,
    /// The tenant.
    pub billing_account_id: TenantId,
    /// The tenant's name.
    pub billing_account_name: Option<String>,
    /// The currency of all costs and prices.
    pub billing_currency: Currency,
    /// Where the invoice's period ends, itself outside.
    pub billing_period_end: DateTime<Utc>,
    /// Where the invoice's period starts.
    pub billing_period_start: DateTime<Utc>,
    /// How it came about.
    pub charge_category: ChargeCategory,
    /// Whether it is a correction.
    pub charge_class: Option<ChargeClass>,
    /// What it is for, and its arithmetic.
    pub charge_description: String,
    /// How often it comes.
    pub charge_frequency: ChargeFrequency,
    /// Where the time that it is for ends, itself outside.
    pub charge_period_end: DateTime<Utc>,
    /// Where the time that it is for starts.
    pub charge_period_start: DateTime<Utc>,
    /// How much was used.
    pub consumed_quantity: Option<Decimal>,
    /// Of what.
    pub consumed_unit: Option<String>,
    /// The cost at the price that was agreed.
    pub contracted_cost: Decimal,
    /// The price that was agreed, of one pricing unit.
    pub contracted_unit_price: Option<Decimal>,
    /// The cost with purchases spread over what they cover.
    pub effective_cost: Decimal,
    /// The invoice.
    pub invoice_id: String,
    /// Who issued it.
    pub invoice_issuer_name: String,
    /// The cost at the published price.
    pub list_cost: Decimal,
    /// The published price of one pricing unit.
    pub list_unit_price: Option<Decimal>,
    /// How many pricing units were priced.
    pub pricing_quantity: Option<Decimal>,
    /// What the unit price is for.
    pub pricing_unit: Option<String>,
    /// Who makes the service available.
    pub provider_name: String,
    /// Who made it.
    pub publisher_name: String,
    /// What the service is for.
    pub service_category: ServiceCategory,
    /// What it is called.
    pub service_name: String,
    /// What was sold.
    pub sku_id: Option<String>,
    /// What of it is measured.
    pub sku_meter: Option<String>,
    /// What tells its prices apart.
    pub sku_price_details: Option<BTreeMap<String, String>>,
    /// By which price.
    pub sku_price_id: Option<String>,
    /// The subscription.
    pub sub_account_id: SubscriptionId,
    /// Its name.
    pub sub_account_name: String,
    /// The properties of what was used.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A column: its name, and its value in a row.
type Column = (&'static str, fn(&FocusRow) -> Option<String>);

/// All columns, in the order of the file. Those of later versions are to be added at the end of it.
pub(super) const COLUMNS: [Column; 34] = [
    ("BilledCost", |row| Some(row.billed_cost.to_string())),
    ("BillingAccountId", |row| Some(row.billing_account_id.to_string())),
    ("BillingAccountName", |row| row.billing_account_name.clone()),
    ("BillingCurrency", |row| Some(row.billing_currency.to_string())),
    ("BillingPeriodEnd", |row| instant(row.billing_period_end)),
    ("BillingPeriodStart", |row| instant(row.billing_period_start)),
    ("ChargeCategory", |row| Some(row.charge_category.as_str().into())),
    ("ChargeClass", |row| {
        row.charge_class.map(|class| class.as_str().into())
    }),
    ("ChargeDescription", |row| Some(row.charge_description.clone())),
    ("ChargeFrequency", |row| {
        Some(row.charge_frequency.as_str().into())
    }),
    ("ChargePeriodEnd", |row| instant(row.charge_period_end)),
    ("ChargePeriodStart", |row| instant(row.charge_period_start)),
    ("ConsumedQuantity", |row| decimal(row.consumed_quantity)),
    ("ConsumedUnit", |row| row.consumed_unit.clone()),
    ("ContractedCost", |row| Some(row.contracted_cost.to_string())),
    ("ContractedUnitPrice", |row| decimal(row.contracted_unit_price)),
    ("EffectiveCost", |row| Some(row.effective_cost.to_string())),
    ("InvoiceId", |row| Some(row.invoice_id.clone())),
    ("InvoiceIssuerName", |row| Some(row.invoice_issuer_name.clone())),
    ("ListCost", |row| Some(row.list_cost.to_string())),
    ("ListUnitPrice", |row| decimal(row.list_unit_price)),
    ("PricingQuantity", |row| decimal(row.pricing_quantity)),
    ("PricingUnit", |row| row.pricing_unit.clone()),
    ("ProviderName", |row| Some(row.provider_name.clone())),
    ("PublisherName", |row| Some(row.publisher_name.clone())),
    ("ServiceCategory", |row| {
        Some(row.service_category.as_str().into())
    }),
    ("ServiceName", |row| Some(row.service_name.clone())),
    ("SkuId", |row| row.sku_id.clone()),
    ("SkuMeter", |row| row.sku_meter.clone()),
    ("SkuPriceDetails", |row| {
        row.sku_price_details.as_ref().map(object)
    }),
    ("SkuPriceId", |row| row.sku_price_id.clone()),
    ("SubAccountId", |row| Some(row.sub_account_id.to_string())),
    ("SubAccountName", |row| Some(row.sub_account_name.clone())),
    ("Tags", |row| row.tags.as_ref().map(object)),
];

/// Appends the rows to `out` as CSV: a line of column names, then a line for each row, each ended by CRLF.
///
/// The columns are those of [`FocusRow`], in its order, always all of them. Null is nothing between two commas, an empty
/// text is `""`. Key-value columns are JSON objects. Values stay as they are, so a spreadsheet may take a description that
/// begins with `=` for a formula.
///
/// # Source
///
/// RFC 4180. Decimals, instants (`2026-06-01T00:00:00Z`) and nulls as in the attributes of FOCUS 1.2.
///
/// # Example
///
/// ```
/// let mut csv = String::new();
/// billing_core::export::focus::write_csv(&[], &mut csv);
/// assert_eq!(csv.split(',').count(), 34);
/// assert!(csv.ends_with(",SubAccountName,Tags\r\n"));
/// ```
pub fn write_csv(rows: &[FocusRow], out: &mut String) {
    let names = COLUMNS.iter().map(|(name, _)| Some((*name).into()));
    write_record(names, out);
    for row in rows {
        write_record(COLUMNS.iter().map(|(_, value)| value(row)), out);
    }
}

fn write_record(fields: impl Iterator<Item = Option<String>>, out: &mut String) {
    let mut separator = "";
    for field in fields {
        out.push_str(separator);
        separator = ",";
        match field {
            None => {}
            Some(text) if text.is_empty() || text.contains(['"', ',', '\r', '\n']) => {
                out.push('"');
                out.push_str(&text.replace('"', "\"\""));
                out.push('"');
            }
            Some(text) => out.push_str(&text),
        }
    }
    out.push_str("\r\n");
}

fn decimal(value: Option<Decimal>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn instant(at: DateTime<Utc>) -> Option<String> {
    Some(at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A JSON object of texts.
fn object(values: &BTreeMap<String, String>) -> String {
    let mut json = String::from("{");
    for (key, value) in values {
        json.push_str(if json.len() > 1 { "," } else { "" });
        write_quoted(key, &mut json);
        json.push(':');
        write_quoted(value, &mut json);
    }
    json.push('}');
    json
}

fn write_quoted(text: &str, json: &mut String) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}
