//! The contract of the `Store` port: what every store must do, as functions over `&dyn Store`.
//!
//! Each case gets a store of its own that is empty. [`store_contract!`](crate::store_contract) makes one `#[test]` of
//! each for a store that an expression opens.

pub mod audit;
pub mod commits;
pub mod concessions;
pub mod limits;
pub mod outbox;
pub mod plans;
pub mod reads;
pub mod refusals;
pub mod usage;

/// Hands what follows, and then the list of all cases by module, to the macro in brackets.
#[macro_export]
macro_rules! for_each_case {
    ([$($then:tt)*] $($first:tt)*) => {
        $($then)* ! {
            $($first)*
            commits {
                a_commit_is_read_back_whole,
                a_decision_that_closes_an_invoice_is_read_back,
                commits_of_a_batch_see_each_other_in_order,
                a_long_batch_is_answered_in_order,
                an_empty_batch_has_no_answers,
                a_command_is_answered_as_the_first_time,
                a_job_with_a_known_key_is_not_kept,
                a_dropped_future_does_no_harm,
            }
            refusals {
                refusals_come_in_their_order,
                a_command_is_carried_out_once,
                a_version_is_decided_once,
                a_product_has_one_live_subscription_per_tenant,
                a_trial_is_granted_once_per_tenant_and_family,
                an_invoice_number_is_given_once,
                a_period_is_bought_once,
                a_voided_invoice_gives_its_period_free,
                periods_may_restart_at_one_instant,
                an_invoice_is_closed_once,
            }
            plans {
                a_plan_is_created_kept_and_replaced,
                a_plan_in_use_keeps_its_terms,
                a_plan_that_a_change_is_scheduled_to_keeps_its_terms,
                a_code_and_version_name_one_plan,
                availability_is_set_on_its_own,
                a_plan_in_use_keeps_its_availability_when_it_is_put_again,
                plans_are_found_by_code_and_listed_in_order,
                every_field_of_a_plan_is_kept,
            }
            reads {
                an_empty_store_answers_with_nothing,
                every_state_is_read_back,
                what_is_due_comes_by_instant_and_id,
                what_waits_for_something_else_is_not_due,
                subscriptions_of_a_tenant_come_oldest_first,
                invoices_come_by_number_in_pages,
                jobs_come_in_commit_order_in_pages,
                any_text_is_kept,
                any_instant_is_kept,
            }
            audit {
                entries_come_by_sequence_in_pages_and_verify,
                a_clean_up_leaves_a_checkpoint_that_the_rest_verifies_against,
                the_last_entry_stays,
                a_clean_up_stops_at_the_first_entry_that_is_not_older,
                every_actor_and_address_is_kept,
            }
            usage {
                usage_is_summed_per_meter_in_a_half_open_window,
                late_usage_is_what_came_after_the_watermark,
                late_usage_comes_with_the_plan_and_the_period_of_its_time,
                every_aggregation_is_as_core_says,
                a_known_key_is_a_duplicate_or_refused,
                keys_are_scoped_by_tenant,
                a_batch_is_answered_in_order_and_sees_itself,
                sums_are_exact,
                several_queries_are_answered_in_order,
                the_watermark_only_grows,
                an_instant_of_usage_is_kept_to_the_microsecond,
                billed_usage_moves_the_cursor,
            }
            limits {
                a_counter_agrees_with_the_events,
                a_counter_keeps_every_aggregation,
                consumption_stops_at_the_limit,
                a_refused_batch_consumes_nothing,
                racing_consumers_never_pass_a_limit,
                a_lease_is_held_until_it_is_over,
                a_lease_is_settled_once,
                a_lease_is_released_once,
                a_lease_that_is_over_is_settled_all_the_same,
                an_old_window_is_counted_again,
                a_lease_is_held_in_every_window_that_it_reaches,
                a_lease_that_is_over_is_not_there_any_more,
                the_key_of_an_event_is_not_that_of_a_lease,
                overlapping_windows_of_a_batch_see_each_other,
            }
            concessions {
                a_coupon_is_not_redeemed_more_often_than_it_may_be,
                the_credit_ledger_is_kept_in_order,
                credit_notes_are_found_by_their_invoice,
                invoices_are_numbered_without_a_gap,
            }
            outbox {
                a_job_is_taken_by_one_worker_at_a_time,
                a_lease_that_is_over_is_lost,
                a_lease_is_extended,
                a_job_is_finished_in_one_of_three_ways,
                parked_jobs_are_listed_and_let_go,
                jobs_that_were_performed_are_removed,
            }
        }
    };
}

/// Makes a module of tests of the whole contract for the store that `$open` opens.
///
/// `$open` gives the store and whatever must outlive it, as a pair.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;

            $crate::for_each_case!([$crate::store_contract_tests] $open;);
        }
    };
}

/// A part of [`store_contract!`](crate::store_contract).
#[doc(hidden)]
#[macro_export]
macro_rules! store_contract_tests {
    ($open:expr; $($module:ident { $($case:ident,)* })*) => {
        $($(
            #[test]
            fn $case() {
                let (store, _kept) = $open;
                $crate::contract::$module::$case(&store);
            }
        )*)*
    };
}
