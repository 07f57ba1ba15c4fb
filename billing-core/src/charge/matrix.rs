use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rust_decimal::Decimal;

use super::{NAME_MAX, RatingError, Tally, Used, check_count, check_decimal, sum};
use crate::money::Exact;
use crate::validate::Faults;

/// The most properties that one price can hang on.
const PROPERTIES_MAX: usize = 8;

/// A unit costs what the properties of its event say: 0.50 in `eu` on `large`, 0.20 in `us` on `small`.
///
/// Each event lands in exactly one cell: the row with its values, else [`otherwise`](Self::otherwise). What is in no row
/// of a matrix without `otherwise` is not billed in silence and not dropped either: rating fails with
/// [`RatingError::NoPrice`], which names the values, whether or not the allowance would cover it. Who wants it free
/// sets `otherwise` to zero; then it stands in the explanation.
///
/// The allowance is drawn from the cells in the order of the rows, `otherwise` last.
///
/// # Source
///
/// DESIGN.md, section 3; Lago calls rows charge filters.
///
/// # Example: the allowance goes to the first rows
///
/// ```
/// use std::collections::BTreeMap;
/// use billing_core::charge::{ChargeModel, Matrix, MatrixRow, Used};
/// use billing_core::money::{Currency, Rounding};
/// use billing_core::rating::{PeriodTerms, rate};
/// # use rust_decimal::Decimal;
/// # let decimal = |text: &str| text.parse::<Decimal>().unwrap();
///
/// let row = |region: &str, price| MatrixRow { values: vec![region.into()], unit_price: decimal(price) };
/// let mut matrix = Matrix {
///     by: vec!["region".into()],
///     rows: vec![row("eu", "0.5"), row("us", "0.2")],
///     otherwise: Some(decimal("1")),
/// };
///
/// // An event without the property has an empty value, which no row prices.
/// let mut used = BTreeMap::from([(matrix.values_of(&BTreeMap::new()), decimal("3"))]);
/// for (region, quantity) in [("eu", "100"), ("us", "20")] {
///     let properties = BTreeMap::from([("region".into(), region.into())]);
///     used.insert(matrix.values_of(&properties), decimal(quantity));
/// }
/// let terms = PeriodTerms { allowance: decimal("110"), ..PeriodTerms::default() };
/// let usd = Currency::from_code("USD")?;
/// let rate_by = |matrix: &Matrix| {
///     let model = ChargeModel::Matrix(matrix.clone());
///     rate(&model, &Used::Cells(&used), &terms, usd, Rounding::default())
/// };
/// assert_eq!(
///     rate_by(&matrix)?.explanation,
///     "eu: (100 - 100 included) x 0.5 + us: (20 - 10 included) x 0.2 + otherwise: 3 x 1 = 5 USD"
/// );
///
/// matrix.otherwise = None;
/// assert_eq!(rate_by(&matrix).unwrap_err().to_string(), "no price for 3 used with region ``");
/// # Ok::<(), billing_core::charge::RatingError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Matrix {
    /// The names of the event properties that the price hangs on, 1 to 8.
    pub by: Vec<String>,
    /// The cells, in the order in which they draw the allowance, 1 to [`ENTRIES_MAX`](super::ENTRIES_MAX).
    pub rows: Vec<MatrixRow>,
    /// What a unit in no row costs, in major units.
    #[cfg_attr(feature = "serde", serde(default))]
    pub otherwise: Option<Decimal>,
}

/// One cell of a [`Matrix`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct MatrixRow {
    /// The values of the properties, in the order of [`Matrix::by`], each 1 to 64 characters. Compared byte by byte.
    pub values: Vec<String>,
    /// What a unit costs, in major units.
    pub unit_price: Decimal,
}

impl Matrix {
    /// The values that decide the price of an event with these properties: what [`Used::Cells`] is keyed by. Empty for
    /// a property that the event does not have.
    pub fn values_of(&self, properties: &BTreeMap<String, String>) -> Vec<String> {
        self.by
            .iter()
            .map(|name| properties.get(name).cloned().unwrap_or_default())
            .collect()
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        let count = self.by.len();
        if !(1..=PROPERTIES_MAX).contains(&count) {
            faults.push(
                "by",
                "length",
                format!("expected 1 to {PROPERTIES_MAX} property names, got {count}"),
            );
        }
        let mut names = BTreeSet::new();
        for (index, name) in self.by.iter().enumerate() {
            let path = format_args!("by[{index}]");
            check_text(faults, path, name);
            if !names.insert(name) {
                faults.push(path, "repeated", format!("`{name}` is there before"));
            }
        }
        check_count(faults, "rows", "no_rows", self.rows.len());
        let mut cells = BTreeSet::new();
        for (index, row) in self.rows.iter().enumerate() {
            let path = format_args!("rows[{index}].values");
            if row.values.len() != count {
                faults.push(
                    path,
                    "length",
                    format!(
                        "expected {count}, one for each property, got {}",
                        row.values.len()
                    ),
                );
            }
            for (index, value) in row.values.iter().enumerate() {
                check_text(faults, format_args!("{path}[{index}]"), value);
            }
            if !cells.insert(&row.values) {
                faults.push(path, "repeated", "a row before has the same values");
            }
            check_decimal(faults, format_args!("rows[{index}].unit_price"), row.unit_price);
        }
        if let Some(otherwise) = self.otherwise {
            check_decimal(faults, "otherwise", otherwise);
        }
    }

    pub(super) fn charge(
        &self,
        used: &Used<'_>,
        allowance: Decimal,
        tally: &mut Tally,
    ) -> Result<(), RatingError> {
        let cells = used.cells()?;
        let (overage, _) = tally.split(used, allowance);
        tally.charge_for(overage);
        let mut left = Exact::from(allowance);
        // In the order of their values, as the cells are.
        let mut unpriced: Vec<_> = cells.iter().collect();
        for row in &self.rows {
            if unpriced.is_empty() {
                break;
            }
            if let Some((_, quantity)) = take(&mut unpriced, &row.values) {
                draw_cell(
                    tally,
                    &row.values,
                    &Exact::from(*quantity),
                    row.unit_price,
                    &mut left,
                );
            }
        }
        let rest = tally.fits(sum(unpriced.iter().map(|(_, quantity)| *quantity)));
        if !rest.is_zero() {
            match self.otherwise {
                Some(price) => draw_cell(tally, &[], &rest, price, &mut left),
                None => return Err(self.no_price(&unpriced)),
            }
        }
        if tally.is_empty() {
            tally.say("nothing used");
        }
        Ok(())
    }

    /// Names the first cell that no row prices.
    fn no_price(&self, unpriced: &[Cell<'_>]) -> RatingError {
        let (values, quantity) = unpriced
            .iter()
            .find(|(_, quantity)| !quantity.is_zero())
            .map(|(values, quantity)| ((*values).clone(), **quantity))
            .unwrap_or_default();
        RatingError::NoPrice {
            by: self.by.clone(),
            values,
            quantity,
        }
    }
}

/// The values of a cell and what was used of it.
type Cell<'a> = (&'a Vec<String>, &'a Decimal);

/// How many cells are looked at before the others are searched.
const NEAR: usize = 8;

/// Takes the cell with these values out of those that no row had yet.
///
/// Rows mostly stand in an order that is near to that of their values, so it is one of the first cells that are left: most
/// of the time that a matrix took went into searching each row's among all.
fn take<'a>(cells: &mut Vec<Cell<'a>>, values: &Vec<String>) -> Option<Cell<'a>> {
    let near = cells.iter().take(NEAR).position(|(cell, _)| *cell == values);
    let place = near.or_else(|| cells.binary_search_by(|(cell, _)| (*cell).cmp(values)).ok())?;
    Some(cells.remove(place))
}

/// Adds one cell: `eu/large: (100 - 10 included) x 0.5`. No values for what is in no row.
fn draw_cell(tally: &mut Tally, values: &[String], quantity: &Exact, unit_price: Decimal, left: &mut Exact) {
    if quantity.is_zero() {
        return;
    }
    if left.is_zero() {
        return tally.units_as(quantity, unit_price, |tally| {
            say_cell(tally, values);
            tally.number(quantity);
        });
    }
    let included = (*quantity).min(*left);
    *left = tally.without(left, &included);
    let rest = tally.without(quantity, &included);
    tally.units_as(&rest, unit_price, |tally| {
        say_cell(tally, values);
        tally.less(quantity, &included);
    });
}

fn say_cell(tally: &mut Tally, values: &[String]) {
    if values.is_empty() {
        tally.say("otherwise");
    }
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            tally.say("/");
        }
        tally.say(value);
    }
    tally.say(": ");
}

fn check_text(faults: &mut Faults, path: impl core::fmt::Display, text: &str) {
    let length = text.chars().count();
    if !(1..=NAME_MAX).contains(&length) {
        faults.push(
            &path,
            "length",
            format!("expected 1 to {NAME_MAX} characters, got {length}"),
        );
    }
    if text.chars().any(char::is_control) {
        faults.push(path, "control_character", "expected no control characters");
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::super::ChargeModel;
    use super::super::kit::*;
    use super::*;

    fn row(values: &[&str], unit_price: &str) -> MatrixRow {
        MatrixRow {
            values: values.iter().map(|value| String::from(*value)).collect(),
            unit_price: decimal(unit_price),
        }
    }

    fn matrix(otherwise: Option<&str>) -> Matrix {
        Matrix {
            by: ["region".into(), "size".into()].into(),
            rows: [row(&["us", "large"], "0.5"), row(&["eu", "small"], "0.2")].into(),
            otherwise: otherwise.map(decimal),
        }
    }

    fn cells(cells: &[(&[&str], &str)]) -> BTreeMap<Vec<String>, Decimal> {
        cells
            .iter()
            .map(|(values, quantity)| (row(values, "0").values, decimal(quantity)))
            .collect()
    }

    /// Of many more cells than are near, and in an order that is never the next.
    #[test]
    fn rows_in_any_order_find_their_cells() {
        let names: Vec<_> = (10..40).map(|number| format!("r{number}")).collect();
        let rows: Vec<_> = names.iter().rev().map(|name| row(&[name], "1")).collect();
        let model = |rows| {
            ChargeModel::Matrix(Matrix {
                by: ["region".into()].into(),
                rows,
                otherwise: None,
            })
        };
        let used = names.iter().zip(1_u32..);
        let used: BTreeMap<_, _> = used
            .map(|(name, quantity)| (Vec::from([name.clone()]), quantity.into()))
            .collect();
        let all = rated(&model(rows.clone()), &Used::Cells(&used), "0").unwrap();
        assert_eq!(all.exact, Exact::from(decimal("465")));
        assert!(
            all.explanation.starts_with("r39: 30 x 1 + r38: 29 x 1 + "),
            "{}",
            all.explanation
        );
        let missing = rated(&model(rows[1..].to_vec()), &Used::Cells(&used), "0");
        assert_eq!(
            missing.unwrap_err().to_string(),
            "no price for 30 used with region `r39`"
        );
    }

    #[test]
    fn each_cell_has_its_price_and_the_allowance_goes_to_the_first_rows() {
        let model = ChargeModel::Matrix(matrix(Some("1")));
        let used = cells(&[
            (&["eu", "small"], "10"),
            (&["us", "large"], "4"),
            (&["eu", ""], "2"),
            (&["ap", "large"], "3"),
        ]);
        for (allowance, text) in [
            (
                "0",
                "us/large: 4 x 0.5 + eu/small: 10 x 0.2 + otherwise: 5 x 1 = 9 USD",
            ),
            (
                "6",
                "us/large: (4 - 4 included) x 0.5 + eu/small: (10 - 2 included) x 0.2 + otherwise: 5 x 1 = 6.6 USD",
            ),
            (
                "18",
                "us/large: (4 - 4 included) x 0.5 + eu/small: (10 - 10 included) x 0.2 \
                 + otherwise: (5 - 4 included) x 1 = 1 USD",
            ),
        ] {
            check(&model, &Used::Cells(&used), allowance, text);
        }
        check(&model, &Used::NONE, "0", "nothing used = 0 USD");
        check(&model, &Used::Events(&[]), "5", "nothing used = 0 USD");
    }

    #[test]
    fn what_has_no_price_is_an_error_that_names_it() {
        let model = ChargeModel::Matrix(matrix(None));
        let used = cells(&[
            (&["eu", "small"], "10"),
            (&["ap", ""], "0"),
            (&["us", "sm\nall"], "0.5"),
        ]);
        let message = r"no price for 0.5 used with region `us`, size `sm\nall`";
        check_error(&model, &Used::Cells(&used), message);
        assert_eq!(
            rated(&model, &Used::Cells(&used), "100").unwrap_err(),
            RatingError::NoPrice {
                by: ["region".into(), "size".into()].into(),
                values: ["us".into(), "sm\nall".into()].into(),
                quantity: decimal("0.5"),
            },
            "though the allowance would cover it"
        );
        let nothing = cells(&[(&["eu", "small"], "10"), (&["ap", ""], "0")]);
        check(&model, &Used::Cells(&nothing), "0", "eu/small: 10 x 0.2 = 2 USD");
        check_error(
            &model,
            &total("1"),
            "the charge model needs the quantity per combination of properties, which was not collected",
        );
    }

    #[test]
    fn an_event_is_in_the_cell_of_its_values() {
        let properties = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (String::from(*name), String::from(*value)));
            matrix(None).values_of(&pairs.collect())
        };
        assert_eq!(
            properties(&[("size", "large"), ("region", "us"), ("other", "x")]),
            ["us", "large"]
        );
        assert_eq!(properties(&[("region", "us")]), ["us", ""]);
    }

    #[test]
    fn every_fault_is_told() {
        let wrong = Matrix {
            by: ["region".into(), "region".into(), String::new()].into(),
            rows: [
                row(&["a", "b\t", ""], "-1"),
                row(&["a"], "1"),
                row(&["a"], "0.0000000000001"),
                row(&["a", "b", &"x".repeat(65)], "1"),
            ]
            .into(),
            otherwise: Some(decimal("-1")),
        };
        check_faults(
            &ChargeModel::Matrix(wrong),
            &[
                ("matrix.by[1]", "repeated"),
                ("matrix.by[2]", "length"),
                ("matrix.rows[0].values[1]", "control_character"),
                ("matrix.rows[0].values[2]", "length"),
                ("matrix.rows[0].unit_price", "negative"),
                ("matrix.rows[1].values", "length"),
                ("matrix.rows[2].values", "length"),
                ("matrix.rows[2].values", "repeated"),
                ("matrix.rows[2].unit_price", "too_precise"),
                ("matrix.rows[3].values[2]", "length"),
                ("matrix.otherwise", "negative"),
            ],
        );
        let empty = Matrix {
            by: Vec::new(),
            rows: Vec::new(),
            otherwise: None,
        };
        check_faults(
            &ChargeModel::Matrix(empty),
            &[("matrix.by", "length"), ("matrix.rows", "no_rows")],
        );
    }
}
