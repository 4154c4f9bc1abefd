//! Changing files, as clients see it: who is shown the tools, what they answer, and what stands in
//! the audit log.

use std::os::fd::AsFd as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::killed::every_intent_has_an_outcome;
use crate::support::{Conn, Dirs, Request, Server, Spec, content_hash, full, texts};

fn kind(result: &Value) -> &str {
    if result["isError"] == true {
        result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap()
    } else {
        "ok"
    }
}

fn tools(server: &Server) -> Vec<String> {
    let list = server.send(&Request::modern("tools/list", &json!({}))).result();
    let tools = list["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn tools_that_write_are_shown_only_where_something_can_be_written() {
    let dirs = Dirs::with_fixture();
    let read_only = dirs.config("").replace("access = \"rw\"", "access = \"ro\"");
    let server = Spec::new(dirs.base(), read_only).start();
    assert!(!tools(&server).iter().any(|tool| tool == "write_file"));
    let write = json!({"path": dirs.fill_in("$ROOT/new.txt"), "content": "x"});
    let result = server.call("write_file", &write).result();
    assert_eq!(kind(&result), "denied");
    assert_eq!(result["_meta"]["io.roothold/error"]["rule"], "access");
    let said = texts(&result).join("");
    assert!(said.contains("access = \"rw\"") && said.contains("--write"), "{said}");
    drop(server);
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    assert!(tools(&server).iter().any(|tool| tool == "write_file"));
}

#[test]
fn a_write_is_announced_with_its_temporary_name_before_it_is_made() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let write = json!({"path": dirs.fill_in("$ROOT/a/b/new.txt"), "content": "PUBLIC-NEW"});
    let result = server.call("write_file", &write).result();
    let report = &result["structuredContent"];
    assert_eq!(report["hash"], content_hash(b"PUBLIC-NEW"));
    assert_eq!((&report["created"], &report["bytes"]), (&json!(true), &json!(10)));
    assert_eq!(
        texts(&result)[0],
        format!("Successfully wrote to {}", write["path"].as_str().unwrap())
    );
    assert_eq!(std::fs::read(dirs.work().join("a/b/new.txt")).unwrap(), b"PUBLIC-NEW");
    let audit = server.audit();
    let intent = audit.of_kind("intent").next().unwrap();
    let action = &intent["actions"][0];
    assert_eq!((&action["verb"], &action["target"]), (&json!("write"), &write["path"]));
    let temp = action["temp"].as_str().unwrap();
    assert!(temp.starts_with(".roothold-") && temp.len() == 46, "{temp}");
    // Nobody reaches a file of that name.
    dirs.write(&format!("work/{temp}"), "CANARY-TEMP");
    for tool in ["read_text_file", "get_file_info", "write_file"] {
        let mut arguments = json!({"path": dirs.fill_in(&format!("$ROOT/{temp}"))});
        if tool == "write_file" {
            arguments["content"] = json!("x");
        }
        let result = server.call(tool, &arguments).result();
        assert_eq!(result["_meta"]["io.roothold/error"]["rule"], "exclude", "{tool}");
    }
    for tool in ["list_directory", "directory_tree", "list_directory_with_sizes"] {
        let result = server.call(tool, &json!({"path": dirs.fill_in("$ROOT")})).result();
        assert!(!result.to_string().contains(temp), "{tool}");
    }
}

#[test]
fn a_batch_that_writes_keeps_its_order() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/order.txt");
    let call = |tool: &str, arguments: Value| json!({"tool": tool, "arguments": arguments});
    let mut calls = Vec::new();
    for n in 0..10 {
        calls.push(call("write_file", json!({"path": path, "content": format!("version {n}")})));
        calls.push(call("read_text_file", json!({"path": path})));
    }
    calls.push(call("write_file", json!({"path": dirs.fill_in("$RO/x"), "content": ""})));
    calls.push(call("create_directory", json!({"path": dirs.fill_in("$ROOT/d/e")})));
    let result = server.call("batch", &json!({"calls": calls})).result();
    let results = result["structuredContent"]["results"].as_array().unwrap();
    for n in 0..10 {
        let read = &results[2 * n + 1]["content"][0]["text"];
        assert_eq!(*read, format!("version {n}"));
    }
    assert_eq!((&results[20]["ok"], &results[21]["ok"]), (&json!(false), &json!(true)));
    assert!(dirs.work().join("d/e").is_dir());
    assert_eq!(server.audit().counts(), (23, 23));
}

/// Holds the directory as another server would.
fn hold(dirs: &Dirs) -> std::fs::File {
    let directory = std::fs::File::open(dirs.work()).unwrap();
    flock(directory.as_fd(), FlockOperation::LockExclusive).unwrap();
    directory
}

#[test]
fn a_write_that_waits_for_another_server_can_be_given_up_and_runs_out_of_time() {
    let dirs = Dirs::with_fixture();
    let config = dirs.config("").replace("call_timeout_seconds = 5", "call_timeout_seconds = 2");
    let server = Spec::new(dirs.base(), config).start();
    let write = json!({"path": dirs.fill_in("$ROOT/hello.txt"), "content": "NEW"});
    let held = hold(&dirs);
    let result = server.call("write_file", &write).result();
    assert_eq!(kind(&result), "timeout", "{result}");
    let mut conn = Conn::open(server.address);
    conn.write(&Request::call("write_file", &write).bytes());
    let until = Instant::now() + Duration::from_secs(10);
    while server.audit().counts().0 < 2 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(conn);
    while server.audit().counts() != (2, 2) {
        assert!(Instant::now() < until, "{:?}", server.audit().counts());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.audit().of_kind("outcome").last().unwrap()["fault"], "cancelled");
    assert_eq!(std::fs::read(dirs.work().join("hello.txt")).unwrap(), b"PUBLIC-HELLO");
    drop(held);
    assert_eq!(kind(&server.call("write_file", &write).result()), "ok");
}

#[test]
fn clients_that_hang_up_while_an_intent_is_made_durable_leave_no_open_end() {
    let dirs = Dirs::with_fixture();
    let mut server = Spec::new(dirs.base(), dirs.config("")).start();
    for n in 0..200u64 {
        let path = dirs.fill_in(&format!("$ROOT/h/{n}.txt"));
        let write = Request::call("write_file", &json!({"path": path, "content": "x"}));
        let mut conn = Conn::open(server.address);
        conn.write(&write.bytes());
        std::thread::sleep(Duration::from_micros(n * 37 % 3000));
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).is_some());
    let audit = server.audit();
    assert!(every_intent_has_an_outcome(&audit.lines));
    // A write whose outcome is a success was made, and one that was cut off was not.
    for intent in audit.of_kind("intent") {
        let target = std::path::PathBuf::from(intent["actions"][0]["target"].as_str().unwrap());
        let outcome = audit.of_kind("outcome").find(|line| line["call"] == intent["call"]).unwrap();
        assert_eq!(outcome["ok"].as_bool().unwrap(), target.exists(), "{outcome}");
    }
}

#[test]
fn a_file_too_large_for_the_disk_leaves_the_old_one_whole() {
    let dirs = Dirs::with_fixture();
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    // No file may grow beyond 64 KiB: the kernel's answer is that of a file system's limit.
    spec.small_files = true;
    let server = spec.start();
    let path = dirs.fill_in("$ROOT/hello.txt");
    let large = json!({"path": path, "content": "x".repeat(100_000)});
    let result = server.call("write_file", &large).result();
    assert_eq!(kind(&result), "limit", "{result}");
    assert_eq!(std::fs::read(dirs.work().join("hello.txt")).unwrap(), b"PUBLIC-HELLO");
    let names = std::fs::read_dir(dirs.work()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.starts_with(".roothold-")));
}

/// The number of a line `name=…` in a text, as it was read.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap().parse().unwrap()
}

#[test]
fn two_clients_that_edit_one_file_lose_no_update() {
    let edits = if full() { 1000 } else { 60 };
    let dirs = Dirs::with_fixture();
    dirs.write("work/count.txt", "sum=0\na=0\nb=0\n");
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/count.txt");
    let client = |who: &str| {
        let mut conn = Conn::open(server.address);
        let mut conflicts = 0u64;
        let mut done = 0;
        while done < edits {
            let read = conn.send(&Request::call("read_text_file", &json!({"path": path}))).result();
            let [text, note] = &texts(&read)[..] else { panic!("{read}") };
            let hash = note.split(' ').find_map(|word| word.strip_prefix("hash=")).unwrap();
            // Both change the same line, from what they read.
            let (sum, own) = (number(text, "sum"), number(text, who));
            let edit = |name: &str, n: u64| json!({"oldText": format!("{name}={n}\n"), "newText": format!("{name}={}\n", n + 1)});
            let arguments = json!({"path": path, "if_match": hash, "edits": [edit("sum", sum), edit(who, own)]});
            let result = conn.send(&Request::call("edit_file", &arguments)).result();
            match kind(&result) {
                "ok" => done += 1,
                "conflict" => {
                    assert!(texts(&result)[0].contains("its hash is now"), "{result}");
                    conflicts += 1;
                }
                _ => panic!("{result}"),
            }
        }
        conflicts
    };
    let conflicts: u64 = std::thread::scope(|scope| {
        let both = ["a", "b"].map(|who| scope.spawn(move || client(who)));
        both.into_iter().map(|client| client.join().unwrap()).sum()
    });
    println!("2 clients, {edits} edits each, {conflicts} conflicts");
    let left = std::fs::read_to_string(dirs.work().join("count.txt")).unwrap();
    assert_eq!(left, format!("sum={}\na={edits}\nb={edits}\n", 2 * edits));
}

#[test]
fn of_two_servers_that_write_one_version_of_a_file_at_once_exactly_one_does() {
    let rounds = if full() { 1000 } else { 100 };
    let dirs = Dirs::with_fixture();
    let spec = |name: &str| {
        let mut spec = Spec::new(dirs.base(), dirs.config(""));
        spec.audit = dirs.base().join(format!("audit-{name}"));
        spec.start()
    };
    let servers = ["a", "b"].map(spec);
    let file = dirs.work().join("hello.txt");
    let path = file.to_str().unwrap();
    let together = Barrier::new(2);
    // Long enough to be written in several pieces, so that a mixture would show.
    let content = |who: usize, round: u64| format!("{who} in {round}\n").repeat(40_000);
    let write = |who: usize, round: u64, hash: &str| {
        let content = content(who, round);
        let mut conn = Conn::open(servers[who].address);
        let new = json!({"path": path, "if_match": hash, "content": content});
        together.wait();
        conn.send(&Request::call("write_file", &new)).result()
    };
    let mut won = [0; 2];
    let mut hash = content_hash(&std::fs::read(&file).unwrap());
    for round in 0..rounds {
        let results = std::thread::scope(|scope| {
            let (write, hash) = (&write, &hash);
            let both = [0, 1].map(|who| scope.spawn(move || write(who, round, hash)));
            both.map(|one| one.join().unwrap())
        });
        let winner = match [kind(&results[0]), kind(&results[1])] {
            ["ok", "conflict"] => 0,
            ["conflict", "ok"] => 1,
            kinds => panic!("round {round}: {kinds:?}"),
        };
        won[winner] += 1;
        let left = std::fs::read(&file).unwrap();
        assert!(
            left == content(winner, round).as_bytes(),
            "round {round}: not what {winner} wrote"
        );
        hash = content_hash(&left);
        assert_eq!(results[winner]["structuredContent"]["hash"], hash.as_str());
    }
    println!("{rounds} rounds of two servers: {won:?} won");
    let expected = usize::try_from(rounds).unwrap();
    for server in &servers {
        assert_eq!(server.audit().counts(), (expected, expected));
    }
}

#[test]
fn an_edit_shows_its_diff_within_the_budget() {
    let dirs = Dirs::with_fixture();
    let lines: String = (0..5000).map(|n| format!("line {n} with \"quotes\"\n")).collect();
    dirs.write("work/long.txt", &lines);
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/long.txt");
    let edits = json!([{"oldText": lines, "newText": lines.replace("line", "row")}]);
    let edit = json!({"path": path, "edits": edits, "dryRun": true});
    let result = server.call("edit_file", &edit).result();
    let report = &result["structuredContent"];
    assert!(report["diff_lines_omitted"].as_u64().unwrap() > 0);
    assert!(report.to_string().len() <= 64 * 1024);
    assert!(serde_json::to_string(&result["content"]).unwrap().len() <= 64 * 1024 + 512);
    assert!(texts(&result)[1].contains("more lines of diff did not fit"));
    assert_eq!(std::fs::read_to_string(dirs.work().join("long.txt")).unwrap(), lines);
    let edits = json!([{"oldText": "line 7 with", "newText": "line seven with"}]);
    let result = server.call("edit_file", &json!({"path": path, "edits": edits})).result();
    let shown = &texts(&result)[0];
    assert!(shown.starts_with("```diff\nIndex: ") && shown.ends_with("```\n\n"), "{shown}");
    assert!(shown.contains("-line 7 with \"quotes\"\n+line seven with \"quotes\"\n"), "{shown}");
}

#[test]
fn a_full_and_a_read_only_disk_are_said_and_change_nothing() {
    let mut dirs = Dirs::with_fixture();
    let mount = |options: &str| {
        let mut mount = std::process::Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dirs.work()).status();
        assert!(done.is_ok_and(|done| done.success()), "mounting a tmpfs needs root");
    };
    mount("size=256k");
    let work = dirs.work();
    dirs.mounts.push(work.clone());
    std::fs::write(work.join("a.txt"), "old").unwrap();
    std::fs::write(work.join("fill"), vec![0; 200 * 1024]).unwrap();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let large = "x".repeat(150_000);
    let path = dirs.fill_in("$ROOT/a.txt");
    let ask = |tool: &str, arguments: Value| server.call(tool, &arguments).result();
    let edits = json!([{"oldText": "old", "newText": large}]);
    for result in [
        ask("write_file", json!({"path": path, "content": large})),
        ask("edit_file", json!({"path": path, "edits": edits})),
    ] {
        assert_eq!(kind(&result), "unavailable", "{result}");
        assert!(texts(&result)[0].contains("the disk is full; nothing was changed"), "{result}");
    }
    let mut remount = std::process::Command::new("mount");
    assert!(remount.args(["-o", "remount,ro"]).arg(&work).status().unwrap().success());
    for result in [
        ask("write_file", json!({"path": path, "content": "new"})),
        ask("create_directory", json!({"path": dirs.fill_in("$ROOT/d")})),
        ask("delete_file", json!({"path": path})),
        ask("move_file", json!({"source": path, "destination": dirs.fill_in("$ROOT/b.txt")})),
    ] {
        assert_eq!(result["_meta"]["io.roothold/error"]["rule"], "file_system", "{result}");
    }
    assert_eq!(std::fs::read(work.join("a.txt")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 2);
    assert_eq!(server.audit().counts(), (6, 6));
}
