//! The header rules of revision 2026-07-28: `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` must say
//! what the body says, so that a balancer may route and a proxy may filter by header.
//!
//! Which revision a request has is decided in `era.rs`. Invariant: the body is what counts; a
//! header that says otherwise, is doubled or is badly encoded refuses the request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};
use rmcp::model::JsonObject;
use serde_json::Value;

pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PARAM_PREFIX: &str = "mcp-param-";
/// Spelt with an underscore a header may pass one proxy and not the next.
const UNDERSCORED: [&str; 3] = ["mcp_method", "mcp_name", "mcp_protocol_version"];

/// What is wrong with a header, for the `-32020` answer.
pub(crate) type Mismatch = Cow<'static, str>;

/// Returns the only value of a header, where there is one.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Mismatch> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the {name} header is there twice").into());
    }
    let text = value.to_str().map_err(|_| format!("the {name} header holds odd characters"))?;
    Ok(Some(text))
}

/// Checks `Mcp-Method` against the body's method.
pub(crate) fn check_method(headers: &HeaderMap, method: &str) -> Result<(), Mismatch> {
    if let Some(odd) = headers.keys().find(|name| UNDERSCORED.contains(&name.as_str())) {
        return Err(format!("the header {odd} must be spelt with hyphens").into());
    }
    match single(headers, &METHOD)? {
        Some(header) if header == method => Ok(()),
        Some(_) => Err("the Mcp-Method header is not the method of the body".into()),
        None => Err("the Mcp-Method header is missing".into()),
    }
}

/// Checks an `initialize` that already carries `Mcp-Method`.
pub(crate) fn check_method_if_present(headers: &HeaderMap, method: &str) -> Result<(), Mismatch> {
    if headers.contains_key(METHOD) { check_method(headers, method) } else { Ok(()) }
}

/// Checks `Mcp-Name` against what the request is about.
pub(crate) fn check_name(headers: &HeaderMap, expected: &str) -> Result<(), Mismatch> {
    let Some(header) = single(headers, &NAME)? else {
        return Err("the Mcp-Name header is missing".into());
    };
    let said = decode(header).ok_or("the Mcp-Name header is not sound Base64 of UTF-8")?;
    if said == expected {
        Ok(())
    } else {
        Err("the Mcp-Name header is not the name in the body".into())
    }
}

/// Undoes `=?base64?…?=`; the marker is case-sensitive, anything else stands for itself.
fn decode(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match inner {
        Some(inner) => {
            let bytes = BASE64_STANDARD.decode(inner).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
        None => Some(Cow::Borrowed(value)),
    }
}

/// The arguments of a tool that are mirrored in headers: path in the arguments, header name.
type Annotations = Arc<[(Vec<String>, HeaderName)]>;

/// The `x-mcp-header` annotations of the tools that were called lately.
#[derive(Debug)]
pub(crate) struct ParamHeaders {
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    tools: HashMap<Box<str>, Annotations>,
}

/// How long a tool's annotations are remembered; tools may change with a reload.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most tools that are remembered.
const TOOLS_MAX: usize = 4_096;

impl ParamHeaders {
    pub(crate) fn new() -> Self {
        let known = Known { since: Instant::now(), tools: HashMap::new() };
        Self { known: RwLock::new(known) }
    }

    /// Checks the `Mcp-Param-*` headers of a `tools/call`. Where `schema` knows no such tool there
    /// is nothing to compare with, and the handler will refuse the name.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        tool: &str,
        arguments: Option<&JsonObject>,
        now: Instant,
        schema: impl FnOnce() -> Option<Arc<JsonObject>>,
    ) -> Result<(), Mismatch> {
        let annotations = match self.remembered(tool, now) {
            Some(annotations) => annotations,
            None => match schema() {
                Some(schema) => self.remember(tool, now, &schema),
                None => return Ok(()),
            },
        };
        for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
            if !annotations.iter().any(|(_, annotated)| annotated == name) {
                return Err(format!("the tool has no argument for the header {name}").into());
            }
        }
        annotations.iter().try_for_each(|(path, name)| check_param(headers, path, name, arguments))
    }

    fn remembered(&self, tool: &str, now: Instant) -> Option<Annotations> {
        let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.saturating_duration_since(known.since) > REMEMBERED {
            return None;
        }
        known.tools.get(tool).cloned()
    }

    fn remember(&self, tool: &str, now: Instant, schema: &JsonObject) -> Annotations {
        let mut found = Vec::new();
        collect(schema.get("properties"), &mut Vec::new(), &mut found);
        let found: Annotations = found.into();
        let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let old = now.saturating_duration_since(known.since) > REMEMBERED;
        if old || known.tools.len() >= TOOLS_MAX {
            known.tools.clear();
            known.since = now;
        }
        known.tools.insert(tool.into(), Arc::clone(&found));
        found
    }
}

fn collect(
    properties: Option<&Value>,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, HeaderName)>,
) {
    let Some(Value::Object(properties)) = properties else { return };
    for (name, schema) in properties {
        path.push(name.clone());
        if let Some(header) = schema.get("x-mcp-header").and_then(Value::as_str)
            && let Ok(name) = format!("{PARAM_PREFIX}{}", header.to_ascii_lowercase()).parse()
        {
            found.push((path.clone(), name));
        }
        collect(schema.get("properties"), path, found);
        path.pop();
    }
}

fn check_param(
    headers: &HeaderMap,
    path: &[String],
    name: &HeaderName,
    arguments: Option<&JsonObject>,
) -> Result<(), Mismatch> {
    let argument = path.split_first().and_then(|(first, rest)| {
        let first = arguments?.get(first)?;
        rest.iter().try_fold(first, |value, key| value.get(key))
    });
    let expected = match argument {
        Some(Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
        Some(Value::Bool(flag)) => Some(Cow::Owned(flag.to_string())),
        Some(Value::Number(number)) => Some(Cow::Owned(number.to_string())),
        _ => None,
    };
    match (single(headers, name)?, expected) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(format!("the {name} header stands for an absent argument").into()),
        (None, Some(_)) => Err(format!("the {name} header is missing").into()),
        (Some(header), Some(expected)) => {
            let said = decode(header)
                .ok_or_else(|| format!("the {name} header is not sound Base64 of UTF-8"))?;
            if said == expected {
                Ok(())
            } else {
                Err(format!("the {name} header is not the argument in the body").into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
