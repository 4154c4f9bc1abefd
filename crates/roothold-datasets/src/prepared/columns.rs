//! Names of columns (shown, none empty, none twice), and what is said of them.

use std::collections::HashSet;

use roothold_core::Fault;

use crate::options::SourceOptions;
use crate::shown;

/// Whether types are said of columns that there are.
pub(super) fn check_types(options: &SourceOptions, names: &[String]) -> Result<(), Fault> {
    let unknown = options.types.keys().find(|name| *name != "*" && !names.contains(name));
    match unknown {
        None => Ok(()),
        Some(name) => Err(Fault::invalid(format!(
            "types names `{}`, which is no column; describe the dataset to see them",
            shown::name(name)
        ))),
    }
}

/// Gives names.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// The name of the column at `at` that is called `name` in the file.
    pub(super) fn next(&mut self, name: &str, at: usize) -> String {
        let shown = shown::name(name);
        let base = if shown.is_empty() { format!("column_{}", at + 1) } else { shown };
        let mut unique = base.clone();
        let mut number = 2;
        // At most as many rounds as there are columns of one name.
        while !self.taken.insert(unique.clone()) {
            unique = format!("{base}_{number}");
            number += 1;
        }
        unique
    }
}
