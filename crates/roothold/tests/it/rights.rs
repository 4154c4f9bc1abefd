//! `[policy]` and `[[principals]]` that change while the server runs.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::databases::granted::keys;
use crate::databases::reloading::reload;
use crate::databases::{section, sqlite};
use crate::jobs;
use crate::support::{Asked, Dirs, Reply, Request, Server, Spec};
use crate::watch::{Listening, SETTLED, begun, uri};

const SCOPES: &[&str] = &["files:read", "databases:read"];

/// Entries of `[[principals]]` that grant everything.
fn principals(names: &[&str]) -> String {
    names.iter().map(|name| format!("[[principals]]\nname = \"{name}\"\n")).collect()
}

fn exclude(pattern: &str) -> String {
    format!("[policy]\nexclude = [\".env\", \"{pattern}\"]\n")
}

fn start(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

fn read(dirs: &Dirs, server: &Server, key: &str, path: &str) -> Asked {
    let path = dirs.fill_in(&format!("$ROOT/{path}"));
    server.send(&Request::call("read_text_file", &json!({"path": path})).bearer(key)).asked()
}

/// Why a call is denied.
fn denial(asked: Asked) -> String {
    let (kind, text) = asked.unwrap_err();
    assert_eq!(kind, "denied", "{text}");
    text
}

/// How many calls were denied to who is not among the principals.
fn denials(server: &Server) -> usize {
    server.audit().of_kind("intent").filter(|intent| intent["rule"] == "principals").count()
}

fn listed(server: &Server, key: &str) -> usize {
    let list = server.send(&Request::modern("tools/list", &json!({})).bearer(key)).result();
    list["tools"].as_array().unwrap().len()
}

fn listening(server: &Server, key: &str, wanted: &Value) -> Listening {
    let request = Request::modern("subscriptions/listen", &json!({"notifications": wanted}));
    let mut listening = Listening::send(server, &request.bearer(key));
    assert_eq!(listening.acknowledged(), *wanted);
    listening
}

#[test]
fn principals_and_patterns_change_without_a_restart_and_clients_are_told() {
    let dirs = Dirs::with_fixture();
    let (keys, auth) = keys(&dirs, &[("anna", SCOPES), ("ben", SCOPES), ("carl", SCOPES)]);
    let [anna, ben, carl] = [&keys[0], &keys[1], &keys[2]];
    let server = start(&dirs, &(auth.clone() + &principals(&["anna", "ben"])));
    let read = |key: &str, path: &str| read(&dirs, &server, key, path);
    read(anna, "hello.txt").unwrap();
    read(ben, "hello.txt").unwrap();
    assert!(denial(read(carl, "hello.txt")).contains("nothing is granted to you"));
    let tools = json!({"toolsListChanged": true});
    let mut told = [ben, carl].map(|key| listening(&server, key, &tools));
    let next = exclude("hello.txt") + &principals(&["anna", "carl"]);
    let said = reload(&dirs, &server, &(auth.clone() + &next));
    assert_eq!(said["changed"], "policy, principals", "{said}");
    for listening in &mut told {
        assert_eq!(listening.message()["method"], "notifications/tools/list_changed");
    }
    assert!(denial(read(anna, "hello.txt")).contains("excluded"));
    read(anna, "sub/s.txt").unwrap();
    read(carl, "sub/s.txt").unwrap();
    assert!(denial(read(ben, "sub/s.txt")).contains("nothing is granted to you"));
    assert_eq!(listed(&server, ben), 0);
    assert!(listed(&server, carl) > 5);
    // What a principal has of a tool's list is told, too, to them alone.
    let fewer = next.replace("\"carl\"", "\"carl\"\ntools = [\"read_text_file\"]");
    reload(&dirs, &server, &(auth.clone() + &fewer));
    assert_eq!(told[1].message()["method"], "notifications/tools/list_changed");
    assert_eq!(listed(&server, carl), 1);
    let (intents, outcomes) = server.audit().counts();
    assert_eq!(intents, outcomes);
}

#[test]
fn rights_that_cannot_be_taken_change_nothing_and_it_is_said_why() {
    let dirs = Dirs::with_fixture();
    let (keys, auth) = keys(&dirs, &[("anna", SCOPES), ("ben", SCOPES)]);
    let [anna, ben] = [&keys[0], &keys[1]];
    let server = start(&dirs, &auth);
    let ask = |key: &str| read(&dirs, &server, key, "hello.txt");
    ask(ben).unwrap();
    // From everyone to some: what one user has by another name is kept from all as it is.
    let said = reload(&dirs, &server, &(auth.clone() + &principals(&["anna"])));
    assert_eq!(said["changed"], "principals", "{said}");
    let shop = section("shop", &sqlite(&dirs, "shop.sqlite3"));
    for (more, why) in [
        (exclude("[é]") + &principals(&["ben"]), "policy.exclude"),
        (principals(&["ben"]) + "roots = [\"nowhere\"]\n", "there is no root `nowhere`"),
        (principals(&["ben"]) + "tools = [\"read_textfile\"]\n", "did you mean `read_text_file`"),
        (principals(&["ben", "ben"]), "names `ben` twice"),
        (principals(&["ben"]) + &shop + "principals = [\"carl\"]\n", "`carl`"),
        (principals(&["ben"]) + "[audit]\nreplica = \"b\"\n", "[audit] changed"),
        (String::new(), "[[principals]] has no entry any more"),
        (exclude("nothing"), "[[principals]] has no entry any more"),
    ] {
        let said = reload(&dirs, &server, &(auth.clone() + &more));
        let reason = said["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(why), "{more}: {said}");
        ask(anna).unwrap();
        assert!(denial(ask(ben)).contains("nothing is granted to you"), "{more}");
    }
    reload(&dirs, &server, &(auth + &principals(&["*"])));
    ask(ben).unwrap();
}

#[test]
fn what_is_watched_is_decided_anew() {
    let dirs = Dirs::with_fixture();
    let (keys, auth) = keys(&dirs, &[("anna", SCOPES)]);
    let everything = auth.clone() + &principals(&["anna"]);
    let server = start(&dirs, &everything);
    let [file, root, sub] = ["hello.txt", "", "sub"].map(|path| uri(&dirs, path));
    let wanted = json!({"resourceSubscriptions": [file, root, sub]});
    let mut listening = listening(&server, &keys[0], &wanted);
    begun(&server, 1);
    // What is hidden from then on is an entry less, and silent itself.
    reload(&dirs, &server, &(auth.clone() + &exclude("hello.txt") + &principals(&["anna"])));
    assert_eq!(listening.updated(), root);
    dirs.write("work/hello.txt", "PUBLIC-OTHER");
    std::thread::sleep(SETTLED);
    dirs.write("work/sub/one.txt", "PUBLIC");
    assert_eq!(listening.updated(), sub);
    reload(&dirs, &server, &everything);
    let mut both = [listening.updated(), listening.updated()];
    both.sort();
    assert_eq!(both, [root.clone(), file.clone()]);
    // Whoever was revoked is told of nothing, and of all that happened once they are back.
    reload(&dirs, &server, &(auth + &principals(&["ben"])));
    dirs.write("work/sub/two.txt", "PUBLIC");
    std::thread::sleep(SETTLED * 2);
    assert_eq!(denials(&server), 0, "nothing is tried for who was revoked");
    dirs.write("work/three.txt", "PUBLIC");
    reload(&dirs, &server, &everything);
    let mut both = [listening.updated(), listening.updated()];
    both.sort();
    assert_eq!(both, [root, sub]);
}

#[test]
fn a_job_goes_on_as_it_was_decided_and_tells_nothing_to_who_was_revoked() {
    let dirs = jobs::dirs(10_000);
    let (keys, auth) = keys(&dirs, &[("anna", SCOPES)]);
    let anna = &keys[0];
    let server = jobs::replica(&dirs, "a", &(auth.clone() + &principals(&["anna"]))).start();
    let state = format!("[state]\ndir = \"{}\"\n", dirs.base().join("jobs").display());
    let with = |names: &[&str]| auth.clone() + &principals(names) + &state;
    let id = jobs::begin(&server, &jobs::background(&dirs, 300).bearer(anna));
    let wanted = json!({"notifications": {"taskIds": [id]}});
    let listen = Request::modern("subscriptions/listen", &wanted).with_tasks().bearer(anna);
    let mut listening = Listening::send(&server, &listen);
    listening.acknowledged();
    assert_eq!(listening.message()["method"], "notifications/tasks");
    reload(&dirs, &server, &with(&["ben"]));
    let ask = || {
        let get = Request::call("get_job", &json!({"job_id": id})).bearer(anna);
        server.send(&get).asked()
    };
    assert!(denial(ask()).contains("nothing is granted to you"));
    std::thread::sleep(SETTLED * 2);
    let denials = denials(&server);
    assert!((1..=2).contains(&denials), "it is not tried again and again: {denials}");
    reload(&dirs, &server, &with(&["anna"]));
    jobs::eventually("it is done", || {
        (ask().unwrap()["job"]["status"] == "completed").then_some(())
    });
}

/// What a batch of calls found: for each, whether it was answered.
fn parts(reply: &Reply) -> Vec<bool> {
    let results = reply.result()["structuredContent"]["results"].clone();
    results.as_array().unwrap().iter().map(|result| result["ok"] == true).collect()
}

#[test]
fn a_call_is_decided_by_one_configuration_whichever_comes_meanwhile() {
    let dirs = Dirs::with_fixture();
    let shop = section("shop", &sqlite(&dirs, "shop.sqlite3"));
    let (keys, auth) = keys(&dirs, &[("anna", SCOPES), ("ben", SCOPES)]);
    let [anna, ben] = [&keys[0], &keys[1]];
    // Each hides what the other shows, and has another tool of the same name for others.
    let which = |hidden: &str, of: &str, answer: &str| {
        let (some, others) = if of == "anna" { ("anna", "ben") } else { ("ben", "anna") };
        format!(
            "{auth}{}[[principals]]\nname = \"{some}\"\n[[principals]]\nname = \"{others}\"\n\
             tools = [\"listRoots\", \"batch\", \"read_text_file\"]\n{shop}\
             [[tools]]\nname = \"answer\"\ndescription = \"d\"\ndatabase = \"shop\"\n\
             sql = \"SELECT '{answer}' AS a\"\nresult = \"value\"\n",
            exclude(hidden)
        )
    };
    let [first, second] =
        [which("hello.txt", "anna", "for anna"), which("s.txt", "ben", "for ben")];
    let server = start(&dirs, &first);
    let part = |path: &str| {
        let path = dirs.fill_in(&format!("$ROOT/{path}"));
        json!({"tool": "read_text_file", "arguments": {"path": path}})
    };
    let calls: Vec<Value> = (0..40).flat_map(|_| [part("hello.txt"), part("sub/s.txt")]).collect();
    let done = AtomicBool::new(false);
    let reads = || {
        let batch = Request::call("batch", &json!({"calls": calls})).bearer(anna);
        let mut seen = [0, 0];
        while !done.load(Ordering::Relaxed) {
            let parts = parts(&server.send(&batch));
            let shown = usize::from(parts[0]);
            assert!(parts.chunks(2).all(|two| two == [shown == 1, shown == 0]), "{parts:?}");
            seen[shown] += 1;
        }
        seen
    };
    let asks = |key: &str, own: &str| {
        let call = Request::call("answer", &json!({})).bearer(key);
        let (mut answered, mut not) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let reply = server.send(&call);
            let text = reply.json().to_string();
            if reply.json()["error"]["code"] == -32602 || text.contains("try again") {
                not += 1;
            } else {
                assert!(text.contains(own), "{text}");
                answered += 1;
            }
        }
        (answered, not)
    };
    std::thread::scope(|scope| {
        let reading = scope.spawn(reads);
        let asking = [(anna, "for anna"), (ben, "for ben")]
            .map(|(key, own)| scope.spawn(move || asks(key, own)));
        for _ in 0..15 {
            reload(&dirs, &server, &second);
            assert!(denial(read(&dirs, &server, anna, "sub/s.txt")).contains("excluded"));
            read(&dirs, &server, anna, "hello.txt").unwrap();
            reload(&dirs, &server, &first);
            assert!(denial(read(&dirs, &server, anna, "hello.txt")).contains("excluded"));
            read(&dirs, &server, anna, "sub/s.txt").unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let [hidden, shown] = reading.join().unwrap();
        assert!(hidden > 0 && shown > 0, "{hidden} and {shown}");
        for asking in asking {
            let (answered, not) = asking.join().unwrap();
            assert!(answered > 0 && not > 0, "{answered} and {not}");
        }
    });
    let (intents, outcomes) = server.audit().counts();
    assert_eq!(intents, outcomes);
}
