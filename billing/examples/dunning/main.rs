//! One tenant through lost answers, declines, suspension, recovery and an outage, with the real client against a payment
//! service on a loopback port. At the end the service's books are held against our invoices.
//!
//! `cargo run --release --example dunning`: fails when the books differ.

mod service;

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use billing::core::audit::Actor;
use billing::core::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition,
};
use billing::core::gateway::{MethodToken, PaymentGateway as _, PaymentMethodVault, StoredMethod};
use billing::core::id::{IdempotencyKey, PaymentMethodId, SubscriptionId, TenantId};
use billing::core::invoice::InvoiceStatus;
use billing::core::money::Money;
use billing::core::outbox::JobResult;
use billing::core::plan::Plan;
use billing::core::ports::PortFuture;
use billing::core::resilience::Transition;
use billing::core::subscription::Status;
use billing::{
    Billing, MemoryStore, NewSubscription, Request, StoreError, SweepOptions, TestClock, Worker,
    WorkerOptions,
};
use billing_client::payment::PaymentClient;
use billing_client::{Backoff, BreakerNews, SecretString, ServiceConfig};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use service::{Service, Trouble};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// 29.00 a month; a failed payment is tried again after 1, 2 and 4 days, and everything is granted meanwhile.
const PRO: &str = r#"{
    "id": "01941f29-7c00-7000-8000-00000000000a", "code": "pro", "version": 1, "product": "app", "name": "Pro",
    "price": {"minor": 2900, "currency": "USD"}, "interval": {"unit": "month", "count": 1}, "is_active": true,
    "grace_period_days": 7, "retry": {"intervals_hours": [24, 48, 96]}
}"#;

const CARD_1: (u128, &str) = (1, "tok_1");
const CARD_2: (u128, &str) = (2, "tok_2");

/// The tokens of the two cards. A host keeps them encrypted.
#[derive(Debug)]
struct Vault;

impl PaymentMethodVault for Vault {
    fn find(
        &self,
        _tenant_id: TenantId,
        id: PaymentMethodId,
    ) -> PortFuture<'_, std::result::Result<Option<StoredMethod>, StoreError>> {
        let card = [CARD_1, CARD_2].into_iter().find(|card| method(*card) == id);
        let found = card.and_then(|(_, token)| {
            Some(StoredMethod {
                token: MethodToken::new(token).ok()?,
                email: "jane@example.com".parse().ok()?,
                country: None,
            })
        });
        Box::pin(std::future::ready(Ok(found)))
    }
}

struct Story {
    clock: Arc<TestClock>,
    billing: Billing,
    service: Service,
    client: Arc<PaymentClient>,
    worker: Worker,
    /// What the breaker did since the last line.
    news: Arc<Mutex<Vec<String>>>,
    id: SubscriptionId,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("the service's books are not our invoices");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    print("               time  status     standing  debits  what happened");
    let story = Story::begin().await?;
    story.step("subscribed with card 1").await?;
    story.lost_answer().await?;
    story.declines().await?;
    story.recovery().await?;
    story.outage().await?;
    story.refund().await?;
    story.compare().await
}

impl Story {
    async fn begin() -> Result<Self> {
        let clock = Arc::new(TestClock::at(at("2026-03-01")?));
        let service = Service::start(clock.clone()).await?;
        let billing = Billing::new(Arc::new(MemoryStore::new()), clock.clone());

        let mut config = ServiceConfig::new(&service.url(), SecretString::from(service::KEY))?;
        // Nobody waits here: the retries of a call come at once.
        config.backoff = Backoff {
            base: Duration::from_millis(2),
            cap: Duration::from_millis(4),
            ..Backoff::default()
        };
        let news = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&news);
        let listener = move |heard: BreakerNews| {
            let what = match heard.transition {
                Transition::Opened { until } => format!("breaker opened until {}", until.time()),
                Transition::Closed => "breaker closed".into(),
            };
            told.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        };
        let client = PaymentClient::with_listener(&config, clock.clone(), Some(Arc::new(listener)))?;
        let client = Arc::new(client);
        let options = WorkerOptions {
            // Shorter than a breaker stays open, so that the story has a call that it refuses.
            retry_base: TimeDelta::seconds(10),
            ..WorkerOptions::default()
        };
        let worker = Worker::new(billing.clone(), client.clone(), Arc::new(Vault), options);

        let plan: Plan = serde_json::from_str(PRO)?;
        billing.put_plan(&plan).await?;
        let new = NewSubscription {
            payment_method: Some(method(CARD_1)),
            ..NewSubscription::new(TenantId::new(Uuid::from_u128(1)), plan.id)
        };
        let id = billing.create(&request("create")?, &new).await?.id();
        Ok(Self {
            clock,
            billing,
            service,
            client,
            worker,
            news,
            id,
        })
    }

    /// The money moves and nobody is told: the payment is found by its reference, and the card is not debited again.
    async fn lost_answer(&self) -> Result<()> {
        self.clock.set(at("2026-04-01")?);
        self.service.set(Trouble::AnswersLost);
        let again = self
            .step("renewal; the card is debited and the answer is lost")
            .await?;
        self.service.set(Trouble::None);
        self.come_back(again)?;
        self.step("looked up by its reference").await?;
        Ok(())
    }

    /// Every attempt is declined, down the ladder.
    async fn declines(&self) -> Result<()> {
        self.clock.set(at("2026-05-01")?);
        self.service.set(Trouble::NoFunds(CARD_1.1));
        self.step("renewal").await?;
        for retry in 1..=3 {
            let due = self.billing.subscription(self.id).await?.step_due();
            self.come_back(due)?;
            self.step(&format!("retry {retry}")).await?;
        }
        Ok(())
    }

    /// Card 1 would still be declined.
    async fn recovery(&self) -> Result<()> {
        self.clock.set(at("2026-05-10")?);
        let card = Some(method(CARD_2));
        self.billing
            .set_payment_method(&request("card-2")?, self.id, card)
            .await?;
        self.show("the customer sets card 2").await?;
        self.billing.reactivate(&request("reactivate")?, self.id).await?;
        self.step("reactivated: a new period from today").await?;
        Ok(())
    }

    /// The service fails until the breaker opens, then nothing is sent; the probe goes through when it is back.
    async fn outage(&self) -> Result<()> {
        self.clock.set(at("2026-06-10")?);
        self.service.set(Trouble::Down);
        let mut again = self.step("renewal; the service answers 503").await?;
        for _ in 0..2 {
            self.come_back(again)?;
            again = self.step("looked up").await?;
        }
        self.come_back(again)?;
        again = self.step("nothing is sent").await?;
        let health = self.client.health().await;
        self.show(&format!("health of the service: {}", health.code))
            .await?;
        self.service.set(Trouble::None);
        self.come_back(again)?;
        self.step("the service is back: not found, so charged").await?;
        Ok(())
    }

    async fn refund(&self) -> Result<()> {
        self.clock.set(at("2026-06-12")?);
        let invoices = self.billing.invoices_of(self.id).await?;
        let last = invoices.last().ok_or("no invoice")?;
        let amount = Money::new(5_00, last.total.currency);
        let asked = CreditNoteRequest {
            reason: CreditNoteReason::Unsatisfactory,
            scope: CreditNoteScope::Lines(vec![CreditNoteAmount { line: 0, amount }]),
            disposition: Disposition::Refund,
        };
        let note_id = self.billing.new_credit_note_id();
        self.billing
            .issue_credit_note(&request("sorry")?, self.id, note_id, last.id, asked)
            .await?;
        self.step(&format!("credit note of {amount} for the outage"))
            .await?;
        Ok(())
    }

    /// Sets the clock to when the engine wants to be asked again.
    fn come_back(&self, due: Option<DateTime<Utc>>) -> Result<()> {
        self.clock.set(due.ok_or("nothing is due")?);
        Ok(())
    }

    /// Takes what is due, performs the jobs and prints what came of it; when a job is to be tried again, if one is.
    async fn step(&self, what: &str) -> Result<Option<DateTime<Utc>>> {
        let swept = self
            .billing
            .sweep(self.billing.now(), &SweepOptions::default(), |_| {
                ControlFlow::Continue(())
            })
            .await?;
        if let Some(failure) = swept.failures.first() {
            return Err(failure.error.to_string().into());
        }
        let (mut told, mut again) = (vec![what.to_owned()], None);
        let worked = self
            .worker
            .run(|step| {
                match step.result {
                    Some(JobResult::Done { note }) => told.push(note.clone()),
                    Some(JobResult::Again { at, because }) => {
                        told.push(format!("{because}, again at {}", at.time()));
                        again = Some(*at);
                    }
                    Some(JobResult::Parked { because }) => told.push(format!("parked: {because}")),
                    None => told.push("taken over".into()),
                }
                ControlFlow::Continue(())
            })
            .await?;
        if let Some((job, error)) = worked.failed.first() {
            return Err(format!("job `{job}`: {error}").into());
        }
        self.show(&told.join("; ")).await?;
        Ok(again)
    }

    async fn show(&self, what: &str) -> Result<()> {
        let now = self.billing.now();
        let subscription = self.billing.subscription(self.id).await?;
        let mut line = format!(
            "{}  {:<9}  {:<8}  {:>6}  {what}",
            now.format("%Y-%m-%d %H:%M:%S"),
            subscription.status(),
            format!("{:?}", subscription.standing(now)),
            self.service.books().settled(),
        );
        if let (Status::Expired, Some(due)) = (subscription.status(), subscription.step_due()) {
            line += &format!("; next try on {}", due.date_naive());
        }
        for news in self.news.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            line += &format!("; {news}");
        }
        print(&line);
        Ok(())
    }

    /// Prints our invoices beside the service's books; whether every settled payment is a paid invoice, and the other way
    /// round, to the same amount after refunds.
    async fn compare(&self) -> Result<bool> {
        let invoices = self.billing.invoices_of(self.id).await?;
        let mut ours = BTreeMap::new();
        let mut theirs = BTreeMap::new();
        print("\ninvoice  ours                             the service's books, by attempt");
        for invoice in &invoices {
            let mut kept = invoice.total;
            for note in self.billing.credit_notes_of(invoice.id).await? {
                if note.disposition == Disposition::Refund {
                    kept = kept.checked_sub(note.total)?;
                }
            }
            let mut text = format!("{} {}", invoice.total, invoice.state.code());
            if kept != invoice.total {
                text += &format!(", {kept} kept");
            }
            if let InvoiceStatus::Paid {
                reference: Some(reference),
                ..
            } = &invoice.state
            {
                ours.insert(reference.clone(), kept);
            }
            let books = self.service.books();
            let prefix = format!("ch-{}-", invoice.id);
            let attempts = books.payments.iter().filter_map(|(reference, booked)| {
                let attempt = reference.strip_prefix(&prefix)?;
                Some(match booked.settled_at {
                    Some(_) => format!("{attempt} settled {}", booked.amount),
                    None => format!("{attempt} declined"),
                })
            });
            let attempts = attempts.collect::<Vec<_>>().join(", ");
            print(&format!("{:>7}  {text:<31}  {attempts}", invoice.number));
        }
        for (reference, booked) in &self.service.books().payments {
            let mut kept = booked.amount;
            for refund in booked.refunds.values() {
                kept = kept.checked_sub(*refund)?;
            }
            if booked.settled_at.is_some() {
                theirs.insert(reference.clone(), kept);
            }
        }
        let (mine, their) = (sum(&ours)?, sum(&theirs)?);
        print(&format!("    sum  {mine:<31}  {their}"));
        let head = self.billing.verify_audit(self.id).await?;
        print(&format!("audit chain verified: {} entries", head.sequence));
        Ok(ours == theirs)
    }
}

fn sum(kept: &BTreeMap<String, Money>) -> Result<String> {
    let mut amounts = kept.values();
    let mut sum = *amounts.next().ok_or("nothing was paid")?;
    for amount in amounts {
        sum = sum.checked_add(*amount)?;
    }
    Ok(format!("{sum} by {} payments", kept.len()))
}

fn method(card: (u128, &str)) -> PaymentMethodId {
    PaymentMethodId::new(Uuid::from_u128(card.0))
}

fn request(key: &str) -> Result<Request> {
    Ok(Request::new(IdempotencyKey::new(key)?, Actor::System))
}

/// Midnight of a date.
fn at(date: &str) -> Result<DateTime<Utc>> {
    Ok(format!("{date}T00:00:00Z").parse()?)
}

#[expect(clippy::print_stdout, reason = "the one place where the example prints")]
fn print(line: &str) {
    println!("{line}");
}
