//! Columns that do not exist for whoever reads a file as a dataset, by its name or by path.

use roothold_core::{FilePath, ObjectUrl, PathGlobs};
use roothold_datasets::Stored;

use super::source::{Part, below};
use super::{Dataset, Known};

/// The columns that are hidden in any of these files: by the dataset that was asked for, and by every
/// other whose files they are, since a path is no way around it.
pub(super) fn hidden_of(known: &Known, asked: Option<&Dataset>, files: &[Stored]) -> Vec<String> {
    let mut hidden: Vec<String> = asked.map(|dataset| dataset.hidden.clone()).unwrap_or_default();
    for dataset in known.all().iter().filter(|dataset| !dataset.hidden.is_empty()) {
        if files.iter().any(|file| dataset.holds(file)) {
            let more = dataset.hidden.iter().filter(|column| !hidden.contains(column));
            let more: Vec<String> = more.cloned().collect();
            hidden.extend(more);
        }
    }
    hidden
}

impl Dataset {
    /// The columns that do not exist for whoever reads its files.
    pub(crate) fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// Whether a file is one of its files, by the path that it was found to have.
    fn holds(&self, file: &Stored) -> bool {
        if let Stored::Object(object) = file {
            return self.parts.iter().any(|part| part.names_object(object.url()));
        }
        let Ok(path) = FilePath::parse(&file.path()) else { return true };
        self.parts.iter().any(|part| part.names(path.as_bytes()))
    }

    /// Whether any of it is in a store over the network.
    pub(crate) fn is_remote(&self) -> bool {
        self.parts.iter().any(Part::is_remote)
    }
}

impl Part {
    fn names(&self, public: &[u8]) -> bool {
        match self {
            Self::File(path) => path.as_bytes() == public,
            Self::Glob { directory, glob } => {
                let globs = PathGlobs::new(&[glob]);
                below(directory.as_bytes(), public)
                    .is_some_and(|below| globs.is_ok_and(|globs| globs.matches(below)))
            }
            Self::Object(_) | Self::Objects { .. } | Self::Unknown(_) => false,
        }
    }

    fn names_object(&self, object: &ObjectUrl) -> bool {
        match self {
            Self::Object(url) => url == object,
            Self::Objects { above, glob } => {
                let globs = PathGlobs::new(&[glob]);
                above
                    .below(object)
                    .is_some_and(|below| globs.is_ok_and(|globs| globs.matches(below.as_bytes())))
            }
            Self::File(_) | Self::Glob { .. } | Self::Unknown(_) => false,
        }
    }
}
