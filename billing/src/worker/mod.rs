//! The worker: performs the jobs of the outbox, and feeds back what came of them.

mod charging;
mod refunding;
mod told;

use std::ops::ControlFlow;
use std::sync::Arc;

use billing_core::audit::Actor;
use billing_core::gateway::{GatewayError, PaymentGateway, PaymentMethodVault, UnknownReason};
use billing_core::id::{IdempotencyKey, JobId};
use billing_core::outbox::{JobResult, LeasedJob};
use billing_core::subscription::Effect;
use chrono::TimeDelta;
use futures_util::stream::{self, StreamExt as _};

pub use self::told::Told;
use crate::{Billing, Error, Request};

/// How a worker takes and performs jobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "settings are written as a literal")]
pub struct WorkerOptions {
    /// How many jobs it takes at once.
    pub batch: usize,
    /// How many of them it performs at the same time; at least 1.
    pub concurrency: usize,
    /// How long a job is kept from other workers. Longer than two calls of the gateway take at most.
    pub lease: TimeDelta,
    /// After how long a job is tried again that went wrong for now; doubled with each time, up to `retry_max`.
    pub retry_base: TimeDelta,
    /// See `retry_base`.
    pub retry_max: TimeDelta,
    /// For how long an outcome may stay unknown or pending before a person has to look.
    pub unknown_max: TimeDelta,
}

/// Jobs are few and calls are slow: eight at a time keep a provider's limits, and a lease of five minutes is far above two
/// time-outs. What is not known after three days no provider will tell any more by itself.
impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            batch: 32,
            concurrency: 8,
            lease: TimeDelta::minutes(5),
            retry_base: TimeDelta::seconds(30),
            retry_max: TimeDelta::hours(1),
            unknown_max: TimeDelta::days(3),
        }
    }
}

/// What a worker did with one job.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "what is reported")]
pub struct WorkStep<'a> {
    /// The job.
    pub job: JobId,
    /// How it ended; none when another worker had taken it over meanwhile.
    pub result: Option<&'a JobResult>,
}

/// What a run of a worker did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WorkReport {
    /// How many jobs were performed, or had nothing left to do.
    pub done: u64,
    /// How many are to be tried again.
    pub again: u64,
    /// How many wait for a person now.
    pub parked: u64,
    /// How many another worker had taken over meanwhile.
    pub lost: u64,
    /// Jobs that could not be performed for a fault of the engine or its store: their leases run out.
    pub failed: Vec<(JobId, Error)>,
}

/// Performs the jobs of the outbox: charges, looks up what is not known, pays back.
///
/// A run takes what is due and returns; a host runs it again and again, on any executor, in as many processes as it likes. A
/// payment is never assumed: a job that was taken before looks the payment up by its reference first, and an answer that did not
/// come leaves the job to be taken again. Right before a charge it looks once more whether the invoice is still to be paid.
///
/// # Example
///
/// `billing/tests/it/worker.rs` runs it against a gateway that loses answers.
#[derive(Clone, Debug)]
pub struct Worker {
    billing: Billing,
    gateway: Arc<dyn PaymentGateway>,
    vault: Arc<dyn PaymentMethodVault>,
    options: WorkerOptions,
}

impl Worker {
    /// A worker for the jobs of `billing`.
    pub fn new(
        billing: Billing,
        gateway: Arc<dyn PaymentGateway>,
        vault: Arc<dyn PaymentMethodVault>,
        options: WorkerOptions,
    ) -> Self {
        Self {
            billing,
            gateway,
            vault,
            options,
        }
    }

    /// Performs every job that may be taken now. `progress` hears of each that ended, and stops the run: what was taken and not
    /// begun is given back at once.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when no jobs can be taken. What goes wrong with one job stands in the report.
    pub async fn run(
        &self,
        mut progress: impl FnMut(WorkStep<'_>) -> ControlFlow<()>,
    ) -> Result<WorkReport, Error> {
        let mut report = WorkReport::default();
        let mut is_stopped = false;
        while !is_stopped {
            let now = self.billing.now();
            let until = now.checked_add_signed(self.options.lease).unwrap_or(now);
            let jobs = self
                .billing
                .store
                .lease_jobs(now, until, self.options.batch)
                .await?;
            if jobs.is_empty() {
                break;
            }
            let mut ended = stream::iter(jobs)
                .map(|leased| async move {
                    let result = self.perform_and_finish(&leased).await;
                    (leased.job.id, result)
                })
                .buffer_unordered(self.options.concurrency.max(1));
            while let Some((job, ended)) = ended.next().await {
                let result = match ended {
                    Ok(result) => result,
                    Err(error) => {
                        report.failed.push((job, error));
                        continue;
                    }
                };
                match &result {
                    Some(JobResult::Done { .. }) => report.done += 1,
                    Some(JobResult::Again { .. }) => report.again += 1,
                    Some(JobResult::Parked { .. }) => report.parked += 1,
                    None => report.lost += 1,
                }
                let step = WorkStep {
                    job,
                    result: result.as_ref(),
                };
                is_stopped |= progress(step).is_break();
            }
        }
        Ok(report)
    }

    /// Performs a job and writes down how it ended; none when its lease was lost.
    async fn perform_and_finish(&self, leased: &LeasedJob) -> Result<Option<JobResult>, Error> {
        let result = match &leased.job.effect {
            Effect::ChargeInvoice {
                invoice_id, attempt, ..
            } => self.charge(leased, *invoice_id, *attempt).await?,
            Effect::VerifyPayment { invoice_id, attempt } => {
                self.look_up(leased, *invoice_id, *attempt).await?
            }
            Effect::RefundPayment {
                invoice_id,
                amount,
                reference,
            } => {
                self.refund_payment(leased, *invoice_id, *amount, reference)
                    .await?
            }
            Effect::RefundNote {
                invoice_id,
                amount,
                reference,
                ..
            } => {
                self.refund_payment(leased, *invoice_id, *amount, reference)
                    .await?
            }
            Effect::RefundUnused { invoice_id, amount } => {
                self.refund_unused(leased, *invoice_id, *amount).await?
            }
        };
        let (id, lease, now) = (leased.job.id, leased.lease, self.billing.now());
        let is_kept = self
            .billing
            .store
            .finish_job(id, lease, result.clone(), now)
            .await?;
        Ok(is_kept.then_some(result))
    }

    /// Keeps the job for as long again; `false` when another worker has it.
    async fn still_holds(&self, leased: &LeasedJob) -> Result<bool, Error> {
        let until = self.billing.now().checked_add_signed(self.options.lease);
        let until = until.unwrap_or(leased.job.created_at);
        Ok(self
            .billing
            .store
            .extend_lease(leased.job.id, leased.lease, until)
            .await?)
    }

    /// After how long a job is tried again that was taken so often: twice as long each time.
    fn delay(&self, leases: u32) -> TimeDelta {
        let doublings = leases.saturating_sub(1).min(20);
        let delay = self.options.retry_base.checked_mul(1 << doublings);
        delay.map_or(self.options.retry_max, |delay| delay.min(self.options.retry_max))
    }

    /// For how long the job was waited for since it was taken first, at least.
    fn waited(&self, leased: &LeasedJob) -> TimeDelta {
        (1..leased.lease).map(|leases| self.delay(leases)).sum()
    }

    /// To be tried again later.
    fn again(&self, leased: &LeasedJob, because: String) -> JobResult {
        let now = self.billing.now();
        JobResult::Again {
            at: now.checked_add_signed(self.delay(leased.lease)).unwrap_or(now),
            because,
        }
    }

    /// What is not known is looked up again, until it has been so for too long. That counts from the first try, and not from when
    /// the job was made: a worker may not have run for days.
    fn unknown(&self, leased: &LeasedJob, because: String) -> JobResult {
        let waited = self.waited(leased);
        if waited >= self.options.unknown_max {
            JobResult::Parked {
                because: format!("not known for {} hours: {because}", waited.num_hours()),
            }
        } else {
            self.again(leased, because)
        }
    }

    /// Nobody knows: a mismatch is for a person, asking again changes nothing.
    fn not_known(&self, leased: &LeasedJob, reason: &UnknownReason) -> JobResult {
        match reason {
            UnknownReason::Mismatch(mismatch) => JobResult::Parked {
                because: mismatch.to_string(),
            },
            UnknownReason::Timeout
            | UnknownReason::ConnectionLost
            | UnknownReason::ServerError { .. }
            | UnknownReason::Unreadable
            | UnknownReason::Provider { .. } => self.unknown(leased, reason.code().into()),
        }
    }

    /// No money has moved by this call. It is tried again if that may help.
    fn refused(&self, leased: &LeasedJob, error: &GatewayError) -> JobResult {
        let because = error.to_string();
        match error {
            GatewayError::BreakerOpen { until, .. } => JobResult::Again { at: *until, because },
            error if error.is_transient() => self.again(leased, because),
            _ => JobResult::Parked { because },
        }
    }

    /// A request of the engine itself, under a key that is the same whenever the same thing is told.
    fn request(key: &str) -> Result<Request, Error> {
        let key = IdempotencyKey::new(key).map_err(|error| crate::StoreError::Internal {
            detail: error.to_string(),
        })?;
        Ok(Request::new(key, Actor::System))
    }
}

fn parked(because: impl Into<String>) -> JobResult {
    JobResult::Parked {
        because: because.into(),
    }
}

fn done(note: impl Into<String>) -> JobResult {
    JobResult::Done { note: note.into() }
}
