//! A data source as an argument names it: the name of a configured dataset, the path or URI of a
//! file, a glob over files below a directory, or the URL of an object or of several.
//!
//! A `file://` URI is always one file, so that a file whose name looks like a glob can be named.
//!
//! **Invariant**: what is opened is what the permits say, file by file through the gate.

use std::sync::Arc;

use roothold_core::files::{Problem, SourceFile, find_sources};
use roothold_core::{
    Action, Actions, Budget, Fault, FaultKind, FilePath, ObjectTarget, ObjectUrl, PathGlobs,
    Permit, Verb,
};
use roothold_datasets::{Source, SourceOptions, Stored, Stores};

use super::hidden::hidden_of;
use super::{Dataset, Datasets, Known};
use crate::config::is_dataset_name;

/// The scope that reading any dataset needs, besides that of its files.
const SCOPE: &str = "datasets:read";
/// What makes a path a glob.
const GLOB_SIGNS: [char; 4] = ['*', '?', '[', '{'];
/// How many files that could not be looked at are told one by one.
const PROBLEMS_TOLD_MAX: usize = 5;

/// A data source of an argument.
#[derive(Debug, Clone)]
pub(crate) struct SourceArg {
    /// As the caller wrote it.
    written: String,
    dataset: Option<Arc<Dataset>>,
    parts: Vec<Part>,
}

/// A file or an object, or those that a glob finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    File(FilePath),
    Glob {
        /// The longest directory that the glob names as it is.
        directory: FilePath,
        /// What is matched below it.
        glob: String,
    },
    /// An object of a store.
    Object(ObjectUrl),
    /// The objects that a glob finds.
    Objects {
        /// The longest prefix that the glob names as it is.
        above: ObjectUrl,
        /// What is matched below it.
        glob: String,
    },
    /// The name of no dataset. Policy denies it as it denies one that is not for the caller.
    Unknown(String),
}

/// A source that was opened, and what was left out of it, in words.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: Source,
    pub(crate) notes: Vec<String>,
}

impl SourceArg {
    /// Parses an argument. What is the name of a configured dataset is that, and anything else is a
    /// path; write `./name` for a file of such a name.
    ///
    /// # Errors
    /// `Invalid`, as for every path, and for a glob that is none.
    pub(crate) fn parse(text: &str, known: &Known) -> Result<Self, Fault> {
        let written = text.to_owned();
        if let Some(dataset) = known.get(text) {
            let parts = dataset.parts.clone();
            return Ok(Self { written, dataset: Some(Arc::clone(dataset)), parts });
        }
        // It was probably meant as a name; as a path it would only be not found.
        if is_dataset_name(text) && !known.stores().is_empty() {
            return Ok(Self {
                written,
                dataset: None,
                parts: vec![Part::Unknown(text.to_owned())],
            });
        }
        if is_dataset_name(text) {
            return Err(Fault::invalid(format!(
                "no dataset is called `{text}`; list_datasets shows those that are, and ./{text} is a file of that name"
            )));
        }
        Ok(Self { written, dataset: None, parts: vec![Part::parse(text)?] })
    }

    /// What reading it would touch: the use of datasets, and each file or directory of a glob.
    pub(crate) fn actions(&self) -> impl Iterator<Item = Action> {
        let name = match &self.dataset {
            Some(dataset) => format!("dataset {}", dataset.name),
            None => "datasets".to_owned(),
        };
        let parts = self.parts.iter().map(|part| match part {
            Part::File(path) => Action::file(Verb::Read, path.clone()),
            Part::Glob { directory, .. } => Action::file(Verb::Search, directory.clone()),
            Part::Object(url) => Action::object(Verb::Read, ObjectTarget::Url(url.clone())),
            Part::Objects { above, .. } => {
                Action::object(Verb::Search, ObjectTarget::Url(above.clone()))
            }
            Part::Unknown(name) => Action::object(Verb::Read, ObjectTarget::Unknown(name.clone())),
        });
        std::iter::once(Action::named(name, Some(SCOPE))).chain(parts)
    }

    fn options(&self) -> SourceOptions {
        self.dataset.as_ref().map(|dataset| dataset.options.clone()).unwrap_or_default()
    }
}

/// What reading these sources would touch, one source after the other, and `more` after them.
///
/// # Errors
/// `Invalid`, if there is no source.
pub(crate) fn actions_of<'a>(
    sources: impl IntoIterator<Item = &'a SourceArg>,
    more: impl IntoIterator<Item = Action>,
) -> Result<Actions, Fault> {
    let mut all: Vec<Action> = sources.into_iter().flat_map(SourceArg::actions).collect();
    if all.is_empty() {
        return Err(Fault::invalid("name at least one data source"));
    }
    let first = all.remove(0);
    Ok(Actions::many(first, all.into_iter().chain(more)))
}

impl Part {
    /// Parses a path, a URI or a glob.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if ObjectUrl::is_meant(text) {
            return Self::parse_url(text);
        }
        if !is_glob(text) {
            return FilePath::parse(text).map(Self::File);
        }
        if text.chars().any(char::is_control) {
            return Err(Fault::invalid("the glob holds control characters"));
        }
        let (directory, glob) = split(text);
        PathGlobs::new(&[glob])
            .map_err(|error| Fault::invalid(format!("the glob is refused: {}", error.reason)))?;
        Ok(Self::Glob { directory: FilePath::parse(directory)?, glob: glob.to_owned() })
    }

    fn parse_url(text: &str) -> Result<Self, Fault> {
        let (above, glob) = ObjectUrl::parse_glob(text)?;
        let Some(glob) = glob else { return Ok(Self::Object(above)) };
        PathGlobs::new(&[&glob])
            .map_err(|error| Fault::invalid(format!("the glob is refused: {}", error.reason)))?;
        Ok(Self::Objects { above, glob })
    }

    /// Whether it is of a store over the network.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Object(_) | Self::Objects { .. })
    }

    /// Whether its path goes up somewhere; a URL cannot.
    pub(super) fn climbs(&self) -> bool {
        let (Self::File(path) | Self::Glob { directory: path, .. }) = self else { return false };
        path.as_bytes().split(|byte| *byte == b'/').any(|component| component == b"..")
    }
}

/// Whether an argument is taken for a glob; a URI is not.
pub(crate) fn is_glob(text: &str) -> bool {
    let is_uri = text.starts_with("file:") || text.contains("://");
    !is_uri && text.contains(GLOB_SIGNS)
}

/// The longest directory before the first component with a sign of a glob, and the rest.
fn split(text: &str) -> (&str, &str) {
    // A backslash takes the meaning of such a sign away, so it belongs to the glob, too.
    let sign = text.find(|c| GLOB_SIGNS.contains(&c) || c == '\\').unwrap_or(text.len());
    match text[..sign].rfind('/') {
        Some(0) => ("/", &text[1..]),
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (".", text),
    }
}

impl Datasets {
    /// Opens a source with the permits of its actions, which are taken from `permits`. Blocks.
    /// `options` says how it is read, in place of what is configured.
    ///
    /// # Errors
    /// Denials that were left to it; as the gate's; `NotFound` for a glob that finds nothing;
    /// `Limit` for more files than a source may have; `Invalid` for options that cannot be.
    ///
    /// # Cancellation
    /// It ends within one entry of a directory when the budget does.
    pub(crate) fn open(
        &self,
        permits: &mut dyn Iterator<Item = Result<Permit, Fault>>,
        source: &SourceArg,
        options: Option<SourceOptions>,
        budget: &Budget,
    ) -> Result<Opened, Fault> {
        let mut next =
            || permits.next().unwrap_or_else(|| Err(Fault::internal("a source without permits")));
        // That of the use of datasets opens nothing.
        next()?;
        let mut found = Found::new(self.limits().files_max);
        for part in &source.parts {
            let permit = next()?;
            match part {
                Part::File(_) => found.add([SourceFile::open(&permit)?]),
                Part::Glob { glob, .. } => found.search(&permit, glob, budget)?,
                Part::Object(_) => found.add([self.stores.open(&permit, budget)?]),
                Part::Objects { glob, .. } => {
                    found.search_store(&self.stores, &permit, glob, budget)?;
                }
                Part::Unknown(_) => return Err(Fault::internal("an unknown name was permitted")),
            }
        }
        let notes = found.notes();
        if found.files.is_empty() {
            return Err(nothing(source, &notes));
        }
        let hidden = hidden_of(self.known(), source.dataset.as_deref(), &found.files);
        let opened = Source::new(found.files, source.options(), hidden)?;
        let opened = match options {
            Some(options) => opened.with_options(options)?,
            None => opened,
        };
        Ok(Opened { source: opened, notes })
    }
}

/// The files of a source, as they are found.
struct Found {
    files: Vec<Stored>,
    revisions: Vec<String>,
    files_max: usize,
    problems: Vec<Problem>,
    problems_omitted: usize,
}

impl Found {
    fn new(files_max: usize) -> Self {
        let (files, revisions, problems) = (Vec::new(), Vec::new(), Vec::new());
        Self { files, revisions, files_max, problems, problems_omitted: 0 }
    }

    /// Takes files that are not there yet: one that two globs find counts once.
    fn add(&mut self, files: impl IntoIterator<Item = impl Into<Stored>>) {
        for file in files {
            let file: Stored = file.into();
            let revision = file.revision();
            if !self.revisions.contains(&revision) {
                self.revisions.push(revision);
                self.files.push(file);
            }
        }
    }

    fn search(&mut self, permit: &Permit, glob: &str, budget: &Budget) -> Result<(), Fault> {
        let globs = PathGlobs::new(&[glob]).map_err(Fault::internal)?;
        let room = self.files_max.saturating_sub(self.files.len());
        let found = find_sources(permit, &globs, room, budget)?;
        if found.more {
            return Err(self.too_many());
        }
        // There is nothing in it to ask for, and who named it did so by accident.
        let (empty, files): (Vec<_>, Vec<_>) =
            found.files.into_iter().partition(|file| file.size() == 0);
        self.add(files);
        let left_out = empty.iter().map(|file| Problem { path: file.path(), reason: "is empty" });
        self.problems.extend(left_out);
        self.problems.extend(found.problems);
        self.problems_omitted += found.problems_omitted;
        Ok(())
    }

    fn search_store(
        &mut self,
        stores: &Stores,
        permit: &Permit,
        glob: &str,
        budget: &Budget,
    ) -> Result<(), Fault> {
        let globs = PathGlobs::new(&[glob]).map_err(Fault::internal)?;
        let room = self.files_max.saturating_sub(self.files.len());
        let found = stores.find(permit, &globs, room, budget)?;
        if found.more {
            return Err(self.too_many());
        }
        self.add(found.objects);
        let left_out = found.empty.into_iter().map(|path| Problem { path, reason: "is empty" });
        self.problems.extend(left_out);
        Ok(())
    }

    fn too_many(&self) -> Fault {
        let what = format!(
            "more than {} files match; narrow the glob, or take one directory after the other",
            self.files_max
        );
        Fault::new(FaultKind::Limit, what)
    }

    /// What was left out, in words.
    fn notes(&self) -> Vec<String> {
        let told = self.problems.iter().take(PROBLEMS_TOLD_MAX);
        let mut notes: Vec<String> = told
            .map(|problem| format!("{} was left out: it {}", problem.path, problem.reason))
            .collect();
        let omitted = self.problems.len().saturating_sub(PROBLEMS_TOLD_MAX) + self.problems_omitted;
        if omitted > 0 {
            notes.push(format!("{omitted} more files or directories were left out"));
        }
        notes
    }
}

fn nothing(source: &SourceArg, notes: &[String]) -> Fault {
    let above = source.parts.iter().find_map(|part| match part {
        Part::Objects { above, .. } => Some(above),
        _ => None,
    });
    let hint = match above {
        Some(above) => format!("list_datasets with path {above}/ shows what is there"),
        None => "list_datasets shows what is there, and a file whose name holds *, ?, [ or { is named by its file:// URI".to_owned(),
    };
    let mut what = format!("no file that you may read matches {:?}; {hint}", source.written);
    if let Some(note) = notes.first() {
        what = format!("{what}; {note}");
    }
    Fault::not_found(what)
}

/// Whether a public path is a directory's own or lies below it.
pub(super) fn is_below(directory: &[u8], path: &[u8]) -> bool {
    below(directory, path).is_some() || directory == path
}

/// The rest of a public path below a directory.
pub(super) fn below<'a>(directory: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    if directory.is_empty() {
        return Some(path);
    }
    path.strip_prefix(directory)?.strip_prefix(b"/")
}
