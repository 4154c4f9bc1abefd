//! `demo`, `call` and `healthcheck`.

use serde_json::{Value, json};

use super::Person;

fn roots() -> Value {
    json!({
        "roots": [
            {"uri": "file:///workspace/mcp-demo", "name": "MCP Demo Project", "description": "Demo project files and resources"},
            {"uri": "file:///shared/templates", "name": "Shared Templates", "description": "Read-only template library"},
        ],
        "access_policy": {
            "read": ["*.md", "*.json", "*.yaml"],
            "write": ["workspace/**/*"],
            "exclude": [".env", "credentials.*", "*.key"],
        },
    })
}

#[test]
fn the_demo_is_called_as_it_says_and_ends_in_order() {
    let person = Person::new();
    let mut demo = person.serve(&["demo", "--listen", "127.0.0.1:0", "--dir", "here"]);
    let said = demo.says("the directory stays");
    assert!(said.contains(&format!("roothold call --url {}/mcp listRoots", demo.url)), "{said}");
    assert!(said.contains("npx @modelcontextprotocol/inspector --cli"), "{said}");
    assert!(said.contains("claude mcp add --transport http"), "{said}");

    let call =
        |arguments: &[&str]| person.run(&[&["call", "--url", &demo.url], arguments].concat());
    let answer: Value = serde_json::from_str(&call(&["listRoots"]).good()).unwrap();
    assert_eq!(answer, roots());
    let raw: Value = serde_json::from_str(&call(&["--raw", "listRoots"]).good()).unwrap();
    assert_eq!(raw["structuredContent"], roots());
    let path = "path=/workspace/mcp-demo/README.md";
    assert!(call(&["read_text_file", path, "head=1"]).good().starts_with("# Parcel quotes"));

    let denied = call(&["read_text_file", "path=/workspace/mcp-demo/.env"]).bad(1);
    assert!(denied.contains("rule exclude `.env`"), "{denied}");
    let unknown = call(&["no_such_tool"]).bad(1);
    assert!(
        unknown.contains("no tool `no_such_tool`") && unknown.contains("listRoots"),
        "{unknown}"
    );
    let wrong = call(&["read_text_file", "pth=/"]).bad(2);
    assert!(wrong.contains("no argument `pth`; it has"), "{wrong}");
    let typed = call(&["read_text_file", path, "head=ten"]).bad(2);
    assert!(typed.contains("`head` cannot be `ten`"), "{typed}");

    let health = format!("{}/health", demo.url);
    assert!(person.run(&["healthcheck", "--url", &health]).good().contains("answers 200"));
    let elsewhere = format!("{}/nowhere", demo.url);
    assert!(person.run(&["healthcheck", "--url", &elsewhere]).bad(1).contains("answers 404"));

    assert_eq!(demo.stop().code(), Some(0));
    assert!(person.run(&["healthcheck", "--url", &health]).bad(1).contains("does not answer"));
    let verified = person.run(&["audit", "verify", "here/audit"]).good();
    assert!(verified.contains("whole") && verified.contains("0 unfinished"), "{verified}");
    let tail = person.run(&["audit", "tail", "--dir", "here/audit", "-n", "50"]).good();
    assert!(tail.contains("read /workspace/mcp-demo/.env by exclude"), "{tail}");
}

#[test]
fn a_demo_is_not_made_over_other_files_nor_opened_to_the_network_unasked() {
    let person = Person::new();
    person.file("mine/thing.txt", "mine");
    let over = person.run(&["demo", "--dir", "mine", "--listen", "127.0.0.1:0"]).bad(2);
    assert!(over.contains("is not empty and holds no demo"), "{over}");
    let open = person.run(&["demo", "--dir", "demo", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.code, 2, "{open:?}");
    assert!(open.err.contains("unauthenticated"), "{open:?}");
}

#[test]
fn a_call_reaches_directories_without_a_server_and_other_servers_by_their_command() {
    let person = Person::new();
    let path = person.file("files/a.md", "hello\n");
    let own = person.run(&["call", "--dir", "files", "read_text_file", "path=a.md"]).good();
    assert!(own.starts_with("hello\n"), "{own}");
    let argument = format!("path={path}");
    let program = env!("CARGO_BIN_EXE_roothold");
    let piped = ["call", "read_text_file", &argument, "--", program, "stdio", "files"];
    assert!(person.run(&piped).good().starts_with("hello\n"));
    let json = format!("{{\"paths\":[\"{path}\"]}}");
    let many = ["call", "--json", &json, "--dir", "files", "read_multiple_files"];
    assert!(person.run(&many).good().contains("hello"));
    let none = person.run(&["call", "listRoots", "--", "/no/such/program"]).bad(2);
    assert!(none.contains("cannot be started"), "{none}");
    let mute = person.run(&["call", "listRoots", "--", "true"]).bad(2);
    assert!(mute.contains("the server"), "{mute}");
}

#[test]
fn a_token_is_no_argument_and_does_not_cross_the_network_in_the_clear() {
    let person = Person::new();
    let token = person.file("token", "secret-token\n");
    let away = ["call", "--url", "http://192.0.2.1/mcp", "--token-file", &token, "listRoots"];
    let refused = person.run(&away).bad(2);
    assert!(refused.contains("in the clear") && !refused.contains("secret-token"), "{refused}");
    let unused = ["call", "--dir", ".", "--token-file", &token, "listRoots"];
    assert_eq!(person.run(&unused).code, 2);
    let inline = person.run(&["call", "--url", "http://a:b@127.0.0.1/mcp", "listRoots"]).bad(2);
    assert!(inline.contains("must not hold a password"), "{inline}");
}
