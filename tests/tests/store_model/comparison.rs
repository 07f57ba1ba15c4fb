//! Reading all there is from both stores.

use billing_core::audit::verify;
use billing_core::id::SubscriptionId;
use billing_core::usage::UsageQuery;
use billing_tests::kit::{family, key, plan, product, start, tenant, wait, with_meter};
use chrono::{DateTime, TimeDelta, Utc};

use crate::Pair;
use crate::catalogue::coupon_code;
use crate::operation::{COUPONS, KEYS, TENANTS};

impl Pair<'_> {
    pub(crate) fn compare_subscription(&self, id: SubscriptionId) {
        let one = self.both(|store| wait(store.subscription(id))).unwrap();
        let entries = self
            .both(|store| wait(store.audit_entries(id, 0, 1_000)))
            .unwrap();
        let checkpoint = self.both(|store| wait(store.audit_checkpoint(id))).unwrap();
        let invoices = self.both(|store| wait(store.invoices_of(id, 0, 1_000))).unwrap();
        let ledger = self
            .both(|store| wait(store.credit_ledger(id, 0, 1_000)))
            .unwrap();
        let Some(one) = one else {
            assert!(entries.is_empty() && invoices.is_empty() && ledger.is_empty());
            return;
        };
        let left = one.grants.iter().map(|grant| grant.remaining.minor);
        let sum = ledger.iter().map(|entry| entry.amount.minor);
        assert_eq!(
            left.sum::<i64>(),
            sum.sum::<i64>(),
            "the ledger is what the grants have left"
        );
        let half = u64::try_from(ledger.len() / 2).unwrap();
        self.both(|store| wait(store.credit_ledger(id, half, 2))).unwrap();
        assert_eq!(verify(id, checkpoint, &entries, one.audit), Ok(()));
        for invoice in &invoices {
            assert_eq!(
                self.both(|store| wait(store.invoice(invoice.id)))
                    .unwrap()
                    .as_ref(),
                Some(invoice)
            );
            self.both(|store| wait(store.credit_notes_of(invoice.id)))
                .unwrap();
        }
    }

    pub(crate) fn compare_all(&self) {
        for plan in self.both(|store| wait(store.plans())).unwrap() {
            self.both(|store| wait(store.plan(plan.id))).unwrap();
            self.both(|store| wait(store.plan_by_code(&plan.code, None)))
                .unwrap();
            self.both(|store| wait(store.plan_by_code(&plan.code, Some(plan.version))))
                .unwrap();
        }
        let mut all = 0;
        for n in 1..=TENANTS {
            all += self
                .both(|store| wait(store.subscriptions_of(tenant(n))))
                .unwrap()
                .len();
            for line in ["main", "side"] {
                self.both(|store| wait(store.live_subscription(tenant(n), &product(line))))
                    .unwrap();
            }
            for name in ["family", "other-family"] {
                self.both(|store| wait(store.trial_used(tenant(n), &family(name))))
                    .unwrap();
            }
            for name in 0..KEYS {
                self.both(|store| wait(store.command(tenant(n), &key(&format!("key-{name}")))))
                    .unwrap();
            }
        }
        assert_eq!(all, self.ids.len());
        for (slot, n) in (0..=COUPONS).flat_map(|slot| (1..=TENANTS).map(move |n| (slot, n))) {
            self.both(|store| wait(store.coupon(&coupon_code(slot), tenant(n))))
                .unwrap();
        }
        self.compare_counters();
        for id in &self.ids {
            self.compare_subscription(*id);
        }
        self.both(|store| wait(store.due(DateTime::<Utc>::MAX_UTC, None, 1_000)))
            .unwrap();
        let jobs = self.both(|store| wait(store.jobs(None, 10_000))).unwrap();
        for job in jobs.iter().step_by(3) {
            self.both(|store| wait(store.jobs(Some(job.id), 2))).unwrap();
        }
        let now = self.kit.now();
        let measures = with_meter(with_meter(plan(99, "measures"), "api"), "other");
        let queries: Vec<_> = (1..=TENANTS)
            .flat_map(|n| [0, 1, 5].map(|watermark| (n, watermark)))
            .flat_map(|query| self.ids.iter().map(move |id| (query, *id)))
            .map(|((n, watermark), subscription_id)| UsageQuery {
                tenant_id: tenant(n),
                subscription_id,
                plan: &measures,
                origin: start(),
                from: now - TimeDelta::days(20),
                until: now,
                term: None,
                watermark,
                up_to: None,
            })
            .collect();
        self.both(|store| wait(store.usage(&queries))).unwrap();
    }
}
