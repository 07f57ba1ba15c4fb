//! TLS: a certificate that nobody vouches for, and one that the configuration vouches for.

use std::sync::Arc;

use billing_client::payment::PaymentClient;
use billing_client::{SecretString, ServiceConfig};
use billing_core::gateway::{GatewayError, PaymentGateway as _, Verification};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use super::kit::{KEY, charge, clock, config, query, settled};
use super::server::{Server, Step};

fn acceptor(host: &str) -> (TlsAcceptor, Vec<u8>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([host.to_owned()]).unwrap();
    let der = cert.der().to_vec();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(server)), der)
}

fn https(server: &Server, host: &str) -> ServiceConfig {
    let plain = config(server);
    let url = format!("https://{host}:{}", server.address.port());
    let mut config = ServiceConfig::new(&url, SecretString::from(KEY)).unwrap();
    config.timeout = plain.timeout;
    config.connect_timeout = plain.connect_timeout;
    config.backoff = plain.backoff;
    config
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent() {
    let (tls, _) = acceptor("localhost");
    let server = Server::start([Step::Json(200, settled())], Some(tls)).await;
    let gateway = PaymentClient::new(&https(&server, "localhost"), clock()).unwrap();
    let error = gateway.charge(&charge()).await.unwrap_err();
    assert_eq!(
        error,
        GatewayError::Unreachable {
            service: "payment",
            code: "connect"
        }
    );
    assert!(server.requests().is_empty(), "the key was not sent");
    // Certainly not sent, so it was tried again.
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_certificate_that_the_configuration_vouches_for_is_taken_for_its_host() {
    let (tls, der) = acceptor("localhost");
    let server = Server::start([Step::Json(200, settled())], Some(tls)).await;
    let trusting = https(&server, "localhost").trust(der.clone());
    let gateway = PaymentClient::new(&trusting, clock()).unwrap();
    let found = gateway.verify(&query()).await.unwrap();
    assert!(matches!(found, Verification::Found(_)));
    assert_eq!(server.requests().len(), 1);

    // For another host it is none.
    let other = https(&server, "127.0.0.1").trust(der);
    let gateway = PaymentClient::new(&other, clock()).unwrap();
    assert!(gateway.verify(&query()).await.is_err());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_refused() {
    let server = Server::new([Step::Json(200, settled())]).await;
    let mut settings = https(&server, "localhost");
    // The server waits for a request in plain text, and would wait for ever.
    settings.connect_timeout = std::time::Duration::from_millis(500);
    settings.backoff.retries_max = 0;
    let gateway = PaymentClient::new(&settings, clock()).unwrap();
    assert!(matches!(
        gateway.charge(&charge()).await,
        Err(GatewayError::Unreachable { .. })
    ));
    assert!(server.requests().is_empty());
}

#[test]
fn what_is_no_certificate_is_told() {
    let config = ServiceConfig::new("https://payment.example.com", SecretString::from(KEY)).unwrap();
    let refused = PaymentClient::new(&config.trust(b"no".to_vec()), clock()).unwrap_err();
    assert!(
        refused.to_string().starts_with("TLS cannot be set up: "),
        "{refused}"
    );
}
