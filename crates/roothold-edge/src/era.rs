//! Which revision a request speaks: from its `MCP-Protocol-Version` header and its `_meta`.
//!
//! Invariant: a request whose header and body disagree is refused, and one that names the modern
//! revision in either place is never served by an older one's rules.

use http::{HeaderMap, StatusCode};
use rmcp::model::{ErrorCode, ErrorData, ProtocolVersion};

use crate::headers::{self, PROTOCOL_VERSION};
use crate::params::{Seen, Version};
use crate::request::keys;

pub(crate) const MODERN: &str = "2026-07-28";

/// The revision of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2026-07-28: stateless, with per-request metadata and mirrored headers.
    Modern,
    /// An older revision, by its place in [`OLDER`].
    Older(usize),
    /// Negotiated per request on an older revision: served by rmcp.
    Inline,
}

/// The older revisions.
pub(crate) const OLDER: [ProtocolVersion; 4] = [
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2024_11_05,
];
/// What a request without the header speaks (2025-06-18, "Protocol Version Header").
const UNSTATED: usize = 2;

/// A refusal with its HTTP status.
pub(crate) type Refused = (StatusCode, ErrorData);

fn refuse<T>(
    code: ErrorCode,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> Result<T, Refused> {
    Err((StatusCode::BAD_REQUEST, ErrorData::new(code, message, None)))
}

/// Decides the revision of a message by its header alone: a notification, or a session's `GET`.
pub(crate) fn of_headers(
    headers: &HeaderMap,
    supported: &[ProtocolVersion],
) -> Result<Era, Refused> {
    let header = match headers::single(headers, &PROTOCOL_VERSION) {
        Ok(header) => header,
        Err(message) => return refuse(ErrorCode::HEADER_MISMATCH, message),
    };
    match header {
        None => Ok(Era::Older(UNSTATED)),
        Some(header) => named(header, supported),
    }
}

fn named(version: &str, supported: &[ProtocolVersion]) -> Result<Era, Refused> {
    if supported.iter().any(|known| known.as_str() == version) {
        if version == MODERN {
            return Ok(Era::Modern);
        }
        if let Some(at) = OLDER.iter().position(|older| older.as_str() == version) {
            return Ok(Era::Older(at));
        }
    }
    Err((StatusCode::BAD_REQUEST, unsupported(version, supported)))
}

/// The `-32022` error. The version is the caller's text, so a long one is cut.
fn unsupported(version: &str, supported: &[ProtocolVersion]) -> ErrorData {
    let version: String = version.chars().take(32).collect();
    let data = serde_json::json!({"requested": version, "supported": supported});
    let message = "unsupported protocol version; use one of `supported`";
    ErrorData::new(ErrorCode::UNSUPPORTED_PROTOCOL_VERSION, message, Some(data))
}

/// Decides the revision of a request other than `initialize`.
pub(crate) fn of_request(
    headers: &HeaderMap,
    method: &str,
    seen: &Seen<'_>,
    supported: &[ProtocolVersion],
) -> Result<Era, Refused> {
    let header = match headers::single(headers, &PROTOCOL_VERSION) {
        Ok(header) => header,
        Err(message) => return refuse(ErrorCode::HEADER_MISMATCH, message),
    };
    match (header, seen.version) {
        (Some(header), Version::Named(version)) if header == version => {
            let era = named(version, supported)?;
            if !seen.capable {
                return missing(keys::CAPABILITIES);
            }
            Ok(if era == Era::Modern { era } else { Era::Inline })
        }
        (Some(_), Version::Named(_)) => refuse(
            ErrorCode::HEADER_MISMATCH,
            "the MCP-Protocol-Version header is not the version in `_meta`",
        ),
        (None, Version::Named(_)) => {
            refuse(ErrorCode::HEADER_MISMATCH, "the MCP-Protocol-Version header is missing")
        }
        (_, Version::Odd) => missing(keys::VERSION),
        (Some(header), Version::Absent) => match named(header, supported)? {
            Era::Modern => missing(keys::VERSION),
            _ if method == "server/discover" => missing(keys::VERSION),
            era => Ok(era),
        },
        (None, Version::Absent) if method == "server/discover" => missing(keys::VERSION),
        (None, Version::Absent) => Ok(Era::Older(UNSTATED)),
    }
}

fn missing<T>(key: &str) -> Result<T, Refused> {
    let message = format!("request `_meta` is missing or has a malformed required field: {key}");
    refuse(ErrorCode::INVALID_PARAMS, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rmcp::model::RequestMetaObject;
    use serde_json::{Value, json};

    use super::*;

    fn decide(header: Option<&'static str>, meta: &Value) -> Result<Era, i32> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(header));
        }
        let meta: RequestMetaObject = serde_json::from_value(meta.clone()).unwrap();
        of_request(&headers, "tools/call", &Seen::of(&meta), ProtocolVersion::KNOWN_VERSIONS)
            .map_err(|(_, error)| error.code.0)
    }

    #[test]
    fn header_and_body_must_agree() {
        let modern = json!({keys::VERSION: MODERN, keys::CAPABILITIES: {}});
        assert_eq!(decide(Some(MODERN), &modern), Ok(Era::Modern));
        assert_eq!(decide(None, &modern), Err(-32020));
        assert_eq!(decide(Some("2025-11-25"), &modern), Err(-32020));
        assert_eq!(decide(Some(MODERN), &json!({})), Err(-32602));
        assert_eq!(decide(Some(MODERN), &json!({keys::VERSION: MODERN})), Err(-32602));
        assert_eq!(decide(Some(MODERN), &json!({keys::VERSION: 1})), Err(-32602));
        let odd = json!({keys::VERSION: MODERN, keys::CAPABILITIES: {"elicitation": 5}});
        assert_eq!(decide(Some(MODERN), &odd), Err(-32602));
        assert_eq!(decide(Some("2025-11-25"), &json!({})), Ok(Era::Older(0)));
        assert_eq!(decide(None, &json!({})), Ok(Era::Older(2)));
        assert_eq!(decide(Some("1999-01-01"), &json!({})), Err(-32022));
        let future = json!({keys::VERSION: "2999-01-01", keys::CAPABILITIES: {}});
        assert_eq!(decide(Some("2999-01-01"), &future), Err(-32022));
    }
}
