//! `roothold process`, on real files, with the binary as people run it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Person, Ran};

const PATIENCE: Duration = Duration::from_mins(1);

/// 1,000 good rows and a bad one, on line 501.
fn orders() -> String {
    let mut text = "id,city,amount\n".to_owned();
    for row in 1..=1000 {
        let city = ["Aachen", "Berlin", "Berlin", "Köln"][row % 4];
        let _ = writeln!(text, "{row},{city},{}.5", row * 7 % 100);
        if row == 499 {
            text.push_str("x,y\n");
        }
    }
    text
}

fn process(person: &Person, arguments: &[&str]) -> Ran {
    person.run(&[&["process"], arguments].concat())
}

fn json(person: &Person, arguments: &[&str]) -> Value {
    let more = ["--json", "--allow-bad-rows"];
    serde_json::from_str(&process(person, &[arguments, &more].concat()).good()).unwrap()
}

/// Every name in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_profile_is_a_table_and_the_call_is_in_the_audit_log() {
    let person = Person::new();
    person.file("data/orders.csv", &orders());
    let left_out = process(&person, &["data/orders.csv"]);
    assert_eq!(left_out.code, 1, "a row is missing");
    let table = process(&person, &["data/orders.csv", "--allow-bad-rows"]).good();
    assert_eq!(table, left_out.out);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "data/orders.csv: 1,000 rows, 3 columns");
    let words: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(words[..3], ["id", "integer", "0"], "{table}");
    assert!(lines[4].contains("Berlin 50.0 %"), "{table}");
    assert!(table.contains("1 row could not be read and left out\n  line 501: "), "{table}");
    let value = json(&person, &["data/orders.csv", "--columns", "amount"]);
    assert_eq!(value["report"]["columns"].as_array().unwrap().len(), 1, "{value}");
    assert_eq!(value["rows"], 1000);
    assert_eq!(names(&person.home().join("data")), ["orders.csv"]);
    let audit = person.home().join(".local/state/roothold/audit");
    let verified = person.run(&["audit", "verify", audit.to_str().unwrap()]).good();
    assert!(verified.contains("1 intents, 1 outcomes, 0 unfinished"), "{verified}");
    let tail = person.run(&["audit", "tail"]).good();
    assert!(
        tail.contains("local process_large_dataset: ") && tail.contains("orders.csv"),
        "{tail}"
    );
    // No job is kept, and no place for one is made.
    assert!(!person.home().join(".local/state/roothold/state").exists());
}

#[test]
fn every_operation_is_a_few_words() {
    let person = Person::new();
    person.file("orders.csv", &orders());
    let run = |arguments: &[&str]| process(&person, &[&["orders.csv"], arguments].concat());
    let groups = ["--group-by", "city", "--aggregate", "count", "--aggregate", "most=max:id"];
    let groups = run(&[&groups[..], &["--allow-bad-rows"]].concat()).good();
    assert!(groups.starts_with("orders.csv: 1,000 rows in 3 groups\n"), "{groups}");
    let row: Vec<&str> = groups.lines().nth(4).unwrap().split_whitespace().collect();
    assert_eq!(row, ["Berlin", "500", "998"], "{groups}");
    let found = run(&["--pattern", "^500,", "--regex", "--context", "1"]).good();
    assert!(found.contains("orders.csv: 1 match in"), "{found}");
    assert!(found.contains("\n\n501- x,y\n502: 500,Aachen,0.5\n503- 501,"), "{found}");
    let sample = json(&person, &["orders.csv", "--rows", "3", "--seed", "7"]);
    assert_eq!(sample["report"]["sample"].as_array().unwrap().len(), 3, "{sample}");
    assert_eq!(
        sample,
        json(
            &person,
            &["orders.csv", "--set", "rows=3", "--set", "seed=7", "--operation", "sample"]
        )
    );
    let sql = run(&[
        "--sql",
        "SELECT city, count(*) AS n FROM data WHERE id > $1 GROUP BY city ORDER BY n DESC LIMIT 1",
        "--parameter",
        "996",
    ]);
    // The bad row ends a query, which leaves nothing out.
    assert_eq!(sql.code, 1, "{sql:?}");
    person.file("good.csv", &orders().replace("x,y\n", ""));
    let sql = process(&person, &["good.csv", "--sql", "SELECT city, count(*) AS n FROM data WHERE id > $1 GROUP BY city ORDER BY n DESC LIMIT 1", "--parameter", "996"]).good();
    assert_eq!(sql, "city    n\nBerlin  2\n");
    let valid =
        process(&person, &["good.csv", "--expect", "id:integer!", "--expect", "amount:number"])
            .good();
    assert!(valid.starts_with("good.csv is valid: 1,000 rows"), "{valid}");
    let not = process(&person, &["good.csv", "--expect", "city:date", "--expect", "gone"]);
    assert_eq!(not.code, 1, "the answer is no");
    assert!(
        not.out.contains("column `gone` is missing") && not.out.contains("… and 980 more"),
        "{}",
        not.out
    );
}

#[test]
fn a_conversion_writes_one_file_that_reads_the_same() {
    let person = Person::new();
    person.file("in/orders.csv", &orders());
    std::fs::create_dir(person.home().join("out")).unwrap();
    for (name, operation) in [
        ("orders.parquet", &["--operation", "convert"][..]),
        ("orders.jsonl", &[]),
        ("copy.csv", &[]),
    ] {
        let output = format!("out/{name}");
        let wrote = process(
            &person,
            &[&["in/orders.csv", "--allow-bad-rows", "--output", &output], operation].concat(),
        );
        let wrote = wrote.good();
        assert!(wrote.starts_with("wrote 1,000 rows to ") && wrote.contains(name), "{wrote}");
        let sums = json(&person, &[&output, "--aggregate", "sum:amount", "--aggregate", "count"]);
        let csv =
            json(&person, &["in/orders.csv", "--aggregate", "sum:amount", "--aggregate", "count"]);
        assert_eq!(sums["report"]["result"], csv["report"]["result"], "{sums}");
    }
    let again = process(&person, &["in/orders.csv", "-o", "out/copy.csv"]).bad(1);
    assert!(again.contains("say --overwrite"), "{again}");
    let over = ["in/orders.csv", "-o", "out/copy.csv", "--overwrite", "--columns", "id"];
    process(&person, &[&over[..], &["--allow-bad-rows"]].concat()).good();
    let copy = std::fs::read_to_string(person.home().join("out/copy.csv")).unwrap();
    assert!(copy.starts_with("id\n1\n2\n"), "{copy}");
    // Beside the file, below it and above it.
    for output in ["in/o.csv", "o.csv"] {
        process(&person, &["in/orders.csv", "-o", output, "--allow-bad-rows"]).good();
    }
    process(&person, &["o.csv", "-o", "out/[b] {o}.csv"]).good();
    assert_eq!(
        names(&person.home().join("out")),
        ["[b] {o}.csv", "copy.csv", "orders.jsonl", "orders.parquet"]
    );
    assert_eq!(names(&person.home().join("in")), ["o.csv", "orders.csv"]);
    let odd = json(&person, &["out/[b] {o}.csv", "--aggregate", "count"]);
    assert_eq!(odd["report"]["result"][0][0], 1000, "a name that looks like a glob is a name");
    // The root of all that can be written was narrower than the directory.
    assert_eq!(process(&person, &["in/orders.csv", "-o", "in/orders.csv", "--overwrite"]).code, 2);
}

#[test]
fn files_of_every_kind_are_told_apart() {
    let person = Person::new();
    person.file("logs/a.jsonl", "{\"level\":\"info\",\"ms\":1}\n{\"level\":\"warn\",\"ms\":3}\n");
    person.file("logs/b.jsonl", "{\"level\":\"info\",\"ms\":5}\n");
    person.file("logs/other.txt", "no\n");
    let globbed =
        process(&person, &["logs/*.jsonl", "--group-by", "level", "--aggregate", "avg:ms"]).good();
    assert!(globbed.starts_with("logs/*.jsonl: 3 rows in 2 groups"), "{globbed}");
    assert!(globbed.lines().any(|line| line.split_whitespace().eq(["info", "3"])), "{globbed}");
    let named = process(
        &person,
        &["logs/a.jsonl", "logs/b.jsonl", "--group-by", "level", "--aggregate", "avg:ms"],
    )
    .good();
    let rows = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert!(named.starts_with("logs/a.jsonl and 1 more: 3 rows"), "{named}");
    assert_eq!(rows(&named), rows(&globbed));
    let zipped = Command::new("gzip").arg("-k").arg(person.home().join("logs/a.jsonl")).status();
    assert!(zipped.unwrap().success());
    let zipped = json(&person, &["logs/a.jsonl.gz", "--aggregate", "sum:ms"]);
    assert_eq!(zipped["report"]["result"][0][0], 4, "{zipped}");
    person.file("server.log", "one\ntimeout after 3 s\nthree\n");
    let log = process(&person, &["server.log", "--pattern", "TIMEOUT", "-i"]).good();
    assert!(log.contains("2: timeout after 3 s"), "{log}");
    person.file("semi.csv", "1;a\n2;b\n");
    let read = json(
        &person,
        &[
            "semi.csv",
            "--option",
            "header=false",
            "--option",
            "delimiter=;",
            "--option",
            "types.column_1=text",
        ],
    );
    assert_eq!(read["report"]["columns"][0]["type"], "text", "{read}");
    std::os::unix::fs::symlink("logs/a.jsonl", person.home().join("link")).unwrap();
    assert_eq!(json(&person, &["link", "--aggregate", "count"])["report"]["result"][0][0], 2);
}

#[test]
fn a_page_of_html_is_written_and_holds_no_markup_of_the_data() {
    let person = Person::new();
    let evil = "<script>alert(1)</script>";
    let rows: String = (0..200).map(|row| format!("{}.25,\"{evil}\"\n", row * row)).collect();
    person.file("data/a.csv", &format!("n,\"\"\"><img src=x onerror='{evil}'>\"\n{rows}"));
    let ran = process(&person, &["data/a.csv", "--html", "a.html"]);
    assert!(ran.code == 0 && ran.err.contains("wrote a.html"), "{ran:?}");
    let page = std::fs::read_to_string(person.home().join("a.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("role=\"img\""), "{page}");
    assert!(
        !page.contains("<script")
            && !page.contains("<img")
            && page.contains("&lt;script&gt;alert(1)")
    );
    let there = process(&person, &["data/a.csv", "--html", "a.html"]).bad(2);
    assert!(there.contains("a.html is there already; --overwrite"), "{there}");
    process(&person, &["data/a.csv", "--html", "a.html", "--overwrite", "--json"]).good();
    let other = process(&person, &["data/a.csv", "--html", "b.html", "--pattern", "x"]).bad(2);
    assert!(other.contains("--html draws a profile"), "{other}");
    let nowhere = process(&person, &["data/a.csv", "--html", "no/b.html"]).bad(2);
    assert!(nowhere.contains("has no directory yet"), "{nowhere}");
    let itself = process(&person, &["data/a.csv", "--html", "data/a.csv", "--overwrite"]).bad(2);
    assert!(itself.contains("the place of the file itself"), "{itself}");
    assert_eq!(names(&person.home().join("data")), ["a.csv"]);
}

#[test]
fn what_cannot_be_processed_is_refused_in_one_sentence() {
    let person = Person::new();
    person.file("a.csv", "a\n1\n");
    person.file("d/.env", "TOKEN=x\n");
    person.file("cut.parquet", "PAR1 and no more");
    let fifo = Command::new("mkfifo").arg(person.home().join("pipe")).status();
    assert!(fifo.unwrap().success());
    for (arguments, code, expected) in [
        (&["-"][..], 2, "cannot come from a pipe"),
        (&["pipe"], 2, "is a pipe or a device"),
        (&["/dev/zero"], 2, "is a pipe or a device"),
        (&["d"], 2, "is a directory; name a file, or its files"),
        (&["none.csv"], 2, "there is no file none.csv"),
        (&["none/*.csv"], 2, "there is no directory none"),
        (&["*.nothing"], 1, "no file that you may read matches"),
        (&["a.csv", "*.csv"], 2, "is a glob; name files, or one glob in quotes"),
        (&["d/.env"], 1, "rule exclude"),
        (&["cut.parquet"], 1, "arquet"),
        (&["a.csv", "--columns", "b"], 1, "there is no column"),
        (&["a.csv", "--group-by", "a", "--pattern", "x"], 2, "is about"),
        (&["a.csv", "--sql", "DELETE FROM data"], 1, "invalid"),
        (&["a.csv", "--aggregate", "sun:a"], 1, "sun"),
        (&["a.csv", "--set", "colums=a"], 2, "no argument `colums`; it has"),
        (&["a.csv", "--pattern", "(", "--regex"], 1, "invalid"),
        (&["a.csv", "-o", "b.xlsx"], 2, ".parquet, .csv or .jsonl"),
        (&["a.csv", "--config", "none.toml"], 2, "none.toml"),
    ] {
        let refused = process(&person, arguments).bad(code);
        assert!(
            refused.starts_with("roothold: ") && refused.contains(expected),
            "{arguments:?}: {refused}"
        );
    }
    assert!(!names(person.home()).contains(&"b.xlsx".to_owned()));
}

#[test]
fn a_configurations_roots_and_principals_do_not_matter_but_its_excludes_and_its_log_do() {
    let person = Person::new();
    person.file("a.csv", "a\n1\n");
    person.file("secret.csv", "a\n1\n");
    let config = person.file(
        "etc/roothold.toml",
        "[[roots]]\npath = \"/nowhere\"\n[policy]\nread = [\"*.md\"]\nexclude = [\"secret*\"]\n[audit]\ndir = \"log\"\n\
         [[principals]]\nname = \"anna\"\n[auth]\nkeys_file = \"keys\"\n[[datasets]]\nname = \"d\"\nfiles = [\"/nowhere/x.csv\"]\n",
    );
    process(&person, &["a.csv", "--config", &config]).good();
    let excluded = process(&person, &["secret.csv", "--config", &config]).bad(1);
    assert!(excluded.contains("rule exclude `secret*`"), "{excluded}");
    let log = person.home().join("etc/log");
    let verified = person.run(&["audit", "verify", log.to_str().unwrap()]).good();
    assert_eq!(verified.lines().count(), 2, "{verified}");
}

/// Starts a conversion that takes a while, and waits until it has begun to write.
fn converting(person: &Person) -> Child {
    let mut child = person
        .command(&["process", "in/big.csv", "-o", "out/big.jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while names(&person.home().join("out")).is_empty() {
        assert!(child.try_wait().unwrap().is_none() && Instant::now() < until, "it never writes");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn a_signal_ends_the_work_and_leaves_nothing_behind() {
    let person = Person::new();
    person.file(
        "in/big.csv",
        &format!("a,b\n{}", "1,some text that is long enough to take its time\n".repeat(1_500_000)),
    );
    std::fs::create_dir(person.home().join("out")).unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let child = converting(&person);
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains("stopping") && ran.err.contains("cancelled"), "{ran:?}");
        assert_eq!(names(&person.home().join("out")), Vec::<String>::new());
    }
    let audit = person.home().join(".local/state/roothold/audit");
    let verified = person.run(&["audit", "verify", audit.to_str().unwrap()]).good();
    assert!(verified.lines().all(|line| line.contains(", 0 unfinished")), "{verified}");
    // Who cannot wait says so again, and hears as little.
    let mut child = converting(&person);
    let pid = Pid::from_child(&child);
    while child.try_wait().unwrap().is_none() {
        let _ = kill_process(pid, Signal::INT);
        std::thread::sleep(Duration::from_millis(1));
    }
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("stopping") && !ran.err.contains("panicked"), "{ran:?}");
}

#[test]
fn rows_that_are_left_out_are_an_exit_code_and_a_way_to_read_them() {
    let person = Person::new();
    let mut text = "id,price\n".to_owned();
    for row in 1..=3000 {
        let half = if row > 2500 { ".5" } else { "" };
        let _ = writeln!(text, "{row},{row}{half}");
    }
    person.file("late.csv", &text);
    let wrote = process(&person, &["late.csv", "--output", "late.parquet"]);
    assert_eq!(wrote.code, 1, "{wrote:?}");
    assert!(wrote.out.starts_with("wrote 2,500 rows to "), "{}", wrote.out);
    assert!(wrote.out.contains("500 rows could not be read and left out"), "{}", wrote.out);
    assert!(wrote.out.ends_with("read them with --option types.price=number\n"), "{}", wrote.out);
    let query = ["late.csv", "--sql", "SELECT sum(price) FROM data"];
    let refused = process(&person, &query).bad(1);
    assert!(refused.contains("read it with --option types.price=number"), "{refused}");
    let option = ["--option", "types.price=number"];
    process(&person, &[&query[..], &option].concat()).good();
    let over = ["late.csv", "-o", "late.parquet", "--overwrite"];
    let wrote = process(&person, &[&over[..], &option].concat()).good();
    assert!(wrote.starts_with("wrote 3,000 rows to "), "{wrote}");
    // Numbers that are too large are refused by the names of their flags.
    for (flag, most) in [("--max-matches", "1000"), ("--limit", "10000"), ("--rows", "10000")] {
        let about = match flag {
            "--max-matches" => &["--pattern", "1"][..],
            "--limit" => &["--group-by", "id"],
            _ => &[],
        };
        let refused = process(&person, &[&["late.csv", flag, "1000000"], about].concat()).bad(1);
        assert!(refused.contains(&format!("{flag} of ")) && refused.contains(most), "{refused}");
    }
}
