//! The key set: public keys by `kid`, each with the algorithms it may verify.
//!
//! Keys that can never verify one of our tokens are passed over, as RFC 7517 §5 has it: symmetric
//! ones, ones for encryption, unknown kinds. A private key in the set is refused, loudly.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, crypto::aws_lc};
use serde_json::{Map, Value};

use super::{
    config::{JwtAlgorithm, JwtConfigError},
    strict_json,
};
use crate::auth::failure::FailureClass;

/// The most keys in one set.
const KEYS_MAX: usize = 100;
/// The smallest RSA modulus, in bytes: 2,048 bits.
const RSA_BYTES_MIN: usize = 256;

/// The public keys of the issuer.
pub(super) struct KeySet {
    keys: HashMap<String, Key>,
}

struct Key {
    algorithms: Vec<JwtAlgorithm>,
    decoding: DecodingKey,
}

impl KeySet {
    /// Parses a JWK set; keeps the keys that fit an algorithm of `allowed`.
    pub(super) fn parse(json: &str, allowed: &[JwtAlgorithm]) -> Result<Self, JwtConfigError> {
        let not_a_set = |what: &str| JwtConfigError::Json(what.to_owned());
        let set = strict_json::parse_object(json.as_bytes())
            .ok_or_else(|| not_a_set("it must be one json object without doubled names"))?;
        let list = set.get("keys").and_then(Value::as_array);
        let list = list.ok_or_else(|| not_a_set("`keys` must be a list"))?;
        if list.len() > KEYS_MAX {
            return Err(not_a_set("it holds more than 100 keys"));
        }
        let mut keys = HashMap::new();
        for (index, jwk) in (1..).zip(list) {
            let parsed = parse_key(jwk, allowed)
                .map_err(|reason| JwtConfigError::Key { index, reason: reason.to_owned() })?;
            let Some((kid, key)) = parsed else { continue };
            if keys.insert(kid, key).is_some() {
                let reason = "another key has the same `kid`".to_owned();
                return Err(JwtConfigError::Key { index, reason });
            }
        }
        if keys.is_empty() { Err(JwtConfigError::NoKey) } else { Ok(Self { keys }) }
    }

    /// Verifies `signature` over `message` with the key that `kid` names.
    pub(super) fn verify(
        &self,
        kid: &str,
        algorithm: JwtAlgorithm,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> Result<(), FailureClass> {
        let key = self.keys.get(kid).ok_or(FailureClass::Unknown)?;
        if !key.algorithms.contains(&algorithm) {
            return Err(FailureClass::BadAlgorithm);
        }
        // The backend is named here rather than taken from the process-wide default, so that another
        // crate's choice of features cannot change it.
        let make = aws_lc::DEFAULT_PROVIDER.verifier_factory;
        let verifier =
            make(&algorithm.library(), &key.decoding).map_err(|_| FailureClass::BadAlgorithm)?;
        verifier.verify(message, signature).map_err(|_| FailureClass::BadSignature)
    }
}

/// One key with its `kid`; `None` if it is none of ours.
fn parse_key(jwk: &Value, allowed: &[JwtAlgorithm]) -> Result<Option<(String, Key)>, &'static str> {
    let jwk = jwk.as_object().ok_or("it must be an object")?;
    let fits = algorithms_of(jwk)?;
    if fits.is_empty() || !is_for_verifying(jwk) {
        return Ok(None);
    }
    if jwk.contains_key("d") {
        return Err("it is a private key: give the public one, and replace this one");
    }
    let decoding = decoding_key(jwk)?;
    let named = match jwk.get("alg") {
        None => None,
        Some(Value::String(name)) => Some(name.as_str()),
        Some(_) => return Err("`alg` must be a string"),
    };
    let algorithms: Vec<_> = fits
        .iter()
        .copied()
        .filter(|fit| allowed.contains(fit) && named.is_none_or(|name| name == fit.name()))
        .collect();
    if algorithms.is_empty() {
        return Ok(None);
    }
    let kid = text(jwk, "kid").ok_or("it has no `kid`: tokens name their key by it")?;
    Ok(Some((kid.to_owned(), Key { algorithms, decoding })))
}

/// The algorithms that a key of this kind can verify.
fn algorithms_of(jwk: &Map<String, Value>) -> Result<&'static [JwtAlgorithm], &'static str> {
    use JwtAlgorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    Ok(match (text(jwk, "kty").ok_or("it has no `kty`")?, text(jwk, "crv")) {
        ("RSA", _) => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
        ("EC", Some("P-256")) => &[Es256],
        ("EC", Some("P-384")) => &[Es384],
        ("OKP", Some("Ed25519")) => &[EdDsa],
        _ => &[],
    })
}

fn is_for_verifying(jwk: &Map<String, Value>) -> bool {
    let use_fits = jwk.get("use").is_none_or(|value| value == "sig");
    let ops_fit = jwk
        .get("key_ops")
        .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    use_fits && ops_fit
}

fn decoding_key(jwk: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    match text(jwk, "kty") {
        Some("RSA") => {
            let n = bytes(jwk, "n").ok_or("`n` must be base64url")?;
            let e = bytes(jwk, "e").ok_or("`e` must be base64url")?;
            // Some issuers write the sign byte of DER before the modulus.
            let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
            if n.len() < RSA_BYTES_MIN {
                return Err("its modulus has less than 2048 bits");
            }
            Ok(DecodingKey::from_rsa_raw_components(n, &e))
        }
        Some("EC") => {
            let length = if text(jwk, "crv") == Some("P-256") { 32 } else { 48 };
            let x = bytes(jwk, "x").filter(|x| x.len() == length);
            let y = bytes(jwk, "y").filter(|y| y.len() == length);
            let (Some(x), Some(y)) = (x, y) else {
                return Err("`x` and `y` must be base64url of the curve's length");
            };
            // An uncompressed point (SEC 1 §2.3.3).
            Ok(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
        }
        _ => {
            let x = bytes(jwk, "x").filter(|x| x.len() == 32);
            Ok(DecodingKey::from_ed_der(&x.ok_or("`x` must be base64url of 32 bytes")?))
        }
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}
