//! A gateway that moves pretended money, keeps its own books, and fails as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, Checkout, CheckoutRequest, GatewayError, GatewayFuture, Health,
    MethodCheck, MethodToken, MethodsQuery, PaymentGateway, PaymentMethodVault, PaymentQuery, RefundOutcome,
    RefundRequest, RefundVerification, Settlement, StoredMethod, UnknownReason, UsableMethod, Verification,
};
use billing_core::id::{PaymentMethodId, TenantId};
use billing_core::money::Money;
use billing_core::ports::{Clock, PortFuture, StoreError};
use billing_core::resilience::{Breaker, BreakerPolicy};
use billing_core::retry::DeclineClass;
use chrono::{DateTime, TimeDelta, Utc};

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is lost, and nobody here knows that it was.
    RequestLost,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It cannot be sent.
    Unreachable,
    /// A charge is declined.
    Declined(DeclineClass),
    /// A charge waits for somebody, and settles when it is looked up; where that is what goes wrong with looking, it waits on.
    Pending,
    /// The provider took another amount.
    WrongAmount,
    /// A charge is on its way for three minutes, and nobody waits for its answer.
    Late,
}

/// What the provider's books say of one reference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Booked {
    /// How much was asked.
    pub amount: Money,
    /// What became of it; none while it is pending.
    pub outcome: Option<Result<DateTime<Utc>, DeclineClass>>,
    /// What was paid back, by reference.
    pub refunds: BTreeMap<String, Money>,
    /// Whether another amount was taken.
    pub is_wrong: bool,
}

#[derive(Debug, Default)]
struct Books {
    payments: BTreeMap<String, Booked>,
    faults: VecDeque<Fault>,
    on_their_way: Vec<(DateTime<Utc>, ChargeRequest)>,
    charges: u32,
    refunds: u32,
}

/// A gateway with books of its own: what it has settled is what was really paid.
#[derive(Debug)]
pub struct FakeGateway {
    clock: Arc<dyn Clock>,
    books: Mutex<Books>,
}

impl FakeGateway {
    /// With empty books; it settles payments at the time of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            books: Mutex::default(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with the next calls, in order; nothing after them.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books().faults.extend(faults);
    }

    /// What the books say, by reference.
    pub fn payments(&self) -> BTreeMap<String, Booked> {
        self.books().payments.clone()
    }

    /// How many charges arrived, repeated ones included.
    pub fn charges(&self) -> u32 {
        self.books().charges
    }

    /// How many refunds arrived, repeated ones included.
    pub fn refunds(&self) -> u32 {
        self.books().refunds
    }

    /// What was taken, less what was paid back, in minor units.
    pub fn kept(&self) -> i64 {
        let books = self.books();
        let settled = books
            .payments
            .values()
            .filter(|booked| matches!(booked.outcome, Some(Ok(_))));
        settled
            .map(|booked| {
                booked.amount.minor - booked.refunds.values().map(|refund| refund.minor).sum::<i64>()
            })
            .sum()
    }

    fn unreachable<T>() -> Result<T, GatewayError> {
        Err(GatewayError::Unreachable {
            service: "fake",
            code: "connect",
        })
    }

    fn no_answer<T>() -> Result<T, GatewayError> {
        Err(GatewayError::NoAnswer {
            service: "fake",
            code: "timeout",
        })
    }

    fn charge_now(&self, request: &ChargeRequest) -> Result<ChargeOutcome, GatewayError> {
        let now = self.clock.now();
        let mut books = self.books();
        let fault = books.faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::Unreachable => return Self::unreachable(),
            Fault::RequestLost => return Ok(ChargeOutcome::Unknown(UnknownReason::Timeout)),
            Fault::Late => {
                let arrives = now + TimeDelta::minutes(3);
                books.on_their_way.push((arrives, request.clone()));
                return Ok(ChargeOutcome::Unknown(UnknownReason::Timeout));
            }
            Fault::None | Fault::AnswerLost | Fault::Declined(_) | Fault::Pending | Fault::WrongAmount => {}
        }
        Ok(books.charge(fault, request, now))
    }
}

impl Books {
    fn charge(&mut self, fault: Fault, request: &ChargeRequest, now: DateTime<Utc>) -> ChargeOutcome {
        self.charges += 1;
        let reference = request.reference.as_str().to_owned();
        let booked = self.payments.entry(reference.clone()).or_insert_with(|| Booked {
            amount: request.amount,
            outcome: match fault {
                Fault::Declined(class) => Some(Err(class)),
                Fault::Pending => None,
                Fault::None
                | Fault::AnswerLost
                | Fault::WrongAmount
                | Fault::Unreachable
                | Fault::RequestLost
                | Fault::Late => Some(Ok(now)),
            },
            refunds: BTreeMap::new(),
            is_wrong: fault == Fault::WrongAmount,
        });
        if fault == Fault::AnswerLost {
            return ChargeOutcome::Unknown(UnknownReason::Timeout);
        }
        answer(booked, &request.reference, request.amount)
    }

    /// What was on its way and has arrived by now.
    fn deliver(&mut self, now: DateTime<Utc>) {
        let (arrived, still): (Vec<_>, Vec<_>) = std::mem::take(&mut self.on_their_way)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.on_their_way = still;
        for (_, request) in arrived {
            self.charge(Fault::None, &request, now);
        }
    }
}

fn answer(booked: &Booked, reference: &billing_core::id::PaymentReference, asked: Money) -> ChargeOutcome {
    match booked.outcome {
        None => ChargeOutcome::Pending {
            code: "send_otp".into(),
            action_url: None,
        },
        Some(Err(class)) => ChargeOutcome::Declined {
            class,
            code: class.code().into(),
        },
        Some(Ok(settled_at)) => {
            let seen = Money::new(
                booked.amount.minor - i64::from(booked.is_wrong),
                booked.amount.currency,
            );
            match Settlement::confirm(reference, asked, reference.as_str(), seen, "fake-1", settled_at) {
                Ok(settlement) => ChargeOutcome::Settled(settlement),
                Err(mismatch) => ChargeOutcome::Unknown(UnknownReason::Mismatch(mismatch)),
            }
        }
    }
}

fn ready<'a, T: Send + 'a>(answer: T) -> PortFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

fn unsupported<T>(operation: &'static str) -> Result<T, GatewayError> {
    Err(GatewayError::Unsupported {
        service: "fake",
        operation,
    })
}

impl PaymentGateway for FakeGateway {
    fn charge<'a>(&'a self, request: &'a ChargeRequest) -> GatewayFuture<'a, ChargeOutcome> {
        ready(self.charge_now(request))
    }

    fn checkout<'a>(&'a self, _request: &'a CheckoutRequest) -> GatewayFuture<'a, Checkout> {
        ready(unsupported("check out"))
    }

    fn verify<'a>(&'a self, payment: &'a PaymentQuery) -> GatewayFuture<'a, Verification> {
        let now = self.clock.now();
        let mut books = self.books();
        books.deliver(now);
        match books.faults.pop_front() {
            Some(Fault::Unreachable) => return ready(Self::unreachable()),
            Some(Fault::RequestLost | Fault::AnswerLost) => return ready(Self::no_answer()),
            Some(Fault::Pending) => {
                return ready(Ok(match books.payments.get(payment.reference.as_str()) {
                    None => Verification::NotFound,
                    Some(booked) => Verification::Found(answer(booked, &payment.reference, payment.amount)),
                }));
            }
            Some(Fault::None | Fault::Declined(_) | Fault::WrongAmount | Fault::Late) | None => {}
        }
        ready(Ok(match books.payments.get_mut(payment.reference.as_str()) {
            None => Verification::NotFound,
            Some(booked) => {
                booked.outcome.get_or_insert(Ok(now));
                Verification::Found(answer(booked, &payment.reference, payment.amount))
            }
        }))
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundOutcome> {
        let mut books = self.books();
        let fault = books.faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::Unreachable => return ready(Self::unreachable()),
            Fault::RequestLost => return ready(Ok(RefundOutcome::Unknown(UnknownReason::Timeout))),
            Fault::None
            | Fault::AnswerLost
            | Fault::Declined(_)
            | Fault::Pending
            | Fault::WrongAmount
            | Fault::Late => {}
        }
        books.refunds += 1;
        let Some(booked) = books.payments.get_mut(request.payment.as_str()) else {
            return ready(Ok(RefundOutcome::Declined {
                code: "no_such_payment".into(),
            }));
        };
        let before: i64 = booked.refunds.values().map(|refund| refund.minor).sum();
        let is_new = !booked.refunds.contains_key(request.reference.as_str());
        if is_new && before + request.amount.minor > booked.amount.minor {
            return ready(Ok(RefundOutcome::Declined {
                code: "more_than_paid".into(),
            }));
        }
        booked
            .refunds
            .insert(request.reference.as_str().into(), request.amount);
        if fault == Fault::AnswerLost {
            return ready(Ok(RefundOutcome::Unknown(UnknownReason::Timeout)));
        }
        ready(Ok(RefundOutcome::Refunded {
            amount: request.amount,
            provider_id: "fake-refund".into(),
        }))
    }

    fn verify_refund<'a>(&'a self, request: &'a RefundRequest) -> GatewayFuture<'a, RefundVerification> {
        let books = self.books();
        let booked = books.payments.get(request.payment.as_str());
        let refund = booked.and_then(|booked| booked.refunds.get(request.reference.as_str()));
        ready(Ok(match refund {
            None => RefundVerification::NotFound,
            Some(amount) => RefundVerification::Found(RefundOutcome::Refunded {
                amount: *amount,
                provider_id: "fake-refund".into(),
            }),
        }))
    }

    fn methods<'a>(&'a self, _query: &'a MethodsQuery) -> GatewayFuture<'a, Vec<UsableMethod>> {
        ready(unsupported("list payment methods"))
    }

    fn validate_method<'a>(
        &'a self,
        _query: &'a MethodsQuery,
        _method: &'a StoredMethod,
        _now: DateTime<Utc>,
    ) -> GatewayFuture<'a, MethodCheck> {
        ready(Ok(MethodCheck::Usable))
    }

    fn health(&self) -> PortFuture<'_, Health> {
        let breaker = Breaker::new(BreakerPolicy::PAYMENT);
        ready(Health {
            is_up: true,
            code: "ok",
            took: TimeDelta::zero(),
            breaker: breaker.snapshot(self.clock.now()),
        })
    }
}

/// A vault in which every payment method is there.
#[derive(Debug, Default)]
pub struct FullVault;

impl PaymentMethodVault for FullVault {
    fn find(
        &self,
        tenant_id: TenantId,
        _id: PaymentMethodId,
    ) -> PortFuture<'_, Result<Option<StoredMethod>, StoreError>> {
        let found = StoredMethod {
            token: MethodToken::new("AUTH_fake").expect("a token"),
            email: format!("{}@example.com", tenant_id.uuid().as_u128())
                .parse()
                .expect("an address"),
            country: None,
        };
        ready(Ok(Some(found)))
    }
}
