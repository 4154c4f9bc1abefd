//! The JOSE header: which algorithm and key, and that it is an access token at all.

use serde_json::{Map, Value};

use super::config::{JwtAlgorithm, TokenType};
use crate::auth::failure::FailureClass;

/// Headers that change how a token has to be read. None of them is supported, so a token that
/// has one is refused, rather than read in the wrong way.
const UNSUPPORTED: [&str; 5] = ["crit", "b64", "enc", "zip", "cty"];

/// What of the header is used.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: JwtAlgorithm,
    pub(super) kid: String,
}

impl Header {
    pub(super) fn check(
        header: &Map<String, Value>,
        allowed: &[JwtAlgorithm],
        token_type: TokenType,
    ) -> Result<Self, FailureClass> {
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(JwtAlgorithm::by_name);
        let algorithm = algorithm.filter(|algorithm| allowed.contains(algorithm));
        let algorithm = algorithm.ok_or(FailureClass::BadAlgorithm)?;
        if UNSUPPORTED.iter().any(|name| header.contains_key(*name)) {
            return Err(FailureClass::BadType);
        }
        if !is_access_token(header.get("typ"), token_type) {
            return Err(FailureClass::BadType);
        }
        let kid = header.get("kid").and_then(Value::as_str).ok_or(FailureClass::Unknown)?;
        Ok(Self { algorithm, kid: kid.to_owned() })
    }
}

/// RFC 9068 §4; media types compare without regard to case (RFC 7515 §4.1.9).
fn is_access_token(typ: Option<&Value>, token_type: TokenType) -> bool {
    let lenient = token_type == TokenType::AcceptUntyped;
    match typ {
        None => lenient,
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            matches!(typ.as_str(), "at+jwt" | "application/at+jwt") || (lenient && typ == "jwt")
        }
        Some(_) => false,
    }
}
