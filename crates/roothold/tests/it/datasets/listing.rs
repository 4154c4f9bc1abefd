//! `list_datasets`.

use std::collections::BTreeSet;

use roothold_edge::auth::KeysFile;
use serde_json::{Value, json};

use super::{asked, server, workspace};
use crate::paging::pages;
use crate::support::{Dirs, Request, Server, find_canary};

fn sources(listed: &Value) -> Vec<String> {
    let entries = listed["datasets"].as_array().unwrap();
    entries.iter().map(|entry| entry["data_source"].as_str().unwrap().to_owned()).collect()
}

fn named(dirs: &Dirs) -> String {
    dirs.fill_in(
        "[[datasets]]\nname = \"sales\"\ndescription = \"What was sold\"\nfiles = [\"$ROOT/data/[ab].csv\"]\n\
         [[datasets]]\nname = \"gone\"\nfiles = [\"$ROOT/data/none.csv\"]\n\
         [[datasets]]\nname = \"kept\"\nfiles = [\"$ROOT/data/secrets/c.csv\"]\n",
    )
}

#[test]
fn names_come_first_and_then_what_the_roots_hold() {
    let dirs = workspace();
    let server = server(&dirs, &named(&dirs));
    let listed = asked(&server, "list_datasets", &json!({})).unwrap();
    let at = |path: &str| dirs.fill_in(path);
    let odd = format!("file://{}/data/odd%5B1%5D*.csv", at("$ROOT"));
    let expected = [
        "sales".to_owned(),
        "gone".to_owned(),
        at("$ROOT/data/a.csv"),
        at("$ROOT/data/b.csv"),
        at("$ROOT/data/deep/er/server.log"),
        odd.clone(),
        at("$ROOT/data/people.jsonl"),
        at("$ROOT/data/t.tsv"),
    ];
    assert_eq!(sources(&listed), expected, "{listed:#}");
    assert_eq!(find_canary(listed.to_string().as_bytes()), None);
    let sales = &listed["datasets"][0];
    assert_eq!(sales["description"], "What was sold");
    assert_eq!((&sales["format"], &sales["bytes"]), (&json!("csv"), &json!(71)), "{sales}");
    let gone = listed["datasets"][1]["problem"].as_str().unwrap();
    assert!(gone.contains("there is nothing") || gone.contains("none.csv"), "{gone}");
    // What is listed can be described by what it is called there.
    for source in sources(&listed).iter().filter(|source| *source != "gone") {
        let described = asked(&server, "describe_dataset", &json!({"data_source": source}));
        assert!(described.is_ok(), "{source}: {described:?}");
    }
    let below = asked(&server, "list_datasets", &json!({"path": at("$ROOT/data/deep")})).unwrap();
    assert_eq!(sources(&below), [at("$ROOT/data/deep/er/server.log")]);
    let below = asked(&server, "list_datasets", &json!({"path": at("$ROOT/sub")})).unwrap();
    assert!(sources(&below).is_empty());
}

#[test]
fn pages_join_to_the_whole_and_hold_each_once() {
    let dirs = workspace();
    for at in 0..200 {
        dirs.write(&format!("work/many/{:03}/{}.csv", at % 7, "x".repeat(at % 90)), "a\n1\n");
        dirs.write(&format!("ro/\u{e9} {at}.jsonl"), "{\"a\":1}\n");
        dirs.write(&format!("work/many/{:03}/not-{at}.txt", at % 7), "x");
    }
    let server = server(&dirs, &named(&dirs));
    let whole =
        sources(&pages(&server, "list_datasets", &json!({}), 1 << 20)[0]["structuredContent"]);
    assert!(whole.len() > 300, "{}", whole.len());
    for bytes_max in [2048, 5000, 30_000] {
        let parts = pages(&server, "list_datasets", &json!({}), bytes_max);
        assert!(parts.len() > 1);
        let all: Vec<String> =
            parts.iter().flat_map(|part| sources(&part["structuredContent"])).collect();
        assert_eq!(all, whole, "by {bytes_max}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}

fn as_principal(dirs: &Dirs, scopes: &[&str], grant: &str) -> (Server, String) {
    let keys = dirs.base().join("keys");
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let key = KeysFile::open(&keys).unwrap().new_key("anna", &scopes, None).unwrap().1;
    let more = format!(
        "[auth]\nkeys_file = \"{}\"\n[[principals]]\nname = \"anna\"\n{grant}\n{}",
        keys.display(),
        named(dirs)
    );
    (server(dirs, &more), key.reveal().to_owned())
}

#[test]
fn who_may_not_read_the_files_is_not_told_of_the_dataset() {
    let dirs = workspace();
    let (server, key) = as_principal(&dirs, &["files:read", "datasets:read"], "roots = [\"ro\"]");
    let send = |tool: &str, arguments: Value| {
        server.send(&Request::call(tool, &arguments).bearer(&key)).result()
    };
    let listed = send("list_datasets", json!({}));
    assert_eq!(listed["structuredContent"]["datasets"], json!([]), "{listed}");
    for tool in ["describe_dataset", "query_dataset"] {
        for source in ["sales", "gone", "kept"] {
            let mut arguments = json!({"data_source": source});
            if tool == "query_dataset" {
                arguments["sql"] = "SELECT 1 FROM data".into();
            }
            let refused = send(tool, arguments);
            assert_eq!(refused["_meta"]["io.roothold/error"]["kind"], "denied", "{refused}");
        }
    }
}

#[test]
fn both_scopes_are_needed() {
    for scopes in [&["files:read"][..], &["datasets:read"], &[]] {
        let dirs = workspace();
        let (server, key) = as_principal(&dirs, scopes, "");
        for (tool, arguments) in [
            ("list_datasets", json!({})),
            ("list_datasets", json!({"path": dirs.fill_in("$ROOT/data")})),
            ("describe_dataset", json!({"data_source": dirs.fill_in("$ROOT/data/a.csv")})),
            ("query_dataset", json!({"data_source": "sales", "sql": "SELECT 1 FROM data"})),
        ] {
            let reply = server.send(&Request::call(tool, &arguments).bearer(&key));
            assert_eq!(reply.status, 403, "{tool} with {scopes:?}");
        }
    }
}
