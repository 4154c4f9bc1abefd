//! What holds for every operation: neither chunking nor resuming changes a result.

mod answers;
mod converting;
mod memory;
mod schemas;
mod sources;
mod stopping;

use std::fmt::Write as _;

use datafusion::arrow::datatypes::DataType;
use proptest::prelude::*;
use roothold_core::FaultKind;
use serde_json::{Value, json};

use super::input::ShapeFormat;
use super::testing::{CSV, Memory, chunks_of, run, run_as, wait};

/// Texts of CSV with all that makes cutting hard. Numbers are halves, so that sums are exact.
fn csv() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "1",
        "2.5",
        "-3",
        "",
        "x",
        "\"a,b\"",
        "\"l\n\nm\"",
        "\"q\"\"q\"",
        "é€",
        "\"é\r\n\"",
        "a\"b",
        "\u{feff}1",
        "\0",
        "900719925474",
        "1e400",
        "\"1\"",
    ]);
    let line = (
        prop::collection::vec(field, 1..5),
        prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r"]),
    );
    let line = line.prop_map(|(fields, end)| fields.join(",") + end);
    prop::collection::vec(line, 0..40).prop_map(|lines| "i,n,t\n".to_owned() + &lines.concat())
}

fn jsonl() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        r#"{"i":1,"n":0.5,"t":"a"}"#,
        r#"{"t":"é\n€","i":2}"#,
        r#"{"i":null}"#,
        "{}",
        "",
        "  ",
        "{\"i\":1",
        "[1]",
        "7",
        r#"{"i":"x"}"#,
        r#"{"i":3,"u":[{}]}"#,
        "\u{feff}{}",
        r#"{"n":1e3}"#,
        "{\"t\":\"\0\"}",
        r#"{"i":2.5}"#,
    ]);
    let line = (line, prop::sample::select(vec!["\n", "\r\n", "\n\n"]))
        .prop_map(|(line, end)| [line, end].concat());
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

const COLUMNS: [(&str, DataType); 3] =
    [("i", DataType::Int64), ("n", DataType::Float64), ("t", DataType::Utf8)];

fn operations() -> Vec<Value> {
    vec![
        json!({"operation": "profile"}),
        json!({"operation": "aggregate", "group_by": ["t", "i"], "aggregates": [
            {"function": "count"}, {"function": "sum", "column": "n"}, {"function": "max", "column": "t"},
            {"function": "approx_distinct", "column": "n"}, {"function": "avg", "column": "i", "name": "mean"},
            {"function": "stddev", "column": "n"}, {"function": "min", "column": "t"},
        ], "limit": 1000}),
        json!({"operation": "aggregate", "aggregates": [{"function": "count", "column": "t"}, {"function": "min", "column": "i"}]}),
        json!({"operation": "search", "pattern": "1", "context": 2, "max_matches": 7}),
        json!({"operation": "search", "pattern": "^.?[aé]", "regex": true, "columns": ["t", "i"]}),
        json!({"operation": "validate", "columns": [
            {"name": "i", "type": "integer", "nullable": false}, {"name": "n", "type": "number"}, {"name": "x"},
        ]}),
        json!({"operation": "sample", "rows": 3, "seed": 7}),
    ]
}

/// A result without what is an estimate, which may depend on how the rows were grouped.
fn exact(mut value: Value) -> Value {
    for column in value["columns"].as_array_mut().into_iter().flatten() {
        if let Some(column) = column.as_object_mut() {
            column.remove("quantiles");
        }
    }
    value
}

fn same_however_cut(
    input: &Memory,
    operations: &[Value],
    bytes: usize,
) -> Result<(), TestCaseError> {
    for operation in operations {
        let whole = wait(run(input, operation, 1 << 20)).unwrap();
        prop_assert!(whole.chunks <= 3);
        let cut = wait(run(input, operation, bytes)).unwrap();
        prop_assert_eq!(exact(cut.value.clone()), exact(whole.value));
        let resumed = wait(run_as(input, operation, &chunks_of(bytes), true)).unwrap();
        prop_assert_eq!(resumed, cut);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn csv_is_the_same_however_it_is_cut(text in csv(), bytes in 1_usize..200) {
        same_however_cut(&Memory::new(CSV, &COLUMNS, &[text.as_bytes(), text.as_bytes()]), &operations(), bytes)?;
    }

    #[test]
    fn jsonl_is_the_same_however_it_is_cut(text in jsonl(), bytes in 1_usize..200) {
        same_however_cut(&Memory::new(ShapeFormat::Jsonl, &COLUMNS, &[text.as_bytes(), b"", text.as_bytes()]), &operations(), bytes)?;
    }

    #[test]
    fn text_is_the_same_however_it_is_cut(text in csv(), bytes in 1_usize..200) {
        let of_lines = [json!({"operation": "profile"}), operations()[3].clone(), json!({"operation": "sample"})];
        same_however_cut(&Memory::text(text.as_bytes()), &of_lines, bytes)?;
    }
}

#[test]
fn rows_that_do_not_parse_are_listed_by_line_and_left_out() {
    let text =
        b"i,n,t\n1,2,x\n\"2 x\n\",3,y\n\n3,4\nx,5,z\r\n4,5,6,7\n5,\xff,a\n6,1,\xff\n7,1,ok\n";
    let outcome = wait(run(&Memory::new(CSV, &COLUMNS, &[text]), &operations()[0], 20)).unwrap();
    assert_eq!(outcome.value["rows"], 2, "{}", outcome.value);
    let bad = outcome.value["bad"].as_array().unwrap();
    let listed: Vec<_> = bad
        .iter()
        .map(|row| format!("{} {}", row["line"], row["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        listed,
        [
            r#"3 column `i` is not of type integer: "2 x\n""#,
            "6 has 2 fields, expected 3",
            r#"7 column `i` is not of type integer: "x""#,
            "8 has 4 fields, expected 3",
            "9 column `n` is not UTF-8",
            "10 column `t` is not UTF-8",
        ]
    );
}

/// Plain rows and others take turns at two decoders, batch by batch.
#[test]
fn rows_keep_their_order_and_lines_whichever_decoder_reads_them() {
    const ROWS: usize = 9_000;
    let is_odd = |row: usize| row % 1_301 == 7 || (5_000..5_010).contains(&row);
    let is_bad = |row: usize| row == 2_000 || row == 8_999;
    let mut texts = ["i,n,t\n".to_owned(), String::new()];
    for row in 0..ROWS {
        let i = if is_bad(row) { "\"bad\"".to_owned() } else { row.to_string() };
        let t = if is_odd(row) { "a\\u0062" } else { "ab" };
        writeln!(texts[0], "{i},0.5,{}", if is_odd(row) { "\"ab\"" } else { "ab" }).unwrap();
        writeln!(texts[1], "{{\"i\":{i},\"n\":0.5,\"t\":\"{t}\"}}").unwrap();
    }
    let operation = json!({"operation": "search", "pattern": "[05]0$", "regex": true, "columns": ["i"], "max_matches": 1000});
    for (format, text, header) in [(CSV, &texts[0], 1), (ShapeFormat::Jsonl, &texts[1], 0)] {
        let wanted: Vec<_> = (0..ROWS)
            .filter(|row| (row % 50 == 0 && *row > 0) && !is_bad(*row))
            .map(|row| (json!(row + 1 + header), json!(row.to_string())))
            .collect();
        for bytes in [1 << 20, 50_000] {
            let input = Memory::new(format, &COLUMNS, &[text.as_bytes()]);
            let outcome = wait(run(&input, &operation, bytes)).unwrap();
            let matches = outcome.value["matches"].as_array().unwrap();
            let found: Vec<_> = matches
                .iter()
                .map(|found| (found["line"].clone(), found["values"]["i"].clone()))
                .collect();
            assert_eq!(found, wanted);
            assert_eq!((outcome.value["bad_rows"].as_u64(), wanted.len()), (Some(2), 178));
        }
    }
}

#[test]
fn many_bad_rows_are_counted_and_few_are_listed() {
    let text = "i,n,t\n".to_owned() + &"x,y,z\n".repeat(30_000) + "1,2,3\n";
    let outcome =
        wait(run(&Memory::new(CSV, &COLUMNS, &[text.as_bytes()]), &operations()[0], 1 << 20))
            .unwrap();
    assert_eq!((&outcome.value["rows"], &outcome.value["bad_rows"]), (&json!(1), &json!(30_000)));
    assert_eq!(outcome.value["bad"].as_array().unwrap().len(), 50);
}

#[test]
fn a_record_without_end_is_refused_with_its_line() {
    let mut limits = chunks_of(64);
    limits.record_bytes_max = 1000;
    let text = "i,n,t\n1,2,x\n2,3,\"".to_owned() + &"never closed\n".repeat(200);
    let fault = wait(run_as(
        &Memory::new(CSV, &COLUMNS, &[text.as_bytes()]),
        &operations()[0],
        &limits,
        false,
    ));
    let fault = fault.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Limit);
    assert!(fault.public().contains("line 3"), "{}", fault.public());
}

#[test]
fn a_long_line_of_text_goes_on_in_the_next_chunk() {
    let mut limits = chunks_of(64);
    limits.record_bytes_max = 1000;
    let text = "a\n".to_owned() + &"€".repeat(2000) + "\nb\n";
    let outcome =
        wait(run_as(&Memory::text(text.as_bytes()), &operations()[0], &limits, true)).unwrap();
    assert_eq!(outcome.value["bad_rows"], 0);
    assert!(!outcome.value.to_string().contains('\u{fffd}'));
}

#[test]
fn what_is_hidden_is_neither_profiled_nor_told() {
    let mut input =
        Memory::new(CSV, &COLUMNS, &[b"i,n,t\n1,2,secret\nsecret,2,secret\n1,x,secret\n"]);
    input.shape.visible = vec![0, 1];
    let outcome = wait(run(&input, &operations()[0], 1000)).unwrap();
    assert_eq!(outcome.value["columns"].as_array().unwrap().len(), 2);
    assert_eq!(outcome.value.to_string().matches("secret").count(), 1);
    let fault =
        wait(run(&input, &json!({"operation": "profile", "columns": ["t"]}), 1000)).unwrap_err();
    assert_eq!(fault.public(), "there is no column \"t\"; the columns are i, n");
}
