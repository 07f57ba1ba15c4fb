//! The audit trail: one hash chain per subscription.
//!
//! Every change writes an entry. The hash of an entry covers the entry and the hash before it, so an edit, a
//! deletion or a reordering is found by [`verify`]. The subscription keeps the head of its chain, so that cutting
//! off the newest entries is found too.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::IpAddr;

use chrono::{DateTime, Datelike as _, SecondsFormat, Timelike as _, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::id::{ActorName, SubscriptionId};
use crate::money::Money;

/// Who made a change.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        tag = "kind",
        content = "name",
        rename_all = "snake_case",
        deny_unknown_fields
    )
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when a kind is added"
)]
pub enum Actor {
    /// The engine itself: a sweep, a scheduled step.
    System,
    /// A person of the tenant.
    User(ActorName),
    /// A person of the product's own staff.
    Operator(ActorName),
    /// Another program, such as a payment provider's webhook.
    Service(ActorName),
}

/// What happened, in the past tense. The code is part of the hash and never changes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[expect(
    clippy::exhaustive_enums,
    reason = "an adapter must fail to compile when an action is added"
)]
pub enum AuditAction {
    /// A subscription was created.
    Created,
    /// A trial was over and the first period began.
    TrialConverted,
    /// A period was over and the next one began, paid or collecting.
    Renewed,
    /// A subscription lost its paid time.
    Expired,
    /// A cancellation was scheduled for the end of the period.
    CancelScheduled,
    /// A scheduled cancellation was taken back.
    CancelUndone,
    /// A subscription ended for good.
    Canceled,
    /// A subscription was suspended.
    Suspended,
    /// A suspended subscription was put back.
    Reactivated,
    /// A pause was scheduled for the end of the period.
    PauseScheduled,
    /// Billing and access stopped at the customer's request.
    Paused,
    /// A pause was over.
    Resumed,
    /// A plan change was scheduled for the end of the period.
    PlanChangeScheduled,
    /// Another plan is in force.
    PlanChanged,
    /// A change of the quantity was scheduled for the end of the period.
    QuantityChangeScheduled,
    /// Another quantity is in force.
    QuantityChanged,
    /// An add-on is held, in another quantity, or no more, when the period is over.
    AddOnChangeScheduled,
    /// An add-on is held, in another quantity, or no more.
    AddOnChanged,
    /// An add-on was bought.
    AddOnBought,
    /// A scheduled change of plan or quantity, or a scheduled pause, was taken back.
    PendingChangeDropped,
    /// The payment method was set or removed.
    PaymentMethodSet,
    /// Automatic renewal was switched on or off.
    AutoRenewSet,
    /// A payment of the open invoice was asked for once more.
    PaymentRetried,
    /// A payment settled.
    PaymentSettled,
    /// A payment failed.
    PaymentFailed,
    /// The runaway guard stopped billing until a human looks.
    Parked,
    /// A human released a parked subscription.
    Unparked,
    /// A coupon was redeemed.
    CouponRedeemed,
    /// Prepaid credit was granted.
    CreditGranted,
    /// What was left of a grant of prepaid credit was taken back.
    CreditVoided,
    /// A credit note was issued.
    CreditNoteIssued,
}

impl AuditAction {
    /// The stable code, as in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::TrialConverted => "trial_converted",
            Self::Renewed => "renewed",
            Self::Expired => "expired",
            Self::CancelScheduled => "cancel_scheduled",
            Self::CancelUndone => "cancel_undone",
            Self::Canceled => "canceled",
            Self::Suspended => "suspended",
            Self::Reactivated => "reactivated",
            Self::PauseScheduled => "pause_scheduled",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::PlanChangeScheduled => "plan_change_scheduled",
            Self::PlanChanged => "plan_changed",
            Self::QuantityChangeScheduled => "quantity_change_scheduled",
            Self::QuantityChanged => "quantity_changed",
            Self::AddOnChangeScheduled => "add_on_change_scheduled",
            Self::AddOnChanged => "add_on_changed",
            Self::AddOnBought => "add_on_bought",
            Self::PendingChangeDropped => "pending_change_dropped",
            Self::PaymentMethodSet => "payment_method_set",
            Self::AutoRenewSet => "auto_renew_set",
            Self::PaymentRetried => "payment_retried",
            Self::PaymentSettled => "payment_settled",
            Self::PaymentFailed => "payment_failed",
            Self::Parked => "parked",
            Self::Unparked => "unparked",
            Self::CouponRedeemed => "coupon_redeemed",
            Self::CreditGranted => "credit_granted",
            Self::CreditVoided => "credit_voided",
            Self::CreditNoteIssued => "credit_note_issued",
        }
    }
}

/// A SHA-256 hash; 64 hexadecimal digits in text and JSON.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "String", into = "String")
)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected 64 lower-case hexadecimal digits")]
#[non_exhaustive]
pub struct NotADigest;

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        fn nibble(digit: u8) -> Result<u8, NotADigest> {
            match digit {
                b'0'..=b'9' => Ok(digit.wrapping_sub(b'0')),
                b'a'..=b'f' => Ok(digit.wrapping_sub(b'a').wrapping_add(10)),
                0..=b'/' | b':'..=b'`' | b'g'..=u8::MAX => Err(NotADigest),
            }
        }
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(NotADigest);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
            if let [high, low] = pair {
                *byte = (nibble(*high)? << 4) | nibble(*low)?;
            }
        }
        Ok(Self(hash))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        alloc::format!("{digest}")
    }
}

/// Where a chain stands: how many entries it had and the hash of the last. All zero before the first.
///
/// After a clean-up the same two values of the last removed entry are the checkpoint that the rest verifies against.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct ChainHead {
    /// The sequence of the last entry; entries are counted from 1.
    pub sequence: u64,
    /// Its hash.
    pub hash: Digest,
}

/// One change of one subscription.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct AuditEntry {
    /// Whose chain.
    pub subscription_id: SubscriptionId,
    /// The place in the chain, from 1, without a gap.
    pub sequence: u64,
    /// When the change was decided.
    pub at: DateTime<Utc>,
    /// Who made it.
    pub actor: Actor,
    /// From which address, if the host knows it.
    pub ip: Option<IpAddr>,
    /// What happened.
    pub action: AuditAction,
    /// The particulars, a JSON object as text: the hash is over these very bytes, whatever a serializer would make
    /// of them later.
    pub details: String,
    /// The hash over all of the above and the hash before.
    pub hash: Digest,
}

impl AuditEntry {
    /// Seals the next entry of the chain that ends at `head`, and moves `head` onto it.
    ///
    /// `at` is cut to whole microseconds: what every store keeps, so that the hash is over what will be read back.
    pub fn seal(
        head: &mut ChainHead,
        subscription_id: SubscriptionId,
        at: DateTime<Utc>,
        by: (&Actor, Option<IpAddr>),
        action: AuditAction,
        details: String,
    ) -> Self {
        let mut entry = Self {
            subscription_id,
            sequence: head.sequence.saturating_add(1),
            at: DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at),
            actor: by.0.clone(),
            ip: by.1,
            action,
            details,
            hash: Digest::default(),
        };
        entry.hash = entry.expected_hash(head.hash);
        *head = ChainHead {
            sequence: entry.sequence,
            hash: entry.hash,
        };
        entry
    }

    /// What the hash must be when the entry before has `previous`.
    ///
    /// Over the parts of fixed length, then over the others, each preceded by its length in eight bytes, so that no two
    /// entries have the same bytes. Numbers are big-endian. One buffer and one pass: hashing is half of a small decision.
    fn expected_hash(&self, previous: Digest) -> Digest {
        const FIXED: usize = 256;
        let mut bytes = Vec::with_capacity(FIXED.saturating_add(self.details.len()));
        bytes.extend_from_slice(b"billing audit 1");
        bytes.extend_from_slice(&previous.0);
        bytes.extend_from_slice(self.subscription_id.uuid().as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.at.timestamp().to_be_bytes());
        bytes.extend_from_slice(&self.at.timestamp_subsec_nanos().to_be_bytes());
        let mut put = |part: &[u8]| {
            bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        };
        let (kind, name) = match &self.actor {
            Actor::System => ("system", ""),
            Actor::User(name) => ("user", name.as_str()),
            Actor::Operator(name) => ("operator", name.as_str()),
            Actor::Service(name) => ("service", name.as_str()),
        };
        put(kind.as_bytes());
        put(name.as_bytes());
        match self.ip {
            None => put(&[]),
            Some(IpAddr::V4(ip)) => put(&ip.octets()),
            Some(IpAddr::V6(ip)) => put(&ip.octets()),
        }
        put(self.action.code().as_bytes());
        put(self.details.as_bytes());
        Digest::of(&bytes)
    }
}

/// What is wrong with a chain: the first fault from its start.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// An entry is of another subscription.
    #[error("audit entry {sequence} belongs to subscription `{found}`, expected `{expected}`")]
    Foreign {
        /// The place.
        sequence: u64,
        /// Whose chain is verified.
        expected: SubscriptionId,
        /// Whose entry stands there.
        found: SubscriptionId,
    },
    /// An entry is missing, doubled or out of order.
    #[error("audit entry {expected} is missing, found entry {found} in its place")]
    Gap {
        /// The sequence that must stand here.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// An entry was edited, or does not follow the one before.
    #[error("audit entry {sequence} does not match its hash")]
    Altered {
        /// Which.
        sequence: u64,
    },
    /// The chain does not end where the subscription says that it ends.
    #[error("audit chain ends at entry {found}, expected entry {expected}")]
    Truncated {
        /// The sequence that the subscription knows as its last.
        expected: u64,
        /// The last one found.
        found: u64,
    },
}

/// Checks that `entries`, in order, lead from `start` to `head` without an edit, a gap or a swap.
///
/// `start` is [`ChainHead::default`] for a whole chain, or the checkpoint that a clean-up left. `head` is what the
/// subscription holds.
///
/// # Errors
///
/// The first [`ChainFault`] from the start; [`ChainFault::Truncated`] only when every entry present is sound.
pub fn verify<'a>(
    subscription_id: SubscriptionId,
    start: ChainHead,
    entries: impl IntoIterator<Item = &'a AuditEntry>,
    head: ChainHead,
) -> Result<(), ChainFault> {
    let mut at = start;
    for entry in entries {
        let sequence = at.sequence.saturating_add(1);
        if entry.sequence != sequence {
            return Err(ChainFault::Gap {
                expected: sequence,
                found: entry.sequence,
            });
        }
        if entry.subscription_id != subscription_id {
            return Err(ChainFault::Foreign {
                sequence,
                expected: subscription_id,
                found: entry.subscription_id,
            });
        }
        if entry.hash != entry.expected_hash(at.hash) {
            return Err(ChainFault::Altered { sequence });
        }
        at = ChainHead {
            sequence,
            hash: entry.hash,
        };
    }
    if at.sequence != head.sequence {
        return Err(ChainFault::Truncated {
            expected: head.sequence,
            found: at.sequence,
        });
    }
    if at.hash != head.hash {
        return Err(ChainFault::Altered {
            sequence: at.sequence,
        });
    }
    Ok(())
}

/// Writes the details of an entry: one flat JSON object.
///
/// Core writes this JSON itself, in the order of the calls: the hash is over the bytes, so they must not depend on
/// the version of a serializer.
#[derive(Debug)]
pub(crate) struct Details {
    json: String,
}

impl Details {
    pub(crate) fn new() -> Self {
        let mut json = String::with_capacity(160);
        json.push('{');
        Self { json }
    }

    /// `key` needs no escape.
    fn key(&mut self, key: &'static str) {
        self.json.push_str(if self.json.len() > 1 { ",\"" } else { "\"" });
        self.json.push_str(key);
        self.json.push_str("\":");
    }

    fn quoted(&mut self, text: &str) {
        self.json.push('"');
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(plain) {
            self.json.push_str(text);
            self.json.push('"');
            return;
        }
        for c in text.chars() {
            match c {
                '"' => self.json.push_str("\\\""),
                '\\' => self.json.push_str("\\\\"),
                c if c < ' ' => {
                    let _ = write!(self.json, "\\u{:04x}", u32::from(c));
                }
                c => self.json.push(c),
            }
        }
        self.json.push('"');
    }

    pub(crate) fn text(mut self, key: &'static str, value: &str) -> Self {
        self.key(key);
        self.quoted(value);
        self
    }

    /// For a text that needs no escape: codes.
    pub(crate) fn plain(mut self, key: &'static str, text: &str) -> Self {
        self.key(key);
        self.json.push('"');
        self.json.push_str(text);
        self.json.push('"');
        self
    }

    pub(crate) fn id(self, key: &'static str, id: Uuid) -> Self {
        self.plain(key, id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub(crate) fn number(mut self, key: &'static str, value: impl Into<i64>) -> Self {
        self.key(key);
        self.json.push_str(itoa::Buffer::new().format(value.into()));
        self
    }

    pub(crate) fn flag(mut self, key: &'static str, value: bool) -> Self {
        self.key(key);
        self.json.push_str(if value { "true" } else { "false" });
        self
    }

    pub(crate) fn time(self, key: &'static str, value: DateTime<Utc>) -> Self {
        // Whole seconds of four-digit years are nearly all there are, and chrono takes a quarter of a microsecond.
        match rfc3339(value).as_ref().and_then(|text| str::from_utf8(text).ok()) {
            Some(text) => self.plain(key, text),
            None => self.plain(key, &value.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }

    pub(crate) fn money(self, key: &'static str, value: Money) -> Self {
        let mut text = String::with_capacity(32);
        let _ = write!(text, "{value}");
        self.plain(key, &text)
    }

    pub(crate) fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }
}

/// `value` as RFC 3339 writes it, if that takes neither a fraction of a second nor more than four digits of a year.
fn rfc3339(value: DateTime<Utc>) -> Option<[u8; 20]> {
    let value = value.naive_utc();
    if value.nanosecond() != 0 {
        return None;
    }
    let year = u32::try_from(value.year()).ok().filter(|year| *year <= 9999)?;
    let (century, of_century) = (year.checked_div(100)?, year.checked_rem(100)?);
    let mut text = *b"0000-00-00T00:00:00Z";
    for (place, number) in [
        (0, century),
        (2, of_century),
        (5, value.month()),
        (8, value.day()),
        (11, value.hour()),
        (14, value.minute()),
        (17, value.second()),
    ] {
        let number = u8::try_from(number).ok()?;
        let digits = [number.checked_div(10)?, number.checked_rem(10)?];
        for (digit, value) in text.iter_mut().skip(place).zip(digits) {
            *digit = digit.checked_add(value)?;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;
    use std::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    const ID: SubscriptionId = SubscriptionId::new(Uuid::from_u128(1));
    const OTHER: SubscriptionId = SubscriptionId::new(Uuid::from_u128(2));

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn named(name: &str) -> ActorName {
        ActorName::new(name).unwrap()
    }

    fn chain(id: SubscriptionId, entries: i64) -> (Vec<AuditEntry>, ChainHead) {
        let mut head = ChainHead::default();
        let actor = Actor::User(named("u1"));
        let entries = (0..entries).map(|second| {
            let details = Details::new().number("n", second).finish();
            let by = (&actor, Some([192, 0, 2, 1].into()));
            AuditEntry::seal(&mut head, id, at(second), by, AuditAction::Renewed, details)
        });
        (entries.collect(), head)
    }

    #[track_caller]
    fn check(entries: &[AuditEntry], head: ChainHead, message: &str) {
        let fault = verify(ID, ChainHead::default(), entries, head).unwrap_err();
        assert_eq!(fault.to_string(), message);
    }

    /// Chains that exist must verify for ever: this hash changes only with a new format tag.
    #[test]
    fn the_format_is_frozen() {
        let mut head = ChainHead {
            sequence: 6,
            hash: Digest([7; 32]),
        };
        let at = DateTime::from_timestamp(1_772_323_200, 123_456_000).unwrap();
        let details = Details::new()
            .text("reason", "a \"b\" \\ \n é")
            .flag("known", true)
            .finish();
        let actor = Actor::Service(named("paystack"));
        let ip = Some("2001:db8::1".parse().unwrap());
        let entry = AuditEntry::seal(
            &mut head,
            ID,
            at,
            (&actor, ip),
            AuditAction::PaymentSettled,
            details,
        );
        assert_eq!(entry.details, r#"{"reason":"a \"b\" \\ \u000a é","known":true}"#);
        assert_eq!((entry.sequence, head.sequence, head.hash), (7, 7, entry.hash));
        assert_eq!(
            entry.hash.to_string(),
            "1c37664b7bd24ed3c99f06b95201b20066f0779b6694dea5f405ba111e799d3b"
        );
    }

    #[test]
    fn a_chain_verifies_from_its_start_and_from_any_checkpoint_and_only_from_the_right_one() {
        let (entries, head) = chain(ID, 5);
        assert_eq!(verify(ID, ChainHead::default(), &entries, head), Ok(()));
        assert_eq!(
            verify(ID, ChainHead::default(), &[], ChainHead::default()),
            Ok(())
        );
        for kept in 1..=entries.len() {
            let last = &entries[kept - 1];
            let checkpoint = ChainHead {
                sequence: last.sequence,
                hash: last.hash,
            };
            assert_eq!(
                verify(ID, checkpoint, &entries[kept..], head),
                Ok(()),
                "after {kept}"
            );
            let wrong = ChainHead {
                hash: Digest([9; 32]),
                ..checkpoint
            };
            let sequence = (checkpoint.sequence + 1).min(5);
            assert_eq!(
                verify(ID, wrong, &entries[kept..], head),
                Err(ChainFault::Altered { sequence })
            );
            let wrong = ChainHead {
                sequence: checkpoint.sequence - 1,
                ..checkpoint
            };
            assert!(verify(ID, wrong, &entries[kept..], head).is_err());
        }
    }

    #[test]
    fn an_edit_of_any_field_is_found() {
        let (entries, head) = chain(ID, 3);
        type Edit = fn(&mut AuditEntry);
        let edits: [(&str, Edit); 9] = [
            ("at", |entry| entry.at += chrono::TimeDelta::nanoseconds(1)),
            ("actor", |entry| entry.actor = Actor::User(named("u2"))),
            ("actor's kind", |entry| entry.actor = Actor::Operator(named("u1"))),
            ("nobody", |entry| entry.actor = Actor::System),
            ("ip", |entry| entry.ip = Some([192, 0, 2, 2].into())),
            ("no ip", |entry| entry.ip = None),
            ("action", |entry| entry.action = AuditAction::Expired),
            ("details", |entry| entry.details.push(' ')),
            ("hash", |entry| entry.hash.0[31] ^= 1),
        ];
        for (field, edit) in edits {
            for index in 0..3 {
                let mut edited = entries.clone();
                edit(&mut edited[index]);
                let sequence = edited[index].sequence;
                let fault = verify(ID, ChainHead::default(), &edited, head);
                assert_eq!(
                    fault,
                    Err(ChainFault::Altered { sequence }),
                    "{field} of entry {sequence}"
                );
                // Also when the entry is sealed anew: then the next one, or the head, does not follow.
                if field != "hash" {
                    let before = index
                        .checked_sub(1)
                        .map_or(Digest::default(), |before| entries[before].hash);
                    edited[index].hash = edited[index].expected_hash(before);
                    let sequence = (sequence + 1).min(3);
                    let fault = verify(ID, ChainHead::default(), &edited, head);
                    assert_eq!(
                        fault,
                        Err(ChainFault::Altered { sequence }),
                        "{field}, sealed anew"
                    );
                }
            }
        }
    }

    #[test]
    fn a_missing_doubled_moved_or_foreign_entry_is_found() {
        let (entries, head) = chain(ID, 4);
        let without = |index: usize| {
            let mut entries = entries.clone();
            entries.remove(index);
            entries
        };
        check(
            &without(0),
            head,
            "audit entry 1 is missing, found entry 2 in its place",
        );
        check(
            &without(1),
            head,
            "audit entry 2 is missing, found entry 3 in its place",
        );
        check(&without(3), head, "audit chain ends at entry 3, expected entry 4");
        check(&[], head, "audit chain ends at entry 0, expected entry 4");
        let mut doubled = entries.clone();
        doubled.insert(1, entries[0].clone());
        check(
            &doubled,
            head,
            "audit entry 2 is missing, found entry 1 in its place",
        );
        let mut swapped = entries.clone();
        swapped.swap(1, 2);
        check(
            &swapped,
            head,
            "audit entry 2 is missing, found entry 3 in its place",
        );
        // Also when the places were renumbered.
        (swapped[1].sequence, swapped[2].sequence) = (2, 3);
        check(&swapped, head, "audit entry 2 does not match its hash");
        let mut foreign = entries.clone();
        foreign[2] = chain(OTHER, 4).0[2].clone();
        let message = std::format!("audit entry 3 belongs to subscription `{OTHER}`, expected `{ID}`");
        check(&foreign, head, &message);
        // One more than the subscription knows of; or as many, but others.
        let longer = chain(ID, 5).0;
        check(&longer, head, "audit chain ends at entry 5, expected entry 4");
        check(
            &entries,
            ChainHead {
                hash: Digest([9; 32]),
                ..head
            },
            "audit entry 4 does not match its hash",
        );
    }

    #[test]
    fn a_digest_reads_back_what_it_writes_and_nothing_else() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        let text = digest.to_string();
        for wrong in [
            "",
            &text[1..],
            &text.to_uppercase(),
            &std::format!("{text}0"),
            &text.replace('2', "g"),
        ] {
            assert_eq!(Digest::try_from(String::from(wrong)), Err(NotADigest), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn details_are_json_whatever_a_person_writes(text: String) {
            let details = Details::new().text("reason", &text).flag("last", true).finish();
            let value: serde_json::Value = serde_json::from_str(&details).unwrap();
            prop_assert_eq!(value, serde_json::json!({"reason": text, "last": true}));
        }

        #[test]
        fn a_time_is_written_as_chrono_writes_it(
            seconds in -70_000_000_000_i64..300_000_000_000,
            nanos in proptest::sample::select(std::vec![0_u32, 1, 1_000, 120_000_000]),
        ) {
            let time = DateTime::from_timestamp(seconds, nanos).unwrap();
            let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            prop_assert_eq!(Details::new().time("at", time).finish(), std::format!(r#"{{"at":"{text}"}}"#));
        }
    }
}
