//! Every source file belongs to a module: one that no `mod` names is compiled by nobody, and its
//! tests never run however green the rest is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Problem;
use super::metadata::Metadata;

/// The folders of a package whose files are Rust source.
const SOURCE_FOLDERS: &[&str] = &["src", "tests", "examples", "benches"];

pub(super) fn check(
    root: &Path,
    files: &[PathBuf],
    metadata: &Metadata,
) -> anyhow::Result<Vec<Problem>> {
    let mut reached = BTreeSet::new();
    let mut folders = Vec::new();
    for package in metadata.members() {
        let home = package.manifest_path.parent().context("a manifest lies in a folder")?;
        folders.extend(SOURCE_FOLDERS.iter().map(|folder| home.join(folder)));
        // A target whose file is missing is the compiler's to report.
        for target in package.targets.iter().filter(|target| target.src_path.is_file()) {
            reach(&target.src_path, true, &mut reached)?;
        }
    }
    let rust = files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "rs"));
    let lost = rust.filter(|file| {
        let path = root.join(file);
        folders.iter().any(|folder| path.starts_with(folder)) && !reached.contains(&path)
    });
    let what = "no module names this file, so nothing compiles or tests it";
    Ok(lost.map(|file| Problem::new(file.display().to_string(), what)).collect())
}

/// Adds `file` and all files below it by `mod NAME;`.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    if !reached.insert(file.to_owned()) {
        return Ok(());
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let parent = file.parent().context("a source file lies in a folder")?;
    let owns_folder = is_root || file.file_name().is_some_and(|name| name == "mod.rs");
    let below = if owns_folder { parent.to_owned() } else { file.with_extension("") };
    for module in modules(&text) {
        let candidates = match module {
            Module::Named(name) => {
                vec![below.join(format!("{name}.rs")), below.join(name).join("mod.rs")]
            }
            Module::At(path) => vec![parent.join(path)],
        };
        // A missing file is the compiler's to report.
        if let Some(found) = candidates.iter().find(|path| path.is_file()) {
            reach(found, false, reached)?;
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Module<'a> {
    Named(&'a str),
    At(&'a str),
}

/// The `mod NAME;` lines of a file, with `#[path = ".."]` taken from the line before.
fn modules(text: &str) -> Vec<Module<'_>> {
    let mut found = Vec::new();
    let mut at = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            at = rest.split('"').next();
            continue;
        }
        let rest = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(')').map_or(rest, |(_, r)| r),
            Some(rest) => rest,
            None => line,
        };
        let name = rest.trim_start().strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name {
            found.push(at.take().map_or(Module::Named(name.trim()), Module::At));
        } else if !line.starts_with('#') {
            at = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::Module::{At, Named};
    use super::*;

    #[test]
    fn module_lines_are_found_and_comments_are_not() {
        let text = "
            mod a;
            pub mod b;
            pub(crate) mod c;
            // mod d;
            mod e { }
            #[cfg(test)]
            #[path = \"else/where.rs\"]
            mod f;
            use g::mod_h;
        ";
        assert_eq!(modules(text), [Named("a"), Named("b"), Named("c"), At("else/where.rs")]);
    }

    #[test]
    fn a_file_that_no_module_names_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (path, text) in [
            ("src/lib.rs", "mod a;\nmod b;"),
            ("src/a.rs", "mod deep;"),
            ("src/a/deep.rs", ""),
            ("src/b/mod.rs", "mod inner;"),
            ("src/b/inner.rs", ""),
            ("src/forgotten.rs", ""),
            ("tests/it/main.rs", "mod used;"),
            ("tests/it/used.rs", ""),
            ("tests/it/unused.rs", ""),
            ("docs/sample.rs", ""),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let target = |name: &str, kind: &str, path: &str| serde_json::json!({"name": name, "kind": [kind], "src_path": root.join(path)});
        let metadata = serde_json::from_value(serde_json::json!({
            "packages": [{
                "id": "p", "name": "p", "manifest_path": root.join("Cargo.toml"), "dependencies": [],
                "targets": [target("p", "lib", "src/lib.rs"), target("it", "test", "tests/it/main.rs")],
            }],
            "workspace_members": ["p"],
            "resolve": {"nodes": []},
        }))
        .unwrap();
        let files = super::super::tree::files(&root).unwrap();
        let found = check(&root, &files, &metadata).unwrap();
        let places: Vec<&str> = found.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["src/forgotten.rs", "tests/it/unused.rs"]);
    }
}
