//! Coupons: who may redeem one, and what it takes off an invoice.
//!
//! A [`Coupon`] is what the seller offers. Redeemed, it leaves a [`Discount`] on the subscription, a snapshot: a coupon that
//! is changed or withdrawn later changes nothing for who has it. [`apply`] says what discounts take off the lines of an
//! invoice.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

pub use self::discount::{Applied, Discount, apply};
use crate::charge::check_decimal;
use crate::id::{CouponCode, PlanCode};
use crate::money::{Currency, Money};
use crate::validate::Faults;

mod discount;

/// What the seller offers under a code.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Coupon {
    /// What a customer enters.
    pub code: CouponCode,
    /// How much it takes off.
    pub value: CouponValue,
    /// From how many invoices.
    pub duration: CouponDuration,
    /// For which plans; empty for all.
    #[cfg_attr(feature = "serde", serde(default))]
    pub plans: BTreeSet<PlanCode>,
    /// From this instant on nobody redeems it any more. Discounts that are held go on.
    #[cfg_attr(feature = "serde", serde(default))]
    pub redeem_by: Option<DateTime<Utc>>,
    /// How often it is redeemed at most, by all tenants together. At least 1; none for no limit.
    #[cfg_attr(feature = "serde", serde(default))]
    pub redemptions_max: Option<u32>,
    /// Whether a tenant redeems it once at most, on whichever subscription.
    #[cfg_attr(feature = "serde", serde(default))]
    pub once_per_tenant: bool,
    /// Whether it is on offer.
    pub is_active: bool,
}

/// How much a coupon takes off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum CouponValue {
    /// So many percent of what an invoice charges, in any currency: `10` is 10%. Above 0, at most 100, at most 12 decimals.
    Percent(Decimal),
    /// So much of each invoice, above zero. What an invoice does not use up is lost.
    Amount(Money),
}

/// From how many invoices a coupon takes something off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when one is added"
)]
pub enum CouponDuration {
    /// From one.
    Once,
    /// From that many, at least 1.
    Invoices(u32),
    /// From all.
    Forever,
}

/// What is known of who redeems a coupon.
#[derive(Clone, Copy, Debug)]
pub struct Redemption<'a> {
    /// The plan of the subscription.
    pub plan: &'a PlanCode,
    /// The currency of the plan.
    pub currency: Currency,
    /// The discounts that the subscription has.
    pub held: &'a [Discount],
    /// Whether the tenant has redeemed the coupon before, on any subscription.
    pub redeemed_before: bool,
    /// How often the coupon was redeemed, as far as known. The store counts again when it commits.
    pub redemptions: u32,
    /// When.
    pub now: DateTime<Utc>,
}

/// Why a coupon is not redeemed. Nothing has changed. When several apply, the first listed is returned.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CouponRefusal {
    /// It is not on offer.
    #[error("coupon `{code}` is not active")]
    Inactive {
        /// The coupon.
        code: CouponCode,
    },
    /// It is too late.
    #[error("coupon `{code}` was to be redeemed before {redeem_by}, it is {now}")]
    Over {
        /// The coupon.
        code: CouponCode,
        /// From when on it is over.
        redeem_by: DateTime<Utc>,
        /// When it came.
        now: DateTime<Utc>,
    },
    /// It is for other plans.
    #[error("coupon `{code}` is not for plan `{plan}`, expected {}", names(plans))]
    WrongPlan {
        /// The coupon.
        code: CouponCode,
        /// The plan of the subscription.
        plan: PlanCode,
        /// For which it is.
        plans: BTreeSet<PlanCode>,
    },
    /// It takes off an amount in another currency.
    #[error("coupon `{code}` takes off {amount}, expected an amount in {currency}")]
    CurrencyMismatch {
        /// The coupon.
        code: CouponCode,
        /// What it takes off.
        amount: Money,
        /// The currency of the plan.
        currency: Currency,
    },
    /// The subscription has it: the same coupon does not count twice at a time.
    #[error("the subscription has coupon `{code}` already")]
    Held {
        /// The coupon.
        code: CouponCode,
    },
    /// The tenant has had it before.
    #[error("coupon `{code}` was redeemed by the tenant before, expected at most once")]
    AlreadyRedeemed {
        /// The coupon.
        code: CouponCode,
    },
    /// All of them are gone.
    #[error("coupon `{code}` was redeemed {redemptions} times, expected at most {redemptions_max}")]
    Spent {
        /// The coupon.
        code: CouponCode,
        /// How often it was redeemed.
        redemptions: u32,
        /// How often it may be.
        redemptions_max: u32,
    },
}

fn names(plans: &BTreeSet<PlanCode>) -> String {
    let names: Vec<_> = plans.iter().map(|plan| format!("`{plan}`")).collect();
    names.join(" or ")
}

impl Coupon {
    /// Reports everything that is wrong with the coupon, each fault with the path of its field as in JSON.
    ///
    /// # Errors
    ///
    /// [`Faults`], at least one.
    pub fn validate(&self) -> Result<(), Faults> {
        let mut faults = Faults::default();
        match self.value {
            CouponValue::Percent(percent) => {
                if percent <= Decimal::ZERO || percent > Decimal::ONE_HUNDRED {
                    faults.push(
                        "value.percent",
                        "out_of_range",
                        format!("expected above 0 and at most 100, got {percent}"),
                    );
                } else {
                    check_decimal(&mut faults, "value.percent", percent);
                }
            }
            CouponValue::Amount(amount) => {
                if amount.minor <= 0 {
                    faults.push(
                        "value.amount.minor",
                        "out_of_range",
                        format!("expected at least 1, got {}", amount.minor),
                    );
                }
            }
        }
        if self.duration == CouponDuration::Invoices(0) {
            faults.push("duration.invoices", "out_of_range", "expected at least 1, got 0");
        }
        if self.redemptions_max == Some(0) {
            faults.push("redemptions_max", "out_of_range", "expected at least 1, got 0");
        }
        faults.into_result()
    }

    /// The discount that the subscription gets.
    ///
    /// How often the coupon was redeemed may be old a moment later: the store that commits the redemption counts, and
    /// refuses what is too much.
    ///
    /// # Errors
    ///
    /// [`CouponRefusal`], in the order in which it lists them.
    ///
    /// # Source
    ///
    /// The terms are those of Stripe's coupons (`duration`, `redeem_by`, `max_redemptions`, `applies_to`), but a
    /// duration counts invoices, not months, so that a yearly plan knows it too, as Lago's `frequency_duration`.
    ///
    /// # Example
    ///
    /// ```
    /// use billing_core::coupon::{Coupon, CouponDuration, CouponValue, Redemption};
    /// use billing_core::id::{CouponCode, PlanCode};
    /// use billing_core::money::Currency;
    ///
    /// let coupon = Coupon {
    ///     code: CouponCode::new("LAUNCH").unwrap(),
    ///     value: CouponValue::Percent(10.into()),
    ///     duration: CouponDuration::Invoices(3),
    ///     plans: [PlanCode::new("pro").unwrap()].into(),
    ///     redeem_by: Some("2026-07-01T00:00:00Z".parse().unwrap()),
    ///     redemptions_max: None,
    ///     once_per_tenant: true,
    ///     is_active: true,
    /// };
    /// let mut redemption = Redemption {
    ///     plan: &PlanCode::new("pro").unwrap(),
    ///     currency: Currency::from_code("USD").unwrap(),
    ///     held: &[],
    ///     redeemed_before: false,
    ///     redemptions: 0,
    ///     now: "2026-06-30T12:00:00Z".parse().unwrap(),
    /// };
    /// assert_eq!(coupon.redeem(&redemption).unwrap().invoices_left, Some(3));
    ///
    /// let basic = PlanCode::new("basic").unwrap();
    /// redemption.plan = &basic;
    /// assert_eq!(
    ///     coupon.redeem(&redemption).unwrap_err().to_string(),
    ///     "coupon `LAUNCH` is not for plan `basic`, expected `pro`"
    /// );
    /// ```
    pub fn redeem(&self, redemption: &Redemption<'_>) -> Result<Discount, CouponRefusal> {
        let code = || self.code.clone();
        let now = redemption.now;
        if !self.is_active {
            return Err(CouponRefusal::Inactive { code: code() });
        }
        if let Some(redeem_by) = self.redeem_by.filter(|redeem_by| now >= *redeem_by) {
            return Err(CouponRefusal::Over {
                code: code(),
                redeem_by,
                now,
            });
        }
        let discount = Discount {
            code: code(),
            value: self.value,
            invoices_left: match self.duration {
                CouponDuration::Once => Some(1),
                CouponDuration::Invoices(count) => Some(count),
                CouponDuration::Forever => None,
            },
            plans: self.plans.clone(),
        };
        if !discount.is_for(redemption.plan) {
            return Err(CouponRefusal::WrongPlan {
                code: code(),
                plan: redemption.plan.clone(),
                plans: discount.plans,
            });
        }
        match self.value {
            CouponValue::Amount(amount) if amount.currency != redemption.currency => {
                return Err(CouponRefusal::CurrencyMismatch {
                    code: code(),
                    amount,
                    currency: redemption.currency,
                });
            }
            CouponValue::Amount(_) | CouponValue::Percent(_) => {}
        }
        if redemption.held.iter().any(|held| held.code == self.code) {
            return Err(CouponRefusal::Held { code: code() });
        }
        if self.once_per_tenant && redemption.redeemed_before {
            return Err(CouponRefusal::AlreadyRedeemed { code: code() });
        }
        let redemptions = redemption.redemptions;
        match self.redemptions_max {
            Some(redemptions_max) if redemptions >= redemptions_max => Err(CouponRefusal::Spent {
                code: code(),
                redemptions,
                redemptions_max,
            }),
            Some(_) | None => Ok(discount),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn usd() -> Currency {
        Currency::from_code("USD").unwrap()
    }

    fn plan(code: &str) -> PlanCode {
        PlanCode::new(code).unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn coupon(value: CouponValue) -> Coupon {
        Coupon {
            code: CouponCode::new("LAUNCH").unwrap(),
            value,
            duration: CouponDuration::Once,
            plans: [plan("pro"), plan("team")].into(),
            redeem_by: Some(at(100)),
            redemptions_max: Some(5),
            once_per_tenant: true,
            is_active: true,
        }
    }

    fn percent(text: &str) -> CouponValue {
        CouponValue::Percent(text.parse().unwrap())
    }

    #[track_caller]
    fn check_faults(coupon: &Coupon, expected: &[(&str, &str)]) {
        let faults = coupon.validate().err().unwrap_or_default();
        let found: Vec<_> = faults
            .as_slice()
            .iter()
            .map(|fault| (&*fault.path, fault.code))
            .collect();
        assert_eq!(found, expected, "{faults}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for good in ["100", "0.000000000001"] {
            check_faults(&coupon(percent(good)), &[]);
        }
        for bad in ["0", "-1", "100.1"] {
            check_faults(&coupon(percent(bad)), &[("value.percent", "out_of_range")]);
        }
        check_faults(
            &coupon(percent("0.0000000000001")),
            &[("value.percent", "too_precise")],
        );
        let amount = |minor| coupon(CouponValue::Amount(Money::new(minor, usd())));
        check_faults(&amount(1), &[]);
        check_faults(&amount(0), &[("value.amount.minor", "out_of_range")]);
        check_faults(
            &Coupon {
                duration: CouponDuration::Invoices(0),
                redemptions_max: Some(0),
                ..amount(-1)
            },
            &[
                ("value.amount.minor", "out_of_range"),
                ("duration.invoices", "out_of_range"),
                ("redemptions_max", "out_of_range"),
            ],
        );
        check_faults(
            &Coupon {
                duration: CouponDuration::Invoices(1),
                redemptions_max: Some(1),
                ..amount(1)
            },
            &[],
        );
    }

    /// Everything is wrong at first; each step mends what was told.
    #[test]
    fn the_first_refusal_that_applies_is_told_with_what_came() {
        let (basic, pro) = (plan("basic"), plan("pro"));
        let mut coupon = Coupon {
            is_active: false,
            ..coupon(CouponValue::Amount(Money::new(10_00, usd())))
        };
        let held = [Discount {
            code: coupon.code.clone(),
            value: coupon.value,
            invoices_left: None,
            plans: BTreeSet::new(),
        }];
        let mut redemption = Redemption {
            plan: &basic,
            currency: Currency::from_code("EUR").unwrap(),
            held: &held,
            redeemed_before: true,
            redemptions: 5,
            now: at(100),
        };
        #[track_caller]
        fn check(coupon: &Coupon, redemption: &Redemption<'_>, expected: &str) {
            assert_eq!(coupon.redeem(redemption).unwrap_err().to_string(), expected);
        }
        check(&coupon, &redemption, "coupon `LAUNCH` is not active");
        coupon.is_active = true;
        check(
            &coupon,
            &redemption,
            "coupon `LAUNCH` was to be redeemed before 1970-01-01 00:01:40 UTC, it is 1970-01-01 00:01:40 UTC",
        );
        redemption.now = at(99);
        check(
            &coupon,
            &redemption,
            "coupon `LAUNCH` is not for plan `basic`, expected `pro` or `team`",
        );
        redemption.plan = &pro;
        check(
            &coupon,
            &redemption,
            "coupon `LAUNCH` takes off 10.00 USD, expected an amount in EUR",
        );
        redemption.currency = usd();
        check(
            &coupon,
            &redemption,
            "the subscription has coupon `LAUNCH` already",
        );
        let other = [Discount {
            code: CouponCode::new("OTHER").unwrap(),
            ..held[0].clone()
        }];
        redemption.held = &other;
        check(
            &coupon,
            &redemption,
            "coupon `LAUNCH` was redeemed by the tenant before, expected at most once",
        );
        redemption.redeemed_before = false;
        check(
            &coupon,
            &redemption,
            "coupon `LAUNCH` was redeemed 5 times, expected at most 5",
        );
        redemption.redemptions = 4;
        assert_eq!(
            coupon.redeem(&redemption),
            Ok(Discount {
                code: coupon.code.clone(),
                value: coupon.value,
                invoices_left: Some(1),
                plans: coupon.plans.clone(),
            })
        );
    }

    #[test]
    fn without_limits_anybody_redeems_for_any_plan_and_currency() {
        let coupon = Coupon {
            duration: CouponDuration::Forever,
            plans: BTreeSet::new(),
            redeem_by: None,
            redemptions_max: None,
            once_per_tenant: false,
            ..coupon(percent("10"))
        };
        let redemption = Redemption {
            plan: &plan("basic"),
            currency: Currency::from_code("EUR").unwrap(),
            held: &[],
            redeemed_before: true,
            redemptions: u32::MAX,
            now: at(1_000_000),
        };
        assert_eq!(coupon.redeem(&redemption).unwrap().invoices_left, None);
        let three = Coupon {
            duration: CouponDuration::Invoices(3),
            ..coupon
        };
        assert_eq!(three.redeem(&redemption).unwrap().invoices_left, Some(3));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_coupon_as_json_may_leave_out_what_it_has_not() {
        let json = r#"{"code":"LAUNCH","value":{"percent":"10"},"duration":{"invoices":3},"is_active":true}"#;
        let read: Coupon = serde_json::from_str(json).unwrap();
        let expected = Coupon {
            duration: CouponDuration::Invoices(3),
            plans: BTreeSet::new(),
            redeem_by: None,
            redemptions_max: None,
            once_per_tenant: false,
            ..coupon(percent("10"))
        };
        assert_eq!(read, expected);
        let discount = r#"{"code":"LAUNCH","value":{"amount":{"minor":500,"currency":"USD"}},"invoices_left":1,"plans":["pro"]}"#;
        let read: Discount = serde_json::from_str(discount).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), discount);
        assert!(serde_json::from_str::<Coupon>(&json.replace("is_active", "active")).is_err());
    }
}
