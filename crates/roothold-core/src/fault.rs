//! What went wrong, in the one form that may leave the process.
//!
//! A [`Fault`] has a closed kind, a text written for the agent, and a cause that goes to the
//! log only. Mapping a kind to the wire is the server's business, in one file there.

use std::error::Error as StdError;
use std::fmt;

/// The closed set of ways in which a call can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The arguments are wrong; the same call will fail again.
    Invalid,
    /// Policy says no.
    Denied,
    /// There is nothing at that path, or nothing by that name.
    NotFound,
    /// A limit was reached: bytes, entries, depth.
    Limit,
    /// The target changed meanwhile; read it again.
    Conflict,
    /// The target is of a kind that this tool does not handle.
    Unsupported,
    /// No capacity just now; the same call may succeed later.
    Busy,
    /// The client cancelled, or hung up.
    Cancelled,
    /// The deadline passed.
    Timeout,
    /// Something the server depends on, such as its audit log, is out of order.
    Unavailable,
    /// A defect or an unexpected condition of the server; the cause is in its log.
    Internal,
}

impl FaultKind {
    /// Every kind, in the order of declaration: for tables, metrics and tests.
    pub const ALL: [Self; 11] = [
        Self::Invalid,
        Self::Denied,
        Self::NotFound,
        Self::Limit,
        Self::Conflict,
        Self::Unsupported,
        Self::Busy,
        Self::Cancelled,
        Self::Timeout,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The stable code that clients, metrics and the audit log see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Limit => "limit",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// A failure: its kind, what the agent may read of it, and the cause for the log.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    public: String,
    rule: Option<Rule>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The rule behind a denial, as the audit log and `explain` name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which kind of rule it was: `roots`, `exclude`, `read`, `write`, `access`, …
    pub name: &'static str,
    /// The pattern or the scopes that decided, where there are any.
    pub detail: Option<String>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} `{detail}`", self.name),
            None => f.write_str(self.name),
        }
    }
}

impl Fault {
    /// A fault of `kind` with a text for the agent: what was wrong, what to try.
    pub fn new(kind: FaultKind, public: impl Into<String>) -> Self {
        Self { kind, public: public.into(), rule: None, source: None }
    }

    /// Wrong arguments.
    pub fn invalid(public: impl Into<String>) -> Self {
        Self::new(FaultKind::Invalid, public)
    }

    /// A denial by a rule. The text must not tell whether the target exists.
    pub fn denied(rule: Rule, hint: &str) -> Self {
        let public = format!("rule {rule}: {hint}");
        Self { kind: FaultKind::Denied, public, rule: Some(rule), source: None }
    }

    /// Nothing there.
    pub fn not_found(public: impl Into<String>) -> Self {
        Self::new(FaultKind::NotFound, public)
    }

    /// An unexpected condition: the agent reads a fixed text, the log has the cause.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(
            FaultKind::Internal,
            "the server met an unexpected condition; its log has the cause",
        )
        .with_source(source)
    }

    /// Adds the cause, which goes to the log only.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same fault once more, without its cause.
    #[must_use]
    pub fn again(&self) -> Self {
        let (public, rule) = (self.public.clone(), self.rule.clone());
        Self { kind: self.kind, public, rule, source: None }
    }

    /// The same fault with more for the agent to read.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.public.push_str("; ");
        self.public.push_str(more);
        self
    }

    /// The kind.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The text for the agent.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The rule that denied, if one did.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }

    /// The scopes that the credential lacks, space-separated, when that is why it was denied.
    pub fn missing_scopes(&self) -> Option<&str> {
        let rule = self.rule.as_ref()?;
        if rule.name == crate::policy::RULE_SCOPES { rule.detail.as_deref() } else { None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
