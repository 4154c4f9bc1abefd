//! `.gitignore`.

use super::*;
use crate::PolicySpec;
use crate::testing::policy;

fn found(policy: &Policy, path: &str) -> Vec<String> {
    let mut search = literal("x");
    (search.gitignore, search.shows) = (true, Shows::Files);
    let (found, searched) = whole(policy, path, &search);
    assert_eq!(paged(policy, path, &search, 1).0, found);
    assert!(searched.problems.is_empty());
    found.into_iter().map(|line| line["/work/".len()..line.len() - 2].to_owned()).collect()
}

fn tree(files: &[&str]) -> Workspace {
    let workspace = Workspace::new();
    for path in files {
        workspace.file(&format!("work/{path}"), "x");
    }
    workspace
}

#[test]
fn the_nearest_file_and_its_last_line_decide() {
    let workspace = tree(&[
        "a.log",
        "keep.log",
        "sub/b.log",
        "sub/keep.log",
        "sub/deep/c.log",
        "build/out",
        "sub/build/out",
        "-first",
        "sub/only/d.txt",
        "other/only/d.txt",
        "#hash",
        "café/y",
    ]);
    workspace
        .file(
            "work/.gitignore",
            "# comment\n*.log\n!keep.log\n/build/\r\nsub/only\n\\#hash\n caf\u{e9}\n",
        )
        .file("work/sub/.gitignore", "keep.log\n!b.log\n[bad\n");
    let wanted = ["-first", "cafe", "keep.log", "other/only/d.txt", "sub/b.log", "sub/build/out"];
    let mut found = found(&workspace.policy(), "/work");
    found.retain(|path| !path.contains(".gitignore"));
    let wanted: Vec<String> =
        wanted.iter().map(|path| path.replace("cafe", "caf\u{e9}/y")).collect();
    assert_eq!(found, wanted);
    // From below, the files above count too.
    let below = self::found(&workspace.policy(), "/work/sub");
    assert_eq!(below, ["sub/b.log", "sub/build/out"]);
}

#[test]
fn below_a_directory_that_is_left_out_nothing_is_taken_back() {
    let workspace = tree(&["out/a", "out/keep", "part/a", "part/keep", ".git/config", "d/.git/x"]);
    workspace.file("work/.gitignore", "out\n!out/keep\npart/*\n!part/keep\n");
    assert_eq!(found(&workspace.policy(), "/work"), ["part/keep"]);
}

#[test]
fn taking_back_does_not_show_what_policy_hides() {
    let workspace = tree(&[".env", "d/.env", "a.key", "a", "d/b"]);
    workspace
        .file("work/.gitignore", "a\n!.env\n!*.key\n!d/.env\n")
        .file("work/d/.gitignore", "!.env");
    assert_eq!(found(&workspace.policy(), "/work"), ["d/b"]);
}

#[test]
fn a_file_that_may_not_be_read_is_not_used() {
    let workspace = tree(&["a.md", "b.md"]);
    workspace.file("work/.gitignore", "a.md");
    let spec = |read: &str, exclude: &str| PolicySpec {
        read: vec![read.to_owned()],
        exclude: vec![exclude.to_owned()],
        ..PolicySpec::default()
    };
    let hidden = policy(&[workspace.root("work")], spec("*.md", "none"));
    assert_eq!(found(&hidden, "/work"), ["a.md", "b.md"]);
    let excluded = policy(&[workspace.root("work")], spec("**", ".gitignore"));
    assert_eq!(found(&excluded, "/work"), ["a.md", "b.md"]);
    assert_eq!(found(&workspace.policy(), "/work"), ["b.md"]);
    let linked = tree(&["a.md"]);
    linked.file("work/rules", "a.md").link("work/.gitignore", "rules");
    let mut linked = found(&linked.policy(), "/work");
    linked.retain(|path| path != "rules");
    assert_eq!(linked, ["a.md"]);
}

#[test]
fn one_that_is_too_long_is_told_and_not_used() {
    for content in ["a\n".repeat(1001), format!("a\n#{}", "x".repeat(64 * 1024))] {
        let workspace = tree(&["a"]);
        workspace.file("work/.gitignore", &content);
        let mut search = literal("x");
        (search.gitignore, search.include) = (true, Some(PathGlobs::new(&["a"]).unwrap()));
        let (found, searched) = whole(&workspace.policy(), "/work", &search);
        assert_eq!(found, ["/work/a:1:x"]);
        assert_eq!(searched.problems[0].path, "/work/.gitignore");
    }
}
