//! What keeps a server from starting now, and may pass by itself: whoever runs it should try again
//! then, and not where the configuration is wrong.

use std::io;

use roothold_core::RootError;
use roothold_core::audit::AuditError;
use rustix::io::Errno;

use crate::builder::StartError;

impl StartError {
    /// Whether the same start may succeed later with nothing changed in the configuration: the store
    /// of jobs does not answer, an address is in use, the disk of the audit log is full, or the
    /// directory of a root is not mounted.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Roots(RootError::Absent { .. }) => true,
            Self::Audit(error) => match error {
                AuditError::Open(error) => is_of_the_disk(error),
                AuditError::Full | AuditError::Unavailable(_) => true,
                AuditError::TooLong => false,
            },
            _ => false,
        }
    }
}

/// Whether what ended a start may pass by itself.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<StartError>().is_some_and(StartError::may_pass)
            || cause.downcast_ref::<io::Error>().is_some_and(is_of_the_address)
    })
}

/// Whether an address cannot be had for now, since another process has it.
pub(crate) fn is_of_the_address(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Whether it is the disk that refuses: it is full, can only be read, is broken or does not answer.
pub(crate) fn is_of_the_disk(error: &io::Error) -> bool {
    const DISK: [Errno; 7] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::ROFS,
        Errno::IO,
        Errno::STALE,
        Errno::NOTCONN,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| DISK.contains(&errno))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_is_wrong() {
        let disk = |errno: Errno| StartError::Audit(AuditError::Open(Arc::new(errno.into())));
        let absent = |name: &str| {
            let (root, reason) = (name.to_owned(), "does not exist".to_owned());
            StartError::Roots(RootError::Absent { root, path: name.into(), reason })
        };
        for (error, passes) in [
            (disk(Errno::NOSPC), true),
            (disk(Errno::ROFS), true),
            (disk(Errno::IO), true),
            (disk(Errno::ACCESS), false),
            (disk(Errno::NOTDIR), false),
            (StartError::Audit(AuditError::Unavailable("writing failed".into())), true),
            (absent("files"), true),
            (StartError::Roots(RootError::Openat2(Errno::NOSYS)), false),
            (StartError::Unavailable("state.postgres: it is away".to_owned()), true),
            (StartError::State("state.postgres: the schema is newer".to_owned()), false),
        ] {
            assert_eq!(error.may_pass(), passes, "{error}");
            assert_eq!(may_pass(&error.into()), passes);
        }
        let taken = Err::<(), _>(io::Error::from(Errno::ADDRINUSE));
        assert!(may_pass(&taken.context("server.listen: cannot be used").unwrap_err()));
        let low = Err::<(), _>(io::Error::from(Errno::ACCESS));
        assert!(!may_pass(&low.context("server.listen: cannot be used").unwrap_err()));
    }
}
