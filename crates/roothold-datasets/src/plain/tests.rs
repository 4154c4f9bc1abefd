use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::{Form, Plain};

fn plain(form: Form, kinds: &[DataType], projection: &[usize]) -> Plain {
    let name = |at| ["a", "b", "c", "d"][at];
    let fields: Vec<Field> = kinds
        .iter()
        .enumerate()
        .map(|(at, kind)| Field::new(name(at), kind.clone(), true))
        .collect();
    Plain::new(form, &Arc::new(Schema::new(fields)), projection, &[], 100).unwrap()
}

fn rows(plain: &mut Plain) -> Vec<String> {
    let Some(batch) = plain.flush().unwrap() else { return Vec::new() };
    (0..batch.num_rows())
        .map(|row| serde_json::to_string(&crate::table::row(&batch, row).unwrap()).unwrap())
        .collect()
}

const CSV: Form = Form::Delimited { delimiter: b',', quote: b'"' };

#[test]
fn lines_are_taken_up_to_the_first_that_is_not_plain() {
    for (text, taken) in [
        ("1,x\n2,y\n", 8),
        ("1,x\n2,y", 4),
        ("1,x\n\n\n2,y\n", 10),
        ("1,x\n2,\"y\"\n3,z\n", 4),
        ("1,x\n2,y\r\n", 4),
        ("1,x\n2,y\0\n", 4),
        ("1,x\n2\n", 4),
        ("1,x\n2,y,z\n", 4),
        ("1,x\ntwo,y\n", 4),
        ("1,x\n2.5,y\n", 4),
        ("1,x\n99999999999999999999,y\n", 4),
        ("", 0),
        ("\n", 1),
    ] {
        let mut plain = plain(CSV, &[DataType::Int64, DataType::Utf8], &[0, 1]);
        assert_eq!(plain.feed(text.as_bytes()), taken, "{text:?}");
        assert_eq!(
            rows(&mut plain).first().map(String::as_str),
            match taken {
                0 | 1 => None,
                _ => Some(r#"[1,"x"]"#),
            }
        );
    }
    let mut plain = plain(CSV, &[DataType::Int64, DataType::Utf8], &[0, 1]);
    assert_eq!(plain.feed(b"1,x\n2,\xff\n"), 4, "no UTF-8");
}

#[test]
fn a_row_of_which_a_part_was_put_down_goes_as_a_whole() {
    let kinds = [DataType::Utf8, DataType::Boolean, DataType::Float64, DataType::Date32];
    let mut plain = plain(CSV, &kinds, &[3, 0, 2, 1]);
    assert_eq!(plain.feed(b"x,true,1.5,2026-01-02\nyy,,,\nzz,FALSE,2,tomorrow\n"), 28);
    assert_eq!(plain.feed(b"z,FALSE,-1e3,1969-12-31\n"), 24);
    assert_eq!(
        rows(&mut plain),
        [
            r#"["2026-01-02","x",1.5,true]"#,
            r#"[null,"yy",null,null]"#,
            r#"["1969-12-31","z",-1000.0,false]"#,
        ]
    );
    assert_eq!(plain.feed(b"w,,,\n"), 5, "it is empty again");
    assert_eq!(rows(&mut plain), [r#"[null,"w",null,null]"#]);
}

#[test]
fn objects_are_taken_whose_members_stand_in_the_order_of_the_table() {
    for (line, is_plain) in [
        (r#"{"a":1,"b":"x","c":true}"#, true),
        (r#"{"a": 1, "b": "x", "c": true}"#, true),
        (r#"{"b":"x"}"#, true),
        (r#"{"a":null,"c":null}"#, true),
        (r#"{"b":"x","a":1}"#, false),
        (r#"{"a":1,"a":2}"#, false),
        (r#"{"a":1,"z":2}"#, false),
        (r#"{"a":1.5}"#, false),
        (r#"{"a":"1"}"#, false),
        (r#"{"b":1}"#, false),
        (r#"{"b":"x\n"}"#, false),
        (r#"{"c":[true]}"#, false),
        (r#"{"c":truely}"#, false),
        (r#"{"a":01}"#, false),
        (r#"{"d":-01.5}"#, false),
        (r#"{"d":1.}"#, false),
        (r#"{"d":1-2}"#, false),
        (r#"{"a":-0,"d":1.5e-3}"#, true),
        (r#"{"a":1}}"#, false),
        (r#"{"a":1"#, false),
        (r#"{"b":"x"#, false),
        ("{}", false),
    ] {
        let kinds = [DataType::Int64, DataType::Utf8, DataType::Boolean, DataType::Float64];
        // The last is read over.
        let mut plain = plain(Form::Json, &kinds, &[0, 1, 2]);
        let text = format!("{line}\n");
        assert_eq!(plain.feed(text.as_bytes()), if is_plain { text.len() } else { 0 }, "{line}");
        assert_eq!(plain.count(), usize::from(is_plain));
    }
}

#[test]
fn a_full_batch_takes_no_more() {
    for (form, line) in [(CSV, "7\n"), (Form::Json, "{\"a\":7}\n")] {
        let mut plain = plain(form, &[DataType::Int64], &[0]);
        let text = line.repeat(150);
        assert_eq!(plain.feed(text.as_bytes()), line.len() * 100);
        assert!(plain.is_full());
        assert_eq!(plain.feed(text.as_bytes()), 0);
        assert_eq!(rows(&mut plain).len(), 100);
    }
}

#[test]
fn other_types_have_no_plain_values() {
    let schema = |kind| Arc::new(Schema::new(vec![Field::new("a", kind, true)]));
    assert!(Plain::new(CSV, &schema(DataType::Decimal128(38, 10)), &[0], &[], 1).is_none());
    assert!(Plain::new(CSV, &schema(DataType::Int64), &[0, 0], &[], 1).is_none(), "twice");
    for name in ["a\"b", "a\\nb", "a\nb"] {
        let schema = Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]));
        assert!(Plain::new(Form::Json, &schema, &[0], &[], 1).is_none(), "{name:?}");
        assert!(Plain::new(CSV, &schema, &[0], &[], 1).is_some(), "{name:?}");
    }
}
