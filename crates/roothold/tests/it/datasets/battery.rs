//! The battery of hostile datasets, against the real binary: every case that it holds, through every
//! tool that reads datasets.

mod files;
mod rest;

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Asked, workspace};
use crate::support::{Dirs, Server, Spec, find_canary};

/// What the server may hold at its peak, whatever it is given.
const RESIDENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// No call takes longer than its limit and what a busy machine adds.
const CALL_TIME_MAX: Duration = Duration::from_mins(2);

/// A case's name, and what shows that it is as the battery expects.
type Shown = fn(&Bench);

const CASES: &[(&str, Shown)] = &[
    ("DS-000", files::archives_are_refused),
    ("DS-001", files::bombs_are_limits),
    ("DS-003", files::odd_text_is_an_error_with_its_line),
    ("DS-004", rest::formulas_are_texts),
    ("DS-007", files::broken_parquet_is_an_error),
    ("DS-008", files::arrow_is_refused),
    ("DS-009", files::unknown_parquet_is_refused),
    ("DS-011", rest::paths_are_as_for_reading),
    ("DS-015", rest::cursors_are_good_for_one_thing),
    ("DS-016", rest::no_row_is_lost_or_doubled),
    ("DS-018", rest::a_late_text_is_an_error_or_declared),
    ("DS-020", rest::values_are_no_expressions),
    ("DS-021", rest::odd_characters_are_escaped),
    ("DS-022", rest::hidden_columns_are_in_no_expression),
    ("DS-023", rest::cells_are_data),
    ("DS-024", files::special_files_are_refused),
    ("DS-025", files::a_file_that_shrinks_is_no_signal),
    ("DS-026", files::tars_are_refused),
];

/// A server, and how many calls it was asked for.
pub(super) struct Bench {
    dirs: Dirs,
    server: Server,
    calls: Cell<usize>,
    tools: Vec<String>,
}

#[test]
fn every_case_of_the_battery_is_shown() {
    let battery: Value =
        serde_json::from_str(include_str!("../../batteries/datasets.json")).unwrap();
    let ids: Vec<&str> = battery["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["id"].as_str().unwrap())
        .collect();
    let shown: Vec<&str> = CASES.iter().map(|(id, _)| *id).collect();
    assert_eq!(shown, ids, "a case of the battery has nothing that shows it");
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((id, show)) =
                    CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let (began, bench) = (Instant::now(), Bench::new());
                    show(&bench);
                    bench.is_well(id);
                    println!("{id} {:?}", began.elapsed());
                }
            });
        }
    });
}

impl Bench {
    fn new() -> Self {
        let dirs = workspace();
        dirs.write("work/data/staff.csv", "id,name,Salary\n1,Anna,CANARY-1\n2,Bo,CANARY-2\n");
        let more = dirs.fill_in(
            "[[datasets]]\nname = \"staff\"\nfiles = [\"$ROOT/data/staff.csv\"]\nhidden_columns = [\"salary\"]\n",
        );
        let server = Spec::new(dirs.base(), dirs.config(&more)).start();
        let listed =
            server.send(&crate::support::Request::modern("tools/list", &json!({}))).result();
        let tools = listed["tools"].as_array().unwrap().iter();
        let tools = tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        Self { dirs, server, calls: Cell::new(0), tools }
    }

    /// Asks, and gives the structured answer, or the kind of the error and its text.
    fn ask(&self, tool: &str, arguments: &Value) -> Asked {
        self.calls.set(self.calls.get() + 1);
        let began = Instant::now();
        let answer = super::asked(&self.server, tool, arguments);
        assert!(began.elapsed() < CALL_TIME_MAX, "{tool} {arguments}: {:?}", began.elapsed());
        let text = match &answer {
            Ok(answer) => answer.to_string(),
            Err((_, text)) => text.clone(),
        };
        assert_eq!(find_canary(text.as_bytes()), None, "{tool} {arguments}: {text}");
        answer
    }

    fn query(&self, source: &str, sql: &str) -> Asked {
        self.ask("query_dataset", &json!({"data_source": self.at(source), "sql": sql}))
    }

    /// Asks every tool that reads datasets to read all of a source.
    fn everywhere(&self, source: &str) -> Vec<(&'static str, Asked)> {
        let source = self.at(source);
        let count =
            "SELECT count(*), max(length(cast(x AS varchar))) FROM (SELECT * FROM data) AS t(x)";
        let any = json!({"data_source": source, "sql": "SELECT * FROM data ORDER BY 1"});
        let one = json!({"data_source": source, "sql": count});
        let mut all = vec![
            ("describe_dataset", json!({"data_source": source})),
            ("query_dataset", any),
            ("query_dataset", one),
        ];
        if self.has("process_large_dataset") {
            all.push((
                "process_large_dataset",
                json!({"data_source": source, "operation": "profile"}),
            ));
        }
        all.into_iter().map(|(tool, arguments)| (tool, self.ask(tool, &arguments))).collect()
    }

    /// Every tool refuses a source, by one of these kinds.
    fn refused_everywhere(&self, source: &str, kinds: &[&str]) {
        for (tool, answer) in self.everywhere(source) {
            let (kind, text) = answer.expect_err(source);
            assert!(kinds.contains(&kind.as_str()), "{source} by {tool}: {text}");
        }
    }

    fn has(&self, tool: &str) -> bool {
        self.tools.iter().any(|known| known == tool)
    }

    fn at(&self, text: &str) -> String {
        self.dirs.fill_in(text)
    }

    fn file(&self, path: &str, bytes: impl AsRef<[u8]>) {
        self.dirs.write(&format!("work/data/{path}"), bytes);
    }

    /// What must hold after every case.
    fn is_well(&self, id: &str) {
        let (intents, outcomes) = self.server.audit().counts();
        assert_eq!(
            (intents, outcomes),
            (self.calls.get(), self.calls.get()),
            "{id}: one audit event a call"
        );
        let (_, peak) = self.server.memory();
        assert!(peak < RESIDENT_BYTES_MAX, "{id}: {peak} bytes");
        let log = self.server.log();
        assert!(!log.contains("\"level\":\"ERROR\""), "{id}: {log}");
        assert_eq!(find_canary(log.as_bytes()), None, "{id}: the log");
        let answer =
            super::query(&self.server, &self.at("$ROOT/data/a.csv"), "SELECT count(*) FROM data");
        assert_eq!(answer.unwrap()["rows"], json!([[3]]), "{id}: it goes on");
    }
}
