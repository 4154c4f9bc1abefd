//! What each operation answers.

use datafusion::arrow::datatypes::{DataType, Field};
use roothold_core::FaultKind;
use serde_json::{Value, json};

use super::super::input::ShapeFormat;
use super::super::testing::{CSV, Memory, chunks_of, run, run_as, wait};
use super::{COLUMNS, operations};

#[test]
fn a_profile_says_what_is_in_a_column() {
    let rows: String =
        (0..5000).map(|row| format!("{},{}.5,{}\n", row % 7, row, row % 3)).collect();
    let text = "i,n,t\n".to_owned() + &rows + ",,\n";
    let profile =
        wait(run(&Memory::new(CSV, &COLUMNS, &[text.as_bytes()]), &operations()[0], 10_000))
            .unwrap()
            .value;
    let [i, n, t] = [0, 1, 2].map(|column| profile["columns"][column].clone());
    assert_eq!(
        (&i["distinct"], &i["distinct_exact"], &i["nulls"]),
        (&json!(7), &json!(true), &json!(1))
    );
    assert_eq!((&i["min"], &i["max"]), (&json!(0), &json!(6)));
    assert_eq!(i["top"][0], json!({"value": 0, "count": 715}));
    assert_eq!((&n["min"], &n["max"], &n["mean"]), (&json!(0.5), &json!(4999.5), &json!(2500.0)));
    assert_eq!(n["distinct_exact"], false);
    let about =
        |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 0.03 * 5000.0;
    assert!(n["distinct"].as_u64() <= Some(5000), "no more than there are rows");
    assert!(about(&n["distinct"], 5000.0) && about(&n["quantiles"]["p25"], 1250.0), "{n}");
    assert_eq!((&t["type"], &t["max"], &t["nulls"]), (&json!("text"), &json!("2"), &json!(1)));
}

#[test]
fn a_sum_that_its_type_cannot_hold_is_refused() {
    let text = format!("i,n,t\n{0},1,a\n5,1,b\n-6,1,a\n{0},1,b\n", i64::MAX);
    let input = Memory::new(CSV, &COLUMNS, &[text.as_bytes()]);
    let ask = |group_by: &[&str], bytes| {
        let sum = json!({"function": "sum", "column": "i"});
        let asked = json!({"operation": "aggregate", "group_by": group_by, "aggregates": [sum]});
        wait(run(&input, &asked, bytes))
    };
    for (group_by, bytes) in [(&["t"][..], 9), (&["t"], 10_000), (&[], 9), (&[], 10_000)] {
        let fault = ask(group_by, bytes).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
        assert!(fault.public().contains("a sum is too large"), "{fault}");
    }
    let fitting = text.replace("\n5,", "\n-5,");
    let input = Memory::new(CSV, &COLUMNS, &[fitting.as_bytes()]);
    let asked = json!({"operation": "aggregate", "group_by": ["t"], "aggregates": [{"function": "sum", "column": "i"}]});
    let sums = wait(run(&input, &asked, 9)).unwrap().value["result"].clone();
    assert_eq!(sums, json!([["a", "9223372036854775801"], ["b", "9223372036854775802"]]));
}

#[test]
fn long_values_and_many_are_not_kept() {
    let rows: String = (0..1500).map(|row| format!("1,1,{row}\n")).collect();
    let text = "i,n,t\n".to_owned() + &rows + "1,1," + &"x".repeat(300) + "\n1,1,zz\n";
    let profile =
        wait(run(&Memory::new(CSV, &COLUMNS, &[text.as_bytes()]), &operations()[0], 1000))
            .unwrap()
            .value;
    let t = &profile["columns"][2];
    assert_eq!(
        (&t["distinct_exact"], &t["min"], &t["max"]),
        (&json!(false), &json!("0"), &json!("zz"))
    );
    assert!(t.get("top").is_none());
}

#[test]
fn groups_are_sorted_limited_and_bounded() {
    let text = b"i,n,t\n3,1,a\n1,2,b\n2,3,a\n,4,b\n1,,b\n";
    let input = Memory::new(CSV, &COLUMNS, &[text]);
    let ask = |value: Value| wait(run(&input, &value, 9));
    let sums = json!({"operation": "aggregate", "group_by": ["t"], "aggregates": [{"function": "sum", "column": "i"}], "order_by": "sum_i", "descending": true});
    assert_eq!(ask(sums.clone()).unwrap().value["result"], json!([["a", 5], ["b", 2]]));
    let mut one = sums.clone();
    one["limit"] = 1.into();
    let value = ask(one).unwrap().value;
    assert_eq!(
        (&value["result"], &value["truncated"], &value["groups"]),
        (&json!([["a", 5]]), &json!(true), &json!(2))
    );
    let all = json!({"operation": "aggregate", "aggregates": [
        {"function": "count"}, {"function": "count", "column": "n"}, {"function": "approx_percentile", "column": "n", "percentile": 0.5},
        {"function": "stddev", "column": "n"}, {"function": "min", "column": "t"}]});
    assert_eq!(ask(all).unwrap().value["result"][0].as_array().unwrap()[..2], [json!(5), json!(4)]);
    for (wrong, said) in [
        (json!({"operation": "aggregate", "group_by": ["x"]}), "there is no column"),
        (
            json!({"operation": "aggregate", "aggregates": [{"function": "sum", "column": "t"}]}),
            "does not take",
        ),
        (
            json!({"operation": "aggregate", "aggregates": [{"function": "sum"}]}),
            "needs a `column`",
        ),
        (json!({"operation": "aggregate", "order_by": "x"}), "`order_by` names"),
        (json!({"operation": "aggregate", "group_by": ["t", "t"]}), "two columns"),
        (
            json!({"operation": "aggregate", "aggregates": [{"function": "approx_percentile", "column": "n", "percentile": 7.0}]}),
            "between 0 and 1",
        ),
    ] {
        let fault = ask(wrong).unwrap_err();
        assert!(fault.kind() == FaultKind::Invalid && fault.public().contains(said), "{fault}");
    }
    let mut limits = chunks_of(9);
    limits.groups_max = 3;
    let many = json!({"operation": "aggregate", "group_by": ["i", "n"]});
    assert_eq!(wait(run_as(&input, &many, &limits, false)).unwrap_err().kind(), FaultKind::Limit);
}

#[test]
fn whole_numbers_of_json_are_never_cut() {
    let text = b"{\"i\":1}\n{\"i\":2.5}\n{\"i\":3.0}\n{\"i\":9007199254740993}\n{\"i\":1e300}\n";
    let input = Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[text]);
    let ask = json!({"operation": "aggregate", "aggregates": [{"function": "sum", "column": "i"}]});
    let value = wait(run(&input, &ask, 1000)).unwrap().value;
    assert_eq!(value["result"][0][0], "9007199254740997");
    assert_eq!(value["bad_rows"], 2);
}

#[test]
fn whole_numbers_in_lists_are_not_cut_either() {
    let item = Field::new("item", DataType::Int64, true);
    let list = DataType::List(std::sync::Arc::new(item));
    let text = b"{\"l\":[1,2]}\n{\"l\":[2.5]}\n{\"l\":null}\n";
    let input = Memory::new(ShapeFormat::Jsonl, &[("l", list)], &[text]);
    let count = json!({"function": "count", "column": "l"});
    let ask = json!({"operation": "aggregate", "aggregates": [count]});
    let value = wait(run(&input, &ask, 1000)).unwrap().value;
    assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(2), &json!(1)), "{value}");
}

#[test]
fn matches_have_their_lines_around_them_also_across_chunks() {
    let text: String = (1..=40).map(|line| format!("line {line}\n")).collect();
    let ask =
        json!({"operation": "search", "pattern": "line [12]?7$", "regex": true, "context": 3});
    let value = wait(run(&Memory::text(text.as_bytes()), &ask, 20)).unwrap().value;
    assert_eq!((&value["total"], &value["truncated"]), (&json!(3), &json!(false)));
    let second = json!({"line": 17, "text": "line 17", "before": ["line 14", "line 15", "line 16"], "after": ["line 18", "line 19", "line 20"]});
    assert_eq!(value["matches"][1], second);
}

#[test]
fn what_is_kept_back_cannot_be_searched_by_line() {
    let mut input = Memory::new(CSV, &COLUMNS, &[b"i,n,t\n1,2,secret\n"]);
    input.shape.visible = vec![0, 1];
    let by_line =
        wait(run(&input, &json!({"operation": "search", "pattern": "secret"}), 1000)).unwrap_err();
    assert_eq!(by_line.kind(), FaultKind::Invalid);
    let ask = json!({"operation": "search", "pattern": "secret", "columns": ["i", "n"]});
    assert_eq!(wait(run(&input, &ask, 1000)).unwrap().value["total"], 0);
}

#[test]
fn a_sample_is_the_same_for_a_seed_and_fair() {
    let rows: String = (0..2000).map(|row| format!("{row},1,x\n")).collect();
    let input = Memory::new(CSV, &COLUMNS, &[("i,n,t\n".to_owned() + &rows).as_bytes()]);
    let of = |seed: u64| {
        let ask = json!({"operation": "sample", "rows": 400, "seed": seed, "columns": ["i"]});
        let value = wait(run(&input, &ask, 3000)).unwrap().value;
        let rows = value["sample"].as_array().unwrap().clone();
        rows.iter().map(|row| row["values"][0].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    for seed in 0..4 {
        let sample = of(seed);
        assert_eq!(sample.len(), 400);
        let low = sample.iter().filter(|row| **row < 1000).count();
        assert!((150..250).contains(&low), "{low} of 400 are in the first half");
    }
}

#[test]
fn validation_lists_what_is_wrong_with_columns_and_rows() {
    let text = b"i,n,t\n1,2,2026-01-01\n,2,2026-01-02\n2,x,2026-01-03\n3,4,no day\n";
    let ask = json!({"operation": "validate", "columns": [
        {"name": "i", "type": "integer", "nullable": false}, {"name": "t", "type": "date"}, {"name": "gone"}]});
    let value = wait(run(&Memory::new(CSV, &COLUMNS, &[text]), &ask, 25)).unwrap().value;
    assert_eq!(
        (&value["valid"], &value["rows"], &value["bad_rows"]),
        (&json!(false), &json!(2), &json!(2))
    );
    assert_eq!(value["problems"], json!(["column `gone` is missing"]));
    assert_eq!(value["extra_columns"], json!(["n"]));
    assert_eq!(value["bad"][0], json!({"line": 3, "reason": "column `i` is empty"}));
    assert_eq!(
        value["bad"][1],
        json!({"line": 5, "reason": "column `t` is not of type date: \"no day\""})
    );
    let records = b"{\"i\":1,\"t\":\"2026-01-01\"}\n{\"i\":\"1\"}\n{\"i\":1.5,\"t\":null}\n{\"t\":\"x\"}\n[]\n";
    let value =
        wait(run(&Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[records]), &ask, 25)).unwrap().value;
    assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(1), &json!(4)));
}

#[test]
fn bad_rows_are_told_with_the_options_that_read_them() {
    let text = b"i,n,t\n1,2,x\n2.5,3,y\n3,4\n4,5,z\n6,7.5,w\n";
    for operation in [
        json!({"operation": "profile"}),
        json!({"operation": "aggregate", "group_by": ["t"], "aggregates": [{"function": "sum", "column": "i"}]}),
    ] {
        for bytes in [10, 1 << 20] {
            let value =
                wait(run(&Memory::new(CSV, &COLUMNS, &[text]), &operation, bytes)).unwrap().value;
            assert_eq!(value["bad_rows"], 2, "{value}");
            assert_eq!(
                value["options"],
                json!({"short_records": true, "types": {"i": "number"}}),
                "{value}"
            );
        }
    }
    let records = b"{\"i\":1}\n{\"i\":2.5}\n{\"i\":\"x\"}\n{\"i\":[1]}\n{\"n\":\"z\"}\n";
    let input = Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[records]);
    let value = wait(run(&input, &json!({"operation": "profile"}), 20)).unwrap().value;
    assert_eq!(value["bad_rows"], 4, "{value}");
    assert_eq!(value["options"], json!({"types": {"i": "text", "n": "text"}}), "{value}");
    // What is not to be read otherwise, and what is not bad.
    let expected = json!({"operation": "validate", "columns": [{"name": "i", "type": "integer"}]});
    let value = wait(run(&Memory::new(CSV, &COLUMNS, &[text]), &expected, 20)).unwrap().value;
    assert!(value["bad_rows"].as_u64() > Some(0) && value.get("options").is_none(), "{value}");
    let good = Memory::new(CSV, &COLUMNS, &[b"i,n,t\n1,2,x\n"]);
    let value = wait(run(&good, &json!({"operation": "profile"}), 20)).unwrap().value;
    assert!(value.get("options").is_none() && value.get("bad").is_none(), "{value}");
}

#[test]
fn numbers_beyond_what_is_told_are_refused() {
    let input = Memory::new(CSV, &COLUMNS, &[b"i,n,t\n1,2,x\n"]);
    for (operation, says) in [
        (json!({"operation": "aggregate", "limit": 10_001}), "`limit` of aggregate is 1 to 10000"),
        (
            json!({"operation": "search", "pattern": "x", "max_matches": 1_001}),
            "`max_matches` of search is 1 to 1000",
        ),
        (json!({"operation": "sample", "rows": 0}), "`rows` of sample is 1 to 10000"),
    ] {
        let fault = wait(run(&input, &operation, 20)).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Limit);
        assert!(fault.public().contains(says), "{fault}");
    }
}

#[test]
fn whole_numbers_that_json_would_round_are_texts() {
    let input = Memory::new(CSV, &COLUMNS, &[b"i,n,t\n9007199254740993,2,x\n"]);
    let of = |operation: Value| wait(run(&input, &operation, 1 << 20)).unwrap().value;
    let big = json!("9007199254740993");
    let profile = of(json!({"operation": "profile"}));
    assert_eq!((&profile["columns"][0]["min"], &profile["columns"][0]["max"]), (&big, &big));
    let sample = of(json!({"operation": "sample"}));
    assert_eq!(sample["sample"][0]["values"][0], big);
    let sum =
        of(json!({"operation": "aggregate", "aggregates": [{"function": "sum", "column": "i"}]}));
    assert_eq!(sum["result"], json!([[big]]));
}

#[test]
fn a_decimal_can_be_expected() {
    let ask = json!({"operation": "validate", "columns": [{"name": "t", "type": "decimal"}]});
    let input = Memory::new(CSV, &COLUMNS, &[b"i,n,t\n1,2,12.50\n1,2,x\n1,2,7\n"]);
    let value = wait(run(&input, &ask, 1 << 20)).unwrap().value;
    assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(2), &json!(1)), "{value}");
    let records =
        b"{\"t\":1.5}\n{\"t\":\"12345678901234567890.12\"}\n{\"t\":\"x\"}\n{\"t\":true}\n";
    let input = Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[records]);
    let value = wait(run(&input, &ask, 1 << 20)).unwrap().value;
    assert_eq!((&value["rows"], &value["bad_rows"]), (&json!(2), &json!(2)), "{value}");
}
