//! What the server says of itself, kept in golden files; and by enumeration, that no tool is
//! without the cases that every tool must have.

#[cfg(feature = "datasets")]
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use roothold_edge::auth::KeysFile;
use serde_json::{Value, json};

use crate::databases;
use crate::support::{Conn, Dirs, Request, Server, Spec, custom_tool_binary, texts};

fn listed(server: &Server) -> Vec<Value> {
    let reply = server.send(&Request::modern("tools/list", &json!({})));
    reply.result()["tools"].as_array().unwrap().clone()
}

fn server() -> (Dirs, Server) {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config(&database(&dirs))).start();
    (dirs, server)
}

/// A database that can be changed, since without one there are no tools for any.
fn database(dirs: &Dirs) -> String {
    let section = databases::section("shop", &databases::sqlite(dirs, "shop.sqlite3"));
    section + "access = \"write\"\nconfirm = \"never\"\n"
}

/// Compares with a file of the tree, or writes it when that is asked for.
pub(crate) fn golden(path: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == actual,
        "{} differs; run `cargo xtask golden` and review the difference",
        path.display()
    );
}

#[cfg(feature = "datasets")]
#[test]
fn golden_tool_list() {
    let (_dirs, server) = server();
    let tools = serde_json::to_string_pretty(&listed(&server)).unwrap() + "\n";
    golden("tests/golden/tools.json", &tools);
}

#[test]
fn golden_configuration_page() {
    golden("../../docs/configuration.md", &roothold::config::reference());
}

#[cfg(feature = "datasets")]
#[test]
fn golden_tools_page() {
    let (_dirs, server) = server();
    let mut page = String::from(
        "# Tools\n\nMade from `tools/list`. An argument in bold must be given. Tools that answer in pages also take\n\
         `cursor` (the `next_cursor` of the page before) and `max_bytes`.\n\n| tool | arguments | what it does |\n|---|---|---|\n",
    );
    for tool in listed(&server) {
        let schema = &tool["inputSchema"];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let paged = schema["properties"]["cursor"].is_object();
        let names = schema["properties"].as_object().unwrap().keys();
        let names =
            names.filter(|name| !paged || !["cursor", "max_bytes"].contains(&name.as_str()));
        let mut shown: Vec<String> = names
            .map(|name| {
                if required.contains(&json!(name)) {
                    format!("**`{name}`**")
                } else {
                    format!("`{name}`")
                }
            })
            .collect();
        shown.sort_by_key(|name| !name.starts_with("**"));
        if paged {
            shown.push("*pages*".to_owned());
        }
        let what = tool["description"].as_str().unwrap().replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {what} |",
            tool["name"].as_str().unwrap(),
            shown.join(", ")
        );
    }
    golden("../../docs/tools.md", &page);
}

/// Tools whose answer is text or media and needs no schema.
const WITHOUT_OUTPUT_SCHEMA: &[&str] =
    &["read_text_file", "read_file", "read_media_file", "read_multiple_files"];

/// Tools whose many arguments are worth their bytes; all others are short.
const LONG: &[&str] = &["search_content", "query_dataset", "process_large_dataset"];

/// The tools for databases.
const FOR_DATABASES: &[&str] =
    &["list_databases", "describe_schema", "query_database", "explain_query", "execute_statement"];

#[test]
fn every_tool_is_described_whole() {
    let (_dirs, server) = server();
    let tools = listed(&server);
    // Who has no database is not told of the tools for them.
    let (theirs, others): (Vec<Value>, Vec<Value>) = tools
        .iter()
        .cloned()
        .partition(|tool| FOR_DATABASES.contains(&tool["name"].as_str().unwrap()));
    assert_eq!(theirs.len(), FOR_DATABASES.len());
    for (tools, most) in [(others, 20_000), (theirs, 4_000)] {
        let size = serde_json::to_string(&tools).unwrap().len();
        println!("{} tools in {size} bytes", tools.len());
        assert!(size <= most, "{size}");
    }
    for tool in &tools {
        let name = tool["name"].as_str().unwrap();
        let size = tool.to_string().len();
        let most = if LONG.contains(&name) { 2500 } else { 1250 };
        assert!(size <= most, "{name}: {size}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{name} lacks {hint}");
        }
        for text in [&tool["title"], &tool["description"]] {
            assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert_eq!(tool["inputSchema"]["type"], "object");
        for (argument, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            // The older name's arguments are described once, at `read_text_file`, and those of an
            // operation at `operation`, as a test beside them holds.
            let elsewhere = ["read_file", "process_large_dataset"].contains(&name);
            let is_described = schema["description"].is_string() || elsewhere;
            assert!(is_described, "{name}.{argument} has no description");
        }
        assert_eq!(
            tool["outputSchema"].is_object(),
            !WITHOUT_OUTPUT_SCHEMA.contains(&name),
            "{name}"
        );
    }
}

/// For each tool: arguments that work, and arguments that policy must deny (none where the tool
/// names no target; a grant denies the tool as a whole), and arguments beyond a limit with what
/// comes of them.
struct Cases {
    fine: Value,
    denied: Option<Value>,
    over: Over,
}

enum Over {
    /// The answer is cut and goes on.
    Cut(Value),
    /// It is refused, by this kind.
    Refused(Value, &'static str),
}

fn cases(dirs: &Dirs, tool: &str, job: &str) -> Option<Cases> {
    let at = |path: &str| json!({"path": dirs.fill_in(path)});
    let small = |path: &str| json!({"path": dirs.fill_in(path), "max_bytes": 1024});
    let long = json!({"path": format!("/{}", "x".repeat(5000))});
    let (fine, denied, over) = match tool {
        "listRoots" | "list_allowed_directories" => {
            (json!({}), None, Over::Refused(json!({"extra": "x".repeat(100_000)}), "invalid"))
        }
        "list_directory" | "list_directory_with_sizes" | "directory_tree" => {
            (at("$ROOT"), Some(at("$OUT")), Over::Cut(small("$ROOT/many")))
        }
        "search_files" => {
            let search = |mut path: Value| {
                path["pattern"] = "**".into();
                path
            };
            (search(at("$ROOT")), Some(search(at("$OUT"))), Over::Cut(search(small("$ROOT/many"))))
        }
        "search_content" => {
            let search = |mut path: Value| {
                path["pattern"] = ".".into();
                path
            };
            (
                search(at("$ROOT")),
                Some(search(at("$OUT"))),
                Over::Cut(search(small("$ROOT/large.txt"))),
            )
        }
        // A job that is not there and one that may not be seen are one answer.
        "list_jobs" => {
            let others = json!({"owner": "*"});
            let small = json!({"max_bytes": 2048});
            (json!({}), Some(others), Over::Cut(small))
        }
        "get_job" | "cancel_job" => {
            let of = |id: &str| json!({"job_id": id});
            let others = json!({"job_id": job, "owner": "nobody"});
            let long = "x".repeat(2_000_000);
            (of(job), Some(others), Over::Refused(of(&long), "not_found"))
        }
        "get_file_info" | "count_words" | "count_lines" => {
            (at("$ROOT/hello.txt"), Some(at("$ROOT/.env")), Over::Refused(long, "invalid"))
        }
        "read_text_file" | "read_file" => {
            (at("$ROOT/hello.txt"), Some(at("$ROOT/.env")), Over::Cut(small("$ROOT/large.txt")))
        }
        "read_media_file" => (
            at("$ROOT/hello.txt"),
            Some(at("$ROOT/.env")),
            Over::Refused(at("$ROOT/huge.png"), "limit"),
        ),
        "read_multiple_files" => {
            let paths = |path: &str| json!({"paths": [dirs.fill_in(path)], "max_bytes": 1024});
            (paths("$ROOT/hello.txt"), None, Over::Cut(paths("$ROOT/large.txt")))
        }
        "write_file" => {
            let write = |path: &str, bytes: usize| json!({"path": dirs.fill_in(path), "content": "x".repeat(bytes)});
            (
                write("$ROOT/written.txt", 1),
                Some(write("$ROOT/.env", 1)),
                Over::Refused(write("$ROOT/written.txt", 2_000_001), "limit"),
            )
        }
        "edit_file" => {
            let edit = |path: &str, bytes: usize| {
                let edits = json!([{"oldText": "old", "newText": "x".repeat(bytes)}]);
                json!({"path": dirs.fill_in(path), "edits": edits})
            };
            (
                edit("$ROOT/editable.txt", 1),
                Some(edit("$ROOT/.env", 1)),
                Over::Refused(edit("$ROOT/editable.txt", 2_000_001), "limit"),
            )
        }
        "move_file" => {
            let to = |path: &str| json!({"source": dirs.fill_in("$ROOT/movable.txt"), "destination": dirs.fill_in(path)});
            let long = json!({"source": long["path"], "destination": "/x"});
            (to("$ROOT/moved.txt"), Some(to("$RO/moved.txt")), Over::Refused(long, "invalid"))
        }
        "delete_file" => {
            (at("$ROOT/deletable.txt"), Some(at("$ROOT/.env")), Over::Refused(long, "invalid"))
        }
        "create_directory" => {
            (at("$ROOT/made"), Some(at("$RO/made")), Over::Refused(long, "invalid"))
        }
        "batch" => {
            let calls = |n: usize| json!({"calls": vec![json!({"tool": "listRoots"}); n]});
            (calls(1), None, Over::Refused(calls(101), "invalid"))
        }
        "list_databases" | "describe_schema" | "query_database" | "explain_query"
        | "execute_statement" => {
            return Some(database_cases(tool));
        }
        _ => return dataset_cases(dirs, tool),
    };
    Some(Cases { fine, denied, over })
}

fn database_cases(tool: &str) -> Cases {
    let of = |database: &str, sql: Option<String>| {
        let mut arguments = json!({"database": database});
        if let Some(sql) = sql {
            arguments["sql"] = sql.into();
        }
        arguments
    };
    let sql = match tool {
        "describe_schema" => None,
        "execute_statement" => Some("DELETE FROM orders WHERE id = 500".to_owned()),
        _ => Some("SELECT id FROM orders".to_owned()),
    };
    let mut small = of("shop", sql.clone());
    small["max_bytes"] = 1024.into();
    let over = match tool {
        "list_databases" => Over::Refused(json!({"extra": "x"}), "invalid"),
        "explain_query" | "execute_statement" => {
            Over::Refused(of("shop", Some("x".repeat(200_000))), "invalid")
        }
        _ => Over::Cut(small),
    };
    if tool == "list_databases" {
        return Cases { fine: json!({}), denied: None, over };
    }
    Cases { fine: of("shop", sql.clone()), denied: Some(of("nothing", sql)), over }
}

fn dataset_cases(dirs: &Dirs, tool: &str) -> Option<Cases> {
    let of = |source: &str, more: Value| {
        let mut arguments = more;
        arguments["data_source"] = dirs.fill_in(source).into();
        arguments
    };
    let (more, over) = match tool {
        "list_datasets" => {
            let at = |path: &str| json!({"path": dirs.fill_in(path), "max_bytes": 1024});
            let over = Over::Cut(at("$ROOT/csv"));
            return Some(Cases { fine: json!({}), denied: Some(at("$OUT")), over });
        }
        "describe_dataset" => {
            let long = of(&format!("/{}", "x".repeat(5000)), json!({}));
            (json!({}), Over::Refused(long, "invalid"))
        }
        "query_dataset" => {
            let all = json!({"sql": "SELECT * FROM data", "max_bytes": 1024});
            (all.clone(), Over::Cut(of("$ROOT/large.txt", all)))
        }
        "process_large_dataset" => {
            let search =
                |bytes: usize| json!({"operation": "search", "pattern": "l", "max_bytes": bytes});
            (search(10_000), Over::Cut(of("$ROOT/large.txt", search(1024))))
        }
        _ => return None,
    };
    let (fine, denied) = (of("$ROOT/large.txt", more.clone()), of("$ROOT/.env", more));
    Some(Cases { fine, denied: Some(denied), over })
}

fn kind(result: &Value) -> &str {
    if result["isError"] == true {
        result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap()
    } else {
        "ok"
    }
}

#[test]
fn every_tool_has_a_denied_an_over_limit_and_a_cancelled_call() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/large.txt", "line\n".repeat(10_000));
    for path in ["editable.txt", "movable.txt", "deletable.txt"] {
        dirs.write(&format!("work/{path}"), "old");
    }
    std::fs::File::create(dirs.work().join("huge.png")).unwrap().set_len(6 << 20).unwrap();
    for at in 0..100 {
        dirs.write(&format!("work/many/{at}"), "");
        dirs.write(&format!("work/csv/{at}.csv"), "a\n1\n");
    }
    let keys = dirs.base().join("keys");
    let file = KeysFile::open(&keys).unwrap();
    let key = |name: &str| {
        let scopes =
            ["files:read", "files:write", "datasets:read", "databases:read", "databases:write"]
                .map(str::to_owned);
        file.new_key(name, &scopes, None).unwrap().1.reveal().to_owned()
    };
    let (anna, nobody) = (key("anna"), key("nobody"));
    let more = format!(
        "calls_max = 2\nwrite_bytes_max = 2000000\ncalls_per_principal_max = 1\nadmission_timeout_seconds = 1\n[auth]\nkeys_file = \"{}\"\n\
         [[principals]]\nname = \"anna\"\n[[principals]]\nname = \"nobody\"\ntools = []\n{}",
        keys.display(),
        database(&dirs)
    );
    let mut spec = Spec::new(dirs.base(), dirs.config(&more));
    spec.binary = custom_tool_binary();
    let server = spec.start();
    let send = |token: &str, tool: &str, arguments: &Value| {
        server.send(&Request::call(tool, arguments).bearer(token)).result()
    };
    // So many that a page does not hold them; the last is looked at.
    let mut job = String::new();
    for _ in 0..10 {
        let begun = json!({"path": dirs.fill_in("$ROOT/hello.txt"), "background": true});
        let begun = send(&anna, "count_lines", &begun);
        job = begun["structuredContent"]["job"]["job_id"].as_str().unwrap().to_owned();
    }
    wait_for(|| {
        let jobs = send(&anna, "list_jobs", &json!({}));
        let jobs = jobs["structuredContent"]["jobs"].as_array().unwrap();
        jobs.len() == 10 && jobs.iter().all(|job| job["status"] == "completed")
    });
    let list = server.send(&Request::modern("tools/list", &json!({})).bearer(&anna)).result();
    let tools: Vec<String> = list["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    for tool in &tools {
        let cases = cases(&dirs, tool, &job)
            .unwrap_or_else(|| panic!("{tool} has no cases; add them to this table"));
        assert_eq!(kind(&send(&anna, tool, &cases.fine)), "ok", "{tool}");
        assert_eq!(kind(&send(&nobody, tool, &cases.fine)), "denied", "{tool} without a grant");
        if let Some(arguments) = &cases.denied {
            assert_eq!(kind(&send(&anna, tool, arguments)), "denied", "{tool}");
        }
        match &cases.over {
            Over::Cut(arguments) => {
                let result = send(&anna, tool, arguments);
                assert!(texts(&result).join(" ").contains("truncated=true"), "{tool}: {result}");
            }
            Over::Refused(arguments, wanted) => {
                assert_eq!(kind(&send(&anna, tool, arguments)), *wanted, "{tool}");
            }
        }
    }
    every_tool_waits_its_turn(&server, &dirs, &anna, &tools, &job);
}

/// With the only place taken, a call is told so, and one that is given up while it waits is cancelled.
fn every_tool_waits_its_turn(
    server: &Server,
    dirs: &Dirs,
    token: &str,
    tools: &[String],
    job: &str,
) {
    for tool in tools {
        let before = server.audit().counts().0;
        let slow = json!({"path": dirs.fill_in("$ROOT/hello.txt"), "pause_ms": 1600});
        let mut holder = Conn::open(server.address);
        holder.write(&Request::call("count_words", &slow).bearer(token).bytes());
        wait_for(|| server.audit().counts().0 > before);
        let fine = cases(dirs, tool, job).unwrap().fine;
        let mut waiting = Conn::open(server.address);
        let request = Request::call(tool, &fine).bearer(token);
        waiting.write(&request.bytes());
        let mut given_up = Conn::open(server.address);
        given_up.write(&request.bytes());
        wait_for(|| server.audit().counts().0 == before + 3);
        drop(given_up);
        wait_for(|| server.audit().of_kind("outcome").last().unwrap()["fault"] == "cancelled");
        assert_eq!(kind(&waiting.read().unwrap().result()), "busy", "{tool}");
        assert_eq!(kind(&holder.read().unwrap().result()), "ok");
    }
}

fn wait_for(done: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
