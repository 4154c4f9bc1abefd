//! The names of the temporary files that writes make beside their targets.
//!
//! One of a write within a call is `.roothold-<random>.tmp`. One that may have to outlast its
//! process, since a job writes it, also says until when: `.roothold-<random>-<seconds>.tmp`.
//!
//! **Invariant**: such a name is excluded for every caller, in every root, like an exclude pattern.

use crate::fault::Fault;

const PREFIX: &str = ".roothold-";
const SUFFIX: &str = ".tmp";
const RANDOM_BYTES: usize = 16;

/// Digits of a time in seconds since 1970-01-01 UTC; they do until the year 2286.
const UNTIL_DIGITS: usize = 10;
const UNTIL_MAX: u64 = 9_999_999_999;

/// Excluded everywhere: names of this form are never a caller's. It says less than the names themselves do, since `?`
/// thirty-two times over, each of it any character, is megabytes of automaton for every root.
pub(crate) const TEMP_PATTERN: &str = ".roothold-*.tmp";

/// The name of one temporary file; nobody can guess it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TempName(String);

impl TempName {
    /// A fresh name.
    pub(crate) fn random() -> Result<Self, Fault> {
        let mut bytes = [0u8; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Fault::internal(error.to_string()))?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(format!("{PREFIX}{hex}{SUFFIX}")))
    }

    /// The name of a file that is left alone until then, in seconds since 1970-01-01 UTC,
    /// whatever becomes of the process that writes it.
    pub(crate) fn kept_until(&self, seconds: u64) -> Self {
        let random = &self.0[PREFIX.len()..PREFIX.len() + 2 * RANDOM_BYTES];
        let until = seconds.min(UNTIL_MAX);
        Self(format!("{PREFIX}{random}-{until:0UNTIL_DIGITS$}{SUFFIX}"))
    }

    /// The name, if it is one that [`Self::random`] or [`Self::kept_until`] could have made.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let random = name.strip_prefix(PREFIX.as_bytes())?.strip_suffix(SUFFIX.as_bytes())?;
        let (hex, until) = random.split_at_checked(2 * RANDOM_BYTES)?;
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let is_until = match until {
            [] => true,
            [b'-', digits @ ..] => {
                digits.len() == UNTIL_DIGITS && digits.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        };
        if !is_until || !hex.iter().all(is_hex) {
            return None;
        }
        str::from_utf8(name).ok().map(|name| Self(name.to_owned()))
    }

    /// Until when the file is left alone, in seconds since 1970-01-01 UTC, if its name says so.
    pub(crate) fn until(&self) -> Option<i64> {
        let rest = &self.0[PREFIX.len() + 2 * RANDOM_BYTES..];
        rest.strip_prefix('-')?.strip_suffix(SUFFIX)?.parse().ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::PatternSet;

    #[test]
    fn a_name_is_known_again_and_covered_by_the_pattern() {
        let (one, other) = (TempName::random().unwrap(), TempName::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(TempName::parse(one.as_str().as_bytes()), Some(one.clone()));
        let set = PatternSet::excluding(&[TEMP_PATTERN]).unwrap();
        let kept = [0, 1_800_000_000, u64::MAX].map(|seconds| one.kept_until(seconds));
        for name in kept.iter().chain([&one, &other]) {
            assert_eq!(TempName::parse(name.as_str().as_bytes()).as_ref(), Some(name));
            assert!(set.covering(format!("a/b/{}", name.as_str()).as_bytes()).is_some());
            assert!(set.covering(name.as_str().to_uppercase().as_bytes()).is_some());
        }
        let until = kept.map(|name| name.until());
        assert_eq!(until, [Some(0), Some(1_800_000_000), Some(9_999_999_999)]);
        assert_eq!(one.until(), None);
    }

    #[test]
    fn names_of_others_are_not_ours() {
        let hex = "0123456789abcdef0123456789abcdef";
        for name in [
            format!(".roothold-{}.tmp", &hex[1..]),
            format!(".roothold-{hex}0.tmp"),
            format!(".roothold-{}.tmp", hex.to_uppercase()),
            format!("x.roothold-{hex}.tmp"),
            format!(".roothold-{hex}.tmp2"),
            format!(".roothold-{}.tmp", hex.replace('a', "/")),
            format!(".roothold-{hex}-.tmp"),
            format!(".roothold-{hex}-180000000.tmp"),
            format!(".roothold-{hex}-18000000000.tmp"),
            format!(".roothold-{hex}-180000000a.tmp"),
            format!(".roothold-{hex}_1800000000.tmp"),
        ] {
            assert_eq!(TempName::parse(name.as_bytes()), None, "{name}");
        }
    }
}
