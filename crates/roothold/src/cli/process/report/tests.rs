use serde_json::json;

use super::*;

fn text(operation: Word, value: Value) -> String {
    Report::new(operation, value).text(&Place::named("in.csv"))
}

#[test]
fn a_profile_is_a_table_of_its_columns() {
    let value = json!({"rows": 1200, "bad_rows": 1, "bad": [{"line": 7, "reason": "has 2 fields, expected 3"}],
        "options": {"types": {"a b": "number"}, "short_records": true}, "columns": [
        {"name": "id", "type": "integer", "rows": 1200, "nulls": 0, "distinct": 1190, "distinct_exact": false,
         "min": 1, "max": 1200, "mean": 600.5, "quantiles": {"p50": 600.123_456_789}},
        {"name": "ci\nty", "type": "text", "rows": 1200, "nulls": 3, "distinct": 2, "distinct_exact": true,
         "min": "a", "max": "b\u{1b}[2J", "top": [{"value": "b\u{1b}[2J", "count": 900}, {"value": "a", "count": 297}]},
    ]});
    let text = text(Word::Profile, value);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "in.csv: 1,200 rows, 2 columns");
    let words = |at: usize| lines[at].split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(3), ["id", "integer", "0", "~1,190", "1", "1200", "600.5", "600.123"]);
    assert!(lines[4].starts_with("ci\\nty") && lines[4].contains("3 (0.3 %)"), "{text}");
    assert!(lines[4].ends_with("b\\u{1b}[2J 75.2 %, a 24.8 %"), "{text}");
    assert!(text.ends_with(
        "1 row could not be read and left out\n  line 7: has 2 fields, expected 3\n\
             read them with --option short_records=true --option 'types.a b=number'"
    ));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn groups_and_rows_are_tables() {
    let groups = json!({"rows": 5, "bad_rows": 0, "columns": ["t", "n"], "groups": 3, "truncated": true,
        "result": [["a", 10], [null, 2]]});
    assert_eq!(
        text(Word::Aggregate, groups),
        "in.csv: 5 rows in 3 groups; not all are shown; --limit shows up to 10,000\n\nt      n\na     10\nnull   2"
    );
    let rows = json!({"columns": [{"name": "t", "type": "text"}, {"name": "l", "type": "list<integer>"}],
        "result": [["x", [1, 2]]], "truncated": false});
    assert_eq!(text(Word::Sql, rows), "t  l\nx  [1,2]");
    let sample = json!({"rows": 9, "columns": ["a"], "sample": [{"line": 3, "values": ["x"]}, {"line": 12, "values": [null]}]});
    assert_eq!(text(Word::Sample, sample), "in.csv: 2 of 9 rows\n\nline  a\n   3  x\n  12  null");
}

#[test]
fn matches_stand_between_the_lines_around_them() {
    let found = json!({"rows": 40, "total": 2, "truncated": false, "matches": [
        {"line": 17, "text": "line 17", "before": ["line 16"], "after": ["line\t18"]},
        {"line": 30, "values": {"a": "x", "b": "y"}, "file": "/d/f.csv"},
    ]});
    assert_eq!(
        text(Word::Search, found),
        "in.csv: 2 matches in 40 rows\n\n16- line 16\n17: line 17\n18- line\\t18\n/d/f.csv:30: a=x  b=y"
    );
}

#[test]
fn what_is_not_valid_is_listed_and_is_a_no() {
    let value = json!({"valid": false, "rows": 2, "bad_rows": 31, "problems": ["column `gone` is missing"],
        "extra_columns": ["n"], "bad": [{"line": 3, "reason": "column `i` is empty"}]});
    let report = Report::new(Word::Validate, value);
    assert!(report.is_no());
    assert_eq!(
        report.text(&Place::named("in.csv")),
        "in.csv is not valid: 31 of 33 rows are bad\ncolumn `gone` is missing\n\
         columns that were not asked about: n\n\nbad rows\n  line 3: column `i` is empty\n  … and 30 more"
    );
    let good = Report::new(Word::Validate, json!({"valid": true, "rows": 2, "bad_rows": 0}));
    assert!(!good.is_no());
    assert_eq!(good.text(&Place::named("in.csv")), "in.csv is valid: 2 rows");
}

#[test]
fn a_report_within_an_answer_is_found_and_its_notes_are_told() {
    let value = json!({"operation": "sql", "bytes": 9, "bad_rows": 0, "truncated": true, "notes": ["/d/x was left out"],
        "omitted": {"result": 7}, "report": {"columns": [{"name": "n", "type": "integer"}], "result": [[1]], "truncated": false}});
    assert_eq!(
        text(Word::Sql, value),
        "n\n1\nnote: /d/x was left out\nnote: 7 more in result were left out, there is no room"
    );
    let written = json!({"operation": "convert", "rows": 2, "bad_rows": 0, "report": {"format": "csv", "bytes_written": 5},
        "output": {"path": "/d/o.csv", "bytes": 1500}});
    assert!(text(Word::Convert, written).ends_with(": 1.5 kB"));
}

#[test]
fn numbers_have_the_digits_that_matter() {
    for (number, expected) in [
        (0.0, "0"),
        (0.1 + 0.2, "0.3"),
        (600.5, "600.5"),
        (1.0 / 3.0, "0.333333"),
        (2.0 / 3.0 * 1e3, "666.667"),
        (123_456_789.4, "123456789"),
        (1e300, "1.00000e300"),
        (-0.000_012_3, "-1.23000e-5"),
    ] {
        assert_eq!(short_number(number), expected);
    }
    assert_eq!(short(&json!(12)), "12");
    for (number, expected) in [
        (json!(1_068_704.039_999_998_2), "1068704.04"),
        (json!(0.1), "0.1"),
        (json!(1e300), "1e300"),
        (json!(7), "7"),
        (json!("x"), "x"),
    ] {
        assert_eq!(tidy(&number), expected);
    }
    assert_eq!(
        (percent(1, 3), percent(1, 1_000_000), percent(2, 2), percent(99_999, 100_000)),
        ("33.3 %".into(), "<0.1 %".into(), "100.0 %".into(), ">99.9 %".into())
    );
}
