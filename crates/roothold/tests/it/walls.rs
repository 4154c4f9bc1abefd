//! The walls around the process: Landlock, which the server raises itself, and the seccomp profile
//! of `deploy/`, which whoever starts it puts around it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Request, Server, Spec, Stdio, custom_tool_binary, under_profile};

const PATIENCE: Duration = Duration::from_secs(30);

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_roothold"))
}

fn profile() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/seccomp.json")
}

/// The profile with some calls taken out, in a file of the test's own.
fn profile_without(dirs: &Dirs, calls: &str) -> PathBuf {
    let mut profile: Value = serde_json::from_slice(&fs::read(profile()).unwrap()).unwrap();
    for entry in profile["syscalls"].as_array_mut().unwrap() {
        let names = entry["names"].as_array_mut().unwrap();
        names.retain(|name| !name.as_str().unwrap().starts_with(calls));
    }
    dirs.write("profile.json", profile.to_string());
    dirs.base().join("profile.json")
}

/// What a command said that must have failed.
fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server whose keys are in a directory that also has a link to keys outside.
struct Keys {
    dirs: Dirs,
    inside: String,
    outside: String,
}

impl Keys {
    fn new() -> Self {
        let dirs = Dirs::with_fixture();
        fs::create_dir(dirs.base().join("conf")).unwrap();
        let make = |file: &str| {
            let output = Command::new(binary())
                .args(["keys", "new", "alice", "--file"])
                .arg(dirs.base().join(file))
                .output()
                .unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            said.split_whitespace().find(|word| word.starts_with("rhk_")).unwrap().to_owned()
        };
        let (inside, outside) = (make("conf/keys.jsonl"), make("outside/keys.jsonl"));
        Self { dirs, inside, outside }
    }

    fn serve(&self, landlock: &str) -> Server {
        let config = format!(
            "[server]\nlandlock = \"{landlock}\"\n[auth]\nkeys_file = \"{}\"\n",
            self.dirs.base().join("conf/keys.jsonl").display()
        );
        // The directory of the configuration is within reach, and what is outside must not be below it.
        let conf = self.dirs.base().join("conf");
        let mut spec = Spec::new(&conf, self.dirs.config("") + &config);
        (spec.cwd, spec.audit) = (self.dirs.outside(), self.dirs.base().join("audit"));
        spec.start()
    }

    /// Puts a link in the place of the keys file, as whoever could write there would.
    fn replace_by_link(&self) {
        let link = self.dirs.base().join("conf/link");
        std::os::unix::fs::symlink(self.dirs.base().join("outside/keys.jsonl"), &link).unwrap();
        fs::rename(link, self.dirs.base().join("conf/keys.jsonl")).unwrap();
    }
}

fn status_with(server: &Server, key: &str) -> u16 {
    server.send(&Request::call("listRoots", &json!({})).bearer(key)).status
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_server_cannot_open_what_is_neither_a_root_nor_its_own() {
    let keys = Keys::new();
    let server = keys.serve("require");
    assert_eq!(status_with(&server, &keys.inside), 200);
    assert_eq!(server.status()["walls"]["landlock"]["state"], "stands");
    keys.replace_by_link();
    eventually("the refusal is said", || server.log().contains("Permission denied"));
    assert_eq!(status_with(&server, &keys.outside), 401);
    assert_eq!(status_with(&server, &keys.inside), 200, "what was read last stays in force");
    // The same without the wall: it was the wall that refused.
    let keys = Keys::new();
    let server = keys.serve("off");
    keys.replace_by_link();
    eventually("the keys outside are read", || status_with(&server, &keys.outside) == 200);
    assert_eq!(server.status()["walls"]["landlock"]["state"], "off");
}

#[test]
fn keys_that_are_replaced_as_editors_do_are_read_behind_the_wall() {
    let keys = Keys::new();
    let server = keys.serve("require");
    let conf = keys.dirs.base().join("conf");
    fs::copy(keys.dirs.outside().join("keys.jsonl"), conf.join("new")).unwrap();
    fs::rename(conf.join("new"), conf.join("keys.jsonl")).unwrap();
    eventually("the new keys are read", || status_with(&server, &keys.outside) == 200);
    assert_eq!(status_with(&server, &keys.inside), 401);
}

#[test]
fn behind_the_wall_a_replica_has_the_name_of_its_host() {
    let keys = Keys::new();
    let server = keys.serve("require");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let audit = server.audit();
    assert_eq!(audit.of_kind("boot").next().unwrap()["replica"], host.trim());
}

#[test]
fn every_thread_is_behind_the_wall_and_the_metrics_still_see_the_process() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let path = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    assert!(server.call("read_text_file", &path).text().contains("PUBLIC-HELLO"));
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let held = tasks.map(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "raised after this thread began: {status}");
    });
    assert!(held.count() > 2, "the runtime, the audit log and a worker for the call");
    for metric in ["process_resident_memory_bytes", "process_open_fds"] {
        assert!(server.gauge(metric) > 5.0, "{metric}");
    }
    let status = server.status();
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!(status["walls"]["no_new_privileges"], true, "{status}");
    assert_eq!(status["walls"]["seccomp"], false, "{status}");
    let canary = crate::support::find_canary(status.to_string().as_bytes());
    assert_eq!(canary, None);
    assert!(!status.to_string().contains(dirs.base().to_str().unwrap()), "no host path");
}

#[test]
fn under_the_profile_everything_that_the_server_does_works() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/page.txt", "a line\n".repeat(50_000));
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    spec.profile = Some(profile());
    let mut server = spec.start();
    let walls = &server.status()["walls"];
    assert_eq!((&walls["seccomp"], &walls["landlock"]["state"]), (&json!(true), &json!("stands")));
    let root = dirs.fill_in("$ROOT");
    let mut conn = Conn::open(server.address);
    for (tool, arguments, expected) in [
        ("read_text_file", json!({"path": format!("{root}/hello.txt")}), "PUBLIC-HELLO"),
        ("read_text_file", json!({"path": format!("{root}/page.txt"), "tail": 2}), "a line"),
        ("list_directory", json!({"path": root}), "hello.txt"),
        ("list_directory_with_sizes", json!({"path": root}), "hello.txt"),
        ("directory_tree", json!({"path": root}), "s.txt"),
        ("search_files", json!({"path": root, "pattern": "**/*.txt"}), "s.txt"),
        ("get_file_info", json!({"path": format!("{root}/hello.txt")}), "size"),
        ("read_multiple_files", json!({"paths": [format!("{root}/hello.txt")]}), "PUBLIC-HELLO"),
        ("listRoots", json!({}), "access_policy"),
    ] {
        let text = conn.send(&Request::call(tool, &arguments)).text();
        assert!(text.contains(expected), "{tool}: {text}");
    }
    assert!(server.metrics().contains("process_open_fds"));
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait(PATIENCE).expect("an orderly end").success(), "{}", server.log());
    let by = under_profile(&profile(), &binary());
    let audit = dirs.base().join("audit");
    let mut stdio = Stdio::start_by(by, dirs.base(), &dirs.config(""), &audit);
    let arguments =
        json!({"name": "read_text_file", "arguments": {"path": format!("{root}/hello.txt")}});
    let answer = stdio.request("tools/call", &arguments).0;
    assert!(answer.to_string().contains("PUBLIC-HELLO"), "{answer}");
    assert!(stdio.end().success());
}

#[test]
fn under_the_profile_jobs_are_kept_out_of_the_reach_of_callers() {
    let dirs = Dirs::with_fixture();
    let state = dirs.work().join("own/state");
    let more =
        format!("[server]\nlandlock = \"require\"\n[state]\ndir = \"{}\"\n", state.display());
    let mut spec = Spec::new(dirs.base(), dirs.config(&more));
    (spec.profile, spec.binary) = (Some(profile()), custom_tool_binary());
    let mut server = spec.start();
    let path = dirs.fill_in("$ROOT/hello.txt");
    let begun = server.call("count_lines", &json!({"path": path, "background": true})).result();
    let id = begun["structuredContent"]["job"]["job_id"].as_str().unwrap().to_owned();
    eventually("the job is done", || {
        server.call("get_job", &json!({"job_id": id})).text().contains("completed")
    });
    let file = state.join("state.sqlite3");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o077, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
    let read = server.call("read_text_file", &json!({"path": file})).text();
    assert!(read.contains("denied: rule exclude"), "{read}");
    let listed = server.call("list_directory", &json!({"path": dirs.work().join("own")})).text();
    assert!(!listed.contains("state"), "{listed}");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait(PATIENCE).expect("an orderly end").success(), "{}", server.log());
}

#[test]
fn a_place_for_jobs_that_cannot_be_used_refuses_the_start_in_words() {
    let dirs = Dirs::with_fixture();
    dirs.write("file", "no directory");
    dirs.write("foreign/state.sqlite3", "no database at all, but long enough to look like one");
    let refused = |dir: &Path| {
        let config = dirs.config(&format!("[state]\ndir = \"{}\"\n", dir.display()));
        dirs.write("refused.toml", config);
        let mut command = Command::new(custom_tool_binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(dirs.base().join("refused.toml")).arg("--audit-dir");
        refusal({
            command.arg(dirs.base().join("audit")).env("ROOTHOLD_TELEMETRY__LISTEN", "");
            command
        })
    };
    for dir in ["file", "foreign"] {
        let said = refused(&dirs.base().join(dir));
        assert!(said.contains("state.dir: "), "{dir}: {said}");
    }
    let said = refused(&dirs.work());
    assert!(said.contains("state.dir: is the directory of the root"), "{said}");
}

#[test]
fn the_profile_refuses_what_the_server_never_does() {
    let dirs = Dirs::new();
    let mount = dirs.base().join("mount");
    fs::create_dir(&mount).unwrap();
    let tools: [(&str, &[&str]); 3] = [
        ("/usr/bin/unshare", &["--mount", "/bin/true"]),
        ("/usr/sbin/chroot", &["/", "/bin/true"]),
        ("/usr/bin/mount", &["-t", "tmpfs", "none", mount.to_str().unwrap()]),
    ];
    for (program, arguments) in tools {
        // Without the profile each of them works, for root.
        let free = Command::new(program).args(arguments).output().unwrap();
        assert!(free.status.success() || !rustix::process::geteuid().is_root(), "{free:?}");
        let mut held = under_profile(&profile(), Path::new(program));
        held.args(arguments);
        let said = refusal(held).to_lowercase();
        assert!(said.contains("not permitted") || said.contains("permission denied"), "{said}");
    }
    let _ = Command::new("umount").arg(&mount).output();
    let text = fs::read_to_string(profile()).unwrap();
    for call in [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "mount",
        "umount2",
        "unshare",
        "setns",
        "pivot_root",
        "chroot",
        "bpf",
        "perf_event_open",
        "io_uring_setup",
        "userfaultfd",
        "open_by_handle_at",
        "init_module",
        "kexec_load",
        "mknodat",
        "symlinkat",
        "keyctl",
        "add_key",
        "personality",
        "kill",
        "fork",
        "vfork",
        "memfd_create",
        "fanotify_init",
    ] {
        assert!(!text.contains(&format!("\"{call}\"")), "{call}");
    }
}

#[test]
fn without_landlock_the_server_warns_or_refuses_as_configured() {
    let dirs = Dirs::with_fixture();
    let without = profile_without(&dirs, "landlock_");
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    spec.profile = Some(without.clone());
    let server = spec.start();
    let landlock = server.status()["walls"]["landlock"].clone();
    assert_eq!(landlock["state"], "missing", "{landlock}");
    assert!(landlock["reason"].as_str().unwrap().contains("Linux 5.13"), "{landlock}");
    let warned = |line: &str| line.contains("WARN") && line.contains("not held by Landlock");
    assert!(server.log().lines().any(warned), "{}", server.log());
    let path = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    assert!(server.call("read_text_file", &path).text().contains("PUBLIC-HELLO"));
    let file = dirs.base().join("roothold.toml");
    for (command, code) in [("serve", 2), ("stdio", 2), ("check", 1)] {
        let mut command = {
            let mut by = under_profile(&without, &binary());
            by.arg(command).arg("--config").arg(&file);
            by
        };
        command
            .env("ROOTHOLD_SERVER__LANDLOCK", "require")
            .env("ROOTHOLD_SERVER__LISTEN", "127.0.0.1:0")
            .env("ROOTHOLD_TELEMETRY__LISTEN", "")
            .env("ROOTHOLD_AUDIT__DIR", dirs.base().join("audit"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("server.landlock: the kernel has no Landlock"), "{said}");
    }
}

#[test]
fn without_openat2_the_server_does_not_start() {
    let dirs = Dirs::with_fixture();
    let without = profile_without(&dirs, "openat2");
    dirs.write("roothold.toml", dirs.config(""));
    let mut command = under_profile(&without, &binary());
    command.arg("serve").arg("--config").arg(dirs.base().join("roothold.toml"));
    command.env("ROOTHOLD_SERVER__LISTEN", "127.0.0.1:0");
    let said = refusal(command);
    assert!(said.contains("refuses openat2"), "{said}");
}

#[test]
fn check_says_which_walls_would_stand_and_makes_nothing() {
    let dirs = Dirs::with_fixture();
    dirs.write("roothold.toml", dirs.config(""));
    let check = |landlock: &str| {
        let output = Command::new(binary())
            .arg("check")
            .arg("--config")
            .arg(dirs.base().join("roothold.toml"))
            .env("ROOTHOLD_SERVER__LANDLOCK", landlock)
            .env("ROOTHOLD_AUDIT__DIR", dirs.base().join("not-yet/audit"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check("require");
    assert!(said.contains("walls\n  landlock stands (version "), "{said}");
    assert!(said.contains(": files"), "{said}");
    assert!(said.contains("\n  seccomp no filter"), "{said}");
    assert!(check("off").contains("landlock off, as configured"));
    assert!(!dirs.base().join("not-yet").exists());
}
