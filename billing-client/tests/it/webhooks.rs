//! Webhooks: whom to believe, what happened, and whether to ask first.

use billing_client::SecretString;
use billing_client::webhook::{PaymentNews, WebhookEvent, WebhookNews, WebhookRefusal};
use billing_client::{flutterwave, paystack};
use billing_core::gateway::RefundOutcome;
use billing_core::retry::DeclineClass;
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha512};

use super::kit::{at, money};
use super::paystack::shape;

const SECRET: &str = "sk_test_4711";

fn sha512(key: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body);
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

fn sha256(key: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(body);
    BASE64.encode(&mac.finalize().into_bytes())
}

fn from_paystack(body: &str) -> WebhookEvent {
    let webhooks = paystack::Webhooks::new(SecretString::from(SECRET));
    let signature = sha512(SECRET, body.as_bytes());
    webhooks.parse(Some(&signature), body.as_bytes()).unwrap()
}

fn signed_by_flutterwave(body: &str) -> WebhookEvent {
    let webhooks = flutterwave::Webhooks::new(SecretString::from(SECRET));
    let signature = sha256(SECRET, body.as_bytes());
    webhooks.parse(None, Some(&signature), body.as_bytes()).unwrap()
}

fn hashed_by_flutterwave(body: &str) -> WebhookEvent {
    let webhooks = flutterwave::Webhooks::new(SecretString::from(SECRET));
    webhooks.parse(Some(SECRET), None, body.as_bytes()).unwrap()
}

/// RFC 4231, test case 2: so that the signature of the tests is not only that of the code.
#[test]
fn the_signatures_are_those_of_the_standard() {
    let data = b"what do ya want for nothing?";
    assert_eq!(
        sha512("Jefe", data),
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    );
    let webhooks = paystack::Webhooks::new(SecretString::from("Jefe"));
    let signature = sha512("Jefe", data);
    // Taken for signed, and then for no event.
    assert!(matches!(
        webhooks.parse(Some(&signature), data),
        Err(WebhookRefusal::Unreadable { .. })
    ));
    let published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(
        HEXLOWER.encode(&BASE64.decode(sha256("Jefe", data).as_bytes()).unwrap()),
        published
    );
}

#[test]
fn nothing_is_believed_without_the_right_signature() {
    let body = shape("paystack_event_charge_success");
    let bytes = body.as_bytes();
    let webhooks = paystack::Webhooks::new(SecretString::from(SECRET));
    let header = paystack::Webhooks::SIGNATURE;
    let signature = sha512(SECRET, bytes);
    assert!(webhooks.parse(Some(&signature), bytes).is_ok());
    assert!(webhooks.parse(Some(&signature.to_uppercase()), bytes).is_ok());
    assert_eq!(
        webhooks.parse(None, bytes).unwrap_err(),
        WebhookRefusal::MissingSignature { header }
    );
    let changed = body.replace("10000", "99999");
    for (signature, body) in [
        (signature.as_str(), changed.as_bytes()),
        (&signature[..126], bytes),
        (&format!("{signature}00"), bytes),
        ("", bytes),
        ("zz", bytes),
        (sha512("another key", bytes).as_str(), bytes),
        (sha256(SECRET, bytes).as_str(), bytes),
    ] {
        assert_eq!(
            webhooks.parse(Some(signature), body).unwrap_err(),
            WebhookRefusal::BadSignature
        );
    }
    let long = vec![b' '; (1 << 20) + 1];
    assert!(matches!(
        webhooks.parse(Some(&sha512(SECRET, &long)), &long),
        Err(WebhookRefusal::TooLarge { .. })
    ));

    let body = shape("flutterwave_event_v4_succeeded");
    let bytes = body.as_bytes();
    let webhooks = flutterwave::Webhooks::new(SecretString::from(SECRET));
    let signature = sha256(SECRET, bytes);
    assert!(webhooks.parse(None, Some(&signature), bytes).is_ok());
    let refused = WebhookRefusal::BadSignature;
    // A right hash does not help a wrong signature.
    assert_eq!(
        webhooks.parse(Some(SECRET), Some("AAAA"), bytes).unwrap_err(),
        refused
    );
    for hash in ["", "sk_test_471", "sk_test_47111", "sk_test_4712"] {
        assert_eq!(
            webhooks.parse(Some(hash), None, bytes).unwrap_err(),
            refused,
            "{hash}"
        );
    }
    assert!(matches!(
        webhooks.parse(None, None, bytes),
        Err(WebhookRefusal::MissingSignature { .. })
    ));
    let unset = flutterwave::Webhooks::new(SecretString::from(""));
    assert_eq!(unset.parse(Some(""), None, bytes).unwrap_err(), refused);
}

#[test]
fn a_signed_settlement_of_paystack_is_not_in_doubt() {
    let event = from_paystack(&shape("paystack_event_charge_success"));
    assert_eq!(
        event,
        WebhookEvent {
            provider: "paystack",
            event_id: "charge.success:302961".into(),
            news: WebhookNews::Payment {
                reference: "qTPrJoy9Bx".into(),
                state: PaymentNews::Settled {
                    amount: Some(money(10_000, "NGN")),
                    provider_id: "302961".into(),
                    settled_at: Some(at("2016-09-30T21:10:19Z"))
                }
            },
            needs_verification: false,
        }
    );
}

#[test]
fn what_cannot_be_read_whole_is_in_doubt() {
    let body = shape("paystack_event_charge_success");
    for changed in [
        body.replace("\"NGN\"", "\"UGX\""),
        body.replace("10000", "\"ten\""),
        body.replace("\"status\":\"success\"", "\"status\":\"reversed\""),
        body.replace("\"status\":\"success\"", "\"status\":\"ongoing\""),
        body.replace("\"id\":302961,", ""),
    ] {
        assert_ne!(changed, body);
        assert!(from_paystack(&changed).needs_verification, "{changed}");
    }
    let failed = body.replace("\"status\":\"success\"", "\"status\":\"failed\"");
    let event = from_paystack(&failed.replace("Approved by Financial Institution", "Expired card"));
    let WebhookNews::Payment { state, .. } = event.news else {
        panic!("no payment")
    };
    assert_eq!(
        state,
        PaymentNews::Declined {
            class: DeclineClass::AskCustomer,
            code: "Expired card".into()
        }
    );
}

#[test]
fn refunds_disputes_and_the_rest_of_paystack() {
    for (name, amount, expected) in [
        (
            "processed",
            5_000,
            RefundOutcome::Refunded {
                amount: money(5_000, "NGN"),
                provider_id: "132013318360".into(),
            },
        ),
        (
            "failed",
            20_000,
            RefundOutcome::Declined {
                code: "failed".into(),
            },
        ),
    ] {
        let event = from_paystack(&shape(&format!("paystack_event_refund_{name}")));
        assert!(!event.needs_verification);
        assert_eq!(
            event.news,
            WebhookNews::Refund {
                payment: "T2154954_412829_3be32076_6lcg3".into(),
                amount: Some(money(amount, "NGN")),
                outcome: expected
            }
        );
    }
    let pending = shape("paystack_event_refund_pending");
    let event = from_paystack(&pending);
    assert!(matches!(
        event.news,
        WebhookNews::Refund {
            outcome: RefundOutcome::Pending { .. },
            ..
        }
    ));
    // The event says one thing, the status another.
    let torn = shape("paystack_event_refund_processed").replace("\"processed\"", "\"failed\"");
    assert!(from_paystack(&torn).needs_verification);

    let event = from_paystack(&shape("paystack_event_dispute"));
    assert_eq!(
        event.news,
        WebhookNews::Dispute {
            payment: Some("v3mjfgbnc19v97x".into()),
            name: "charge.dispute.create".into()
        }
    );
    assert!(event.needs_verification);
    let event = from_paystack(&shape("paystack_event_subscription"));
    assert!(matches!(event.news, WebhookNews::Other { .. }));
}

#[test]
fn an_event_has_the_same_id_each_time_and_no_other_has_it() {
    let names = [
        "charge_success",
        "refund_failed",
        "refund_pending",
        "refund_processed",
        "dispute",
        "subscription",
    ];
    let mut ids: Vec<_> = names
        .iter()
        .map(|name| {
            let body = shape(&format!("paystack_event_{name}"));
            assert_eq!(from_paystack(&body), from_paystack(&body));
            from_paystack(&body).event_id
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), names.len());
    // A charge that is told of twice, first pending and then settled, is two events.
    let settled = shape("flutterwave_event_v3_successful");
    let pending = settled.replace("\"successful\"", "\"pending\"");
    assert_ne!(
        hashed_by_flutterwave(&settled).event_id,
        hashed_by_flutterwave(&pending).event_id
    );
}

#[test]
fn a_webhook_of_flutterwave_3_is_always_in_doubt() {
    let event = hashed_by_flutterwave(&shape("flutterwave_event_v3_successful"));
    assert_eq!(
        event,
        WebhookEvent {
            provider: "flutterwave",
            event_id: "charge.completed:285959875:successful".into(),
            news: WebhookNews::Payment {
                reference: "Links-618617883594".into(),
                state: PaymentNews::Settled {
                    amount: Some(money(10_000_050, "NGN")),
                    provider_id: "285959875".into(),
                    settled_at: Some(at("2021-04-14T16:39:17Z"))
                }
            },
            needs_verification: true,
        }
    );
    let event = hashed_by_flutterwave(&shape("flutterwave_event_v3_failed"));
    assert!(event.needs_verification);
    let WebhookNews::Payment { state, .. } = event.news else {
        panic!("no payment")
    };
    assert_eq!(
        state,
        PaymentNews::Declined {
            class: DeclineClass::AskCustomer,
            code: "invalid token supplied".into()
        }
    );
}

#[test]
fn a_signed_webhook_of_flutterwave_4_is_not_in_doubt() {
    let body = shape("flutterwave_event_v4_succeeded");
    let event = signed_by_flutterwave(&body);
    assert_eq!(
        event,
        WebhookEvent {
            provider: "flutterwave",
            event_id: "wbk_FLW4711".into(),
            news: WebhookNews::Payment {
                reference: "order_2026_05_24_001".into(),
                state: PaymentNews::Settled {
                    amount: Some(money(2_500_000, "NGN")),
                    provider_id: "chg_e1f3a2b1".into(),
                    settled_at: Some(at("2026-05-24T15:34:09.001Z"))
                }
            },
            needs_verification: false,
        }
    );
    assert!(signed_by_flutterwave(&body.replace("succeeded", "voided")).needs_verification);
    let refund = r#"{"webhook_id":"w","type":"refund.completed","data":{"reference":"r","id":"x"}}"#;
    assert!(signed_by_flutterwave(refund).needs_verification);
}

#[test]
fn a_webhook_that_cannot_be_read_does_not_show_what_it_held() {
    let body = r#"{"event":"charge.success","data":{"reference":17}}"#;
    let webhooks = paystack::Webhooks::new(SecretString::from(SECRET));
    let refusal = webhooks.parse(Some(&sha512(SECRET, body.as_bytes())), body.as_bytes());
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "the webhook cannot be read: line 1, column 15"
    );
}
