//! How long core takes to rate what was used of one meter, by each charge model, and to make an invoice of many meters.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::str::FromStr;

use billing::core::charge::{
    ChargeModel, Graduated, GraduatedPercentage, Matrix, MatrixRow, Package, PercentTier, Percentage, Tier,
    Used, Volume, VolumeAllowance,
};
use billing::core::money::Rounding;
use billing::core::plan::MeterTerms;
use billing::core::rating::{PeriodTerms, rate};
use billing_benches::cases::{MeterCase, renewal_of};
use billing_benches::measure::{Table, Target, criterion_for_fastest, fastest};
use billing_benches::subscribers::usd;

/// Nanoseconds for one line.
const LINE: Target = Target::AtMost(500.0);

/// Nanoseconds for a decision that makes an invoice of [`METERS`] lines.
const INVOICE: Target = Target::AtMost(100_000.0);

const METERS: usize = 100;

/// How many tiers, rows and events there are.
const ENTRIES: u32 = 10;

/// In the last of the tiers, so that all of them count.
const QUANTITY: &str = "9876.5";

fn main() {
    let mut criterion = criterion_for_fastest(1);
    let mut table = Table::new(
        "Rating one line, ten tiers, rows or events, its arithmetic as text: the fastest of 50 samples (median - slowest)",
    );
    let (currency, rounding) = (usd(0).currency, Rounding::default());
    let events: Vec<_> = (1..=ENTRIES)
        .map(|event| number(&format!("{}.25", event * 20)))
        .collect();
    let cells: BTreeMap<_, _> = (1..=ENTRIES).map(|row| (values(row), number("987.65"))).collect();
    let total = Used::Total {
        quantity: number(QUANTITY),
        events: u64::from(ENTRIES),
    };
    let mut group = criterion.benchmark_group("rate");
    for (name, model) in models() {
        let used = match &model {
            ChargeModel::Percentage(_) => Used::Events(&events),
            ChargeModel::Matrix(_) => Used::Cells(&cells),
            _ => total,
        };
        let terms = MeterTerms::new(model);
        assert_eq!(terms.charge.validate(), Ok(()), "{name} is a price list");
        let period = PeriodTerms::whole(&terms);
        let run = || {
            let (model, used, period) = black_box((&terms.charge, &used, &period));
            rate(model, used, period, currency, rounding)
        };
        assert!(run().expect("a price").amount.minor > 0, "{name} costs something");
        fastest(&mut group, &mut table, name, LINE, run);
    }
    group.finish();

    let mut invoices = Table::new(
        "Deciding a renewal that bills 100 meters, 100 lines, all facts loaded: the fastest of 50 samples (median - slowest)",
    );
    let mut group = criterion.benchmark_group("invoice");
    for (name, charge) in [
        ("per unit", per_unit()),
        ("graduated", graduated("0")),
        ("volume", volume()),
    ] {
        let meters: Vec<_> = (0..METERS)
            .map(|meter| MeterCase {
                code: format!("meter-{meter:03}"),
                quantity: QUANTITY.into(),
                charge: charge.clone(),
            })
            .collect();
        let case = renewal_of(&meters);
        let decision = case.decide().expect("a case is valid");
        let invoice = decision.opened.expect("an invoice");
        assert_eq!(invoice.lines.len(), METERS, "a line for each meter");
        fastest(&mut group, &mut invoices, name, INVOICE, || {
            black_box(&case).decide()
        });
    }
    group.finish();
    criterion.final_summary();
    table.print();
    invoices.print();
}

/// Each charge model with its settings in use.
fn models() -> Vec<(&'static str, ChargeModel)> {
    vec![
        ("flat", ChargeModel::Flat { amount: number("25") }),
        ("per unit", per_unit()),
        ("graduated", graduated("0")),
        ("graduated, with a fee in each tier", graduated("2.5")),
        ("volume", volume()),
        (
            "package",
            ChargeModel::Package(Package {
                size: number("100"),
                price: number("0.75"),
            }),
        ),
        (
            "percentage, with fees and bounds for 10 events",
            ChargeModel::Percentage(Percentage {
                fixed_fee: number("0.3"),
                event_minimum: Some(number("1")),
                event_maximum: Some(number("5")),
                ..Percentage::of(number("2.9"))
            }),
        ),
        (
            "graduated percentage",
            ChargeModel::GraduatedPercentage(GraduatedPercentage {
                tiers: tiers(|tier, up_to| PercentTier {
                    up_to: up_to.map(|up_to| up_to.into()),
                    percent: number(&format!("2.{}", ENTRIES - tier)),
                    flat_fee: number("0"),
                }),
                empty_first_fee: false,
            }),
        ),
        (
            "matrix",
            ChargeModel::Matrix(Matrix {
                by: vec!["model".into(), "region".into()],
                rows: (1..=ENTRIES)
                    .map(|row| MatrixRow {
                        values: values(row),
                        unit_price: number(&format!("0.00{row:02}")),
                    })
                    .collect(),
                otherwise: None,
            }),
        ),
    ]
}

fn per_unit() -> ChargeModel {
    ChargeModel::PerUnit {
        unit_price: number("0.0004"),
    }
}

fn graduated(flat_fee: &str) -> ChargeModel {
    ChargeModel::Graduated(Graduated {
        tiers: unit_tiers(flat_fee),
        empty_first_fee: false,
    })
}

fn volume() -> ChargeModel {
    ChargeModel::Volume(Volume {
        tiers: unit_tiers("2.5"),
        allowance: VolumeAllowance::default(),
        empty_first_fee: false,
    })
}

fn unit_tiers(flat_fee: &str) -> Vec<Tier> {
    tiers(|tier, up_to| Tier {
        up_to: up_to.map(|up_to| up_to.into()),
        unit_price: number(&format!("0.00{}", 50 - tier)),
        flat_fee: number(flat_fee),
    })
}

/// Tiers of a thousand each; the last one is open.
fn tiers<T>(tier: impl Fn(u32, Option<u32>) -> T) -> Vec<T> {
    let bound = |number: u32| (number < ENTRIES).then_some(number * 1_000);
    (1..=ENTRIES).map(|number| tier(number, bound(number))).collect()
}

/// The properties of a row of the matrix.
fn values(row: u32) -> Vec<String> {
    vec![
        format!("model-{}", row.div_ceil(2)),
        format!("region-{}", row % 2),
    ]
}

fn number<T: FromStr>(text: &str) -> T {
    let parsed = text.parse();
    parsed.ok().expect("a number")
}
