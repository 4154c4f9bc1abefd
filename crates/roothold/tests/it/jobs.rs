//! Jobs: as tools, as tasks of the protocol, and across replicas that share one store.

use std::time::{Duration, Instant};

use roothold_edge::auth::KeysFile;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Conn, Dirs, Reply, Request, Server, Spec, Stdio, custom_tool_binary, misfit};

pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The least that is read at a time: the steps of a file are about this large.
const LINE: &str = "a line of a file that is counted in steps\n";

pub(crate) fn dirs(lines: usize) -> Dirs {
    let dirs = Dirs::with_fixture();
    dirs.write("work/lines.txt", LINE.repeat(lines));
    dirs
}

/// A replica: its audit log is its own, the roots and the store are shared.
pub(crate) fn replica<'a>(dirs: &'a Dirs, name: &str, more: &str) -> Spec<'a> {
    let state = dirs.base().join("jobs");
    let state = format!("\n[state]\ndir = \"{}\"\n", state.display());
    let mut spec = Spec::new(dirs.base(), dirs.config(&format!("{more}{state}")));
    spec.binary = custom_tool_binary();
    spec.audit = dirs.base().join(format!("audit-{name}"));
    std::fs::create_dir_all(&spec.audit).unwrap();
    spec
}

pub(crate) fn start(dirs: &Dirs) -> Server {
    replica(dirs, "a", "").start()
}

pub(crate) fn count(dirs: &Dirs, pause_ms: u64) -> Request {
    let arguments = json!({"path": dirs.fill_in("$ROOT/lines.txt"), "pause_ms": pause_ms});
    Request::call("count_lines", &arguments)
}

pub(crate) fn background(dirs: &Dirs, pause_ms: u64) -> Request {
    count(dirs, pause_ms).edit(|body| body["params"]["arguments"]["background"] = true.into())
}

pub(crate) fn begin(server: &Server, request: &Request) -> String {
    let result = server.send(request).result();
    let id = &result["structuredContent"]["job"]["job_id"];
    id.as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
}

pub(crate) fn job(server: &Server, id: &str) -> Value {
    let reply = server.call("get_job", &json!({"job_id": id, "max_bytes": 100_000})).result();
    assert_ne!(reply["isError"], true, "{reply}");
    reply["structuredContent"].clone()
}

pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn ended(server: &Server, id: &str) -> Value {
    eventually("the job ends", || {
        let job = job(server, id);
        let status = job["job"]["status"].as_str().unwrap();
        (!["queued", "running", "waiting"].contains(&status)).then_some(job)
    })
}

pub(crate) fn is_running(server: &Server, id: &str, chunks: u64) -> Option<()> {
    let job = job(server, id)["job"].clone();
    assert!(job["ended_at"].is_null(), "too early: {job}");
    (job["progress"]["chunks"].as_u64().unwrap() >= chunks).then_some(())
}

fn task_error(reply: &Reply) -> (u16, i64, Value) {
    let body = reply.json();
    (reply.status, body["error"]["code"].as_i64().unwrap(), body["error"]["data"].clone())
}

#[test]
fn a_job_is_answered_at_once_worked_on_and_read_afterwards() {
    let dirs = dirs(10_000);
    let server = start(&dirs);
    let plain = server.send(&count(&dirs, 0)).result();
    assert_eq!(plain["structuredContent"]["result"]["lines"], 10_000);
    assert_eq!(
        server.call("list_jobs", &json!({})).result()["structuredContent"]["jobs"],
        json!([])
    );
    let id = begin(&server, &background(&dirs, 0));
    let done = ended(&server, &id);
    assert_eq!(done["job"]["status"], "completed", "{done}");
    assert_eq!(done["result"], plain["structuredContent"]["result"]);
    assert_eq!(done["job"]["progress"]["bytes_done"], LINE.len() * 10_000);
    let listed = server.call("list_jobs", &json!({})).result();
    assert_eq!(listed["structuredContent"]["jobs"][0], done["job"]);
    let text = server.call("get_job", &json!({"job_id": id})).text();
    assert!(text.contains("completed") && text.contains("10000 lines in"), "{text}");
    assert!(text.contains("lines.txt) completed, submitted 20"), "{text}");
    // Each run is a call: policy, intent and outcome once more.
    let audit = server.audit();
    let runs = audit.of_kind("intent").filter(|line| line["request_id"] == id.as_str()).count();
    assert_eq!(runs, 1);
    eventually("each intent has its outcome", || {
        let (intents, outcomes) = server.audit().counts();
        (intents == outcomes).then_some(())
    });
    let metrics = server.metrics();
    for line in [
        "roothold_jobs_submitted_total{gen_ai_tool_name=\"count_lines\"} 1",
        "roothold_job_runs_total{gen_ai_tool_name=\"count_lines\",outcome=\"completed\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(server.gauge("roothold_jobs_running").abs() < 0.1);
}

#[test]
fn what_the_job_tools_answer_fits_their_schemas() {
    let dirs = dirs(10_000);
    let server = start(&dirs);
    let tools = server.send(&Request::modern("tools/list", &json!({}))).result();
    let schema = |name: &str| {
        let tools = tools["tools"].as_array().unwrap();
        tools.iter().find(|tool| tool["name"] == name).unwrap()["outputSchema"].clone()
    };
    let fits = |name: &str, request: &Request| {
        let result = server.send(request).result();
        misfit(&schema(name), &result["structuredContent"]).unwrap();
        result
    };
    fits("count_lines", &count(&dirs, 0));
    let begun = fits("count_lines", &background(&dirs, 200));
    let id = begun["structuredContent"]["job"]["job_id"].as_str().unwrap();
    let of = json!({"job_id": id});
    eventually("it runs", || is_running(&server, id, 1));
    let running = fits("get_job", &Request::call("get_job", &of));
    let (partial, after) =
        (&running["structuredContent"]["partial"], &running["structuredContent"]["partial_after"]);
    assert!(partial["lines"].as_u64().unwrap() > 0, "{running}");
    assert_eq!(partial["lines"], after["rows"], "{running}");
    // As the answer reads in the end, and under a word that it is not yet.
    let text = running["content"][0]["text"].as_str().unwrap();
    let counted = format!("{} lines in {} bytes", partial["lines"], partial["bytes"]);
    assert!(text.contains("\npartial, after ") && text.contains(&counted), "{text}");
    fits("list_jobs", &Request::call("list_jobs", &json!({})));
    fits("cancel_job", &Request::call("cancel_job", &of));
    assert_eq!(ended(&server, id)["job"]["status"], "cancelled");
    fits("get_job", &Request::call("get_job", &of));
}

#[test]
fn a_cancelled_job_stops_within_its_step() {
    let dirs = dirs(20_000);
    let server = start(&dirs);
    let id = begin(&server, &background(&dirs, 5000));
    eventually("it began", || (job(&server, &id)["job"]["status"] == "running").then_some(()));
    server.call("cancel_job", &json!({"job_id": id})).result();
    let asked = Instant::now();
    let job = ended(&server, &id);
    assert_eq!(job["job"]["status"], "cancelled", "{job}");
    assert!(asked.elapsed() < Duration::from_secs(4), "the step alone takes 5 s");
    eventually("the call of the job ends", || {
        let audit = server.audit();
        audit.of_kind("outcome").any(|line| line["fault"] == "cancelled").then_some(())
    });
}

#[test]
fn jobs_are_their_owners_alone() {
    let dirs = dirs(100);
    let keys = dirs.base().join("keys");
    let file = KeysFile::open(&keys).unwrap();
    let key = |name: &str, scopes: &[&str]| {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        file.new_key(name, &scopes, None).unwrap().1.reveal().to_owned()
    };
    let (anna, bert) = (key("anna", &["files:read"]), key("bert", &["files:read"]));
    let ops = key("ops", &["files:read", "jobs:manage"]);
    let auth = format!("[auth]\nkeys_file = \"{}\"\n", keys.display());
    let server = replica(&dirs, "a", &auth).start();
    let send = |token: &str, request: Request| server.send(&request.bearer(token));
    let call = |token: &str, tool: &str, arguments: Value| {
        send(token, Request::call(tool, &arguments)).result()
    };
    let begun = send(&anna, background(&dirs, 0)).result();
    let id = begun["structuredContent"]["job"]["job_id"].as_str().unwrap().to_owned();
    let own = eventually("it is done", || {
        let job = call(&anna, "get_job", json!({"job_id": id}));
        (job["structuredContent"]["job"]["status"] == "completed").then_some(job)
    });
    assert_eq!(own["structuredContent"]["result"]["lines"], 100);
    // For others it is as if it were not there, whatever they try.
    let missing = format!("job-{}", "0".repeat(32));
    for tool in ["get_job", "cancel_job"] {
        let theirs = call(&bert, tool, json!({"job_id": id})).to_string();
        let none = call(&bert, tool, json!({"job_id": missing})).to_string();
        assert_eq!(theirs.replace(&id, &missing), none);
        assert_eq!(call(&bert, tool, json!({"job_id": id, "owner": "bert"})).to_string(), theirs);
        for owner in ["anna", "*"] {
            let reply = send(&bert, Request::call(tool, &json!({"job_id": id, "owner": owner})));
            assert_eq!(reply.status, 403, "{tool} {owner}");
        }
    }
    for method in ["tasks/get", "tasks/cancel"] {
        for task in [&id, &missing] {
            let error = task_error(&send(&bert, Request::task(method, task, &json!({}))));
            assert_eq!((error.0, error.1), (200, -32602), "{method} {task}");
        }
    }
    assert_eq!(call(&bert, "list_jobs", json!({}))["structuredContent"]["jobs"], json!([]));
    // Who manages jobs sees that they are there, and nothing of what they found.
    for owner in ["anna", "*"] {
        let seen = call(&ops, "get_job", json!({"job_id": id, "owner": owner}));
        let seen = &seen["structuredContent"];
        assert_eq!(
            (&seen["job"]["owner"], &seen["job"]["status"]),
            (&json!("anna"), &json!("completed"))
        );
        assert!(seen["result"].is_null() && seen["partial"].is_null(), "{seen}");
        assert!(seen["job"]["message"].is_null() && seen["job"]["about"].is_null(), "{seen}");
        let listed = call(&ops, "list_jobs", json!({"owner": owner}));
        assert_eq!(listed["structuredContent"]["jobs"].as_array().unwrap().len(), 1);
    }
    assert_eq!(call(&ops, "list_jobs", json!({}))["structuredContent"]["jobs"], json!([]));
}

#[test]
fn a_client_with_the_extension_gets_a_task_that_is_there_at_once() {
    let dirs = dirs(10_000);
    let server = start(&dirs);
    let reply = server.send(&count(&dirs, 100).with_tasks());
    let created = reply.result();
    assert_eq!((&created["resultType"], &created["status"]), (&json!("task"), &json!("working")));
    let id = created["taskId"].as_str().unwrap();
    assert!(created["ttlMs"].as_u64().unwrap() >= 86_400_000 && created["pollIntervalMs"].is_u64());
    let task = |method: &str| server.send(&Request::task(method, id, &json!({})));
    let first = task("tasks/get").result();
    assert_eq!((&first["resultType"], &first["taskId"]), (&json!("complete"), &json!(id)));
    let done = eventually("it is done", || {
        let task = task("tasks/get").result();
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(done["result"]["structuredContent"]["result"]["lines"], 10_000, "{done}");
    assert_eq!(task("tasks/cancel").result()["resultType"], "complete", "it has ended: no error");
    // The header must name the task, and the request the extension.
    let wrong = Request::task("tasks/get", id, &json!({})).with("Mcp-Name", "other");
    assert_eq!(server.send(&wrong).json()["error"]["code"], -32020);
    let undeclared = Request::task("tasks/get", id, &json!({})).edit(|body| {
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    });
    let (status, code, data) = task_error(&server.send(&undeclared));
    assert_eq!((status, code), (400, -32021));
    assert!(
        data["requiredCapabilities"]["extensions"]["io.modelcontextprotocol/tasks"].is_object()
    );
    for odd in ["", "job-1", "../../etc/passwd", &"x".repeat(10_000)] {
        let error = task_error(&server.send(&Request::task("tasks/get", odd, &json!({}))));
        assert_eq!(error.1, -32602, "{odd}");
    }
    // Who does not declare it is answered as ever, also with a task's argument of old.
    let plain = server.send(&count(&dirs, 0).edit(|body| {
        body["params"]["task"] = json!({"ttl": 1});
    }));
    assert_eq!(plain.result()["structuredContent"]["result"]["lines"], 10_000);
}

#[test]
fn a_failed_call_is_a_completed_task_with_its_error() {
    let dirs = dirs(100);
    let server = start(&dirs);
    let begun = server.send(&background(&dirs, 0).edit(|body| {
        body["params"]["arguments"]["path"] = dirs.fill_in("$ROOT/nothing.txt").into();
    }));
    let id = begun.result()["structuredContent"]["job"]["job_id"].as_str().unwrap().to_owned();
    let job = ended(&server, &id);
    assert_eq!(job["job"]["status"], "failed", "{job}");
    assert!(job["job"]["error"].as_str().unwrap().starts_with("not_found: "), "{job}");
    let task = server.send(&Request::task("tasks/get", &id, &json!({}))).result();
    assert_eq!((&task["status"], &task["result"]["isError"]), (&json!("completed"), &json!(true)));
    assert_eq!(task["result"]["_meta"]["io.roothold/error"]["kind"], "not_found");
}

#[test]
fn progress_is_streamed_to_who_asks_and_is_no_job() {
    let dirs = dirs(10_000);
    let server = start(&dirs);
    let request = count(&dirs, 0).edit(|body| {
        body["params"]["_meta"]["progressToken"] = "p".into();
    });
    let events = server.send(&request).events();
    let progress: Vec<&Value> =
        events.iter().filter(|event| event["method"] == "notifications/progress").collect();
    assert!(progress.len() >= 3, "{events:?}");
    let done = |event: &Value| event["params"]["progress"].as_f64().unwrap();
    assert!(progress.windows(2).all(|pair| done(pair[0]) < done(pair[1])));
    for event in &progress {
        assert!(event["params"]["message"].as_str().unwrap().starts_with("Processed: "), "{event}");
    }
    let result = &events.last().unwrap()["result"];
    assert_eq!(result["structuredContent"]["result"]["lines"], 10_000);
    assert_eq!(
        server.call("list_jobs", &json!({})).result()["structuredContent"]["jobs"],
        json!([])
    );
}

#[test]
fn a_subscription_tells_of_a_task_until_it_has_ended() {
    let dirs = dirs(10_000);
    let server = start(&dirs);
    let id = begin(&server, &background(&dirs, 300));
    let unknown = format!("job-{}", "0".repeat(32));
    let filter = json!({"notifications": {"taskIds": [id, unknown, "odd"]}});
    let listen = Request::modern("subscriptions/listen", &filter).with_tasks();
    let mut conn = Conn::open(server.address);
    conn.write(&listen.bytes());
    assert_eq!(conn.read_head().unwrap().status, 200);
    let mut message = || loop {
        let line = conn.line().expect("the stream goes on");
        let data = line.strip_prefix("data:").map(str::trim).unwrap_or_default().to_owned();
        if !data.is_empty() {
            return serde_json::from_str::<Value>(&data).unwrap();
        }
    };
    let acknowledged = message();
    assert_eq!(acknowledged["params"]["notifications"], json!({"taskIds": [id]}));
    let (mut told, mut last) = (0, Value::Null);
    while last["params"]["status"] != "completed" {
        last = message();
        assert_eq!(last["method"], "notifications/tasks", "{last}");
        assert_eq!(last["params"]["taskId"], id);
        assert_eq!(last["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
        told += 1;
    }
    assert!(told >= 3, "as it was, while it ran, and at its end: {told}");
    let task = server.send(&Request::task("tasks/get", &id, &json!({}))).result();
    assert_eq!(last["params"]["result"], task["result"]);
    drop(conn);
}

/// The same over stdio, where a line has no headers and its sender is known.
#[test]
fn tasks_and_subscriptions_to_them_work_over_stdio() {
    let dirs = dirs(10_000);
    let mut stdio = Stdio::start_by(
        std::process::Command::new(custom_tool_binary()),
        dirs.base(),
        &dirs.config(""),
        &dirs.base().join("audit"),
    );
    let meta = |tasks: bool| {
        let declared = if tasks { json!({"io.modelcontextprotocol/tasks": {}}) } else { json!({}) };
        json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"extensions": declared},
        })
    };
    let count = json!({"path": dirs.fill_in("$ROOT/lines.txt"), "pause_ms": 200});
    let call = json!({"name": "count_lines", "arguments": count, "_meta": meta(true)});
    let created = stdio.request("tools/call", &call).0;
    assert_eq!(created["result"]["resultType"], "task", "{created}");
    let id = created["result"]["taskId"].clone();
    let of = |tasks| json!({"taskId": id, "_meta": meta(tasks)});
    assert_eq!(stdio.request("tasks/get", &of(true)).0["result"]["status"], "working");
    assert_eq!(stdio.request("tasks/get", &of(false)).0["error"]["code"], -32021);
    let filter = json!({"taskIds": [id, "job-1"]});
    let undeclared = json!({"notifications": filter, "_meta": meta(false)});
    assert_eq!(stdio.request("subscriptions/listen", &undeclared).0["error"]["code"], -32021);
    stdio.write(&json!({"jsonrpc": "2.0", "id": "listen", "method": "subscriptions/listen",
        "params": {"notifications": filter, "_meta": meta(true)}}));
    let acknowledged = stdio.notification();
    assert_eq!(acknowledged["params"]["notifications"], json!({"taskIds": [id]}), "{acknowledged}");
    let mut last = Value::Null;
    while last["params"]["status"] != "completed" {
        last = stdio.notification();
        assert_eq!(
            (&last["method"], &last["params"]["taskId"]),
            (&json!("notifications/tasks"), &id)
        );
        assert_eq!(last["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "listen");
    }
    let result = &last["params"]["result"]["structuredContent"]["result"];
    assert_eq!(result["lines"], 10_000, "{last}");
    assert!(stdio.end().success());
}

#[test]
fn no_more_jobs_are_taken_in_than_one_may_have() {
    let dirs = dirs(20_000);
    let limits = "[jobs]\nlive_per_principal_max = 2\nrunning_max = 1\n";
    let server = replica(&dirs, "a", limits).start();
    let ids = [(); 2].map(|()| begin(&server, &background(&dirs, 1000)));
    let refused = server.send(&background(&dirs, 0)).result();
    assert_eq!(refused["_meta"]["io.roothold/error"]["kind"], "limit", "{refused}");
    for id in &ids {
        server.call("cancel_job", &json!({"job_id": id})).result();
        assert_eq!(ended(&server, id)["job"]["status"], "cancelled");
    }
    let id = begin(&server, &background(&dirs, 0));
    assert_eq!(ended(&server, &id)["job"]["status"], "completed");
}

#[test]
fn a_job_finds_only_what_policy_allows_when_it_runs() {
    let dirs = dirs(20_000);
    let mut server = start(&dirs);
    let id = begin(&server, &background(&dirs, 300));
    eventually("it is in the middle", || is_running(&server, &id, 2));
    server.signal(Signal::KILL);
    server.wait(PATIENCE).unwrap();
    let stricter = replica(&dirs, "b", "[policy]\nexclude = [\"lines.txt\"]\n").start();
    let job = ended(&stricter, &id);
    assert_eq!(job["job"]["status"], "failed", "{job}");
    assert!(job["job"]["error"].as_str().unwrap().starts_with("denied: "), "{job}");
    assert!(job["result"].is_null());
}
