//! What the whole product keeps up under conditions of the machine: directories that cannot be
//! read, files larger than memory, and a disk that is full.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use roothold_core::audit;
use serde_json::{Value, json};

use crate::support::{Dirs, Request, Server, Spec, Stdio, texts};

/// `nobody`, so that file modes mean something although tests may run as root.
const UNPRIVILEGED: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A server for whose user file modes count.
fn unprivileged(dirs: &Dirs) -> Server {
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    if is_root() {
        fs::set_permissions(dirs.base(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&spec.audit, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        // The build's own directory may be closed to others. A file that this process has open to write, and
        // with it any child that another test starts, could not be run.
        let copy = dirs.base().join("roothold");
        let copied = Command::new("cp").arg(&spec.binary).arg(&copy).status().unwrap();
        assert!(copied.success());
        spec.binary = copy;
        spec.uid = Some(UNPRIVILEGED);
    }
    spec.start()
}

#[test]
fn what_cannot_be_read_is_told_and_fails_nothing_else() {
    let dirs = Dirs::with_fixture();
    for at in 0..25 {
        dirs.write(&format!("work/closed/{at}/in.txt"), "PUBLIC");
        let closed = dirs.work().join(format!("closed/{at}"));
        fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
    }
    dirs.write("work/shut.txt", "PUBLIC");
    fs::set_permissions(dirs.work().join("shut.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    let server = unprivileged(&dirs);
    let root = dirs.fill_in("$ROOT");
    for (tool, arguments) in [
        ("directory_tree", json!({"path": root})),
        ("search_files", json!({"path": root, "pattern": "**/*.txt"})),
    ] {
        let result = server.call(tool, &arguments).result();
        let told = &result["structuredContent"];
        assert!(told.to_string().contains("hello.txt"), "{tool}: {told}");
        assert_eq!(told["problems"].as_array().unwrap().len(), 20, "{tool}");
        assert_eq!(told["problems_omitted"], 5, "{tool}");
        let text = texts(&result).join("\n");
        assert!(text.contains("problem: ") && text.contains("problems_omitted: 5"), "{text}");
    }
    let listed = server.call("list_directory", &json!({"path": format!("{root}/closed")})).result();
    assert_eq!(listed["structuredContent"]["entries"].as_array().unwrap().len(), 25);
    for (tool, path) in [
        ("list_directory", "closed/3"),
        ("read_text_file", "shut.txt"),
        ("read_text_file", "closed/3/in.txt"),
    ] {
        let result = server.call(tool, &json!({"path": format!("{root}/{path}")})).result();
        assert_eq!(result["_meta"]["io.roothold/error"]["rule"], "file_mode", "{result}");
    }
    let many = json!({"paths": [format!("{root}/shut.txt"), format!("{root}/hello.txt")]});
    let text = server.call("read_multiple_files", &many).text();
    assert!(text.contains("PUBLIC-HELLO") && text.contains(": Error - "), "{text}");
    for at in 0..25 {
        let closed = dirs.work().join(format!("closed/{at}"));
        fs::set_permissions(closed, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn the_encoding_of_a_text_is_said_by_tools_and_resources() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    for (name, bytes, text, encoding) in [
        ("wide.txt", &b"\xff\xfea\0\xac\x20\n\0"[..], "a€\n", "utf-16le"),
        ("guessed.txt", b"caf\xe9\n", "café\n", "windows-1252"),
        ("marked.txt", b"\xef\xbb\xbfa\n", "a\n", "utf-8-bom"),
    ] {
        fs::write(dirs.work().join(name), bytes).unwrap();
        let path = dirs.fill_in(&format!("$ROOT/{name}"));
        let blocks = texts(&server.call("read_text_file", &json!({"path": path})).result());
        assert_eq!(blocks[0], text, "{name}");
        let said = format!(" encoding={encoding} ");
        assert!(format!("{} ", blocks[1]).contains(&said), "{}", blocks[1]);
        let many = server.call("read_multiple_files", &json!({"paths": [path]})).text();
        assert!(many.contains(text), "{many}");
        let read = server.send(&Request::read_resource(&format!("file://{path}"))).json();
        let found = &read["result"]["contents"][0];
        assert_eq!(found["text"], text, "{read}");
        assert_eq!(found["_meta"]["io.roothold/encoding"], encoding, "{read}");
    }
}

/// A file system that is full from the start, or `None` where it cannot be had.
fn full_disk(dirs: &mut Dirs) -> Option<std::path::PathBuf> {
    let dir = dirs.base().join("tiny");
    fs::create_dir(&dir).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&dir)
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        return None;
    }
    dirs.mounts.push(dir.clone());
    Some(dir)
}

#[test]
fn without_room_for_the_audit_log_nothing_is_answered() {
    let mut dirs = Dirs::with_fixture();
    let tiny = full_disk(&mut dirs).expect("mounting a tmpfs needs root");
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    spec.audit.clone_from(&tiny);
    let server = spec.start();
    let hello = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    assert!(server.call("read_text_file", &hello).text().contains("PUBLIC-HELLO"));
    let filler = fs::File::create(tiny.join("filler")).unwrap();
    while (&filler).write_all(&[0; 1024]).is_ok() {}
    while (&filler).write_all(&[0; 1]).is_ok() {}
    // What is left of the last block of the log itself may hold some more lines.
    let refused = |result: &Value| result["_meta"]["io.roothold/error"]["kind"] == "unavailable";
    let answered =
        (0..500).take_while(|_| !refused(&server.call("read_text_file", &hello).result())).count();
    assert!(answered < 100, "{answered} calls were answered on a full disk");
    for (tool, arguments) in [
        ("read_text_file", hello.clone()),
        ("list_directory", json!({"path": dirs.fill_in("$ROOT")})),
        ("listRoots", json!({})),
        ("read_text_file", json!({"path": dirs.fill_in("$ROOT/.env")})),
    ] {
        let result = server.call(tool, &arguments).result();
        assert!(refused(&result), "{tool}: {result}");
        assert!(!result.to_string().contains("PUBLIC-"));
    }
    let resource = server
        .send(&Request::read_resource(&format!("file://{}", dirs.fill_in("$ROOT/hello.txt"))));
    assert!(resource.json()["error"].is_object());
    println!("{answered} calls found room in the last block");
    // With room again: what stands in the log is still a chain.
    let _ = audit::verify(server.audit().raw.as_slice());
}

#[test]
fn the_audit_log_below_a_root_is_out_of_reach() {
    let dirs = Dirs::with_fixture();
    let audit = dirs.work().join("state [1]/audit");
    let mut stdio = Stdio::start_with_audit(dirs.base(), &dirs.config(""), &audit);
    let path = dirs.fill_in("$ROOT/state [1]");
    let call = |stdio: &mut Stdio, tool: &str, path: &str| {
        let arguments = json!({"name": tool, "arguments": {"path": path}});
        stdio.request("tools/call", &arguments).0["result"].to_string()
    };
    let listed = call(&mut stdio, "list_directory", &path);
    assert!(!listed.contains("audit"), "{listed}");
    let denied = call(&mut stdio, "list_directory", &format!("{path}/audit"));
    assert!(denied.contains("denied: rule exclude"), "{denied}");
    assert!(audit.is_dir());
}

/// Over stdio there is no status and no connection to end: each bad line is answered by itself.
#[test]
fn stdio_answers_what_breaks_json_rpc_and_lives_on() {
    let dirs = Dirs::with_fixture();
    let config = dirs.config("body_bytes_max = 65536\n");
    let mut stdio = Stdio::start(dirs.base(), &config);
    let long = vec![b'x'; 1024 * 1024];
    let asked = json!({"jsonrpc": "2.0", "id": "d", "method": "tools/call", "params": {"id": 1, "x": "x".repeat(1 << 20)}});
    let asked = asked.to_string();
    for (line, code, id) in [
        (&b"{\"jsonrpc\":"[..], -32700, Value::Null),
        (b"\xff", -32700, Value::Null),
        (b"[]", -32600, Value::Null),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, Value::Null),
        (br#"{"jsonrpc":"2.0","id":"a","method":"tools/call"}"#, -32602, "a".into()),
        (br#"{"jsonrpc":"2.0","id":"b","method":"tools/call","params":[]}"#, -32600, "b".into()),
        (br#"{"jsonrpc":"2.0","id":"c","method":"no/such"}"#, -32601, "c".into()),
        (&long, -32600, Value::Null),
        (asked.as_bytes(), -32600, "d".into()),
        (br#"{"jsonrpc":"2.0","id":"e","method":"x","params":{"x":"\ud83d"}}"#, -32700, "e".into()),
    ] {
        let answer = stdio.line(line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{shown}");
    }
    let (answer, _) = stdio.request("tools/call", &json!({"name": "listRoots", "arguments": {}}));
    assert!(answer["result"]["structuredContent"]["roots"].is_array(), "{answer}");
    assert!(stdio.end().success());
}
