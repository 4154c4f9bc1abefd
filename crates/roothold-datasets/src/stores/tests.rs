use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use roothold_core::{
    Action, Actions, ObjectTarget, Policy, PolicySpec, Principal, Roots, StoreRule, Verb,
};
use roothold_testing::web::{Manner, Page, Web};

use super::*;
use crate::testing::{ask, budget};
use crate::{Source, SourceOptions};

/// A store that is a web server, and who may read it.
struct Shop {
    web: Web,
    stores: Stores,
    policy: Policy,
}

impl Shop {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut StoreSpec)) -> Self {
        let web = Web::start();
        let url = ObjectUrl::parse(&format!("{}/open", web.url())).unwrap();
        let mut spec = StoreSpec::new(url);
        change(&mut spec);
        let policy = Policy::new(Roots::open(&[]).unwrap(), PolicySpec::default(), &[]).unwrap();
        let rule = StoreRule { url: spec.url.clone(), principals: None };
        let policy = policy.with_stores(vec![rule]);
        Self { web, stores: Stores::new(&[spec]).unwrap(), policy }
    }

    fn open(&self, name: &str) -> Result<StoreObject, Fault> {
        let url = ObjectUrl::parse(&format!("{}/open/{name}", self.web.url())).unwrap();
        let actions = Actions::one(Action::object(Verb::Read, ObjectTarget::Url(url)));
        let permits = self.policy.decide(&Principal::local(), "a_tool", &actions)?;
        self.stores.open(&permits[0], &budget())
    }

    fn put(&self, name: &str, page: Page) -> &Self {
        self.web.put(&format!("/open/{name}"), page);
        self
    }

    fn source(&self, name: &str) -> Source {
        let opened = self.open(name).unwrap();
        Source::new(vec![opened], SourceOptions::default(), Vec::new()).unwrap()
    }
}

fn meter() -> Meter {
    Meter::new(&budget())
}

/// Rows of CSV, more than the edges of an object hold.
fn csv(rows: usize) -> Vec<u8> {
    let mut text = String::from("n,word\n");
    for n in 0..rows {
        writeln!(text, "{n},{}", "word".repeat(n % 7)).unwrap();
    }
    text.into_bytes()
}

fn forward(object: &StoreObject, from: u64) -> Result<Vec<u8>, Fault> {
    let (mut reader, mut all) = (Forward::new(object, from), Vec::new());
    let mut buffer = vec![0; 100_000];
    loop {
        match reader.read(&mut buffer, &meter())? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

#[test]
fn an_object_is_read_anywhere_and_forward_and_only_once_at_its_edges() {
    let shop = Shop::new();
    let body: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    shop.put("a.bin", Page::new(body.clone()));
    let object = shop.open("a.bin").unwrap();
    assert_eq!(object.size(), body.len() as u64);
    for (at, length) in [(0, 10), (5, 60_000), (65_530, 12), (2_399_990, 20), (1_000_000, 300_000)]
    {
        let mut buffer = vec![0; length];
        let got = object.read_at(at as u64, &mut buffer, &meter()).unwrap();
        assert_eq!(got, length.min(body.len() - at));
        assert_eq!(buffer[..got], body[at..at + got], "{at}");
    }
    assert_eq!(object.read_at(body.len() as u64, &mut [0; 4], &meter()).unwrap(), 0);
    // One for what it is, one for each edge, and two for what is between.
    assert_eq!(shop.web.take_seen().len(), 5);
    for from in [0, 1, 65_535, 65_536, 1_234_567, body.len() - 1, body.len()] {
        assert_eq!(forward(&object, from as u64).unwrap(), body[from..], "{from}");
    }
}

#[test]
fn tables_of_objects_answer_as_those_of_files_do() {
    let shop = Shop::new();
    shop.put("a.csv", Page::new(csv(300_000)));
    let total: u64 = (0..300_000).sum();
    let answer = ask(&shop.source("a.csv"), "SELECT count(*), sum(n) FROM t").unwrap();
    assert_eq!(
        serde_json::to_value(&answer.table.rows).unwrap(),
        serde_json::json!([[300_000, total]])
    );
    assert!(answer.bytes_read > 1_000_000);
    // Those who read in pieces, and those who stop early, leave nothing behind that hangs.
    let first = ask(&shop.source("a.csv"), "SELECT n FROM t LIMIT 1").unwrap();
    assert_eq!(first.table.rows.len(), 1);
}

type Change = fn(&mut Page);

#[test]
fn an_object_that_changes_is_never_mixed_with_what_it_was() {
    let (old, new) = (csv(200_000), csv(200_000).to_ascii_uppercase());
    let other: Change = |page| page.etag = Some("\"two\"".to_owned());
    let later: Change = |page| page.modified = Some("Fri, 27 Nov 2026 00:00:00 GMT".to_owned());
    let other_and_later: Change = |page| {
        page.etag = Some("W/\"two\"".to_owned());
        page.modified = Some("Fri, 27 Nov 2026 00:00:00 GMT".to_owned());
    };
    let cases: [(&str, Change, Change); 4] = [
        ("a server that keeps to the rules", |_| (), other),
        ("one that ignores conditions", |page| page.ignores_conditions = true, other),
        (
            "one that has weak tags",
            |page| page.etag = Some("W/\"one\"".to_owned()),
            other_and_later,
        ),
        ("one that has times only", |page| page.etag = None, later),
    ];
    for (what, before, after) in cases {
        let shop = Shop::new();
        let mut page = Page::new(old.clone());
        before(&mut page);
        shop.put("a.csv", page.clone());
        let (source, object) = (shop.source("a.csv"), shop.open("a.csv").unwrap());
        let revision = source.revision();
        ask(&source, "SELECT count(*) FROM t").unwrap();
        page.body = new.clone().into();
        after(&mut page);
        shop.put("a.csv", page);
        let fault = ask(&source, "SELECT count(*) FROM t").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Conflict, "{what}: {fault}");
        assert_eq!(forward(&object, 70_000).unwrap_err().kind(), FaultKind::Conflict, "{what}");
        let now = shop.source("a.csv");
        assert_ne!(now.revision(), revision, "{what}");
        ask(&now, "SELECT count(*) FROM t").unwrap();
    }
}

#[test]
fn what_breaks_off_is_gone_on_with_and_what_keeps_breaking_ends() {
    let shop = Shop::new();
    let body = csv(200_000);
    let broken = Page { manner: Manner::Breaks(400_000), ..Page::new(body.clone()) };
    shop.put("a.csv", broken.clone());
    let object = shop.open("a.csv").unwrap();
    assert_eq!(forward(&object, 0).unwrap(), body);
    shop.put("a.csv", Page { manner: Manner::Breaks(0), ..broken });
    let fault = forward(&object, 0).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
}

#[test]
fn a_redirect_is_not_followed_wherever_it_leads() {
    let (shop, other) = (Shop::new(), Web::start());
    other.put("/stolen.csv", Page::new(csv(10)));
    for to in [
        format!("{}/stolen.csv", other.url()),
        format!("{}/open/b.csv", shop.web.url()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "/open/b.csv".to_owned(),
    ] {
        shop.put("b.csv", Page::new(csv(10)));
        shop.put("a.csv", Page { manner: Manner::Redirect(to), ..Page::new("") });
        let fault = shop.open("a.csv").unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.public().contains("redirect"), "{fault}");
    }
    assert!(other.take_seen().is_empty());
}

#[test]
fn servers_that_do_not_do_what_stores_do_are_told_apart() {
    let shop = Shop::new();
    let page = Page::new(csv(50_000));
    let cases = [
        (Page { manner: Manner::Whole, ..page.clone() }, FaultKind::Unsupported, "range"),
        (Page { manner: Manner::TooMuch, ..page.clone() }, FaultKind::Conflict, "changed"),
        (
            Page { manner: Manner::Status(403), ..page.clone() },
            FaultKind::Unavailable,
            "credential",
        ),
        (
            Page { manner: Manner::Status(401), ..page.clone() },
            FaultKind::Unavailable,
            "credential",
        ),
        (Page { manner: Manner::Status(400), ..page.clone() }, FaultKind::Unavailable, "an error"),
        (Page { manner: Manner::Endless, ..page.clone() }, FaultKind::Unavailable, ""),
    ];
    for (page, kind, says) in cases {
        let manner = page.manner.clone();
        shop.put("a.csv", page);
        let fault = ask(&shop.source("a.csv"), "SELECT count(*) FROM t").unwrap_err();
        assert_eq!(fault.kind(), kind, "{manner:?}: {fault:?}");
        assert!(fault.public().contains(says), "{manner:?}: {fault}");
        let logged = format!("{fault:?}");
        assert!(!logged.contains("S3CR3T"), "{logged}");
    }
    shop.put("a.csv", Page { etag: None, modified: None, ..page });
    let fault = shop.open("a.csv").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unsupported, "{fault}");
    let fault = shop.open("none.csv").unwrap_err();
    assert_eq!(fault.kind(), FaultKind::NotFound);
    assert!(fault.public().contains("whole URL of an object"), "{fault}");
    let nowhere = Shop::with(|spec| {
        spec.url = ObjectUrl::parse("http://127.0.0.1:1/open").unwrap();
    });
    let url = ObjectUrl::parse("http://127.0.0.1:1/open/a.csv").unwrap();
    let actions = Actions::one(Action::object(Verb::Read, ObjectTarget::Url(url)));
    let permits = nowhere.policy.decide(&Principal::local(), "a_tool", &actions).unwrap();
    let fault = nowhere.stores.open(&permits[0], &budget()).unwrap_err();
    assert!(fault.public().contains("cannot be reached"), "{fault}");
}

#[test]
fn a_call_that_is_cancelled_stops_waiting_for_a_server_that_says_nothing() {
    let shop = Shop::new();
    shop.put("a.csv", Page { manner: Manner::Stalls(1000), ..Page::new(csv(100_000)) });
    let object = shop.open("a.csv").unwrap();
    let stopping = Arc::new(meter());
    let its_meter = Arc::clone(&stopping);
    let begun = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        its_meter.stop();
    });
    let fault = Forward::new(&object, 0).read(&mut [0; 100], &stopping).and_then(|_| {
        let mut reader = Forward::new(&object, 500_000);
        while reader.read(&mut [0; 100], &stopping)? > 0 {}
        Ok(0)
    });
    assert_eq!(fault.unwrap_err().kind(), FaultKind::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let engine = crate::testing::engine();
    let short = Budget::new(65_536, 100, Duration::from_millis(400));
    let source = shop.source("a.csv");
    let query = crate::testing::query("SELECT count(*) FROM t", &[("t", &source)]);
    let fault = crate::testing::wait(engine.query(&query, &short)).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout, "{fault}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn credentials_go_to_the_store_and_nowhere_else() {
    let shop = Shop::with(|spec| spec.credentials = Some(Secret::new("Bearer s3cr3t")));
    shop.put("a.csv", Page::new(csv(10)));
    shop.open("a.csv").unwrap();
    let seen = shop.web.take_seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer s3cr3t");
    let shown = format!("{:?}", shop.stores);
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

/// Three row groups with two columns each.
fn parquet(rows: i64) -> Vec<u8> {
    let (mut file, mut n, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..rows {
        n.push(at);
        words.push(format!("word{}", at % 1000));
    }
    let columns: [(&str, ArrayRef); 2] =
        [("n", Arc::new(Int64Array::from(n))), ("word", Arc::new(StringArray::from(words)))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let groups = usize::try_from(rows).unwrap().div_ceil(3);
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(groups))
        .set_data_page_size_limit(16 * 1024)
        .build();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn parquet_is_asked_for_by_columns_and_its_pages_are_looked_at_when_they_come() {
    let shop = Shop::new();
    let file = parquet(300_000);
    let bytes = file.len() as u64;
    let space = crate::testing::Workspace::new();
    space.file("a.parquet", &file);
    ask(&space.source("a.parquet"), "SELECT count(*), sum(n) FROM t").unwrap();
    shop.put("a.parquet", Page::new(file));
    let source = shop.source("a.parquet");
    let answer = ask(&source, "SELECT count(*), sum(n) FROM t").unwrap();
    let rows = serde_json::to_value(&answer.table.rows).unwrap();
    assert_eq!(rows, serde_json::json!([[300_000, (0..300_000_u64).sum::<u64>()]]));
    let top = ask(&source, "SELECT n, word FROM t ORDER BY n DESC LIMIT 2").unwrap();
    let rows = serde_json::to_value(&top.table.rows).unwrap();
    assert_eq!(rows, serde_json::json!([[299_999, "word999"], [299_998, "word998"]]));
    shop.web.take_seen();
    let engine = crate::testing::engine();
    let described = crate::testing::wait(engine.describe(&source, 3, &budget())).unwrap();
    assert_eq!((described.rows, described.sample.rows.len()), (Some(300_000), 3));
    assert!(shop.web.take_seen().len() < 12, "not a request for each page");
    assert!(bytes > 500_000);
    // A page that would be larger than may be is refused before a decoder makes room for it.
    let limits = crate::Limits { page_bytes_max: 4 * 1024, ..crate::Limits::default() };
    let engine = crate::testing::engine_with(limits);
    let query = crate::testing::query("SELECT sum(n) FROM t", &[("t", &source)]);
    for fault in [
        crate::testing::wait(engine.query(&query, &budget())).map(drop).unwrap_err(),
        crate::testing::wait(engine.describe(&source, 3, &budget())).map(drop).unwrap_err(),
    ] {
        assert_eq!(fault.kind(), FaultKind::Limit, "{fault}");
        assert!(fault.public().contains("a page of"), "{fault}");
    }
}
