use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

/// A workspace of these packages and their dependencies, with no package from elsewhere.
fn workspace(packages: &[(&str, &[&str])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut manifest = String::from(
        "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n[workspace.dependencies]\n",
    );
    for (name, dependencies) in packages {
        writeln!(manifest, "{name} = {{ path = \"crates/{name}\" }}").unwrap();
        let mut member =
            format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[dependencies]\n");
        for dependency in *dependencies {
            writeln!(member, "{dependency}.workspace = true").unwrap();
        }
        write(&format!("crates/{name}/Cargo.toml"), &member);
        write(&format!("crates/{name}/src/lib.rs"), "//! A library.\n");
    }
    write("Cargo.toml", &manifest);
    dir
}

fn tidy(root: &Path) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["tidy", "--root"])
        .arg(root)
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output, said)
}

#[test]
fn a_workspace_in_order_passes() {
    let dir = workspace(&[("roothold-core", &[]), ("roothold-edge", &["roothold-core"])]);
    let (output, said) = tidy(dir.path());
    assert!(output.status.success(), "{said}");
    assert!(said.contains("in order"), "{said}");
}

#[test]
fn a_forbidden_dependency_fails_with_a_sentence() {
    let dir = workspace(&[
        ("roothold-core", &[]),
        ("roothold-edge", &["roothold-state"]),
        ("roothold-state", &[]),
    ]);
    let (output, said) = tidy(dir.path());
    assert!(!output.status.success());
    assert!(said.contains("roothold-edge: must not depend on roothold-state"), "{said}");
    assert!(said.contains("tidy found 1 problems"), "{said}");
}

#[test]
fn a_forgotten_test_file_and_a_long_file_fail() {
    let dir = workspace(&[("roothold-core", &[])]);
    let home = dir.path().join("crates/roothold-core");
    std::fs::create_dir_all(home.join("tests/it")).unwrap();
    std::fs::write(home.join("tests/it/main.rs"), "//! Tests.\n").unwrap();
    std::fs::write(home.join("tests/it/forgotten.rs"), "").unwrap();
    std::fs::write(home.join("src/lib.rs"), "// x\n".repeat(501)).unwrap();
    let (output, said) = tidy(dir.path());
    assert!(!output.status.success());
    assert!(said.contains("tests/it/forgotten.rs: no module names this file"), "{said}");
    assert!(said.contains("src/lib.rs: 501 lines, more than 500"), "{said}");
}

#[test]
fn an_unknown_task_fails_with_the_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("tydi").output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no task \"tydi\"") && said.contains("usage:"), "{said}");
}
