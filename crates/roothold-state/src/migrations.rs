//! The steps that make the schema, in order. They only go forward, and a step that was ever
//! released is never edited: each is stored with its hash, and a start compares them.

use sha2::{Digest as _, Sha256};

use crate::error::OpenError;

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// Its number; they count from 1.
    pub(crate) version: i64,
    /// The statements.
    pub(crate) sql: &'static str,
}

impl Migration {
    /// The hash that tells whether it is still what it was.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.sql).to_vec()
    }
}

pub(crate) const SQLITE: &[Migration] = &[
    Migration { version: 1, sql: include_str!("migrations/sqlite_1.sql") },
    Migration { version: 2, sql: include_str!("migrations/sqlite_2.sql") },
];

pub(crate) const PG: &[Migration] = &[
    Migration { version: 1, sql: include_str!("migrations/pg_1.sql") },
    Migration { version: 2, sql: include_str!("migrations/pg_2.sql") },
];

/// Which of `known` are still to be done, given what was `applied` (number, hash).
pub(crate) fn pending<'a>(
    known: &'a [Migration],
    applied: &[(i64, Vec<u8>)],
) -> Result<&'a [Migration], OpenError> {
    let newest = known.last().map_or(0, |migration| migration.version);
    for (index, (version, hash)) in applied.iter().enumerate() {
        match known.get(index) {
            None => return Err(OpenError::Newer { found: *version, known: newest }),
            Some(migration) if migration.version != *version || migration.hash() != *hash => {
                return Err(OpenError::Altered { version: *version });
            }
            Some(_) => {}
        }
    }
    Ok(&known[applied.len()..])
}

/// Whether a store has all of `known`, and may be used as it is.
pub(crate) fn complete(known: &[Migration], applied: &[(i64, Vec<u8>)]) -> Result<(), OpenError> {
    let pending = pending(known, applied)?;
    if pending.is_empty() {
        return Ok(());
    }
    let found = applied.last().map_or(0, |(version, _)| *version);
    Err(OpenError::Older { found, known: known.last().map_or(0, |newest| newest.version) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Migration] =
        &[Migration { version: 1, sql: "one" }, Migration { version: 2, sql: "two" }];

    fn applied(upto: usize) -> Vec<(i64, Vec<u8>)> {
        KNOWN[..upto].iter().map(|step| (step.version, step.hash())).collect()
    }

    #[test]
    fn what_is_missing_is_pending() {
        for done in 0..=2 {
            let left = pending(KNOWN, &applied(done)).unwrap();
            assert!(
                left.iter().map(|step| step.version).eq(KNOWN[done..].iter().map(|s| s.version))
            );
        }
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut newer = applied(2);
        newer.push((3, vec![1]));
        let error = pending(KNOWN, &newer).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 3, known: 2 }), "{error}");
        assert!(error.to_string().contains("a newer version used it"));
    }

    #[test]
    fn an_edited_step_and_a_gap_are_refused() {
        let mut edited = applied(2);
        edited[0].1 = vec![0; 32];
        assert!(matches!(pending(KNOWN, &edited), Err(OpenError::Altered { version: 1 })));
        let gap = applied(2).split_off(1);
        assert!(matches!(pending(KNOWN, &gap), Err(OpenError::Altered { version: 2 })));
    }

    #[test]
    fn what_is_not_to_be_changed_must_be_complete() {
        complete(KNOWN, &applied(2)).unwrap();
        let error = complete(KNOWN, &applied(1)).unwrap_err();
        assert!(matches!(error, OpenError::Older { found: 1, known: 2 }), "{error}");
        let mut newer = applied(2);
        newer.push((3, vec![1]));
        assert!(matches!(complete(KNOWN, &newer), Err(OpenError::Newer { .. })));
    }

    #[test]
    fn the_steps_count_from_one() {
        for steps in [SQLITE, PG] {
            assert!(steps.iter().map(|step| step.version).eq((1..).take(steps.len())));
        }
    }
}
