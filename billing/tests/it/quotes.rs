//! Quotes: what is shown is what is charged.

use billing::core::id::SubscriptionId;
use billing::core::invoice::Invoice;
use billing::core::plan::TenantProfile;
use billing::core::subscription::{Command, UnusedOnCancel, UnusedOnPause, When};
use billing::{Billing, Error, NewSubscription, Quotable, Quote, QuoteInput, Receipt};
use chrono::TimeDelta;
use uuid::Uuid;

use crate::kit::{Bench, at, metered, on_each_store, request, tenant_id, usd};

/// What a customer sees of an invoice: all but its id, and the ids that its lines name.
fn shown(invoices: &[Invoice]) -> Vec<Invoice> {
    let mut invoices = invoices.to_vec();
    for invoice in &mut invoices {
        invoice.id = billing::core::id::InvoiceId::new(Uuid::nil());
    }
    invoices
}

async fn opened(billing: &Billing, receipt: &Receipt) -> Vec<Invoice> {
    let mut invoices = Vec::new();
    for id in &receipt.invoices {
        invoices.push(billing.invoice(*id).await.unwrap().unwrap());
    }
    invoices
}

async fn quote(billing: &Billing, id: SubscriptionId, command: &Command) -> Quote {
    let asked = Quotable::Execute {
        id,
        command: command.clone(),
    };
    billing.quote(asked, TimeDelta::hours(1)).await.unwrap()
}

/// Tenant 1 on a plan with usage, paid for January, at January 11; and a dearer plan.
async fn paid(bench: &Bench) -> (SubscriptionId, Command) {
    let small = bench.plan("small", |plan| metered(plan, 100, "0.01")).await;
    let large = bench
        .plan("large", |plan| {
            plan.price = usd(40_00);
            metered(plan, 1_000, "0.005");
        })
        .await;
    let id = bench.subscribe(1, &small).await.id();
    bench.pay(id).await;
    bench.use_meter(1, "a", "250", "2026-01-01").await;
    bench.clock.set(at("2026-01-11"));
    let change = Command::ChangePlan {
        plan_id: large.id,
        when: Some(When::Now),
        tenant: TenantProfile::default(),
    };
    (id, change)
}

#[test]
fn a_quote_executed_later_charges_what_it_showed() {
    on_each_store(async |bench| {
        let (id, change) = paid(&bench).await;
        let commands = [
            change,
            Command::Cancel {
                when: When::Now,
                reason: "too dear".into(),
                unused: UnusedOnCancel::Refund,
            },
        ];
        let billing = &bench.billing;
        let before = billing.subscription(id).await.unwrap();
        for (command, key) in commands.into_iter().zip(["change", "cancel"]) {
            bench.pay(id).await;
            let quote = quote(billing, id, &command).await;
            assert!(!quote.invoices.is_empty());
            bench.clock.set(billing.now() + TimeDelta::minutes(59));
            let receipt = billing.execute_quote(&request(key), &quote).await.unwrap();
            assert_eq!(shown(&opened(billing, &receipt).await), shown(&quote.invoices));
            assert_eq!(receipt.subscription.status(), quote.subscription.status());
            // The same key again is the same answer, and no second charge.
            assert_eq!(billing.execute_quote(&request(key), &quote).await, Ok(receipt));
        }
        assert!(billing.subscription(id).await.unwrap().version > before.version);
    });
}

/// What is used after the quote would be billed by nobody, or by the plan that suits the customer.
#[test]
fn a_quote_does_not_leave_usage_behind() {
    on_each_store(async |bench| {
        let (id, change) = paid(&bench).await;
        let billing = &bench.billing;
        let cancel = Command::Cancel {
            when: When::Now,
            reason: "too dear".into(),
            unused: UnusedOnCancel::Refund,
        };
        let quotes = [
            quote(billing, id, &cancel).await,
            quote(billing, id, &change).await,
        ];
        bench.clock.set(billing.now() + TimeDelta::minutes(59));
        let usage = Err(Error::QuoteChanged {
            changed: vec![QuoteInput::Usage],
        });
        bench
            .use_meter(1, "since", "1000000", "2026-01-11T00:00:00Z")
            .await;
        for quote in &quotes {
            assert_eq!(billing.execute_quote(&request("k"), quote).await, usage);
        }
    });
}

/// Or the same hours would be billed by two subscriptions.
#[test]
fn a_creation_that_was_quoted_does_not_reach_back_over_another() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |plan| metered(plan, 0, "1")).await;
        let billing = &bench.billing;
        let new = NewSubscription::new(tenant_id(1), plan.id);
        let asked = Quotable::Create(new.clone());
        let quote = billing.quote(asked, TimeDelta::hours(10)).await.unwrap();
        bench.clock.set(at("2026-01-01T01:00:00Z"));
        let id = billing.create(&request("create"), &new).await.unwrap().id();
        bench.clock.set(at("2026-01-01T03:00:00Z"));
        billing
            .cancel(&request("cancel"), id, When::Now, "x", UnusedOnCancel::None)
            .await
            .unwrap();
        bench.clock.set(at("2026-01-01T04:00:00Z"));
        let refused = billing.execute_quote(&request("k"), &quote).await;
        assert_eq!(
            refused,
            Err(Error::QuoteChanged {
                changed: vec![QuoteInput::Subscription]
            })
        );
    });
}

/// A late sweep must not decide whether a quote holds.
#[test]
fn a_quote_does_not_reach_back_over_a_step_that_fell_due() {
    on_each_store(async |bench| {
        let (id, _) = paid(&bench).await;
        let billing = &bench.billing;
        bench.clock.set(at("2026-01-31T23:30:00Z"));
        let command = Command::Cancel {
            when: When::AtPeriodEnd,
            reason: "x".into(),
            unused: UnusedOnCancel::None,
        };
        let quote = quote(billing, id, &command).await;
        bench.clock.set(at("2026-02-01"));
        let refused = billing.execute_quote(&request("k"), &quote).await;
        assert_eq!(
            refused,
            Err(Error::QuoteChanged {
                changed: vec![QuoteInput::Subscription]
            })
        );
    });
}

/// Also when every input is as it was.
#[test]
fn a_quote_that_was_altered_is_refused() {
    on_each_store(async |bench| {
        let (id, change) = paid(&bench).await;
        let mut quote = quote(&bench.billing, id, &change).await;
        quote.invoices[0].total = usd(1);
        let refused = bench.billing.execute_quote(&request("k"), &quote).await;
        assert_eq!(
            refused,
            Err(Error::QuoteChanged {
                changed: vec![QuoteInput::Outcome]
            })
        );
    });
}

#[test]
fn a_creation_is_quoted_like_any_command() {
    on_each_store(async |bench| {
        let plan = bench.plan("pro", |_| {}).await;
        let asked = Quotable::Create(NewSubscription::new(tenant_id(1), plan.id));
        let quote = bench.billing.quote(asked, TimeDelta::hours(1)).await.unwrap();
        assert_eq!(bench.billing.subscriptions_of(tenant_id(1)).await, Ok(vec![]));
        assert_eq!(quote.invoices[0].total, usd(10_00));
        bench.clock.set(at("2026-01-01T00:30:00Z"));
        let receipt = bench
            .billing
            .execute_quote(&request("create"), &quote)
            .await
            .unwrap();
        let [invoice] = &opened(&bench.billing, &receipt).await[..] else {
            panic!("one invoice")
        };
        assert_eq!(
            (&invoice.lines, invoice.total, invoice.period),
            (&quote.invoices[0].lines, usd(10_00), quote.invoices[0].period)
        );
        assert_eq!(receipt.subscription.created_at, at("2026-01-01"));
    });
}

#[test]
fn a_quote_writes_nothing() {
    on_each_store(async |bench| {
        let (id, change) = paid(&bench).await;
        let billing = &bench.billing;
        let before = (
            billing.subscription(id).await,
            billing.invoices_of(id).await,
            billing.audit_trail(id).await,
        );
        quote(billing, id, &change).await;
        quote(billing, id, &change).await;
        let after = (
            billing.subscription(id).await,
            billing.invoices_of(id).await,
            billing.audit_trail(id).await,
        );
        assert_eq!(before, after);
    });
}

#[test]
fn a_quote_that_does_not_hold_any_more_says_what_has_changed() {
    on_each_store(async |bench| {
        let (id, change) = paid(&bench).await;
        let billing = &bench.billing;
        let quoted = quote(billing, id, &change).await;
        let execute = async |key: &str, quote: &Quote| billing.execute_quote(&request(key), quote).await;

        bench.use_meter(1, "late", "1", "2026-01-10").await;
        let refused = execute("k", &quoted).await;
        assert_eq!(
            refused,
            Err(Error::QuoteChanged {
                changed: vec![QuoteInput::Usage]
            })
        );
        billing.set_auto_renew(&request("off"), id, false).await.unwrap();
        let refused = execute("k", &quoted).await;
        assert_eq!(
            refused,
            Err(Error::QuoteChanged {
                changed: vec![QuoteInput::Subscription, QuoteInput::Usage]
            })
        );

        let quoted = quote(billing, id, &change).await;
        let hour = TimeDelta::hours(1);
        bench.clock.set(quoted.at + hour - TimeDelta::microseconds(1));
        let early = Quote {
            at: quoted.expires_at,
            ..quoted.clone()
        };
        assert!(matches!(
            execute("k", &early).await,
            Err(Error::QuoteExpired { .. })
        ));
        let long = Quote {
            expires_at: quoted.at + TimeDelta::hours(25),
            ..quoted.clone()
        };
        assert!(matches!(
            execute("k", &long).await,
            Err(Error::QuoteExpired { .. })
        ));
        bench.clock.set(quoted.at + hour);
        assert!(matches!(
            execute("k", &quoted).await,
            Err(Error::QuoteExpired { .. })
        ));
        assert_ne!(
            billing.subscription(id).await.unwrap().plan_id,
            quoted.subscription.plan_id
        );

        let asked = Quotable::Execute {
            id,
            command: Command::Advance,
        };
        assert_eq!(billing.quote(asked.clone(), hour).await, Err(Error::NothingToDo));
        for valid_for in [TimeDelta::zero(), TimeDelta::hours(25)] {
            let refused = billing.quote(asked.clone(), valid_for).await;
            assert_eq!(refused, Err(Error::QuoteLength { valid_for }));
        }
    });
}

/// Every command that can be asked of an active subscription, on a store for each.
#[test]
fn every_command_does_what_its_quote_says() {
    let commands = [
        Command::Cancel {
            when: When::AtPeriodEnd,
            reason: "x".into(),
            unused: UnusedOnCancel::None,
        },
        Command::Cancel {
            when: When::Now,
            reason: "x".into(),
            unused: UnusedOnCancel::None,
        },
        Command::Cancel {
            when: When::Now,
            reason: "x".into(),
            unused: UnusedOnCancel::Credit,
        },
        Command::Suspend { reason: "x".into() },
        Command::Pause {
            when: When::Now,
            resume_at: None,
            unused: UnusedOnPause::Carry,
        },
        Command::Pause {
            when: When::Now,
            resume_at: None,
            unused: UnusedOnPause::Credit,
        },
        Command::SetAutoRenew { auto_renew: false },
        Command::ChangeQuantity {
            quantity: 5,
            when: None,
        },
        Command::ChangeQuantity {
            quantity: 5,
            when: Some(When::AtPeriodEnd),
        },
        Command::Advance,
    ];
    for command in commands {
        on_each_store(async |bench| {
            let (id, _) = paid(&bench).await;
            if command == Command::Advance {
                bench.clock.set(at("2026-02-03"));
            }
            let billing = &bench.billing;
            let quoted = quote(billing, id, &command).await;
            bench.clock.set(billing.now() + TimeDelta::minutes(30));
            let receipt = billing.execute_quote(&request("k"), &quoted).await.unwrap();
            assert_eq!(
                shown(&opened(billing, &receipt).await),
                shown(&quoted.invoices),
                "{command:?}"
            );
            assert_eq!(receipt.subscription.quantity, quoted.subscription.quantity);
            assert_eq!(receipt.subscription.credit, quoted.subscription.credit);
            assert_eq!(receipt.subscription.next_due(), quoted.subscription.next_due());
        });
    }
}
