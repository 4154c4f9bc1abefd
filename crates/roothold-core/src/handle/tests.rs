//! Tests of sealed handles.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const TTL: Duration = Duration::from_mins(10);
const PURPOSE: &str = "cursor/list_directory";

fn key(kid: &str, byte: u8) -> HandleKey {
    HandleKey { kid: kid.to_owned(), secret: [byte; 32] }
}

fn sealer(keys: &[(&str, u8)]) -> Sealer {
    Sealer::new(keys.iter().map(|(kid, byte)| key(kid, *byte)).collect()).unwrap()
}

fn open(sealer: &Sealer, handle: &str) -> Result<(String, u64), HandleError> {
    sealer.open(PURPOSE, "alice", handle)
}

#[test]
fn what_was_sealed_comes_back() {
    let sealer = sealer(&[("a", 1)]);
    let payload = ("docs/ü.md".to_owned(), 42u64);
    let handle = sealer.seal(PURPOSE, "alice", TTL, &payload).unwrap();
    assert!(handle.starts_with("v1.a."), "{handle}");
    assert_eq!(open(&sealer, &handle), Ok(payload.clone()));
    let again = sealer.seal(PURPOSE, "alice", TTL, &payload).unwrap();
    assert_ne!(handle, again, "the nonce is random");
}

#[test]
fn every_changed_byte_is_noticed() {
    let sealer = sealer(&[("a", 1), ("b", 2)]);
    let handle = sealer.seal(PURPOSE, "alice", TTL, &("x".to_owned(), 1u64)).unwrap();
    for at in 0..handle.len() {
        for replacement in [b'A', b'b', b'.', b'_', b'9', b'='] {
            let mut bytes = handle.clone().into_bytes();
            if bytes[at] == replacement {
                continue;
            }
            bytes[at] = replacement;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(open(&sealer, &changed).is_err(), "byte {at} as {replacement}");
        }
    }
    for len in 0..handle.len() {
        assert!(open(&sealer, &handle[..len]).is_err(), "cut to {len}");
    }
    assert!(open(&sealer, &format!("{handle}A")).is_err());
}

#[test]
fn each_refusal_has_its_reason_and_all_read_the_same() {
    let sealer = sealer(&[("a", 1)]);
    let payload = ("x".to_owned(), 1u64);
    let handle = sealer.seal(PURPOSE, "alice", TTL, &payload).unwrap();
    let other = |purpose, principal| sealer.open::<(String, u64)>(purpose, principal, &handle);
    assert_eq!(other(PURPOSE, "bob"), Err(HandleError::WrongPrincipal));
    assert_eq!(other("cursor/search_files", "alice"), Err(HandleError::WrongPurpose));
    assert_eq!(sealer.open::<u64>(PURPOSE, "alice", &handle), Err(HandleError::Malformed));
    assert_eq!(open(&sealer, &handle.replace("v1.a.", "v1.z.")), Err(HandleError::UnknownKey));
    assert_eq!(open(&sealer, &handle.replace("v1.a.", "v2.a.")), Err(HandleError::Malformed));
    assert_eq!(open(&sealer, ""), Err(HandleError::Malformed));
    assert_eq!(open(&sealer, "v1.a.!!!"), Err(HandleError::Malformed));
    assert_eq!(open(&sealer, "v1.a.AAAA"), Err(HandleError::Malformed));
    let forged = format!("v1.a.{}", URL_SAFE_NO_PAD.encode([0; 100]));
    assert_eq!(open(&sealer, &forged), Err(HandleError::Tampered));
    for error in [HandleError::Tampered, HandleError::Expired, HandleError::WrongPrincipal] {
        assert_eq!(error.to_string(), "invalid or expired cursor; start again without it");
    }
}

#[test]
fn parts_cannot_be_shifted_into_each_other() {
    let sealer = sealer(&[("a", 1)]);
    let handle = sealer.seal("ab", "c", TTL, &1u8).unwrap();
    assert_eq!(sealer.open::<u8>("a", "bc", &handle), Err(HandleError::WrongPurpose));
}

#[test]
fn a_handle_ends_with_its_time() {
    static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);
    let clock = || UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::Relaxed));
    let sealer = sealer(&[("a", 1)]).with_clock(clock);
    let handle = sealer.seal(PURPOSE, "alice", TTL, &("x".to_owned(), 1u64)).unwrap();
    NOW.fetch_add(TTL.as_secs() - 1, Ordering::Relaxed);
    assert!(open(&sealer, &handle).is_ok());
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(open(&sealer, &handle), Err(HandleError::Expired));
    let endless = sealer.seal(PURPOSE, "alice", Duration::MAX, &("x".to_owned(), 1u64)).unwrap();
    assert!(open(&sealer, &endless).is_ok(), "no overflow");
}

#[test]
fn keys_rotate() {
    let payload = ("x".to_owned(), 1u64);
    let old = sealer(&[("old", 1)]);
    let both = sealer(&[("new", 2), ("old", 1)]);
    let new = sealer(&[("new", 2)]);
    let from_old = old.seal(PURPOSE, "alice", TTL, &payload).unwrap();
    let from_both = both.seal(PURPOSE, "alice", TTL, &payload).unwrap();
    assert!(from_both.starts_with("v1.new."));
    assert!(open(&both, &from_old).is_ok());
    assert!(open(&new, &from_both).is_ok());
    assert_eq!(open(&new, &from_old), Err(HandleError::UnknownKey));
    let same_name = sealer(&[("old", 9)]);
    assert_eq!(open(&same_name, &from_old), Err(HandleError::Tampered));
}

#[test]
fn ephemeral_keys_differ() {
    let (one, two) = (Sealer::ephemeral().unwrap(), Sealer::ephemeral().unwrap());
    let handle = one.seal(PURPOSE, "alice", TTL, &("x".to_owned(), 1u64)).unwrap();
    assert!(open(&one, &handle).is_ok());
    assert_eq!(open(&two, &handle), Err(HandleError::Tampered));
}

#[test]
fn length_is_bounded_both_ways() {
    let sealer = sealer(&[("a", 1)]);
    let big = "x".repeat(HANDLE_LEN_MAX);
    assert!(matches!(sealer.seal(PURPOSE, "alice", TTL, &big), Err(SealError::TooLong { .. })));
    let long = "v1.a.".to_owned() + &big;
    assert_eq!(open(&sealer, &long), Err(HandleError::Malformed));
}

#[test]
fn unusable_keys_are_refused_and_secrets_not_shown() {
    assert!(matches!(Sealer::new(vec![]), Err(SealerError::NoKey)));
    for kid in ["", "a.b", "ü", &"k".repeat(KEY_ID_LEN_MAX + 1)] {
        assert!(matches!(Sealer::new(vec![key(kid, 1)]), Err(SealerError::BadKeyId(_))), "{kid}");
    }
    let twice = Sealer::new(vec![key("a", 1), key("a", 2)]);
    assert!(matches!(twice, Err(SealerError::DuplicateKeyId(_))));
    let shown = format!("{:?} {:?}", key("a", 77), sealer(&[("a", 77)]));
    assert!(!shown.contains("77") && !shown.contains("4d"), "{shown}");
}
