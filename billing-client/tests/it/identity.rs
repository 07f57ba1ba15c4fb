//! The identity service, and the fallback to what it said last.

use billing_client::identity::IdentityClient;
use billing_core::id::ActorName;
use billing_core::identity::{AccessToken, IdentityDirectory as _, IdentityError};
use billing_core::resilience::{BreakerPolicy, BreakerState};
use chrono::TimeDelta;

use super::kit::{clock, config, tenant_id};
use super::server::{Server, Step};

const TENANT: &str =
    r#"{"id":"6f2c1d4e-0000-4000-8000-000000000001","name":"Acme","region":"NG","is_active":true}"#;

fn ok(body: &str) -> Step {
    Step::Json(200, body.into())
}

fn down() -> Step {
    Step::Json(503, "{}".into())
}

#[tokio::test]
async fn the_last_good_answer_stands_in_marked_with_its_age_up_to_a_limit() {
    let server = Server::new([ok(TENANT), ok(r#"{"permissions":["invoice:read"]}"#), down()]).await;
    let clock = clock();
    let directory = IdentityClient::new(&config(&server), clock.clone())
        .unwrap()
        .stale_max(TimeDelta::minutes(5));
    let user = ActorName::new("user/17").unwrap();
    let fresh = directory.tenant(tenant_id()).await.unwrap();
    assert_eq!((fresh.age, fresh.value.name.as_str()), (None, "Acme"));
    let permissions = directory.permissions(tenant_id(), &user).await.unwrap();
    assert!(!permissions.is_stale());

    clock.advance(300);
    let stale = directory.tenant(tenant_id()).await.unwrap();
    assert_eq!(stale.age, Some(TimeDelta::minutes(5)));
    assert_eq!(stale.value, fresh.value);
    let stale = directory.permissions(tenant_id(), &user).await.unwrap();
    assert_eq!(
        (stale.age, stale.value),
        (Some(TimeDelta::minutes(5)), permissions.value)
    );
    let other = ActorName::new("user/18").unwrap();
    assert!(
        directory.permissions(tenant_id(), &other).await.is_err(),
        "nobody else's"
    );

    clock.advance(1);
    assert_eq!(
        directory.tenant(tenant_id()).await.unwrap_err(),
        IdentityError::Unavailable { code: "server_error" }
    );
    // A user's name cannot reach into another path.
    let line = &server.requests()[1].line;
    assert_eq!(
        line,
        "GET /v1/tenants/6f2c1d4e-0000-4000-8000-000000000001/users/user%2F17/permissions HTTP/1.1"
    );
}

#[tokio::test]
async fn an_open_breaker_is_answered_from_memory_too() {
    let server = Server::new([ok(TENANT), down()]).await;
    let mut settings = config(&server);
    settings.breaker = BreakerPolicy::IDENTITY;
    settings.backoff.retries_max = 0;
    let directory = IdentityClient::new(&settings, clock()).unwrap();
    for _ in 0..9 {
        assert!(directory.tenant(tenant_id()).await.is_ok());
    }
    assert_eq!(directory.breaker().state, BreakerState::Open);
    assert_eq!(
        server.requests().len(),
        6,
        "one that was answered, five that failed"
    );
}

#[tokio::test]
async fn what_the_service_denies_is_not_answered_from_memory() {
    let gone = Step::Json(404, r#"{"code":"unknown_tenant"}"#.into());
    let server = Server::new([ok(TENANT), gone, down()]).await;
    let directory = IdentityClient::new(&config(&server), clock()).unwrap();
    assert!(directory.tenant(tenant_id()).await.is_ok());
    let denied = directory.tenant(tenant_id()).await.unwrap_err();
    assert_eq!(
        denied,
        IdentityError::UnknownTenant {
            tenant_id: tenant_id()
        }
    );
    assert!(directory.tenant(tenant_id()).await.is_err(), "and is forgotten");

    let server = Server::new([ok(TENANT), Step::Json(401, "{}".into())]).await;
    let directory = IdentityClient::new(&config(&server), clock()).unwrap();
    assert!(directory.tenant(tenant_id()).await.is_ok());
    assert_eq!(
        directory.tenant(tenant_id()).await.unwrap_err(),
        IdentityError::Unauthorized
    );
}

#[tokio::test]
async fn a_token_is_never_answered_from_memory() {
    let valid = r#"{"status":"valid","user":"user_17","expires_at":"2026-02-01T10:00:00Z"}"#;
    let server = Server::new([ok(valid), down()]).await;
    let directory = IdentityClient::new(&config(&server), clock()).unwrap();
    let token = AccessToken::new("eyJ.e30.c2ln");
    assert!(directory.verify_token(&token).await.is_ok());
    assert!(directory.verify_token(&token).await.is_err());
    let request = &server.requests()[0];
    assert_eq!(request.line, "POST /v1/tokens/verify HTTP/1.1");
    assert_eq!(request.body, r#"{"token":"eyJ.e30.c2ln"}"#);
}

#[tokio::test]
async fn an_answer_about_another_tenant_is_not_taken() {
    let other = TENANT.replace("6f2c", "7f2c");
    let server = Server::new([ok(&other)]).await;
    let directory = IdentityClient::new(&config(&server), clock()).unwrap();
    assert_eq!(
        directory.tenant(tenant_id()).await.unwrap_err(),
        IdentityError::Unavailable { code: "unreadable" }
    );
}
