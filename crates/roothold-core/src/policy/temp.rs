//! The names of the temporary files that writes make beside their targets.
//!
//! **Invariant**: such a name is excluded for every caller, in every root, like an exclude pattern.

use crate::fault::Fault;

const PREFIX: &str = ".roothold-";
const SUFFIX: &str = ".tmp";
const RANDOM_BYTES: usize = 16;

/// Excluded everywhere: a name of this form is never a caller's.
pub(crate) const TEMP_PATTERN: &str = ".roothold-????????????????????????????????.tmp";

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

    /// The name, if it is one that [`Self::random`] could have made.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let hex = name.strip_prefix(PREFIX.as_bytes())?.strip_suffix(SUFFIX.as_bytes())?;
        let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if hex.len() != 2 * RANDOM_BYTES || !hex.iter().all(is_hex) {
            return None;
        }
        str::from_utf8(name).ok().map(|name| Self(name.to_owned()))
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
        assert!(set.covering(format!("a/b/{}", one.as_str()).as_bytes()).is_some());
        assert!(set.covering(one.as_str().to_uppercase().as_bytes()).is_some());
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
        ] {
            assert_eq!(TempName::parse(name.as_bytes()), None, "{name}");
        }
    }
}
