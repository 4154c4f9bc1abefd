//! Manifests: versions and features stand in the workspace's table and nowhere else, each package
//! has at most one binary of integration tests, and the number of locked packages has a ceiling.

use std::path::Path;

use anyhow::Context as _;

use super::Problem;
use super::metadata::{Metadata, Package};

/// The most packages in `Cargo.lock`. Raising it is a line for a reviewer to see.
const LOCKED_PACKAGES_MAX: usize = 600;

pub(super) fn check(root: &Path, metadata: &Metadata) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for package in metadata.members() {
        let path = &package.manifest_path;
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let place = path.strip_prefix(root).unwrap_or(path).display().to_string();
        problems.extend(dependency_lines(&place, &text));
        problems.extend(test_binaries(package));
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    problems.extend(ceiling(lock.lines().filter(|line| *line == "[[package]]").count()));
    Ok(problems)
}

/// Each line of a dependency table must leave version and features to the workspace.
fn dependency_lines(place: &str, manifest: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut in_table = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            in_table = header.trim_end_matches(']').ends_with("dependencies");
            if header.contains("dependencies.") {
                let what =
                    format!("{line}: write the dependency as one line, NAME.workspace = true");
                problems.push(Problem::new(place, what));
            }
            continue;
        }
        if !in_table || line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or(line);
        let packed: String = line.split_whitespace().collect();
        if !packed.contains("workspace=true") {
            let what = format!("{name}: its version belongs in the workspace's table");
            problems.push(Problem::new(place, what));
        } else if packed.contains("features=") || packed.contains("default-features") {
            let what = format!(
                "{name}: its features belong in the workspace's table, or testing one package rebuilds it"
            );
            problems.push(Problem::new(place, what));
        }
    }
    problems
}

fn test_binaries(package: &Package) -> Vec<Problem> {
    let tests = package.targets.iter().filter(|target| target.kind.iter().any(|k| k == "test"));
    tests
        .filter(|target| target.name != "it")
        .map(|target| {
            let what = format!(
                "tests/{}: integration tests are one binary, tests/it/main.rs",
                target.name
            );
            Problem::new(&package.name, what)
        })
        .collect()
}

fn ceiling(locked: usize) -> Option<Problem> {
    let what = format!(
        "{locked} packages, more than the ceiling of {LOCKED_PACKAGES_MAX} in xtask/src/tidy/manifests.rs"
    );
    (locked > LOCKED_PACKAGES_MAX).then(|| Problem::new("Cargo.lock", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_features_outside_the_workspace_table_are_named() {
        let manifest = "
            [package]
            version = \"1\"
            [dependencies]
            good.workspace = true
            also-good = { workspace = true, optional = true }
            # a comment
            bad = \"1\"
            [target.'cfg(unix)'.dev-dependencies]
            worse = { workspace = true, features = [\"x\"] }
            [build-dependencies.long]
            version = \"2\"
            [features]
            x = []
        ";
        let found: Vec<String> =
            dependency_lines("a/Cargo.toml", manifest).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a/Cargo.toml: bad: its version"), "{found:?}");
        assert!(found[1].starts_with("a/Cargo.toml: worse: its features"), "{found:?}");
        assert!(found[2].contains("[build-dependencies.long]: write"), "{found:?}");
    }

    #[test]
    fn a_second_test_binary_is_named() {
        let package = serde_json::from_value(serde_json::json!({
            "id": "p", "name": "p", "manifest_path": "", "dependencies": [],
            "targets": [
                {"name": "it", "kind": ["test"], "src_path": ""},
                {"name": "more", "kind": ["test"], "src_path": ""},
                {"name": "p", "kind": ["lib"], "src_path": ""},
            ]
        }))
        .unwrap();
        let found = test_binaries(&package);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("p: tests/more: "));
    }

    #[test]
    fn the_ceiling_holds() {
        assert!(ceiling(LOCKED_PACKAGES_MAX).is_none());
        assert!(ceiling(LOCKED_PACKAGES_MAX + 1).is_some());
    }
}
