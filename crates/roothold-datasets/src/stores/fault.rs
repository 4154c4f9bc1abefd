//! What went wrong with a store, as a fault: without its words, since they may quote requests.

use std::error::Error as StdError;

use object_store_remote::Error;
use object_store_remote::client::{HttpError, HttpErrorKind};
use roothold_core::{Fault, FaultKind, ObjectUrl};

use super::guard::Refused;

/// The fault for an error over an object, or over a list of those below it.
pub(super) fn fault_of(error: &Error, url: &ObjectUrl) -> Fault {
    let unavailable = |what: &str| {
        let what = format!("{url} {what}");
        Fault::new(FaultKind::Unavailable, what).with_source(told(error))
    };
    if let Some(fault) = crate::refusal::fault_in(error) {
        return fault;
    }
    if let Some(refused) = inside::<Refused>(error) {
        return unavailable(&refused.to_string());
    }
    match error {
        Error::NotFound { .. } => {
            Fault::not_found(format!("{url} is not there; list_datasets shows the stores"))
        }
        Error::Precondition { .. } => crate::source::changed(&url.to_string()),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => unavailable(
            "cannot be read with the credentials of its store, or is not there; tell the operator",
        ),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => Fault::new(
            FaultKind::Unsupported,
            format!(
                "the server of {url} gives no parts of it (range requests), so it cannot be read"
            ),
        ),
        _ => match inside::<HttpError>(error).map(HttpError::kind) {
            Some(HttpErrorKind::Timeout) => unavailable("does not come in time; try again later"),
            Some(HttpErrorKind::Connect) => {
                unavailable("cannot be reached; try again later, or tell the operator")
            }
            _ => unavailable(
                "cannot be read: the server answers with an error, or not as such a store does; try again later, or tell the operator",
            ),
        },
    }
}

/// An error of some kind that was wrapped on its way.
fn inside<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut error = Some(error);
    while let Some(inner) = error {
        if let Some(found) = inner.downcast_ref::<T>() {
            return Some(found);
        }
        error = inner.source();
    }
    None
}

/// For the log: which kind of error, and the status if there was one; no word of the server's.
fn told(error: &Error) -> String {
    let kind = match error {
        Error::PermissionDenied { .. } => "the store denies it",
        Error::Unauthenticated { .. } => "the store does not know the credentials",
        _ => "the store failed",
    };
    let text = error.to_string();
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3));
    let status = status.filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()));
    let cause = inside::<HttpError>(error).map(HttpError::kind);
    match (status, cause) {
        (Some(status), _) => format!("{kind}: status {status}"),
        (None, Some(cause)) => format!("{kind}: {cause:?}"),
        (None, None) => kind.to_owned(),
    }
}
