//! `query_dataset`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{asked, query, server, workspace};
use crate::paging::pages;
use crate::support::{Conn, Request, find_canary, texts};

#[test]
fn one_source_is_the_table_data_and_many_have_names() {
    let dirs = workspace();
    let more = dirs.fill_in(
        "[[datasets]]\nname = \"sales\"\nfiles = [\"$ROOT/data/?.csv\"]\ntypes = { amount = \"decimal\" }\n",
    );
    let server = server(&dirs, &more);
    let at = |path: &str| dirs.fill_in(path);
    for (source, sql, rows) in [
        ("$ROOT/data/a.csv", "SELECT count(*), sum(amount) FROM data", json!([[3, 7.0]])),
        (
            "$ROOT/data/[ab].csv",
            "SELECT name FROM data WHERE id >= 2 ORDER BY id DESC",
            json!([["Cleo"], [null], ["Bo, Jr"]]),
        ),
        ("sales", "SELECT max(amount) FROM data", json!([["10.0000000000"]])),
        (
            "$ROOT/data/people.jsonl",
            "SELECT city FROM data ORDER BY city",
            json!([["Bern"], ["Ulm"]]),
        ),
        (
            "$ROOT/data/deep/er/server.log",
            "SELECT number FROM data WHERE line LIKE '%error%'",
            json!([[2]]),
        ),
        ("file://$ROOT/data/odd%5B1%5D*.csv", "SELECT n FROM data", json!([[7]])),
    ] {
        let answer = query(&server, &at(source), sql).unwrap();
        assert_eq!(answer["rows"], rows, "{source}: {answer}");
        assert_eq!(answer["untrusted"], true);
    }
    let joined = asked(
        &server,
        "query_dataset",
        &json!({
            "data_source": "sales",
            "tables": {"people": at("$ROOT/data/people.jsonl")},
            "sql": "SELECT name, city FROM data JOIN people USING (id) WHERE data.id = $1 ORDER BY 1",
            "parameters": [2],
        }),
    );
    assert_eq!(joined.unwrap()["rows"], json!([["Bo, Jr", "Bern"]]));
    let actions: Vec<Value> =
        server.audit().of_kind("intent").last().unwrap()["actions"].as_array().unwrap().clone();
    let targets: Vec<&str> =
        actions.iter().map(|action| action["target"].as_str().unwrap()).collect();
    assert_eq!(
        targets,
        ["dataset sales", &at("$ROOT/data"), "datasets", &at("$ROOT/data/people.jsonl")]
    );
}

#[test]
fn parameters_are_values_and_never_sql() {
    let dirs = workspace();
    let server = server(&dirs, "");
    let source = dirs.fill_in("$ROOT/data/a.csv");
    let with = |sql: &str, parameters: Value| {
        let arguments = json!({"data_source": source, "sql": sql, "parameters": parameters});
        asked(&server, "query_dataset", &arguments)
    };
    let evil = "' OR 1=1; DROP TABLE data --";
    let answer = with("SELECT $1, count(*) FROM data WHERE name = $1", json!([evil])).unwrap();
    assert_eq!(answer["rows"], json!([[evil, 0]]));
    let answer =
        with("SELECT name FROM data WHERE id = $1 AND amount < $2", json!([1, 9.5])).unwrap();
    assert_eq!(answer["rows"], json!([["Anna"]]));
    for (sql, parameters) in [
        ("SELECT $1 FROM data", json!([])),
        ("SELECT $1 FROM data", json!([[1, 2]])),
        ("SELECT $1 FROM data", json!([{"a": 1}])),
    ] {
        let (kind, text) = with(sql, parameters.clone()).unwrap_err();
        assert_eq!(kind, "invalid", "{parameters}: {text}");
    }
}

#[test]
fn pages_walked_to_the_end_hold_each_row_once() {
    let dirs = workspace();
    let lines: String =
        (0..3000).map(|at| format!("{at},\"näme {at} \u{1f600}\",{}\n", at * 7)).collect();
    dirs.write("work/data/many.csv", format!("id,name,v\n{lines}"));
    let server = server(&dirs, "");
    let arguments = json!({
        "data_source": dirs.fill_in("$ROOT/data/many.csv"),
        "sql": "SELECT id, name, v FROM data ORDER BY v DESC",
    });
    for bytes_max in [1024, 5000, 40_000] {
        let parts = pages(&server, "query_dataset", &arguments, bytes_max);
        let mut ids = BTreeSet::new();
        let mut before = i64::MAX;
        for part in &parts {
            let page = &part["structuredContent"];
            assert_eq!(page["stable"], true);
            let text = &texts(part)[0];
            for row in page["rows"].as_array().unwrap() {
                let id = row[0].as_i64().unwrap();
                assert!(id < before && ids.insert(id), "{id} by {bytes_max}");
                before = id;
                assert!(text.contains(&format!("{id}\tnäme {id} \u{1f600}\t{}", id * 7)), "{text}");
            }
        }
        assert_eq!(ids.len(), 3000, "by {bytes_max}");
        if bytes_max == 1024 {
            break_off_after_a_few(parts.len());
        }
    }
}

fn break_off_after_a_few(pages: usize) {
    assert!(pages > 30, "{pages} pages of 1 KiB");
}

#[test]
fn an_order_that_is_not_fixed_is_said() {
    let dirs = workspace();
    let lines = "1\n".repeat(5000);
    dirs.write("work/data/same.csv", format!("a\n{lines}"));
    let server = server(&dirs, "");
    let source = dirs.fill_in("$ROOT/data/same.csv");
    let small = json!({"data_source": source, "sql": "SELECT a FROM data", "max_bytes": 2048});
    let page = asked(&server, "query_dataset", &small).unwrap();
    assert_eq!((&page["stable"], &page["truncated"]), (&json!(false), &json!(true)));
    assert!(page["notes"].to_string().contains("ORDER BY"), "{page}");
    let whole = query(&server, &source, "SELECT count(*) FROM data").unwrap();
    assert_eq!((&whole["stable"], whole["notes"].is_null()), (&json!(true), true));
}

#[test]
fn a_cursor_is_good_for_its_call_its_caller_and_its_files() {
    let dirs = workspace();
    let lines: String = (0..2000).map(|at| format!("{at}\n")).collect();
    dirs.write("work/data/n.csv", format!("n\n{lines}"));
    let server = server(&dirs, "");
    let mut arguments = json!({
        "data_source": dirs.fill_in("$ROOT/data/n.csv"),
        "sql": "SELECT n FROM data ORDER BY n",
        "max_bytes": 1024,
    });
    let first = asked(&server, "query_dataset", &arguments).unwrap();
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    arguments["cursor"] = cursor.as_str().into();
    let second = asked(&server, "query_dataset", &arguments).unwrap();
    let seen = first["rows"].as_array().unwrap().len();
    assert_eq!(second["rows"][0], json!([seen]));
    let mut other = arguments.clone();
    other["sql"] = "SELECT n FROM data ORDER BY n DESC".into();
    assert_eq!(asked(&server, "query_dataset", &other).unwrap_err().0, "invalid");
    let mut tampered = arguments.clone();
    tampered["cursor"] = cursor.replace(&cursor[20..22], "zz").into();
    assert_eq!(asked(&server, "query_dataset", &tampered).unwrap_err().0, "invalid");
    let mut file =
        std::fs::OpenOptions::new().append(true).open(dirs.work().join("data/n.csv")).unwrap();
    writeln!(file, "2000").unwrap();
    let (kind, text) = asked(&server, "query_dataset", &arguments).unwrap_err();
    assert_eq!(kind, "conflict");
    assert!(text.contains("begin again without cursor"), "{text}");
}

#[test]
fn what_is_no_select_over_the_given_tables_is_refused() {
    let dirs = workspace();
    let server = server(&dirs, "");
    let source = dirs.fill_in("$ROOT/data/a.csv");
    let outside = dirs.fill_in("$OUT/out.csv");
    for sql in [
        "",
        "DROP TABLE data",
        "INSERT INTO data VALUES (1, 'x', 2)",
        "UPDATE data SET id = 1",
        "DELETE FROM data",
        "CREATE TABLE t AS SELECT * FROM data",
        "CREATE VIEW v AS SELECT * FROM data",
        &format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{outside}'"),
        &format!("COPY data TO '{outside}.copy' STORED AS CSV"),
        &format!("EXPLAIN COPY data TO '{outside}.copy' STORED AS CSV"),
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT * FROM data",
        "SET datafusion.execution.batch_size = 1",
        "SHOW ALL",
        "SHOW TABLES",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "BEGIN",
        "SELECT 1; DROP TABLE data",
        "SELECT 1; SELECT 2",
        "SELECT * INTO t FROM data",
        "SELECT * FROM data FOR UPDATE",
        "WITH x AS (DELETE FROM data RETURNING *) SELECT * FROM x",
        &format!("SELECT * FROM '{outside}'"),
        &format!("SELECT * FROM \"{outside}\""),
        &format!("SELECT * FROM read_csv('{outside}')"),
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM information_schema.df_settings",
        "SELECT * FROM parquet_metadata('x')",
        "SELECT * FROM generate_series(1, 1000000000)",
        "SELECT * FROM other",
        "SELECT secret FROM data",
        "SELECT version()",
        "SELECT (((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))",
    ] {
        let (kind, text) = query(&server, &source, sql).unwrap_err();
        assert!(kind == "invalid" || kind == "limit", "{sql}: {kind} {text}");
        assert_eq!(find_canary(text.as_bytes()), None, "{sql}: {text}");
        assert!(
            !text.contains(&*dirs.base().to_string_lossy()) || sql.contains(&outside),
            "{sql}: {text}"
        );
    }
    assert!(!dirs.outside().join("out.csv.copy").exists());
    let long = format!("SELECT {} FROM data", vec!["id"; 40_000].join("+"));
    assert_eq!(query(&server, &source, &long).unwrap_err().0, "limit");
    assert_eq!(
        query(&server, &source, "SELECT id FROM data ORDER BY id").unwrap()["rows"][0],
        json!([1])
    );
}

#[test]
fn arguments_that_cannot_be_say_what_to_write() {
    let dirs = workspace();
    let server = server(&dirs, "");
    let source = dirs.fill_in("$ROOT/data/a.csv");
    for (arguments, says) in [
        (json!({"sql": "SELECT 1"}), "data_source"),
        (json!({"sql": "SELECT 1", "data_source": ""}), "empty"),
        (json!({"sql": "SELECT 1", "tables": {"Bad": source}}), "lower-case"),
        (json!({"sql": "SELECT 1", "tables": {"a b": source}}), "lower-case"),
        (json!({"sql": "SELECT 1", "tables": {"": source}}), "lower-case"),
        (json!({"sql": "SELECT 1", "tables": {"data": source}, "data_source": source}), "`data`"),
        (json!({"sql": "SELECT 1", "data_source": "sales"}), "list_datasets"),
        (json!({"data_source": source}), "sql"),
        (json!({"sql": "SELECT 1", "data_source": source, "sqll": 1}), "sqll"),
    ] {
        let (kind, text) = asked(&server, "query_dataset", &arguments).unwrap_err();
        let is_path = kind == "denied" || kind == "not_found";
        assert!(
            kind == "invalid" || (is_path && says == "list_datasets"),
            "{arguments}: {kind} {text}"
        );
        assert!(text.contains(says), "{arguments}: {text}");
    }
}

#[test]
fn what_is_excluded_or_denied_is_in_no_result() {
    let dirs = workspace();
    let server = server(&dirs, "");
    for (source, kind) in [
        ("$ROOT/data/credentials.csv", "denied"),
        ("$ROOT/data/secrets/c.csv", "denied"),
        ("$ROOT/data/secrets/*.csv", "not_found"),
        ("$ROOT/data/out.csv", "denied"),
        ("$OUT/out.csv", "denied"),
        ("$OUT/*.csv", "denied"),
        ("$ROOT/data/.e*", "not_found"),
        ("$ROOT/data/cred*", "not_found"),
        ("/**", "denied"),
    ] {
        let (seen, text) = query(&server, &dirs.fill_in(source), "SELECT * FROM data").unwrap_err();
        assert_eq!(seen, kind, "{source}: {text}");
        assert_eq!(find_canary(text.as_bytes()), None, "{source}: {text}");
    }
    let text = json!({"format": "text"});
    let all = asked(
        &server,
        "query_dataset",
        &json!({
            "data_source": dirs.fill_in("$ROOT/**/*"),
            "sql": "SELECT line FROM data",
            "options": text,
        }),
    )
    .unwrap();
    assert!(all["rows"].as_array().unwrap().len() > 10, "{all}");
    assert_eq!(find_canary(all.to_string().as_bytes()), None, "{all}");
}

#[test]
fn hidden_columns_are_in_no_expression_by_name_or_by_path() {
    let dirs = workspace();
    dirs.write("work/data/staff.csv", "id,name,Salary\n1,Anna,CANARY-1\n2,Bo,CANARY-2\n");
    let more = dirs.fill_in(
        "[[datasets]]\nname = \"staff\"\nfiles = [\"$ROOT/data/staff.csv\"]\nhidden_columns = [\"salary\"]\n",
    );
    let server = server(&dirs, &more);
    for source in
        ["staff", &dirs.fill_in("$ROOT/data/staff.csv"), &dirs.fill_in("$ROOT/data/sta*.csv")]
    {
        let all = query(&server, source, "SELECT * FROM data ORDER BY id").unwrap();
        assert_eq!(all["rows"], json!([[1, "Anna"], [2, "Bo"]]), "{source}");
        for sql in [
            "SELECT \"Salary\" FROM data",
            "SELECT d.\"Salary\" AS x FROM data d",
            "SELECT count(DISTINCT \"Salary\") FROM data",
            "SELECT id FROM data ORDER BY \"Salary\"",
            "SELECT id FROM data WHERE \"Salary\" LIKE 'CANARY-1%'",
            "SELECT id FROM data GROUP BY id, \"Salary\"",
            "SELECT cast(\"Salary\" AS int) FROM data",
        ] {
            let (kind, text) = query(&server, source, sql).unwrap_err();
            assert_eq!(kind, "invalid", "{sql}");
            assert_eq!(find_canary(text.as_bytes()), None, "{sql}: {text}");
            // The names that the planner offers instead are those that are there.
            let offered = text.split("Valid fields").nth(1).unwrap_or_default();
            assert!(!offered.to_lowercase().contains("salary"), "{sql}: {text}");
        }
        for options in
            [json!({"format": "text"}), json!({"header": false}), json!({"delimiter": ";"})]
        {
            let arguments =
                json!({"data_source": source, "sql": "SELECT * FROM data", "options": options});
            assert_eq!(asked(&server, "query_dataset", &arguments).unwrap_err().0, "invalid");
        }
        let described =
            asked(&server, "describe_dataset", &json!({"data_source": source})).unwrap();
        assert_eq!(find_canary(described.to_string().as_bytes()), None);
        assert_eq!(described["columns"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_query_without_end_ends_with_its_time_and_with_its_caller() {
    let dirs = workspace();
    let endless =
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r";
    let huge = "SELECT count(*) FROM data a, data b, data c, data d, data e WHERE a.id + b.id + c.id + d.id + e.id < 0";
    let lines: String = (0..2000).map(|at| format!("{at}\n")).collect();
    dirs.write("work/data/n.csv", format!("id\n{lines}"));
    let server = server(&dirs, "[dataset_engine]\nquery_timeout_seconds = 2\nqueries_max = 1\n");
    let source = dirs.fill_in("$ROOT/data/n.csv");
    for sql in [endless, huge] {
        let began = Instant::now();
        let (kind, text) = query(&server, &source, sql).unwrap_err();
        // The other one may first hold as much as it may.
        assert!(kind == "timeout" || (kind == "limit" && sql == huge), "{sql}: {text}");
        let says =
            "the call ran longer than 2 s; narrow WHERE, or let process_large_dataset run it";
        assert!(kind == "limit" || text.contains(says), "{text}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        // Its only place is free again.
        query(&server, &source, "SELECT count(*) FROM data").unwrap();
    }
    let mut conn = Conn::open(server.address);
    let arguments = json!({"data_source": source, "sql": endless});
    conn.write(&Request::call("query_dataset", &arguments).bytes());
    std::thread::sleep(Duration::from_millis(300));
    drop(conn);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let audit = server.audit();
        let (intents, outcomes) = audit.counts();
        if intents == outcomes && audit.of_kind("outcome").any(|line| line["fault"] == "cancelled")
        {
            break;
        }
        assert!(Instant::now() < until, "a caller that is gone is not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    query(&server, &source, "SELECT count(*) FROM data").unwrap();
}

#[test]
fn what_does_not_fit_into_memory_is_spilled_or_refused_and_nothing_is_left() {
    let dirs = workspace();
    let lines: String = (0..400_000_u64)
        .map(|at| format!("{at},{}\n", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    dirs.write("work/data/big.csv", format!("id,h\n{lines}"));
    let spill = dirs.base().join("spilled");
    let more = format!(
        "[dataset_engine]\nmemory_bytes_max = 16777216\nspill_dir = \"{}\"\nspill_bytes_max = 1073741824\n",
        spill.display()
    );
    let server = server(&dirs, &more);
    let source = dirs.fill_in("$ROOT/data/big.csv");
    let sorted = asked(
        &server,
        "query_dataset",
        &json!({"data_source": source, "sql": "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY h) AS r FROM data) WHERE r = 400000"}),
    );
    match sorted {
        Ok(answer) => assert_eq!(answer["rows"].as_array().unwrap().len(), 1),
        Err((kind, text)) => assert_eq!(kind, "limit", "{text}"),
    }
    let pool = server.metrics();
    let figure = |name: &str| {
        let line = pool.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!((figure("roothold_dataset_memory_max_bytes") - 16_777_216.0).abs() < 1.0);
    assert!(figure("roothold_dataset_spill_bytes") < 1.0, "nothing is left on disk");
    let most = figure("roothold_dataset_spill_max_bytes");
    assert!((most - 1_073_741_824.0).abs() < f64::EPSILON, "{most}");
    let held: usize = std::fs::read_dir(&spill)
        .unwrap()
        .map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count())
        .sum();
    assert!(held <= 1, "{held}");
    drop(server);
}
