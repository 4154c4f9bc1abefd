//! More of every kind than the battery holds: one table of inputs that must be refused, one of
//! names that must not be, and things in the file system that are not what they look like.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::FileType;
use serde_json::{Value, json};

use super::check::no_canary;
use super::setup::{bind, mknod};
use super::steps::{Ask, Seen, Wire};
use crate::support::{Conn, Dirs, Server, Spec};

/// Paths for every tool that takes one, and none may be let through.
const PATHS: &[&str] = &[
    // dot-dot spellings
    "$ROOT/..",
    "$ROOT/../",
    "$ROOT/../outside",
    "$ROOT/../outside/./secret.txt",
    "$ROOT//..//outside//secret.txt",
    "$ROOT/sub/../../outside/secret.txt",
    "$ROOT/sub/../sub/../../outside/secret.txt",
    "$ROOT/../work/../outside/secret.txt",
    "$ROOT/.../../../outside/secret.txt",
    "$ROOT/../ro/../outside/secret.txt",
    "../outside/secret.txt",
    "..",
    "./secret.txt",
    "/$ROOT/../outside/secret.txt",
    "$RO/../outside/secret.txt",
    "$RO/../work/.env",
    // encodings stay literal
    "$ROOT/%2e%2e/outside/secret.txt",
    "$ROOT/%2e%2e%2foutside%2fsecret.txt",
    "$ROOT/.%2e/outside/secret.txt",
    "$ROOT/..%c0%af..%c0%afoutside/secret.txt",
    "$ROOT/..%u2215outside/secret.txt",
    "$ROOT/..\u{2044}outside\u{2044}secret.txt",
    "$ROOT/..\u{ff0f}outside\u{ff0f}secret.txt",
    "$ROOT/\u{2024}\u{2024}/outside/secret.txt",
    "$ROOT/\u{2025}/outside/secret.txt",
    "$ROOT/..\u{200b}/outside/secret.txt",
    "$ROOT/.\u{ad}./outside/secret.txt",
    "$ROOT/..\u{feff}/outside/secret.txt",
    "$ROOT/..\\..\\outside\\secret.txt",
    "$ROOT/.. /outside/secret.txt",
    "$ROOT/&#46;&#46;/outside/secret.txt",
    // absolute paths and other ways to say them
    "/",
    "/etc/shadow",
    "/proc/1/environ",
    "/proc/self/root/etc/passwd",
    "/dev/stdin",
    "/dev/fd/0",
    "$OUT/secret.txt",
    "$SIB/secret.txt",
    "~root/.bashrc",
    "~",
    "$HOME/.bashrc",
    "${HOME}/x",
    "C:\\Windows\\win.ini",
    "\\\\?\\C:\\x",
    "$ROOT\u{0}/hello.txt",
    "$ROOT/hello.txt\u{0}.png",
    "$ROOT/hello.txt\n",
    "$ROOT/hello.txt\u{85}",
    "$ROOT/\u{1b}[2Jx",
    // excluded, in disguises that exist on disk (see `disguises`)
    "$ROOT/.env",
    "$ROOT/./.env",
    "$ROOT//.env",
    "$ROOT/sub/../.env",
    "$ROOT/sub/.env",
    "$ROOT/sub/.ENV",
    "$ROOT/.eNv",
    "$ROOT/.env.local",
    "$ROOT/.ENV.Production",
    "$ROOT/.env~",
    "$ROOT/#.env#",
    "$ROOT/ID.KEY",
    "$ROOT/id.\u{212a}ey",
    "$ROOT/i\u{fe0f}d2.\u{ff4b}\u{ff45}\u{ff59}",
    "$ROOT/\u{ff0e}env",
    "$ROOT/.\u{1d41e}nv",
    "$ROOT/credential\u{17f}.json",
    "$ROOT/CREDENTIALS.yml",
    "$ROOT/tls/Server.PEM",
    "$ROOT/.GIT/config",
    "$ROOT/sub/.git/HEAD",
    "$ROOT/Secrets/x.txt",
    "$ROOT/sub/secrets/deep/er/x.txt",
    "$ROOT/secre\u{301}ts/x.txt",
    "$ROOT/SECR\u{c9}TS/x.txt",
    "$ROOT/Vault/x.txt",
    "$ROOT/.env/nothing",
    "$ROOT/id.key/",
    // things that are no files
    "$ROOT/things/fifo",
    "$ROOT/things/socket",
    "$ROOT/things/null",
    "$ROOT/things/full",
    "$ROOT/things/disk",
    // links and names that lead elsewhere
    "$ROOT/links/abs",
    "$ROOT/links/rel",
    "$ROOT/links/chain",
    "$ROOT/links/dir/secret.txt",
    "$ROOT/links/dir/../secret.txt",
    "$ROOT/links/up/outside/secret.txt",
    "$ROOT/links/env",
    "$ROOT/links/secrets/x.txt",
    "$ROOT/links/self",
    "$ROOT/links/dangling",
    "$ROOT/links/fd",
    "$ROOT/links/cwd/secret.txt",
    "$ROOT/links/root/etc/passwd",
    "$ROOT/links/fifo",
    "$ROOT/links/ro-link",
    "$ROOT/hard/out.txt",
    "$ROOT/hard/env.txt",
    "$ROOT/mnt/secret.txt",
    "$ROOT/mnt/decoy/f",
    "$ROOT/filemnt.txt",
    // URIs as paths
    "file://$RAWROOT/%2Eenv",
    "file://$RAWROOT/.%65nv",
    "file://$RAWROOT/../outside/secret.txt",
    "file://$RAWROOT/%2e%2e/outside/secret.txt",
    "file://$RAWROOT/hello.txt%00.md",
    "file://localhost$RAWROOT/hello.txt",
    "file://./hello.txt",
    "file:$RAWROOT/hello.txt",
    "file:///etc/passwd",
    "file:////etc/passwd",
    "FILE://$RAWROOT/.env",
    "file://$RAWROOT/%252e%252e/outside/secret.txt",
    "file://$RAWROOT/hello.txt?raw",
    "file://$RAWROOT/hello.txt#1",
    "file://$RAWROOT/sub%2Fs.txt",
    "file://$RAWROOT/%zz",
    "http://127.0.0.1/x",
    "gopher://x",
];

/// URIs for `resources/read`, besides those above.
const URIS: &[&str] = &[
    "",
    "/",
    "$RAWROOT/hello.txt",
    "file:",
    "file://",
    "file:///",
    "file:/\\$RAWROOT/hello.txt",
    "file://$RAWROOT/hello.txt/",
    "file://[::1]$RAWROOT/hello.txt",
    "file://$RAWROOT/sub/%2e%2e/%2e%2e/outside/secret.txt",
    "file://$RAWROOT/.env%0a",
    "jar:file://$RAWROOT/hello.txt!/x",
    "view-source:file://$RAWROOT/hello.txt",
    "roothold://work/hello.txt",
];

fn disguises(dirs: &mut Dirs) {
    for name in [
        "sub/.ENV",
        ".eNv",
        ".env.local",
        ".ENV.Production",
        ".env~",
        "#.env#",
        "ID.KEY",
        "id.\u{212a}ey",
        "i\u{fe0f}d2.\u{ff4b}\u{ff45}\u{ff59}",
        "\u{ff0e}env",
        ".\u{1d41e}nv",
        "credential\u{17f}.json",
        "CREDENTIALS.yml",
        "tls/Server.PEM",
        ".GIT/config",
        "sub/.git/HEAD",
        "Secrets/x.txt",
        "secrets/x.txt",
        "sub/secrets/deep/er/x.txt",
        "secre\u{301}ts/x.txt",
        "SECR\u{c9}TS/x.txt",
        "Vault/x.txt",
    ] {
        dirs.write(&format!("work/{name}"), "CANARY-DISGUISED");
    }
    dirs.write("work-evil/secret.txt", "CANARY-SIB");
    let work = dirs.work();
    let things = work.join("things");
    fs::create_dir(&things).unwrap();
    mknod(&things.join("fifo"), FileType::Fifo, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(things.join("socket")).unwrap());
    mknod(&things.join("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3)).unwrap();
    mknod(&things.join("full"), FileType::CharacterDevice, rustix::fs::makedev(1, 7)).unwrap();
    mknod(&things.join("disk"), FileType::BlockDevice, rustix::fs::makedev(7, 0)).unwrap();
    links(dirs);
    fs::create_dir(work.join("hard")).unwrap();
    fs::hard_link(dirs.outside().join("secret.txt"), work.join("hard/out.txt")).unwrap();
    fs::hard_link(work.join(".env"), work.join("hard/env.txt")).unwrap();
    fs::create_dir(work.join("mnt")).unwrap();
    fs::write(work.join("filemnt.txt"), "").unwrap();
    let outside = dirs.outside();
    bind(dirs, &outside, &work.join("mnt")).unwrap();
    bind(dirs, &outside.join("secret.txt"), &work.join("filemnt.txt")).unwrap();
}

fn links(dirs: &Dirs) {
    let links = dirs.work().join("links");
    fs::create_dir(&links).unwrap();
    let to = |name: &str, target: &str| symlink(target, links.join(name)).unwrap();
    symlink(dirs.outside().join("secret.txt"), links.join("abs")).unwrap();
    to("rel", "../../outside/secret.txt");
    to("chain", "chain2");
    to("chain2", "./rel");
    to("dir", "../../outside");
    to("up", "../..");
    to("env", "../.env");
    to("secrets", "../secrets");
    to("self", "self");
    to("dangling", "../nothing-here");
    to("fd", "/dev/fd/0");
    to("cwd", "/proc/self/cwd");
    to("root", "/proc/self/root");
    to("fifo", "../things/fifo");
    symlink(dirs.base().join("ro/ro.txt"), links.join("ro-link")).unwrap();
}

fn refused(seen: &Seen, input: &str) {
    assert!(
        matches!(seen.outcome, "deny" | "not_found" | "invalid"),
        "{} of {input:?} is {}: {}",
        seen.tool,
        seen.outcome,
        seen.message
    );
    no_canary(input, &seen.raw).unwrap();
    let text = seen.text();
    for leak in ["PUBLIC-", "root:x:", "panicked", ".rs:", "os error"] {
        assert!(!text.contains(leak), "{input:?} tells {leak}: {text}");
    }
}

#[test]
fn no_spelling_gets_through_any_tool() {
    let mut dirs = Dirs::with_fixture();
    disguises(&mut dirs);
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let mut wire = Wire::Http(&server, Conn::open(server.address));
    let mut calls = 0;
    for input in PATHS {
        let path = dirs.fill_in(input);
        for tool in ["read_text_file", "read_file", "read_media_file", "get_file_info"] {
            refused_or_directory(&mut wire, tool, &path, input);
            calls += 1;
        }
        for tool in ["list_directory", "list_directory_with_sizes", "directory_tree"] {
            refused(&wire.ask(&Ask::Call(tool, json!({"path": path}))), input);
            calls += 1;
        }
        let search = Ask::Call("search_files", json!({"path": path, "pattern": "**"}));
        refused(&wire.ask(&search), input);
        let search = Ask::Call("search_content", json!({"path": path, "pattern": "."}));
        refused(&wire.ask(&search), input);
        calls += 2 + in_its_place(&mut wire, &path, input);
        if path.starts_with("file:") {
            refused(&wire.ask(&Ask::ReadResource(path)), input);
            calls += 1;
        }
    }
    for input in URIS {
        refused(&wire.ask(&Ask::ReadResource(dirs.fill_in(input))), input);
        calls += 1;
    }
    println!("{} paths and {} URIs in {calls} calls", PATHS.len(), URIS.len());
    books_are_right(&server, calls);
}

/// A directory inside the root may be looked at; nothing in these tables else may.
fn refused_or_directory(wire: &mut Wire<'_>, tool: &'static str, path: &str, input: &str) {
    refused(&wire.ask(&Ask::Call(tool, json!({"path": path}))), input);
}

/// Inside calls that answer for many, the refusal stands in its place.
fn in_its_place(wire: &mut Wire<'_>, path: &str, input: &str) -> usize {
    let many = wire.ask(&Ask::Call("read_multiple_files", json!({"paths": [path]})));
    assert_eq!(many.outcome, "ok", "{input:?}: {}", many.message);
    no_canary(input, &many.raw).unwrap();
    assert!(many.text().contains(": Error - "), "{input:?}: {}", many.text());
    let inner = json!({"calls": [{"tool": "read_text_file", "arguments": {"path": path}}]});
    let batch = wire.ask(&Ask::Call("batch", inner));
    assert_eq!(
        batch.message["result"]["structuredContent"]["results"][0]["ok"], false,
        "{input:?}"
    );
    no_canary(input, &batch.raw).unwrap();
    // the call in the batch has a record of its own
    3
}

fn books_are_right(server: &Server, calls: usize) {
    let audit = server.audit();
    assert_eq!(audit.counts(), (calls, calls));
    no_canary("the audit log", &audit.raw).unwrap();
    no_canary("the log", server.log().as_bytes()).unwrap();
    no_canary("/metrics", server.metrics().as_bytes()).unwrap();
    assert!(server.is_ready());
}

#[test]
fn no_listing_shows_what_is_hidden() {
    let mut dirs = Dirs::with_fixture();
    disguises(&mut dirs);
    dirs.write("work/.gitignore", "!.env\n!*.key\n!**/secrets/**\n");
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let mut wire = Wire::Http(&server, Conn::open(server.address));
    let root = dirs.fill_in("$ROOT");
    let mut asks = vec![
        Ask::Call("list_directory", json!({"path": root})),
        Ask::Call("list_directory_with_sizes", json!({"path": root})),
        Ask::Call("directory_tree", json!({"path": root})),
        Ask::Call("list_directory", json!({"path": format!("{root}/mnt")})),
        Ask::Call("directory_tree", json!({"path": format!("{root}/links")})),
    ];
    for glob in [
        "**",
        "**/*",
        "**/.*",
        "**/*.key",
        "**/*.[kK]*",
        "**/.[a-f]nv",
        "**/{.env,id.key,x.txt}",
        "**/?env*",
        "**/secret*",
        "**/[sS]ecr*/**",
        ".env",
        "**/.git/**",
        "mnt/**",
        "links/dir/**",
        "**/../**",
        "../**",
        "!**",
        "{",
        "[",
        "**/*.{p,P}[eE]m",
    ] {
        asks.push(Ask::Call("search_files", json!({"path": root, "pattern": glob})));
    }
    for pattern in ["CANARY", "(?i)c.n.ry", "[^P]A"] {
        let search = json!({"path": root, "pattern": pattern, "gitignore": true, "context": 3});
        asks.push(Ask::Call("search_content", search));
        let search =
            json!({"path": root, "pattern": pattern, "include": ["**/.*", "**/*.key", "links/**"]});
        asks.push(Ask::Call("search_content", search));
    }
    for prefix in ["/.e", "/", "/s", "/mnt/", "/links/dir/", "/../outside/"] {
        asks.push(Ask::Complete(format!("{root}{prefix}")));
    }
    for ask in &asks {
        let seen = wire.ask(ask);
        no_canary("a listing", &seen.raw).unwrap();
        let text = seen.text().to_lowercase().replace("/ro-", "").replace(".gitignore", "");
        for hidden in [
            ".env",
            "id.key",
            "credentials.json",
            "server.pem",
            ".git",
            "x.txt",
            "secret.txt",
            "target.txt",
        ] {
            assert!(!text.contains(hidden), "{} {hidden}: {text}", seen.tool);
        }
    }
    books_are_right(&server, asks.len());
}

/// Over-blocking is a defect too.
#[test]
fn odd_names_are_ordinary_names() {
    let dirs = Dirs::with_fixture();
    let names = [
        "a b",
        "100%",
        "%2e%2e",
        "..x",
        "x..",
        "...",
        "-n",
        "--help",
        "a:b",
        "*",
        "?",
        "[x]",
        "{a,b}",
        "!x",
        "a\\b",
        "env",
        ".envrc",
        "keys",
        "key",
        "credentials",
        "gitignore",
        ".gitignore",
        "\u{e9}t\u{e9}",
        "\u{1f600}",
        "a'b\"c",
        "$(id)",
        "`id`",
        "a;b|c&d",
        "&#46;",
        "CON",
        "x.key.txt",
        "\u{202e}txt.exe",
        "secret",
        "~x",
        "a\u{2028}b",
    ];
    for name in names {
        dirs.write(&format!("work/odd/{name}"), "PUBLIC-ODD");
    }
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let listed =
        server.call("list_directory", &json!({"path": dirs.fill_in("$ROOT/odd")})).result();
    let listed = listed["structuredContent"]["entries"].as_array().unwrap().clone();
    assert_eq!(listed.len(), names.len());
    for entry in listed {
        // What is listed can be given back, by its name or by its URI.
        let name = entry["name"].as_str().unwrap();
        let plain = dirs.fill_in("$ROOT/odd/") + name;
        let path = if name.starts_with("file://") { name.to_owned() } else { plain };
        let read = server.call("read_text_file", &json!({"path": path})).text();
        assert!(read.contains("PUBLIC-ODD"), "{path}: {read}");
    }
}

#[test]
fn names_that_are_not_utf8_are_read_back_over_the_wire() {
    use std::os::unix::ffi::OsStrExt as _;
    let dirs = Dirs::with_fixture();
    let dir = dirs.work().join("bytes");
    fs::create_dir(&dir).unwrap();
    for (at, name) in
        [&b"f\xffo.txt"[..], b"f\xfeo.txt", b"\xc3(", b"\xed\xa0\x80", b"a\nb", b"\x1b[2J"]
            .iter()
            .enumerate()
    {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), format!("PUBLIC-{at}")).unwrap();
    }
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = dirs.fill_in("$ROOT/bytes");
    let listed = server.call("list_directory", &json!({"path": path})).result();
    let found = server.call("search_files", &json!({"path": path, "pattern": "**"})).result();
    let tree = server.call("directory_tree", &json!({"path": path})).result();
    let names = |list: &Value, key: &str| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|entry| entry[key].as_str().unwrap_or_else(|| entry.as_str().unwrap()).to_owned())
            .collect()
    };
    let listed = names(&listed["structuredContent"]["entries"], "name");
    assert_eq!(listed, names(&tree["structuredContent"]["tree"], "name"));
    assert_eq!(listed, names(&found["structuredContent"]["matches"], "none"));
    let mut seen: Vec<String> = listed
        .iter()
        .map(|uri| server.call("read_text_file", &json!({"path": uri})).text()[..8].to_owned())
        .collect();
    seen.sort();
    assert_eq!(seen, (0..6).map(|at| format!("PUBLIC-{at}")).collect::<Vec<_>>());
}
