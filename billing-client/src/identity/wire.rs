//! The shapes of `openapi/identity.v1.json`. Unknown fields are allowed, so that the service may add some.

use std::collections::BTreeSet;

use billing_core::id::{ActorName, Permission, TenantId};
use billing_core::identity::{TenantRecord, TokenVerdict};
use billing_core::plan::TenantProfile;
use billing_core::validate::{Region, Tag};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::transport::Reply;

#[derive(Deserialize)]
pub(super) struct Tenant {
    id: TenantId,
    name: String,
    #[serde(default)]
    region: Option<Region>,
    #[serde(default)]
    industry: Option<Tag>,
    #[serde(default)]
    compliance: BTreeSet<Tag>,
    is_active: bool,
}

impl Tenant {
    /// None if the service told of another tenant than it was asked for.
    pub(super) fn into_record(self, asked: TenantId) -> Option<TenantRecord> {
        if self.id != asked {
            return None;
        }
        let profile = TenantProfile {
            region: self.region,
            industry: self.industry,
            compliance: self.compliance,
        };
        Some(TenantRecord {
            tenant_id: self.id,
            name: self.name,
            profile,
            is_active: self.is_active,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct Permissions {
    pub(super) permissions: BTreeSet<Permission>,
}

#[derive(Serialize)]
pub(super) struct Token<'a> {
    pub(super) token: &'a str,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum Verdict {
    Valid {
        user: ActorName,
        #[serde(default)]
        tenant_id: Option<TenantId>,
        expires_at: DateTime<Utc>,
    },
    Invalid {
        code: String,
    },
}

impl From<Verdict> for TokenVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid {
                user,
                tenant_id,
                expires_at,
            } => Self::Valid {
                user,
                tenant_id,
                expires_at,
            },
            Verdict::Invalid { code } => Self::Invalid { code },
        }
    }
}

/// What both services say when they refuse: after RFC 9457, with a code.
#[derive(Deserialize)]
pub(crate) struct Problem {
    code: String,
}

impl Problem {
    /// The code of a refusal, or the status where there is none. It is shown, so what is no code is not passed on.
    pub(crate) fn code_of(reply: &Reply) -> String {
        let is_code = |code: &str| {
            !code.is_empty()
                && code.len() <= 64
                && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        match serde_json::from_slice::<Self>(&reply.body) {
            Ok(problem) if is_code(&problem.code) => problem.code,
            Ok(_) | Err(_) => format!("http_{}", reply.status),
        }
    }
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

pub(crate) fn is_well(reply: &Reply) -> Result<(), &'static str> {
    match serde_json::from_slice::<Status>(&reply.body) {
        Ok(Status { status }) if reply.is_success() && status == "ok" => Ok(()),
        Ok(_) if reply.is_success() => Err("degraded"),
        Ok(_) | Err(_) if matches!(reply.status, 401 | 403) => Err("unauthorized"),
        Ok(_) | Err(_) => Err("unreadable"),
    }
}
