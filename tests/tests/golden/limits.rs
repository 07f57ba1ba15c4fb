//! Limits and quotes.

use billing::{MemoryStore, NewSubscription, Quotable, Quote, QuoteInput, QuoteInputs};
use billing_core::aggregation::Aggregation;
use billing_core::audit::Digest;
use billing_core::calendar::Interval;
use billing_core::limit::{
    Consumed, Counter, Lease, LimitAnswer, LimitMark, LimitWarning, Reserved, Settled,
};
use billing_core::plan::LimitReset;
use billing_core::subscription::Command;
use billing_core::usage::{UsageOutcome, UsageRefusal};
use billing_tests::kit::{Kit, decimal, key, meter, plan_id, start, tenant};
use billing_tests::states::states;

use super::{golden, later, period, profile, strict, subscription_id};

fn counter() -> Counter {
    Counter {
        used: decimal("12.5"),
        reserved: decimal("3"),
        events: 2,
    }
}

#[test]
fn what_limits_answer() {
    strict("counter", &[("counter", counter())], &[]);
    let warning = |mark, at, crossed| LimitWarning {
        mark,
        at: decimal(at),
        crossed,
    };
    let answer = LimitAnswer {
        allowed: true,
        taken: decimal("15.5"),
        hard_limit: Some(decimal("20")),
        remaining: Some(decimal("4.5")),
        fraction: Some(decimal("0.825")),
        warnings: vec![
            warning(LimitMark::Allowance, "10", false),
            warning(LimitMark::SoftLimit, "15", false),
            warning(LimitMark::Fraction(decimal("0.8")), "16", true),
        ],
    };
    let unlimited = LimitAnswer {
        hard_limit: None,
        remaining: None,
        fraction: None,
        warnings: vec![],
        ..answer.clone()
    };
    strict(
        "limit_answer",
        &[("limited", answer), ("unlimited", unlimited)],
        &[],
    );
    golden(
        "limit_reset",
        &[
            ("billing_period", LimitReset::BillingPeriod),
            ("calendar", LimitReset::Calendar(Interval::MONTHLY)),
        ],
    );
}

#[test]
fn what_became_of_consumption_and_leases() {
    let refusal = UsageRefusal::Negative {
        quantity: decimal("-1"),
    };
    golden(
        "consumed",
        &[
            ("accepted", Consumed::Accepted(counter())),
            ("duplicate", Consumed::Duplicate(counter())),
            ("over_limit", Consumed::OverLimit(counter())),
            ("refused", Consumed::Refused(refusal)),
            ("withheld", Consumed::Withheld),
        ],
    );
    let lease = Lease {
        tenant_id: tenant(1),
        key: key("k"),
        meter: meter("api"),
        window: period(),
        aggregation: Aggregation::Count,
        quantity: decimal("5"),
        expires_at: later(),
    };
    strict("lease", &[("lease", lease)], &[]);
    golden(
        "reserved",
        &[
            ("held", Reserved::Held(counter())),
            ("duplicate", Reserved::Duplicate(counter())),
            ("ended", Reserved::Ended),
            ("key_reused", Reserved::KeyReused),
            ("over_limit", Reserved::OverLimit(counter())),
        ],
    );
    golden(
        "settled",
        &[
            ("unknown", Settled::Unknown),
            ("released", Settled::Released),
            ("recorded", Settled::Recorded(UsageOutcome::Accepted)),
        ],
    );
}

#[test]
fn quotes() {
    let new = NewSubscription {
        tenant: profile(),
        ..NewSubscription::new(tenant(1), plan_id(1))
    };
    let seats = NewSubscription {
        quantity: 5,
        ..new.clone()
    };
    // One is left out, so that the fingerprints of requests of before there were quantities still hold.
    strict("new_subscription", &[("new", new.clone()), ("seats", seats)], &[]);
    let execute = Quotable::Execute {
        id: subscription_id(),
        command: Command::Renew,
    };
    golden(
        "quotable",
        &[("create", Quotable::Create(new)), ("execute", execute.clone())],
    );
    golden(
        "quote_input",
        &[
            ("subscription", QuoteInput::Subscription),
            ("plans", QuoteInput::Plans),
            ("usage", QuoteInput::Usage),
            ("invoice", QuoteInput::Invoice),
            ("outcome", QuoteInput::Outcome),
        ],
    );
    let digest = Digest::of(b"x");
    let store = MemoryStore::new();
    let subscription = states(&Kit::new(&store)).remove(0).1;
    let quote = Quote {
        asked: execute,
        at: start(),
        expires_at: later(),
        subscription,
        invoices: vec![],
        effects: vec![],
        inputs: QuoteInputs {
            subscription: digest,
            plans: digest,
            usage: digest,
            invoice: digest,
            terms: digest,
        },
    };
    golden("quote", &[("quote", quote)]);
}
