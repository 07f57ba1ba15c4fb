//! Each way to fail, for a call that moves money and for one that asks.

use std::time::Duration;

use billing_client::payment::PaymentClient;
use billing_core::gateway::{ChargeOutcome, GatewayError, PaymentGateway as _, UnknownReason};

use super::kit::{charge, clock, config, query, refund, settled};
use super::server::{Server, Step};

enum Expected {
    /// Sent, and nobody knows: so often for a charge, so often for a question.
    Unknown(&'static str, usize, usize),
    /// Certainly not carried out: so often for both.
    Error(&'static str, usize),
}
use Expected::{Error, Unknown};

fn code(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Unreachable { code, .. } | GatewayError::NoAnswer { code, .. } => code,
        GatewayError::TooManyCalls { .. } => "too_many_calls",
        other => panic!("{other}"),
    }
}

#[track_caller]
fn known(reason: &UnknownReason, expected: &str) {
    // What a question calls by its name is for a charge only unreadable.
    let expected = match expected {
        "content_type" | "too_large" | "redirect" | "unreadable" => "unreadable",
        other => other,
    };
    assert_eq!(reason.code(), expected);
}

async fn check(step: Step, expected: Expected) {
    check_within(Duration::from_secs(30), step, expected).await;
}

/// With another timeout: long enough for the request to come, and to be counted, on a machine that does much else.
async fn check_within(timeout: Duration, step: Step, expected: Expected) {
    let name = format!("{step:?}");
    // The same fault for ever.
    let server = Server::new([step]).await;
    let mut settings = config(&server);
    settings.timeout = timeout;
    settings.connect_timeout = timeout / 2;
    let gateway = PaymentClient::new(&settings, clock()).unwrap();

    let charged = gateway.charge(&charge()).await;
    let after_charge = server.requests().len();
    let refunded = gateway.refund(&refund()).await;
    let after_refund = server.requests().len();
    let asked = gateway.verify(&query()).await.unwrap_err();
    let after_question = server.requests().len();
    let counts = [
        after_charge,
        after_refund - after_charge,
        after_question - after_refund,
    ];
    match expected {
        Unknown(fault, charges, questions) => {
            let Ok(ChargeOutcome::Unknown(reason)) = charged else {
                panic!("{name}: {charged:?}")
            };
            known(&reason, fault);
            let Ok(billing_core::gateway::RefundOutcome::Unknown(reason)) = refunded else {
                panic!("{name}: {refunded:?}")
            };
            known(&reason, fault);
            assert_eq!(code(&asked), fault, "{name}");
            assert_eq!(counts, [charges, charges, questions], "{name}");
        }
        Error(fault, count) => {
            assert_eq!(code(&charged.unwrap_err()), fault, "{name}");
            assert_eq!(code(&refunded.unwrap_err()), fault, "{name}");
            assert_eq!(code(&asked), fault, "{name}");
            assert_eq!(counts, [count; 3], "{name}");
        }
    }
    // The connections are fit for use afterwards.
    server.then([Step::Json(200, settled())]);
    assert!(gateway.verify(&query()).await.is_ok(), "{name}");
}

fn json(status: u16) -> Step {
    Step::Json(status, r#"{"code":"down"}"#.into())
}

#[tokio::test]
async fn what_was_sent_and_has_no_answer_is_unknown_and_not_repeated() {
    let slow = Step::Slow(Duration::from_secs(60), Box::new(Step::Json(200, settled())));
    let timeout = Duration::from_secs(2);
    tokio::join!(
        check_within(timeout, Step::Hang, Unknown("timeout", 1, 3)),
        check_within(timeout, slow, Unknown("timeout", 1, 3)),
        check(Step::Reset, Unknown("connection_lost", 1, 3)),
        check(Step::HalfBody, Unknown("connection_lost", 1, 3)),
        check(Step::Garbage, Unknown("connection_lost", 1, 3)),
    );
}

#[tokio::test]
async fn a_failure_of_the_service_is_unknown_and_not_repeated() {
    for status in [500, 502, 503, 504] {
        check(json(status), Unknown("server_error", 1, 3)).await;
    }
    // It says that it never will.
    check(json(501), Unknown("server_error", 1, 1)).await;
    // It gave up waiting for the rest of the request, and does not say how far it came.
    check(json(408), Unknown("server_error", 1, 1)).await;
}

#[tokio::test]
async fn an_answer_that_is_not_documented_is_unknown_and_never_repeated() {
    let html = "content-type: text/html\r\n".to_owned();
    check(
        Step::Json(200, "{\"status\":".into()),
        Unknown("unreadable", 1, 1),
    )
    .await;
    check(Step::Json(200, "[]".into()), Unknown("unreadable", 1, 1)).await;
    check(
        Step::Json(200, r#"{"status":"paid","id":"1"}"#.into()),
        Unknown("unreadable", 1, 1),
    )
    .await;
    check(Step::Answer(200, html, settled()), Unknown("content_type", 1, 1)).await;
    check(
        Step::Answer(200, String::new(), settled()),
        Unknown("content_type", 1, 1),
    )
    .await;
    check(Step::Announced(1 << 30), Unknown("too_large", 1, 1)).await;
    check(Step::Endless, Unknown("too_large", 1, 1)).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::new([Step::Json(200, settled())]).await;
    for status in [301, 302, 307, 308] {
        let location = format!("location: {}/v1/charges\r\n", elsewhere.url());
        check(
            Step::Answer(status, location, String::new()),
            Unknown("redirect", 1, 1),
        )
        .await;
    }
    assert_eq!(elsewhere.connections(), 0, "the key went nowhere");
}

#[tokio::test]
async fn too_many_calls_is_certain_and_is_repeated() {
    check(json(429), Error("too_many_calls", 3)).await;
}

#[tokio::test]
async fn what_found_no_connection_was_not_sent() {
    // A port where nobody listens any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let settings =
        billing_client::ServiceConfig::new(&url, billing_client::SecretString::from("key")).unwrap();
    let gateway = PaymentClient::new(&settings, clock()).unwrap();
    let error = gateway.charge(&charge()).await.unwrap_err();
    assert_eq!(code(&error), "connect");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_client_fit_for_use() {
    let server = Server::new([Step::Hang, Step::Json(200, settled())]).await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    let (question, asked) = (query(), charge());
    let sent = async {
        while server.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        outcome = gateway.charge(&asked) => panic!("{outcome:?}"),
        () = sent => {}
    }
    assert!(gateway.verify(&question).await.is_ok());
    assert_eq!(
        gateway.breaker().failed,
        0,
        "that it was dropped says nothing of the service"
    );
}
