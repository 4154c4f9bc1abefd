//! What an audit line says, and how it is written. The order of the fields is fixed: golden
//! tests hold it, since other people's tools read these lines.
//!
//! **Invariant**: serialising is by hand into a reused buffer and never fails; a record is
//! names, numbers and decisions, never the content of what was read or written.

use std::net::IpAddr;
use std::time::Duration;

use super::escape::{push_number, push_string};
use super::links::Link;

/// The most bytes of one string in a record; a longer one is cut and says so.
pub const STRING_BYTES_MAX: usize = 4 * 1024;

/// The most bytes of one line. An intent that would be longer is refused, since a record that
/// leaves out what was touched would be no record.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// The number that ties a call's intent to its outcome, unique within one audit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u64);

impl CallId {
    /// The id with this number. [`super::AuditLog::next_call`] gives out fresh ones.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number as it stands in the records.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One thing that a call would touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action<'a> {
    /// What would be done, such as `read`.
    pub verb: &'a str,
    /// What it would be done to, by its public name.
    pub target: &'a str,
    /// The rule that denied it, where the call goes on without it.
    pub denied: Option<&'a str>,
    /// The name of the temporary file that a write may make beside its target.
    pub temp: Option<&'a str>,
    /// What a database would be asked, without literals.
    pub statement: Option<&'a str>,
}

/// What the policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The call may run.
    Allow,
    /// The call was refused.
    Deny,
}

/// A call that was decided, before it has any effect.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// Ties the outcome to this intent.
    pub call: CallId,
    /// Who asked.
    pub principal: &'a str,
    /// The tool, or the method for what is not a tool call.
    pub tool: &'a str,
    /// Everything that would be touched.
    pub actions: &'a [Action<'a>],
    /// What the policy said.
    pub decision: Decision,
    /// The rule that decided.
    pub rule: &'a str,
    /// The id of the request, as in logs and traces.
    pub request_id: &'a str,
}

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// The call of the intent.
    pub call: CallId,
    /// `None` for success, otherwise the kind of the fault.
    pub fault: Option<&'a str>,
    /// The rule behind a refusal that came after the intent, such as one on the opened file.
    pub rule: Option<&'a str>,
    /// The size of the answer in bytes.
    pub bytes_out: u64,
    /// How long the call took.
    pub duration: Duration,
}

/// A request that was refused before anybody was known.
#[derive(Debug, Clone, Copy)]
pub struct AuthFailure<'a> {
    /// What was wrong, from a closed set such as `expired`; never the credential.
    pub class: &'a str,
    /// The peer's address, where there is one.
    pub remote: Option<IpAddr>,
    /// The id of the request, as in logs and traces.
    pub request_id: &'a str,
}

/// One line's own part: everything but version, number, time and chain.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    Boot {
        version: &'a str,
        boot: &'a str,
        replica: &'a str,
        after: Option<&'a Link>,
    },
    Intent(&'a Intent<'a>),
    Outcome(&'a Outcome<'a>),
    AuthFailure(&'a AuthFailure<'a>),
    /// A file before this one is not written any more.
    Closed(&'a Link),
    Stop {
        next: Option<&'a str>,
    },
}

impl Entry<'_> {
    /// Appends `"kind":…` and the fields of that kind.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Boot { version, boot, replica, after } => {
                out.extend_from_slice(b"\"kind\":\"boot\"");
                push_field(out, b",\"version\":", version);
                push_field(out, b",\"boot\":", boot);
                push_field(out, b",\"replica\":", replica);
                if let Some(link) = after {
                    push_link(out, b",\"after\":", link);
                }
            }
            Entry::Intent(intent) => push_intent(out, intent),
            Entry::Outcome(outcome) => push_outcome(out, outcome),
            Entry::AuthFailure(failure) => {
                out.extend_from_slice(b"\"kind\":\"auth_failure\"");
                push_field(out, b",\"class\":", failure.class);
                match failure.remote {
                    Some(ip) => push_field(out, b",\"remote\":", &ip.to_string()),
                    None => out.extend_from_slice(b",\"remote\":null"),
                }
                push_field(out, b",\"request_id\":", failure.request_id);
            }
            Entry::Closed(link) => push_link(out, b"\"kind\":\"closed\",\"file\":", link),
            Entry::Stop { next } => {
                out.extend_from_slice(b"\"kind\":\"stop\"");
                if let Some(next) = next {
                    push_field(out, b",\"next\":", next);
                }
            }
        }
    }
}

fn push_intent(out: &mut Vec<u8>, intent: &Intent<'_>) {
    out.extend_from_slice(b"\"kind\":\"intent\",\"call\":");
    push_number(out, intent.call.0);
    push_field(out, b",\"principal\":", intent.principal);
    push_field(out, b",\"tool\":", intent.tool);
    out.extend_from_slice(b",\"actions\":[");
    for (at, action) in intent.actions.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_field(out, b"{\"verb\":", action.verb);
        push_field(out, b",\"target\":", action.target);
        if let Some(rule) = action.denied {
            push_field(out, b",\"denied\":", rule);
        }
        if let Some(temp) = action.temp {
            push_field(out, b",\"temp\":", temp);
        }
        if let Some(statement) = action.statement {
            push_field(out, b",\"statement\":", statement);
        }
        out.push(b'}');
    }
    out.extend_from_slice(match intent.decision {
        Decision::Allow => b"],\"decision\":\"allow\"",
        Decision::Deny => b"],\"decision\":\"deny\"",
    });
    push_field(out, b",\"rule\":", intent.rule);
    push_field(out, b",\"request_id\":", intent.request_id);
}

fn push_outcome(out: &mut Vec<u8>, outcome: &Outcome<'_>) {
    out.extend_from_slice(b"\"kind\":\"outcome\",\"call\":");
    push_number(out, outcome.call.0);
    match outcome.fault {
        None => out.extend_from_slice(b",\"ok\":true"),
        Some(kind) => push_field(out, b",\"ok\":false,\"fault\":", kind),
    }
    if let Some(rule) = outcome.rule {
        push_field(out, b",\"rule\":", rule);
    }
    out.extend_from_slice(b",\"bytes_out\":");
    push_number(out, outcome.bytes_out);
    out.extend_from_slice(b",\"duration_us\":");
    push_number(out, u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX));
}

/// Its hash has another name than the line's own, which stays the only `,"hash":"` of a line.
fn push_link(out: &mut Vec<u8>, name: &[u8], link: &Link) {
    out.extend_from_slice(name);
    push_field(out, b"{\"log\":", &link.log);
    out.extend_from_slice(b",\"seq\":");
    push_number(out, link.seq);
    push_field(out, b",\"head\":", &link.head);
    out.push(b'}');
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    push_string(out, value);
}
