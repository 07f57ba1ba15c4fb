//! Where a service is and how it is called.

use std::time::Duration;

use billing_core::resilience::BreakerPolicy;
use billing_core::validate::Faults;
use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret as _, SecretString};

use crate::Backoff;

/// Where a service is, how it knows us, and how patient we are with it.
///
/// The defaults suit a service that a person waits for: 10 s for a call of which 3 s are for the connection, answers of up to a
/// megabyte, eight idle connections.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    base_url: Url,
    key: SecretString,
    roots: Vec<CertificateDer<'static>>,
    /// How long one attempt may take, from connecting to the last byte of the answer. A call with retries may take as much for
    /// each, and the waits between.
    pub timeout: Duration,
    /// How long connecting may take. Shorter than `timeout`, since only what failed to connect is certainly not sent.
    pub connect_timeout: Duration,
    /// How often a call is repeated.
    pub backoff: Backoff,
    /// When the service is left alone.
    pub breaker: BreakerPolicy,
    /// The longest answer that is read, in bytes. The services answer in a few kilobytes.
    pub response_bytes_max: usize,
    /// How many connections are kept open while nothing is sent.
    pub idle_connections_max: usize,
}

impl ServiceConfig {
    /// A service at `base_url`, such as `https://payment.example.com/api`, that knows us by `key`.
    ///
    /// `https` is required, since the key travels with each call; `http` is taken for `localhost` and loopback addresses only.
    ///
    /// # Errors
    ///
    /// In order: [`ConfigError::Url`], [`ConfigError::NotEncrypted`], [`ConfigError::Key`].
    ///
    /// ```
    /// use billing_client::{SecretString, ServiceConfig};
    ///
    /// let key = || SecretString::from("sk_live_4711");
    /// assert!(ServiceConfig::new("https://payment.example.com", key()).is_ok());
    /// assert!(ServiceConfig::new("http://127.0.0.1:8080", key()).is_ok());
    /// let refused = ServiceConfig::new("http://payment.example.com", key()).unwrap_err();
    /// assert_eq!(
    ///     refused.to_string(),
    ///     "`http://payment.example.com` is not encrypted, expected https, or a loopback host"
    /// );
    /// ```
    pub fn new(base_url: &str, key: SecretString) -> Result<Self, ConfigError> {
        let refused = |expected| ConfigError::Url { expected };
        let base_url: Url = base_url
            .parse()
            .map_err(|_| refused("a URL such as `https://payment.example.com`"))?;
        if !base_url.username().is_empty() || base_url.password().is_some() {
            return Err(refused("no credentials in the URL, where logs would show them"));
        }
        if base_url.query().is_some() || base_url.fragment().is_some() {
            return Err(refused("no query and no fragment"));
        }
        let Some(host) = base_url.host_str().filter(|_| !base_url.cannot_be_a_base()) else {
            return Err(refused("a URL with a host"));
        };
        match base_url.scheme() {
            "https" => {}
            "http" if is_loopback(host) => {}
            scheme => {
                return Err(ConfigError::NotEncrypted {
                    url: format!("{scheme}://{host}"),
                });
            }
        }
        if key.expose_secret().is_empty() || bearer(&key).is_none() {
            return Err(ConfigError::Key);
        }
        Ok(Self {
            base_url,
            key,
            roots: Vec::new(),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            backoff: Backoff::default(),
            breaker: BreakerPolicy::PAYMENT,
            response_bytes_max: 1 << 20,
            idle_connections_max: 8,
        })
    }

    /// The same from variables, such as those of the environment: `url` names the one with the URL, `key` that with the key.
    pub(crate) fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
        url: (&'static str, Option<&str>),
        key: &'static str,
    ) -> Result<Self, ConfigError> {
        let (url_name, default) = url;
        let base_url = variable(url_name)
            .or_else(|| default.map(String::from))
            .ok_or(ConfigError::Missing { variable: url_name })?;
        let secret = variable(key).ok_or(ConfigError::Missing { variable: key })?;
        Self::new(&base_url, SecretString::from(secret))
    }

    /// Trusts a certificate authority beside those that the operating system trusts, for a service inside.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Tls`] when it is no certificate; told when the client is made.
    #[must_use]
    pub fn trust(mut self, certificate_der: Vec<u8>) -> Self {
        self.roots.push(certificate_der.into());
        self
    }

    pub(crate) const fn base_url(&self) -> &Url {
        &self.base_url
    }

    pub(crate) fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Marked as sensitive, so that no layer below shows it.
    pub(crate) fn authorization(&self) -> Result<HeaderValue, ConfigError> {
        bearer(&self.key).ok_or(ConfigError::Key)
    }

    /// Whether the base is on this machine, where no proxy has a part in it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.base_url.host_str().is_some_and(is_loopback)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        if let Err(breaker) = self.breaker.validate() {
            faults.at("breaker", breaker);
        }
        if self.connect_timeout >= self.timeout {
            faults.push("connect_timeout", "out_of_range", "expected less than `timeout`");
        }
        if self.connect_timeout.is_zero() {
            faults.push("connect_timeout", "out_of_range", "expected more than zero");
        }
        if self.response_bytes_max == 0 {
            faults.push("response_bytes_max", "out_of_range", "expected more than zero");
        }
        faults
            .into_result()
            .map_err(|faults| ConfigError::Settings { faults })
    }
}

fn bearer(key: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Why a client could not be made. Never holds the key, nor a URL that may hold one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable is not set.
    #[error("variable {variable} is not set")]
    Missing {
        /// Its name.
        variable: &'static str,
    },
    /// It is no URL of a service.
    #[error("the URL of a service cannot be used: expected {expected}")]
    Url {
        /// What it must be.
        expected: &'static str,
    },
    /// The key would travel for everybody to read.
    #[error("`{url}` is not encrypted, expected https, or a loopback host")]
    NotEncrypted {
        /// Scheme and host.
        url: String,
    },
    /// The key is empty, or has characters that no header takes.
    #[error("the key of a service cannot be used: expected visible ASCII characters")]
    Key,
    /// Settings out of bounds.
    #[error("the settings of a service cannot be used: {faults}")]
    Settings {
        /// Which, and why.
        faults: Faults,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {detail}")]
    Tls {
        /// What the library said.
        detail: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(), &str>) {
        let made = ServiceConfig::new(url, SecretString::from("sk"));
        assert_eq!(
            made.map(drop).map_err(|error| error.to_string()),
            expected.map_err(Into::into)
        );
    }

    #[test]
    fn a_key_travels_encrypted_or_not_at_all() {
        for url in [
            "https://a.example/v3",
            "http://localhost:1",
            "http://127.8.9.1:1",
            "http://[::1]:1",
        ] {
            check(url, Ok(()));
        }
        check(
            "http://localhost.example.com",
            Err("`http://localhost.example.com` is not encrypted, expected https, or a loopback host"),
        );
        check(
            "http://10.0.0.1",
            Err("`http://10.0.0.1` is not encrypted, expected https, or a loopback host"),
        );
        let no_url = "the URL of a service cannot be used: expected";
        check(
            "payment",
            Err(&format!("{no_url} a URL such as `https://payment.example.com`")),
        );
        check(
            "https://me:secret@a.example",
            Err(&format!(
                "{no_url} no credentials in the URL, where logs would show them"
            )),
        );
        check(
            "https://a.example/?a=1",
            Err(&format!("{no_url} no query and no fragment")),
        );
        check("mailto:a@b.example", Err(&format!("{no_url} a URL with a host")));
    }

    #[test]
    fn a_key_is_one_line_and_not_shown() {
        for key in ["", "sk\nX-Evil: 1"] {
            let refused = ServiceConfig::new("https://a.example", SecretString::from(key));
            assert_eq!(refused.unwrap_err(), ConfigError::Key);
        }
        let config = ServiceConfig::new("https://a.example", SecretString::from("sk_live_9")).unwrap();
        assert!(!format!("{config:?} {:?}", config.authorization()).contains("sk_live_9"));
    }

    #[test]
    fn what_is_missing_or_out_of_bounds_is_named() {
        let url = ("PAYMENT_MICROSERVICE_URL", None);
        let missing = ServiceConfig::from_variables(|_| None, url, "PAYMENT_MICROSERVICE_KEY");
        assert_eq!(
            missing.unwrap_err().to_string(),
            "variable PAYMENT_MICROSERVICE_URL is not set"
        );
        let some = |name: &str| (name == "PAYMENT_MICROSERVICE_URL").then(|| "https://a.example".into());
        let missing = ServiceConfig::from_variables(some, url, "PAYMENT_MICROSERVICE_KEY");
        assert_eq!(
            missing.unwrap_err().to_string(),
            "variable PAYMENT_MICROSERVICE_KEY is not set"
        );
        let mut config = ServiceConfig::new("https://a.example", SecretString::from("sk")).unwrap();
        config.connect_timeout = config.timeout;
        config.breaker.failures_max = 0;
        config.response_bytes_max = 0;
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "the settings of a service cannot be used: breaker.failures_max: expected 1 to 1000, got 0; \
             connect_timeout: expected less than `timeout`; response_bytes_max: expected more than zero"
        );
    }
}
