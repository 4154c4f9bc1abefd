//! `list_databases`: the databases that the caller may use.

use roothold_core::{Action, Actions, Fault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::config::{DatabaseAccess, DatabaseKind};
use crate::databases::{Role, State};
use crate::tool::{About, DatabaseUse, Effect, Permits, Structured, Tool};
use crate::tools::page::{Room, note};
use crate::tools::table::json_bytes;

pub(in crate::tools) struct ListDatabases;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    databases: Vec<Entry>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Entry {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// Whose SQL it speaks.
    kind: DatabaseKind,
    access: DatabaseAccess,
    /// Why it cannot be used now.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
}

impl Tool for ListDatabases {
    const NAME: &'static str = "list_databases";
    const PAGED: bool = true;
    const DATABASES: Option<DatabaseUse> = Some(DatabaseUse::Reads);
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List Databases",
            description: "Lists the databases that can be described and asked, and whose SQL they speak.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, _input: &Input) -> Result<Actions, Fault> {
        Ok(Actions::one(Action::named("databases", Some("databases:read"))))
    }

    async fn run(
        &self,
        call: Call,
        _permits: Permits,
        _input: Input,
    ) -> Result<Self::Output, Fault> {
        let first = call.resume::<usize>()?.unwrap_or_default();
        let mut room = Room::of(&call);
        let (mut databases, mut next) = (Vec::new(), None);
        let usable = call.databases().usable(call.policy(), call.principal())?;
        for (at, database) in usable.iter().enumerate().skip(first) {
            let entry = Entry::of(database);
            if !room.take(json_bytes(&entry)?, &at.to_le_bytes())? {
                next = Some(at);
                break;
            }
            databases.push(entry);
        }
        let next_cursor = next.map(|next| call.next_cursor(&next)).transpose()?;
        let lines: Vec<String> = databases.iter().map(Entry::line).collect();
        let text = if lines.is_empty() { "no databases here".to_owned() } else { lines.join("\n") };
        let note = note(next_cursor.as_deref(), &[], 0);
        let truncated = next_cursor.is_some();
        Ok(Structured { value: Page { databases, truncated, next_cursor }, text, note })
    }
}

impl Entry {
    fn of(database: &Role) -> Self {
        let section = &database.section;
        let problem = match database.health.state() {
            State::Unasked | State::Ready => None,
            State::Disabled => Some("it is disabled; tell the operator"),
            State::Down => Some("it does not answer just now"),
        };
        Self {
            name: section.name.clone(),
            description: section.description.clone(),
            kind: section.kind,
            access: section.access,
            problem,
        }
    }

    fn line(&self) -> String {
        let kind = self.kind.source_kind().as_str();
        let mut line = format!("{} {kind} {}", self.name, self.access.as_str());
        if !self.description.is_empty() {
            line = format!("{line}: {}", self.description);
        }
        if let Some(problem) = self.problem {
            line = format!("{line} (problem: {problem})");
        }
        line
    }
}
