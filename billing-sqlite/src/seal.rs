//! Sealing what must not lie in a file as it is: AES-256-GCM under a key ring.

use std::collections::BTreeMap;
use std::fmt;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};

/// The keys that open what is sealed, and the one that seals.
///
/// Keys rotate: a new one seals from now on, the old ones still open, and [`rotate`](crate::SqliteVault::rotate) seals anew
/// what they had sealed; then they can go. `Debug` shows the ids of the keys and nothing of the keys.
///
/// A key seals some four thousand million records safely: each takes a nonce of 96 random bits.
#[derive(Clone)]
pub struct KeyRing {
    active: String,
    keys: BTreeMap<String, Aes256Gcm>,
}

impl KeyRing {
    /// A ring with one key, which seals and opens. Its id stands beside each record and is no secret.
    #[must_use]
    pub fn new(id: &str, key: &[u8; 32]) -> Self {
        Self {
            active: id.into(),
            keys: [(id.into(), Aes256Gcm::new(key.into()))].into(),
        }
    }

    /// The same with another key that opens what it sealed before. The key that seals stays what it is, also under the same id.
    #[must_use]
    pub fn with_older(mut self, id: &str, key: &[u8; 32]) -> Self {
        let cipher = || Aes256Gcm::new(key.into());
        self.keys.entry(id.into()).or_insert_with(cipher);
        self
    }

    /// The id of the key that seals.
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Seals `plain` for one record, whose identity is `of`.
    pub(crate) fn seal(&self, of: &[u8], plain: &[u8]) -> Result<Sealed, SealError> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|error| SealError::NoRandomness(error.to_string()))?;
        let key = self.key(&self.active)?;
        let aad = associated(of, &self.active);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let sealed = key.encrypt(&Nonce::from(nonce), payload);
        Ok(Sealed {
            key_id: self.active.clone(),
            nonce,
            sealed: sealed.map_err(|_| SealError::TooLarge)?,
        })
    }

    /// Opens what was sealed for the record whose identity is `of`.
    pub(crate) fn open(&self, of: &[u8], sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        let aad = associated(of, &sealed.key_id);
        let payload = Payload {
            msg: &sealed.sealed,
            aad: &aad,
        };
        let opened = self
            .key(&sealed.key_id)?
            .decrypt(&Nonce::from(sealed.nonce), payload);
        opened.map_err(|_| SealError::Changed)
    }

    fn key(&self, id: &str) -> Result<&Aes256Gcm, SealError> {
        self.keys.get(id).ok_or_else(|| SealError::UnknownKey {
            id: id.into(),
            known: self.keys.keys().cloned().collect(),
        })
    }
}

/// What is bound to a sealed text without being in it: whose record it is, and the key.
fn associated(of: &[u8], key_id: &str) -> Vec<u8> {
    [of, b"\0", key_id.as_bytes()].concat()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("active", &self.active)
            .field("keys", &self.keys.keys())
            .finish()
    }
}

/// A sealed text with what is needed, beside a key, to open it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sealed {
    pub(crate) key_id: String,
    pub(crate) nonce: [u8; 12],
    pub(crate) sealed: Vec<u8>,
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SealError {
    UnknownKey { id: String, known: Vec<String> },
    Changed,
    TooLarge,
    NoRandomness(String),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { id, known } => write!(
                f,
                "sealed with key `{id}`, expected one of the key ring: {}",
                known.join(", ")
            ),
            Self::Changed => {
                f.write_str("it was changed, belongs to another record, or its key is another one")
            }
            Self::TooLarge => f.write_str("it is too large to be sealed"),
            Self::NoRandomness(error) => write!(f, "the system gives no random numbers: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn what_is_sealed_is_opened_for_its_record_alone() {
        let ring = KeyRing::new("2026", &KEY);
        let sealed = ring.seal(b"one", b"AUTH_secret").unwrap();
        assert_eq!(ring.open(b"one", &sealed).unwrap(), b"AUTH_secret");
        assert_eq!(ring.open(b"two", &sealed), Err(SealError::Changed));
        assert!(!sealed.sealed.windows(4).any(|part| part == b"AUTH"));
        for index in 0..sealed.sealed.len() {
            let mut changed = sealed.clone();
            changed.sealed[index] ^= 1;
            assert_eq!(
                ring.open(b"one", &changed),
                Err(SealError::Changed),
                "byte {index}"
            );
        }
        let mut changed = sealed.clone();
        changed.nonce[0] ^= 1;
        assert_eq!(ring.open(b"one", &changed), Err(SealError::Changed));
        // The same text twice does not look the same.
        assert_ne!(ring.seal(b"one", b"AUTH_secret").unwrap().sealed, sealed.sealed);
    }

    #[test]
    fn old_keys_open_and_the_active_one_seals() {
        let old = KeyRing::new("2025", &[5; 32]).seal(b"one", b"text").unwrap();
        let ring = KeyRing::new("2026", &KEY).with_older("2025", &[5; 32]);
        assert_eq!(ring.open(b"one", &old).unwrap(), b"text");
        assert_eq!(ring.seal(b"one", b"text").unwrap().key_id, "2026");
        let without = KeyRing::new("2026", &KEY).open(b"one", &old).unwrap_err();
        assert_eq!(
            without.to_string(),
            "sealed with key `2025`, expected one of the key ring: 2026"
        );
        // A record cannot be said to be of another key.
        let relabeled = Sealed {
            key_id: "2026".into(),
            ..KeyRing::new("2025", &KEY).seal(b"one", b"text").unwrap()
        };
        assert_eq!(ring.open(b"one", &relabeled), Err(SealError::Changed));
        assert_eq!(
            ring.with_older("2026", &[9; 32]).open(b"one", &old).unwrap(),
            b"text"
        );
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let ring = KeyRing::new("2026", &[0xab; 32]).with_older("2025", &[0xcd; 32]);
        let shown = format!("{ring:?} {ring:#?}");
        assert!(shown.contains("2026") && shown.contains("2025"));
        assert!(!shown.contains("171") && !shown.contains("205") && !shown.to_lowercase().contains("ab, "));
    }
}
