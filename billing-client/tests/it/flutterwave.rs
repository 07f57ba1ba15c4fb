//! Flutterwave, against what its documentation shows.

use billing_client::flutterwave::{Flutterwave, declines};
use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, GatewayError, PaymentGateway as _, RefundOutcome, UnknownReason,
    Verification,
};
use billing_core::retry::DeclineClass;
use serde_json::json;

use super::kit::{at, charge, checkout, clock, config, customer, money, query, reference, refund};
use super::paystack::shape;
use super::server::{Server, Step};

const REFERENCE: &str = "new-live-test";

fn request() -> ChargeRequest {
    ChargeRequest {
        reference: reference(REFERENCE),
        amount: money(30_000, "NGN"),
        ..charge()
    }
}

async fn flutterwave(steps: Vec<Step>) -> (Server, Flutterwave) {
    let server = Server::new(steps).await;
    let gateway = Flutterwave::new(&config(&server), clock()).unwrap();
    (server, gateway)
}

fn ok(name: &str) -> Step {
    Step::Json(200, shape(name))
}

#[tokio::test]
async fn a_charge_is_sent_as_documented_and_settled_by_what_comes_back() {
    let (server, gateway) = flutterwave(vec![ok("flutterwave_charge_successful")]).await;
    let ChargeOutcome::Settled(settlement) = gateway.charge(&request()).await.unwrap() else {
        panic!("not settled")
    };
    assert_eq!(settlement.amount(), money(30_000, "NGN"));
    assert_eq!(settlement.provider_id(), "277036749");
    assert_eq!(settlement.settled_at(), at("2020-06-01T01:31:59Z"));
    let sent = server.only();
    assert_eq!(sent.line, "POST /tokenized-charges HTTP/1.1");
    assert_eq!(sent.header("idempotency-key"), Some("charge:7:1"));
    assert!(
        sent.body.contains(r#""amount":300.00,"#),
        "exact, as a number: {}",
        sent.body
    );
    assert_eq!(
        sent.json(),
        json!({
            "token": "tok_4711", "email": "jane@example.com", "currency": "NGN", "country": "NG", "amount": 300.0,
            "tx_ref": REFERENCE, "narration": "Pro, January",
        })
    );
}

#[tokio::test]
async fn amounts_are_exact_in_major_units() {
    for (minor, currency, text) in [
        (1_999, "NGN", "19.99"),
        (1_999, "GHS", "19.99"),
        (1_990, "KES", "19.90"),
        (1_999, "ZAR", "19.99"),
        (9_007_199_254_740_993, "USD", "90071992547409.93"),
        (1_500, "UGX", "1500"),
        (1_500, "RWF", "1500"),
        (1_500, "XOF", "1500"),
    ] {
        let answer = shape("flutterwave_charge_successful")
            .replace("\"amount\":300", &format!("\"amount\":{text}"))
            .replace("\"NGN\"", &format!("\"{currency}\""));
        let (server, gateway) = flutterwave(vec![Step::Json(200, answer)]).await;
        let request = ChargeRequest {
            amount: money(minor, currency),
            ..request()
        };
        let outcome = gateway.charge(&request).await.unwrap();
        let sent = server.only().body;
        assert!(sent.contains(&format!(r#""amount":{text},"#)), "{sent}");
        assert!(
            matches!(outcome, ChargeOutcome::Settled(_)),
            "{currency}: {outcome:?}"
        );
    }
    let (server, gateway) = flutterwave(vec![ok("flutterwave_charge_successful")]).await;
    for (minor, currency) in [(1_500, "EUR"), (0, "NGN"), (-1, "NGN")] {
        let request = ChargeRequest {
            amount: money(minor, currency),
            ..request()
        };
        assert!(gateway.charge(&request).await.is_err());
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_came_back_is_held_against_what_was_asked() {
    for (amount, asked, code) in [
        ("300.01", REFERENCE, "amount_mismatch"),
        ("299.99", REFERENCE, "amount_mismatch"),
        ("300", "ch-2", "reference_mismatch"),
        ("300.001", REFERENCE, "unreadable"),
    ] {
        let answer =
            shape("flutterwave_charge_successful").replace("\"amount\":300", &format!("\"amount\":{amount}"));
        let (_server, gateway) = flutterwave(vec![Step::Json(200, answer)]).await;
        let request = ChargeRequest {
            reference: reference(asked),
            ..request()
        };
        let Ok(ChargeOutcome::Unknown(reason)) = gateway.charge(&request).await else {
            panic!("{code}")
        };
        assert_eq!(reason.code(), code);
    }
}

#[tokio::test]
async fn declines_have_their_class() {
    for (name, class) in [
        ("insufficient_funds", DeclineClass::Retry),
        ("expired_card", DeclineClass::AskCustomer),
        ("stolen_card", DeclineClass::Stop),
        ("unlisted", DeclineClass::Retry),
    ] {
        let (_server, gateway) = flutterwave(vec![ok(&format!("flutterwave_charge_failed_{name}"))]).await;
        let outcome = gateway.charge(&request()).await.unwrap();
        let ChargeOutcome::Declined { class: found, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(found, class, "{name}");
    }
    let (_server, gateway) =
        flutterwave(vec![Step::Json(400, shape("flutterwave_error_insufficient"))]).await;
    assert!(matches!(
        gateway.charge(&request()).await,
        Ok(ChargeOutcome::Declined {
            class: DeclineClass::Retry,
            ..
        })
    ));
}

#[tokio::test]
async fn a_refusal_that_nobody_listed_is_unknown_and_so_is_a_duplicate() {
    for name in ["validation", "duplicate"] {
        let (_server, gateway) =
            flutterwave(vec![Step::Json(400, shape(&format!("flutterwave_error_{name}")))]).await;
        assert!(matches!(
            gateway.charge(&request()).await,
            Ok(ChargeOutcome::Unknown(UnknownReason::Provider { .. }))
        ));
    }
    // No rule makes a duplicate a decline: the first request may have been carried out.
    let (_server, gateway) = flutterwave(vec![Step::Json(400, shape("flutterwave_error_duplicate"))]).await;
    let gateway = gateway.declines(declines().with("transaction reference", DeclineClass::Retry));
    assert!(matches!(
        gateway.charge(&request()).await,
        Ok(ChargeOutcome::Unknown(_))
    ));

    let (_server, gateway) = flutterwave(vec![Step::Json(401, shape("flutterwave_error_key"))]).await;
    assert_eq!(
        gateway.charge(&request()).await.unwrap_err(),
        GatewayError::Unauthorized {
            service: "flutterwave"
        }
    );
}

#[tokio::test]
async fn what_waits_for_the_customer_is_pending_with_its_address() {
    let (_server, gateway) = flutterwave(vec![ok("flutterwave_charge_pending")]).await;
    let outcome = gateway.charge(&request()).await.unwrap();
    let ChargeOutcome::Pending { code, action_url } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(code, "pending");
    assert!(
        action_url
            .unwrap()
            .starts_with("https://ravesandboxapi.flutterwave.com/mockvbvpage")
    );
}

#[tokio::test]
async fn a_payment_is_verified_by_its_reference() {
    let (server, gateway) = flutterwave(vec![ok("flutterwave_verify_successful")]).await;
    let mut payment = query();
    payment.reference = reference(REFERENCE);
    payment.amount = money(30_000, "NGN");
    assert!(matches!(
        gateway.verify(&payment).await,
        Ok(Verification::Found(ChargeOutcome::Settled(_)))
    ));
    assert_eq!(
        server.only().line,
        "GET /transactions/verify_by_reference?tx_ref=new-live-test HTTP/1.1"
    );
    for status in [400, 404] {
        let (_server, gateway) =
            flutterwave(vec![Step::Json(status, shape("flutterwave_error_not_found"))]).await;
        assert_eq!(gateway.verify(&payment).await.unwrap(), Verification::NotFound);
    }
    let (_server, gateway) = flutterwave(vec![Step::Json(400, shape("flutterwave_error_validation"))]).await;
    assert!(
        gateway.verify(&payment).await.is_err(),
        "a mistake of ours is not `not found`"
    );
}

#[tokio::test]
async fn a_checkout_gives_its_link() {
    let (server, gateway) = flutterwave(vec![ok("flutterwave_payment_link")]).await;
    let page = gateway.checkout(&checkout()).await.unwrap();
    assert_eq!(
        page.url,
        "https://checkout.flutterwave.com/v3/hosted/pay/f524c1196ffda5556341"
    );
    let sent = server.only();
    assert_eq!(sent.line, "POST /payments HTTP/1.1");
    assert_eq!(sent.json()["tx_ref"], super::kit::REFERENCE);
    assert_eq!(sent.json()["customer"]["email"], "jane@example.com");
}

#[tokio::test]
async fn a_refund_goes_by_the_provider_id_of_the_payment() {
    let (server, gateway) = flutterwave(vec![
        ok("flutterwave_verify_successful"),
        ok("flutterwave_refund"),
    ])
    .await;
    let mut request = refund();
    request.payment = reference(REFERENCE);
    request.amount = money(6_900, "NGN");
    assert_eq!(
        gateway.refund(&request).await.unwrap(),
        RefundOutcome::Refunded {
            amount: money(6_900, "NGN"),
            provider_id: "75923".into()
        }
    );
    let sent = &server.requests()[1];
    assert_eq!(sent.line, "POST /transactions/288200108/refund HTTP/1.1");
    assert_eq!(
        sent.body,
        format!(
            r#"{{"amount":69.00,"comments":"{}: credit note 3"}}"#,
            super::kit::REFUND
        )
    );
    // Another amount went back than was asked.
    let (_server, gateway) = flutterwave(vec![
        ok("flutterwave_verify_successful"),
        ok("flutterwave_refund"),
    ])
    .await;
    request.amount = money(6_800, "NGN");
    assert!(matches!(
        gateway.refund(&request).await,
        Ok(RefundOutcome::Unknown(_))
    ));
    assert!(matches!(
        gateway.verify_refund(&request).await,
        Err(GatewayError::Unsupported { .. })
    ));
    assert!(matches!(
        gateway.methods(&customer()).await,
        Err(GatewayError::Unsupported { .. })
    ));
}
