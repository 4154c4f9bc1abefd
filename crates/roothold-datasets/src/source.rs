//! A source: one or many opened files that are one table, and how they are to be read.

use std::sync::Arc;

use roothold_core::files::Drift;
use roothold_core::{Fault, FaultKind};

use crate::options::{Format, SourceOptions};
use crate::stored::Stored;

/// Files that are read as one table. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: Vec<Arc<Stored>>,
    options: SourceOptions,
    hidden: Vec<String>,
}

impl Source {
    /// A source of these files, in this order. The columns named in `hidden` do not exist for
    /// whoever asks: they are compared without regard to case and to blanks around them.
    ///
    /// # Errors
    /// `Invalid` without a file, and where the options would go around what is hidden: read as
    /// plain text, or without the header that names the columns.
    pub fn new(
        files: Vec<impl Into<Stored>>,
        options: SourceOptions,
        hidden: Vec<String>,
    ) -> Result<Self, Fault> {
        if files.is_empty() {
            return Err(Fault::invalid("the source has no file; name one, or a glob that matches"));
        }
        let avoids = options.format == Some(Format::Text) || options.header == Some(false);
        if !hidden.is_empty() && avoids {
            return Err(Fault::invalid(
                "columns of this source are hidden by name, so it cannot be read as plain text or without its header",
            ));
        }
        check_options(&options)?;
        let files = files.into_iter().map(|file| Arc::new(file.into())).collect();
        Ok(Self { inner: Arc::new(Inner { files, options, hidden }) })
    }

    /// The same files read in another way, where a caller may say how: not where columns are
    /// hidden, since another delimiter or format would show them under other names.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn with_options(&self, options: SourceOptions) -> Result<Self, Fault> {
        if !self.inner.hidden.is_empty() && options != self.inner.options {
            return Err(Fault::invalid(
                "this source is read as the operator configured it; leave the options away",
            ));
        }
        check_options(&options)?;
        let Inner { files, hidden, .. } = &*self.inner;
        let inner = Inner { files: files.clone(), options, hidden: hidden.clone() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The files, in their order.
    pub fn files(&self) -> &[Arc<Stored>] {
        &self.inner.files
    }

    /// How they are to be read.
    pub fn options(&self) -> &SourceOptions {
        &self.inner.options
    }

    /// The size of all files together when they were opened, in bytes.
    pub fn bytes(&self) -> u64 {
        self.inner.files.iter().map(|file| file.size()).sum()
    }

    /// Stands for the content of all files: another one whenever one of them is another.
    pub fn revision(&self) -> String {
        let revisions: Vec<String> = self.inner.files.iter().map(|file| file.revision()).collect();
        revisions.join(" ")
    }

    /// What became of the files since they were opened: the worst of all.
    ///
    /// # Errors
    /// `Internal`, if the kernel does not tell.
    pub fn drift(&self) -> Result<Drift, Fault> {
        let mut worst = Drift::Same;
        for file in self.files() {
            match (file.drift()?, worst) {
                (Drift::Changed, _) | (_, Drift::Changed) => worst = Drift::Changed,
                (Drift::Grown, _) | (_, Drift::Grown) => worst = Drift::Grown,
                (Drift::Same, Drift::Same) => {}
            }
        }
        Ok(worst)
    }

    pub(crate) fn hides_any(&self) -> bool {
        !self.inner.hidden.is_empty()
    }

    /// The names of hidden columns, as they are compared.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.inner.hidden.iter().map(|name| folded(name)).collect()
    }
}

/// A column's name as hidden ones are compared.
pub(crate) fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

fn check_options(options: &SourceOptions) -> Result<(), Fault> {
    for (what, value) in [("delimiter", options.delimiter), ("quote", options.quote)] {
        let is_fine =
            value.is_none_or(|value| value.is_ascii() && !matches!(value, '\n' | '\r' | '\0'));
        if !is_fine {
            return Err(Fault::invalid(format!(
                "{what} must be one ASCII character and no line end"
            )));
        }
    }
    if options.delimiter.is_some() && options.delimiter == options.quote {
        return Err(Fault::invalid("delimiter and quote must be two different characters"));
    }
    Ok(())
}

/// The fault for a file that is not as it was when it was opened.
pub(crate) fn changed(path: &str) -> Fault {
    Fault::new(
        FaultKind::Conflict,
        format!("{path} changed while it was read; nothing of the result counts; ask again"),
    )
}
