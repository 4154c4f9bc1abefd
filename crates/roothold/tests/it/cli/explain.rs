//! `explain` on the demo's configuration and with principals.

use super::Person;

#[test]
fn the_table_of_the_demo_is_true() {
    let person = Person::new();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/demo/roothold.toml");
    let cases = [
        ("read", "/workspace/mcp-demo/README.md", 0, "read patterns cover it"),
        ("write", "/workspace/mcp-demo/README.md", 0, "write patterns cover it"),
        ("read", "/workspace/mcp-demo/src/main.rs", 1, "rule    read\n"),
        ("write", "/workspace/mcp-demo/src/main.rs", 0, "MCP Demo Project, rw"),
        ("read", "/workspace/mcp-demo/README.MD", 1, "rule    read\n"),
        ("write", "/workspace/mcp-demo/README.MD", 0, "there is nothing at that path now"),
        ("read", "/workspace/mcp-demo/notes.md/secret.bin", 1, "rule    read\n"),
        ("read", "/workspace/mcp-demo/.env.json", 0, "read patterns cover it"),
        ("read", "/workspace/mcp-demo/.env", 1, "rule    exclude `.env`"),
        ("write", "/workspace/mcp-demo/.env", 1, "rule    exclude `.env`"),
        ("read", "/workspace/mcp-demo/prod.key/a.md", 1, "rule    exclude `*.key`"),
        ("list", "/workspace/mcp-demo/prod.key", 1, "rule    exclude `*.key`"),
        ("stat", "/workspace/mcp-demo/config/credentials.json", 1, "exclude `credentials.*`"),
        ("read", "/shared/templates/base.yaml", 0, "Shared Templates, ro"),
        ("write", "/shared/templates/base.yaml", 1, "rule    access `ro`"),
        ("write", "/workspace/mcp-demo", 1, "rule    root_itself"),
        ("list", "/workspace/mcp-demo", 0, "the directory is there"),
        ("read", "/etc/passwd", 1, "root    none"),
    ];
    for (verb, path, code, expected) in cases {
        let ran = person.run(&["explain", "--config", config, verb, path]);
        assert_eq!(ran.code, code, "{verb} {path}: {ran:?}");
        assert!(ran.out.contains(expected), "{verb} {path}: {ran:?}");
        assert!(ran.out.starts_with(if code == 0 { "allowed" } else { "denied" }), "{ran:?}");
    }
}

#[test]
fn only_tools_that_exist_are_asked_about() {
    let person = Person::new();
    person.file("files/a.md", "hello");
    let config = person.file(
        "roothold.toml",
        "[[roots]]\npath = \"files\"\nuri = \"file:///w\"\naccess = \"rw\"\n\
         [[principals]]\nname = \"ci\"\ntools = [\"read_text_file\"]\n",
    );
    let ask = |more: &[&str]| {
        person.run(&[&["explain", "--config", &config, "--principal", "ci"], more].concat())
    };
    let unknown = ask(&["--tool", "wriet_file", "write", "/w/a.md"]).bad(2);
    assert!(unknown.contains("there is no tool `wriet_file`; there are listRoots,"), "{unknown}");
    let write = ask(&["write", "/w/a.md"]);
    assert!(write.code == 1 && write.out.contains("rule    tools"), "{write:?}");
    assert!(write.out.contains("may write it with write_file"), "{write:?}");
    let list = ask(&["list", "/w"]);
    assert!(list.code == 1 && list.out.contains("rule    tools"), "{list:?}");
    assert!(
        ask(&["--tool", "read_text_file", "read", "/w/a.md"])
            .good()
            .contains("with read_text_file")
    );
}

#[test]
fn principals_scopes_and_directories_count() {
    let person = Person::new();
    let path = person.file("files/a.md", "hello");
    person.file("files/.env", "x");
    let config = person.file(
        "roothold.toml",
        "[[roots]]\npath = \"files\"\nuri = \"file:///w\"\naccess = \"rw\"\n\
         [[principals]]\nname = \"ci\"\nscopes = [\"files:read\"]\n[[principals]]\nname = \"ops\"\n",
    );
    let ask = |more: &[&str]| person.run(&[&["explain", "--config", &config], more].concat());
    let unnamed = ask(&["read", "/w/a.md"]).bad(2);
    assert!(unnamed.contains("name one with --principal"), "{unnamed}");
    assert!(ask(&["--principal", "ci", "read", "/w/a.md"]).good().starts_with("allowed"));
    let granted = ask(&["--principal", "ci", "write", "/w/a.md"]);
    assert!(
        granted.code == 1 && granted.out.contains("principal_scopes `files:write`"),
        "{granted:?}"
    );
    let scopes = ask(&["--principal", "ops", "--scopes", "files:read", "write", "/w/a.md"]);
    assert!(scopes.code == 1 && scopes.out.contains("rule    scopes `files:write`"), "{scopes:?}");
    let stranger = ask(&["--principal", "eve", "read", "/w/a.md"]);
    assert!(stranger.code == 1 && stranger.out.contains("rule    principals"), "{stranger:?}");

    assert!(person.run(&["explain", "read", &path, "files"]).good().starts_with("allowed"));
    let read_only = person.run(&["explain", "write", &path, "files"]);
    assert!(read_only.code == 1 && read_only.out.contains("access `ro`"), "{read_only:?}");
    let secret = person.run(&["explain", "read", ".env", "files"]);
    assert!(secret.code == 1 && secret.out.contains("exclude `.env`"), "{secret:?}");
}
