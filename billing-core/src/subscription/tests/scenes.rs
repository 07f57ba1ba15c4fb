//! One account for every state, and for every shape that a state can have.

use std::sync::LazyLock;
use std::vec;
use std::vec::Vec;

use super::super::*;
use super::account::Account;
use super::kit::*;
use crate::retry::DeclineClass;

/// Accounts by name. All were created on March 1; each is at the instant of its last command.
pub(super) fn scenes() -> Vec<(&'static str, Account)> {
    static SCENES: LazyLock<Vec<(&'static str, Account)>> = LazyLock::new(build);
    SCENES.clone()
}

#[track_caller]
pub(super) fn scene(name: &str) -> Account {
    let found = scenes().into_iter().find(|(scene, _)| *scene == name);
    found.unwrap_or_else(|| panic!("no scene `{name}`")).1
}

fn build() -> Vec<(&'static str, Account)> {
    let paid = |plan_id| {
        let mut account = Account::on(plan_id, MARCH);
        account.record("api", 100, at("2026-03-02T00:00:00Z"));
        if account.open().is_some() {
            account.pay(MARCH);
        }
        account
    };
    let then = |account: &Account, steps: &dyn Fn(&mut Account)| {
        let mut account = account.clone();
        steps(&mut account);
        account
    };
    let manual = Create {
        auto_renew: false,
        ..request()
    };
    let no_card = Create {
        payment_method: None,
        ..request()
    };

    let basic = paid(BASIC);
    // 410 units are used in March, 100 more than the plan includes.
    let used = then(&basic, &|account| {
        account.record("api", 310, at("2026-03-03T00:00:00Z"));
    });
    let renewing = then(&used, &|account| {
        account.until(APRIL).record("api", 5, at("2026-04-02T00:00:00Z"));
    });
    let failed = |class| {
        then(&renewing, &|account| {
            account.fail("2026-04-01T06:00:00Z", class);
        })
    };
    let waiting = failed(DeclineClass::Retry);
    let unpaid = failed(DeclineClass::Stop);
    let mut not_renewed = Account::created(BASIC, MARCH, &manual);
    not_renewed.pay(MARCH);
    let lapsed = then(&not_renewed, &|account| {
        account.until(APRIL);
    });
    let owing = then(&not_renewed, &|account| {
        account
            .record("api", 400, at("2026-03-09T00:00:00Z"))
            .until(APRIL);
    });
    let upgrading = then(&basic, &|account| {
        account.must("2026-03-11T00:00:00Z", &change(PRO, When::Now));
    });
    let now = "2026-03-11T00:00:00Z";
    let five = Create {
        quantity: 5,
        ..request()
    };
    let of_five = |plan_id, request: &Create| {
        let mut account = Account::created(plan_id, MARCH, request);
        account.record("api", 100, at("2026-03-02T00:00:00Z"));
        if account.open().is_some() {
            account.pay(MARCH);
        }
        account
    };
    let seats_five = of_five(BASIC, &five);
    let seats_more = then(&seats_five, &|account| {
        account.must(now, &seats(8, None));
    });
    let seats_fewer = then(&seats_five, &|account| {
        account.must(now, &seats(3, None));
    });
    let paused = |account: &Account, unused, resume_at| {
        then(account, &|account| {
            account.must(now, &pause(When::Now, resume_at, unused));
        })
    };
    let paused_owing = |unused, resume_at| {
        let mut account = used.clone();
        account.record("api", 600, at("2026-03-04T00:00:00Z"));
        paused(&account, unused, resume_at)
    };
    let ended = |when, unused| {
        then(&used, &|account| {
            account.must(now, &cancel(when, unused));
        })
    };
    let canceled_owing = ended(When::Now, UnusedOnCancel::None);
    let suspended = |account: &Account, now: &str| {
        then(account, &|account| {
            account.must(now, &suspend());
        })
    };

    vec![
        ("pending, charging", Account::on(PREPAID, MARCH)),
        (
            "pending, declined",
            then(&Account::on(PREPAID, MARCH), &|account| {
                account.fail(MARCH, DeclineClass::Retry);
            }),
        ),
        ("trial", Account::on(TRIAL, MARCH)),
        ("trial, no card", Account::created(TRIAL, MARCH, &no_card)),
        (
            "trial, no card, then free",
            Account::created(TRIAL_THEN_FREE, MARCH, &no_card),
        ),
        (
            "trial, no card, then the end",
            Account::created(TRIAL_THEN_END, MARCH, &no_card),
        ),
        (
            "trial, cancel at its end",
            then(&Account::on(TRIAL, MARCH), &|account| {
                account.must(now, &cancel(When::AtPeriodEnd, UnusedOnCancel::None));
            }),
        ),
        (
            "trial, change at its end",
            then(&Account::on(TRIAL, MARCH), &|account| {
                account.must(now, &change(PRO, When::AtPeriodEnd));
            }),
        ),
        (
            "trial, no card, then free, change at its end",
            then(&Account::created(TRIAL_THEN_FREE, MARCH, &no_card), &|account| {
                account.must(now, &change(PRO, When::AtPeriodEnd));
            }),
        ),
        ("first period, collecting", Account::on(BASIC, MARCH)),
        ("active", basic.clone()),
        ("active, free", paid(FREE)),
        ("active, free and metered", paid(FREE_METERED)),
        ("active, in arrears", paid(ARREARS)),
        ("active, not prorated", paid(UNPRORATED)),
        ("active, in arrears and not prorated", paid(UNPRORATED_ARREARS)),
        ("active, no auto-renewal", not_renewed.clone()),
        (
            "active, cancel at its end",
            ended(When::AtPeriodEnd, UnusedOnCancel::None),
        ),
        (
            "active, pause at its end",
            then(&used, &|account| {
                account.must(
                    now,
                    &pause(
                        When::AtPeriodEnd,
                        Some("2026-04-15T00:00:00Z"),
                        UnusedOnPause::Credit,
                    ),
                );
            }),
        ),
        (
            "active, change at its end",
            then(&used, &|account| {
                account.must(now, &change(FREE, None));
            }),
        ),
        (
            "active, yearly at its end",
            then(&used, &|account| {
                account.must(now, &change(YEARLY, When::AtPeriodEnd));
            }),
        ),
        (
            "active, change at its end, no auto-renewal",
            then(&not_renewed, &|account| {
                account.must(now, &change(FREE, None));
            }),
        ),
        ("upgrading, collecting", upgrading.clone()),
        (
            "upgraded",
            then(&upgrading, &|account| {
                account.pay(now);
            }),
        ),
        (
            "moved to yearly, collecting",
            then(&basic, &|account| {
                account.must(now, &change(YEARLY, When::Now));
            }),
        ),
        ("five seats", seats_five.clone()),
        ("five seats, fewer at its end", seats_fewer.clone()),
        ("five seats, more, collecting", seats_more.clone()),
        (
            "five seats, more",
            then(&seats_more, &|account| {
                account.pay(now);
            }),
        ),
        (
            "five seats, more in arrears",
            then(&of_five(ARREARS, &five), &|account| {
                account.must(now, &seats(8, None)).pay(now);
            }),
        ),
        ("five seats, not prorated", of_five(UNPRORATED, &five)),
        ("five seats, trial", Account::created(TRIAL, MARCH, &five)),
        (
            "five seats, trial, fewer at its end",
            then(&Account::created(TRIAL, MARCH, &five), &|account| {
                account.must(now, &seats(3, When::AtPeriodEnd));
            }),
        ),
        (
            "five seats, trial, no card, then free, fewer at its end",
            then(
                &Account::created(
                    TRIAL_THEN_FREE,
                    MARCH,
                    &Create {
                        payment_method: None,
                        ..five.clone()
                    },
                ),
                &|account| {
                    account.must(now, &seats(3, When::AtPeriodEnd));
                },
            ),
        ),
        (
            "five seats, expired, fewer at its end",
            then(&seats_fewer, &|account| {
                account
                    .must(now, &Command::SetAutoRenew { auto_renew: false })
                    .until(APRIL);
            }),
        ),
        (
            "five seats, suspended, fewer at its end",
            suspended(&seats_fewer, now),
        ),
        (
            "five seats, suspended, unpaid more",
            then(&seats_more, &|account| {
                account.fail(now, DeclineClass::Stop);
            }),
        ),
        ("renewing", renewing.clone()),
        (
            "renewing, cancel at its end",
            then(&renewing, &|account| {
                account.must(
                    "2026-04-02T00:00:00Z",
                    &cancel(When::AtPeriodEnd, UnusedOnCancel::None),
                );
            }),
        ),
        (
            "renewing, in arrears",
            then(&paid(ARREARS), &|account| {
                account.until(APRIL);
            }),
        ),
        (
            "active, parked",
            then(&basic, &|account| {
                account.sub.guard = LineGuard {
                    day: at(APRIL).date_naive(),
                    lines: 1_000,
                    is_released: false,
                };
                account.must(APRIL, &Command::Advance);
            }),
        ),
        (
            "expired after a trial",
            then(&Account::created(TRIAL, MARCH, &no_card), &|account| {
                account.until("2026-03-15T00:00:00Z");
            }),
        ),
        ("expired, not renewed", lapsed.clone()),
        ("expired, not renewed, owing", owing.clone()),
        (
            "expired, not renewed, owing, declined",
            then(&owing, &|account| {
                account.fail(APRIL, DeclineClass::Retry);
            }),
        ),
        (
            "expired, not renewed, renewing",
            then(&owing, &|account| {
                account
                    .fail(APRIL, DeclineClass::Retry)
                    .must("2026-04-01T06:00:00Z", &Command::Renew);
            }),
        ),
        (
            "expired, change at its end",
            then(&not_renewed, &|account| {
                account.must(now, &change(FREE, None)).until(APRIL);
            }),
        ),
        ("expired, waiting", waiting.clone()),
        (
            "expired, charging again",
            then(&waiting, &|account| {
                account.until("2026-04-02T06:00:00Z");
            }),
        ),
        (
            "expired, the customer is asked",
            failed(DeclineClass::AskCustomer),
        ),
        (
            "expired by a failed upgrade",
            then(&upgrading, &|account| {
                account.fail(now, DeclineClass::Retry);
            }),
        ),
        ("suspended, unpaid", unpaid.clone()),
        (
            "suspended, unpaid upgrade",
            then(&upgrading, &|account| {
                account.fail(now, DeclineClass::Stop);
            }),
        ),
        (
            "suspended, unpaid usage",
            then(&owing, &|account| {
                account.fail(APRIL, DeclineClass::Stop);
            }),
        ),
        (
            "suspended, unpaid usage, change at its end",
            then(&not_renewed, &|account| {
                account.must(now, &change(FREE, None)).record("api", 400, at(now));
                account.until(APRIL).fail(APRIL, DeclineClass::Stop);
            }),
        ),
        ("suspended trial", suspended(&Account::on(TRIAL, MARCH), now)),
        ("suspended while active", suspended(&used, now)),
        (
            "suspended while active, in arrears",
            suspended(&paid(ARREARS), now),
        ),
        (
            "suspended while active, cancel at its end",
            suspended(&ended(When::AtPeriodEnd, UnusedOnCancel::None), now),
        ),
        (
            "suspended while active, change at its end",
            then(&used, &|account| {
                account.must(now, &change(FREE, None)).must(now, &suspend());
            }),
        ),
        (
            "suspended while active, pause at its end",
            then(&used, &|account| {
                account
                    .must(
                        now,
                        &pause(
                            When::AtPeriodEnd,
                            Some("2026-04-15T00:00:00Z"),
                            UnusedOnPause::Credit,
                        ),
                    )
                    .must(now, &suspend());
            }),
        ),
        (
            "suspended while renewing",
            suspended(&renewing, "2026-04-02T00:00:00Z"),
        ),
        (
            "suspended while upgrading",
            suspended(&upgrading, "2026-03-12T00:00:00Z"),
        ),
        (
            "suspended while expired",
            suspended(&waiting, "2026-04-02T00:00:00Z"),
        ),
        (
            "suspended while not renewed",
            suspended(&lapsed, "2026-04-02T00:00:00Z"),
        ),
        ("paused, credited", paused(&basic, UnusedOnPause::Credit, None)),
        (
            "paused, credited, owing",
            paused_owing(UnusedOnPause::Credit, None),
        ),
        (
            "paused, carried",
            paused(&basic, UnusedOnPause::Carry, Some("2026-04-15T00:00:00Z")),
        ),
        (
            "paused, carried, owing, declined",
            then(
                &paused_owing(UnusedOnPause::Carry, Some("2026-04-15T00:00:00Z")),
                &|account| {
                    account.fail(now, DeclineClass::Retry);
                },
            ),
        ),
        (
            "paused, carried, owing, the customer is asked",
            then(
                &paused_owing(UnusedOnPause::Carry, Some("2026-04-15T00:00:00Z")),
                &|account| {
                    account.fail(now, DeclineClass::AskCustomer);
                },
            ),
        ),
        (
            "paused at its end",
            then(&used, &|account| {
                account
                    .must(now, &pause(When::AtPeriodEnd, None, UnusedOnPause::Credit))
                    .until(APRIL);
            }),
        ),
        (
            "resumed, carried, owing",
            then(&paused_owing(UnusedOnPause::Carry, None), &|account| {
                account.must("2026-04-15T00:00:00Z", &Command::Resume);
            }),
        ),
        (
            "suspended, unpaid usage of a carried period",
            then(&paused_owing(UnusedOnPause::Carry, None), &|account| {
                account
                    .must("2026-03-15T00:00:00Z", &Command::Resume)
                    .fail("2026-03-15T00:00:00Z", DeclineClass::Stop);
            }),
        ),
        ("canceled, owing", canceled_owing.clone()),
        (
            "canceled, owing, declined",
            then(&canceled_owing, &|account| {
                account.fail(now, DeclineClass::Retry);
            }),
        ),
        (
            "canceled, owing, the customer is asked",
            then(&canceled_owing, &|account| {
                account.fail(now, DeclineClass::AskCustomer);
            }),
        ),
        ("canceled, refunded", ended(When::Now, UnusedOnCancel::Refund)),
        (
            "canceled, uncollectible",
            then(&unpaid, &|account| {
                account.until("2026-06-01T00:00:00Z");
            }),
        ),
        (
            "abandoned",
            then(&Account::on(PREPAID, MARCH), &|account| {
                account.until("2026-03-02T00:00:00Z");
            }),
        ),
    ]
}
