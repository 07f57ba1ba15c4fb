//! What a subscription grants at an instant.

use chrono::{DateTime, Utc};

use crate::id::FeatureCode;
use crate::plan::{Feature, Plan};
use crate::subscription::{Standing, Subscription};

/// Whether `subscription`, whose plan in force is `plan`, grants `feature` at `now`.
///
/// Everything of the plan while paid time, trial, collecting or grace run; the features of the restricted stage
/// after that; nothing else. A feature that the plan does not name, or names as switched off, is never granted.
/// Limits of a metered feature are not looked at here.
pub fn grants(subscription: &Subscription, plan: &Plan, feature: &FeatureCode, now: DateTime<Utc>) -> bool {
    let in_plan = match plan.features.get(feature) {
        Some(Feature::Flag(granted)) => *granted,
        Some(Feature::Value(_) | Feature::Metered(_)) => true,
        None => false,
    };
    let granted_now = match subscription.standing(now) {
        Standing::Current | Standing::Renewing | Standing::InGrace => true,
        Standing::Restricted => plan
            .restricted
            .as_ref()
            .is_some_and(|restricted| restricted.features.contains(feature)),
        Standing::Lapsed => false,
    };
    in_plan && granted_now
}
