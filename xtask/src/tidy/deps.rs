//! The direction of dependencies: `roothold` stands on `edge`, `datasets`, `databases` and
//! `state`, these on `core`, and siblings never see each other. `testing` is for tests alone.
//!
//! **Invariant**: a package that is not drawn here is a problem, so a new one is a decision.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use super::metadata::Metadata;

struct Layer {
    name: &'static str,
    /// The packages of this workspace that it may name.
    may_use: &'static [&'static str],
    /// Packages from elsewhere that it must not name.
    never_names: &'static [&'static str],
}

const CORE: &str = "roothold-core";
/// Real servers for tests, which any package's tests may name, and nothing that is shipped.
const TESTING: &str = "roothold-testing";
const PROTOCOL: &[&str] = &["rmcp", "axum", "http"];

const LAYERS: &[Layer] = &[
    Layer { name: CORE, may_use: &[], never_names: PROTOCOL },
    Layer { name: "roothold-edge", may_use: &[CORE], never_names: &[] },
    Layer { name: "roothold-datasets", may_use: &[CORE], never_names: PROTOCOL },
    Layer { name: "roothold-databases", may_use: &[CORE], never_names: PROTOCOL },
    Layer { name: "roothold-state", may_use: &[CORE], never_names: PROTOCOL },
    Layer {
        name: "roothold",
        may_use: &[
            CORE,
            "roothold-edge",
            "roothold-datasets",
            "roothold-databases",
            "roothold-state",
        ],
        never_names: &[],
    },
    // The targets alone: the one parser of the edge's that they ask is taken in by its path.
    Layer { name: "roothold-fuzz", may_use: &[CORE], never_names: &[] },
    Layer { name: TESTING, may_use: &[], never_names: PROTOCOL },
    Layer { name: "xtask", may_use: &[TESTING], never_names: &[] },
];

/// What an example may stand on: what our users may.
const EXAMPLE_MAY_USE: &[&str] = &["roothold", "roothold-edge", CORE];

/// What must not be reached from the core by any path: it is synchronous and knows no network.
const NEVER_BELOW_CORE: &[&str] = &["tokio", "rmcp", "axum", "http", "hyper", "reqwest"];

/// Heavy engines and the one package that may name them.
const FENCED: &[(&str, &str)] = &[
    ("datafusion", "roothold-datasets"),
    ("arrow", "roothold-datasets"),
    ("parquet", "roothold-datasets"),
    ("object_store", "roothold-datasets"),
];

pub(super) fn check(metadata: &Metadata) -> Vec<Problem> {
    let mut problems = Vec::new();
    let members: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    for package in metadata.members() {
        let name = package.name.as_str();
        let layer = LAYERS.iter().find(|layer| layer.name == name);
        let example = name.starts_with("example-");
        if layer.is_none() && !example {
            let what = "is in no layer: say in xtask/src/tidy/deps.rs what it may depend on";
            problems.push(Problem::new(name, what));
            continue;
        }
        let may_use = layer.map_or(EXAMPLE_MAY_USE, |layer| layer.may_use);
        let never_names = layer.map_or(&[][..], |layer| layer.never_names);
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            // What only the tests use is not part of what is shipped.
            let for_tests = dependency.kind.as_deref() == Some("dev");
            let allowed = may_use.contains(&on) || (for_tests && on == TESTING);
            if members.contains(on) && on != name && !allowed {
                problems.push(Problem::new(name, format!("must not depend on {on}")));
            }
            if for_tests {
                continue;
            }
            if never_names.contains(&on) {
                problems.push(Problem::new(name, format!("must not know {on}")));
            }
            for (fenced, owner) in FENCED {
                let names_it = on == *fenced || on.starts_with(&format!("{fenced}-"));
                if names_it && name != *owner {
                    problems.push(Problem::new(name, format!("must leave {on} to {owner}")));
                }
            }
        }
    }
    problems.extend(below_core(metadata));
    problems
}

/// Everything that the core drags in, and by which of its dependencies.
fn below_core(metadata: &Metadata) -> Vec<Problem> {
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
    let nodes: BTreeMap<&str, _> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let Some(core) = metadata.members().find(|package| package.name == CORE) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let mut seen = BTreeSet::from([core.id.as_str()]);
    let mut ahead = vec![(core.id.as_str(), CORE.to_owned())];
    while let Some((id, path)) = ahead.pop() {
        let edges = nodes.get(id).map_or(&[][..], |node| &node.deps);
        for edge in edges {
            let shipped = edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
            if !shipped || !seen.insert(&edge.pkg) {
                continue;
            }
            let name = names.get(edge.pkg.as_str()).copied().unwrap_or_default();
            let path = format!("{path} -> {name}");
            if NEVER_BELOW_CORE.contains(&name) {
                problems.push(Problem::new(CORE, format!("must not reach {name}: {path}")));
            }
            ahead.push((&edge.pkg, path));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A workspace of these packages; each names its ordinary dependencies.
    fn workspace(packages: &[(&str, &[&str])], outside: &[(&str, &[&str])]) -> Metadata {
        let all: Vec<_> = packages.iter().chain(outside).collect();
        let package = |(name, deps): &&(&str, &[&str])| {
            let deps: Vec<Value> = deps.iter().map(|d| json!({"name": d, "kind": null})).collect();
            json!({"id": name, "name": name, "manifest_path": "", "targets": [], "dependencies": deps})
        };
        let node = |(name, deps): &&(&str, &[&str])| {
            let kinds = json!([{"kind": null}]);
            let deps: Vec<Value> =
                deps.iter().map(|d| json!({"pkg": d, "dep_kinds": kinds})).collect();
            json!({"id": name, "deps": deps})
        };
        let members: Vec<_> = packages.iter().map(|(name, _)| name).collect();
        serde_json::from_value(json!({
            "packages": all.iter().map(package).collect::<Vec<_>>(),
            "workspace_members": members,
            "resolve": {"nodes": all.iter().map(node).collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    fn found(packages: &[(&str, &[&str])], outside: &[(&str, &[&str])]) -> Vec<String> {
        check(&workspace(packages, outside)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_drawn_directions_are_allowed() {
        let packages: &[(&str, &[&str])] = &[
            (CORE, &["serde"]),
            ("roothold-edge", &[CORE, "rmcp", "http"]),
            ("roothold-state", &[CORE, "tokio"]),
            ("roothold-datasets", &[CORE, "datafusion", "arrow-schema"]),
            ("roothold", &[CORE, "roothold-edge", "roothold-state", "rmcp"]),
            ("example-one", &["roothold", "rmcp"]),
        ];
        let outside: &[(&str, &[&str])] = &[("serde", &[]), ("rmcp", &["tokio"]), ("tokio", &[])];
        assert!(found(packages, outside).is_empty(), "{:?}", found(packages, outside));
    }

    #[test]
    fn forbidden_directions_are_named() {
        let cases: &[(&str, &str, &str)] = &[
            (CORE, "roothold", "roothold-core: must not depend on roothold"),
            ("roothold-edge", "roothold-state", "roothold-edge: must not depend on roothold-state"),
            ("roothold-state", "roothold-edge", "roothold-state: must not depend on roothold-edge"),
            ("xtask", "roothold", "xtask: must not depend on roothold"),
            ("roothold", TESTING, "roothold: must not depend on roothold-testing"),
            ("example-one", "roothold-state", "example-one: must not depend on roothold-state"),
            ("roothold-state", "rmcp", "roothold-state: must not know rmcp"),
            ("roothold-databases", "http", "roothold-databases: must not know http"),
            ("roothold", "arrow-array", "roothold: must leave arrow-array to roothold-datasets"),
            ("roothold-extra", CORE, "roothold-extra: is in no layer"),
        ];
        for (from, to, says) in cases {
            let mut packages = vec![(*from, std::slice::from_ref(to))];
            if LAYERS.iter().any(|layer| layer.name == *to) {
                packages.push((*to, &[]));
            }
            let found = found(&packages, &[]);
            assert!(found.len() == 1 && found[0].starts_with(says), "{from} -> {to}: {found:?}");
        }
    }

    #[test]
    fn the_core_must_not_reach_a_runtime_by_a_detour() {
        let packages: &[(&str, &[&str])] = &[(CORE, &["innocent"])];
        let outside: &[(&str, &[&str])] = &[("innocent", &["tokio"]), ("tokio", &[])];
        let says = "roothold-core: must not reach tokio: roothold-core -> innocent -> tokio";
        assert_eq!(found(packages, outside), [says]);
    }
}
