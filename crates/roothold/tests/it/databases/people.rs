//! Who may use which database; one that one may not use is as one that does not exist.

use roothold_edge::auth::KeysFile;
use serde_json::{Value, json};

use super::{orders, postgres, start};
use crate::support::{Dirs, Request, Server};

const TOOLS: [&str; 4] = ["list_databases", "describe_schema", "query_database", "explain_query"];

struct People {
    dirs: Dirs,
    server: Server,
    anna: String,
    bob: String,
    /// Has no scope for databases.
    carl: String,
}

impl People {
    fn new(database: &str) -> Self {
        let (server, dirs) = (orders(database), Dirs::with_fixture());
        let file = KeysFile::open(&dirs.base().join("keys")).unwrap();
        let key = |name: &str, scopes: &[&str]| {
            let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
            file.new_key(name, &scopes, None).unwrap().1.reveal().to_owned()
        };
        let both = ["files:read", "databases:read"];
        let (anna, bob, carl) =
            (key("anna", &both), key("bob", &both), key("carl", &["files:read"]));
        let url = server.url(database, database);
        let more = format!(
            "[auth]\nkeys_file = \"{}\"\n{}{}",
            dirs.base().join("keys").display(),
            postgres("hers", &url, "principals = [\"anna\"]"),
            postgres("ours", &url, "principals = [\"anna\", \"bob\"]"),
        );
        let server = start(&dirs, &more);
        Self { dirs, server, anna, bob, carl }
    }

    fn send(&self, key: &str, tool: &str, arguments: &Value) -> Value {
        self.server.send(&Request::call(tool, arguments).bearer(key)).json()
    }

    fn query(&self, key: &str, database: &str) -> Value {
        let arguments = json!({"database": database, "sql": "SELECT count(*) FROM orders"});
        self.send(key, "query_database", &arguments)
    }

    fn tools(&self, key: &str) -> Vec<String> {
        let list =
            self.server.send(&Request::modern("tools/list", &json!({})).bearer(key)).result();
        let tools = list["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn each_sees_and_asks_what_is_theirs() {
    let people = People::new("theirs");
    for (key, database) in [(&people.anna, "hers"), (&people.anna, "ours"), (&people.bob, "ours")] {
        let answer = people.query(key, database);
        assert_eq!(answer["result"]["structuredContent"]["rows"], json!([[100]]), "{answer}");
    }
    let listed = |key: &str| people.send(key, "list_databases", &json!({}))["result"].to_string();
    assert!(listed(&people.anna).contains("hers") && listed(&people.anna).contains("ours"));
    assert!(!listed(&people.bob).contains("hers") && listed(&people.bob).contains("ours"));
    for key in [&people.anna, &people.bob] {
        let tools = people.tools(key);
        assert!(TOOLS.iter().all(|tool| tools.iter().any(|name| name == tool)), "{tools:?}");
    }
}

#[test]
fn what_is_anothers_is_as_what_is_not_there() {
    let people = People::new("anothers");
    let cases = [
        ("query_database", json!({"sql": "SELECT 1"})),
        ("query_database", json!({"sql": "SELEC 1"})),
        ("query_database", json!({"sql": "SELECT * FROM orders", "parameters": [1]})),
        ("explain_query", json!({"sql": "SELECT 1"})),
        ("describe_schema", json!({})),
    ];
    for (tool, arguments) in cases {
        let ask = |database: &str| {
            let mut arguments = arguments.clone();
            arguments["database"] = database.into();
            people.send(&people.bob, tool, &arguments).to_string()
        };
        let (anothers, nowhere) = (ask("hers"), ask("none"));
        assert!(anothers.contains("isError\":true"), "{anothers}");
        assert_eq!(anothers.replace("hers", "none"), nowhere, "{tool} {arguments}");
    }
}

#[test]
fn without_the_scope_there_are_no_databases() {
    let people = People::new("scopeless");
    let tools = people.tools(&people.carl);
    assert!(TOOLS.iter().all(|tool| !tools.iter().any(|name| name == tool)), "{tools:?}");
    for database in ["hers", "ours", "none"] {
        let arguments = json!({"database": database, "sql": "SELECT 1"});
        let request = Request::call("query_database", &arguments).bearer(&people.carl);
        assert_eq!(people.server.send(&request).status, 403, "{database}");
    }
    let read = json!({"path": people.dirs.fill_in("$ROOT/hello.txt")});
    let read = people.send(&people.carl, "read_text_file", &read);
    assert_ne!(read["result"]["isError"], true, "{read}");
}

#[test]
fn where_no_database_is_configured_no_tool_for_them_is_listed() {
    let dirs = Dirs::with_fixture();
    let server = start(&dirs, "");
    let list = server.send(&Request::modern("tools/list", &json!({}))).result().to_string();
    assert!(TOOLS.iter().all(|tool| !list.contains(&format!("\"{tool}\""))), "{list}");
}
