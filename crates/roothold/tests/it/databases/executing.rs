//! Statements that change data: asked about, agreed to or not, tried, refused.

use std::path::{Path, PathBuf};

use roothold_testing::Postgres;
use serde_json::{Value, json};

use super::granted::keys;
use super::reloading::reload;
use super::{block_on, postgres, section, sqlite, start};
use crate::support::{Asked, Dirs, Request, Server, find_canary};

const TOOL: &str = "execute_statement";

/// A server with a SQLite database that can be changed.
pub(super) fn writer(dirs: &Dirs, more: &str) -> (Server, PathBuf) {
    let path = sqlite(dirs, "shop.sqlite3");
    let config = section("shop", &path) + "access = \"write\"\n" + more;
    (start(dirs, &config), path)
}

pub(super) fn orders(path: &Path) -> i64 {
    let db = rusqlite::Connection::open(path).unwrap();
    db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap()
}

/// As a client that can ask its user.
pub(super) fn able(request: Request) -> Request {
    request.edit(|body| {
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"elicitation": {}});
    })
}

pub(super) fn yes() -> Value {
    json!({"confirm": {"action": "accept", "content": {"confirm": true}}})
}

/// A call that goes on with one that was answered with a question.
pub(super) fn answered(
    tool: &str,
    arguments: &Value,
    question: &Value,
    answers: &Value,
) -> Request {
    able(Request::call(tool, arguments)).edit(|body| {
        body["params"]["requestState"] = question["requestState"].clone();
        body["params"]["inputResponses"] = answers.clone();
    })
}

fn delete() -> Value {
    json!({
        "database": "shop",
        "sql": "DELETE FROM orders WHERE amount < ?1 AND 'CANARY-LITERAL' <> ''",
        "parameters": [1.0],
    })
}

fn question(server: &Server, arguments: &Value) -> Value {
    let question = server.send(&able(Request::call(TOOL, arguments))).result();
    assert_eq!(question["resultType"], "input_required", "{question}");
    question
}

fn said(server: &Server, request: &Request) -> Asked {
    server.send(request).asked()
}

/// By the same name another database may be meant by the time that its user agrees.
#[test]
fn what_was_agreed_to_is_for_the_database_that_it_was_asked_for() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "");
    let other = sqlite(&dirs, "other.sqlite3");
    let question = question(&server, &delete());
    let taken = reload(&dirs, &server, &(section("shop", &other) + "access = \"write\"\n"));
    assert_eq!(taken["roles_made"], 1, "{taken}");
    let agreed = answered(TOOL, &delete(), &question, &yes());
    let (_, text) = said(&server, &agreed).unwrap_err();
    assert!(text.contains("confirm") || text.contains("ask"), "{text}");
    assert_eq!((orders(&path), orders(&other)), (500, 500));
}

#[test]
fn a_change_is_made_when_its_user_agreed_and_once() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "");
    let question = question(&server, &delete());
    let form = &question["inputRequests"]["confirm"];
    assert_eq!(
        (&form["method"], &form["params"]["mode"]),
        (&json!("elicitation/create"), &json!("form"))
    );
    let schema = &form["params"]["requestedSchema"];
    assert_eq!(schema["properties"]["confirm"]["type"], "boolean", "{schema}");
    assert_eq!(schema["required"], json!(["confirm"]));
    let message = form["params"]["message"].as_str().unwrap();
    for part in
        ["database shop", "DELETE FROM orders WHERE amount < ?1 AND 'CANARY-LITERAL'", "1 = 1.0"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(orders(&path), 500, "asking changes nothing");
    let agreed = answered(TOOL, &delete(), &question, &yes());
    let done = said(&server, &agreed).unwrap();
    assert_eq!((&done["rows_affected"], &done["dry_run"]), (&json!(3), &json!(false)));
    assert_eq!(orders(&path), 497);
    // As a proxy or an impatient client may send it again.
    let (kind, text) = said(&server, &agreed).unwrap_err();
    assert!(kind == "conflict" && text.contains("used already"), "{kind} {text}");
    let audit = server.audit();
    let verbs: Vec<&Value> =
        audit.of_kind("intent").map(|intent| &intent["actions"][0]["verb"]).collect();
    assert_eq!(verbs, ["use", "write", "write"]);
    for intent in audit.of_kind("intent") {
        let action = &intent["actions"][0];
        let statement = action["statement"].as_str().unwrap();
        assert!(statement.contains("delete from orders where amount < ?1 and ? < > ?"), "{intent}");
    }
    assert_eq!(audit.counts(), (3, 3));
    assert_eq!(find_canary(&audit.raw), None);
    assert_eq!(find_canary(server.log().as_bytes()), None);
}

#[test]
fn nothing_but_a_clear_yes_to_the_same_statement_changes_anything() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "");
    let first = question(&server, &delete());
    for answer in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"confirm": false}}),
        json!({"action": "accept", "content": {"confirm": "true"}}),
    ] {
        let answers = json!({"confirm": answer});
        let (kind, text) = said(&server, &answered(TOOL, &delete(), &first, &answers)).unwrap_err();
        assert!(kind == "denied" && text.contains("did not agree"), "{text}");
    }
    // What cannot be read is asked again.
    for answers in [
        json!({}),
        json!({"confirm": {}}),
        json!({"confirm": 1}),
        json!({"other": yes()["confirm"]}),
    ] {
        let again = server.send(&answered(TOOL, &delete(), &first, &answers)).result();
        assert_eq!(again["resultType"], "input_required", "{answers}");
    }
    let mut other = delete();
    other["sql"] = "DELETE FROM orders WHERE amount > ?1".into();
    let mut more = delete();
    more["parameters"] = json!([100.0]);
    for changed in [other, more] {
        let (kind, text) = said(&server, &answered(TOOL, &changed, &first, &yes())).unwrap_err();
        assert!(kind == "invalid" && text.contains("not what this call would do"), "{text}");
    }
    for state in [json!("v1.process.AAAA"), json!(""), json!("x".repeat(10_000))] {
        let forged = json!({"requestState": state});
        let (kind, _) = said(&server, &answered(TOOL, &delete(), &forged, &yes())).unwrap_err();
        assert_eq!(kind, "invalid");
    }
    // An answer without a question is none.
    let unasked = able(Request::call(TOOL, &delete())).edit(|body| {
        body["params"]["inputResponses"] = yes();
    });
    assert_eq!(server.send(&unasked).result()["resultType"], "input_required");
    assert_eq!(orders(&path), 500);
    let done = said(&server, &answered(TOOL, &delete(), &first, &yes())).unwrap();
    assert_eq!(done["rows_affected"], 3, "a question can be answered after all that");
}

#[test]
fn who_cannot_be_asked_is_refused() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "");
    let refused = server.send(&Request::call(TOOL, &delete()));
    assert_eq!(refused.status, 400);
    let error = &refused.json()["error"];
    assert_eq!(error["code"], -32021, "{error}");
    assert!(error["data"]["requiredCapabilities"]["elicitation"].is_object(), "{error}");
    assert!(error["message"].as_str().unwrap().contains("dry_run"), "{error}");
    let by_url = Request::call(TOOL, &delete()).edit(|body| {
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({"elicitation": {"url": {}}});
    });
    assert_eq!(server.send(&by_url).json()["error"]["code"], -32021);
    // An older client without a session reads it in words, and cannot say that it was asked.
    let params =
        json!({"name": TOOL, "arguments": delete(), "requestState": "x", "inputResponses": yes()});
    let older = Request::older("tools/call", &params).with("MCP-Protocol-Version", "2025-11-25");
    let (kind, text) = said(&server, &older).unwrap_err();
    assert!(kind == "denied" && text.contains("declares elicitation"), "{text}");
    let batch = json!({"calls": [{"tool": TOOL, "arguments": delete()}]});
    let results = server.send(&able(Request::call("batch", &batch))).result();
    let one = &results["structuredContent"]["results"][0];
    assert_eq!(one["ok"], false);
    assert!(one.to_string().contains("call the tool by itself"), "{one}");
    assert_eq!(orders(&path), 500);
}

#[test]
fn a_dry_run_is_undone_and_asks_nobody() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "");
    let sql = "DELETE FROM orders WHERE id <= 3 RETURNING id";
    let arguments = json!({"database": "shop", "sql": sql, "dry_run": true});
    let done = server.asked(TOOL, &arguments).unwrap();
    assert_eq!((&done["rows_affected"], &done["dry_run"]), (&json!(3), &json!(true)));
    assert_eq!((&done["rows"], &done["untrusted"]), (&json!([[1], [2], [3]]), &json!(true)));
    assert_eq!(orders(&path), 500);
    let audit = server.audit();
    assert_eq!(audit.of_kind("intent").next().unwrap()["actions"][0]["verb"], "write");
}

#[test]
fn where_nobody_is_to_confirm_it_runs_at_once() {
    let dirs = Dirs::new();
    let (server, path) = writer(&dirs, "confirm = \"never\"\n");
    let text = server.call(TOOL, &delete()).text();
    assert!(text.starts_with("3 rows changed"), "{text}");
    let insert = |id: i64| {
        json!({"tool": TOOL, "arguments": {
        "database": "shop", "sql": "INSERT INTO orders VALUES (?1, 1, (SELECT count(*) FROM orders))", "parameters": [id]}})
    };
    let calls: Vec<Value> = (1000..1010).map(insert).collect();
    let results = server.asked("batch", &json!({"calls": calls})).unwrap();
    assert!(
        results["results"].as_array().unwrap().iter().all(|one| one["ok"] == true),
        "{results}"
    );
    let db = rusqlite::Connection::open(&path).unwrap();
    let in_order = "SELECT count(*) FROM orders WHERE id >= 1000 AND amount = 497 + id - 1000";
    let count: i64 = db.query_row(in_order, [], |row| row.get(0)).unwrap();
    assert_eq!(count, 10, "a batch that changes data runs in its order");
}

#[test]
fn what_may_not_be_changed_is_not() {
    let dirs = Dirs::new();
    let (both, reads) = (&["databases:read", "databases:write"], &["databases:read"]);
    let (keys, auth) = keys(&dirs, &[("anna", both), ("ben", reads), ("carol", both)]);
    let (anna, ben, carol) = (&keys[0], &keys[1], &keys[2]);
    let path = sqlite(&dirs, "shop.sqlite3");
    let config = auth
        + &section("shop", &path)
        + "access = \"write\"\nprincipals = [\"anna\", \"ben\"]\n"
        + &section("ledger", &sqlite(&dirs, "ledger.sqlite3"));
    let server = start(&dirs, &config);
    let send = |key: &str, arguments: &Value| {
        server.send(&able(Request::call(TOOL, arguments)).bearer(key))
    };
    let lists = |key: &str| {
        let list = server.send(&Request::modern("tools/list", &json!({})).bearer(key)).result();
        list["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == TOOL)
    };
    assert!(lists(anna) && !lists(carol), "carol has no database that can be changed");
    assert_eq!(send(ben, &delete()).status, 403, "a scope is missing, which ben could ask for");
    let on = |database: &str| {
        let mut arguments = delete();
        arguments["database"] = database.into();
        arguments
    };
    let refusal = |key: &str, database: &str| send(key, &on(database)).asked().unwrap_err();
    let (kind, text) = refusal(anna, "ledger");
    assert!(kind == "denied" && text.contains("only read"), "{text}");
    assert_eq!(refusal(carol, "shop"), refusal(carol, "no-such"), "what is others' is not there");
    // A question is its principal's.
    let asked = send(anna, &delete()).result();
    let stolen = answered(TOOL, &delete(), &asked, &yes()).bearer(carol);
    assert_eq!(server.send(&stolen).asked().unwrap_err().0, "denied");
    for sql in [
        "DELETE FROM vault",
        "UPDATE customers SET card = 'x'",
        "DROP TABLE orders",
        "INSERT INTO orders SELECT 9999, 1, length(secret) FROM vault",
        "DELETE FROM orders; DELETE FROM customers",
        "ATTACH '/tmp/x' AS y",
    ] {
        let arguments = json!({"database": "shop", "sql": sql, "dry_run": true});
        let result = send(anna, &arguments).asked();
        assert!(result.is_err(), "{sql}: {result:?}");
    }
    assert_eq!(orders(&path), 500);
    assert_eq!(find_canary(server.log().as_bytes()), None);
}

#[test]
fn what_nobody_could_read_is_not_to_be_confirmed() {
    let dirs = Dirs::new();
    let (server, _) = writer(&dirs, "");
    let mut long = delete();
    long["sql"] = format!("DELETE FROM orders -- {}", "x".repeat(20_000)).into();
    let (kind, text) = said(&server, &able(Request::call(TOOL, &long))).unwrap_err();
    assert!(kind == "limit" && text.contains("smaller parts"), "{text}");
    let mut hiding = delete();
    hiding["sql"] = "DELETE FROM orders /* \u{202e} \u{200b} */".into();
    let question = question(&server, &hiding);
    let message = question["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap();
    assert!(message.contains("/* \\u{202e} \\u{200b} */"), "{message}");
}

#[test]
fn postgres_undoes_what_was_tried_and_keeps_what_was_confirmed() {
    let database = Postgres::start();
    let see = |sql: &str| block_on(database.see("postgres", sql));
    let setup = "CREATE TABLE stock AS SELECT i AS id, 1 AS n FROM generate_series(1, 10) i";
    block_on(database.say("postgres", setup));
    let dirs = Dirs::new();
    let url = database.url("postgres", "postgres");
    let server = start(&dirs, &postgres("shop", &url, "access = \"write\""));
    let arguments = |sql: &str, dry_run: bool| json!({"database": "shop", "sql": sql, "parameters": [3], "dry_run": dry_run});
    let update = "UPDATE stock SET n = 2 WHERE id <= $1 RETURNING id";
    let done = server.asked(TOOL, &arguments(update, true)).unwrap();
    assert_eq!((&done["rows_affected"], &done["rows"][2]), (&json!(3), &json!([3])));
    // DDL is undone as well.
    server
        .asked(TOOL, &json!({"database": "shop", "sql": "DROP TABLE stock", "dry_run": true}))
        .unwrap();
    assert_eq!(see("SELECT count(*) FROM stock WHERE n = 2"), "0");
    let question = question(&server, &arguments(update, false));
    assert_eq!(see("SELECT count(*) FROM stock WHERE n = 2"), "0");
    let agreed = answered(TOOL, &arguments(update, false), &question, &yes());
    said(&server, &agreed).unwrap();
    assert_eq!(see("SELECT count(*) FROM stock WHERE n = 2"), "3");
    for sql in [
        "COMMIT",
        "SET ROLE x",
        "COPY stock TO PROGRAM 'true'",
        "DO $$ BEGIN END $$",
        "UPDATE stock SET n = 9; COMMIT",
    ] {
        let (kind, _) = server
            .asked(TOOL, &json!({"database": "shop", "sql": sql, "dry_run": true}))
            .unwrap_err();
        assert_eq!(kind, "invalid", "{sql}");
    }
    assert_eq!(see("SELECT count(*) FROM stock WHERE n = 9"), "0");
}
