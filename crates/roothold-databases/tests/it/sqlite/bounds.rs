//! One step of a statement takes no longer, and one row no more memory, than a call may.

use std::time::{Duration, Instant};

use roothold_core::FaultKind;
use serde_json::json;

use super::File;
use crate::{ask, refused, rows};

#[tokio::test]
async fn no_step_of_a_statement_outlasts_its_call() {
    let file = File::new("");
    let mut spec = file.spec();
    spec.connections_max = 1;
    let source = roothold_databases::Source::new(spec).unwrap();
    let long = |c: char, count: u32| format!("printf('%.{count}c', '{c}')");
    let (a, half) = (long('a', 1_000_000), long('a', 500_000));
    for sql in [
        format!("SELECT instr({a}, {half} || 'b')"),
        format!("SELECT length(replace({a}, {half} || 'b', 'x'))"),
        format!("SELECT length(replace({a}, 'a', 'aa'))"),
        format!("SELECT length(trim({a}, {half} || 'b'))"),
        format!("SELECT length(ltrim({a}, {}))", long('b', 500_000)),
        format!("SELECT length(rtrim({a}, hex(zeroblob(400000))))"),
        format!("SELECT {a} LIKE '%' || {half} || 'b'"),
        format!("SELECT {a} LIKE '%a%a%a%a%a%a%a%a%b'"),
        format!("SELECT {a} GLOB '*a*a*a*a*a*a*a*a*b'"),
        "SELECT unhex(hex(zeroblob(200000)), 'x')".to_owned(),
        "SELECT json_patch('{}', '{}')".to_owned(),
        "SELECT printf('%.16000000c', 'x')".to_owned(),
    ] {
        let began = Instant::now();
        let _ = ask(&source, &sql).await;
        // A thread that goes on would hold the one connection.
        assert_eq!(rows(&source, "SELECT 1").await, json!([[1]]), "{sql}");
        assert!(began.elapsed() < Duration::from_secs(10), "{sql}: {:?}", began.elapsed());
    }
    assert_eq!(
        rows(&source, &format!("SELECT instr({a} || 'b', 'ab')")).await,
        json!([[1_000_000]])
    );
    let fault = refused(&source, "SELECT printf('%.16000000c', 'x')").await;
    assert_eq!(fault.kind(), FaultKind::Limit);
}

#[tokio::test]
async fn a_statement_of_many_values_has_small_ones() {
    let file =
        File::new("CREATE TABLE t (x TEXT); INSERT INTO t VALUES (printf('%.300000c', 'x'))");
    let source = file.source();
    let many = |count: usize, size: usize| {
        format!("SELECT {}", vec![format!("length(printf('%.{size}c', 'x'))"); count].join(", "))
    };
    assert!(ask(&source, &many(3, 1_000_000)).await.is_ok());
    let fault = refused(&source, &many(100, 1_000_000)).await;
    assert!(fault.kind() == FaultKind::Limit && fault.public().contains("longer"), "{fault}");
    assert!(ask(&source, &many(100, 50_000)).await.is_ok());
    // A row that is too large for the answer is not copied first.
    let columns = vec!["x"; 12].join(", ");
    assert_eq!(
        refused(&source, &format!("SELECT {columns} FROM t")).await.kind(),
        FaultKind::Limit
    );
    assert!(ask(&source, "SELECT x FROM t").await.is_ok());
}
