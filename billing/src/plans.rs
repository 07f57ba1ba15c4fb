//! The catalogue, and the plans in force kept at hand.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use billing_core::id::{PlanCode, PlanId};
use billing_core::plan::{Plan, Trial, TrialEnd};
use billing_core::ports::PlanStored;
use billing_core::validate::Faults;

use crate::{Billing, Error};

/// Plans that subscriptions use. Their terms never change, so an entry is right for ever; only who may come in does,
/// and that is read from the store when it matters.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    plans: RwLock<HashMap<PlanId, Arc<Plan>>>,
}

impl PlanCache {
    fn find(&self, id: PlanId) -> Option<Arc<Plan>> {
        self.plans
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn keep(&self, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        self.plans
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(plan.id, Arc::clone(&plan));
        plan
    }
}

impl Billing {
    /// A fresh id for a plan version.
    ///
    /// # Example: ids grow
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, .. }| {
    /// assert!(billing.new_plan_id() < billing.new_plan_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new_plan_id(&self) -> PlanId {
        PlanId::new(self.ids.next(self.now()))
    }

    /// Puts a plan version into the catalogue.
    ///
    /// The same version again changes nothing. A version that no subscription has used may be replaced; one that is in
    /// use may only be opened or closed to new subscribers, by [`set_plan_availability`](Self::set_plan_availability).
    ///
    /// # Errors
    ///
    /// In order: [`Error::InvalidPlan`] with every fault, [`Error::PlanVersionTaken`], [`Error::PlanInUse`],
    /// [`Error::Store`].
    ///
    /// # Example: a version in use keeps its terms
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, pro, .. }| {
    /// use billing::{Error, PlanStored};
    /// use billing::core::money::Money;
    ///
    /// assert_eq!(billing.put_plan(&pro).await?, PlanStored::Unchanged);
    ///
    /// let mut dearer = pro.clone();
    /// dearer.price = Money::new(39_00, pro.currency());
    /// assert!(matches!(billing.put_plan(&dearer).await, Err(Error::PlanInUse { .. })));
    ///
    /// dearer.id = billing.new_plan_id();
    /// dearer.version = 2;
    /// assert_eq!(billing.put_plan(&dearer).await?, PlanStored::Created);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn put_plan(&self, plan: &Plan) -> Result<PlanStored, Error> {
        plan.validate().map_err(|faults| Error::InvalidPlan {
            code: plan.code.clone(),
            faults,
        })?;
        self.check_trial_target(plan).await?;
        let (code, version) = (plan.code.clone(), plan.version);
        match self.store.put_plan(plan).await? {
            stored @ (PlanStored::Created | PlanStored::Unchanged | PlanStored::Replaced) => Ok(stored),
            PlanStored::VersionTaken { by } => Err(Error::PlanVersionTaken { code, version, by }),
            PlanStored::InUse => Err(Error::PlanInUse { code, version }),
        }
    }

    /// What cannot be checked on the plan alone: where its trial moves to.
    async fn check_trial_target(&self, plan: &Plan) -> Result<(), Error> {
        let Some(Trial {
            without_payment_method: TrialEnd::MoveTo { plan_id },
            ..
        }) = plan.trial
        else {
            return Ok(());
        };
        let target = self.current_plan(plan_id).await?;
        let mut faults = Faults::default();
        let path = "trial.without_payment_method.move_to.plan_id";
        if target.product != plan.product {
            faults.push(
                path,
                "product_mismatch",
                format!("expected product `{}`, got `{}`", plan.product, target.product),
            );
        }
        if target.currency() != plan.currency() {
            faults.push(
                path,
                "currency_mismatch",
                format!("expected {}, got {}", plan.currency(), target.currency()),
            );
        }
        faults.into_result().map_err(|faults| Error::InvalidPlan {
            code: plan.code.clone(),
            faults,
        })
    }

    /// Opens or closes a plan version to new subscribers. Those inside are not concerned.
    ///
    /// # Errors
    ///
    /// In order: [`Error::UnknownPlan`], [`Error::Store`].
    ///
    /// # Example: closed to new subscribers
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, clock, id, pro, .. }| {
    /// use billing::NewSubscription;
    ///
    /// billing.set_plan_availability(pro.id, false, false).await?;
    /// let new = NewSubscription::new(TenantId::new(Uuid::from_u128(7)), pro.id);
    /// assert!(billing.create(&request("late"), &new).await.is_err());
    ///
    /// clock.set(at("2026-07-01T00:00:00Z"));
    /// assert_eq!(billing.advance(&request("july"), id).await?.invoices.len(), 1, "who is inside renews");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn set_plan_availability(
        &self,
        id: PlanId,
        is_active: bool,
        discontinued: bool,
    ) -> Result<(), Error> {
        let found = self
            .store
            .set_plan_availability(id, is_active, discontinued)
            .await?;
        if found {
            Ok(())
        } else {
            Err(Error::UnknownPlan { id })
        }
    }

    /// A plan version by its code; the newest without a version.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    ///
    /// # Example: the newest version
    ///
    /// ```
    /// # mod example { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/docs/example.rs")); }
    /// # use example::*;
    /// # run(async |Example { billing, pro, .. }| {
    /// let newer = billing::core::plan::Plan { id: billing.new_plan_id(), version: 2, ..pro.clone() };
    /// billing.put_plan(&newer).await?;
    /// assert_eq!(billing.plan(&pro.code, None).await?, Some(newer));
    /// assert_eq!(billing.plan(&pro.code, Some(1)).await?, Some(pro));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn plan(&self, code: &PlanCode, version: Option<u32>) -> Result<Option<Plan>, Error> {
        Ok(self.store.plan_by_code(code, version).await?)
    }

    /// A plan as the store has it now: for who may come in.
    pub(crate) async fn current_plan(&self, id: PlanId) -> Result<Arc<Plan>, Error> {
        self.store
            .plan(id)
            .await?
            .map(Arc::new)
            .ok_or(Error::UnknownPlan { id })
    }

    /// A plan that a subscription uses.
    pub(crate) async fn plan_in_force(&self, id: PlanId) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = self.plans.find(id) {
            return Ok(plan);
        }
        let plan = self.store.plan(id).await?.ok_or(Error::UnknownPlan { id })?;
        Ok(self.plans.keep(plan))
    }
}
