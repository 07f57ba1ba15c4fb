//! One attempt of one call, over a pool of connections.

use std::sync::Arc;
use std::time::Duration;

use billing_core::id::IdempotencyKey;
use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, Url};

use crate::config::{ConfigError, ServiceConfig};
use crate::fault::Fault;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What a call does to the other side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    /// It asks. It may be repeated whatever became of it.
    Asks,
    /// It changes something there. It is repeated only when it was certainly not carried out.
    Changes,
}

/// What to send. Without `Debug`: a body or a path may hold what no log may show.
pub(crate) struct Call<'a> {
    /// For logs.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// After those of the base URL; each is escaped.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) idempotency_key: Option<&'a IdempotencyKey>,
    pub(crate) effect: Effect,
}

impl<'a> Call<'a> {
    /// A question.
    pub(crate) const fn get(operation: &'static str, path: &'a [&'a str]) -> Self {
        Self {
            operation,
            method: Method::GET,
            path,
            query: &[],
            body: None,
            idempotency_key: None,
            effect: Effect::Asks,
        }
    }

    /// Something that changes the other side, at most once under its key.
    pub(crate) const fn post(
        operation: &'static str,
        path: &'a [&'a str],
        key: &'a IdempotencyKey,
        body: Vec<u8>,
    ) -> Self {
        Self {
            operation,
            method: Method::POST,
            path,
            query: &[],
            body: Some(body),
            idempotency_key: Some(key),
            effect: Effect::Changes,
        }
    }
}

/// An answer of the service itself: 2xx, or 4xx but 408 and 429.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The body as a `T`.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|_| Fault::Unreadable { code: "unreadable" })
    }
}

pub(crate) struct Transport {
    client: Client,
    base: Url,
    timeout: Duration,
    response_bytes_max: usize,
}

impl Transport {
    pub(crate) fn new(config: &ServiceConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, config.authorization()?);
        headers.insert(ACCEPT, JSON);
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("billing-client/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(config)?)
            // The key would go wherever the answer points.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.idle_connections_max)
            .tcp_nodelay(true);
        if config.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ConfigError::Tls {
            detail: error.without_url().to_string(),
        })?;
        Ok(Self {
            client,
            base: config.base_url().clone(),
            timeout: config.timeout,
            response_bytes_max: config.response_bytes_max,
        })
    }

    /// Sends once. `now` is for a `Retry-After` that names a date.
    pub(crate) async fn attempt(&self, call: &Call<'_>, now: DateTime<Utc>) -> Result<Reply, Fault> {
        let response = self.client.execute(self.request(call)?).await.map_err(fault)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now);
        match status {
            200..=299 if !is_json(response.headers()) => Err(Fault::Unreadable { code: "content_type" }),
            200..=299 | 400..=407 | 409..=428 | 430..=499 => {
                let body = self.body(response).await?;
                Ok(Reply { status, body })
            }
            429 => Err(Fault::TooManyCalls { retry_after }),
            // Redirects are not followed, and nobody else may answer.
            300..=399 => Err(Fault::Unreadable { code: "redirect" }),
            // 408 among them: the other side gave up, and does not say how far it came.
            _ => Err(Fault::ServerError { status, retry_after }),
        }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request, Fault> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Fault::NotSent { code: "request" })?
            .pop_if_empty()
            .extend(call.path);
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = Request::new(call.method.clone(), url);
        *request.timeout_mut() = Some(self.timeout);
        if let Some(body) = &call.body {
            request.headers_mut().insert(CONTENT_TYPE, JSON);
            *request.body_mut() = Some(body.clone().into());
        }
        if let Some(key) = call.idempotency_key {
            let key = HeaderValue::from_str(key.as_str()).map_err(|_| Fault::NotSent { code: "request" })?;
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        Ok(request)
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Fault> {
        let too_large = Fault::Unreadable { code: "too_large" };
        let announced = response.content_length().unwrap_or_default();
        if usize::try_from(announced).is_ok_and(|length| length > self.response_bytes_max) {
            return Err(too_large);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            if body.len().saturating_add(chunk.len()) > self.response_bytes_max {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Trusts what the operating system trusts, and what the configuration adds.
fn tls(config: &ServiceConfig) -> Result<rustls::ClientConfig, ConfigError> {
    let refused = |error: rustls::Error| ConfigError::Tls {
        detail: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = config.roots().iter().cloned();
    let verifier = if config.is_loopback() && config.roots().is_empty() {
        // On a machine without any certificates http to loopback must work all the same; https has nothing to trust then.
        rustls_platform_verifier::Verifier::new(Arc::clone(&provider)).ok()
    } else {
        Some(
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
                .map_err(refused)?,
        )
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    Ok(match verifier {
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        None => builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let kind = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Seconds, or an HTTP date (RFC 9110, section 10.2.3). A date that is over asks for nothing.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(value).ok()?.to_utc();
    Some(date.signed_duration_since(now).to_std().unwrap_or_default())
}

/// What the library's error means for what was sent.
///
/// An error while connecting, the TLS handshake among it, comes before the first byte of a request. Of any other it is not known
/// how far the request came.
fn fault(error: reqwest::Error) -> Fault {
    if error.is_connect() {
        let code = if error.is_timeout() {
            "connect_timeout"
        } else {
            "connect"
        };
        Fault::NotSent { code }
    } else if error.is_builder() {
        Fault::NotSent { code: "request" }
    } else if error.is_timeout() {
        Fault::Timeout
    } else {
        Fault::ConnectionLost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn json_is_told_by_its_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("text/json+json", false),
        ] {
            assert_eq!(is_json(&headers(CONTENT_TYPE, value)), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:30Z")
            .unwrap()
            .to_utc();
        for (value, expected) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let found = retry_after(&headers(RETRY_AFTER, value), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{value}");
        }
    }
}
