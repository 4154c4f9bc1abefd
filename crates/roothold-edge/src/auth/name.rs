//! What a principal may be called.
//!
//! Names reach the log, the audit trail and quota tables, so they are bounded and printable.

/// The longest principal name, in bytes.
pub const PRINCIPAL_BYTES_MAX: usize = 256;

/// Whether `name` can stand as a principal: 1 to 256 bytes, no control character, and no white
/// space at either end.
pub(super) fn is_principal_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= PRINCIPAL_BYTES_MAX
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// Whether `scope` is one scope token as RFC 6749 §3.3 has it, so that it needs no escaping in a
/// list or a quoted header value.
pub(super) fn is_scope(scope: &str) -> bool {
    (1..=128).contains(&scope.len())
        && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(is_principal_name("ci@example.org"));
        assert!(is_principal_name("Zoë"));
        assert!(is_principal_name(&"n".repeat(256)));
        for bad in ["", " a", "a\n", "a\u{0}b", "a\u{85}b", &"n".repeat(257)] {
            assert!(!is_principal_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_cannot_leave_its_quotes() {
        assert!(is_scope("files:read"));
        for bad in ["", "a b", "a\"", "a\\", "a\n", "é"] {
            assert!(!is_scope(bad), "{bad:?}");
        }
    }
}
