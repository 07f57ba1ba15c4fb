//! What a call through the client takes beside bare reqwest: the same request to the same server on loopback, the same answer
//! decoded, without breaker, retries, bounds and checks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use billing::SystemClock;
use billing::core::gateway::{
    ChargeOutcome, ChargeRequest, MethodToken, PaymentGateway as _, PaymentQuery, StoredMethod, Verification,
};
use billing::core::id::{IdempotencyKey, PaymentReference, TenantId};
use billing::core::money::{Currency, Money};
use billing_benches::measure::{SAMPLES_MIN, Sample, Table, Target, micros, take_turns};
use billing_benches::{measuring, size};
use billing_client::payment::PaymentClient;
use billing_client::{SecretString, ServiceConfig};
use criterion::Criterion;
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// How many times the time of bare reqwest.
const OVERHEAD: Target = Target::AtMost(1.15);

const REFERENCE: &str = "ch-00000000-0000-0000-0000-000000000007-1";
const KEY: &str = "sk_live_bench";

/// What the bare contestant reads of the answer.
#[derive(serde::Deserialize)]
struct Payment {
    reference: String,
    amount: Money,
    status: String,
}

fn main() {
    let samples = if measuring() { 4 * SAMPLES_MIN } else { 1 };
    let calls = size("CLIENT_CALLS", 500, 2);
    let address = serve();
    let runtime = runtime();
    let mut criterion = Criterion::default().configure_from_args();
    let mut table =
        Table::new("Calls to a payment service on loopback, one after the other on a warm connection");

    let mut config =
        ServiceConfig::new(&format!("http://{address}"), SecretString::from(KEY)).expect("loopback");
    config.timeout = Duration::from_secs(10);
    let ours =
        runtime.block_on(async { PaymentClient::new(&config, Arc::new(SystemClock)).expect("a client") });
    let bare = bare();
    let (query, charge) = (query(), charge());
    let url = |path: &str| format!("http://{address}{path}");
    let (verify_url, charge_url) = (url(&format!("/v1/payments/{REFERENCE}")), url("/v1/charges"));

    for (name, is_charge) in [("verify (GET)", false), ("charge (POST)", true)] {
        let run = |contestant: usize, _: usize| {
            let start = Instant::now();
            runtime.block_on(async {
                for _ in 0..calls {
                    match (contestant, is_charge) {
                        (0, false) => {
                            let found = ours.verify(&query).await.expect("an answer");
                            assert!(matches!(found, Verification::Found(ChargeOutcome::Settled(_))));
                        }
                        (0, true) => {
                            let outcome = ours.charge(&charge).await.expect("an answer");
                            assert!(matches!(outcome, ChargeOutcome::Settled(_)));
                        }
                        (_, false) => settled(bare.get(&verify_url)).await,
                        (_, true) => {
                            let body = serde_json::json!({
                                "tenant_id": charge.tenant_id, "reference": charge.reference, "amount": charge.amount,
                                "method": { "token": charge.method.token.expose(), "email": charge.method.email },
                                "description": charge.description,
                            });
                            let request = bare
                                .post(&charge_url)
                                .header("content-type", "application/json")
                                .header("idempotency-key", charge.idempotency_key.as_str())
                                .body(body.to_string());
                            settled(request).await;
                        }
                    }
                }
            });
            Sample {
                elapsed: start.elapsed(),
                elements: u64::try_from(calls).expect("a number"),
            }
        };
        for contestant in 0..2 {
            run(contestant, 0);
        }
        let [ours, bare] = take_turns(&mut criterion, name, ["ours", "bare reqwest"], samples, run);
        table.ratio(
            name,
            micros(&ours),
            micros(&bare),
            ours.slower_than(&bare),
            OVERHEAD,
        );
    }
    criterion.final_summary();
    table.print();
}

async fn settled(request: reqwest::RequestBuilder) {
    let response = request
        .header("authorization", format!("Bearer {KEY}"))
        .timeout(Duration::from_secs(10))
        .send()
        .await
        .expect("an answer");
    assert!(response.status().is_success());
    let payment: Payment =
        serde_json::from_slice(&response.bytes().await.expect("a body")).expect("a payment");
    assert!(payment.status == "settled" && payment.reference == REFERENCE && payment.amount.minor == 5000);
}

fn bare() -> Client {
    // What reqwest would take by itself, there is no provider for; http does without.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = Client::builder().tls_backend_preconfigured(tls).no_proxy();
    builder.tcp_nodelay(true).build().expect("a client")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A server on a thread of its own that answers every request with the same payment.
fn serve() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            sender
                .send(listener.local_addr().expect("bound"))
                .expect("somebody waits");
            // Until the program ends.
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    receiver.recv().expect("a server")
}

async fn answer(mut stream: TcpStream) {
    let body = format!(
        r#"{{"id":"pay_1","reference":"{REFERENCE}","amount":{{"minor":5000,"currency":"NGN"}},"status":"settled","settled_at":"2024-01-31T09:00:00Z"}}"#
    );
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.set_nodelay(true).expect("a socket");
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&chunk[..count]),
        }
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        if request.len() < end + 4 + length {
            continue;
        }
        request.clear();
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn reference() -> PaymentReference {
    PaymentReference::new(REFERENCE).expect("a reference")
}

fn amount() -> Money {
    Money::new(5000, Currency::from_code("NGN").expect("a currency"))
}

fn query() -> PaymentQuery {
    PaymentQuery {
        tenant_id: TenantId::new(Uuid::from_u128(1)),
        reference: reference(),
        amount: amount(),
    }
}

fn charge() -> ChargeRequest {
    ChargeRequest {
        tenant_id: TenantId::new(Uuid::from_u128(1)),
        reference: reference(),
        idempotency_key: IdempotencyKey::new("charge:7:1").expect("a key"),
        amount: amount(),
        method: StoredMethod {
            token: MethodToken::new("tok_4711").expect("a token"),
            email: "jane@example.com".parse().expect("an address"),
            country: None,
        },
        description: "Pro, January".into(),
    }
}
