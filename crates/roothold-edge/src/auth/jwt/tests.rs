//! Real tokens, good and bad, through [`Authenticator::authenticate_at`](crate::auth::Authenticator).

use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use roothold_core::Principal;
use serde_json::{Value, json};

use super::{JwtAlgorithm, JwtConfig, JwtConfigError, JwtVerifier, TokenType, cache::TOKENS_MAX};
use crate::auth::{
    Authenticator,
    FailureClass::{self, *},
    bearer::CREDENTIAL_BYTES_MAX,
    testing::*,
};

fn check(auth: &Authenticator, token: &str) -> Result<Principal, FailureClass> {
    auth.authenticate_at(&bearer(token), now()).map_err(|failure| {
        assert_eq!(
            auth.challenge(failure),
            "Bearer error=\"invalid_token\", resource_metadata=\"https://host.example/.well-known/oauth-protected-resource/mcp\", scope=\"files:read\"",
            "the challenge is the same for every refused token"
        );
        failure.class()
    })
}

/// What becomes of a good token with these changes to its claims.
fn with_claims(changes: &Value) -> Result<Principal, FailureClass> {
    let signer = Signer::es256("k1");
    check(&authenticator(verifier(&[&signer])), &signer.token(&claims_but(changes)))
}

/// What becomes of a good token with these changes to its header, signed over them.
fn with_header(signer: &Signer, changes: &Value) -> Result<Principal, FailureClass> {
    let mut header = signer.header();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => header.as_object_mut().unwrap().remove(name),
            value => header.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    let token = signer.sign(&header.to_string(), &claims().to_string());
    check(&authenticator(verifier(&[signer])), &token)
}

#[test]
fn good_tokens_pass_with_every_kind_of_key() {
    let signers =
        [Signer::rs256("rs"), Signer::es256("es"), Signer::es384("e3"), Signer::eddsa("ed")];
    let auth = authenticator(verifier(&signers.iter().collect::<Vec<_>>()));
    for signer in &signers {
        let principal = check(&auth, &signer.token(&claims())).unwrap();
        assert_eq!(principal.name(), "alice");
        assert!(principal.scopes().contains("files:read"));
        assert!(principal.scopes().contains("jobs:manage"));
        assert!(!principal.scopes().contains("files:write"));
    }
    let pss = Signer::ps256("ps");
    assert!(check(&authenticator(verifier(&[&pss])), &pss.token(&claims())).is_ok());
}

/// HT-100.
#[test]
fn no_token() {
    let auth = authenticator(verifier(&[&Signer::es256("k1")]));
    let failure = auth.authenticate_at(&http::HeaderMap::new(), now()).unwrap_err();
    assert_eq!(failure.class(), Missing);
    assert_eq!(
        auth.challenge(failure),
        "Bearer resource_metadata=\"https://host.example/.well-known/oauth-protected-resource/mcp\", scope=\"files:read\""
    );
}

/// HT-101, HT-102, HT-117.
#[test]
fn times_are_numbers_and_hold() {
    for (changes, expected) in [
        (json!({"exp": -1}), Expired),
        (json!({"exp": NOW - 31}), Expired),
        (json!({"exp": NOW - 30}), Expired),
        (json!({"exp": null}), BadClaims),
        (json!({"exp": "99999999999"}), BadClaims),
        (json!({"exp": true}), BadClaims),
        (json!({"nbf": NOW + 600}), NotYetValid),
        (json!({"nbf": NOW + 31}), NotYetValid),
        (json!({"nbf": "99999999999"}), BadClaims),
        (json!({"nbf": [NOW]}), BadClaims),
        (json!({"iat": "yesterday"}), BadClaims),
    ] {
        assert_eq!(with_claims(&changes).unwrap_err(), expected, "{changes}");
    }
    for changes in [
        json!({"exp": NOW - 29}),
        json!({"exp": 1_800_000_000.5}),
        json!({"nbf": NOW + 30}),
        json!({"nbf": NOW - 1, "iat": null}),
    ] {
        assert!(with_claims(&changes).is_ok(), "{changes}");
    }
}

/// HT-106, HT-108.
#[test]
fn audience_and_issuer_are_exact() {
    for (changes, expected) in [
        (json!({"aud": "https://host.example/mcp-evil"}), BadAudience),
        (json!({"aud": "https://host.example/mcp/"}), BadAudience),
        (json!({"aud": "https://host.example"}), BadAudience),
        (json!({"aud": "https://HOST.example/mcp"}), BadAudience),
        (json!({"aud": []}), BadAudience),
        (json!({"aud": null}), BadAudience),
        (json!({"aud": [AUDIENCE, 1]}), BadAudience),
        (json!({"aud": {"0": AUDIENCE}}), BadAudience),
        (json!({"iss": "https://issuer.example/"}), BadIssuer),
        (json!({"iss": [ISSUER]}), BadIssuer),
        (json!({"iss": null}), BadIssuer),
    ] {
        assert_eq!(with_claims(&changes).unwrap_err(), expected, "{changes}");
    }
    assert!(with_claims(&json!({"aud": ["https://other.example", AUDIENCE]})).is_ok());
}

/// HT-109, HT-110, HT-111.
#[test]
fn only_allowed_asymmetric_algorithms_pass() {
    let signer = Signer::rs256("k1");
    let auth = authenticator(verifier(&[&signer]));
    for alg in ["none", "None", "nOnE", "NONE", "", "rs256", "HS256", "RS256 "] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": "k1"});
        let message = format!("{}.{}.", b64(header.to_string().as_bytes()), b64(b"{}"));
        assert_eq!(check(&auth, &message).unwrap_err(), BadAlgorithm, "{alg}");
        assert_eq!(with_header(&signer, &json!({"alg": alg})).unwrap_err(), BadAlgorithm);
    }
    for alg in ["HS256", "HS384", "HS512"] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": "k1"});
        let token = hmac_token(&header, &claims(), &signer.public_der());
        assert_eq!(check(&auth, &token).unwrap_err(), BadAlgorithm);
    }
    assert_eq!(with_header(&signer, &json!({"alg": null})).unwrap_err(), BadAlgorithm);
    // Allowed, but not what this key is for.
    assert_eq!(with_header(&signer, &json!({"alg": "ES256"})).unwrap_err(), BadAlgorithm);
    // Another padding under the same key: the signature was not made that way.
    assert_eq!(with_header(&signer, &json!({"alg": "PS256"})).unwrap_err(), BadSignature);
    // Known, and not on the list.
    assert_eq!(with_header(&signer, &json!({"alg": "RS512"})).unwrap_err(), BadAlgorithm);
    let mut jwk = signer.jwk();
    jwk["alg"] = json!("PS256");
    let set = json!({ "keys": [jwk] }).to_string();
    let pinned = JwtVerifier::new(JwtConfig::new(ISSUER, AUDIENCE), &set).unwrap();
    let token = signer.token(&claims());
    assert_eq!(check(&authenticator(pinned), &token).unwrap_err(), BadAlgorithm);
}

/// HT-113, HT-122: a kid is looked up and nothing else; nothing can be fetched.
#[test]
fn a_kid_names_a_configured_key_or_nothing() {
    let signer = Signer::es256("k1");
    for kid in ["http://evil/jwks", "../../etc/passwd", "' or 1=1 --", "", "K1", "k1\u{0}"] {
        assert_eq!(with_header(&signer, &json!({"kid": kid})).unwrap_err(), Unknown, "{kid}");
    }
    assert_eq!(with_header(&signer, &json!({"kid": null})).unwrap_err(), Unknown);
    assert_eq!(with_header(&signer, &json!({"kid": 1})).unwrap_err(), Unknown);
    let auth = authenticator(verifier(&[&signer]));
    let started = Instant::now();
    for n in 0..1000 {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": format!("random-{n}")});
        let token = format!("{}.{}.{}", b64(header.to_string().as_bytes()), b64(b"{}"), b64(b"x"));
        assert_eq!(check(&auth, &token).unwrap_err(), Unknown);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "a storm of kids costs next to nothing");
}

/// A key that the token brings along, or points to, is not looked at.
#[test]
fn keys_in_the_header_are_ignored() {
    let (trusted, evil) = (Signer::es256("k1"), Signer::es256("k1"));
    let auth = authenticator(verifier(&[&trusted]));
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = evil.header();
        header[name] = value;
        let token = evil.sign(&header.to_string(), &claims().to_string());
        assert_eq!(check(&auth, &token).unwrap_err(), BadSignature, "{name}");
    }
}

/// HT-118.
#[test]
fn doubled_names_are_refused() {
    let signer = Signer::es256("k1");
    let auth = authenticator(verifier(&[&signer]));
    let payload = claims().to_string().replace("\"sub\":", "\"sub\":\"root\",\"sub\":");
    let token = signer.sign(&signer.header().to_string(), &payload);
    assert_eq!(check(&auth, &token).unwrap_err(), BadClaims);
    let header = signer.header().to_string().replace("\"alg\":", "\"alg\":\"none\",\"alg\":");
    let token = signer.sign(&header, &claims().to_string());
    assert_eq!(check(&auth, &token).unwrap_err(), Malformed);
}

/// HT-120, HT-124.
#[test]
fn over_long_and_doubled_credentials_are_refused() {
    let signer = Signer::es256("k1");
    let auth = authenticator(verifier(&[&signer]));
    let long = signer.token(&claims_but(&json!({"pad": "x".repeat(200_000)})));
    assert!(long.len() > CREDENTIAL_BYTES_MAX);
    assert_eq!(check(&auth, &long).unwrap_err(), Malformed);
    let mut headers = bearer(&signer.token(&claims()));
    headers.append(AUTHORIZATION, "Bearer x".parse().unwrap());
    assert_eq!(auth.authenticate_at(&headers, now()).unwrap_err().class(), Malformed);
}

/// HT-123: only headers are ever given to the authenticator, so a token in the query is no token.
#[test]
fn a_token_in_the_query_is_not_seen() {
    let signer = Signer::es256("k1");
    let auth = authenticator(verifier(&[&signer]));
    let uri = format!("/mcp?access_token={}", signer.token(&claims()));
    let request = http::Request::post(uri).body(()).unwrap();
    let failure = auth.authenticate_at(request.headers(), now()).unwrap_err();
    assert_eq!(failure.class(), Missing);
}

/// HT-125.
#[test]
fn only_access_tokens_pass() {
    let signer = Signer::es256("k1");
    for typ in [json!("JWT"), json!(null), json!("id_token"), json!("at+jwt+x"), json!(1)] {
        assert_eq!(with_header(&signer, &json!({"typ": typ})).unwrap_err(), BadType, "{typ}");
    }
    for typ in ["application/at+jwt", "AT+JWT"] {
        assert!(with_header(&signer, &json!({"typ": typ})).is_ok(), "{typ}");
    }
    let config =
        JwtConfig { token_type: TokenType::AcceptUntyped, ..JwtConfig::new(ISSUER, AUDIENCE) };
    let auth = authenticator(JwtVerifier::new(config, &jwks(&[&signer])).unwrap());
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}).to_string();
    assert!(check(&auth, &signer.sign(&header, &claims().to_string())).is_ok());
    for changes in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"token_use": "id"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "ID"}),
    ] {
        let token = signer.sign(&header, &claims_but(&changes).to_string());
        assert_eq!(check(&auth, &token).unwrap_err(), BadType, "{changes}");
    }
    for changes in [json!({"token_use": "access"}), json!({"typ": "Bearer"})] {
        let token = signer.sign(&header, &claims_but(&changes).to_string());
        assert!(check(&auth, &token).is_ok(), "{changes}");
    }
}

/// HT-126.
#[test]
fn a_rotated_key_is_refused_even_for_tokens_seen_before() {
    let (old, new) = (Signer::es256("old"), Signer::eddsa("new"));
    let jwt = std::sync::Arc::new(verifier(&[&old]));
    let auth = Authenticator::builder().jwt(jwt.clone()).resource(resource()).build().unwrap();
    let (old_token, new_token) = (old.token(&claims()), new.token(&claims()));
    assert!(check(&auth, &old_token).is_ok());
    assert!(check(&auth, &old_token).is_ok());
    assert_eq!(check(&auth, &new_token).unwrap_err(), Unknown);
    jwt.reload(&jwks(&[&old, &new])).unwrap();
    assert!(check(&auth, &old_token).is_ok() && check(&auth, &new_token).is_ok());
    jwt.reload("{}").unwrap_err();
    jwt.reload(&jwks(&[&new])).unwrap();
    assert_eq!(check(&auth, &old_token).unwrap_err(), Unknown);
    assert!(check(&auth, &new_token).is_ok());
}

/// HT-127.
#[test]
fn a_bound_token_without_proof_is_refused() {
    for cnf in [json!({"jkt": "abc"}), json!({"x5t#S256": "abc"}), json!({}), json!("x")] {
        assert_eq!(with_claims(&json!({"cnf": cnf})).unwrap_err(), Unproven);
    }
}

#[test]
fn nested_encrypted_and_critical_tokens_are_refused() {
    let signer = Signer::es256("k1");
    for changes in [
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"b64": false}),
        json!({"enc": "A128GCM"}),
        json!({"zip": "DEF"}),
        json!({"cty": "JWT"}),
    ] {
        assert_eq!(with_header(&signer, &changes).unwrap_err(), BadType, "{changes}");
    }
}

#[test]
fn broken_tokens_are_refused() {
    let signer = Signer::es256("k1");
    let auth = authenticator(verifier(&[&signer]));
    let good = signer.token(&claims());
    assert!(check(&auth, &good).is_ok());
    for token in ["x", "a.b", "..", ".", "a.b.c.d.e", "rhk", "!.!.!"] {
        assert_eq!(check(&auth, token).unwrap_err(), Malformed, "{token}");
    }
    assert!(check(&auth, &format!("{good}.")).is_err());
    assert!(check(&auth, &format!("{good}=")).is_err());
    let parts: Vec<&str> = good.split('.').collect();
    let swapped = b64(claims_but(&json!({"sub": "root"})).to_string().as_bytes());
    let forged = format!("{}.{swapped}.{}", parts[0], parts[2]);
    assert_eq!(check(&auth, &forged).unwrap_err(), BadSignature);
    assert_eq!(check(&auth, &format!("{}.{}.", parts[0], parts[1])).unwrap_err(), BadSignature);
    // An all-zero ECDSA signature, which once passed elsewhere (CVE-2022-21449).
    let zero = format!("{}.{}.{}", parts[0], parts[1], b64(&[0; 64]));
    assert_eq!(check(&auth, &zero).unwrap_err(), BadSignature);
    for cut in 0..good.len() {
        assert!(check(&auth, &good[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn principals_and_scopes_come_from_well_formed_claims() {
    for (changes, expected) in [
        (json!({"sub": null}), BadClaims),
        (json!({"sub": ""}), BadClaims),
        (json!({"sub": 1}), BadClaims),
        (json!({"sub": "a\nb"}), BadClaims),
        (json!({"sub": "x".repeat(257)}), BadClaims),
        (json!({"scope": ["files:read"]}), BadClaims),
        (json!({"scope": null, "scp": [1]}), BadClaims),
        (json!({"scope": "a ".repeat(300)}), BadClaims),
    ] {
        assert_eq!(with_claims(&changes).unwrap_err(), expected, "{changes}");
    }
    let listed = with_claims(&json!({"scope": null, "scp": ["files:write"]})).unwrap();
    assert!(listed.scopes().contains("files:write") && !listed.scopes().contains("files:read"));
    let none = with_claims(&json!({"scope": null})).unwrap();
    assert!(!none.scopes().contains("files:read"));
    let signer = Signer::es256("k1");
    let config =
        JwtConfig { principal_claim: "client_id".into(), ..JwtConfig::new(ISSUER, AUDIENCE) };
    let auth = authenticator(JwtVerifier::new(config, &jwks(&[&signer])).unwrap());
    assert_eq!(check(&auth, &signer.token(&claims())).unwrap().name(), "agent");
}

#[test]
fn a_remembered_token_still_expires_and_memory_is_bounded() {
    let signer = Signer::eddsa("k1");
    let jwt = std::sync::Arc::new(verifier(&[&signer]));
    let auth = Authenticator::builder().jwt(jwt.clone()).build().unwrap();
    let headers = bearer(&signer.token(&claims()));
    auth.authenticate_at(&headers, now()).unwrap();
    assert_eq!(jwt.cached_tokens(), 1);
    let at = |seconds| auth.authenticate_at(&headers, now() + Duration::from_secs(seconds));
    assert!(at(329).is_ok());
    assert_eq!(at(330).unwrap_err().class(), Expired);
    for n in 0..=TOKENS_MAX {
        let token = signer.token(&claims_but(&json!({ "jti": n.to_string() })));
        auth.authenticate_at(&bearer(&token), now()).unwrap();
        assert!(jwt.cached_tokens() <= TOKENS_MAX);
    }
}

#[test]
fn unusable_key_sets_and_settings_are_refused_at_start() {
    let signer = Signer::es256("k1");
    let make = |set: &Value| {
        JwtVerifier::new(JwtConfig::new(ISSUER, AUDIENCE), &set.to_string()).unwrap_err()
    };
    let with = |name: &str, value: Value| {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        make(&json!({ "keys": [jwk] }))
    };
    assert!(matches!(make(&json!([])), JwtConfigError::Json(_)));
    assert!(matches!(make(&json!({"keys": {}})), JwtConfigError::Json(_)));
    assert!(matches!(make(&json!({"keys": []})), JwtConfigError::NoKey));
    assert!(matches!(with("use", json!("enc")), JwtConfigError::NoKey));
    assert!(matches!(with("key_ops", json!(["sign"])), JwtConfigError::NoKey));
    assert!(matches!(with("alg", json!("ES384")), JwtConfigError::NoKey));
    assert!(matches!(with("crv", json!("P-521")), JwtConfigError::NoKey));
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}]});
    assert!(matches!(make(&symmetric), JwtConfigError::NoKey));
    assert!(with("d", json!("AAAA")).to_string().contains("private key"));
    assert!(with("x", json!("AAAA")).to_string().contains("key 1"));
    assert!(with("kid", json!(null)).to_string().contains("no `kid`"));
    let twice = make(&json!({"keys": [signer.jwk(), signer.jwk()]}));
    assert!(twice.to_string().contains("key 2"), "{twice}");
    let small = json!({"kty": "RSA", "kid": "r", "n": b64(&[0xff; 128]), "e": "AQAB"});
    assert!(make(&json!({ "keys": [small] })).to_string().contains("2048"));
    for config in [
        JwtConfig { leeway: Duration::from_secs(61), ..JwtConfig::new(ISSUER, AUDIENCE) },
        JwtConfig { algorithms: vec![], ..JwtConfig::new(ISSUER, AUDIENCE) },
        JwtConfig::new("", AUDIENCE),
        JwtConfig::new(ISSUER, ""),
    ] {
        assert!(JwtVerifier::new(config, &jwks(&[&signer])).is_err());
    }
    for name in ["none", "HS256", "rs256", ""] {
        assert!(JwtAlgorithm::parse(name).is_err(), "{name}");
    }
    assert_eq!(JwtAlgorithm::parse("EdDSA").unwrap(), JwtAlgorithm::EdDsa);
}
