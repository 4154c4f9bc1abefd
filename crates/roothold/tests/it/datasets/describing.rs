//! `describe_dataset`.

use serde_json::{Value, json};

use super::{asked, server, workspace};
use crate::support::{Request, misfit, texts};

fn column_names(described: &Value) -> Vec<&str> {
    let columns = described["columns"].as_array().unwrap();
    columns.iter().map(|column| column["name"].as_str().unwrap()).collect()
}

#[test]
fn every_format_is_told_with_its_columns_and_first_rows() {
    let dirs = workspace();
    let server = server(&dirs, "");
    let describe = |source: &str| {
        asked(&server, "describe_dataset", &json!({"data_source": dirs.fill_in(source)})).unwrap()
    };
    let csv = describe("$ROOT/data/a.csv");
    assert_eq!(
        (&csv["format"], &csv["header"], &csv["delimiter"]),
        (&json!("csv"), &json!(true), &json!(","))
    );
    assert_eq!(column_names(&csv), ["id", "name", "amount"]);
    assert_eq!(csv["sample"], json!([[1, "Anna", 1.5], [2, "Bo, Jr", 2.5], [3, null, 3.0]]));
    assert_eq!((&csv["untrusted"], &csv["truncated"]), (&json!(true), &json!(false)));
    let both = describe("$ROOT/data/[ab].csv");
    assert_eq!(both["files"].as_array().unwrap().len(), 2);
    assert_eq!(column_names(&describe("$ROOT/data/people.jsonl")), ["id", "city"]);
    assert_eq!(describe("$ROOT/data/t.tsv")["format"], "tsv");
    let log = describe("$ROOT/data/deep/er/server.log");
    assert_eq!((&log["format"], column_names(&log)), (&json!("text"), vec!["number", "line"]));
    assert_eq!(log["sample"][1], json!([2, "two error"]));
    assert_ne!(csv["revision"], both["revision"]);
    assert_eq!(csv["revision"], describe("$ROOT/data/a.csv")["revision"]);
    dirs.write("work/data/a.csv", "id,name,amount\n1,Anna,1.5\n2,\"Bo, Jr\",2.5\n3,,4\n");
    assert_ne!(csv["revision"], describe("$ROOT/data/a.csv")["revision"]);
}

#[test]
fn options_say_how_to_read_and_wrong_ones_what_to_write() {
    let dirs = workspace();
    dirs.write("work/data/s.csv", "a;b\n1;x\n2;y\n");
    let server = server(&dirs, "");
    let source = dirs.fill_in("$ROOT/data/s.csv");
    let describe = |options: Value| {
        asked(&server, "describe_dataset", &json!({"data_source": source, "options": options}))
    };
    let read = describe(json!({"header": false, "types": {"*": "text"}})).unwrap();
    assert_eq!(column_names(&read), ["column_1", "column_2"]);
    let read = describe(json!({"types": {"a": "decimal"}})).unwrap();
    assert_eq!(read["columns"][0]["type"], "decimal(38,10)");
    let read = describe(json!({"format": "text"})).unwrap();
    assert_eq!(read["sample"][0], json!([1, "a;b"]));
    for (options, says) in [
        (json!({"delimiter": ";;"}), "options"),
        (json!({"format": "xml"}), "options"),
        (json!({"separator": ";"}), "separator"),
        (json!({"delimiter": "é"}), "ASCII"),
        (json!({"delimiter": "'", "quote": "'"}), "different"),
        (json!({"types": {"nothing": "date"}}), "nothing"),
    ] {
        let (kind, text) = describe(options.clone()).unwrap_err();
        assert_eq!(kind, "invalid", "{options}: {text}");
        assert!(text.contains(says), "{options}: {text}");
    }
    let (kind, _) =
        asked(&server, "describe_dataset", &json!({"data_source": source, "sample_rows": 101}))
            .unwrap_err();
    assert_eq!(kind, "invalid");
}

#[test]
fn a_description_fits_the_budget_and_its_schema_and_says_the_same_twice() {
    let dirs = workspace();
    let names: Vec<String> = (0..3000).map(|at| format!("column-number-{at}-of-many")).collect();
    dirs.write(
        "work/data/wide.csv",
        format!("{}\n{}\n", names.join(","), vec!["1"; 3000].join(",")),
    );
    dirs.write(
        "work/data/long.csv",
        format!("a\n{}", format!("{}\n", "x".repeat(5000)).repeat(100)),
    );
    for at in 0..150 {
        dirs.write(&format!("work/parts/{at}-{}.csv", "p".repeat(200)), "a\n1\n");
    }
    let server = server(&dirs, "result_bytes_default = 20000\n");
    let tools = server.send(&Request::modern("tools/list", &json!({}))).result();
    let tool =
        tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "describe_dataset");
    let schema = tool.unwrap()["outputSchema"].clone();
    for (source, is_cut) in [
        ("$ROOT/data/wide.csv", true),
        ("$ROOT/data/long.csv", true),
        ("$ROOT/parts/*.csv", false),
        ("$ROOT/data/a.csv", false),
    ] {
        let arguments = json!({"data_source": dirs.fill_in(source), "sample_rows": 100});
        let result = server.call("describe_dataset", &arguments).result();
        let described = &result["structuredContent"];
        misfit(&schema, described).unwrap();
        assert!(described.to_string().len() <= 20_000, "{source}");
        assert_eq!(described["truncated"], is_cut, "{source}");
        let text = texts(&result).join("\n");
        assert!(text.len() <= 20_000, "{source}: {}", text.len());
        for name in column_names(described) {
            assert!(text.contains(name), "{source}: {name}");
        }
        for file in described["files"].as_array().unwrap() {
            assert!(text.contains(file["path"].as_str().unwrap()), "{source}");
        }
        assert_eq!(text.contains("truncated=true"), is_cut, "{source}");
    }
}

#[test]
fn a_glob_tells_what_it_left_out_and_never_what_is_excluded() {
    let dirs = workspace();
    std::fs::hard_link(dirs.work().join("data/b.csv"), dirs.work().join("data/b-linked.csv"))
        .unwrap();
    let server = server(&dirs, "");
    let source = json!({"data_source": dirs.fill_in("$ROOT/data/[abc]*.csv")});
    let described = asked(&server, "describe_dataset", &source).unwrap();
    let notes = described["notes"].to_string();
    assert!(notes.contains("b-linked.csv was left out"), "{described}");
    assert!(!described.to_string().contains("credentials"), "{described}");
    assert!(!described.to_string().contains("out.csv"), "{described}");
}
