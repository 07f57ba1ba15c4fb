use std::vec;

use proptest::prelude::*;

use super::super::kit::{at, decimal, invoice, invoices, line, money, plan, plan_id, serial, texts};
use super::row::COLUMNS;
use super::*;
use crate::calendar::Period;
use crate::invoice::LineCell;

const NO_UNITS: &BTreeMap<MeterCode, String> = &BTreeMap::new();

fn context(plans: &[Plan]) -> FocusContext<'_> {
    FocusContext {
        provider_name: "Acme",
        publisher_name: "Maker",
        invoice_issuer_name: "Acme Inc.",
        service_name: "Cloud",
        service_category: ServiceCategory::Compute,
        billing_account_name: None,
        sub_account_name: "Main",
        plans,
        units: NO_UNITS,
    }
}

fn rows_of(invoice: &Invoice) -> Vec<FocusRow> {
    rows(invoice, &context(&[plan()])).unwrap()
}

fn row_of(line: InvoiceLine) -> FocusRow {
    rows_of(&invoice(vec![line])).remove(0)
}

#[test]
fn a_kind_of_line_is_a_kind_of_charge() {
    let kinds = [
        (LineKind::RecurringInAdvance, "Purchase, Recurring"),
        (LineKind::RecurringInArrears, "Purchase, Recurring"),
        (LineKind::ProrationCharge, "Purchase, One-Time"),
        (LineKind::ProrationCredit, "Purchase, One-Time, Correction"),
        (LineKind::CommitmentTrueUp, "Purchase, One-Time"),
        (LineKind::AddOn, "Purchase, One-Time"),
        (LineKind::Usage, "Usage, Usage-Based"),
        (LineKind::UsageAdjustment, "Usage, Usage-Based, Correction"),
        (LineKind::CreditApplied, "Credit, One-Time"),
        (LineKind::CreditCarried, "Credit, One-Time"),
        (LineKind::CreditRefunded, "Credit, One-Time"),
        (LineKind::Discount, "Credit, One-Time"),
        (LineKind::PrepaidApplied, "Credit, One-Time"),
        (LineKind::Tax, "Tax, One-Time"),
    ];
    for (kind, expected) in kinds {
        let row = row_of(line(kind, money(5, "USD")));
        let mut found = format!(
            "{}, {}",
            row.charge_category.as_str(),
            row.charge_frequency.as_str()
        );
        if let Some(class) = row.charge_class {
            found.push_str(&format!(", {}", class.as_str()));
        }
        assert_eq!(found, expected, "{kind:?}");
    }
}

/// What a line of a quantity, a unit price and an amount in cents has for pricing quantity, price, unit and list cost.
#[track_caller]
fn check_price(kind: LineKind, line_of: (&str, Option<&str>, i64), expected: (&str, &str, &str, &str)) {
    let (quantity, unit_price, minor) = line_of;
    let row = row_of(InvoiceLine {
        quantity: decimal(quantity),
        unit_price: unit_price.map(decimal),
        ..line(kind, money(minor, "USD"))
    });
    let found = (
        &*row.pricing_quantity.unwrap().to_string(),
        &*row.list_unit_price.unwrap().to_string(),
        &*row.pricing_unit.unwrap(),
        &*row.list_cost.to_string(),
    );
    assert_eq!(found, expected);
    assert_eq!(row.contracted_unit_price, row.list_unit_price);
    assert_eq!(row.contracted_cost, row.list_cost);
}

#[test]
fn a_price_is_told_that_makes_the_cost() {
    let (recurring, part) = (LineKind::RecurringInAdvance, LineKind::ProrationCharge);
    check_price(
        recurring,
        ("1", Some("29.00"), 29_00),
        ("1", "29.00", "Months", "29"),
    );
    check_price(
        LineKind::Usage,
        ("3", Some("0.25"), 75),
        ("3", "0.25", "requests", "0.75"),
    );
    // Rounded: the list cost is exact, the amount is not.
    check_price(
        LineKind::Usage,
        ("3", Some("0.004"), 1),
        ("3", "0.004", "requests", "0.012"),
    );
    // 100 of 150 are included.
    check_price(
        LineKind::Usage,
        ("150", Some("0.01"), 50),
        ("50", "0.01", "requests", "0.50"),
    );
    check_price(
        LineKind::Usage,
        ("150", Some("1"), 0),
        ("0", "1", "requests", "0.00"),
    );
    check_price(
        LineKind::Usage,
        ("150", Some("0"), 0),
        ("150", "0", "requests", "0"),
    );
    // A whole minor unit is not rounding.
    check_price(
        LineKind::Usage,
        ("3", Some("0.01"), 2),
        ("2", "0.01", "requests", "0.02"),
    );
    // Half a month comes out even, a third does not.
    check_price(
        part,
        ("1", Some("29.00"), 14_50),
        ("0.5", "29.00", "Months", "14.50"),
    );
    check_price(part, ("1", Some("29.00"), 9_67), ("1", "9.67", "Charges", "9.67"));
    // Tiers.
    check_price(
        LineKind::Usage,
        ("150", None, 3_10),
        ("1", "3.10", "Charges", "3.10"),
    );
    check_price(
        LineKind::Usage,
        ("150", Some("-1"), 0),
        ("1", "0.00", "Charges", "0.00"),
    );
    check_price(
        LineKind::Usage,
        ("2", None, -5),
        ("-1", "0.05", "Charges", "-0.05"),
    );
    // The digits of both are 2^64, so their product would wrap to nothing.
    let (quantity, price) = ("18446744.073709551616", "18446744073.709551616");
    check_price(
        LineKind::Usage,
        (quantity, Some(price), 0),
        ("0", price, "requests", "0.00"),
    );
    // More digits than a decimal has.
    let long = "9999999999.999999999999";
    check_price(
        LineKind::Usage,
        (long, Some("0.0000000000000000001"), 0),
        ("0", "0.0000000000000000001", "requests", "0.00"),
    );
}

#[test]
fn what_was_sold_is_named() {
    let cell = LineCell {
        filter: Some("EU".into()),
        group: [("project".into(), "a \"b\"".into())].into(),
    };
    let usage = InvoiceLine {
        cell: Some(cell.into()),
        quantity: decimal("7"),
        ..line(LineKind::Usage, money(1, "USD"))
    };
    let units = [(MeterCode::new("requests").unwrap(), "Requests".into())].into();
    let plans = [plan()];
    let named = FocusContext {
        units: &units,
        billing_account_name: Some("Example"),
        ..context(&plans)
    };
    let row = rows(&invoice(vec![usage.clone()]), &named).unwrap().remove(0);
    assert_eq!(row.charge_description, "Pro, requests, EU: why");
    assert_eq!(row.sku_id.as_deref(), Some("pro/requests"));
    assert_eq!(row.sku_price_id, Some(format!("{}/requests/EU", plan_id(1))));
    assert_eq!(row.sku_meter.as_deref(), Some("requests"));
    assert_eq!(
        (row.consumed_quantity, row.consumed_unit.as_deref()),
        (Some(7.into()), Some("Requests"))
    );
    assert_eq!(row.tags, Some([("project".into(), "a \"b\"".into())].into()));
    assert_eq!(row.billing_account_name.as_deref(), Some("Example"));
    assert_eq!((&*row.provider_name, &*row.publisher_name), ("Acme", "Maker"));
    assert_eq!(row_of(usage).consumed_unit.as_deref(), Some("requests"));

    let row = row_of(line(LineKind::RecurringInAdvance, money(1, "USD")));
    assert_eq!((row.sku_id.as_deref(), row.sku_meter), (Some("pro"), None));
    assert_eq!(
        (row.consumed_quantity, row.tags, row.sku_price_details),
        (None, None, None)
    );
}

#[test]
fn units_of_time_are_plural() {
    let count = |count| core::num::NonZeroU16::new(count).unwrap();
    for (unit, n, expected) in [
        (IntervalUnit::Day, 1, "Days"),
        (IntervalUnit::Week, 2, "2 Weeks"),
        (IntervalUnit::Month, 3, "3 Months"),
        (IntervalUnit::Year, 1, "Years"),
    ] {
        assert_eq!(interval_unit(Interval::new(unit, count(n))), expected);
    }
}

#[test]
fn a_row_says_of_which_invoice_and_time_it_is() {
    let charge = line(LineKind::RecurringInAdvance, money(5, "USD"));
    let start = at("2026-05-31T22:00:00.999999Z");
    let period = Period::new(start, at("2026-06-30T22:00:00Z")).unwrap();
    let row = row_of(InvoiceLine {
        period,
        ..charge.clone()
    });
    assert_eq!(row.charge_period_start, at("2026-05-31T22:00:00Z"));
    assert_eq!(row.charge_period_end, period.end);
    assert_eq!(row.billing_period_start, at("2026-06-01T00:00:00Z"));
    assert_eq!(row.billing_period_end, at("2026-07-01T00:00:00Z"));
    let plain = invoice(vec![charge]);
    for (serial, expected) in [
        (None, plain.id.to_string()),
        (serial("EU-2026", 0), plain.id.to_string()),
        (serial("EU-2026", 17), "EU-2026-17".into()),
    ] {
        let numbered = Invoice {
            serial,
            ..plain.clone()
        };
        assert_eq!(rows_of(&numbered)[0].invoice_id, expected);
    }
}

#[test]
fn only_a_void_invoice_has_no_rows() {
    let open = invoice(vec![line(LineKind::Usage, money(5, "USD"))]);
    let when = open.opened_at;
    let paid = InvoiceStatus::Paid {
        paid_at: when,
        reference: None,
        covers: None,
    };
    for (state, count) in [
        (InvoiceStatus::Open, 1),
        (paid, 1),
        (InvoiceStatus::Uncollectible { given_up_at: when }, 1),
        (InvoiceStatus::Void { voided_at: when }, 0),
    ] {
        assert_eq!(
            rows_of(&Invoice {
                state,
                ..open.clone()
            })
            .len(),
            count
        );
    }
}

#[test]
fn only_a_charge_needs_its_plan() {
    let lines = [LineKind::Tax, LineKind::Discount, LineKind::Usage];
    let invoice = invoice(lines.map(|kind| line(kind, money(5, "USD"))).into());
    let error = rows(&invoice, &context(&[])).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "line 2 is priced by plan `{}`, which is not among the plans",
            plan_id(1)
        )
    );
}

/// The rules of FOCUS 1.2 on when a column is null, and on costs and prices.
fn check_rules(row: &FocusRow) {
    let is_priced = matches!(
        row.charge_category,
        ChargeCategory::Usage | ChargeCategory::Purchase
    );
    let is_correction = row.charge_class.is_some();
    for is_there in [
        row.list_unit_price.is_some(),
        row.contracted_unit_price.is_some(),
        row.pricing_quantity.is_some(),
        row.pricing_unit.is_some(),
    ] {
        assert_eq!(is_there, is_priced && !is_correction, "{row:?}");
    }
    assert_eq!(row.sku_id.is_some(), is_priced);
    assert_eq!(row.sku_price_id.is_some(), is_priced);
    let is_usage = row.charge_category == ChargeCategory::Usage;
    assert_eq!(row.consumed_quantity.is_some(), is_usage);
    assert_eq!(row.consumed_unit.is_some(), is_usage);
    assert!(
        row.charge_category != ChargeCategory::Purchase
            || row.charge_frequency != ChargeFrequency::UsageBased
    );
    match (row.list_unit_price, row.pricing_quantity) {
        (Some(price), Some(quantity)) => {
            assert!(!price.is_sign_negative());
            assert_eq!(product(price, quantity), Some(row.list_cost), "{row:?}");
            assert_eq!(row.contracted_cost, row.list_cost);
            let minor_unit = Decimal::new(1, row.billing_currency.exponent());
            assert!((row.list_cost - row.billed_cost).abs() < minor_unit);
        }
        _ => assert_eq!(
            (row.list_cost, row.contracted_cost),
            (row.billed_cost, row.billed_cost)
        ),
    }
    assert_eq!(row.effective_cost, row.billed_cost);
}

/// The records of a CSV text, strictly as in RFC 4180: outside of quotes no quote, no bare line break. None where nothing
/// is between two commas.
fn parse_csv(csv: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let mut rest = csv;
    while !rest.is_empty() {
        let field = if let Some(quoted) = rest.strip_prefix('"') {
            let (mut text, mut tail) = (String::new(), quoted);
            loop {
                let (part, after) = tail.split_once('"').expect("a closing quote");
                text.push_str(part);
                let Some(more) = after.strip_prefix('"') else {
                    tail = after;
                    break;
                };
                text.push('"');
                tail = more;
            }
            rest = tail;
            Some(text)
        } else {
            let end = rest.find([',', '\r']).expect("an end");
            let (text, tail) = rest.split_at(end);
            assert!(!text.contains(['"', '\n']), "{text:?}");
            rest = tail;
            Some(String::from(text)).filter(|text| !text.is_empty())
        };
        record.push(field);
        if let Some(tail) = rest.strip_prefix("\r\n") {
            records.push(core::mem::take(&mut record));
            rest = tail;
        } else {
            rest = rest.strip_prefix(',').expect("a comma or the end of the line");
        }
    }
    records
}

proptest! {
    #[test]
    fn the_rows_of_an_invoice_are_its_lines_and_sum_up_to_its_total(invoice in invoices()) {
        let rows = rows_of(&invoice);
        prop_assert_eq!(rows.len(), invoice.lines.len());
        let sum: Decimal = rows.iter().map(|row| row.billed_cost).sum();
        prop_assert_eq!(sum, invoice.total.to_decimal());
        rows.iter().for_each(check_rules);
    }

    #[test]
    fn csv_is_read_back_whatever_a_person_writes(invoice in invoices(), name in texts(), empty: bool) {
        let plans = [Plan { name: name.clone(), ..plan() }];
        let account = if empty { "" } else { &*name };
        let context = FocusContext { billing_account_name: Some(account), ..context(&plans) };
        let rows = rows(&invoice, &context).unwrap();
        let mut csv = String::new();
        write_csv(&rows, &mut csv);
        let records = parse_csv(&csv);
        prop_assert_eq!(records.len(), rows.len() + 1);
        for (place, (column, value)) in COLUMNS.iter().enumerate() {
            prop_assert_eq!(records[0][place].as_deref(), Some(*column));
            for (record, row) in records[1..].iter().zip(&rows) {
                prop_assert_eq!(record.len(), COLUMNS.len());
                prop_assert_eq!(&record[place], &value(row), "{}", column);
            }
        }
    }
}

#[test]
fn csv_has_an_order_and_quotes_what_needs_it() {
    let row = row_of(InvoiceLine {
        explanation: "a \"b\", c\nd".into(),
        ..line(LineKind::Tax, money(-5, "USD"))
    });
    let mut csv = String::from("before\r\n");
    write_csv(&[row], &mut csv);
    let expected = "before\r\n\
        BilledCost,BillingAccountId,BillingAccountName,BillingCurrency,BillingPeriodEnd,BillingPeriodStart,\
        ChargeCategory,ChargeClass,ChargeDescription,ChargeFrequency,ChargePeriodEnd,ChargePeriodStart,\
        ConsumedQuantity,ConsumedUnit,ContractedCost,ContractedUnitPrice,EffectiveCost,InvoiceId,InvoiceIssuerName,\
        ListCost,ListUnitPrice,PricingQuantity,PricingUnit,ProviderName,PublisherName,ServiceCategory,ServiceName,\
        SkuId,SkuMeter,SkuPriceDetails,SkuPriceId,SubAccountId,SubAccountName,Tags\r\n\
        -0.05,00000000-0000-0000-0000-000000000020,,USD,2026-07-01T00:00:00Z,2026-06-01T00:00:00Z,\
        Tax,,\"a \"\"b\"\", c\nd\",One-Time,2026-06-01T00:00:00Z,2026-05-01T00:00:00Z,\
        ,,-0.05,,-0.05,00000000-0000-0000-0000-000000000010,Acme Inc.,\
        -0.05,,,,Acme,Maker,Compute,Cloud,\
        ,,,,00000000-0000-0000-0000-000000000030,Main,\r\n";
    assert_eq!(csv, expected);
}

#[cfg(feature = "serde")]
#[test]
fn json_has_the_columns_of_the_csv_and_is_read_back() {
    let cell = LineCell {
        filter: Some("a\"\\\u{7}".into()),
        group: [("k,\n".into(), "é".into())].into(),
    };
    let usage = InvoiceLine {
        cell: Some(cell.into()),
        ..line(LineKind::UsageAdjustment, money(1, "USD"))
    };
    let row = row_of(usage);
    let json = serde_json::to_value(&row).unwrap();
    assert_eq!(json.as_object().unwrap().len(), COLUMNS.len());
    for (column, value) in &COLUMNS {
        let text = match &json[*column] {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            object => {
                let kept: serde_json::Value = serde_json::from_str(&value(&row).unwrap()).unwrap();
                assert_eq!(kept, *object, "{column}");
                continue;
            }
        };
        assert_eq!(text, value(&row), "{column}");
    }
    assert_eq!(serde_json::from_value::<FocusRow>(json.clone()).unwrap(), row);
    let mut unknown = json;
    unknown["Id"] = 1.into();
    assert!(serde_json::from_value::<FocusRow>(unknown).is_err());
}

/// What a real provider published: the names of the columns, and what a quantity at a price costs.
#[test]
fn rows_are_as_in_a_real_file() {
    let file = include_str!("../../../../data/focus-usage-aws-2024-09.csv");
    let records = parse_csv(file);
    let names: Vec<_> = records[0].iter().map(|name| name.as_deref().unwrap()).collect();
    // `Id` is no column of FOCUS, and nothing here has a region.
    for name in names.iter().filter(|name| !["Id", "RegionId"].contains(name)) {
        assert!(COLUMNS.iter().any(|(column, _)| column == name), "{name}");
    }
    let place = |name| names.iter().position(|found| *found == name).unwrap();
    let mut priced = 0;
    for record in &records[1..] {
        let field = |name| record[place(name)].as_deref();
        let Some(unit_price) = field("ListUnitPrice").map(decimal) else {
            continue;
        };
        let (quantity, cost) = (
            decimal(field("PricingQuantity").unwrap()),
            decimal(field("ListCost").unwrap()),
        );
        let cents =
            i64::try_from(cost.round_dp(2).mantissa() * 10_i128.pow(2 - cost.round_dp(2).scale())).unwrap();
        let row = row_of(InvoiceLine {
            quantity,
            unit_price: Some(unit_price),
            ..line(LineKind::Usage, money(cents, "USD"))
        });
        assert_eq!(row.charge_category.as_str(), field("ChargeCategory").unwrap());
        assert_eq!(
            (row.pricing_quantity, row.list_unit_price),
            (Some(quantity), Some(unit_price))
        );
        let away = rust_decimal::RoundingStrategy::MidpointAwayFromZero;
        assert_eq!(row.list_cost.round_dp_with_strategy(10, away), cost.normalize());
        priced += 1;
    }
    assert_eq!(priced, 941);
}
