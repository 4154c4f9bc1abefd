//! Choosing between kinds of credential, and reading changed files again.

#![expect(clippy::disallowed_methods, reason = "the tests look at files of their own")]

use std::{fs, io::Write};

use super::*;
use crate::auth::{JwtConfig, KeyRing, KeysFile, testing::*};

fn with_both() -> (Authenticator, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let (_, key) =
        KeysFile::open(&path).unwrap().new_key("ci", &["files:read".into()], None).unwrap();
    let signer = Signer::es256("k1");
    let auth = Authenticator::builder()
        .keys(KeyRing::load(&path).unwrap())
        .jwt(verifier(&[&signer]))
        .resource(resource())
        .build()
        .unwrap();
    (auth, key.reveal().to_owned(), signer.token(&claims()))
}

#[test]
fn without_authentication_everyone_is_the_local_user() {
    let auth = Authenticator::none();
    assert!(auth.is_none());
    assert_eq!(auth.authenticate(&HeaderMap::new()).unwrap(), Principal::local());
    assert_eq!(auth.metadata_json(), None);
    assert!(Authenticator::builder().build().unwrap().is_none());
    assert!(!auth.refresh().unwrap());
}

#[test]
fn both_kinds_of_credential_are_told_apart_by_form() {
    let (auth, key, token) = with_both();
    assert!(!auth.is_none());
    let name = |credential: &str| {
        auth.authenticate_at(&bearer(credential), now()).map(|who| who.name().to_owned())
    };
    assert_eq!(name(&key).unwrap(), "ci");
    assert_eq!(name(&token).unwrap(), "alice");
    assert!(auth.metadata_json().is_some());
}

#[test]
fn a_kind_that_is_not_configured_is_unknown() {
    let (_, key, token) = with_both();
    let only_jwt = authenticator(verifier(&[&Signer::es256("k1")]));
    let failure = only_jwt.authenticate_at(&bearer(&key), now()).unwrap_err();
    assert_eq!(failure.class(), FailureClass::Unknown);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    fs::write(&path, "").unwrap();
    let only_keys = Authenticator::builder().keys(KeyRing::load(&path).unwrap()).build().unwrap();
    let failure = only_keys.authenticate_at(&bearer(&token), now()).unwrap_err();
    assert_eq!(failure.class(), FailureClass::Unknown);
    assert_eq!(only_keys.challenge(failure), "Bearer realm=\"mcp\", error=\"invalid_token\"");
}

#[test]
fn neither_debug_output_nor_failures_show_a_credential() {
    let (auth, key, token) = with_both();
    let secret = key.rsplit('_').next().unwrap();
    let signature = token.rsplit('.').next().unwrap();
    auth.authenticate_at(&bearer(&key), now()).unwrap();
    auth.authenticate_at(&bearer(&token), now()).unwrap();
    let wrong = format!("{}{}", &key[..key.len() - 1], if key.ends_with('a') { 'b' } else { 'a' });
    let failure = auth.authenticate_at(&bearer(&wrong), now()).unwrap_err();
    let shown = format!("{auth:?} {failure:?} {failure} {:?}", auth.challenge(failure));
    assert!(!shown.contains(secret) && !shown.contains(signature));
    assert!(!shown.contains(&wrong[17..]));
    assert_eq!(failure.to_string(), "authentication failed: bad_secret");
}

#[test]
fn changed_files_are_taken_over_and_bad_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let (keys_path, jwks_path) = (directory.path().join("keys"), directory.path().join("jwks"));
    let file = KeysFile::open(&keys_path).unwrap();
    let (entry, key) = file.new_key("ci", &[], None).unwrap();
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    fs::write(&jwks_path, jwks(&[&old])).unwrap();
    let config = JwtConfig::new(ISSUER, AUDIENCE);
    let auth = Authenticator::builder()
        .keys(KeyRing::load(&keys_path).unwrap())
        .jwt(JwtVerifier::from_file(config, &jwks_path).unwrap())
        .build()
        .unwrap();
    let passes = |credential: &str| auth.authenticate_at(&bearer(credential), now()).is_ok();
    let (old_token, new_token) = (old.token(&claims()), new.token(&claims()));
    assert!(!auth.refresh().unwrap(), "nothing changed");
    assert!(passes(key.reveal()) && passes(&old_token) && !passes(&new_token));

    file.revoke(entry.id()).unwrap();
    fs::write(&jwks_path, jwks(&[&new])).unwrap();
    assert!(auth.refresh().unwrap());
    assert!(!passes(key.reveal()) && !passes(&old_token) && passes(&new_token));

    let (_, second) = file.new_key("ci", &[], None).unwrap();
    fs::write(&jwks_path, "{").unwrap();
    assert!(matches!(auth.refresh(), Err(RefreshError::Jwks(_))));
    assert!(
        passes(second.reveal()) && passes(&new_token),
        "the good file counts, the bad does not"
    );
    fs::OpenOptions::new().append(true).open(&keys_path).unwrap().write_all(b"x\n").unwrap();
    let error = auth.refresh().unwrap_err();
    assert!(matches!(error, RefreshError::Keys(_)));
    assert!(passes(second.reveal()));
    fs::remove_file(&keys_path).unwrap();
    assert!(auth.refresh().is_err(), "and it is said again until it is mended");
}
