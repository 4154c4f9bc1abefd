//! The repository's own rules, which no compiler checks: who may depend on whom, how long a file
//! may be, that every source file belongs to a module, and words that must not be left behind.
//!
//! Each rule returns all the problems that it finds; nothing is repaired here.

mod deps;
mod manifests;
mod metadata;
mod modules;
mod text;
mod tree;

use std::fmt;
use std::path::Path;

use anyhow::bail;

/// Something that breaks a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    place: String,
    what: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Checks every rule, prints each problem, and fails if there is one.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let root = root.canonicalize()?;
    let files = tree::files(&root)?;
    let metadata = metadata::read(&root)?;
    let mut problems = deps::check(&metadata);
    problems.extend(manifests::check(&root, &metadata)?);
    problems.extend(modules::check(&root, &files, &metadata)?);
    problems.extend(text::check(&root, &files)?);
    problems.sort();
    for problem in &problems {
        println!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("tidy found {} problems", problems.len());
    }
    println!("tidy: {} files, {} packages: in order", files.len(), metadata.packages.len());
    Ok(())
}
