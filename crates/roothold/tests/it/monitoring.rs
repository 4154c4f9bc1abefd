//! What operators see of a server: its metrics, as they are described, and the page of the private port.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalog::golden;
use crate::support::{Conn, Dirs, Request, Server, Spec};

const PATIENCE: Duration = Duration::from_secs(30);

fn server(dirs: &Dirs, more: &str) -> Server {
    Spec::new(dirs.base(), dirs.config(more)).start()
}

fn read(dirs: &Dirs, path: &str) -> Request {
    Request::call("read_text_file", &json!({"path": dirs.fill_in(path)}))
}

/// The value of one series, as it is written in front of it.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {series} in {metrics}")).parse().unwrap()
}

/// Waits until the metrics are as they should be.
fn until(server: &Server, what: &str, is: impl Fn(&str) -> bool) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let metrics = server.metrics();
        if is(&metrics) {
            return metrics;
        }
        assert!(Instant::now() < until, "{what}: {metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn golden_metrics_page() {
    golden("../../docs/metrics.md", &roothold::metrics_reference());
}

#[test]
fn every_metric_that_is_described_is_there() {
    // Those of what this server has none of: jobs and datasets.
    const ELSEWHERE: [&str; 3] = ["roothold_job", "roothold_state_", "roothold_dataset_"];
    let dirs = Dirs::with_fixture();
    let database = crate::databases::sqlite(&dirs, "shop.sqlite3");
    let server = server(&dirs, &crate::databases::section("shop", &database));
    server.send(&read(&dirs, "$ROOT/hello.txt")).result();
    let list = json!({"path": dirs.fill_in("$ROOT"), "max_bytes": 1024});
    for at in 0..100 {
        dirs.write(&format!("work/many/a-name-that-takes-its-place-{at}"), "");
    }
    let list = Request::call("list_directory", &list);
    let many = json!({"path": dirs.fill_in("$ROOT/many"), "max_bytes": 1024});
    server.send(&list).result();
    server.send(&Request::call("list_directory", &many)).result();
    let query = json!({"database": "shop", "sql": "SELECT id FROM orders"});
    server.call("query_database", &query).result();
    let metrics = server.metrics();
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let types: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let page = roothold::metrics_reference();
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut described = 0;
    for name in names.filter(|name| !ELSEWHERE.iter().any(|start| name.starts_with(start))) {
        described += 1;
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(types.contains(family), "{name} is described and not there: {types:?}");
    }
    assert!(described > 40, "{described} are described");
    assert!(
        value(&metrics, "roothold_answers_cut_total{gen_ai_tool_name=\"list_directory\"}") >= 1.0
    );
}

#[test]
fn labels_are_names_of_tools_that_are_there_and_words_of_the_page() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, "");
    server.send(&read(&dirs, "$ROOT/.env")).result();
    server.call("no_such_tool", &json!({}));
    server.send(&Request::read_resource("file:///nowhere"));
    let listed = server.send(&Request::modern("tools/list", &json!({}))).result();
    let tools: BTreeSet<&str> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    let metrics = server.metrics();
    assert_eq!(roothold::undescribed(&metrics, |name| tools.contains(name)), [""; 0]);
    assert!(!roothold::undescribed(&metrics, |_| false).is_empty(), "it is looked at");
}

#[test]
fn what_can_happen_is_counted_from_nothing_on() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, "");
    let denied = "roothold_denials_total{rule=\"exclude\"}";
    let before = server.metrics();
    assert!(value(&before, denied).abs() < f64::EPSILON);
    assert!(value(&before, "roothold_http_requests_total{status=\"5xx\",path=\"full\"}") < 1.0);
    assert!(value(&before, "roothold_auth_failures_total{class=\"bad_secret\"}") < 1.0);
    server.send(&read(&dirs, "$ROOT/.env")).result();
    assert!((value(&server.metrics(), denied) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn the_audit_log_is_watched_over() {
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, "");
    let lines = value(&server.metrics(), "roothold_audit_lines_total");
    for _ in 0..5 {
        server.send(&read(&dirs, "$ROOT/hello.txt")).result();
    }
    let metrics = until(&server, "all lines reach the disk", |metrics| {
        value(metrics, "roothold_audit_unsynced_lines") < 1.0
    });
    assert!((value(&metrics, "roothold_audit_lines_total") - lines - 10.0).abs() < f64::EPSILON);
    assert!(value(&metrics, "roothold_audit_lag_seconds") < f64::EPSILON);
    assert!(value(&metrics, "roothold_audit_syncs_total") >= 2.0);
    for one in ["roothold_audit_healthy", "roothold_ready"] {
        assert!((value(&metrics, one) - 1.0).abs() < f64::EPSILON, "{one}");
    }
    let (free, size) = ("roothold_disk_free_bytes", "roothold_disk_size_bytes");
    let disk = |name: &str| value(&metrics, &format!("{name}{{disk=\"audit\"}}"));
    assert!(disk(free) <= disk(size) && disk(size) > 0.0);
}

#[test]
fn limits_are_told_beside_what_is_used_of_them() {
    let dirs = Dirs::with_fixture();
    let limits = "[limits]\nanswers_bytes_max = 1048576\nblocking_threads_max = 6\n";
    let config = dirs.config("").replace("[limits]\n", limits);
    let metrics = Spec::new(dirs.base(), config).start().metrics();
    for (series, is) in [
        ("roothold_answers_max_bytes", 1_048_576.0),
        ("roothold_answers_held_bytes", 0.0),
        ("roothold_answers_refused_total", 0.0),
        ("roothold_blocking_threads{state=\"max\"}", 6.0),
        ("roothold_blocking_waiting", 0.0),
    ] {
        assert!((value(&metrics, series) - is).abs() < f64::EPSILON, "{series}");
    }
}

#[test]
fn an_audit_log_that_could_not_be_written_goes_on_in_another_file() {
    let dirs = Dirs::with_fixture();
    let mut spec = Spec::new(dirs.base(), dirs.config(""));
    spec.small_files = true;
    let server = spec.start();
    let read = read(&dirs, "$ROOT/hello.txt");
    let is_refused = |result: &Value| result["_meta"]["io.roothold/error"]["kind"] == "unavailable";
    let refused = (0..1000).find(|_| is_refused(&server.send(&read).result()));
    assert!(refused.is_some(), "the log takes more than the limit");
    let broken = server.metrics();
    assert!(value(&broken, "roothold_audit_healthy") < 1.0);
    assert!(value(&broken, "roothold_ready") < 1.0);
    until(&server, "another file begins", |metrics| value(metrics, "roothold_audit_healthy") > 0.0);
    assert!(server.is_ready());
    assert!(!is_refused(&server.send(&read).result()));
    assert!((value(&server.metrics(), "roothold_audit_failures_total") - 1.0).abs() < f64::EPSILON);
    assert!(server.log().contains("the audit log goes on in a new file"));
    let files = std::fs::read_dir(dirs.base().join("audit")).unwrap();
    let files: Vec<Vec<u8>> =
        files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        // The one that is written may end within a line just now, the one that failed never does.
        let whole = &file[..=file.iter().rposition(|byte| *byte == b'\n').unwrap()];
        let summary = roothold::core::audit::verify(whole).unwrap();
        assert_eq!(summary.unannounced, 0);
    }
}

#[test]
fn the_page_of_the_private_port_shows_the_server() {
    let dirs = Dirs::with_fixture();
    let database = crate::databases::sqlite(&dirs, "shop.sqlite3");
    let server = server(&dirs, &crate::databases::section("shop", &database));
    server.send(&read(&dirs, "$ROOT/hello.txt")).result();
    let ask = |path: &str| Conn::open_soon(server.private).send(&Request::get(path));
    let page = ask("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = String::from_utf8(page.body).unwrap();
    for part in [
        "<span class=\"state good\">ready</span>",
        "<th scope=\"row\">read_text_file</th><td class=\"number\">1</td>",
        "<th scope=\"row\">shop</th>",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<script") && !text.contains("http://") && !text.contains("https://"));
    assert!(!text.contains(dirs.base().to_str().unwrap()), "no path of the host");
    assert_eq!(ask("/elsewhere").status, 404);
}

/// Else whoever starts dead servers anew would end each one that has many clients.
#[test]
fn the_private_port_says_that_a_server_lives_whose_clients_have_all_connections() {
    const CONNECTIONS: usize = 5;
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, &format!("connections_max = {CONNECTIONS}"));
    let health = Request::get("/health");
    let mut clients = Vec::new();
    let has_all = (0..=CONNECTIONS).any(|_| {
        let mut client = Conn::open(server.address);
        client.write_if_open(&health.bytes());
        let is_refused = client.read().is_none();
        clients.push(client);
        is_refused
    });
    assert!(has_all, "there is room for more than {CONNECTIONS}");
    assert_eq!(Conn::open_soon(server.private).send(&health).status, 200);
}

/// Else whoever starts dead servers anew would end one whose scrapers hang.
#[test]
fn the_private_port_says_that_a_server_lives_whose_scrapers_hang() {
    /// As many as have their full time.
    const SCRAPERS: usize = 16;
    let dirs = Dirs::with_fixture();
    let server = server(&dirs, "");
    // They are let go after ten seconds, which are over here and there on a machine that does much else.
    let is_beside = (0..3).any(|_| {
        let mut hung: Vec<Conn> = (0..SCRAPERS).map(|_| Conn::open_soon(server.private)).collect();
        for scraper in &mut hung {
            scraper.write_if_open(b"GET /metrics HTTP/1.1\r\n");
        }
        let lives = Conn::open(server.private).send(&Request::get("/health")).status == 200;
        lives && hung.iter().all(Conn::is_silent)
    });
    assert!(is_beside, "who asks waits until {SCRAPERS} scrapers have been let go");
}

/// A page of somebody else's in a browser here, whose name was made to lead to loopback.
#[test]
fn the_private_port_answers_only_those_who_mean_it() {
    let dirs = Dirs::with_fixture();
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    let ask = |host: &str, path: &str| {
        Conn::open_soon(server.private).send(&Request::get(path).with("Host", host))
    };
    for path in ["/", "/metrics", "/status", "/health"] {
        let refused = ask("evil.example:9464", path);
        assert_eq!(refused.status, 403, "{path}");
        assert!(!String::from_utf8_lossy(&refused.body).contains("roothold_"), "{path}");
        assert_eq!(ask(&server.private.to_string(), path).status, 200, "{path}");
    }
}
