use std::string::ToString;
use std::vec;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn usd() -> Currency {
    Currency::from_code("USD").unwrap()
}

fn eur() -> Currency {
    Currency::from_code("EUR").unwrap()
}

fn money(minor: i64) -> Money {
    Money::new(minor, usd())
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn grant_id(id: u128) -> GrantId {
    GrantId::new(Uuid::from_u128(id))
}

fn invoice_id(id: u128) -> InvoiceId {
    InvoiceId::new(Uuid::from_u128(id))
}

fn grant(id: u128, minor: i64) -> CreditGrant {
    CreditGrant::new(grant_id(id), money(minor), GrantSource::Prepaid, at(0))
}

fn until(seconds: i64, grant: CreditGrant) -> CreditGrant {
    CreditGrant {
        expires_at: Some(at(seconds)),
        ..grant
    }
}

fn credits(grants: &[CreditGrant]) -> Credits {
    Credits::load(usd(), grants.iter().copied()).unwrap()
}

/// Grant, kind and amount of each entry.
fn told(entries: &[LedgerEntry]) -> Vec<(u128, &'static str, i64)> {
    let kind = |kind| match kind {
        LedgerKind::Granted => "granted",
        LedgerKind::Burned { .. } => "burned",
        LedgerKind::Returned { .. } => "returned",
        LedgerKind::Expired => "expired",
        LedgerKind::Voided => "voided",
    };
    let tell = |entry: &LedgerEntry| {
        (
            entry.grant_id.uuid().as_u128(),
            kind(entry.kind),
            entry.amount.minor,
        )
    };
    entries.iter().map(tell).collect()
}

#[test]
fn grants_burn_by_priority_expiry_source_age_and_id() {
    let promotional = |grant| CreditGrant {
        source: GrantSource::Promotional,
        ..grant
    };
    let older = |grant| CreditGrant {
        granted_at: at(-1),
        ..grant
    };
    let first = |grant| CreditGrant {
        priority: PRIORITY_DEFAULT - 1,
        ..grant
    };
    // Each stands before the next by one rule, and behind it by all that follow.
    let order = [
        first(grant(9, 1)),
        until(10, grant(8, 1)),
        until(20, grant(7, 1)),
        promotional(grant(6, 1)),
        older(grant(5, 1)),
        grant(3, 1),
        grant(4, 1),
    ];
    let ids = |grants: &[CreditGrant]| grants.iter().map(|grant| grant.id).collect::<Vec<_>>();
    let mut grants = order;
    for _ in 0..order.len() {
        grants.rotate_left(1);
        assert_eq!(ids(credits(&grants).grants()), ids(&order));
    }
    let burn = credits(&order).burn(money(7), invoice_id(1), at(0)).unwrap();
    let burned: Vec<_> = burn.entries.iter().map(|entry| entry.grant_id).collect();
    assert_eq!(burned, ids(&order));
}

#[test]
fn what_is_burned_is_what_was_asked_or_all_there_is() {
    let mut credits = credits(&[grant(1, 10), grant(2, 10)]);
    let mut burn = |asked| {
        let burn = credits.burn(money(asked), invoice_id(1), at(1)).unwrap();
        (
            burn.burned.minor,
            told(&burn.entries),
            credits.balance(at(1)).minor,
        )
    };
    assert_eq!(burn(0), (0, vec![], 20));
    assert_eq!(burn(4), (4, vec![(1, "burned", -4)], 16));
    assert_eq!(burn(20), (16, vec![(1, "burned", -6), (2, "burned", -10)], 0));
    assert_eq!(burn(1), (0, vec![], 0));
}

#[test]
fn what_has_expired_is_not_burned_but_written_off_once() {
    let grants = [until(10, grant(1, 5)), grant(2, 7)];
    let mut early = credits(&grants);
    assert_eq!((early.balance(at(9)).minor, early.balance(at(10)).minor), (12, 7));
    assert_eq!(early.expire(at(9)), []);
    let burn = early.burn(money(20), invoice_id(1), at(9)).unwrap();
    assert_eq!(burn.burned.minor, 12);

    let mut late = credits(&grants);
    let burn = late.burn(money(20), invoice_id(1), at(10)).unwrap();
    assert_eq!(
        (burn.burned.minor, told(&burn.entries)),
        (7, vec![(1, "expired", -5), (2, "burned", -7)])
    );
    assert!(burn.entries.iter().all(|entry| entry.at == at(10)));
    assert_eq!(late.expire(at(11)), []);
}

#[test]
fn a_withdrawn_invoice_gives_back_what_it_took_and_does_so_once() {
    let mut credits = credits(&[until(10, grant(1, 5)), grant(2, 7), grant(3, 9)]);
    let mut ledger = credits.burn(money(8), invoice_id(1), at(1)).unwrap().entries;
    ledger.extend(credits.burn(money(10), invoice_id(2), at(1)).unwrap().entries);
    let back = credits.give_back(invoice_id(1), &ledger, at(2)).unwrap();
    assert_eq!(told(&back), [(1, "returned", 5), (2, "returned", 3)]);
    assert_eq!(
        back[0].kind,
        LedgerKind::Returned {
            invoice_id: invoice_id(1)
        }
    );
    assert_eq!(credits.balance(at(2)).minor, 21 - 10);
    ledger.extend(back);
    assert_eq!(credits.give_back(invoice_id(1), &ledger, at(2)), Ok(vec![]));
    assert_eq!(credits.give_back(invoice_id(3), &ledger, at(2)), Ok(vec![]));
}

#[test]
fn what_comes_back_to_a_grant_that_ended_is_lost_at_once() {
    let mut credits = credits(&[until(10, grant(1, 5)), grant(2, 7), grant(3, 9)]);
    let mut ledger = credits.burn(money(14), invoice_id(1), at(1)).unwrap().entries;
    assert_eq!(told(&credits.void(grant_id(2), at(2)).unwrap()), []);
    assert_eq!(
        told(&credits.void(grant_id(3), at(2)).unwrap()),
        [(3, "voided", -7)]
    );
    ledger.extend(credits.give_back(invoice_id(1), &ledger, at(10)).unwrap());
    assert_eq!(
        told(&ledger[3..]),
        [
            (1, "returned", 5),
            (1, "expired", -5),
            (2, "returned", 7),
            (2, "voided", -7),
            (3, "returned", 2),
            (3, "voided", -2),
        ]
    );
    assert!(credits.balance(at(10)).is_zero());
    assert_eq!(credits.give_back(invoice_id(1), &ledger, at(10)), Ok(vec![]));
}

#[test]
fn a_grant_is_made_void_once() {
    let mut credits = credits(&[until(10, grant(1, 5)), grant(2, 7)]);
    let mut void = |id, seconds| {
        credits
            .void(grant_id(id), at(seconds))
            .map(|entries| told(&entries))
    };
    assert_eq!(void(2, 9), Ok(vec![(2, "voided", -7)]));
    assert_eq!(void(2, 10), Ok(vec![(1, "expired", -5)]));
    assert_eq!(void(1, 11), Ok(vec![]));
    assert_eq!(
        void(3, 11),
        Err(CreditRefusal::UnknownGrant {
            grant_id: grant_id(3)
        })
    );
    let voided: Vec<_> = credits.grants().iter().map(|grant| grant.voided_at).collect();
    assert_eq!(voided, [Some(at(11)), Some(at(9))]);
}

#[test]
fn a_grant_that_is_void_stays_so_when_it_is_loaded() {
    let void = CreditGrant {
        voided_at: Some(at(1)),
        ..grant(1, 5)
    };
    let mut credits = credits(&[void]);
    assert!(credits.balance(at(2)).is_zero());
    assert_eq!(told(&credits.expire(at(2))), [(1, "voided", -5)]);
}

/// Refuses `grant` beside grant 1 of 10, and changes nothing.
#[track_caller]
fn check_refused(grant: CreditGrant, expected: &str) {
    let before = credits(&[self::grant(1, 10)]);
    let mut after = before.clone();
    assert_eq!(after.grant(grant).unwrap_err().to_string(), expected);
    assert_eq!(after, before);
}

#[test]
fn a_grant_out_of_bounds_is_refused() {
    // Everything is wrong at first; each step mends what was told.
    let mut bad = until(
        0,
        CreditGrant {
            remaining: Money::new(-1, eur()),
            ..grant(1, 0)
        },
    );
    bad.amount.currency = eur();
    check_refused(
        bad,
        "credit grant `00000000-0000-0000-0000-000000000001` is there already",
    );
    bad.id = grant_id(2);
    check_refused(bad, "expected an amount of at least 0.01 EUR, got 0.00 EUR");
    bad.amount.minor = 1;
    check_refused(
        bad,
        "credit grant `00000000-0000-0000-0000-000000000002` has -0.01 EUR left, expected 0.01 EUR to 0.01 EUR",
    );
    bad.remaining = money(1);
    check_refused(
        bad,
        "credit grant `00000000-0000-0000-0000-000000000002` has 0.01 USD left, expected 0.01 EUR to 0.01 EUR",
    );
    bad.remaining = bad.amount;
    check_refused(
        bad,
        "credit granted at 1970-01-01 00:00:00 UTC cannot expire at 1970-01-01 00:00:00 UTC",
    );
    bad.expires_at = Some(at(1));
    check_refused(bad, "cannot combine USD with EUR");
    check_refused(grant(2, i64::MAX - 9), "amount in USD is too large");
    let mut credits = credits(&[grant(1, 10)]);
    assert!(credits.grant(grant(2, i64::MAX - 10)).is_ok());
    assert_eq!(credits.balance(at(0)), money(i64::MAX));
}

#[test]
fn of_a_loaded_grant_less_may_be_left() {
    let left = |minor| {
        let remaining = money(minor);
        Credits::load(
            usd(),
            [CreditGrant {
                remaining,
                ..grant(1, 5)
            }],
        )
    };
    assert!(left(0).is_ok() && left(5).is_ok());
    assert!(left(-1).is_err() && left(6).is_err());
}

#[test]
fn what_is_asked_is_in_the_same_currency_and_not_below_zero() {
    let before = credits(&[until(5, grant(1, 10))]);
    let mut after = before.clone();
    let mut burn = |asked| after.burn(asked, invoice_id(1), at(9)).unwrap_err().to_string();
    assert_eq!(burn(Money::new(-1, eur())), "cannot combine USD with EUR");
    assert_eq!(
        burn(money(-1)),
        "expected an amount of at least 0.00 USD, got -0.01 USD"
    );
    assert_eq!(after, before);
}

#[test]
fn nothing_is_given_back_that_was_not_taken() {
    let before = credits(&[until(5, grant(1, 10)), grant(2, 10)]);
    let check = |entries: &[(u128, bool, Money)], expected: &str| {
        let ledger: Vec<_> = entries
            .iter()
            .map(|(id, burned, amount)| LedgerEntry {
                grant_id: grant_id(*id),
                at: at(0),
                kind: if *burned {
                    LedgerKind::Burned {
                        invoice_id: invoice_id(1),
                    }
                } else {
                    LedgerKind::Returned {
                        invoice_id: invoice_id(1),
                    }
                },
                amount: *amount,
            })
            .collect();
        let mut after = before.clone();
        let refusal = after.give_back(invoice_id(1), &ledger, at(9)).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
        assert_eq!(after, before);
    };
    check(
        &[(3, true, money(-1))],
        "unknown credit grant `00000000-0000-0000-0000-000000000003`",
    );
    check(&[(2, true, Money::new(-1, eur()))], "cannot combine USD with EUR");
    check(
        &[(2, true, money(-1))],
        "credit grant `00000000-0000-0000-0000-000000000002` has 0.11 USD left, expected 0.10 USD to 0.10 USD",
    );
    check(
        &[(2, true, money(-1)), (2, false, money(2))],
        "credit grant `00000000-0000-0000-0000-000000000002` has 0.09 USD left, expected 0.10 USD to 0.10 USD",
    );
}

#[cfg(feature = "serde")]
#[test]
fn grants_and_entries_are_kept_as_json() {
    let json = std::concat!(
        r#"{"grant_id":"00000000-0000-0000-0000-000000000001","at":"1970-01-01T00:00:00Z","#,
        r#""kind":{"burned":{"invoice_id":"00000000-0000-0000-0000-000000000002"}},"#,
        r#""amount":{"minor":-5,"currency":"USD"}}"#
    );
    let entry: LedgerEntry = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&entry).unwrap(), json);
    let json = std::concat!(
        r#"{"id":"00000000-0000-0000-0000-000000000001","amount":{"minor":5,"currency":"USD"},"#,
        r#""remaining":{"minor":5,"currency":"USD"},"priority":50,"granted_at":"1970-01-01T00:00:00Z","#,
        r#""expires_at":null,"voided_at":null,"source":"prepaid"}"#
    );
    assert_eq!(serde_json::to_string(&grant(1, 5)).unwrap(), json);
    assert!(serde_json::from_str::<CreditGrant>(&json.replace("priority", "rank")).is_err());
}

/// What a property does, at the time before plus so many seconds.
#[derive(Clone, Debug)]
enum Step {
    Grant {
        minor: i64,
        priority: u8,
        lasts: Option<i64>,
        is_paid: bool,
    },
    Burn {
        minor: i64,
    },
    /// The invoice of a burn before.
    GiveBack {
        burn: usize,
    },
    Expire,
    /// A grant before.
    Void {
        grant: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let lasts = prop::option::of(1_i64..12);
    let grant = (1_i64..100, 0_u8..3, lasts, any::<bool>()).prop_map(|(minor, priority, lasts, is_paid)| {
        Step::Grant {
            minor,
            priority,
            lasts,
            is_paid,
        }
    });
    let step = prop_oneof![
        4 => grant,
        4 => (0_i64..150).prop_map(|minor| Step::Burn { minor }),
        3 => (0_usize..8).prop_map(|burn| Step::GiveBack { burn }),
        1 => Just(Step::Expire),
        1 => (0_usize..8).prop_map(|grant| Step::Void { grant }),
    ];
    prop::collection::vec((0_i64..4, step), 1..40)
}

/// Whether `a` burns before `b`, spelled out.
fn burns_before(a: &CreditGrant, b: &CreditGrant) -> bool {
    if a.priority != b.priority {
        return a.priority < b.priority;
    }
    match (a.expires_at, b.expires_at) {
        (Some(a), Some(b)) if a != b => return a < b,
        (Some(_), None) => return true,
        (None, Some(_)) => return false,
        (Some(_), Some(_)) | (None, None) => {}
    }
    if a.source != b.source {
        return a.source == GrantSource::Promotional;
    }
    (a.granted_at, a.id) < (b.granted_at, b.id)
}

fn sum<'a>(entries: impl IntoIterator<Item = &'a LedgerEntry>) -> i64 {
    entries.into_iter().map(|entry| entry.amount.minor).sum()
}

proptest! {
    #[test]
    fn the_ledger_is_the_balance_and_grants_burn_in_order(steps in steps()) {
        let mut credits = Credits::new(usd());
        let mut ledger: Vec<LedgerEntry> = Vec::new();
        let mut now = at(0);
        let (mut grants, mut burns) = (0_u128, 0_u128);
        for (wait, step) in steps {
            now += chrono::TimeDelta::seconds(wait);
            let before = credits.clone();
            let entries = match step {
                Step::Grant { minor, priority, lasts, is_paid } => {
                    grants += 1;
                    let source = if is_paid { GrantSource::Prepaid } else { GrantSource::Promotional };
                    let new = CreditGrant {
                        priority,
                        expires_at: lasts.map(|seconds| now + chrono::TimeDelta::seconds(seconds)),
                        ..CreditGrant::new(grant_id(grants), money(minor), source, now)
                    };
                    let entry = credits.grant(new).unwrap();
                    credits.expire(now).into_iter().chain([entry]).collect()
                }
                Step::Burn { minor } => {
                    burns += 1;
                    let burn = credits.burn(money(minor), invoice_id(burns), now).unwrap();
                    prop_assert_eq!(burn.burned.minor, minor.min(before.balance(now).minor));
                    let gave = |grant: &CreditGrant| burn.entries.iter().any(|entry| {
                        entry.grant_id == grant.id && matches!(entry.kind, LedgerKind::Burned { .. })
                    });
                    for (kept, later) in credits.grants().iter().flat_map(|a| {
                        credits.grants().iter().map(move |b| (a, b))
                    }) {
                        let skipped = !kept.remaining.is_zero() && burns_before(kept, later) && gave(later);
                        prop_assert!(!skipped, "{kept:?} before {later:?}");
                    }
                    let taken = burn.entries.iter().filter(|entry| matches!(entry.kind, LedgerKind::Burned { .. }));
                    prop_assert_eq!(sum(taken), -burn.burned.minor);
                    burn.entries
                }
                Step::GiveBack { burn } => {
                    let invoice = invoice_id(burn as u128 + 1);
                    let entries = credits.give_back(invoice, &ledger, now).unwrap();
                    let all = || ledger.iter().chain(&entries);
                    for grant in credits.grants() {
                        let of_invoice = all().filter(|entry| entry.grant_id == grant.id && matches!(
                            entry.kind,
                            LedgerKind::Burned { invoice_id } | LedgerKind::Returned { invoice_id }
                                if invoice_id == invoice
                        ));
                        prop_assert_eq!(sum(of_invoice), 0, "nothing of it is held any more");
                    }
                    entries
                }
                Step::Expire => credits.expire(now),
                Step::Void { grant } => {
                    let voided = credits.void(grant_id(grant as u128 + 1), now);
                    voided.unwrap_or_else(|_| credits.expire(now))
                }
            };
            ledger.extend(entries);
            let remaining: i64 = credits.grants().iter().map(|grant| grant.remaining.minor).sum();
            let balance = credits.balance(now).minor;
            prop_assert_eq!((sum(&ledger), remaining), (balance, balance));
            for grant in credits.grants() {
                prop_assert!((0..=grant.amount.minor).contains(&grant.remaining.minor));
                let of_grant = ledger.iter().filter(|entry| entry.grant_id == grant.id);
                prop_assert_eq!(sum(of_grant), grant.remaining.minor);
            }
            prop_assert!(credits.grants().is_sorted_by(burns_before));
            prop_assert!(ledger.iter().all(|entry| !entry.amount.is_zero()));
        }
    }
}
