//! What must never be seen, looked for in everything that a program may print: `Debug`, `Display`, and every log line.

#[path = "../it/kit.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod kit;
#[path = "../it/server.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod server;

use std::io::Write;
use std::sync::{Arc, Mutex};

use billing_client::flutterwave::{self, Flutterwave};
use billing_client::identity::IdentityClient;
use billing_client::payment::PaymentClient;
use billing_client::paystack::{self, Paystack};
use billing_client::{ConfigError, SecretString, ServiceConfig};
use billing_core::gateway::PaymentGateway;
use billing_core::identity::{AccessToken, IdentityDirectory as _};
use tracing_subscriber::fmt::MakeWriter;

use self::kit::{KEY, TOKEN, charge, checkout, clock, config, customer, method, query, refund, tenant_id};
use self::server::{Server, Step};

const ACCESS: &str = "eyJhbGciOiJFZERTQSJ9.never.seen";
const SAID: &str = "what-a-service-said";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[track_caller]
fn clean(what: &str, text: &str) {
    for secret in [KEY, TOKEN, ACCESS, "jane@", "never-to-be-seen", "c2VjcmV0"] {
        assert!(!text.contains(secret), "`{secret}` stands in {what}: {text}");
    }
}

async fn everything(gateway: &dyn PaymentGateway, seen: &mut String) {
    let now = kit::at("2026-01-31T10:00:00Z");
    seen.push_str(&format!("{gateway:?}{gateway:#?}"));
    macro_rules! note {
        ($call:expr) => {{
            let result = $call.await;
            seen.push_str(&format!("{result:?}"));
            if let Err(error) = result {
                seen.push_str(&error.to_string());
            }
        }};
    }
    note!(gateway.charge(&charge()));
    note!(gateway.verify(&query()));
    note!(gateway.refund(&refund()));
    note!(gateway.verify_refund(&refund()));
    note!(gateway.checkout(&checkout()));
    note!(gateway.methods(&customer()));
    note!(gateway.validate_method(&customer(), &method(), now));
    seen.push_str(&format!("{:?}", gateway.health().await));
}

#[tokio::test]
async fn no_secret_is_in_debug_display_or_logs() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let mut seen = format!("{:?}{:?}{:?}{:?}", charge(), checkout(), refund(), method());
    for step in [
        Step::Json(200, kit::settled()),
        Step::Json(200, format!("{{\"status\":\"{SAID}\"}}")),
        Step::Json(500, format!("{SAID} {KEY} {TOKEN}")),
        Step::Json(429, "{}".into()),
        Step::Json(422, format!(r#"{{"code":"{KEY}\u0000 {TOKEN}"}}"#)),
        Step::Json(401, "{}".into()),
        Step::Reset,
        Step::HalfBody,
        Step::Garbage,
        Step::Answer(
            302,
            format!("location: https://evil.example/?k={KEY}\r\n"),
            String::new(),
        ),
    ] {
        let server = Server::new([step]).await;
        let settings = config(&server);
        seen.push_str(&format!("{settings:?}{settings:#?}"));
        everything(&PaymentClient::new(&settings, clock()).unwrap(), &mut seen).await;
        // The providers echo what they were sent only to whom they know, so theirs are asked without the echo.
        let directory = IdentityClient::new(&settings, clock()).unwrap();
        let token = AccessToken::new(ACCESS);
        seen.push_str(&format!("{token:?}{directory:?}"));
        seen.push_str(&format!("{:?}", directory.verify_token(&token).await));
        seen.push_str(&format!("{:?}", directory.tenant(tenant_id()).await));
    }
    for step in [
        Step::Json(500, "{}".into()),
        Step::Json(200, "[]".into()),
        Step::Reset,
    ] {
        let server = Server::new([step]).await;
        everything(&Paystack::new(&config(&server), clock()).unwrap(), &mut seen).await;
        everything(&Flutterwave::new(&config(&server), clock()).unwrap(), &mut seen).await;
    }
    seen.push_str(&format!("{:?}", paystack::Webhooks::new(SecretString::from(KEY))));
    seen.push_str(&format!(
        "{:?}",
        flutterwave::Webhooks::new(SecretString::from(KEY))
    ));
    let refused: [ConfigError; 3] = [
        ServiceConfig::new(&format!("https://me:{KEY}@a.example"), SecretString::from(KEY)).unwrap_err(),
        ServiceConfig::new("http://a.example/?key=never-to-be-seen", SecretString::from(KEY)).unwrap_err(),
        ServiceConfig::new("https://a.example", SecretString::from(format!("{KEY}\n"))).unwrap_err(),
    ];
    for error in refused {
        seen.push_str(&format!("{error} {error:?}"));
    }
    clean("what was printed", &seen);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    clean("the log", &log);
    assert!(!log.contains(SAID), "what a service says is not logged");
    // That nothing is in it must not be because nothing was written.
    for line in [
        "call failed",
        "code=\"server_error\"",
        "operation=\"charge\"",
        "hyper",
    ] {
        assert!(log.contains(line), "`{line}` is not in the log");
    }
}
