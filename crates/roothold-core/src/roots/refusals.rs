//! Why the directory of a root cannot be served: it is not there, is closed to the user, or the kernel
//! cannot confine.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{RootError, RootSpec};

/// What the system says of a directory whose disk or server does not answer.
const LOST: [Errno; 8] = [
    Errno::IO,
    Errno::STALE,
    Errno::NOTCONN,
    Errno::HOSTDOWN,
    Errno::HOSTUNREACH,
    Errno::TIMEDOUT,
    Errno::NODEV,
    Errno::NXIO,
];

/// Why the directory of a root cannot be opened.
pub(super) fn unopened(spec: &RootSpec, errno: Errno) -> RootError {
    let (root, path) = (spec.name.clone(), spec.path.clone());
    let reason = match errno {
        Errno::NOENT => "does not exist; create it, mount its disk, or correct the key".to_owned(),
        Errno::NOTDIR => "is not a directory; name the directory that holds it".to_owned(),
        Errno::ACCESS | Errno::PERM => {
            let user = rustix::process::geteuid();
            format!(
                "may not be opened by the user that runs this process (uid {user}); let that user \
                 into it and into the directories above, by group (chgrp, chmod g+rx) or by an access \
                 control list (setfacl -m u:{user}:rx)"
            )
        }
        other => format!("cannot be opened: {other}"),
    };
    if errno == Errno::NOENT || LOST.contains(&errno) {
        RootError::Absent { root, path, reason }
    } else {
        RootError::Path { root, path, reason }
    }
}

/// Why nothing can be opened below a root: its own fault where the same can be done at `/`, and
/// that of the kernel or of what filters its calls where it cannot.
pub(super) fn unconfined(spec: &RootSpec, errno: Errno) -> RootError {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = openat(CWD, "/", flags, Mode::empty());
    match top.and_then(|top| crate::gate::probe(&top)) {
        Ok(()) => unopened(spec, errno),
        Err(_) => RootError::Openat2(errno),
    }
}
