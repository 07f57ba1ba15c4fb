//! How often, how, and when a call is repeated.

use std::time::{Duration, Instant};

use billing_client::payment::PaymentClient;
use billing_core::gateway::{ChargeOutcome, GatewayError, PaymentGateway as _};
use chrono::TimeDelta;

use super::kit::{charge, checkout, clock, config, query, refund, settled};
use super::server::{Server, Step};

fn busy(retry_after: &str) -> Step {
    let headers = format!("content-type: application/json\r\nretry-after: {retry_after}\r\n");
    Step::Answer(429, headers, r#"{"code":"too_many_calls"}"#.into())
}

fn down() -> Step {
    Step::Json(503, r#"{"code":"unavailable"}"#.into())
}

#[tokio::test]
async fn a_charge_that_was_not_carried_out_is_sent_again_under_the_same_key() {
    let server = Server::new([busy("0"), busy("0"), Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    let outcome = gateway.charge(&charge()).await.unwrap();
    assert!(matches!(outcome, ChargeOutcome::Settled(_)), "{outcome:?}");
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests {
        assert_eq!(request.line, "POST /v1/charges HTTP/1.1");
        assert_eq!(request.header("idempotency-key"), Some("charge:7:1"));
        assert_eq!(request.body, requests[0].body);
    }
}

#[tokio::test]
async fn what_became_unknown_is_not_sent_again() {
    let server = Server::new([busy("0"), down(), Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    let outcome = gateway.charge(&charge()).await.unwrap();
    assert!(matches!(outcome, ChargeOutcome::Unknown(_)), "{outcome:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn every_unsafe_call_has_its_key_and_no_other_has_one() {
    let server = Server::new([down()]).await;
    let mut settings = config(&server);
    settings.backoff.retries_max = 0;
    let gateway = PaymentClient::new(&settings, clock()).unwrap();
    let _ = gateway.charge(&charge()).await;
    let _ = gateway.checkout(&checkout()).await;
    let _ = gateway.refund(&refund()).await;
    let _ = gateway.verify(&query()).await;
    let _ = gateway.verify_refund(&refund()).await;
    let _ = gateway.health().await;
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| request.header("idempotency-key"))
        .collect();
    assert_eq!(
        keys,
        [
            Some("charge:7:1"),
            Some("checkout:7:1"),
            Some("refund:7:1"),
            None,
            None,
            None
        ]
    );
    for request in &requests {
        assert!(request.header("authorization").is_some());
        assert_eq!(
            request.line.starts_with("POST"),
            request.header("idempotency-key").is_some()
        );
    }
}

#[tokio::test]
async fn a_question_is_repeated_until_it_is_answered_or_enough_is_enough() {
    let server = Server::new([down(), Step::Reset, Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    assert!(gateway.verify(&query()).await.is_ok());
    assert_eq!(server.requests().len(), 3);
    for retries_max in [0, 1, 4] {
        let server = Server::new([down()]).await;
        let mut settings = config(&server);
        settings.backoff.retries_max = retries_max;
        let gateway = PaymentClient::new(&settings, clock()).unwrap();
        assert!(gateway.verify(&query()).await.is_err());
        assert_eq!(server.requests().len(), usize::try_from(retries_max).unwrap() + 1);
    }
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let server = Server::new([busy("1"), Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    let started = Instant::now();
    assert!(gateway.charge(&charge()).await.is_ok());
    // Not sooner. How much later is the machine's business.
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_long_retry_after_is_told_and_not_waited_for() {
    // As seconds, and as a date, which is held against the clock of the host.
    for value in ["120", "Sat, 31 Jan 2026 10:02:00 GMT"] {
        let server = Server::new([busy(value)]).await;
        let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
        let error = gateway.charge(&charge()).await.unwrap_err();
        assert_eq!(
            error,
            GatewayError::TooManyCalls {
                service: "payment",
                retry_after: Some(TimeDelta::seconds(120))
            }
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::new([Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    for _ in 0..20 {
        gateway.verify(&query()).await.unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (20, 1));
}
