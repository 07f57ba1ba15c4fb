//! Paystack, against what its documentation shows.

use billing_client::CurrencyUnits;
use billing_client::paystack::{Paystack, declines, units};
use billing_core::gateway::{
    ChargeOutcome, ChargeRequest, GatewayError, MethodCheck, MethodToken, Mismatch, PaymentGateway as _,
    RefundOutcome, RefundRequest, RefundVerification, UnknownReason, Verification,
};
use billing_core::money::Money;
use billing_core::retry::DeclineClass;
use serde_json::{Value, json};

use super::kit::{at, charge, checkout, clock, config, customer, method, money, query, reference, refund};
use super::server::{Server, Step};

pub(crate) fn shape(name: &str) -> String {
    let path = format!("{}/tests/shapes/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut shape: Value = serde_json::from_str(&text).unwrap();
    let object = shape.as_object_mut().unwrap();
    assert!(object.remove("_page").is_some(), "{name} says where it is from");
    object.remove("_note");
    shape.to_string()
}

const REFERENCE: &str = "cn65lf4ixmkzvda";

fn request() -> ChargeRequest {
    ChargeRequest {
        reference: reference(REFERENCE),
        amount: money(27_000, "NGN"),
        ..charge()
    }
}

fn refund_request() -> RefundRequest {
    RefundRequest {
        payment: reference(REFERENCE),
        reference: reference("re-9"),
        amount: money(10_000, "NGN"),
        ..refund()
    }
}

async fn paystack(steps: Vec<Step>) -> (Server, Paystack) {
    let server = Server::new(steps).await;
    let gateway = Paystack::new(&config(&server), clock()).unwrap();
    (server, gateway)
}

fn ok(name: &str) -> Step {
    Step::Json(200, shape(name))
}

#[tokio::test]
async fn a_charge_is_sent_as_documented_and_settled_by_what_comes_back() {
    let (server, gateway) = paystack(vec![ok("paystack_charge_success")]).await;
    let ChargeOutcome::Settled(settlement) = gateway.charge(&request()).await.unwrap() else {
        panic!("not settled")
    };
    assert_eq!(settlement.amount(), money(27_000, "NGN"));
    assert_eq!(settlement.reference().as_str(), REFERENCE);
    assert_eq!(settlement.provider_id(), "696105928");
    assert_eq!(settlement.settled_at(), at("2020-05-27T11:45:03Z"));
    let sent = server.only();
    assert_eq!(sent.line, "POST /transaction/charge_authorization HTTP/1.1");
    assert_eq!(sent.header("idempotency-key"), Some("charge:7:1"));
    assert_eq!(
        sent.header("authorization"),
        Some("Bearer sk_live_never-to-be-seen")
    );
    assert_eq!(
        sent.json(),
        json!({
            "authorization_code": "tok_4711", "email": "jane@example.com", "amount": 27000, "currency": "NGN",
            "reference": REFERENCE,
        })
    );
}

#[tokio::test]
async fn what_came_back_is_held_against_what_was_asked() {
    let other = |change: fn(&mut ChargeRequest)| {
        let mut request = request();
        change(&mut request);
        request
    };
    for (request, code) in [
        (other(|request| request.amount.minor += 1), "amount_mismatch"),
        (other(|request| request.amount.minor -= 1), "amount_mismatch"),
        (
            other(|request| request.amount = money(27_000, "GHS")),
            "amount_mismatch",
        ),
        (
            other(|request| request.reference = reference("ch-2")),
            "reference_mismatch",
        ),
    ] {
        let (_server, gateway) = paystack(vec![ok("paystack_charge_success")]).await;
        let Ok(ChargeOutcome::Unknown(reason)) = gateway.charge(&request).await else {
            panic!("{code}")
        };
        assert_eq!(reason.code(), code);
    }
    // A decline of another payment is none of this one.
    let (_server, gateway) = paystack(vec![ok("paystack_charge_failed_expired_card")]).await;
    let another = other(|request| request.reference = reference("ch-2"));
    assert_eq!(
        gateway.charge(&another).await.unwrap(),
        ChargeOutcome::Unknown(UnknownReason::Mismatch(Mismatch::Reference {
            asked: reference("ch-2")
        }))
    );
}

#[tokio::test]
async fn declines_have_their_class() {
    for (name, class, code) in [
        ("insufficient_funds", DeclineClass::Retry, "Insufficient Funds"),
        ("expired_card", DeclineClass::AskCustomer, "Expired Card"),
        ("stolen_card", DeclineClass::Stop, "Pickup card (stolen card)"),
        ("unlisted", DeclineClass::Retry, "Something that no table knows"),
    ] {
        let (_server, gateway) = paystack(vec![ok(&format!("paystack_charge_failed_{name}"))]).await;
        let code = code.into();
        assert_eq!(
            gateway.charge(&request()).await.unwrap(),
            ChargeOutcome::Declined { class, code }
        );
    }
    // The host knows better; and may want to be sure.
    let (server, gateway) = paystack(vec![ok("paystack_charge_failed_insufficient_funds")]).await;
    let gateway = gateway.declines(declines().with("insufficient funds", DeclineClass::AskCustomer));
    assert!(matches!(
        gateway.charge(&request()).await,
        Ok(ChargeOutcome::Declined {
            class: DeclineClass::AskCustomer,
            ..
        })
    ));
    let gateway = Paystack::new(&config(&server), clock()).unwrap();
    let gateway = gateway.declines(declines().with("insufficient funds", DeclineClass::Unknown));
    assert!(matches!(
        gateway.charge(&request()).await,
        Ok(ChargeOutcome::Unknown(_))
    ));
}

#[tokio::test]
async fn a_challenge_is_pending_with_its_address() {
    let (_server, gateway) = paystack(vec![ok("paystack_charge_challenge")]).await;
    assert_eq!(
        gateway.charge(&request()).await.unwrap(),
        ChargeOutcome::Pending {
            code: "challenge".into(),
            action_url: Some("https://checkout.paystack.com/resume/0744ub5o065nwyz".into())
        }
    );
}

#[tokio::test]
async fn a_duplicate_reference_is_unknown_and_no_refusal() {
    let (_server, gateway) = paystack(vec![Step::Json(400, shape("paystack_error_duplicate"))]).await;
    assert_eq!(
        gateway.charge(&request()).await.unwrap(),
        ChargeOutcome::Unknown(UnknownReason::Provider {
            code: "Duplicate Transaction Reference".into()
        })
    );
}

#[tokio::test]
async fn refusals_are_errors_but_for_those_of_the_payment_method() {
    let (_server, gateway) = paystack(vec![Step::Json(400, shape("paystack_error_email"))]).await;
    assert!(matches!(
        gateway.charge(&request()).await,
        Ok(ChargeOutcome::Declined {
            class: DeclineClass::AskCustomer,
            ..
        })
    ));
    let invalid_key = shape("paystack_error_key");
    let (_server, gateway) = paystack(vec![
        Step::Json(401, invalid_key.clone()),
        Step::Json(400, invalid_key),
    ])
    .await;
    let service = "paystack";
    assert_eq!(
        gateway.charge(&request()).await.unwrap_err(),
        GatewayError::Unauthorized { service }
    );
    let code = "Invalid key".into();
    assert_eq!(
        gateway.charge(&request()).await.unwrap_err(),
        GatewayError::Refused { service, code }
    );
}

#[tokio::test]
async fn each_status_of_a_transaction_means_something() {
    let payment = |amount| {
        let mut payment = query();
        payment.reference = reference(REFERENCE);
        payment.amount = money(amount, "NGN");
        payment
    };
    for (status, expected) in [
        ("abandoned", "pending"),
        ("ongoing", "pending"),
        ("pending", "pending"),
        ("processing", "pending"),
        ("queued", "pending"),
        ("failed", "declined"),
        ("reversed", "unknown"),
        ("success", "settled"),
    ] {
        let (server, gateway) = paystack(vec![ok(&format!("paystack_verify_{status}"))]).await;
        let Verification::Found(outcome) = gateway.verify(&payment(27_000)).await.unwrap() else {
            panic!("{status}")
        };
        let found = match outcome {
            ChargeOutcome::Settled(_) => "settled",
            ChargeOutcome::Declined { .. } => "declined",
            ChargeOutcome::Pending { .. } => "pending",
            ChargeOutcome::Unknown(_) => "unknown",
        };
        assert_eq!(found, expected, "{status}");
        assert_eq!(
            server.only().line,
            format!("GET /transaction/verify/{REFERENCE} HTTP/1.1")
        );
    }
    let (_server, gateway) = paystack(vec![ok("paystack_verify_success")]).await;
    assert!(matches!(
        gateway.verify(&payment(27_100)).await,
        Ok(Verification::Found(ChargeOutcome::Unknown(
            UnknownReason::Mismatch(_)
        )))
    ));
    for status in [400, 404] {
        let (_server, gateway) = paystack(vec![Step::Json(status, shape("paystack_error_not_found"))]).await;
        assert_eq!(
            gateway.verify(&payment(27_000)).await.unwrap(),
            Verification::NotFound
        );
    }
    let (_server, gateway) = paystack(vec![Step::Json(400, shape("paystack_error_key"))]).await;
    assert!(
        gateway.verify(&payment(27_000)).await.is_err(),
        "a mistake of ours is not `not found`"
    );
}

#[tokio::test]
async fn amounts_are_in_hundredths_and_an_unknown_unit_is_refused() {
    async fn sent(units: CurrencyUnits, amount: Money) -> Result<Value, GatewayError> {
        let (server, gateway) = paystack(vec![Step::Json(500, "{}".into())]).await;
        let gateway = gateway.units(units);
        let request = ChargeRequest { amount, ..request() };
        gateway.charge(&request).await?;
        let sent = server.only().json();
        assert_eq!(sent["currency"], amount.currency.code());
        Ok(sent["amount"].clone())
    }
    for (minor, currency, expected) in [
        (27_050, "NGN", 27_050),
        (27_050, "GHS", 27_050),
        (27_050, "KES", 27_050),
        (27_050, "ZAR", 27_050),
        (27_050, "USD", 27_050),
        // Without a minor unit by ISO 4217, and sent in hundredths.
        (1_500, "XOF", 150_000),
    ] {
        assert_eq!(
            sent(units(), money(minor, currency)).await.unwrap(),
            expected,
            "{currency}"
        );
    }
    for currency in ["UGX", "RWF", "EUR"] {
        assert_eq!(
            sent(units(), money(1_500, currency)).await.unwrap_err(),
            GatewayError::UnsupportedCurrency {
                service: "paystack",
                currency: money(0, currency).currency
            }
        );
    }
    let told = units().with(money(0, "RWF").currency, 2);
    assert_eq!(sent(told, money(1_500, "RWF")).await.unwrap(), 150_000);
    for minor in [0, -1] {
        assert!(matches!(
            sent(units(), money(minor, "NGN")).await,
            Err(GatewayError::Invalid { field: "amount", .. })
        ));
    }
}

#[tokio::test]
async fn francs_come_back_as_they_went() {
    let xof = shape("paystack_charge_success")
        .replace("\"NGN\"", "\"XOF\"")
        .replace("27000", "150000");
    let (_server, gateway) = paystack(vec![Step::Json(200, xof.clone())]).await;
    let request = ChargeRequest {
        amount: money(1_500, "XOF"),
        ..request()
    };
    assert!(matches!(
        gateway.charge(&request).await,
        Ok(ChargeOutcome::Settled(_))
    ));
    let half = xof.replace("150000", "150050");
    let (_server, gateway) = paystack(vec![Step::Json(200, half)]).await;
    assert_eq!(
        gateway.charge(&request).await.unwrap(),
        ChargeOutcome::Unknown(UnknownReason::Unreadable)
    );
}

#[tokio::test]
async fn a_date_of_another_form_does_not_make_a_payment_unknown() {
    for date in ["\"27 May 2020\"", "null", "1590579903"] {
        let answer = shape("paystack_charge_success").replace("\"2020-05-27T11:45:03.000Z\"", date);
        let (_server, gateway) = paystack(vec![Step::Json(200, answer)]).await;
        let Ok(ChargeOutcome::Settled(settlement)) = gateway.charge(&request()).await else {
            panic!("{date}")
        };
        assert_eq!(
            settlement.settled_at(),
            at("2026-01-31T10:00:00Z"),
            "when it was seen"
        );
    }
    // Nor is it settled in the future.
    let answer = shape("paystack_charge_success").replace("2020-05-27", "2030-05-27");
    let (_server, gateway) = paystack(vec![Step::Json(200, answer)]).await;
    let Ok(ChargeOutcome::Settled(settlement)) = gateway.charge(&request()).await else {
        panic!("not settled")
    };
    assert_eq!(settlement.settled_at(), at("2026-01-31T10:00:00Z"));
}

#[tokio::test]
async fn a_checkout_gives_its_page() {
    let (server, gateway) = paystack(vec![ok("paystack_initialize")]).await;
    let mut request = checkout();
    request.reference = reference(REFERENCE);
    let page = gateway.checkout(&request).await.unwrap();
    assert_eq!(page.url, "https://checkout.paystack.com/nkdks46nymizns7");
    let sent = server.only();
    assert_eq!(sent.line, "POST /transaction/initialize HTTP/1.1");
    assert_eq!(
        sent.json(),
        json!({
            "email": "jane@example.com", "amount": 5000, "currency": "NGN", "reference": REFERENCE,
            "callback_url": "https://app.example.com/paid",
        })
    );
    // A page for another payment is none.
    assert!(matches!(
        gateway.checkout(&checkout()).await,
        Err(GatewayError::NoAnswer { .. })
    ));
}

#[tokio::test]
async fn a_refund_is_made_once_however_often_it_is_asked_for() {
    let none = r#"{"status":true,"message":"Refunds retrieved","data":[]}"#;
    let (server, gateway) = paystack(vec![
        ok("paystack_verify_success"),
        Step::Json(200, none.into()),
        ok("paystack_refund"),
        // The second time it is found by its note.
        ok("paystack_verify_success"),
        ok("paystack_refunds"),
    ])
    .await;
    let provider_id = "3018284".into();
    assert_eq!(
        gateway.refund(&refund_request()).await.unwrap(),
        RefundOutcome::Pending { provider_id }
    );
    assert_eq!(
        gateway.refund(&refund_request()).await.unwrap(),
        RefundOutcome::Refunded {
            amount: money(10_000, "NGN"),
            provider_id: "3018285".into()
        }
    );
    let requests = server.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.line.as_str()).collect();
    let (verify, list) = (
        "GET /transaction/verify/cn65lf4ixmkzvda HTTP/1.1",
        "GET /refund?transaction=1561150909&perPage=100 HTTP/1.1",
    );
    assert_eq!(lines, [verify, list, "POST /refund HTTP/1.1", verify, list]);
    assert_eq!(requests[2].header("idempotency-key"), Some("refund:7:1"));
    assert_eq!(
        requests[2].json(),
        json!({
            "transaction": "1561150909", "amount": 10000, "currency": "NGN", "merchant_note": "re-9: credit note 3",
        })
    );
}

#[tokio::test]
async fn a_refund_that_cannot_be_looked_for_is_not_made() {
    let (server, gateway) = paystack(vec![ok("paystack_verify_success"), Step::Json(500, "{}".into())]).await;
    assert!(gateway.refund(&refund_request()).await.is_err());
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.line.starts_with("GET"))
    );
    // Sent, and no answer: unknown.
    let none = r#"{"status":true,"message":"Refunds retrieved","data":[]}"#;
    let (_server, gateway) = paystack(vec![
        ok("paystack_verify_success"),
        Step::Json(200, none.into()),
        Step::Reset,
    ])
    .await;
    assert_eq!(
        gateway.refund(&refund_request()).await.unwrap(),
        RefundOutcome::Unknown(UnknownReason::ConnectionLost)
    );
}

#[tokio::test]
async fn a_refund_is_verified_by_its_note() {
    let (_server, gateway) = paystack(vec![ok("paystack_verify_success"), ok("paystack_refunds")]).await;
    let found = gateway.verify_refund(&refund_request()).await.unwrap();
    assert!(matches!(
        found,
        RefundVerification::Found(RefundOutcome::Refunded { .. })
    ));
    let (_server, gateway) = paystack(vec![ok("paystack_verify_success"), ok("paystack_refunds")]).await;
    let mut another = refund_request();
    // The beginning of another reference is not that reference.
    another.reference = reference("re");
    assert_eq!(
        gateway.verify_refund(&another).await.unwrap(),
        RefundVerification::NotFound
    );
    let (_server, gateway) = paystack(vec![ok("paystack_verify_success"), ok("paystack_refunds")]).await;
    let mut more = refund_request();
    more.amount.minor += 1;
    assert!(matches!(
        gateway.verify_refund(&more).await,
        Ok(RefundVerification::Found(RefundOutcome::Unknown(_)))
    ));
}

#[tokio::test]
async fn methods_are_those_that_may_be_charged_again() {
    let (server, gateway) = paystack(vec![ok("paystack_customer")]).await;
    let methods = gateway.methods(&customer()).await.unwrap();
    assert_eq!(methods.len(), 2);
    assert_eq!(
        methods[0].method.token,
        MethodToken::new("AUTH_pmx3mgawyd").unwrap()
    );
    assert_eq!(methods[0].expires, Some((2030, 12)));
    assert_eq!(methods[0].last4.as_deref(), Some("4081"));
    assert_eq!(server.only().line, "GET /customer/jane@example.com HTTP/1.1");
    for (token, now, expected) in [
        ("AUTH_pmx3mgawyd", "2030-12-31T23:00:00Z", MethodCheck::Usable),
        (
            "AUTH_pmx3mgawyd",
            "2031-01-01T00:00:00Z",
            MethodCheck::Expired { expires: (2030, 12) },
        ),
        (
            "AUTH_once",
            "2026-01-01T00:00:00Z",
            MethodCheck::Unusable { code: "not_reusable" },
        ),
        (
            "AUTH_who",
            "2026-01-01T00:00:00Z",
            MethodCheck::Unusable { code: "unknown" },
        ),
    ] {
        let mut method = method();
        method.token = MethodToken::new(token).unwrap();
        let found = gateway.validate_method(&customer(), &method, at(now)).await;
        assert_eq!(found.unwrap(), expected, "{token} at {now}");
    }
    let (_server, gateway) = paystack(vec![Step::Json(404, "{}".into())]).await;
    assert!(gateway.methods(&customer()).await.unwrap().is_empty());
}

#[test]
fn the_configuration_comes_from_its_variables() {
    let variable = |name: &str| (name == "PAYSTACK_SECRET_KEY").then(|| "sk".into());
    assert!(Paystack::config_from(variable).is_ok());
    assert_eq!(
        Paystack::config_from(|_| None).unwrap_err().to_string(),
        "variable PAYSTACK_SECRET_KEY is not set"
    );
}
