//! What a source's role could do that it should not.

use serde::Serialize;

/// What was found out about the rights that a source works with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Everything that was found; what disables comes first.
    pub findings: Vec<Finding>,
    /// The SQL that an administrator runs to make a role as it should be; empty where there are
    /// no roles.
    pub role_sql: String,
}

/// One right too many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether a source that is only read must not be used with it.
    pub disables: bool,
    /// What it is, in words.
    pub text: String,
    /// The SQL that takes it away.
    pub sql: String,
}

impl Report {
    /// The first finding that disables a source that is only read.
    pub fn disabled_by(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.disables)
    }
}
