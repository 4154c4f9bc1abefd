//! A large tree as clients walk it, page by page: every permitted entry once, no page above its
//! budget, and memory that is bounded and given back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Request, Server, Spec, full, texts};

/// How much the server may take with the index of the whole tree.
const MEMORY_MAX: u64 = 60_000_000;
/// What an allocator may keep in pages that are not quite empty: as much after 10,000 files as after
/// 100,000, since it goes with the threads that worked and the sizes they used.
const KEPT_MAX: u64 = 10 << 20;
const BYTES: &str = r#"roothold_cache_bytes{cache="index"}"#;
/// How long may be waited for something that takes seconds.
const PATIENCE: Duration = Duration::from_secs(100);

/// What callers may see of a tree of so many files, hidden ones not counted.
struct Tree {
    directories: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Tree {
    fn make(dirs: &Dirs, files: usize) -> Self {
        let mut tree = Self { directories: BTreeSet::new(), files: BTreeSet::new() };
        for at in 0..files / 20 {
            let (a, b) = (at / 100, at / 10 % 10);
            let place = match at % 10 {
                0 => format!("tree/a{a}"),
                1 => format!("tree/a{a}/b{b}"),
                _ => format!("tree/a{a}/b{b}/c{at}/d"),
            };
            std::fs::create_dir_all(dirs.work().join(&place)).unwrap();
            let mut above = String::new();
            for name in place.split('/') {
                above = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
                tree.directories.insert(above.clone());
            }
            for file in 0..20 {
                let path = format!("{place}/document_{at}_{file}.md");
                std::fs::write(dirs.work().join(&path), "").unwrap();
                tree.files.insert(path);
            }
            for hidden in [".env", "credentials.json", "A.KEY"] {
                std::fs::write(dirs.work().join(&place).join(hidden), "").unwrap();
            }
        }
        tree.directories.remove("tree");
        // Of this one the policy hides what it holds, of the other all.
        tree.directories.insert("tree/secrets".to_owned());
        dirs.write("work/tree/secrets/hidden/x.md", "");
        dirs.write("work/tree/.git/config", "");
        tree
    }
}

/// The structured forms of all pages, each of which fits the budget that callers have who do not say.
fn pages(server: &Server, tool: &str, mut arguments: Value) -> Vec<Value> {
    const BYTES_MAX: usize = 64 * 1024;
    let (mut conn, mut pages) = (Conn::open(server.address), Vec::new());
    loop {
        let mut result = conn.send(&Request::call(tool, &arguments)).result();
        assert_ne!(result["isError"], true, "{result}");
        assert!(texts(&result).iter().map(String::len).sum::<usize>() <= BYTES_MAX);
        let page = result["structuredContent"].take();
        assert!(page.to_string().len() <= BYTES_MAX);
        let cursor = page["next_cursor"].clone();
        pages.push(page);
        assert!(pages.len() < 1000, "it does not end");
        if cursor.is_null() {
            return pages;
        }
        arguments["cursor"] = cursor;
    }
}

/// Adds what a page of a tree shows. A directory may come again with a later page.
fn collect(
    nodes: &Value,
    above: &str,
    directories: &mut BTreeSet<String>,
    files: &mut Vec<String>,
) {
    for node in nodes.as_array().unwrap() {
        let path = format!("{above}/{}", node["name"].as_str().unwrap());
        if node["type"] == "directory" {
            collect(&node["children"], &path, directories, files);
            directories.insert(path);
        } else {
            files.push(path);
        }
    }
}

fn walk_tree(server: &Server, dirs: &Dirs, tree: &Tree) {
    let (mut directories, mut files) = (BTreeSet::new(), Vec::new());
    for page in pages(server, "directory_tree", json!({"path": dirs.fill_in("$ROOT/tree")})) {
        collect(&page["tree"], "tree", &mut directories, &mut files);
    }
    assert_eq!(files.len(), tree.files.len(), "each file once");
    assert!(files.into_iter().collect::<BTreeSet<_>>() == tree.files);
    assert!(directories == tree.directories);
}

fn search_tree(server: &Server, dirs: &Dirs, tree: &Tree) {
    let root = dirs.fill_in("$ROOT/");
    let everything = json!({"path": format!("{root}tree"), "pattern": "**"});
    let mut found = Vec::new();
    for page in pages(server, "search_files", everything) {
        let matches = page["matches"].as_array().unwrap().iter();
        found.extend(matches.map(|path| path.as_str().unwrap()[root.len()..].to_owned()));
    }
    assert_eq!(found.len(), tree.files.len() + tree.directories.len(), "each entry once");
    let all = tree.files.union(&tree.directories).cloned().collect::<BTreeSet<_>>();
    assert!(found.into_iter().collect::<BTreeSet<_>>() == all);
}

fn metric(server: &Server, name: &str) -> f64 {
    let text = server.metrics();
    let line = text.lines().find(|line| line.starts_with(name)).expect(name);
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn hits(server: &Server) -> f64 {
    metric(server, r#"roothold_cache_requests_total{cache="index",outcome="hit"}"#)
}

#[test]
fn a_large_tree_is_walked_whole_in_bounded_memory_that_is_given_back() {
    let dirs = Dirs::new();
    let tree = Tree::make(&dirs, if full() { 100_000 } else { 10_000 });
    let config = dirs.config("[cache]\nidle_seconds = 5\n");
    let server = Spec { log: "info", ..Spec::new(dirs.base(), config) }.start();
    server.call("list_directory", &json!({"path": dirs.fill_in("$ROOT")})).result();
    let idle = server.own_memory();
    walk_tree(&server, &dirs, &tree);
    search_tree(&server, &dirs, &tree);
    // What has just been made is not trusted for some seconds; then a whole walk is a hit.
    let until = Instant::now() + PATIENCE;
    loop {
        let before = hits(&server);
        walk_tree(&server, &dirs, &tree);
        if hits(&server) - before >= f64::from(u32::try_from(tree.directories.len()).unwrap()) {
            break;
        }
        assert!(Instant::now() < until, "the index is never used: {}", server.metrics());
    }
    search_tree(&server, &dirs, &tree);
    let (held, with_index) = (metric(&server, BYTES), server.own_memory());
    assert!(held > 0.0 && with_index < MEMORY_MAX, "{held} in the index, {with_index} in all");
    let given_back = |memory: u64| memory <= idle + KEPT_MAX;
    // Nothing is asked meanwhile: what a thread has freed goes back when it ends, ten seconds after
    // its last work.
    let until = Instant::now() + PATIENCE;
    while !given_back(server.own_memory()) {
        let now = server.own_memory();
        assert!(Instant::now() < until, "{idle} before, {with_index} with, {now} after");
        std::thread::sleep(Duration::from_millis(500));
    }
    while metric(&server, BYTES) > 0.0 {
        assert!(Instant::now() < until, "the index stays");
        std::thread::sleep(Duration::from_millis(500));
    }
    walk_tree(&server, &dirs, &tree);
}
