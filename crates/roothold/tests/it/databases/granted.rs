//! What `[[principals]]` grants holds for databases, too.

use std::collections::BTreeSet;

use roothold_edge::auth::KeysFile;
use serde_json::json;

use super::{section, sqlite, start};
use crate::support::{Asked, Dirs, Request, Server};

const TOOLS: [&str; 4] = ["list_databases", "describe_schema", "query_database", "explain_query"];

/// Keys with scopes, and the section that knows them.
pub(crate) fn keys(dirs: &Dirs, names: &[(&str, &[&str])]) -> (Vec<String>, String) {
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

fn query(server: &Server, key: &str) -> Asked {
    let arguments = json!({"database": "shop", "sql": "SELECT 1"});
    server.send(&Request::call("query_database", &arguments).bearer(key)).asked()
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
    let server = start(&dirs, &config);
    let (anna, bob) = (&keys[0], &keys[1]);
    assert_eq!(query(&server, anna).unwrap_err().0, "denied");
    assert_eq!(
        listed(&server, anna),
        ["describe_schema", "list_databases"].map(str::to_owned).into()
    );
    assert_eq!(query(&server, bob).unwrap_err().0, "denied");
    assert_eq!(listed(&server, bob), BTreeSet::new());
}
