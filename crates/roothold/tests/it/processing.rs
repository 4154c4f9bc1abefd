//! `process_large_dataset` through the server: each operation, its progress, and as a task or a job.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::jobs::{PATIENCE, begin, ended, eventually, is_running, job};
use crate::support::{Conn, Dirs, Request, Server, Spec, misfit};

/// A table of so many rows, of which one is bad.
pub(crate) fn table(rows: usize) -> String {
    let mut csv = String::from("id,city,amount,note\n");
    for row in 0..rows {
        let city = ["Oslo", "Bern", "Rome"][row % 3];
        let _ = writeln!(csv, "{row},{city},{}.5,\"a note, quoted {row}\"", row % 100);
        if row == 7 {
            csv.push_str("1,field,2.5,many,here\n");
        }
    }
    csv
}

/// A server whose chunks are small, over a table.
fn server(dirs: &Dirs, rows: usize, more: &str) -> Server {
    dirs.write("work/table.csv", table(rows));
    spec(dirs, "a", more).start()
}

pub(crate) fn spec<'a>(dirs: &'a Dirs, name: &str, more: &str) -> Spec<'a> {
    let state = dirs.base().join("jobs");
    let state = format!("\n[state]\ndir = \"{}\"\n", state.display());
    let engine = "[dataset_engine]\nchunk_bytes = 4096\nmemory_bytes_max = 67108864\nthreads = 2\n";
    let mut spec = Spec::new(dirs.base(), dirs.config(&format!("{more}{engine}{state}")));
    spec.audit = dirs.base().join(format!("audit-{name}"));
    std::fs::create_dir_all(&spec.audit).unwrap();
    spec
}

fn arguments(dirs: &Dirs, operation: &str, more: Value) -> Value {
    let mut all = json!({"data_source": dirs.fill_in("$ROOT/table.csv"), "operation": operation});
    let Value::Object(more) = more else { panic!("an object") };
    all.as_object_mut().unwrap().extend(more);
    all
}

pub(crate) fn process(dirs: &Dirs, operation: &str, more: Value) -> Request {
    Request::call("process_large_dataset", &arguments(dirs, operation, more))
}

fn with_progress(request: Request) -> Request {
    request.edit(|body| body["params"]["_meta"]["progressToken"] = "p".into())
}

fn found(server: &Server, request: &Request) -> Value {
    let result = server.send(request).result();
    assert_ne!(result["isError"], true, "{result}");
    result["structuredContent"]["result"].clone()
}

fn refused(server: &Server, request: &Request) -> String {
    let result = server.send(request).result();
    assert_eq!(result["isError"], true, "{result}");
    result["_meta"]["io.roothold/error"]["kind"].as_str().unwrap().to_owned()
}

/// Temporary files below a directory.
pub(crate) fn left(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".roothold-")).collect()
}

#[test]
fn every_operation_tells_what_it_found_in_both_forms() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 900, "");
    let schema = server.send(&Request::modern("tools/list", &json!({}))).result();
    let schema = schema["tools"].as_array().unwrap().iter();
    let schema = schema.filter(|tool| tool["name"] == "process_large_dataset");
    let schema = schema.map(|tool| tool["outputSchema"].clone()).next().unwrap();
    let both = |operation: &str, more: Value, words: &[&str]| {
        let reply = server.send(&process(&dirs, operation, more));
        let (result, text) = (reply.result(), reply.text());
        assert_ne!(result["isError"], true, "{result}");
        misfit(&schema, &result["structuredContent"]).unwrap();
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
        let value = result["structuredContent"]["result"].clone();
        assert_eq!((&value["operation"], &value["truncated"]), (&json!(operation), &json!(false)));
        // A search by line takes lines as they are.
        let by_line = operation == "search" && value["report"]["matches"][0]["text"].is_string();
        if !["sql", "sample"].contains(&operation) && !by_line {
            assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(900), &json!(1)), "{value}");
            assert_eq!(value["bad"][0]["line"], 10);
        }
        value
    };
    let profile = both("profile", json!({}), &["900 rows", "1 bad rows", "amount number", "top"]);
    let amount = &profile["report"]["columns"][2];
    assert_eq!((&amount["min"], &amount["max"]), (&json!(0.5), &json!(99.5)), "{amount}");
    let aggregates = json!([{"function": "count"}, {"function": "sum", "column": "id"}]);
    let of = json!({"group_by": ["city"], "aggregates": aggregates, "order_by": "city"});
    let aggregate = both("aggregate", of, &["city\tcount\tsum_id", "Bern\t300\t134850"]);
    assert_eq!(aggregate["report"]["result"][0], json!(["Bern", 300, 134_850]));
    let of = json!({"pattern": "QUOTED 7\"", "ignore_case": true, "context": 1});
    let search = both("search", of, &["total 1", "quoted 7", "quoted 6"]);
    assert_eq!(search["report"]["matches"][0]["line"], 9, "{search}");
    let of = json!({"pattern": "^R", "regex": true, "columns": ["city"], "max_matches": 3});
    let search = both("search", of, &["city=Rome"]);
    assert_eq!(search["report"]["total"], 300);
    assert_eq!(search["report"]["matches"].as_array().unwrap().len(), 3);
    let of = json!({"expected": [{"name": "id", "type": "integer"}, {"name": "gone"}]});
    let validate = both("validate", of, &["valid false", "gone"]);
    assert_eq!(validate["report"]["valid"], false);
    let sample = both("sample", json!({"rows": 3, "seed": 5}), &["line "]);
    assert_eq!(sample["report"]["sample"].as_array().unwrap().len(), 3);
    let sql =
        json!({"sql": "SELECT count(*) AS n FROM data WHERE city = $1", "parameters": ["Oslo"]});
    dirs.write("work/table.csv", table(900).replace("1,field,2.5,many,here\n", ""));
    let sql = both("sql", sql, &["n\n300"]);
    assert_eq!(sql["report"]["result"], json!([[300]]));
    assert!(server.metrics().contains("operation=\"profile\""));
}

#[test]
fn what_is_asked_for_wrongly_is_refused_before_anything_is_read() {
    let dirs = Dirs::with_fixture();
    dirs.write("ro/r.csv", "a\n1\n");
    let server = server(&dirs, 20, "");
    let at = |path: &str| json!({"output": dirs.fill_in(path)});
    for (operation, more, kind) in [
        ("profile", json!({"pattern": "x"}), "invalid"),
        ("profile", json!({"columns": ["gone"]}), "invalid"),
        ("search", json!({}), "invalid"),
        ("search", json!({"pattern": "(", "regex": true}), "invalid"),
        ("convert", json!({}), "invalid"),
        ("convert", at("$ROOT/x.xlsx"), "invalid"),
        ("convert", at("$ROOT/.env.csv"), "denied"),
        ("convert", at("$ROOT/protected/x.csv"), "denied"),
        ("convert", at("$RO/x.csv"), "denied"),
        ("convert", at("$OUT/x.csv"), "denied"),
        ("convert", at("$ROOT/table.csv"), "conflict"),
        ("sql", json!({"sql": "DELETE FROM data"}), "invalid"),
        ("profile", json!({"data_source": dirs.fill_in("$ROOT/.env")}), "denied"),
        ("profile", json!({"data_source": dirs.fill_in("$OUT/secret.txt")}), "denied"),
        ("profile", json!({"data_source": dirs.fill_in("$ROOT/none.csv")}), "not_found"),
        ("profile", json!({"data_source": "s3://bucket/key"}), "denied"),
        ("profile", json!({"max_bytes": 10}), "invalid"),
    ] {
        assert_eq!(
            refused(&server, &process(&dirs, operation, more.clone())),
            kind,
            "{operation} {more}"
        );
    }
    assert!(left(&dirs.work()).is_empty());
}

#[test]
fn an_answer_keeps_within_its_bytes_and_says_what_is_left_out() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 2000, "");
    let search = |max_bytes: usize| {
        process(
            &dirs,
            "search",
            json!({"pattern": "note", "max_matches": 1000, "max_bytes": max_bytes}),
        )
    };
    for max_bytes in [1024, 10_000] {
        let reply = server.send(&search(max_bytes));
        let (value, text) = (reply.result()["structuredContent"]["result"].clone(), reply.text());
        assert!(value.to_string().len() <= max_bytes && text.len() <= max_bytes);
        assert!(text.contains("truncated=true"), "{text}");
        let told = value["report"]["matches"].as_array().unwrap().len() as u64;
        assert_eq!(told + value["omitted"]["matches"].as_u64().unwrap(), 1000);
        assert_eq!(value["report"]["total"], 2001, "those in the heading and in bad rows, too");
    }
}

#[test]
fn progress_is_told_chunk_by_chunk_and_grows() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 2000, "");
    let events = server.send(&with_progress(process(&dirs, "profile", json!({})))).events();
    let (last, progress) = events.split_last().unwrap();
    assert!(progress.len() >= 10, "{events:?}");
    let done = |event: &Value| event["params"]["progress"].as_f64().unwrap();
    assert!(progress.windows(2).all(|pair| done(&pair[0]) < done(&pair[1])));
    for event in progress {
        assert_eq!(event["method"], "notifications/progress");
        assert!(event["params"]["message"].as_str().unwrap().starts_with("Processed: "), "{event}");
    }
    let size = std::fs::metadata(dirs.work().join("table.csv")).unwrap().len();
    let told = &progress.last().unwrap()["params"];
    for field in ["progress", "total"] {
        assert_eq!(told[field].to_string().trim_end_matches(".0"), size.to_string());
    }
    assert_eq!(last["result"]["structuredContent"]["result"]["rows"], 2000);
}

#[test]
fn long_work_is_a_task_for_who_takes_one_and_comes_to_the_same() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 2000, "[jobs]\ntask_bytes_min = 1000\n");
    let request = process(&dirs, "profile", json!({}));
    let whole = found(&server, &request);
    let created = server.send(&request.clone().with_tasks()).result();
    assert_eq!(created["resultType"], "task", "{created}");
    let id = created["taskId"].as_str().unwrap();
    let done = eventually("the task is completed", || {
        let task = server.send(&Request::task("tasks/get", id, &json!({}))).result();
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(done["result"]["structuredContent"]["result"], whole);
    // Short work is none.
    dirs.write("work/table.csv", "a\n1\n");
    let short = server.send(&request.with_tasks()).result();
    assert_eq!(short["structuredContent"]["result"]["rows"], 1, "{short}");
}

fn in_background(request: Request) -> Request {
    request.edit(|body| body["params"]["arguments"]["background"] = true.into())
}

#[test]
fn a_job_shows_what_it_has_found_by_now_and_then_all_of_it() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 20_000, "");
    let search = process(&dirs, "search", json!({"pattern": "Oslo,7.5", "max_matches": 1000}));
    let whole = found(&server, &search);
    let id = begin(&server, &in_background(search));
    let partial = eventually("something is found", || {
        let job = job(&server, &id);
        let is_partial = job["partial"].is_object() && !job["parts"].as_array()?.is_empty();
        assert!(job["result"].is_null() || is_partial, "too early: {job}");
        is_partial.then_some(job)
    });
    assert_eq!(partial["partial"]["operation"], "search", "{partial}");
    assert_eq!(partial["partial"]["bytes"], partial["partial_after"]["bytes_done"], "{partial}");
    assert_eq!(partial["partial"]["rows"], partial["partial_after"]["rows"], "{partial}");
    let done = ended(&server, &id);
    assert_eq!(done["job"]["status"], "completed", "{done}");
    assert_eq!(done["result"]["report"], whole["report"]);
    let size = std::fs::metadata(dirs.work().join("table.csv")).unwrap().len();
    assert_eq!(done["job"]["progress"]["bytes_done"], size);
    assert!(done["job"]["message"].as_str().unwrap().starts_with("Processed: "));
}

fn convert(dirs: &Dirs, output: &str, more: &Value) -> Request {
    let mut all = json!({"output": dirs.fill_in(output)});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    process(dirs, "convert", all)
}

#[test]
fn a_conversion_makes_a_file_that_can_be_read_again() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 900, "");
    let (mut sums, clean) = (Vec::new(), table(900).replace("1,field,2.5,many,here\n", ""));
    for name in ["out/t.parquet", "out/t.jsonl", "out/t.csv"] {
        let request = convert(&dirs, &format!("$ROOT/{name}"), &json!({}));
        let result = server.send(&request).result();
        let value = &result["structuredContent"]["result"];
        let written = std::fs::metadata(dirs.work().join(name)).unwrap().len();
        assert_eq!(
            (&value["output"]["bytes"], &value["rows"]),
            (&json!(written), &json!(900)),
            "{result}"
        );
        assert_eq!(result["content"][1]["type"], "resource_link", "{result}");
        let again = process(
            &dirs,
            "aggregate",
            json!({
                "data_source": dirs.fill_in(&format!("$ROOT/{name}")),
                "aggregates": [{"function": "sum", "column": "id"}, {"function": "sum", "column": "amount"}],
            }),
        );
        sums.push(found(&server, &again)["report"]["result"].clone());
        assert_eq!(refused(&server, &request), "conflict", "it is there already");
    }
    assert_eq!(sums, [json!([[404_550, 45_000.0]]), sums[0].clone(), sums[0].clone()], "{sums:?}");
    assert_eq!(std::fs::read_to_string(dirs.work().join("out/t.csv")).unwrap(), clean);
    let over = convert(&dirs, "$ROOT/out/t.csv", &json!({"overwrite": true, "columns": ["id"]}));
    assert_eq!(found(&server, &over)["output"]["created"], false);
    assert!(
        std::fs::read_to_string(dirs.work().join("out/t.csv")).unwrap().starts_with("id\n0\n1\n")
    );
    assert!(left(&dirs.work().join("out")).is_empty());
}

#[test]
fn a_conversion_as_a_job_makes_the_same_file() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 3000, "");
    let whole = found(&server, &convert(&dirs, "$ROOT/whole.parquet", &json!({})));
    let id = begin(&server, &in_background(convert(&dirs, "$ROOT/job.parquet", &json!({}))));
    let done = ended(&server, &id);
    assert_eq!(done["job"]["status"], "completed", "{done}\n{}", server.log());
    assert_eq!(done["result"]["output"]["hash"], whole["output"]["hash"]);
    let read = |name: &str| std::fs::read(dirs.work().join(name)).unwrap();
    assert_eq!(read("whole.parquet"), read("job.parquet"));
    assert!(left(&dirs.work()).is_empty());
    let listed = server.call("list_jobs", &json!({})).text();
    let about =
        dirs.fill_in("(convert $ROOT/table.csv to $ROOT/job.parquet) completed, submitted 20");
    assert!(listed.contains(&about), "{listed}");
    // What cannot come to anything is no job.
    let again = in_background(convert(&dirs, "$ROOT/job.parquet", &json!({})));
    assert_eq!(refused(&server, &again), "conflict");
    assert_eq!(server.call("list_jobs", &json!({})).text(), listed);
    let over = convert(&dirs, "$ROOT/job.parquet", &json!({"overwrite": true}));
    let id = begin(&server, &in_background(over));
    assert_eq!(ended(&server, &id)["job"]["status"], "completed");
}

#[test]
fn what_is_given_up_stops_and_leaves_no_file() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, 60_000, "");
    let id = begin(&server, &in_background(convert(&dirs, "$ROOT/job.csv", &json!({}))));
    eventually("it is in the middle", || is_running(&server, &id, 5));
    assert_eq!(left(&dirs.work()).len(), 1);
    server.call("cancel_job", &json!({"job_id": id})).result();
    let job = ended(&server, &id);
    assert_eq!(job["job"]["status"], "cancelled", "{job}");
    eventually("its file is gone", || left(&dirs.work()).is_empty().then_some(()));
    // The same when a client hangs up.
    let mut conn = Conn::open(server.address);
    conn.write(&with_progress(convert(&dirs, "$ROOT/call.csv", &json!({}))).bytes());
    assert_eq!(conn.read_head().unwrap().status, 200);
    eventually("it writes", || (left(&dirs.work()).len() == 1).then_some(()));
    drop(conn);
    eventually("its file is gone", || left(&dirs.work()).is_empty().then_some(()));
    eventually("its outcome is recorded", || {
        let (intents, outcomes) = server.audit().counts();
        (intents == outcomes).then_some(())
    });
    assert!(!dirs.work().join("job.csv").exists() && !dirs.work().join("call.csv").exists());
}

/// One chunk that takes long, and a query that would never end.
#[test]
fn cancelling_reaches_a_chunk_that_is_worked_on() {
    let dirs = Dirs::with_fixture();
    dirs.write("work/table.csv", format!("id,city\n{}", "1,Oslo\n".repeat(8_000_000)));
    let mut spec = spec(&dirs, "a", "");
    spec.config = spec.config.replace("chunk_bytes = 4096", "chunk_bytes = 268435456");
    let server = spec.start();
    let endless = json!({"sql": "SELECT count(*) FROM data a, data b WHERE a.id + b.id = 3"});
    for (operation, more) in [("profile", json!({})), ("sql", endless)] {
        let id = begin(&server, &in_background(process(&dirs, operation, more)));
        eventually("it runs", || (job(&server, &id)["job"]["status"] == "running").then_some(()));
        std::thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        server.call("cancel_job", &json!({"job_id": id})).result();
        let job = ended(&server, &id);
        assert_eq!(job["job"]["status"], "cancelled", "{job}");
        assert_ne!(job["job"]["progress"]["rows"], 8_000_000, "{job}");
        println!("{operation} ended {:?} after it was asked to", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(10));
        eventually("its call has ended, too", || {
            let (intents, outcomes) = server.audit().counts();
            (intents == outcomes).then_some(())
        });
    }
}

#[test]
fn a_job_over_a_source_that_changed_meanwhile_fails_and_says_so() {
    let dirs = Dirs::with_fixture();
    let mut first = server(&dirs, 60_000, "");
    let id = begin(&first, &in_background(convert(&dirs, "$ROOT/job.csv", &json!({}))));
    eventually("it is in the middle", || is_running(&first, &id, 5));
    first.signal(Signal::TERM);
    assert!(first.wait(PATIENCE).unwrap().success(), "{}", first.log());
    assert_eq!(left(&dirs.work()).len(), 1, "a waiting job keeps its file");
    dirs.write("work/table.csv", table(10));
    let second = spec(&dirs, "b", "").start();
    let job = ended(&second, &id);
    assert!(job["job"]["error"].as_str().unwrap().starts_with("conflict: "), "{job}");
    eventually("its file is gone", || left(&dirs.work()).is_empty().then_some(()));
}
