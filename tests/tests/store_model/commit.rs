//! Deciding from what both stores hold, and committing to both.

use billing_core::invoice::{InvoiceKind, InvoiceStatus};
use billing_core::ports::{Commit, CommitRefusal};
use billing_core::subscription::{Command, Create, Decision, InvoiceClosed, Subscription};
use billing_tests::kit::{decide, load, operator, plan_id, request, tenant, wait};

use crate::Pair;
use crate::command::command_of;
use crate::operation::{Step, Tamper, What};

impl Pair<'_> {
    fn decide(&self, what: &What) -> Option<Decision> {
        match what {
            What::Create {
                tenant: n,
                slot,
                method,
                auto_renew,
                trial,
                blind,
            } => {
                let plan = self.both(|store| wait(store.plan(plan_id(*slot)))).unwrap()?;
                let create = Create {
                    payment_method: self.kit.method().filter(|_| *method),
                    auto_renew: *auto_renew,
                    trial: *trial,
                    ..request(self.kit.new_id(), tenant(*n))
                };
                let decided = if *blind {
                    self.kit.decide_create_as_if(&create, &plan, None, false)
                } else {
                    self.kit.decide_create(&create, &plan)
                };
                decided.ok()
            }
            What::Command { which, command, slot } => {
                let id = self.pick(*which)?;
                let current = self.both(|store| wait(store.subscription(id))).unwrap()?;
                let command = command_of(self.kit, &current, *command, *slot)?;
                self.decide_blindly(&current, &command, slot.is_multiple_of(2))
            }
            What::Again { .. } => None,
        }
    }

    pub(crate) fn decide_command(&self, current: &Subscription, command: &Command) -> Option<Decision> {
        self.decide_blindly(current, command, false)
    }

    /// `blind`: as if nobody had redeemed a coupon before.
    fn decide_blindly(&self, current: &Subscription, command: &Command, blind: bool) -> Option<Decision> {
        let now = self.kit.now();
        let mut loaded = self.both(|store| load(store, current, command, now)).unwrap()?;
        if let Some(coupon) = loaded.coupon.as_mut().filter(|_| blind) {
            coupon.redemptions = 0;
            coupon.redeemed_before = false;
        }
        decide(&loaded, current, command, &self.kit.context(&operator())).ok()
    }

    pub(crate) fn commit_of(&self, step: &Step) -> Option<Commit> {
        if let What::Again { which } = step.what {
            return self.history.get(which.checked_rem(self.history.len())?).cloned();
        }
        let mut commit = self.kit.commit_of(self.decide(&step.what)?);
        let next = &commit.decision.next;
        commit.command = step.key.map(|n| {
            let answer = format!("{{\"version\":{}}}", next.version);
            self.kit.record(next.tenant_id, &format!("key-{n}"), &answer)
        });
        let invoices = wait(self.kit.store.invoices_of(next.id, 0, 100)).unwrap();
        match (step.tamper, &mut commit.decision.opened) {
            (None, _) => {}
            // Far off, so that no other commit of the batch makes it right.
            (Some(Tamper::Version), _) => commit.expected_version += 1_000,
            (Some(Tamper::Job), _) => {
                let known = wait(self.kit.store.jobs(None, 1)).unwrap();
                let again = known.into_iter().map(|job| self.kit.job(next.id, job.effect));
                commit.jobs.extend(again);
                self.tally.borrow_mut().count("a job again");
            }
            (Some(Tamper::Number), Some(opened)) => opened.number = 1,
            (Some(Tamper::Period), Some(opened)) => {
                if let Some(first) = invoices.first() {
                    opened.period = first.period;
                    opened.kind = InvoiceKind::Renewal;
                }
            }
            (Some(Tamper::Closed), _) => {
                let state = InvoiceStatus::Void {
                    voided_at: self.kit.now(),
                };
                let closed = invoices.iter().find(|invoice| !invoice.is_open());
                let closed = closed.map(|invoice| InvoiceClosed {
                    invoice_id: invoice.id,
                    state,
                });
                commit.decision.closed.extend(closed);
            }
            (Some(Tamper::Number | Tamper::Period), None) => {}
        }
        Some(commit)
    }

    pub(crate) fn commit_all(&mut self, commits: Vec<Commit>) {
        if commits.is_empty() {
            return;
        }
        let answers = self.both(|store| wait(store.commit(commits.clone()))).unwrap();
        assert_eq!(answers.len(), commits.len());
        for (answer, commit) in answers.iter().zip(&commits) {
            let label = match answer {
                Ok(()) => format!("status {}", commit.decision.next.status()),
                Err(CommitRefusal::CommandExists { .. }) => "refused: command exists".into(),
                Err(CommitRefusal::VersionConflict { .. }) => "refused: version conflict".into(),
                Err(CommitRefusal::LiveExists { .. }) => "refused: live exists".into(),
                Err(CommitRefusal::TrialExists { .. }) => "refused: trial exists".into(),
                Err(CommitRefusal::CouponSpent { .. }) => "refused: coupon spent".into(),
                Err(CommitRefusal::CreditNoteExists { .. }) => "refused: credit note exists".into(),
                Err(CommitRefusal::InvoiceExists { .. }) => "refused: invoice exists".into(),
                Err(CommitRefusal::InvoiceNotOpen { .. }) => "refused: invoice not open".into(),
                Err(other) => panic!("unknown refusal {other:?}"),
            };
            self.tally.borrow_mut().count(label);
            if answer.is_ok() {
                for entry in &commit.decision.audit {
                    let label = format!("audit {}", entry.action.code());
                    self.tally.borrow_mut().count(label);
                }
            }
        }
        for (commit, answer) in commits.into_iter().zip(answers) {
            let id = commit.decision.next.id;
            self.compare_subscription(id);
            if answer.is_ok() && !self.ids.contains(&id) {
                self.ids.push(id);
            }
            self.history.push(commit);
        }
    }
}
