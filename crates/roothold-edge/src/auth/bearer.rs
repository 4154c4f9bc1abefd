//! The one place that reads a credential from a request.
//!
//! Exactly one `Authorization: Bearer` header (RFC 6750 §2.1). The URI and the body are not looked
//! at, so `?access_token=` is not a way in.

use http::{HeaderMap, header::AUTHORIZATION};

use super::failure::FailureClass;

/// The longest credential that is looked at, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// The credential of the request: visible ASCII, 1 to [`CREDENTIAL_BYTES_MAX`] bytes.
pub(super) fn credential(headers: &HeaderMap) -> Result<&str, FailureClass> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(FailureClass::Missing)?;
    if values.next().is_some() {
        return Err(FailureClass::Malformed);
    }
    let value = value.to_str().map_err(|_| FailureClass::Malformed)?;
    let (scheme, rest) = value.split_once(' ').ok_or(FailureClass::Malformed)?;
    let credential = rest.trim_matches(' ');
    let well_formed = scheme.eq_ignore_ascii_case("bearer")
        && (1..=CREDENTIAL_BYTES_MAX).contains(&credential.len())
        && credential.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if well_formed { Ok(credential) } else { Err(FailureClass::Malformed) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_credential_is_read() {
        assert_eq!(credential(&with(&["Bearer abc"])), Ok("abc"));
        assert_eq!(credential(&with(&["bearer  abc"])), Ok("abc"));
        assert_eq!(credential(&HeaderMap::new()), Err(FailureClass::Missing));
    }

    #[test]
    fn anything_else_is_malformed() {
        let long = format!("Bearer {}", "a".repeat(CREDENTIAL_BYTES_MAX + 1));
        let cases: &[&[&str]] = &[
            &["Bearer a", "Bearer a"],
            &["Basic YTpi", "Bearer a"],
            &["Basic YTpi"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a,b"],
            &["abc"],
            &[""],
            &[&long],
        ];
        for case in cases {
            assert_eq!(credential(&with(case)), Err(FailureClass::Malformed), "{case:?}");
        }
    }
}
