//! Bills a real month of usage, then walks one subscription through its life.
//!
//! `cargo run --release --example quickstart [file]`: a second run on the same file changes nothing, and says so.

mod composed;

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;

use billing::core::access;
use billing::core::audit::Actor;
use billing::core::calendar::Interval;
use billing::core::charge::ChargeModel;
use billing::core::id::{
    FeatureCode, IdempotencyKey, MeterCode, PaymentMethodId, PlanCode, ProductCode, TenantId, TrialFamily,
};
use billing::core::money::{Currency, Exact, Money, Rounding};
use billing::core::payment::PaymentOutcome;
use billing::core::plan::{
    Activation, BillingTiming, Feature, MeterTerms, Plan, ProrationRule, RestrictedStage, Trial, TrialEnd,
};
use billing::core::retry::{DeclineClass, RetryPolicy};
use billing::core::subscription::Subscription;
use billing::core::usage::{UsageEvent, UsageOutcome};
use billing::{Billing, NewSubscription, Receipt, Request, SqliteStore, Store, SweepOptions, TestClock};
use chrono::{DateTime, NaiveDateTime, Utc};
use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// One usage row of the file.
struct Row {
    id: String,
    account: String,
    meter: MeterCode,
    quantity: Decimal,
    unit_price: Decimal,
    list_cost: Decimal,
    occurred_at: DateTime<Utc>,
    service: String,
    region: String,
}

fn main() -> ExitCode {
    let path = std::env::args().nth(1).unwrap_or_else(|| "quickstart.db".into());
    match futures_executor::block_on(run(&path)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("some sums are not equal");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &str) -> Result<bool> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path)?);
    let (equal, imported) = bill_a_month(&store).await?;
    let before = store.subscriptions_of(walker()).await?;
    let walked = walk(&store).await?;
    let walked_anew = store.subscriptions_of(walker()).await? != before;

    composed::show(&store).await?;

    let billing = Billing::new(Arc::clone(&store), Arc::new(TestClock::at(at("2024-12-01")?)));
    let head = billing.verify_audit(walked.id).await?;
    print(&format!(
        "\naudit chain verified: {} entries, head {}",
        head.sequence, head.hash
    ));
    print(&format!("everything is in {path}"));
    if !imported && !walked_anew {
        print("this file was billed before: nothing was imported and nothing has changed");
    }
    Ok(equal)
}

/// Imports September 2024, moves time to its end, and holds each tenant's invoice against the published costs.
///
/// Returns whether all sums are equal, and whether anything was new.
async fn bill_a_month(store: &Arc<dyn Store>) -> Result<(bool, bool)> {
    let (rows, left_out) = read_rows()?;
    let clock = Arc::new(TestClock::at(at("2024-09-01")?));
    let billing = Billing::new(Arc::clone(store), clock.clone());

    let plan = match billing.plan(&PlanCode::new("list-prices")?, None).await? {
        Some(plan) => plan,
        None => {
            let plan = list_prices(&billing, &rows)?;
            billing.put_plan(&plan).await?;
            plan
        }
    };
    let mut tenants: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        tenants.entry(&row.account).or_default().push(row);
    }
    let mut created = 0;
    let mut subscriptions = BTreeMap::new();
    for account in tenants.keys() {
        let tenant_id = tenant(account)?;
        created += usize::from(billing.subscriptions_of(tenant_id).await?.is_empty());
        let new = NewSubscription::new(tenant_id, plan.id);
        let receipt = billing
            .create(&request(&format!("subscribe:{account}"))?, &new)
            .await?;
        subscriptions.insert(*account, receipt.id());
    }

    clock.set(at("2024-10-01")?);
    let (mut accepted, mut duplicates) = (0, 0);
    for batch in rows.chunks(500) {
        let events = batch.iter().map(event).collect::<Result<Vec<_>>>()?;
        for outcome in billing.record_usage(events).await? {
            match outcome {
                UsageOutcome::Accepted | UsageOutcome::Late { .. } => accepted += 1,
                UsageOutcome::Duplicate => duplicates += 1,
                UsageOutcome::Refused(refusal) => return Err(refusal.into()),
            }
        }
    }
    let report = billing
        .sweep(at("2024-10-02")?, &SweepOptions::default(), |_| {
            ControlFlow::Continue(())
        })
        .await?;
    if let Some(failure) = report.failures.first() {
        return Err(failure.error.to_string().into());
    }

    print(&format!(
        "{:>12}  {:>6}  {:>24}  {:>16}  {:>12}",
        "tenant", "events", "exact sum", "published", "invoice"
    ));
    let (usd, october) = (Currency::from_code("USD")?, at("2024-10-01")?);
    let mut total = (0, Exact::ZERO, Decimal::ZERO, Money::zero(usd));
    let mut equal = true;
    for (account, rows) in &tenants {
        let id = subscriptions
            .get(account)
            .ok_or("a tenant without a subscription")?;
        let invoices = billing.invoices_of(*id).await?;
        let renewal = invoices.iter().find(|invoice| invoice.period.start == october);
        let invoice = renewal.ok_or("a tenant without an invoice")?;
        let exact = sum(invoice
            .lines
            .iter()
            .map(|line| Exact::product(line.quantity, line.unit_price.unwrap_or_default())))?;
        let of_rows = sum(rows
            .iter()
            .map(|row| Exact::product(row.quantity, row.unit_price)))?;
        let published: Decimal = rows.iter().map(|row| row.list_cost).sum();
        // The file has ten decimals: at that precision every product is the published cost.
        let at_file_precision: Decimal = rows
            .iter()
            .map(|row| {
                (row.quantity * row.unit_price)
                    .round_dp_with_strategy(10, RoundingStrategy::MidpointAwayFromZero)
            })
            .sum();
        let row_equal = exact == of_rows && at_file_precision == published;
        equal &= row_equal;
        print(&format!(
            "{account:>12}  {:>6}  {:>24}  {:>16}  {:>12}{}",
            rows.len(),
            exact.to_string(),
            published.normalize(),
            invoice.total.to_string(),
            if row_equal { "" } else { "  NOT EQUAL" },
        ));
        total.0 += rows.len();
        total.1 = total.1.checked_add(exact).ok_or("the sum does not fit")?;
        total.2 += published;
        total.3 = total.3.checked_add(invoice.total)?;
    }
    print(&format!(
        "{:>12}  {:>6}  {:>24}  {:>16}  {:>12}",
        "total",
        total.0,
        total.1.to_string(),
        total.2.normalize(),
        total.3.to_string()
    ));
    if equal {
        print("every exact sum equals the published one to the file's ten decimals, row by row");
    }
    for row in left_out {
        print(&format!("left out: {row}"));
    }
    print(&format!(
        "subscriptions: {created} created, {} there already; events: {accepted} recorded, {duplicates} there already; \
         sweep: {} steps, {} invoices",
        tenants.len() - created,
        report.steps,
        report.invoices,
    ));
    Ok((equal, created > 0 || accepted > 0 || report.steps > 0))
}

/// Walks one subscription through trial, active, grace, restricted, lapsed and back.
///
/// Every command has its own key, so that a second run is answered with the receipts of the first.
async fn walk(store: &Arc<dyn Store>) -> Result<Subscription> {
    let clock = Arc::new(TestClock::at(at("2024-09-01")?));
    let billing = Billing::new(Arc::clone(store), clock.clone());
    let plan = match billing.plan(&PlanCode::new("pro")?, None).await? {
        Some(plan) => plan,
        None => {
            let plan = pro(&billing)?;
            billing.put_plan(&plan).await?;
            plan
        }
    };
    let mut new = NewSubscription::new(walker(), plan.id);
    new.payment_method = Some(PaymentMethodId::new(Uuid::from_u128(2)));

    print("\n      date  status     standing    days  reports  export  what happened");
    let show = |date: &str, receipt: &Receipt, what: &str| -> Result<()> {
        let (subscription, now) = (&receipt.subscription, at(date)?);
        let grants = |feature: &str| -> Result<&str> {
            let granted = access::grants(subscription, &plan, &FeatureCode::new(feature)?, now);
            Ok(if granted { "yes" } else { "no" })
        };
        print(&format!(
            "{date}  {:<9}  {:<10}  {:>4}  {:<7}  {:<6}  {what}",
            subscription.status(),
            format!("{:?}", subscription.standing(now)),
            subscription.remaining_days(now),
            grants("reports")?,
            grants("export")?,
        ));
        Ok(())
    };

    let receipt = billing.create(&request("walk:create")?, &new).await?;
    show("2024-09-01", &receipt, "created with a trial of 14 days")?;
    let id = receipt.id();

    clock.set(at("2024-09-15")?);
    let receipt = billing.advance(&request("walk:trial-over")?, id).await?;
    show("2024-09-15", &receipt, "trial over, first invoice collecting")?;
    let receipt = pay(&billing, "walk:first-paid", &receipt, "2024-09-15").await?;
    show("2024-09-15", &receipt, "first invoice paid")?;

    clock.set(at("2024-10-15")?);
    let receipt = billing.advance(&request("walk:renewal")?, id).await?;
    show("2024-10-15", &receipt, "period over, renewal invoice collecting")?;
    let invoice_id = receipt.invoices.first().copied().ok_or("no renewal invoice")?;
    let failed = PaymentOutcome::Failed {
        class: DeclineClass::Retry,
        code: "insufficient_funds".into(),
    };
    let receipt = billing
        .record_payment(&request("walk:declined")?, id, invoice_id, failed)
        .await?;
    show("2024-10-15", &receipt, "card declined")?;
    // From here on time alone changes what is granted.
    show("2024-10-21", &receipt, "still in grace")?;
    show("2024-10-22", &receipt, "grace is over")?;
    show("2024-11-05", &receipt, "restricted stage is over")?;

    clock.set(at("2024-11-08")?);
    let total = billing.invoice(invoice_id).await?.ok_or("no invoice")?.total;
    let settled = PaymentOutcome::Settled {
        amount: total,
        reference: "late-payment".into(),
        settled_at: at("2024-11-08")?,
    };
    let receipt = billing
        .record_payment(&request("walk:late-paid")?, id, invoice_id, settled)
        .await?;
    show(
        "2024-11-08",
        &receipt,
        "paid late: a new period begins at the settlement",
    )?;
    Ok(receipt.subscription)
}

async fn pay(billing: &Billing, key: &str, collecting: &Receipt, date: &str) -> Result<Receipt> {
    let invoice_id = collecting.invoices.first().copied().ok_or("no invoice to pay")?;
    let amount = billing
        .invoice(invoice_id)
        .await?
        .ok_or("no invoice to pay")?
        .total;
    let settled = PaymentOutcome::Settled {
        amount,
        reference: key.into(),
        settled_at: at(date)?,
    };
    Ok(billing
        .record_payment(&request(key)?, collecting.id(), invoice_id, settled)
        .await?)
}

/// A plan without a recurring price, with a meter for each priced thing of the file.
fn list_prices(billing: &Billing, rows: &[Row]) -> Result<Plan> {
    let meters = rows
        .iter()
        .map(|row| {
            let charge = ChargeModel::PerUnit {
                unit_price: row.unit_price,
            };
            let terms = MeterTerms::new(charge);
            (row.meter.clone(), terms)
        })
        .collect();
    let usd = Currency::from_code("USD")?;
    Ok(Plan {
        meters,
        ..plan(
            billing,
            "list-prices",
            "cloud",
            "Usage at list prices",
            Money::zero(usd),
        )?
    })
}

fn pro(billing: &Billing) -> Result<Plan> {
    let usd = Currency::from_code("USD")?;
    let feature = |code: &str| -> Result<_> { Ok((FeatureCode::new(code)?, Feature::Flag(true))) };
    Ok(Plan {
        trial: Some(Trial {
            days: 14,
            payment_method_required: false,
            family: TrialFamily::new("app")?,
            without_payment_method: TrialEnd::Expire,
        }),
        grace_period_days: 7,
        restricted: Some(RestrictedStage {
            days: 14,
            features: [FeatureCode::new("export")?].into(),
        }),
        // Longer than grace and the restricted stage together, so that the walk sees them all.
        retry: RetryPolicy::IntervalsHours(vec![30 * 24]),
        features: [feature("reports")?, feature("export")?].into(),
        ..plan(billing, "pro", "app", "Pro", Money::new(29_00, usd))?
    })
}

fn plan(billing: &Billing, code: &str, product: &str, name: &str, price: Money) -> Result<Plan> {
    Ok(Plan {
        id: billing.new_plan_id(),
        code: PlanCode::new(code)?,
        version: 1,
        product: ProductCode::new(product)?,
        name: name.into(),
        price,
        interval: Interval::MONTHLY,
        minimum_commitment: None,
        timing: BillingTiming::InAdvance,
        activation: Activation::Immediate,
        trial: None,
        grace_period_days: 0,
        restricted: None,
        retention_days: 30,
        retry: RetryPolicy::default(),
        proration: ProrationRule::Second,
        rounding: Rounding::HalfAwayFromZero,
        closing_window_hours: 0,
        net_terms_days: 0,
        invoice_series: None,
        invoice_lines_per_day_max: 1_000,
        regions: [].into(),
        industries: [].into(),
        required_compliance: [].into(),
        is_active: true,
        discontinued: false,
        features: [].into(),
        meters: [].into(),
        add_ons: [].into(),
    })
}

fn event(row: &Row) -> Result<UsageEvent> {
    Ok(UsageEvent {
        idempotency_key: IdempotencyKey::new(&row.id)?,
        tenant_id: tenant(&row.account)?,
        meter: row.meter.clone(),
        quantity: row.quantity,
        occurred_at: row.occurred_at,
        properties: [
            ("service".into(), row.service.clone()),
            ("region".into(), row.region.clone()),
        ]
        .into(),
    })
}

/// The usage rows of the file, and a line on each row that is none.
fn read_rows() -> Result<(Vec<Row>, Vec<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/focus-usage-aws-2024-09.csv");
    let mut reader = csv::Reader::from_path(path)?;
    let headers = reader.headers()?.clone();
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let field = |name: &str| -> Result<&str> {
            let column = headers.iter().position(|header| header == name);
            column
                .and_then(|column| record.get(column))
                .ok_or_else(|| format!("no column `{name}`").into())
        };
        if field("ListUnitPrice")?.is_empty() {
            left_out.push(format!(
                "row {} is a {} of {} {} without a unit price",
                field("Id")?,
                field("ChargeCategory")?.to_lowercase(),
                Decimal::from_str_exact(field("ListCost")?)?.normalize(),
                field("BillingCurrency")?,
            ));
            continue;
        }
        rows.push(Row {
            id: field("Id")?.into(),
            account: field("SubAccountId")?.into(),
            meter: MeterCode::new(field("SkuPriceId")?)?,
            quantity: Decimal::from_str_exact(field("PricingQuantity")?)?,
            unit_price: Decimal::from_str_exact(field("ListUnitPrice")?)?,
            list_cost: Decimal::from_str_exact(field("ListCost")?)?,
            occurred_at: NaiveDateTime::parse_from_str(field("ChargePeriodStart")?, "%Y-%m-%d %H:%M:%S")?
                .and_utc(),
            service: field("ServiceName")?.into(),
            region: field("RegionId")?.into(),
        });
    }
    Ok((rows, left_out))
}

fn sum(parts: impl Iterator<Item = Exact>) -> Result<Exact> {
    let mut sum = Exact::ZERO;
    for part in parts {
        sum = sum.checked_add(part).ok_or("the sum does not fit")?;
    }
    Ok(sum)
}

/// The account's number as an id, so that every run means the same tenant.
fn tenant(account: &str) -> Result<TenantId> {
    Ok(TenantId::new(Uuid::from_u128(account.parse()?)))
}

/// Whose subscription is walked.
fn walker() -> TenantId {
    TenantId::new(Uuid::from_u128(1))
}

fn request(key: &str) -> Result<Request> {
    Ok(Request::new(IdempotencyKey::new(key)?, Actor::System))
}

/// Midnight of a date.
fn at(date: &str) -> Result<DateTime<Utc>> {
    Ok(format!("{date}T00:00:00Z").parse()?)
}

#[expect(clippy::print_stdout, reason = "the one place where the example prints")]
fn print(line: &str) {
    println!("{line}");
}
