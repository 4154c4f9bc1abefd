//! An issuer of real, signed tokens, for the tests of this module.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::{Authenticator, JwtConfig, JwtVerifier, ProtectedResource};

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "https://host.example/mcp";

/// Making an RSA key takes a moment, so the tests share one.
static RSA: LazyLock<Arc<RsaKeyPair>> = LazyLock::new(new_rsa);

fn new_rsa() -> Arc<RsaKeyPair> {
    Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

#[derive(Clone)]
pub(super) struct Signer {
    pub(super) kid: String,
    pub(super) alg: &'static str,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Rsa(Arc<RsaKeyPair>, &'static dyn RsaEncoding),
    Ec(Arc<EcdsaKeyPair>, &'static str),
    Ed(Arc<Ed25519KeyPair>),
}

impl Signer {
    pub(super) fn rs256(kid: &str) -> Self {
        let key = Key::Rsa(Arc::clone(&RSA), &RSA_PKCS1_SHA256);
        Self { kid: kid.into(), alg: "RS256", key }
    }

    pub(super) fn ps256(kid: &str) -> Self {
        let key = Key::Rsa(Arc::clone(&RSA), &RSA_PSS_SHA256);
        Self { kid: kid.into(), alg: "PS256", key }
    }

    pub(super) fn es256(kid: &str) -> Self {
        Self::ec(kid, "ES256", "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(super) fn es384(kid: &str) -> Self {
        Self::ec(kid, "ES384", "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(
        kid: &str,
        alg: &'static str,
        curve: &'static str,
        algorithm: &'static EcdsaSigningAlgorithm,
    ) -> Self {
        let key = Key::Ec(Arc::new(EcdsaKeyPair::generate(algorithm).unwrap()), curve);
        Self { kid: kid.into(), alg, key }
    }

    pub(super) fn eddsa(kid: &str) -> Self {
        let key = Key::Ed(Arc::new(Ed25519KeyPair::generate().unwrap()));
        Self { kid: kid.into(), alg: "EdDSA", key }
    }

    /// The public key as a JWK.
    pub(super) fn jwk(&self) -> Value {
        match &self.key {
            Key::Rsa(pair, _) => {
                let public = pair.public_key();
                let n = b64(public.modulus().big_endian_without_leading_zero());
                let e = b64(public.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "kid": self.kid, "use": "sig", "n": n, "e": e})
            }
            Key::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "kid": self.kid, "crv": curve, "x": b64(x), "y": b64(y)})
            }
            Key::Ed(pair) => {
                let x = b64(pair.public_key().as_ref());
                json!({"kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": x})
            }
        }
    }

    /// The public key in DER, the bytes that an attacker would take for an HMAC secret.
    pub(super) fn public_der(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(pair, _) => pair.public_key().as_ref().to_vec(),
            Key::Ec(pair, _) => pair.public_key().as_ref().to_vec(),
            Key::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.alg, "typ": "at+jwt", "kid": self.kid})
    }

    /// A good token but for what `claims` says.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A signed token of exactly this header and payload.
    pub(super) fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let signature = b64(&self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token with an HMAC in place of a signature.
pub(super) fn hmac_token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let header = b64(header.to_string().as_bytes());
    let message = format!("{header}.{}", b64(claims.to_string().as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", b64(tag.as_ref()))
}

pub(super) fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn jwks(signers: &[&Signer]) -> String {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// The time of the tests, in seconds since 1970.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The claims of a good token.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "agent", "jti": "1",
        "iat": NOW - 10, "exp": NOW + 300, "scope": "files:read jobs:manage",
    })
}

/// [`claims`] with some set otherwise; `null` takes one away.
pub(super) fn claims_but(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(super) fn verifier(signers: &[&Signer]) -> JwtVerifier {
    JwtVerifier::new(JwtConfig::new(ISSUER, AUDIENCE), &jwks(signers)).unwrap()
}

pub(super) fn resource() -> ProtectedResource {
    ProtectedResource {
        url: AUDIENCE.into(),
        authorization_servers: vec![ISSUER.into()],
        scopes_supported: vec!["files:read".into()],
        initial_scopes: vec![],
        name: "Roothold".into(),
    }
}

pub(super) fn authenticator(jwt: JwtVerifier) -> Authenticator {
    Authenticator::builder().jwt(jwt).resource(resource()).build().unwrap()
}

pub(super) fn bearer(credential: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {credential}").parse().unwrap());
    headers
}
