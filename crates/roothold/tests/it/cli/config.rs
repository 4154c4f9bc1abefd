//! Configurations that are refused, in one sentence and by exit code; and how stdio ends.

use super::{Person, Ran, UNPRIVILEGED};

#[test]
fn what_is_unsafe_or_wrong_is_refused_in_one_sentence() {
    let person = Person::new();
    person.file("a/b/x.md", "");
    let root =
        |path: &str, uri: &str| format!("[[roots]]\npath = \"{path}\"\nuri = \"file:///{uri}\"\n");
    let listen =
        |address: &str| format!("[server]\nlisten = \"{address}\"\n[telemetry]\nlisten = \"\"\n");
    let loopback = listen("127.0.0.1:0");
    let cases = [
        ("no authentication", listen("0.0.0.0:0") + &root("a", "a"), "unauthenticated"),
        ("a missing root", loopback.clone() + &root("missing", "m"), "missing"),
        ("roots in roots", loopback.clone() + &root("a", "a") + &root("a/b", "b"), "overlap"),
        ("URIs in URIs", loopback.clone() + &root("a/b", "w") + &root("a/b", "w/x"), "overlap"),
        ("an unknown key", "[server]\nlisten_on = 1\n".to_owned(), "listen_on"),
        ("a wrong type", "[limits]\ncalls_max = \"many\"\n".to_owned(), "line 2"),
        ("a negation", loopback.clone() + "[policy]\nread = [\"!a\"]\n" + &root("a", "a"), "!a"),
        ("no TOML", "[server\n".to_owned(), "line 1"),
        (
            "a tool that does not exist",
            loopback.clone()
                + &root("a", "a")
                + "[[principals]]\nname = \"p\"\ntools = [\"read_fil\"]\n",
            "did you mean `read_file`",
        ),
        (
            "a missing file of keys",
            loopback + "[auth]\nkeys_file = \"none\"\n" + &root("a", "a"),
            "keys_file",
        ),
    ];
    for (what, text, expected) in cases {
        let config = person.file("roothold.toml", &text);
        let ran = person.run(&["serve", "--config", &config]);
        // A directory may be there later.
        let code = if what == "a missing root" { 75 } else { 2 };
        assert_eq!(ran.code, code, "{what}: {ran:?}");
        let sentence = ran.err.lines().last().unwrap_or_default();
        assert!(
            sentence.starts_with("roothold: ") && sentence.contains(expected),
            "{what}: {ran:?}"
        );
        assert_eq!(ran.out, "", "{what}");
    }
    let none = person.run(&["serve", "--config", "nowhere.toml"]).bad(2);
    assert!(none.contains("nowhere.toml"), "{none}");
    let variable = person.command(&["check"]).env("ROOTHOLD_SERVER__PORT", "1").output().unwrap();
    assert_eq!(variable.status.code(), Some(2));
}

/// The configuration with a port of the system's choice, where it says nothing of its own: the
/// usual one may be in use.
fn on_any_port(text: &str) -> String {
    let listen = "[server]\nlisten = \"127.0.0.1:0\"\n";
    if text.contains("[server]\nlisten") {
        text.to_owned()
    } else if text.contains("[server]\n") {
        text.replacen("[server]\n", listen, 1)
    } else {
        format!("{text}{listen}")
    }
}

#[cfg(feature = "datasets")]
fn dataset(files: &str) -> String {
    format!("[[datasets]]\nname = \"d\"\nfiles = [{files:?}]\n")
}

#[cfg(feature = "datasets")]
#[test]
fn check_shows_the_datasets_that_have_names() {
    let person = Person::new();
    let root = person.file("a/x.csv", "n\n1\n").replace("/x.csv", "");
    let files = format!("{root}/*.csv");
    let config = person.file(
        "roothold.toml",
        &on_any_port(&format!(
            "{}hidden_columns = [\"n\"]\n[[roots]]\npath = \"a\"\n",
            dataset(&files)
        )),
    );
    let shown = person.run(&["check", "--config", &config]).good();
    assert!(shown.contains(&format!("dataset d\n  {files}; hidden columns: n\n")), "{shown}");
}

#[test]
fn check_refuses_what_serve_refuses() {
    let person = Person::new();
    person.file("a/x.md", "");
    person.file("taken", "no directory, and no certificate");
    person.file("foreign/state.sqlite3", "no database at all, but long enough to look like one");
    let root = "[[roots]]\npath = \"a\"\n";
    let listen = "[server]\nlisten = ";
    let open = "[auth]\nunauthenticated = \"on-the-network\"\n";
    let collector = "otlp_endpoint = \"https://127.0.0.1:1\"\notlp_protocol = \"http/protobuf\"\notlp_ca_file = \"taken\"\n";
    let cases = [
        (1, format!("{listen}\"0.0.0.0:0\"\n"), "auth.unauthenticated = \"on-the-network\""),
        (1, "[server]\nallowed_hosts = [\"a b\"]\n".to_owned(), "server.allowed_hosts: `a b`"),
        (1, "[server]\nallowed_origins = [\"x\"]\n".to_owned(), "server.allowed_origins: `x`"),
        (1, "[server]\npublic_url = \"mcp\"\n".to_owned(), "server.public_url: `mcp`"),
        (
            1,
            "[server]\npublic_url = \"https://mcp.example.com/mcp\"\n".to_owned(),
            "server.public_url: refusing to serve without authentication",
        ),
        (1, "[telemetry]\nlog = \"a=b=c\"\n".to_owned(), "telemetry.log: `a=b=c`"),
        (2, "[telemetry]\nlisten = \"9464\"\n".to_owned(), "telemetry.listen: `9464`"),
        (
            1,
            format!("{listen}\"127.0.0.1:18431\"\n[telemetry]\nlisten = \"localhost:18431\"\n"),
            "telemetry.listen: localhost:18431 is the address of server.listen",
        ),
        (
            1,
            format!("{listen}\"192.0.2.1:18431\"\n{open}"),
            "server.listen: 192.0.2.1:18431 cannot",
        ),
        (
            1,
            format!("{listen}\"127.0.0.1:0\"\n[telemetry]\nlisten = \"192.0.2.1:18431\"\n"),
            "telemetry.listen: 192.0.2.1:18431 cannot be used",
        ),
        (1, "[audit]\ndir = \"taken\"\n".to_owned(), "taken cannot be written: Not a directory"),
        (1, "[audit]\ndir = \"taken/audit\"\n".to_owned(), "audit.dir: "),
        (1, "[audit]\ndir = \"a\"\n".to_owned(), "audit.dir: is the directory of the root"),
        (1, format!("[telemetry]\n{collector}"), "otlp_ca_file: holds no certificate in PEM"),
        (2, "[limits]\ncalls_max = 0\n".to_owned(), "limits.calls_max: 0 is out of bounds"),
        (2, format!("[limits]\ncalls_max = {}\n", i64::MAX), "write 1 to 1000000"),
    ];
    #[cfg(feature = "datasets")]
    let cases = cases.into_iter().chain([
        (1, dataset("/elsewhere/*.csv"), "`d` names /elsewhere, which lies in no root"),
        (1, dataset("/a/["), "`d`: the glob is refused"),
        (2, dataset("a.csv"), "`d`: \"a.csv\" is no absolute public path"),
        (1, "[dataset_engine]\nspill_dir = \"a/s\"\n".to_owned(), "spill_dir: lies below the root"),
        (2, "[dataset_engine]\nqueries_max = 0\n".to_owned(), "dataset_engine.queries_max: 0"),
        (1, "[dataset_engine]\nspill_dir = \"taken\"\n".to_owned(), "spill_dir: "),
        (1, "[state]\ndir = \"taken/state\"\n".to_owned(), "state.dir: "),
        (1, "[state]\ndir = \"a\"\n".to_owned(), "state.dir: is the directory of the root"),
        (1, "[state]\ndir = \"foreign\"\n".to_owned(), "state.dir: "),
    ]);
    for (code, text, expected) in cases {
        let config = person.file("roothold.toml", &on_any_port(&(text + root)));
        let checked = person.run(&["check", "--config", &config]);
        assert_eq!(checked.code, code, "{checked:?}");
        assert!(checked.err.contains(expected), "{expected}: {checked:?}");
        let served = person.run(&["serve", "--config", &config]);
        assert_eq!(served.code, 2, "{served:?}");
        assert!(served.err.contains(expected), "{expected}: {served:?}");
    }
    let open = format!("{listen}\"0.0.0.0:0\"\n{root}{open}");
    let config = person.file("roothold.toml", &open);
    person.run(&["check", "--config", &config]).good();
}

#[test]
fn check_refuses_a_directory_that_its_user_may_not_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let person = Person::new();
    person.file("a/x.md", "");
    person.file("locked/file", "");
    let may = |path: &str, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(person.home().join(path), mode).unwrap();
    };
    may("", 0o755);
    may("locked", 0o555);
    let config = on_any_port("[audit]\ndir = \"locked/audit\"\n[[roots]]\npath = \"a\"\n");
    let config = person.file("roothold.toml", &config);
    let mut command = person.unprivileged(&["check", "--config", &config]);
    let said = Ran::from(command.output().unwrap()).bad(1);
    assert!(said.contains("locked/audit cannot be written: Permission denied"), "{said}");
    may("locked", 0o755);
}

/// Who reads the log must not see a server that served, nor who reads the audit log one that was there.
#[test]
fn a_start_that_is_refused_has_served_nothing() {
    let person = Person::new();
    person.file("a/x.md", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let serve = |code: i32, more: &str| {
        let text = format!("{more}[audit]\ndir = \"audit\"\n[[roots]]\npath = \"a\"\n");
        let config = person.file("roothold.toml", &on_any_port(&text));
        let ran = person.run(&["serve", "--config", &config]);
        let said = ran.err;
        assert!(ran.code == code && !said.contains("serving MCP"), "{said}");
        let made = std::fs::read_dir(person.home().join("audit")).map_or(0, Iterator::count);
        assert_eq!(made, 0, "{said}");
        said
    };
    let said = serve(75, &format!("[telemetry]\nlisten = \"{address}\"\n"));
    assert!(said.contains("telemetry.listen: "), "{said}");
    assert_eq!(said.matches("os error").count(), 1, "{said}");
    let said = serve(75, &format!("[server]\nlisten = \"{address}\"\n"));
    assert!(said.contains("server.listen: "), "{said}");
    serve(2, "[server]\nlisten = \"0.0.0.0:0\"\n");
    serve(2, "[server]\npublic_url = \"https://mcp.example.com/mcp\"\n");
}

#[test]
fn variables_of_others_may_be_bytes() {
    use std::os::unix::ffi::OsStrExt as _;
    let person = Person::new();
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    person.file("a/x.md", "");
    let config = person.file("roothold.toml", "[[roots]]\npath = \"a\"\n");
    let run = |name: &str| {
        let mut command = person.command(&["check", "--config", &config]);
        Ran::from(command.env(name, bytes).output().unwrap())
    };
    run("SOMEONE_ELSES").good();
    let ours = run("ROOTHOLD_AUDIT__DIR").bad(2);
    assert!(ours.contains("ROOTHOLD_AUDIT__DIR: is not UTF-8"), "{ours}");
}

#[test]
fn stdio_ends_with_its_input() {
    let person = Person::new();
    person.file("files/a.md", "");
    let ran = person.run(&["stdio", "files"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    let nothing = person.run(&["stdio"]).bad(2);
    assert!(nothing.contains("roothold stdio DIR"), "{nothing}");
}

#[test]
fn completions_are_scripts() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = person.run(&["completions", shell]).good();
        assert!(script.contains("healthcheck"), "{shell}");
    }
}

#[test]
fn a_sealing_key_is_never_shown() {
    let person = Person::new();
    person.file("a/x.md", "");
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ";
    let values = [
        format!("\"{secret}:k1\""),
        format!("[\"{secret}:k1\"]"),
        format!("{{ k1 = \"{secret}\" }}"),
        format!("[\"k1:{secret}!\"]"),
        format!("[[\"{secret}\"]]"),
    ];
    for value in values {
        let text = format!("[handles]\nkeys = {value}\n[[roots]]\npath = \"a\"\n");
        let config = person.file("roothold.toml", &on_any_port(&text));
        for command in ["check", "serve"] {
            let ran = person.run(&[command, "--config", &config]);
            assert_ne!(ran.code, 0, "{value}");
            let said = format!("{}{}", ran.out, ran.err);
            assert!(said.contains("handles.keys") && !said.contains("c2VjcmV0"), "{said}");
        }
    }
    let good = format!("[handles]\nkeys = [\"k1:{secret}\"]\n[[roots]]\npath = \"a\"\n");
    let config = person.file("roothold.toml", &on_any_port(&good));
    let full = person.run(&["check", "--full", "--config", &config]).good();
    assert!(full.contains("k1:(hidden)") && !full.contains("c2VjcmV0"), "{full}");
}

#[test]
fn a_root_that_the_user_may_not_enter_is_told_from_a_kernel_that_cannot() {
    use std::os::unix::fs::PermissionsExt as _;
    let is_root = rustix::process::geteuid().is_root();
    let person = Person::new();
    person.file("open/x.md", "");
    person.file("locked/x.md", "");
    let may = |path: &str, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(person.home().join(path), mode).unwrap();
    };
    may("", 0o777);
    let roots = "[[roots]]\npath = \"open\"\n[[roots]]\npath = \"locked\"\n";
    let config = format!("[audit]\ndir = \"audit\"\n{roots}[telemetry]\nlisten = \"\"\n");
    let config = person.file("roothold.toml", &on_any_port(&config));
    let run = |command: &str| {
        Ran::from(person.unprivileged(&[command, "--config", &config]).output().unwrap())
    };
    let good = run("check").good();
    assert!(!good.contains("checked as"), "{good}");
    may("locked", 0);
    let user = if is_root { UNPRIVILEGED } else { rustix::process::geteuid().as_raw() };
    for (command, code) in [("check", 1), ("serve", 2)] {
        let said = run(command).bad(code);
        assert!(said.contains("[[roots]] `locked` path: ") && !said.contains("openat2"), "{said}");
        assert!(said.contains(&format!("(uid {user}); ")) && said.contains("chgrp"), "{said}");
    }
    if is_root {
        let seen = person.run(&["check", "--config", &config]).good();
        assert!(seen.contains("checked as\n  root, who may open what another"), "{seen}");
    }
    may("locked", 0o755);
}
