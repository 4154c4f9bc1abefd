//! Tools that are made of SQL.

use serde_json::{Value, json};

use super::checking::check;
use super::executing::{able, answered, orders, writer, yes};
use super::granted::keys;
use super::reloading::reload;
use super::{section, sqlite, start};
use crate::support::{Dirs, Request, Server, find_canary, misfit};
use crate::watch::Listening;

/// Tools over the database `shop`.
const TOOLS: &str = r#"
[[tools]]
name = "orders_of"
title = "Orders of a customer"
description = "The orders of one customer"
database = "shop"
sql = "SELECT id, amount FROM orders WHERE customer_id = :customer AND amount >= :least AND 'CANARY-SQL' <> '' ORDER BY id"
[[tools.parameters]]
name = "customer"
type = "integer"
minimum = 1
description = "The customer's number"
[[tools.parameters]]
name = "least"
type = "number"
default = 0
description = "The least amount"

[[tools]]
name = "customer"
description = "One customer by name"
database = "shop"
result = "row"
sql = "SELECT id, name FROM customers WHERE name LIKE :name"
[[tools.parameters]]
name = "name"
type = "text"
max_length = 20
description = "The name, or a pattern"

[[tools]]
name = "total-of"
description = "What some orders come to"
database = "shop"
result = "value"
sql = "SELECT sum(amount) FROM orders WHERE id IN (SELECT value FROM json_each(:ids))"
[[tools.parameters]]
name = "ids"
type = "integer"
list = true
max_items = 3
description = "Numbers of orders"
"#;

fn tools(server: &Server) -> Vec<Value> {
    let list = server.send(&Request::modern("tools/list", &json!({}))).result();
    list["tools"].as_array().unwrap().clone()
}

fn names(server: &Server) -> Vec<String> {
    tools(server).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn shop(dirs: &Dirs) -> Server {
    let path = sqlite(dirs, "shop.sqlite3");
    start(dirs, &(section("shop", &path) + TOOLS))
}

#[test]
fn agents_see_what_a_tool_takes_and_gives() {
    let dirs = Dirs::new();
    let server = shop(&dirs);
    let all = tools(&server);
    let of = |name: &str| all.iter().find(|tool| tool["name"] == name).unwrap();
    let orders = of("orders_of");
    assert_eq!(
        (&orders["title"], &orders["description"]),
        (&json!("Orders of a customer"), &json!("The orders of one customer"))
    );
    let schema = &orders["inputSchema"];
    assert_eq!(schema["required"], json!(["customer"]));
    assert_eq!(
        schema["properties"]["customer"],
        json!({"type": "integer", "minimum": 1, "description": "The customer's number"})
    );
    assert_eq!(schema["properties"]["least"]["default"], 0);
    assert!(schema["properties"]["cursor"].is_object());
    assert!(of("customer")["inputSchema"]["properties"]["cursor"].is_null());
    for name in ["orders_of", "customer", "total-of"] {
        let hints = &of(name)["annotations"];
        assert_eq!(
            (&hints["readOnlyHint"], &hints["destructiveHint"]),
            (&json!(true), &json!(false))
        );
        assert!(of(name)["outputSchema"].is_object());
    }
    assert!(!json!(all).to_string().contains("SELECT id, amount"), "no SQL is shown");
    for (name, arguments) in [
        ("orders_of", json!({"customer": 1})),
        ("customer", json!({"name": "Anna"})),
        ("total-of", json!({"ids": [1, 2]})),
    ] {
        let answer = server.asked(name, &arguments).unwrap();
        assert_eq!(misfit(&of(name)["outputSchema"], &answer), Ok(()), "{name}: {answer}");
    }
}

#[test]
fn rows_come_in_pages_and_a_row_or_a_value_by_itself() {
    let dirs = Dirs::new();
    let server = shop(&dirs);
    let mut arguments = json!({"customer": 1, "least": 60.0, "max_bytes": 1024});
    let mut seen = Vec::new();
    loop {
        let page = server.asked("orders_of", &arguments).unwrap();
        seen.extend(page["rows"].as_array().unwrap().iter().map(|row| row[0].as_i64().unwrap()));
        if page["truncated"] == false {
            break;
        }
        arguments["cursor"] = page["next_cursor"].clone();
    }
    assert_eq!(seen, (240..=500).step_by(2).collect::<Vec<i64>>());
    let anna = server.asked("customer", &json!({"name": "Anna"})).unwrap();
    assert_eq!((&anna["found"], &anna["row"]), (&json!(true), &json!({"id": 1, "name": "Anna"})));
    let cleo = server.asked("customer", &json!({"name": "Cleo"})).unwrap();
    assert_eq!(cleo["row"]["id"], "9007199254740993");
    let none = server.asked("customer", &json!({"name": "Nobody"})).unwrap();
    assert_eq!((&none["found"], &none["row"]), (&json!(false), &Value::Null));
    let (kind, text) = server.asked("customer", &json!({"name": "%"})).unwrap_err();
    assert!(kind == "limit" && text.contains("more than one row"), "{text}");
    let total = server.asked("total-of", &json!({"ids": [4, 8]})).unwrap();
    assert_eq!((&total["found"], &total["value"]), (&json!(true), &json!(3.0)));
    let nothing = server.asked("total-of", &json!({"ids": []})).unwrap();
    assert_eq!((&nothing["found"], &nothing["value"]), (&json!(true), &Value::Null));
}

#[test]
fn values_are_bound_and_what_does_not_fit_never_reaches_the_database() {
    let dirs = Dirs::new();
    let server = shop(&dirs);
    for hostile in ["' OR 1=1 --", "Anna'; DROP TABLE x", "\u{202e}", ":name", "?1"] {
        let none = server.asked("customer", &json!({"name": hostile})).unwrap();
        assert_eq!(none["found"], false, "{hostile}");
    }
    for (tool, arguments, reason) in [
        ("orders_of", json!({}), "customer is missing"),
        ("orders_of", json!({"customer": "CANARY-VALUE"}), "customer must be a whole number"),
        ("orders_of", json!({"customer": 0}), "customer must be at least 1"),
        ("orders_of", json!({"customer": 1, "sql": "SELECT 1"}), "no argument `sql`"),
        ("customer", json!({"name": "CANARY-VALUE-THAT-IS-LONG"}), "more than 20 characters"),
        ("customer", json!({"name": "a", "cursor": "x"}), "no argument `cursor`"),
        ("total-of", json!({"ids": [1, 2, 3, 4]}), "more than 3 items"),
        ("total-of", json!({"ids": [1, "CANARY-VALUE"]}), "ids item 2"),
    ] {
        let (kind, text) = server.asked(tool, &arguments).unwrap_err();
        assert!(kind == "invalid" && text.contains(reason), "{arguments}: {text}");
        assert_eq!(find_canary(text.as_bytes()), None, "{text}");
    }
    server.asked("orders_of", &json!({"customer": 1})).unwrap();
    let audit = server.audit();
    let last = audit.of_kind("intent").last().unwrap();
    assert_eq!(last["tool"], "orders_of");
    assert!(
        last["actions"][0]["statement"].as_str().unwrap().contains("select id, amount from orders"),
        "{last}"
    );
    assert_eq!(find_canary(&audit.raw), None);
    assert_eq!(find_canary(server.log().as_bytes()), None);
}

#[test]
fn a_tool_is_there_for_whom_it_is() {
    let dirs = Dirs::new();
    let reads: &[&str] = &["databases:read"];
    let (keys, auth) =
        keys(&dirs, &[("anna", reads), ("ben", reads), ("carol", reads), ("dan", &["files:read"])]);
    let more =
        TOOLS.replacen("database = \"shop\"", "database = \"shop\"\nprincipals = [\"anna\"]", 1);
    let path = sqlite(&dirs, "shop.sqlite3");
    let config = auth
        + &section("shop", &path)
        + "principals = [\"anna\", \"ben\", \"dan\"]\n"
        + &more
        + "[[principals]]\nname = \"*\"\n";
    let server = start(&dirs, &config);
    let listed = |key: &str| {
        let list = server.send(&Request::modern("tools/list", &json!({})).bearer(key)).result();
        let all = list["tools"].as_array().unwrap().iter();
        let names = all.filter_map(|tool| tool["name"].as_str().map(str::to_owned));
        names
            .filter(|name| ["orders_of", "customer", "total-of"].contains(&name.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(&keys[0]), ["orders_of", "customer", "total-of"]);
    assert_eq!(listed(&keys[1]), ["customer", "total-of"]);
    assert_eq!(listed(&keys[2]), [""; 0], "the database is not carol's");
    let call = |key: &str, tool: &str| {
        server.send(&Request::call(tool, &json!({"customer": 1})).bearer(key))
    };
    assert!(call(&keys[0], "orders_of").asked().is_ok());
    let unknown = |key: &str, tool: &str| call(key, tool).json()["error"].take();
    let nobodys = unknown(&keys[0], "no-such-tool");
    assert_eq!(nobodys["code"], -32602, "{nobodys}");
    // It is ben's database, and not his tool; carol's is neither.
    for (key, tool) in [(&keys[1], "orders_of"), (&keys[2], "orders_of"), (&keys[2], "customer")] {
        let error = unknown(key, tool);
        assert_eq!(error["code"], nobodys["code"]);
        let text = error["message"].as_str().unwrap().replace(tool, "no-such-tool");
        assert_eq!(json!(text), nobodys["message"]);
    }
    let without = Request::call("customer", &json!({"name": "Anna"})).bearer(&keys[3]);
    assert_eq!(server.send(&without).status, 403, "a scope is missing");
}

/// A tool that changes data.
const CANCEL: &str = r#"
[[tools]]
name = "remove_orders"
title = "Remove orders"
description = "Removes the first orders"
database = "shop"
access = "write"
sql = "DELETE FROM orders WHERE id <= :last RETURNING id"
annotations = { destructive = true, idempotent = true }
[[tools.parameters]]
name = "last"
type = "integer"
description = "Up to this number"
"#;

#[test]
fn a_tool_that_changes_data_is_confirmed_by_its_name_and_can_be_tried() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, CANCEL);
    let all = tools(&server);
    let tool = all.iter().find(|tool| tool["name"] == "remove_orders").unwrap();
    let hints = &tool["annotations"];
    assert_eq!((&hints["readOnlyHint"], &hints["idempotentHint"]), (&json!(false), &json!(true)));
    let arguments = json!({"last": 2});
    let tried = server.asked("remove_orders", &json!({"last": 2, "dry_run": true})).unwrap();
    assert_eq!((&tried["rows_affected"], &tried["rows"]), (&json!(2), &json!([[1], [2]])));
    assert_eq!(orders(&path), 500);
    let question = server.send(&able(Request::call("remove_orders", &arguments))).result();
    let message = question["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap();
    for part in ["Remove orders: Removes the first orders", "DELETE FROM orders", "last = 2"] {
        assert!(message.contains(part), "{message}");
    }
    // A question of one tool is none of another, though the statement is the same.
    let same = json!({"database": "shop", "sql": "DELETE FROM orders WHERE id <= ?1 RETURNING id", "parameters": [2]});
    let crossed = answered("execute_statement", &same, &question, &yes());
    assert_eq!(server.send(&crossed).asked().unwrap_err().0, "invalid");
    let agreed = answered("remove_orders", &arguments, &question, &yes());
    let done = server.send(&agreed).asked().unwrap();
    assert_eq!(misfit(&tool["outputSchema"], &done), Ok(()));
    assert_eq!(orders(&path), 498);
}

#[test]
fn one_tool_can_run_unasked_where_the_others_are_confirmed() {
    let dirs = Dirs::new();
    let unasked = CANCEL.replace("access = \"write\"", "access = \"write\"\nconfirm = \"never\"");
    let (server, path) = writer(&dirs, &unasked);
    server.asked("remove_orders", &json!({"last": 2})).unwrap();
    assert_eq!(orders(&path), 498);
    let by_hand = json!({"database": "shop", "sql": "DELETE FROM orders"});
    assert_eq!(server.call("execute_statement", &by_hand).status, 400);
    assert_eq!(orders(&path), 498);
}

#[test]
fn tools_come_and_go_without_a_restart_and_clients_are_told() {
    let dirs = Dirs::new();
    let path = sqlite(&dirs, "shop.sqlite3");
    let base = section("shop", &path);
    let server = start(&dirs, &(base.clone() + "[server.legacy_sessions]\n"));
    let with = |tools: &str| base.clone() + tools + "[server.legacy_sessions]\n";
    let wanted = json!({"toolsListChanged": true});
    let mut listening = Listening::with(&server, &wanted);
    assert_eq!(listening.acknowledged(), wanted);
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let welcome = server.send(&Request::older("initialize", &hello));
    assert_eq!(welcome.result()["capabilities"]["tools"]["listChanged"], true);
    let id = welcome.header("mcp-session-id").unwrap().to_owned();
    let within = |request: Request| {
        request.with("Mcp-Session-Id", &id).with("MCP-Protocol-Version", "2025-11-25")
    };
    let ready = Request::older("notifications/initialized", &json!({}))
        .edit(|body| drop(body.as_object_mut().unwrap().remove("id")));
    assert_eq!(server.send(&within(ready)).status, 202);
    let stream = within(Request::get("/mcp").with("Accept", "text/event-stream"));
    let mut session = Listening::send(&server, &stream);
    assert!(!names(&server).contains(&"orders_of".to_owned()));
    reload(&dirs, &server, &with(TOOLS));
    let told = "notifications/tools/list_changed";
    assert_eq!(listening.message()["method"], told);
    assert_eq!(session.message()["method"], told);
    assert!(names(&server).contains(&"orders_of".to_owned()));
    server.asked("orders_of", &json!({"customer": 1})).unwrap();
    // A configuration that is refused changes nothing.
    let said =
        reload(&dirs, &server, &with(&TOOLS.replace("\"customer\"\ndesc", "\"batch\"\ndesc")));
    assert!(said["reason"].as_str().unwrap().contains("`batch` is the name of a tool"), "{said}");
    server.asked("customer", &json!({"name": "Anna"})).unwrap();
    reload(&dirs, &server, &with(""));
    assert_eq!(listening.message()["method"], told);
    let gone = server.call("orders_of", &json!({"customer": 1})).json();
    assert_eq!(gone["error"]["code"], -32602, "{gone}");
}

#[test]
fn a_check_has_the_database_plan_each_statement_and_runs_none() {
    let dirs = Dirs::new();
    let path = sqlite(&dirs, "shop.sqlite3");
    let base = section("shop", &path) + TOOLS;
    let (code, text) = check(&dirs, &base);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("its statement can be planned").count(), 3, "{text}");
    for (from, to, why) in [
        ("amount >= :least", "amuont >= :least", "amuont"),
        ("SELECT id, name FROM customers", "SELECT secret FROM vault", "BROKEN"),
        ("SELECT sum(amount)", "SELECT sum(amount", "BROKEN"),
    ] {
        let (code, text) = check(&dirs, &base.replace(from, to));
        assert!(code == 1 && text.contains("BROKEN") && text.contains(why), "{code} {text}");
    }
    for (from, to, why) in [
        (":least", ":leats", "there is no parameter `leats`"),
        ("SELECT sum(amount)", "DELETE", "sql changes data"),
        ("\"orders_of\"", "\"query_database\"", "`query_database` is the name of a tool"),
        ("type = \"number\"", "type = \"date\"", "unknown variant"),
    ] {
        let (code, text) = check(&dirs, &base.replace(from, to));
        assert!(code != 0 && text.contains(why), "{code} {text}");
    }
    assert_eq!(orders(&path), 500);
}
