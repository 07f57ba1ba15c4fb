//! The breaker, driven by calls.

use std::sync::{Arc, Mutex};

use billing_client::payment::PaymentClient;
use billing_client::{BreakerListener, BreakerNews};
use billing_core::gateway::{GatewayError, PaymentGateway as _};
use billing_core::resilience::{BreakerPolicy, BreakerState, Transition};

use super::kit::{Hand, at, charge, clock, config, query, settled};
use super::server::{Server, Step};

fn down() -> Step {
    Step::Json(500, "{}".into())
}

fn refused() -> Step {
    Step::Json(422, r#"{"code":"unsupported_currency"}"#.into())
}

async fn gateway(steps: Vec<Step>) -> (Server, Arc<Hand>, PaymentClient) {
    let server = Server::new(steps).await;
    let mut settings = config(&server);
    settings.breaker = BreakerPolicy::PAYMENT;
    settings.backoff.retries_max = 0;
    let clock = clock();
    let client = PaymentClient::new(&settings, clock.clone()).unwrap();
    (server, clock, client)
}

#[tokio::test]
async fn three_failures_open_it_and_then_nothing_is_sent() {
    let (server, clock, gateway) = gateway(vec![down()]).await;
    for _ in 0..3 {
        let _ = gateway.charge(&charge()).await;
    }
    let error = gateway.charge(&charge()).await.unwrap_err();
    let until = at("2026-01-31T10:02:00Z");
    assert_eq!(
        error,
        GatewayError::BreakerOpen {
            service: "payment",
            until
        }
    );
    assert_eq!(server.requests().len(), 3);
    let seen = gateway.breaker();
    assert_eq!(
        (seen.state, seen.failed, seen.refused),
        (BreakerState::Open, 3, 1)
    );
    assert_eq!(seen.half_opens_at, Some(until));
    assert_eq!(seen.last_error.unwrap().code, "server_error");

    clock.advance(119);
    assert!(gateway.verify(&query()).await.is_err());
    assert_eq!(server.requests().len(), 3);
    // One probe, which fails: open again.
    clock.advance(1);
    assert!(matches!(
        gateway.verify(&query()).await,
        Err(GatewayError::NoAnswer { .. })
    ));
    assert!(matches!(
        gateway.verify(&query()).await,
        Err(GatewayError::BreakerOpen { .. })
    ));
    assert_eq!(server.requests().len(), 4);
    // Another, which succeeds: closed by itself.
    server.then([Step::Json(200, settled())]);
    clock.advance(120);
    assert!(gateway.verify(&query()).await.is_ok());
    assert!(gateway.verify(&query()).await.is_ok());
    assert_eq!(gateway.breaker().state, BreakerState::Closed);
}

#[tokio::test]
async fn a_refusal_of_what_was_asked_is_no_failure_of_the_service() {
    let busy = Step::Json(429, "{}".into());
    let (server, _, gateway) = gateway(vec![refused(), refused(), refused(), refused(), busy]).await;
    for _ in 0..8 {
        assert!(gateway.charge(&charge()).await.is_err());
    }
    assert_eq!(server.requests().len(), 8);
    assert_eq!(gateway.breaker().state, BreakerState::Closed);
    assert_eq!(gateway.breaker().failed, 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_a_failure() {
    let (_server, _, gateway) = gateway(vec![Step::Json(200, "[]".into())]).await;
    for _ in 0..3 {
        let _ = gateway.charge(&charge()).await;
    }
    assert_eq!(gateway.breaker().state, BreakerState::Open);
    assert_eq!(gateway.breaker().last_error.unwrap().code, "unreadable");
}

#[tokio::test]
async fn half_open_sends_one_of_many_at_once() {
    let (server, clock, gateway) = gateway(vec![down(), down(), down()]).await;
    for _ in 0..3 {
        let _ = gateway.charge(&charge()).await;
    }
    clock.advance(120);
    let slow = Step::Slow(
        std::time::Duration::from_millis(100),
        Box::new(Step::Json(200, settled())),
    );
    server.then([slow]);
    let question = query();
    let calls: Vec<_> = (0..8).map(|_| gateway.verify(&question)).collect();
    let mut passed = 0;
    for call in futures(calls).await {
        passed += usize::from(call.is_ok());
    }
    assert_eq!((passed, server.requests().len()), (1, 4));
}

/// All at once, on one task.
async fn futures<T: Send + 'static>(
    calls: Vec<billing_core::gateway::GatewayFuture<'_, T>>,
) -> Vec<Result<T, GatewayError>> {
    let mut waiting: Vec<_> = calls.into_iter().map(Some).collect();
    let mut done: Vec<Option<_>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (call, result) in waiting.iter_mut().zip(&mut done) {
            if let Some(future) = call
                && let std::task::Poll::Ready(found) = future.as_mut().poll(context)
            {
                *result = Some(found);
                *call = None;
            }
        }
        if waiting.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().map(|result| result.unwrap()).collect()
}

#[tokio::test]
async fn health_asks_past_an_open_breaker() {
    let (server, clock, gateway) = gateway(vec![down()]).await;
    for _ in 0..3 {
        let _ = gateway.charge(&charge()).await;
    }
    server.then([Step::Json(200, r#"{"status":"ok"}"#.into())]);
    let health = gateway.health().await;
    assert_eq!((health.is_up, health.code), (true, "ok"));
    assert_eq!(
        health.breaker.state,
        BreakerState::Open,
        "it is not closed before its time"
    );
    clock.advance(120);
    let health = gateway.health().await;
    assert_eq!(
        health.breaker.state,
        BreakerState::Closed,
        "half open, it was the probe"
    );
    server.then([Step::Json(200, r#"{"status":"degraded"}"#.into())]);
    let health = gateway.health().await;
    assert_eq!((health.is_up, health.code), (false, "degraded"));
    server.then([Step::Json(401, r#"{"code":"unauthorized"}"#.into())]);
    assert_eq!(gateway.health().await.code, "unauthorized");
}

#[tokio::test]
async fn a_listener_is_told_when_it_opens_and_closes() {
    let server = Server::new([down()]).await;
    let mut settings = config(&server);
    settings.breaker = BreakerPolicy::PAYMENT;
    settings.backoff.retries_max = 0;
    let (clock, heard) = (clock(), Arc::new(Mutex::new(Vec::<BreakerNews>::new())));
    let listener: BreakerListener = {
        let heard = Arc::clone(&heard);
        Arc::new(move |news| heard.lock().unwrap().push(news))
    };
    let gateway = PaymentClient::with_listener(&settings, clock.clone(), Some(listener)).unwrap();
    for _ in 0..5 {
        let _ = gateway.charge(&charge()).await;
    }
    clock.advance(120);
    server.then([Step::Json(200, settled())]);
    gateway.verify(&query()).await.unwrap();
    let heard = heard.lock().unwrap();
    let until = at("2026-01-31T10:02:00Z");
    let transitions: Vec<_> = heard.iter().map(|news| news.transition).collect();
    assert_eq!(transitions, [Transition::Opened { until }, Transition::Closed]);
    assert_eq!(heard[0].service, "payment");
    assert_eq!(heard[0].snapshot.opened, 1);
}

#[tokio::test]
async fn retries_end_when_others_have_opened_it() {
    let server = Server::new([down()]).await;
    let mut settings = config(&server);
    settings.breaker = BreakerPolicy::PAYMENT;
    settings.backoff.retries_max = 50;
    settings.backoff.base = std::time::Duration::from_millis(40);
    settings.backoff.cap = settings.backoff.base;
    let gateway = PaymentClient::new(&settings, clock()).unwrap();
    let (question, asked) = (query(), charge());
    let charges = async {
        for _ in 0..3 {
            let _ = gateway.charge(&asked).await;
        }
    };
    let (verified, ()) = tokio::join!(gateway.verify(&question), charges);
    assert!(verified.is_err());
    assert!(
        server.requests().len() < 54,
        "three charges, and not all of the 51 attempts"
    );
}
