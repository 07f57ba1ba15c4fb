//! Every model beside a slow, plain reference, on random plans and usage; and what holds for all of them.

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use super::kit::*;
use super::*;
use crate::money::{Currency, Rounding};
use crate::rating::{PeriodTerms, Rated, rate, rate_more};

/// How many random cases a run compares; a million takes 10 s in release, and most of a minute in a debug build.
const CASES: u64 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

/// Splitmix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// A whole number half of the time, so that bounds are met exactly; then one with up to `places` decimals.
    fn number(&mut self, most: u64, places: u32) -> i128 {
        let unit = 10_u64.pow(places);
        let whole = self.below(most + 1) * unit;
        let fraction = if self.below(2) == 0 { 0 } else { self.below(unit) };
        i128::from(whole + fraction)
    }

    fn optional(&mut self, most: u64, places: u32) -> Option<i128> {
        (self.below(3) == 0).then(|| self.number(most, places))
    }
}

/// Quantities and prices in millionths, percentages in ten-thousandths, amounts in 10^-12: all whole numbers, so that
/// plain arithmetic on them is exact.
const PLACES: u32 = 6;
const PERCENT_PLACES: u32 = 4;
const AMOUNT_PLACES: u32 = 12;
const UNIT: i128 = 1_000_000;

fn quantity(number: i128) -> Decimal {
    Decimal::from_i128_with_scale(number, PLACES)
}

fn percent(number: i128) -> Decimal {
    Decimal::from_i128_with_scale(number, PERCENT_PLACES)
}

#[derive(Clone, Copy, Debug)]
struct PlainTier {
    /// Exclusive and inclusive.
    from: i128,
    to: i128,
    rate: i128,
    fee: i128,
}

#[derive(Clone, Debug)]
enum Plain {
    Flat(i128),
    PerUnit(i128),
    Graduated(Vec<PlainTier>, bool),
    Volume(Vec<PlainTier>, bool, bool),
    Package(i128, i128),
    Percentage {
        percent: i128,
        fee: i128,
        free: u64,
        event: [Option<i128>; 2],
        period: [Option<i128>; 2],
    },
    GraduatedPercentage(Vec<PlainTier>, bool),
    /// Prices of cells 0.., and of all others.
    Matrix(Vec<i128>, i128),
}

/// Events as `(quantity, cell)`.
type Events = Vec<(i128, usize)>;

fn plain_tiers(random: &mut Random, rate_places: u32) -> Vec<PlainTier> {
    let mut tiers = Vec::new();
    let mut from = 0;
    for _ in 0..random.below(6) {
        let to = from + 1 + random.number(30, PLACES);
        let tier = PlainTier {
            from,
            to,
            rate: random.number(3, rate_places),
            fee: random.optional(9, PLACES).unwrap_or(0),
        };
        tiers.push(tier);
        from = to;
    }
    tiers.push(PlainTier {
        from,
        to: i128::MAX,
        rate: random.number(3, rate_places),
        fee: random.optional(9, PLACES).unwrap_or(0),
    });
    tiers
}

fn plain_model(random: &mut Random) -> Plain {
    let flag = random.below(2) == 0;
    match random.below(8) {
        0 => Plain::Flat(random.number(20, PLACES)),
        1 => Plain::PerUnit(random.number(5, PLACES)),
        2 => Plain::Graduated(plain_tiers(random, PLACES), flag),
        3 => {
            let whole = random.below(2) == 0;
            Plain::Volume(plain_tiers(random, PLACES), flag, whole)
        }
        4 => Plain::Package(1 + random.number(20, PLACES), random.number(9, PLACES)),
        5 => {
            let range = |random: &mut Random| {
                let least = random.optional(5, PLACES);
                [
                    least,
                    random.optional(5, PLACES).map(|most| most + least.unwrap_or(0)),
                ]
            };
            Plain::Percentage {
                percent: random.optional(9, PERCENT_PLACES).unwrap_or(0),
                fee: random.optional(3, PLACES).unwrap_or(0),
                free: random.below(3),
                event: range(random),
                period: range(random),
            }
        }
        6 => Plain::GraduatedPercentage(plain_tiers(random, PERCENT_PLACES), flag),
        _ => {
            let prices = (0..1 + random.below(5))
                .map(|_| random.number(5, PLACES))
                .collect();
            Plain::Matrix(prices, random.number(5, PLACES))
        }
    }
}

fn bound(tier: &PlainTier) -> Option<Decimal> {
    (tier.to != i128::MAX).then(|| quantity(tier.to))
}

fn model_of(plain: &Plain) -> ChargeModel {
    let priced = |tiers: &[PlainTier]| {
        let tier = |tier: &PlainTier| Tier {
            up_to: bound(tier),
            unit_price: quantity(tier.rate),
            flat_fee: quantity(tier.fee),
        };
        tiers.iter().map(tier).collect()
    };
    match plain.clone() {
        Plain::Flat(amount) => ChargeModel::Flat {
            amount: quantity(amount),
        },
        Plain::PerUnit(price) => ChargeModel::PerUnit {
            unit_price: quantity(price),
        },
        Plain::Graduated(tiers, empty_first_fee) => ChargeModel::Graduated(Graduated {
            tiers: priced(&tiers),
            empty_first_fee,
        }),
        Plain::Volume(tiers, empty_first_fee, whole) => ChargeModel::Volume(Volume {
            tiers: priced(&tiers),
            allowance: if whole {
                VolumeAllowance::Whole
            } else {
                VolumeAllowance::Excess
            },
            empty_first_fee,
        }),
        Plain::Package(size, price) => ChargeModel::Package(Package {
            size: quantity(size),
            price: quantity(price),
        }),
        Plain::Percentage {
            percent: rate,
            fee,
            free,
            event,
            period,
        } => ChargeModel::Percentage(Percentage {
            percent: percent(rate),
            fixed_fee: quantity(fee),
            free_events: free,
            event_minimum: event[0].map(quantity),
            event_maximum: event[1].map(quantity),
            period_minimum: period[0].map(quantity),
            period_maximum: period[1].map(quantity),
        }),
        Plain::GraduatedPercentage(tiers, empty_first_fee) => {
            let tier = |tier: &PlainTier| PercentTier {
                up_to: bound(tier),
                percent: percent(tier.rate),
                flat_fee: quantity(tier.fee),
            };
            ChargeModel::GraduatedPercentage(GraduatedPercentage {
                tiers: tiers.iter().map(tier).collect(),
                empty_first_fee,
            })
        }
        Plain::Matrix(prices, otherwise) => ChargeModel::Matrix(Matrix {
            by: vec!["cell".into()],
            rows: prices
                .iter()
                .enumerate()
                .map(|(cell, price)| MatrixRow {
                    values: vec![cell.to_string()],
                    unit_price: quantity(*price),
                })
                .collect(),
            otherwise: Some(quantity(otherwise)),
        }),
    }
}

/// How much of `[from, to)` lies in `[low, high)`.
fn overlap((from, to): (i128, i128), (low, high): (i128, i128)) -> i128 {
    (to.min(high) - from.max(low)).max(0)
}

/// What `events` cost, in 10^-12: the rules as the docs have them, one thing after another.
fn reference(plain: &Plain, events: &Events, allowance: i128) -> i128 {
    let total: i128 = events.iter().map(|(quantity, _)| quantity).sum();
    let over = (total - allowance).max(0);
    let graduated = |tiers: &[PlainTier], empty: bool| {
        let mut amount = 0;
        for (index, tier) in tiers.iter().enumerate() {
            amount += overlap((0, over), (tier.from, tier.to)) * tier.rate;
            if over > tier.from || (index == 0 && empty) {
                amount += tier.fee * UNIT;
            }
        }
        amount
    };
    match plain {
        Plain::Flat(amount) => {
            if over > 0 {
                amount * UNIT
            } else {
                0
            }
        }
        Plain::PerUnit(price) => over * price,
        // Percentages in ten-thousandths of a percent are millionths, as prices are.
        Plain::Graduated(tiers, empty) | Plain::GraduatedPercentage(tiers, empty) => graduated(tiers, *empty),
        Plain::Volume(tiers, empty, whole) => {
            let priced = if *whole && over > 0 { total } else { over };
            let tier = tiers.iter().rfind(|tier| tier.from < priced).unwrap_or(&tiers[0]);
            let fee = if priced > 0 || *empty { tier.fee } else { 0 };
            priced * tier.rate + fee * UNIT
        }
        Plain::Package(size, price) => {
            let mut packages = over / size;
            if packages * size < over {
                packages += 1;
            }
            packages * price * UNIT
        }
        Plain::Percentage {
            percent,
            fee,
            free,
            event,
            period,
        } => {
            let (mut amount, mut drawn) = (0, 0);
            for (index, (quantity, _)) in events.iter().enumerate() {
                if (index as u64) < *free {
                    continue;
                }
                let covered = overlap((drawn, drawn + quantity), (0, allowance));
                let fits = drawn < allowance && drawn + quantity <= allowance;
                drawn += quantity;
                if fits {
                    continue;
                }
                let mut cost = (quantity - covered) * percent + fee * UNIT;
                cost = event[0].map_or(cost, |least| cost.max(least * UNIT));
                cost = event[1].map_or(cost, |most| cost.min(most * UNIT));
                amount += cost;
            }
            if amount > 0 {
                amount = period[0].map_or(amount, |least| amount.max(least * UNIT));
                amount = period[1].map_or(amount, |most| amount.min(most * UNIT));
            }
            amount
        }
        Plain::Matrix(prices, otherwise) => {
            let (mut amount, mut drawn) = (0, 0);
            for cell in 0..=prices.len() {
                let here = |(_, at): &&(i128, usize)| (*at).min(prices.len()) == cell;
                let used: i128 = events.iter().filter(here).map(|(quantity, _)| quantity).sum();
                let free = overlap((drawn, drawn + used), (0, allowance));
                drawn += used;
                amount += (used - free) * prices.get(cell).unwrap_or(otherwise);
            }
            amount
        }
    }
}

/// Rates the events with the detail that the model needs.
fn rate_events(
    model: &ChargeModel,
    events: &Events,
    terms: &PeriodTerms,
    currency: Currency,
    rounding: Rounding,
) -> Result<Rated, RatingError> {
    let total: i128 = events.iter().map(|(quantity, _)| quantity).sum();
    match model.needs(terms.allowance) {
        Needs::Total | Needs::Count => {
            let used = Used::Total {
                quantity: quantity(total),
                events: events.len() as u64,
            };
            rate(model, &used, terms, currency, rounding)
        }
        Needs::Events => {
            let events: Vec<_> = events.iter().map(|(event, _)| quantity(*event)).collect();
            rate(model, &Used::Events(&events), terms, currency, rounding)
        }
        Needs::Cells => {
            let mut cells = BTreeMap::<_, Decimal>::new();
            for (event, cell) in events {
                *cells.entry(vec![cell.to_string()]).or_default() += quantity(*event);
            }
            rate(model, &Used::Cells(&cells), terms, currency, rounding)
        }
    }
}

/// Half away from zero, in minor units.
fn rounded(amount: i128, currency: Currency) -> i128 {
    let unit = 10_i128.pow(AMOUNT_PLACES - currency.exponent());
    (2 * amount + unit) / (2 * unit)
}

fn amount(number: i128) -> Exact {
    Exact::from(Decimal::from_i128_with_scale(number, AMOUNT_PLACES))
}

#[test]
fn every_model_charges_what_the_plain_reference_says_1() {
    compare_with_reference(0);
}

#[test]
fn every_model_charges_what_the_plain_reference_says_2() {
    compare_with_reference(1);
}

#[test]
fn every_model_charges_what_the_plain_reference_says_3() {
    compare_with_reference(2);
}

#[test]
fn every_model_charges_what_the_plain_reference_says_4() {
    compare_with_reference(3);
}

/// Random plans and usages; a failure prints the seed of its case. In four runs, since tests run side by side.
fn compare_with_reference(run: u64) {
    let currencies = ["JPY", "USD", "KWD"].map(|code| Currency::from_code(code).unwrap());
    let mut seen = [0; 8];
    for seed in run * CASES..(run + 1) * CASES {
        let mut random = Random(seed);
        let plain = plain_model(&mut random);
        let events: Events = (0..random.below(6))
            .map(|_| (random.number(25, PLACES), random.index(7)))
            .collect();
        let allowance = random.optional(40, PLACES).unwrap_or(0);
        let minimum = random.optional(60, PLACES);
        let maximum = random.optional(60, PLACES);
        let currency = currencies[random.index(3)];
        let terms = PeriodTerms {
            allowance: quantity(allowance),
            minimum: minimum.map(quantity),
            maximum: maximum.map(quantity),
        };
        let model = model_of(&plain);
        let charged = reference(&plain, &events, allowance);
        let lifted = minimum.map_or(charged, |least| charged.max(least * UNIT));
        let expected = maximum.map_or(lifted, |most| lifted.min(most * UNIT));

        let of = || format!("seed {seed}: {plain:?} for {events:?} less {allowance}");
        let rated = rate_events(&model, &events, &terms, currency, Rounding::default()).unwrap();
        assert_eq!(rated.exact, amount(expected), "{}", of());
        assert_eq!(
            i128::from(rated.amount.minor),
            rounded(expected, currency),
            "{}",
            of()
        );
        assert_eq!(rated.true_up, amount(lifted - charged), "{}", of());
        assert_eq!(rated.cut_off, amount(lifted - expected), "{}", of());
        if seed % 8 == 0 {
            assert_eq!(by_hand(&rated.explanation), Ok(()), "{}", of());
            assert_eq!(model.validate(), Ok(()), "{}", of());
        }
        seen[match plain {
            Plain::Flat(_) => 0,
            Plain::PerUnit(_) => 1,
            Plain::Graduated(..) => 2,
            Plain::Volume(..) => 3,
            Plain::Package(..) => 4,
            Plain::Percentage { .. } => 5,
            Plain::GraduatedPercentage(..) => 6,
            Plain::Matrix(..) => 7,
        }] += 1;
    }
    assert!(seen.iter().all(|count| *count > CASES / 10), "{seen:?}");
}

/// Checks an explanation as a customer does: computes what stands before each ` = ` and compares it with what follows.
fn by_hand(text: &str) -> Result<(), String> {
    // What is charged for stands first, where something was taken off: `130 - 30 included = 100: `.
    let mut rest = text;
    if let Some((drawn, terms)) = text.split_once(" = ")
        && !drawn.contains(" x ")
        && !drawn.contains('%')
        && !drawn.ends_with(" flat")
        && drawn.contains(" - ")
    {
        let mut numbers = drawn.split(" - ").map(leading);
        let first = numbers.next().ok_or("nothing drawn")??;
        let left = numbers.try_fold(first, |left, number| Ok::<_, String>(left - number?))?;
        if leading(terms)? != left {
            return Err(format!("{drawn} is {left}"));
        }
        rest = if terms.contains(" in packages of ") {
            terms
        } else {
            terms.split_once(": ").ok_or("no terms")?.1
        };
    }
    if rest.starts_with("more than ") {
        rest = rest.split_once(": ").ok_or("no terms")?.1;
    }
    let (terms, mut rest) = rest.split_once(" = ").ok_or("no sum")?;
    let mut sum = terms_by_hand(terms)?;
    if leading(rest)? != sum {
        return Err(format!("{terms} is {sum}"));
    }
    // `5 USD, minimum 20: 5 + 15 = 20 USD`
    while let Some((_, held)) = rest.split_once(", ") {
        let (bound, steps) = held.split_once(": ").ok_or("no bound")?;
        let (steps, after) = steps.split_once(" = ").ok_or("no sum")?;
        let (left, by, sign) = match (steps.split_once(" + "), steps.split_once(" - ")) {
            (Some((left, by)), _) => (left, by, Decimal::ONE),
            (None, Some((left, by))) => (left, by, Decimal::NEGATIVE_ONE),
            (None, None) => return Err(format!("no step in {steps}")),
        };
        if leading(left)? != sum {
            return Err(format!("{left} is not {sum}"));
        }
        sum += leading(by)? * sign;
        let bound = bound.rsplit(' ').next().ok_or("no bound")?;
        if leading(after)? != sum || leading(bound)? != sum {
            return Err(format!("{steps} is {sum}"));
        }
        rest = after;
    }
    Ok(())
}

fn terms_by_hand(terms: &str) -> Result<Decimal, String> {
    let mut sum = Decimal::ZERO;
    let mut terms = terms;
    while !terms.is_empty() {
        // The end of a term is a plus that stands in no parentheses.
        let mut depth = 0;
        let end = terms.char_indices().find(|(at, letter)| {
            depth += i32::from(*letter == '(') - i32::from(*letter == ')');
            depth == 0 && terms[*at..].starts_with(" + ")
        });
        let (term, rest) = end.map_or((terms, ""), |(at, _)| (&terms[..at], &terms[at + 3..]));
        sum += term_by_hand(term)?;
        terms = rest;
    }
    Ok(sum)
}

fn term_by_hand(term: &str) -> Result<Decimal, String> {
    // `eu/large: 10 x 0.5`, `100 in packages of 10: 10 x 5`
    let packages = term.split_once(" in packages of ");
    let term = term.rsplit_once(": ").map_or(term, |(_, term)| term);
    if term == "nothing used" {
        return Ok(Decimal::ZERO);
    }
    if term.contains(" minimum (") || term.contains(" maximum (") {
        return leading(term);
    }
    if let Some((percent, of)) = term.split_once("% of ") {
        return Ok(leading(percent)? * quantity_by_hand(of)? / Decimal::ONE_HUNDRED);
    }
    let Some((count, price)) = term.split_once(" x ") else {
        return leading(term);
    };
    let count = quantity_by_hand(count)?;
    if let Some((quantity, size)) = packages
        && count != (leading(quantity)? / leading(size)?).ceil()
    {
        return Err(format!("{count} packages"));
    }
    Ok(count * leading(price)?)
}

/// `10`, or `(100 - 90 included)`.
fn quantity_by_hand(text: &str) -> Result<Decimal, String> {
    match text.strip_prefix('(').and_then(|text| text.split_once(" - ")) {
        Some((all, included)) => Ok(leading(all)? - leading(included)?),
        None => leading(text),
    }
}

/// The number that a text begins with.
fn leading(text: &str) -> Result<Decimal, String> {
    let end = text
        .find(|letter: char| !(letter.is_ascii_digit() || letter == '.' || letter == '-'))
        .unwrap_or(text.len());
    let number = text[..end].trim_end_matches('.');
    number.parse().map_err(|_| format!("no number in `{text}`"))
}

proptest! {
    /// What a quantity costs does not hang on how it is cut: the second part goes on where the first ended.
    #[test]
    fn a_split_never_changes_a_total(seed: u64, first in 0_i64..90_000_000, second in 0_i64..90_000_000) {
        let mut random = Random(seed);
        let plain = plain_model(&mut random);
        let model = model_of(&plain);
        prop_assume!(model.needs(Decimal::ZERO) <= Needs::Count);
        let terms = PeriodTerms {
            allowance: quantity(random.optional(40, PLACES).unwrap_or(0)),
            minimum: random.optional(60, PLACES).map(quantity),
            maximum: random.optional(60, PLACES).map(quantity),
        };
        prop_assume!(model.needs(terms.allowance) <= Needs::Count);
        let used = |quantity: i64, events| Used::Total { quantity: Decimal::new(quantity, PLACES), events };
        let (before, all) = (used(first, 1), used(first + second, 2));
        let start = rate(&model, &before, &terms, usd(), Rounding::default()).unwrap();
        let more = rate_more(&model, &before, &all, &terms, usd(), Rounding::default()).unwrap();
        let whole = rate(&model, &all, &terms, usd(), Rounding::default()).unwrap();
        prop_assert_eq!(start.exact.checked_add(more.exact), Some(whole.exact));
        prop_assert_eq!(start.overage.checked_add(more.overage), Some(whole.overage));
        prop_assert_eq!(start.true_up.checked_add(more.true_up), Some(whole.true_up));
        prop_assert_eq!(start.cut_off.checked_add(more.cut_off), Some(whole.cut_off));
    }

    /// The same, against the tiers themselves: each is charged for what of it lies behind the first part, and its fee
    /// is due if it was entered there.
    #[test]
    fn a_graduated_price_goes_on_where_it_ended(seed: u64, first in 0_i64..90_000_000, second in 0_i64..90_000_000) {
        let tiers = plain_tiers(&mut Random(seed), PLACES);
        let (from, to) = (i128::from(first), i128::from(first + second));
        let expected: i128 = tiers
            .iter()
            .map(|tier| {
                let entered = from <= tier.from && tier.from < to;
                overlap((from, to), (tier.from, tier.to)) * tier.rate + if entered { tier.fee * UNIT } else { 0 }
            })
            .sum();
        let model = model_of(&Plain::Graduated(tiers, false));
        let used = |number| Used::Total { quantity: quantity(number), events: 1 };
        let terms = PeriodTerms::default();
        let more = rate_more(&model, &used(from), &used(to), &terms, usd(), Rounding::default()).unwrap();
        prop_assert_eq!(more.exact, amount(expected));
    }

    /// More usage never costs less, but for a volume price.
    #[test]
    fn more_never_costs_less(seed: u64, first in 0_i64..90_000_000, second in 0_i64..90_000_000) {
        let mut random = Random(seed);
        let plain = plain_model(&mut random);
        prop_assume!(!matches!(plain, Plain::Volume(..)));
        let model = model_of(&plain);
        let allowance = quantity(random.optional(40, PLACES).unwrap_or(0));
        prop_assume!(model.needs(allowance) <= Needs::Count);
        let cost = |number| {
            let used = Used::Total { quantity: Decimal::new(number, PLACES), events: 3 };
            let terms = PeriodTerms { allowance, ..PeriodTerms::default() };
            rate(&model, &used, &terms, usd(), Rounding::default()).unwrap()
        };
        let (less, more) = (cost(first), cost(first + second));
        prop_assert!(less.exact <= more.exact && less.amount.minor <= more.amount.minor);
    }

    /// Where the total decides, neither the order nor the cut of the events does.
    #[test]
    fn a_total_is_a_function_of_the_quantity(seed: u64, mut events in prop::collection::vec(0_i64..30_000_000, 0..9)) {
        let mut random = Random(seed);
        let model = model_of(&plain_model(&mut random));
        let allowance = quantity(random.optional(40, PLACES).unwrap_or(0)).to_string();
        prop_assume!(model.needs(decimal(&allowance)) == Needs::Total);
        let decimals = |events: &[i64]| -> Vec<_> {
            events.iter().map(|event| Decimal::new(*event, PLACES)).collect()
        };
        let parts = decimals(&events);
        let quantity: Decimal = parts.iter().sum();
        let whole = rated(&model, &Used::Total { quantity, events: 9 }, &allowance);
        prop_assert_eq!(&rated(&model, &Used::Events(&parts), &allowance), &whole);
        events.reverse();
        prop_assert_eq!(&rated(&model, &Used::Events(&decimals(&events)), &allowance), &whole);
        let cells = parts.iter().enumerate().map(|(cell, part)| (vec![cell.to_string()], *part)).collect();
        prop_assert_eq!(&rated(&model, &Used::Cells(&cells), &allowance), &whole);
    }

    #[test]
    fn a_matrix_of_equal_prices_costs_what_one_price_does(
        price in 0_i64..1_000_000,
        allowance in 0_i64..30_000_000,
        used in prop::collection::vec(0_i64..10_000_000, 1..6),
        rows in 1_usize..6,
    ) {
        let unit_price = Decimal::new(price, PLACES);
        let values = |cell: usize| vec![cell.to_string()];
        let matrix = ChargeModel::Matrix(Matrix {
            by: vec!["cell".into()],
            rows: (0..rows).map(|cell| MatrixRow { values: values(cell), unit_price }).collect(),
            otherwise: Some(unit_price),
        });
        let cells: BTreeMap<_, _> = used
            .iter()
            .enumerate()
            .map(|(cell, quantity)| (values(cell), Decimal::new(*quantity, PLACES)))
            .collect();
        let allowance = Decimal::new(allowance, PLACES).to_string();
        let by_cell = rated(&matrix, &Used::Cells(&cells), &allowance).unwrap();
        let alike = rated(&ChargeModel::PerUnit { unit_price }, &Used::Cells(&cells), &allowance).unwrap();
        prop_assert_eq!((by_cell.exact, by_cell.overage), (alike.exact, alike.overage));
        prop_assert!(by_cell.unit_price.is_none_or(|price| price == unit_price));
    }

    /// The least and the most of a period hold, and what they change is told to the last digit.
    #[test]
    fn a_period_stays_within_its_bounds(seed: u64, number in 0_i64..90_000_000) {
        let mut random = Random(seed);
        let model = model_of(&plain_model(&mut random));
        prop_assume!(model.needs(Decimal::ZERO) <= Needs::Count);
        let least = random.number(60, PLACES);
        let most = least + random.number(60, PLACES);
        let terms = PeriodTerms { minimum: Some(quantity(least)), maximum: Some(quantity(most)), ..PeriodTerms::default() };
        let used = Used::Total { quantity: Decimal::new(number, PLACES), events: 2 };
        let held = rate(&model, &used, &terms, usd(), Rounding::default()).unwrap();
        prop_assert!(amount(least * UNIT) <= held.exact && held.exact <= amount(most * UNIT));
        let free = rate(&model, &used, &PeriodTerms::default(), usd(), Rounding::default()).unwrap();
        let out = held.exact.checked_add(held.cut_off).unwrap().checked_sub(held.true_up).unwrap();
        prop_assert_eq!(out, free.exact, "money in is money out");
        prop_assert!(held.true_up.is_zero() || held.cut_off.is_zero());
    }
}
