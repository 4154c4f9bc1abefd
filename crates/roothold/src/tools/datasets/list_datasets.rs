//! `list_datasets`: the datasets that have names, and the files in the roots that look like some; or
//! the objects of a store.

use roothold_core::files::{Problem, Visit, Walk};
use roothold_core::{
    Action, Actions, Budget, Fault, FaultKind, FilePath, ObjectTarget, ObjectUrl, Permit, Verb, uri,
};
use roothold_datasets::{Format, ListWish, ListedObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::datasets::{Dataset, Known, KnownStore, SourceArg, actions_of, is_glob};
use crate::tool::{About, Effect, Pace, Permits, Structured, Tool};
use crate::tools::page::{Place, Room, Unreadable, note};
use crate::tools::table::json_bytes;

pub(in crate::tools) struct ListDatasets(pub(in crate::tools) Known);

/// How many entries of directories are looked at for one page.
const VISITED_MAX: usize = 100_000;
/// How many objects of a store one page asks for.
const OBJECTS_MAX: usize = 1000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::tools) struct Input {
    /// Only below this directory, or this URL of a store, such as s3://lake/sales/
    path: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::tools) struct Page {
    datasets: Vec<Entry>,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Unreadable>,
}

#[derive(Serialize, JsonSchema)]
struct Entry {
    /// A name, the path of a file, or what URLs of objects begin with.
    data_source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// The paths and globs that a name stands for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<String>,
    /// By its ending, or as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Why it cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Where a page ends: how many names were looked at; or a root, by position among those of the
/// caller, and the last path below it; or the key of an object.
#[derive(Serialize, Deserialize)]
enum Position {
    Named(usize),
    Below(usize, Place),
    Behind(String),
}

impl Tool for ListDatasets {
    const NAME: &'static str = "list_datasets";
    const PAGED: bool = true;
    const PACE: Pace = Pace::Query;
    type Input = Input;
    type Output = Structured<Page>;

    fn about(&self) -> About {
        About {
            title: "List Datasets",
            description: "Lists named datasets, stores, and files that look like datasets; with path, what is below it.",
            effect: Effect::Reads,
        }
    }

    fn actions(&self, input: &Input) -> Result<Actions, Fault> {
        let used = Action::named("datasets", Some("datasets:read"));
        let where_to = match &input.path {
            Some(path) if ObjectUrl::is_meant(path) => {
                Action::object(Verb::Search, ObjectTarget::Url(prefix(path)?))
            }
            Some(path) => Action::file(Verb::List, FilePath::parse(path)?),
            // The roots of the caller, each of which is decided on when it comes.
            None => Action::named("roots", Some("files:read")),
        };
        Ok(Actions::many(used, [where_to]))
    }

    async fn run(&self, call: Call, permits: Permits, input: Input) -> Result<Self::Output, Fault> {
        let start: Option<Position> = call.resume()?;
        let (worker, known) = (call.clone(), self.0.clone());
        let permit = permits.each().nth(1).transpose()?.filter(|_| input.path.is_some());
        call.blocking(move |budget| {
            let mut listing = Listing::new(&worker);
            let next = match permit {
                Some(permit) if permit.of_object().is_ok() => {
                    listing.below_url(&permit, start, budget)?
                }
                Some(permit) => listing.below_one(&permit, start)?,
                None => listing.all(&known, start, budget)?,
            };
            listing.finish(next)
        })
        .await
    }
}

/// A page in the making.
struct Listing<'a> {
    call: &'a Call,
    room: Room,
    visited: usize,
    datasets: Vec<Entry>,
    problems: Vec<Problem>,
    problems_omitted: usize,
}

impl<'a> Listing<'a> {
    fn new(call: &'a Call) -> Self {
        let (datasets, problems) = (Vec::new(), Vec::new());
        Self { call, room: Room::of(call), visited: 0, datasets, problems, problems_omitted: 0 }
    }

    fn below_one(
        &mut self,
        permit: &Permit,
        start: Option<Position>,
    ) -> Result<Option<Position>, Fault> {
        let after = match start {
            Some(Position::Below(_, after)) => Some(Vec::from(after)),
            _ => None,
        };
        let last = self.below(permit, after.as_deref())?;
        Ok(last.map(|last| Position::Below(0, last.into())))
    }

    /// Takes what looks like a dataset below a prefix of a store.
    fn below_url(
        &mut self,
        permit: &Permit,
        start: Option<Position>,
        budget: &Budget,
    ) -> Result<Option<Position>, Fault> {
        let mut last = match start {
            Some(Position::Behind(key)) => Some(key),
            _ => None,
        };
        let keep = |name: &str| listed_format(name.as_bytes()).is_some();
        let wish = ListWish { after: last.clone(), keep, objects_max: OBJECTS_MAX };
        let page = self.call.datasets().stores().list(permit, wish, budget)?;
        for object in page.objects {
            let key = object.url.key().to_owned();
            if !self.take(Entry::of_object(&object), key.as_bytes())? {
                return Ok(last.map(Position::Behind));
            }
            last = Some(key);
        }
        Ok(page.next.map(Position::Behind))
    }

    fn all(
        &mut self,
        known: &Known,
        start: Option<Position>,
        budget: &Budget,
    ) -> Result<Option<Position>, Fault> {
        let (named, first, mut after) = match start {
            None | Some(Position::Behind(_)) => (0, 0, None),
            Some(Position::Named(named)) => (named, 0, None),
            Some(Position::Below(root, after)) => (usize::MAX, root, Some(Vec::from(after))),
        };
        let (policy, principal) = (self.call.policy(), self.call.principal());
        let (datasets, stores) = (known.all(), known.stores());
        for at in named.min(datasets.len() + stores.len())..datasets.len() + stores.len() {
            let entry = if let Some(dataset) = datasets.get(at) {
                self.named(dataset, known, budget)?
            } else {
                let at = at - datasets.len();
                policy.may_read_store(principal, at).then(|| Entry::of_store(&stores[at]))
            };
            let Some(entry) = entry else { continue };
            if !self.take(entry, &at.to_le_bytes())? {
                return Ok(Some(Position::Named(at)));
            }
        }
        for (at, root) in policy.roots_of(principal).enumerate().skip(first) {
            let path = FilePath::from_bytes(&[b"/", root.public()].concat())?;
            let actions = Actions::one(Action::file(Verb::List, path));
            let permits = policy.decide(principal, ListDatasets::NAME, &actions)?;
            let last = match self.below(&permits[0], after.take().as_deref()) {
                // One root that cannot be read has no datasets; the others have.
                Err(fault) if matches!(fault.kind(), FaultKind::Denied | FaultKind::NotFound) => {
                    continue;
                }
                other => other?,
            };
            if let Some(last) = last {
                return Ok(Some(Position::Below(at, last.into())));
            }
        }
        Ok(None)
    }

    /// A dataset that has a name, for whoever may read its files.
    fn named(
        &self,
        dataset: &std::sync::Arc<Dataset>,
        known: &Known,
        budget: &Budget,
    ) -> Result<Option<Entry>, Fault> {
        budget.check()?;
        let source = SourceArg::parse(&dataset.name, known)?;
        let (policy, principal) = (self.call.policy(), self.call.principal());
        let actions = actions_of([&source], [])?;
        let Ok(permits) = policy.decide(principal, ListDatasets::NAME, &actions) else {
            return Ok(None);
        };
        if dataset.is_remote() {
            return Ok(Some(Entry::of_remote(dataset)));
        }
        let mut permits = permits.into_iter().map(Ok);
        let opened = self.call.datasets().open(&mut permits, &source, None, budget);
        let (bytes, first, problem) = match opened {
            Ok(opened) => {
                let first = opened.source.files().first().map(|file| file.path());
                (Some(opened.source.bytes()), first, None)
            }
            Err(fault) if matches!(fault.kind(), FaultKind::Cancelled | FaultKind::Timeout) => {
                return Err(fault);
            }
            Err(fault) => (None, None, Some(fault.public().to_owned())),
        };
        let format = dataset.options.format.or_else(|| Format::by_name(first.as_deref()?));
        Ok(Some(Entry {
            data_source: dataset.name.clone(),
            description: dataset.description.clone(),
            files: dataset.files.clone(),
            format: format.map(Format::name),
            bytes,
            problem,
        }))
    }

    /// Takes what looks like a dataset below a directory; where it stopped, if it did.
    fn below(&mut self, permit: &Permit, after: Option<&[u8]>) -> Result<Option<Vec<u8>>, Fault> {
        let mut walk = Walk::start(permit, after, self.call.budget())?;
        let mut last = after.unwrap_or_default().to_vec();
        let done = walk.run(|entry| {
            if self.visited == VISITED_MAX {
                return Ok(Visit::Stop);
            }
            if let Some(format) = listed_format(entry.name)
                && let Some(bytes) = entry.readable_bytes()
            {
                let found = found(entry.shown_path(), entry.public, format, bytes);
                if !self.take(found, entry.below)? {
                    return Ok(Visit::Stop);
                }
            }
            self.visited += 1;
            last.clear();
            last.extend_from_slice(entry.below);
            Ok(Visit::Into)
        })?;
        let (problems, omitted) = walk.problems();
        self.problems.extend(problems);
        self.problems_omitted += omitted;
        Ok((!done).then_some(last))
    }

    fn take(&mut self, entry: Entry, place: &[u8]) -> Result<bool, Fault> {
        // The comma, and the kind and number of the place in the cursor.
        if !self.room.take(json_bytes(&entry)? + 32, place)? {
            return Ok(false);
        }
        self.datasets.push(entry);
        Ok(true)
    }

    fn finish(self, next: Option<Position>) -> Result<Structured<Page>, Fault> {
        let next_cursor = next.map(|next| self.call.next_cursor(&next)).transpose()?;
        let found = (self.problems, self.problems_omitted);
        let (problems, omitted) = self.room.unreadable(found);
        let lines: Vec<String> = self.datasets.iter().map(Entry::line).collect();
        let text = if lines.is_empty() { "no datasets here".to_owned() } else { lines.join("\n") };
        let note = note(next_cursor.as_deref(), &problems, omitted);
        let truncated = next_cursor.is_some();
        let value = Page { datasets: self.datasets, truncated, next_cursor, problems };
        Ok(Structured { value, text, note })
    }
}

/// What URLs of objects begin with, as an argument.
fn prefix(path: &str) -> Result<ObjectUrl, Fault> {
    let (above, glob) = ObjectUrl::parse_glob(path)?;
    match glob {
        None => Ok(above),
        Some(_) => Err(Fault::invalid(format!(
            "path is no glob here: list below {above}/, or give the glob to query_dataset as its data_source"
        ))),
    }
}

/// What a file holds whose name looks like that of a dataset. Any text is one, but not worth a list.
fn listed_format(name: &[u8]) -> Option<Format> {
    let name = String::from_utf8_lossy(name);
    let ends = |ending: &str| name.split('.').any(|part| part.eq_ignore_ascii_case(ending));
    match Format::by_name(&name)? {
        Format::Jsonl if ends("json") && !ends("jsonl") => None,
        Format::Text if !ends("log") => None,
        format => Some(format),
    }
}

fn found(shown: String, public: &[u8], format: Format, bytes: u64) -> Entry {
    Entry {
        // What would be taken for a glob is named by its URI.
        data_source: if is_glob(&shown) { uri(public) } else { shown },
        description: String::new(),
        files: Vec::new(),
        format: Some(format.name()),
        bytes: Some(bytes),
        problem: None,
    }
}

impl Entry {
    /// A list does not wait for other machines.
    fn of_remote(dataset: &Dataset) -> Self {
        let first = dataset.files.first();
        let format = dataset.options.format.or_else(|| Format::by_name(first?));
        Self {
            data_source: dataset.name.clone(),
            description: dataset.description.clone(),
            files: dataset.files.clone(),
            format: format.map(Format::name),
            bytes: None,
            problem: None,
        }
    }

    fn of_object(object: &ListedObject) -> Self {
        Self {
            data_source: object.url.to_string(),
            description: String::new(),
            files: Vec::new(),
            format: Format::by_name(object.url.key()).map(Format::name),
            bytes: Some(object.bytes),
            problem: None,
        }
    }

    /// A store: what lies below its URL is a data source.
    fn of_store(store: &KnownStore) -> Self {
        Self {
            data_source: format!("{}/", store.url),
            description: store.description.clone(),
            files: Vec::new(),
            format: None,
            bytes: None,
            problem: None,
        }
    }

    fn line(&self) -> String {
        let mut line = self.data_source.clone();
        if let Some(format) = self.format {
            line = format!("{line} {format}");
        }
        if let Some(bytes) = self.bytes {
            line = format!("{line} {bytes} bytes");
        }
        if !self.files.is_empty() {
            line = format!("{line} = {}", self.files.join(", "));
        }
        if !self.description.is_empty() {
            line = format!("{line}: {}", self.description);
        }
        if let Some(problem) = &self.problem {
            line = format!("{line} (problem: {problem})");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_prefix_with_or_without_a_slash_and_no_glob() {
        for path in ["s3://lake/sales", "s3://lake/sales/", "S3://lake/sales"] {
            assert_eq!(prefix(path).unwrap().to_string(), "s3://lake/sales", "{path}");
        }
        let fault = prefix("s3://lake/sales/*.csv").unwrap_err();
        assert!(fault.public().contains("below s3://lake/sales/"), "{fault}");
        assert!(prefix("s3://lake/a//b").is_err());
    }

    #[test]
    fn what_looks_like_a_dataset_is_listed_and_any_text_is_not() {
        let listed = |name: &str| listed_format(name.as_bytes()).map(Format::name);
        for (name, format) in [
            ("a.csv", "csv"),
            ("A.CSV.GZ", "csv"),
            ("a.tsv", "tsv"),
            ("a.ndjson", "jsonl"),
            ("a.jsonl.zst", "jsonl"),
            ("a.parquet", "parquet"),
            ("server.log", "text"),
            ("server.log.gz", "text"),
        ] {
            assert_eq!(listed(name), Some(format), "{name}");
        }
        for name in ["a.md", "a.txt", "package.json", "a.json.gz", "log", "a", "a.rs", ".csv.d"] {
            assert_eq!(listed(name), None, "{name}");
        }
        assert_eq!(listed_format(b"a\xff.csv"), Some(Format::Csv));
    }
}
