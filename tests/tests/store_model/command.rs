//! The commands that are drawn, by number.

use billing_core::credit::GrantSource;
use billing_core::credit_note::{
    CreditNoteAmount, CreditNoteReason, CreditNoteRequest, CreditNoteScope, Disposition,
};
use billing_core::id::{CreditNoteId, GrantId};
use billing_core::invoice::{Invoice, InvoiceStatus};
use billing_core::plan::TenantProfile;
use billing_core::retry::DeclineClass;
use billing_core::subscription::{Command, GrantCredit, Subscription, UnusedOnCancel, UnusedOnPause, When};
use billing_tests::kit::{Kit, failed, plan_id, settled, usd, wait};
use chrono::TimeDelta;

use crate::catalogue::coupon_code;
use crate::operation::COUPONS;

pub(crate) fn command_of(kit: &Kit<'_>, current: &Subscription, command: u8, slot: u128) -> Option<Command> {
    let now = kit.now();
    let cancel = |when, unused| {
        Some(Command::Cancel {
            when,
            reason: format!("reason {command}"),
            unused,
        })
    };
    let pause = |when, resume_at, unused| {
        Some(Command::Pause {
            when,
            resume_at,
            unused,
        })
    };
    let change = |when| {
        Some(Command::ChangePlan {
            plan_id: plan_id(slot),
            when,
            tenant: TenantProfile::default(),
        })
    };
    // Up, down and as it is.
    let seats = |when| {
        Some(Command::ChangeQuantity {
            quantity: u32::try_from(slot).unwrap() + 1,
            when,
        })
    };
    let resume_at = Some(now + TimeDelta::days(40));
    match command {
        0..=5 => Some(Command::Advance),
        6 | 7 => Some(Command::Renew),
        8 | 40 | 41 => cancel(When::Now, UnusedOnCancel::None),
        9 => cancel(When::Now, UnusedOnCancel::Credit),
        10 => cancel(When::Now, UnusedOnCancel::Refund),
        11 => cancel(When::AtPeriodEnd, UnusedOnCancel::None),
        12 => Some(Command::UndoCancel),
        13 => Some(Command::Suspend {
            reason: "fraud".into(),
        }),
        14 => Some(Command::Reactivate),
        15 => pause(When::Now, None, UnusedOnPause::Credit),
        16 => pause(When::Now, resume_at, UnusedOnPause::Carry),
        17 => pause(When::AtPeriodEnd, resume_at, UnusedOnPause::Credit),
        18 | 19 => Some(Command::Resume),
        20 => change(Some(When::Now)),
        21 => change(Some(When::AtPeriodEnd)),
        22 => change(None),
        42 => seats(Some(When::Now)),
        43 => seats(Some(When::AtPeriodEnd)),
        44 | 45 => seats(None),
        23 => Some(Command::DropPendingChange),
        24 => Some(Command::SetPaymentMethod {
            payment_method: kit.method(),
        }),
        25 => Some(Command::SetPaymentMethod { payment_method: None }),
        26 => Some(Command::SetAutoRenew {
            auto_renew: !slot.is_multiple_of(3),
        }),
        27 => Some(Command::Unpark),
        28 => failed(current, DeclineClass::Retry),
        29 => failed(current, DeclineClass::AskCustomer),
        30 => failed(current, DeclineClass::Stop),
        31 => failed(current, DeclineClass::Unknown),
        // A payment that comes late, or twice.
        32 => {
            let invoices = wait(kit.store.invoices_of(current.id, 0, 100)).unwrap();
            let invoice = invoices.first()?;
            Some(Command::RecordPayment {
                invoice_id: invoice.id,
                outcome: billing_core::payment::PaymentOutcome::Settled {
                    amount: invoice.total,
                    reference: format!("late-{slot}"),
                    settled_at: now,
                },
            })
        }
        46..=53 => Some(Command::RedeemCoupon {
            code: coupon_code((command - 46) % COUPONS),
        }),
        54..=58 => Some(grant(kit, current, slot)),
        59 | 60 => Some(Command::VoidCredit {
            grant_id: current.grants.first()?.id,
        }),
        61..=69 => note(kit, current, slot),
        _ => settled(current, &format!("pay-{command}"), now),
    }
}

/// One that burns first or last, that expires soon or never; now and then one that is there already.
fn grant(kit: &Kit<'_>, current: &Subscription, slot: u128) -> Command {
    let known = current.grants.last().filter(|_| slot == 5);
    Command::GrantCredit(GrantCredit {
        id: known.map_or_else(|| GrantId::new(kit.ids.next()), |grant| grant.id),
        amount: usd(200 + 350 * i64::try_from(slot).unwrap()),
        source: if slot.is_multiple_of(2) {
            GrantSource::Prepaid
        } else {
            GrantSource::Promotional
        },
        priority: if slot < 3 { 50 } else { 10 },
        expires_at: (slot % 3 == 1).then(|| kit.now() + TimeDelta::days(20)),
    })
}

/// A note on the last invoice that was paid: of all of it, or of a cent of its first line. Now and then under the id of one
/// that was issued before.
fn note(kit: &Kit<'_>, current: &Subscription, slot: u128) -> Option<Command> {
    let invoices = wait(kit.store.invoices_of(current.id, 0, 100)).unwrap();
    let is_paid =
        |invoice: &&Invoice| matches!(invoice.state, InvoiceStatus::Paid { .. }) && !invoice.total.is_zero();
    let invoice = invoices.iter().rfind(is_paid)?;
    let known = invoices
        .iter()
        .flat_map(|invoice| wait(kit.store.credit_notes_of(invoice.id)).unwrap())
        .find(|_| !slot.is_multiple_of(2));
    let cent = CreditNoteAmount {
        line: 0,
        amount: usd(1),
    };
    Some(Command::IssueCreditNote {
        id: known.map_or_else(|| CreditNoteId::new(kit.ids.next()), |note| note.id),
        invoice_id: invoice.id,
        request: CreditNoteRequest {
            reason: CreditNoteReason::Other("geändert".into()),
            scope: if slot == 0 {
                CreditNoteScope::All
            } else {
                CreditNoteScope::Lines(vec![cent])
            },
            disposition: if slot < 3 {
                Disposition::Credit
            } else {
                Disposition::Refund
            },
        },
    })
}
