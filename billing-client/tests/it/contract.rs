//! Every example of the OpenAPI documents: what is answered is decoded as it means, what is asked is sent as it stands there.

use std::collections::BTreeSet;

use billing_client::identity::IdentityClient;
use billing_client::payment::PaymentClient;
use billing_core::gateway::{GatewayError, MethodCheck, PaymentGateway as _, Settlement};
use billing_core::id::ActorName;
use billing_core::identity::{AccessToken, IdentityDirectory as _};
use serde_json::Value;

use super::kit::{
    REFERENCE, at, charge, checkout, clock, config, customer, method, money, query, reference, refund,
    tenant_id,
};
use super::server::{Request, Server, Step};

/// What each example means, as the operation returns it. A document with an example that is not here fails, and so does the
/// reverse.
const MEANINGS: &[(&str, &str)] = include!("contract_meanings.rs");

struct Example {
    operation: String,
    status: u16,
    name: String,
    body: Value,
}

/// The examples of all responses, and of all requests with status 0.
fn examples(document: &str) -> Vec<Example> {
    let document: Value = serde_json::from_str(document).unwrap();
    let mut examples = Vec::new();
    for (_, path) in document["paths"].as_object().unwrap() {
        for (_, operation) in path.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let mut add = |status: u16, content: &Value| {
                for (_, kind) in content.as_object().unwrap() {
                    let named = kind["examples"].as_object().unwrap();
                    assert!(!named.is_empty(), "{id} {status} has an example");
                    for (name, example) in named {
                        examples.push(Example {
                            operation: id.into(),
                            status,
                            name: name.clone(),
                            body: example["value"].clone(),
                        });
                    }
                }
            };
            for (status, response) in operation["responses"].as_object().unwrap() {
                add(status.parse().unwrap(), &response["content"]);
            }
            if let Some(body) = operation.get("requestBody") {
                add(0, &body["content"]);
            }
        }
    }
    examples
}

/// Calls the operation against a server that gives this answer.
async fn call(document: &str, operation: &str, step: Step) -> (String, Request) {
    let server = Server::new([step]).await;
    let mut settings = config(&server);
    settings.backoff.retries_max = 0;
    let text = if document == "identity" {
        let directory = IdentityClient::new(&settings, clock()).unwrap();
        match operation {
            "tenant" => format!("{:?}", directory.tenant(tenant_id()).await),
            "permissions" => {
                let user = ActorName::new("user_17").unwrap();
                format!("{:?}", directory.permissions(tenant_id(), &user).await)
            }
            "verify_token" => {
                let token = AccessToken::new("eyJhbGciOiJFZERTQSJ9.e30.c2ln");
                format!("{:?}", directory.verify_token(&token).await)
            }
            "health" => directory.health().await.code.into(),
            other => panic!("nothing calls `{other}`"),
        }
    } else {
        let gateway = PaymentClient::new(&settings, clock()).unwrap();
        match operation {
            "charge" => format!("{:?}", gateway.charge(&charge()).await),
            "checkout" => match gateway.checkout(&checkout()).await {
                Ok(page) => format!("{} {:?} {:?}", page.url, page.reference, page.expires_at),
                Err(error) => format!("{error:?}"),
            },
            "verify" => format!("{:?}", gateway.verify(&query()).await),
            "refund" => format!("{:?}", gateway.refund(&refund()).await),
            "verify_refund" => format!("{:?}", gateway.verify_refund(&refund()).await),
            "methods" => format!("{:?}", gateway.methods(&customer()).await),
            "validate_method" => {
                let now = at("2026-01-31T10:00:00Z");
                format!("{:?}", gateway.validate_method(&customer(), &method(), now).await)
            }
            "health" => gateway.health().await.code.into(),
            other => panic!("nothing calls `{other}`"),
        }
    };
    let request = server.only();
    (text, request)
}

#[tokio::test]
async fn every_example_of_the_documents_is_decoded_as_it_means() {
    let mut seen = Vec::new();
    for (document, text) in [
        ("identity", billing_client::identity::OPENAPI),
        ("payment", billing_client::payment::OPENAPI),
    ] {
        for example in examples(text) {
            if example.status == 0 {
                let (_, request) = call(document, &example.operation, Step::Json(503, "{}".into())).await;
                assert_eq!(request.json(), example.body, "{}", example.operation);
                continue;
            }
            let kind = if example.status < 300 {
                "json"
            } else {
                "problem+json"
            };
            let headers = format!("content-type: application/{kind}\r\n");
            let step = Step::Answer(example.status, headers, example.body.to_string());
            let (found, _) = call(document, &example.operation, step).await;
            let id = format!("{} {} {}", example.operation, example.status, example.name);
            seen.push((format!("{document} {id}"), found));
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: String = seen
            .iter()
            .map(|(id, found)| format!("    ({id:?}, {found:?}),\n"))
            .collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/contract_meanings.rs");
        std::fs::write(path, format!("&[\n{lines}]\n")).unwrap();
    }
    let named: BTreeSet<_> = seen.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(named.len(), seen.len(), "each example has its own name");
    assert_eq!(named, MEANINGS.iter().map(|(id, _)| *id).collect());
    for (id, found) in &seen {
        let (_, meaning) = MEANINGS.iter().find(|(name, _)| name == id).unwrap();
        assert_eq!(found, meaning, "{id}");
    }
}

/// A few of them in the types that the port gives, so that the table above is not all that vouches for them.
#[tokio::test]
async fn what_a_few_examples_mean() {
    let body = |operation: &str, status, name: &str| {
        let found = examples(billing_client::payment::OPENAPI)
            .into_iter()
            .find(|example| {
                (example.operation.as_str(), example.status, example.name.as_str())
                    == (operation, status, name)
            });
        Step::Json(status, found.unwrap().body.to_string())
    };
    let server = Server::new([
        body("charge", 200, "settled"),
        body("validate_method", 200, "expired"),
        body("charge", 422, "unsupported_currency"),
        body("methods", 200, "some"),
    ])
    .await;
    let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
    let charged = gateway.charge(&charge()).await.unwrap();
    let paid = at("2026-01-31T09:00:00Z");
    let amount = money(5000, "NGN");
    let settlement = Settlement::confirm(&reference(REFERENCE), amount, REFERENCE, amount, "pay_1", paid);
    assert_eq!(
        charged,
        billing_core::gateway::ChargeOutcome::Settled(settlement.unwrap())
    );
    let checked = gateway
        .validate_method(&customer(), &method(), paid)
        .await
        .unwrap();
    assert_eq!(checked, MethodCheck::Expired { expires: (2025, 12) });
    assert_eq!(
        gateway.charge(&charge()).await.unwrap_err(),
        GatewayError::Refused {
            service: "payment",
            code: "unsupported_currency".into()
        }
    );
    let methods = gateway.methods(&customer()).await.unwrap();
    assert_eq!(methods[0].method, method());
    let line = &server.requests()[3].line;
    assert_eq!(
        line,
        "GET /v1/payment-methods?tenant_id=6f2c1d4e-0000-4000-8000-000000000001&email=jane%40example.com HTTP/1.1"
    );
}

/// What a service says of a payment other than the one that was asked for.
#[tokio::test]
async fn another_payment_is_not_taken_for_the_one_that_was_asked() {
    let settled = super::kit::settled();
    for (answer, code) in [
        (settled.replace("5000", "4999"), "amount_mismatch"),
        (settled.replace("5000", "5001"), "amount_mismatch"),
        (settled.replace("NGN", "GHS"), "amount_mismatch"),
        (settled.replace("-1\"", "-2\""), "reference_mismatch"),
    ] {
        assert_ne!(answer, settled);
        let server = Server::new([Step::Json(200, answer)]).await;
        let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
        let Ok(billing_core::gateway::ChargeOutcome::Unknown(reason)) = gateway.charge(&charge()).await
        else {
            panic!("{code}")
        };
        assert_eq!(reason.code(), code);
        let billing_core::gateway::Verification::Found(found) = gateway.verify(&query()).await.unwrap()
        else {
            panic!("{code}")
        };
        assert_eq!(found, billing_core::gateway::ChargeOutcome::Unknown(reason));
    }
    // A refund of another amount, or under another reference.
    let refunded = r#"{"id":"r","reference":"re-00000000-0000-0000-0000-000000000009","amount":{"minor":2000,"currency":"NGN"},"status":"refunded"}"#;
    for answer in [refunded.replace("2000", "200"), refunded.replace("9\"", "8\"")] {
        assert_ne!(answer, refunded);
        let server = Server::new([Step::Json(200, answer)]).await;
        let gateway = PaymentClient::new(&config(&server), clock()).unwrap();
        assert!(matches!(
            gateway.refund(&refund()).await,
            Ok(billing_core::gateway::RefundOutcome::Unknown(_))
        ));
    }
}
