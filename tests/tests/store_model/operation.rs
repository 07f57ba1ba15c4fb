//! What is drawn at random.

use proptest::prelude::*;

pub(crate) const TENANTS: u128 = 3;
pub(crate) const PLANS: u128 = 6;
pub(crate) const COUPONS: u8 = 4;
pub(crate) const KEYS: u8 = 12;
pub(crate) const LEASES: u8 = 2;

/// One thing that is asked of both stores. Numbers pick from what is there.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    PutPlan {
        slot: u128,
        terms: u8,
    },
    SetAvailability {
        slot: u128,
        is_active: bool,
        discontinued: bool,
    },
    PutCoupon {
        slot: u8,
        terms: u8,
    },
    Commit(Vec<Step>),
    Usage(Vec<Used>),
    Limits(Vec<Limited>),
    Prune {
        which: usize,
        entry: usize,
        micros: i64,
    },
    PassToDue,
    Pass {
        hours: i64,
    },
    Sweep {
        page: usize,
    },
    Reopen,
}

/// One commit of a batch, decided from what was there before the batch.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) key: Option<u8>,
    pub(crate) tamper: Option<Tamper>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// `blind`: as if nothing were known of the tenant.
    Create {
        tenant: u128,
        slot: u128,
        method: bool,
        auto_renew: bool,
        trial: bool,
        blind: bool,
    },
    Command {
        which: usize,
        command: u8,
        slot: u128,
    },
    /// A commit of before, once more.
    Again {
        which: usize,
    },
}

/// What a core that is at fault might decide.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tamper {
    Number,
    Period,
    Closed,
    Version,
    Job,
}

#[derive(Clone, Debug)]
pub(crate) struct Used {
    pub(crate) tenant: u128,
    pub(crate) key: u8,
    /// Whether it comes under the key of a lease.
    pub(crate) leased: bool,
    pub(crate) meter: bool,
    pub(crate) quantity: i64,
    pub(crate) scale: u32,
    pub(crate) hours_ago: i64,
    pub(crate) property: bool,
}

/// What is asked of the limits.
#[derive(Clone, Debug)]
pub(crate) enum Limited {
    Check {
        tenant: u128,
        meter: bool,
        counted: u8,
        back: i64,
    },
    Consume {
        used: Vec<Used>,
        counted: u8,
        hard_limit: Option<i64>,
    },
    Reserve {
        tenant: u128,
        key: u8,
        meter: bool,
        counted: u8,
        quantity: i64,
        hard_limit: Option<i64>,
        hours: i64,
    },
    Settle(Used),
    Release {
        tenant: u128,
        key: u8,
    },
    Recount {
        tenant: u128,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let create = (
        1..=TENANTS,
        0..PLANS,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.6),
    )
        .prop_map(|(tenant, slot, method, auto_renew, trial, blind)| What::Create {
            tenant,
            slot,
            method,
            auto_renew,
            trial,
            blind,
        });
    let command = (any::<usize>(), 0_u8..80, 0..PLANS).prop_map(|(which, command, slot)| What::Command {
        which,
        command,
        slot,
    });
    let again = any::<usize>().prop_map(|which| What::Again { which });
    let what = prop_oneof![3 => create, 15 => command, 1 => again];
    let tamper = prop_oneof![
        Just(Tamper::Number),
        Just(Tamper::Period),
        Just(Tamper::Closed),
        Just(Tamper::Version),
        Just(Tamper::Job)
    ];
    (
        what,
        prop::option::weighted(0.3, 0..KEYS),
        prop::option::weighted(0.2, tamper),
    )
        .prop_map(|(what, key, tamper)| Step { what, key, tamper })
}

fn used() -> impl Strategy<Value = Used> {
    (
        1..=TENANTS,
        0_u8..40,
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.7),
        0_i64..5_000,
        0_u32..=12,
        // Often at one instant with another.
        prop_oneof![-1_i64..4, -1_i64..2_000],
        any::<bool>(),
    )
        .prop_map(
            |(tenant, key, leased, meter, quantity, scale, hours_ago, property)| Used {
                tenant,
                key,
                leased,
                meter,
                quantity,
                scale,
                hours_ago,
                property,
            },
        )
}

fn limited() -> impl Strategy<Value = Limited> {
    let hard_limit = || prop::option::weighted(0.8, prop_oneof![0_i64..20, 0_i64..8_000]);
    prop_oneof![
        2 => (1..=TENANTS, any::<bool>(), 0_u8..5, 0_i64..3)
            .prop_map(|(tenant, meter, counted, back)| Limited::Check { tenant, meter, counted, back }),
        3 => (prop::collection::vec(used(), 0..4), 0_u8..5, hard_limit())
            .prop_map(|(used, counted, hard_limit)| Limited::Consume { used, counted, hard_limit }),
        4 => (
            1..=TENANTS,
            0..LEASES,
            prop::bool::weighted(0.8),
            0_u8..2,
            0_i64..2,
            hard_limit(),
            prop_oneof![Just(0_i64), 1_i64..100],
        ).prop_map(
            |(tenant, key, meter, counted, quantity, hard_limit, hours)| Limited::Reserve {
                tenant,
                key,
                meter,
                counted,
                // Few, so that the same comes again.
                quantity: quantity * 2_500,
                hard_limit,
                hours,
            }
        ),
        3 => used().prop_map(Limited::Settle),
        2 => (1..=TENANTS, 0..LEASES).prop_map(|(tenant, key)| Limited::Release { tenant, key }),
        1 => (1..=TENANTS).prop_map(|tenant| Limited::Recount { tenant }),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..PLANS, 0_u8..4).prop_map(|(slot, terms)| Op::PutPlan { slot, terms }),
        1 => (0..PLANS, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(slot, is_active, discontinued)| Op::SetAvailability { slot, is_active, discontinued }),
        1 => (0..COUPONS, 0_u8..3).prop_map(|(slot, terms)| Op::PutCoupon { slot, terms }),
        14 => prop::collection::vec(step(), 1..5).prop_map(Op::Commit),
        3 => prop::collection::vec(used(), 0..6).prop_map(Op::Usage),
        4 => prop::collection::vec(limited(), 1..8).prop_map(Op::Limits),
        1 => (any::<usize>(), any::<usize>(), -1_i64..=1)
            .prop_map(|(which, entry, micros)| Op::Prune { which, entry, micros }),
        2 => Just(Op::PassToDue),
        4 => prop_oneof![(-30_i64..100), (300_i64..1_000)].prop_map(|hours| Op::Pass { hours }),
        3 => (1_usize..4).prop_map(|page| Op::Sweep { page }),
        1 => Just(Op::Reopen),
    ]
}
