//! The claims of a token whose signature has verified.
//!
//! **Invariant**: strings are compared byte by byte; nothing is normalized, trimmed or coerced.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use roothold_core::{Principal, Scopes};
use serde_json::{Map, Value};

use super::config::{JwtConfig, TokenType};
use crate::auth::{failure::FailureClass, name::is_principal_name};

/// The most scopes that are taken from one token.
const SCOPES_MAX: usize = 256;

/// What a token says, once it is known to be genuine and meant for this server. Times are seconds
/// since 1970, whole or not (RFC 7519 §2).
#[derive(Debug, Clone)]
pub(super) struct Claims {
    pub(super) principal: Principal,
    expires: f64,
    not_before: Option<f64>,
}

impl Claims {
    pub(super) fn check(
        claims: &Map<String, Value>,
        config: &JwtConfig,
    ) -> Result<Self, FailureClass> {
        if claims.get("iss").and_then(Value::as_str) != Some(config.issuer.as_str()) {
            return Err(FailureClass::BadIssuer);
        }
        if !names_us(claims.get("aud"), &config.audiences) {
            return Err(FailureClass::BadAudience);
        }
        if claims.contains_key("cnf") {
            return Err(FailureClass::Unproven);
        }
        if config.token_type == TokenType::AcceptUntyped && is_other_token(claims) {
            return Err(FailureClass::BadType);
        }
        time(claims, "iat")?;
        Ok(Self {
            principal: Principal::new(principal_name(claims, config)?, scopes(claims)?),
            expires: time(claims, "exp")?.ok_or(FailureClass::BadClaims)?,
            not_before: time(claims, "nbf")?,
        })
    }

    /// Whether the token is valid at `now`. `exp` is the first moment at which it is not.
    pub(super) fn check_time(
        &self,
        now: SystemTime,
        config: &JwtConfig,
    ) -> Result<(), FailureClass> {
        // A clock before 1970 must not make tokens valid for ever.
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| FailureClass::NotYetValid)?;
        let now = now.as_secs_f64();
        let leeway = config.leeway.as_secs_f64();
        if now >= self.expires + leeway {
            return Err(FailureClass::Expired);
        }
        match self.not_before {
            Some(not_before) if now + leeway < not_before => Err(FailureClass::NotYetValid),
            _ => Ok(()),
        }
    }
}

/// Whether `aud`, a string or a list of strings, holds one of our names.
fn names_us(aud: Option<&Value>, audiences: &[String]) -> bool {
    let is_ours = |aud: &str| audiences.iter().any(|ours| ours == aud);
    match aud {
        Some(Value::String(aud)) => is_ours(aud),
        Some(Value::Array(list)) => {
            list.iter().all(Value::is_string) && list.iter().filter_map(Value::as_str).any(is_ours)
        }
        _ => false,
    }
}

/// A claim that must be a number if it is there at all.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, FailureClass> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            number.as_f64().filter(|time| time.is_finite()).map(Some).ok_or(FailureClass::BadClaims)
        }
        Some(_) => Err(FailureClass::BadClaims),
    }
}

fn principal_name(
    claims: &Map<String, Value>,
    config: &JwtConfig,
) -> Result<Arc<str>, FailureClass> {
    match claims.get(&config.principal_claim) {
        Some(Value::String(name)) if is_principal_name(name) => Ok(Arc::from(name.as_str())),
        _ => Err(FailureClass::BadClaims),
    }
}

/// The scopes: `scope` as a list in one string (RFC 9068 §2.2.3), else `scp`, a list or such a
/// string. No claim, no scope.
fn scopes(claims: &Map<String, Value>) -> Result<Scopes, FailureClass> {
    let scopes = match (claims.get("scope"), claims.get("scp")) {
        (Some(Value::String(list)), _) | (None, Some(Value::String(list))) => Scopes::parse(list),
        (None, Some(Value::Array(list))) => {
            let scopes = list.iter().map(|scope| scope.as_str().map(Arc::from));
            Scopes::Only(scopes.collect::<Option<_>>().ok_or(FailureClass::BadClaims)?)
        }
        (None, None) => Scopes::Only(Arc::from([])),
        _ => return Err(FailureClass::BadClaims),
    };
    match &scopes {
        Scopes::Only(list) if list.len() > SCOPES_MAX => Err(FailureClass::BadClaims),
        _ => Ok(scopes),
    }
}

/// Whether the claims are those of an ID or refresh token: `nonce` and the hashes of OpenID
/// Connect Core §2, and the markers that Cognito (`token_use`) and Keycloak (`typ`) set.
fn is_other_token(claims: &Map<String, Value>) -> bool {
    let is = |name, wanted: &[&str]| {
        claims.get(name).is_some_and(|value| {
            !value
                .as_str()
                .is_some_and(|text| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(text)))
        })
    };
    ["nonce", "at_hash", "c_hash", "s_hash"].iter().any(|name| claims.contains_key(*name))
        || is("token_use", &["access"])
        || is("typ", &["Bearer", "at+jwt"])
}
