//! Who may use which database, and what others learn of it.

use std::collections::BTreeSet;

use roothold_edge::auth::KeysFile;
use serde_json::{Value, json};

use super::{Asked, outcome, section, server, sqlite};
use crate::support::{Dirs, Request, Server, Spec};

const TOOLS: [&str; 4] = ["list_databases", "describe_schema", "query_database", "explain_query"];

/// Keys with scopes, and the section that knows them.
fn keys(dirs: &Dirs, names: &[(&str, &[&str])]) -> (Vec<String>, String) {
    let path = dirs.base().join("keys");
    let file = KeysFile::open(&path).unwrap();
    let key = |(name, scopes): &(&str, &[&str])| {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        file.new_key(name, &scopes, None).unwrap().1.reveal().to_owned()
    };
    (names.iter().map(key).collect(), format!("[auth]\nkeys_file = \"{}\"\n", path.display()))
}

fn listed(server: &Server, key: &str) -> BTreeSet<String> {
    let list = server.send(&Request::modern("tools/list", &json!({})).bearer(key)).result();
    let tools = list["tools"].as_array().unwrap().iter();
    let names = tools.map(|tool| tool["name"].as_str().unwrap().to_owned());
    names.filter(|name| TOOLS.contains(&name.as_str())).collect()
}

fn asked(server: &Server, key: &str, tool: &str, arguments: &Value) -> Asked {
    outcome(server.send(&Request::call(tool, arguments).bearer(key)).result())
}

#[test]
fn a_database_of_others_is_as_one_that_does_not_exist() {
    let dirs = Dirs::new();
    let scopes: &[&str] = &["files:read", "databases:read"];
    let (keys, auth) =
        keys(&dirs, &[("anna", scopes), ("bob", scopes), ("carol", &["files:read"])]);
    let (anna, bob, carol) = (&keys[0], &keys[1], &keys[2]);
    let config = auth
        + &section("shop", &sqlite(&dirs, "shop.sqlite3"))
        + "principals = [\"anna\", \"carol\"]\n"
        + &section("ledger", &sqlite(&dirs, "ledger.sqlite3"))
        + "principals = [\"anna\"]\n";
    let server = server(&dirs, &config);
    let list = asked(&server, anna, "list_databases", &json!({})).unwrap();
    let names: Vec<&Value> =
        list["databases"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["shop", "ledger"]);
    assert_eq!(list["databases"][0]["description"], "what is sold");
    assert_eq!(asked(&server, bob, "list_databases", &json!({})).unwrap()["databases"], json!([]));
    for tool in ["describe_schema", "query_database", "explain_query"] {
        let of = |database: &str| {
            let mut arguments = json!({"database": database});
            if tool != "describe_schema" {
                arguments["sql"] = "SELECT 1".into();
            }
            arguments
        };
        asked(&server, anna, tool, &of("ledger")).unwrap();
        let hidden = asked(&server, bob, tool, &of("ledger")).unwrap_err();
        assert_eq!(hidden, asked(&server, bob, tool, &of("nothing")).unwrap_err(), "{tool}");
        assert_eq!(hidden.0, "denied", "{tool}");
    }
    // Without the scope nothing is asked for at all, and the client is told which one it needs.
    for database in ["shop", "nothing"] {
        let request =
            Request::call("query_database", &json!({"database": database, "sql": "SELECT 1"}));
        let reply = server.send(&request.bearer(carol));
        assert_eq!(reply.status, 403);
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("databases:read"), "{challenge}");
    }
    assert_eq!(listed(&server, anna), TOOLS.map(str::to_owned).into());
    assert_eq!(listed(&server, bob), BTreeSet::new());
}

#[test]
fn without_databases_there_are_no_tools_for_them() {
    let dirs = Dirs::new();
    let server = server(&dirs, "");
    let list = server.send(&Request::modern("tools/list", &json!({}))).result().to_string();
    assert!(!TOOLS.iter().any(|tool| list.contains(tool)), "{list}");
    let (kind, text) = super::query(&server, "shop", "SELECT 1").unwrap_err();
    assert_eq!(kind, "denied", "{text}");
    assert!(!server.metrics().contains("roothold_database_operation"));
    assert!(server.status()["databases"].is_null());
}

#[test]
fn grants_of_principals_hold_for_databases_too() {
    let dirs = Dirs::new();
    let scopes: &[&str] = &["files:read", "databases:read"];
    let (keys, auth) = keys(&dirs, &[("anna", scopes), ("bob", scopes)]);
    let config = auth
        + "[[principals]]\nname = \"anna\"\ntools = [\"list_databases\", \"describe_schema\"]\n\
           [[principals]]\nname = \"bob\"\nscopes = [\"files:read\"]\n"
        + &section("shop", &sqlite(&dirs, "shop.sqlite3"));
    let server = Spec::new(dirs.base(), dirs.config(&config)).start();
    let query = json!({"database": "shop", "sql": "SELECT 1"});
    let (anna, bob) = (&keys[0], &keys[1]);
    assert_eq!(asked(&server, anna, "query_database", &query).unwrap_err().0, "denied");
    assert_eq!(
        listed(&server, anna),
        ["describe_schema", "list_databases"].map(str::to_owned).into()
    );
    assert_eq!(asked(&server, bob, "query_database", &query).unwrap_err().0, "denied");
    assert_eq!(listed(&server, bob), BTreeSet::new());
}
