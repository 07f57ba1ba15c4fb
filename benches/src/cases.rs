//! A valid case of every command, with all its facts loaded.

use std::net::{IpAddr, Ipv4Addr};

use billing::core::audit::Actor;
use billing::core::charge::ChargeModel;
use billing::core::credit::GrantSource;
use billing::core::id::{ActorName, AddOnCode, GrantId, InvoiceId, MeterCode, PaymentMethodId};
use billing::core::invoice::Invoice;
use billing::core::plan::{MeterTerms, Plan, TenantProfile};
use billing::core::subscription::{
    self, Command, CommandKind, Context, Create, CreateFacts, Decision, Facts, GrantCredit, Rejection,
    Subscription, UnusedOnCancel, UnusedOnPause, When,
};
use billing::core::usage::{CellUsage, ChargeCell, Usage};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::subscribers::{at, plan, request, settled, standing, usd};

/// One decision, ready to be made.
#[derive(Debug)]
pub struct Case {
    /// What is decided.
    pub name: String,
    /// How many lines of usage it rates.
    pub rated_lines: u32,
    asked: Asked,
    plan: Plan,
    target: Plan,
    invoice: Option<Invoice>,
    usage: Option<Usage>,
    now: DateTime<Utc>,
    actor: Actor,
    ip: Option<IpAddr>,
}

#[derive(Debug)]
enum Asked {
    Create(Box<Create>),
    Command(Box<Subscription>, Command),
}

impl Case {
    /// Makes the decision.
    ///
    /// # Errors
    ///
    /// As core; of the cases here there is none.
    pub fn decide(&self) -> Result<Decision, Rejection> {
        let invoice_id = InvoiceId::new(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0002));
        let context = Context {
            now: self.now,
            actor: &self.actor,
            ip: self.ip,
            invoice_id,
        };
        match &self.asked {
            Asked::Create(request) => {
                let facts = CreateFacts {
                    plan: &self.plan,
                    live: None,
                    trial_used: false,
                    siblings: &[],
                    tax: None,
                    coupon: None,
                };
                subscription::create(request, &facts, &context)
            }
            Asked::Command(current, command) => {
                let facts = Facts {
                    plan: &self.plan,
                    target: Some(&self.target),
                    usage: self.usage.as_ref(),
                    invoice: self.invoice.as_ref(),
                    siblings: &[],
                    tax: None,
                    coupon: None,
                    notes: None,
                };
                subscription::decide(current, command, &facts, &context)
            }
        }
    }

    fn of(self, current: &Subscription, command: Command) -> Self {
        let asked = Asked::Command(Box::new(current.clone()), command);
        Self { asked, ..self }
    }

    fn next(self) -> Subscription {
        self.decide().expect("a case is valid").next
    }

    fn clone_at(&self, now: DateTime<Utc>) -> Self {
        Self {
            name: self.name.clone(),
            rated_lines: self.rated_lines,
            asked: match &self.asked {
                Asked::Create(request) => Asked::Create(request.clone()),
                Asked::Command(current, command) => Asked::Command(current.clone(), command.clone()),
            },
            plan: self.plan.clone(),
            target: self.target.clone(),
            invoice: self.invoice.clone(),
            usage: self.usage.clone(),
            now,
            actor: self.actor.clone(),
            ip: self.ip,
        }
    }
}

/// A subscription that begins on the first day of January 2026.
fn creation() -> Case {
    Case {
        name: "create".into(),
        rated_lines: 0,
        asked: Asked::Create(Box::new(request(1))),
        plan: plan("standard"),
        target: Plan {
            price: usd(25_00),
            ..plan("pro")
        },
        invoice: None,
        usage: None,
        now: at("2026-01-01"),
        actor: Actor::User(ActorName::new("user-4711").expect("a name")),
        ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
    }
}

/// A renewal at the end of January that bills what was used of each meter and nothing else.
pub fn renewal_of(meters: &[MeterCase]) -> Case {
    let create = creation();
    let active = standing(1, create.now, &create.plan);
    let case = Case {
        name: format!("advance, rating {} meters", meters.len()),
        actor: Actor::System,
        ip: None,
        plan: Plan {
            price: usd(0),
            ..create.plan.clone()
        },
        ..create.clone_at(at("2026-02-01")).of(&active, Command::Advance)
    };
    metered(case, meters)
}

/// A creation, one case of each command, and a renewal that rates usage.
pub fn cases() -> Vec<Case> {
    let create = creation();
    let (start, mid, end) = (create.now, at("2026-01-16T10:30:00Z"), at("2026-02-01"));
    let created = create.decide().expect("a creation");
    let invoice = created.opened.expect("the first invoice");
    let new = created.next;
    let with_invoice = Case {
        invoice: Some(invoice.clone()),
        ..create.clone_at(start)
    };
    let active = with_invoice
        .clone_at(start)
        .of(&new, settled(&invoice, start))
        .next();

    let mut cases: Vec<_> = CommandKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let on = |now| create.clone_at(now);
            let cancel = |when| Command::Cancel {
                when,
                reason: "too dear".into(),
                unused: UnusedOnCancel::Credit,
            };
            let pause = |when| Command::Pause {
                when,
                resume_at: None,
                unused: UnusedOnPause::Credit,
            };
            let change = |when| Command::ChangePlan {
                plan_id: create.target.id,
                when: Some(when),
                tenant: TenantProfile::default(),
            };
            let case = match kind {
                CommandKind::Advance => Case {
                    actor: Actor::System,
                    ip: None,
                    ..on(end).of(&active, Command::Advance)
                },
                CommandKind::Renew => {
                    let off = on(mid)
                        .of(&active, Command::SetAutoRenew { auto_renew: false })
                        .next();
                    let expired = on(end).of(&off, Command::Advance).next();
                    on(at("2026-02-03")).of(&expired, Command::Renew)
                }
                CommandKind::Cancel => on(mid).of(&active, cancel(When::Now)),
                CommandKind::UndoCancel => {
                    let flagged = on(mid).of(&active, cancel(When::AtPeriodEnd)).next();
                    on(mid).of(&flagged, Command::UndoCancel)
                }
                CommandKind::Suspend => on(mid).of(
                    &active,
                    Command::Suspend {
                        reason: "chargeback".into(),
                    },
                ),
                CommandKind::Reactivate => {
                    let stopped = on(mid)
                        .of(
                            &active,
                            Command::Suspend {
                                reason: "chargeback".into(),
                            },
                        )
                        .next();
                    on(at("2026-01-17")).of(&stopped, Command::Reactivate)
                }
                CommandKind::Pause => on(mid).of(&active, pause(When::Now)),
                CommandKind::Resume => {
                    let paused = on(mid).of(&active, pause(When::Now)).next();
                    on(at("2026-01-20")).of(&paused, Command::Resume)
                }
                CommandKind::ChangePlan => on(mid).of(&active, change(When::Now)),
                CommandKind::ChangeQuantity => on(mid).of(
                    &active,
                    Command::ChangeQuantity {
                        quantity: 5,
                        when: Some(When::Now),
                    },
                ),
                CommandKind::ChangeAddOn => on(mid).of(
                    &active,
                    Command::ChangeAddOn {
                        add_on: AddOnCode::new("backup").expect("a code"),
                        quantity: 2,
                        when: Some(When::Now),
                    },
                ),
                CommandKind::BuyAddOn => on(mid).of(
                    &active,
                    Command::BuyAddOn {
                        add_on: AddOnCode::new("setup").expect("a code"),
                        quantity: 1,
                    },
                ),
                CommandKind::DropPendingChange => {
                    let flagged = on(mid).of(&active, change(When::AtPeriodEnd)).next();
                    on(mid).of(&flagged, Command::DropPendingChange)
                }
                CommandKind::SetPaymentMethod => {
                    let payment_method = Some(PaymentMethodId::new(Uuid::from_u128(5)));
                    on(mid).of(&active, Command::SetPaymentMethod { payment_method })
                }
                CommandKind::SetAutoRenew => on(mid).of(&active, Command::SetAutoRenew { auto_renew: false }),
                CommandKind::RecordPayment => with_invoice.clone_at(start).of(&new, settled(&invoice, start)),
                CommandKind::Unpark => {
                    let parked = Subscription {
                        parked_at: Some(mid),
                        ..active.clone()
                    };
                    on(mid).of(&parked, Command::Unpark)
                }
                CommandKind::GrantCredit => on(mid).of(&active, grant()),
                CommandKind::VoidCredit => {
                    let granted = on(mid).of(&active, grant()).next();
                    let grant_id = granted.grants.first().map(|grant| grant.id).expect("a grant");
                    on(mid).of(&granted, Command::VoidCredit { grant_id })
                }
                // Done by hand, each with facts that no other command needs.
                CommandKind::RedeemCoupon | CommandKind::IssueCreditNote => return None,
            };
            Some(Case {
                name: kind.code().into(),
                ..case
            })
        })
        .collect();
    let per_unit = |code: &str, quantity: &str, unit_price: &str| MeterCase {
        code: code.into(),
        quantity: quantity.into(),
        charge: ChargeModel::PerUnit {
            unit_price: unit_price.parse().expect("a price"),
        },
    };
    let advance = Case {
        name: "advance, rating 2 meters".into(),
        actor: Actor::System,
        ip: None,
        ..create.clone_at(end).of(&active, Command::Advance)
    };
    cases.push(metered(
        advance,
        &[
            per_unit("api-calls", "123456", "0.0004"),
            per_unit("storage-gb", "37.25", "0.021"),
        ],
    ));
    cases.insert(0, create);
    cases
}

/// A meter of a plan, and how much was used of it.
#[derive(Clone, Debug)]
pub struct MeterCase {
    /// Its code.
    pub code: String,
    /// How much, of which 10 are included.
    pub quantity: String,
    /// What the rest costs.
    pub charge: ChargeModel,
}

/// The same with meters in the plan and usage of each.
fn metered(mut case: Case, meters: &[MeterCase]) -> Case {
    let mut usage = Usage {
        watermark: 1_000,
        ..Usage::default()
    };
    for MeterCase {
        code,
        quantity,
        charge,
    } in meters
    {
        let meter = MeterCode::new(code).expect("a code");
        let used = CellUsage {
            quantity: quantity.parse().expect("a quantity"),
            events: 1,
            ..CellUsage::default()
        };
        let cells = [(ChargeCell::default(), used)].into();
        usage.meters.insert(meter.clone(), cells);
        let terms = MeterTerms {
            allowance: 10.into(),
            warn_at: Vec::new(),
            ..MeterTerms::new(charge.clone())
        };
        case.plan.meters.insert(meter, terms);
    }
    Case {
        rated_lines: u32::try_from(meters.len()).expect("a number"),
        usage: Some(usage),
        ..case
    }
}

fn grant() -> Command {
    Command::GrantCredit(GrantCredit {
        id: GrantId::new(Uuid::from_u128(1)),
        amount: usd(10_00),
        source: GrantSource::Prepaid,
        priority: 50,
        expires_at: None,
    })
}
