//! `install` and the files of clients.

use serde_json::{Value, json};

use super::Person;

#[test]
fn an_entry_is_printed_and_nothing_is_written() {
    let person = Person::new();
    person.file("files/a.md", "");
    let ran = person.run(&["install", "claude-code", "files"]);
    assert!(ran.err.contains("claude mcp add roothold -- "), "{ran:?}");
    let entry: Value = serde_json::from_str(&ran.good()).unwrap();
    let server = &entry["mcpServers"]["roothold"];
    assert_eq!(server["command"], env!("CARGO_BIN_EXE_roothold"));
    assert_eq!(server["args"], json!(["stdio", person.home().join("files").to_str().unwrap()]));
    assert!(!person.home().join(".mcp.json").exists());
}

#[test]
fn an_entry_is_merged_with_a_backup_and_comments_are_never_lost() {
    let person = Person::new();
    let old = "{\"mcpServers\": {\"other\": {\"command\": \"npx\", \"args\": [1.0]}}, \"theme\": \"dark\"}\n";
    let file = person.file(".cursor/mcp.json", old);
    let url = "http://127.0.0.1:8000/mcp";
    let install = ["install", "cursor", "--http", url, "--write"];
    person.run(&install).good();
    let text = std::fs::read_to_string(&file).unwrap();
    let new: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(new["mcpServers"]["roothold"], json!({"url": url}));
    assert_eq!(new["mcpServers"]["other"]["command"], "npx");
    assert!(text.contains("[1.0]") && new["theme"] == "dark", "{text}");
    assert_eq!(std::fs::read_to_string(format!("{file}.backup")).unwrap(), old);
    assert!(person.run(&install).err.contains("has this entry already"));

    let commented = "{\n  // mine\n  \"servers\": {}\n}\n";
    let file = person.file(".vscode/mcp.json", commented);
    let refused = person.run(&["install", "vscode", "--http", url, "--write"]).bad(2);
    assert!(
        refused.contains("is left as it is") && refused.contains("not plain JSON"),
        "{refused}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), commented);

    let desktop = person.run(&["install", "claude-desktop", "--http", url, "--write"]).bad(2);
    assert!(desktop.contains("names no URLs"), "{desktop}");
    person.run(&["install", "claude-desktop", ".", "--write"]).good();
    assert!(person.home().join(".config/Claude/claude_desktop_config.json").exists());
}
