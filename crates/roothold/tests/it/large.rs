//! Files far larger than the memory that the server may take for them.
//!
//! The files are 256 MiB in the usual run and 10 GiB with `ROOTHOLD_TEST_FULL=1`.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

use serde_json::{Value, json};

use crate::support::{Dirs, Request, Server, Spec, full, texts};

/// What the server may take above what it takes when idle.
const ABOVE_IDLE_MAX: u64 = 40_000_000;
const LINE: &str = "a line of text\n";
/// The lines before the hole of a sparse file.
const FIRST_LINES: u64 = 200_000;
const END: &str = "\nthe end\n";

fn size() -> u64 {
    if full() { 10 << 30 } else { 256 << 20 }
}

/// Text, a hole, and a last line.
fn sparse(dirs: &Dirs, name: &str) {
    let mut file = fs::File::create(dirs.work().join(name)).unwrap();
    file.write_all(LINE.repeat(usize::try_from(FIRST_LINES).unwrap()).as_bytes()).unwrap();
    file.seek(SeekFrom::Start(size() - END.len() as u64)).unwrap();
    file.write_all(END.as_bytes()).unwrap();
}

/// Nothing but lines; gives how many.
fn dense(dirs: &Dirs, name: &str) -> u64 {
    let mut file = fs::File::create(dirs.work().join(name)).unwrap();
    let block = LINE.repeat(100_000);
    let blocks = (size() - END.len() as u64) / block.len() as u64;
    for _ in 0..blocks {
        file.write_all(block.as_bytes()).unwrap();
    }
    file.write_all(&END.as_bytes()[1..]).unwrap();
    blocks * 100_000 + 1
}

struct Reader<'a> {
    server: &'a Server,
    path: String,
}

impl Reader<'_> {
    fn read(&self, range: &Value) -> Vec<String> {
        let mut arguments = json!({"path": self.path});
        arguments.as_object_mut().unwrap().extend(range.as_object().unwrap().clone());
        let result = self.server.call("read_text_file", &arguments).result();
        let blocks = texts(&result);
        assert!(blocks[0].len() <= 1 << 20, "{}", blocks[0].len());
        blocks
    }

    /// Asks again while there was not enough time: each call goes on where the one before ended.
    fn find(&self, range: &Value) -> Vec<String> {
        const TRIES: usize = 30;
        let mut tries = (0..TRIES).map(|_| self.read(range));
        tries.find(|blocks| !blocks[0].starts_with("timeout:")).unwrap()
    }

    /// What the tools can do with a text whose last line is "the end".
    fn use_everything(&self, last_line: u64) {
        let first = self.read(&json!({}));
        assert!(first[0].starts_with(LINE) && first[0].len() <= 65_536);
        let mut page = self.read(&json!({"max_bytes": 1 << 20}));
        for _ in 0..2 {
            let cursor = page[1].split("next_cursor=").nth(1).unwrap();
            page = self.read(&json!({"max_bytes": 1 << 20, "cursor": cursor}));
        }
        assert!(self.read(&json!({"head": 2}))[1].starts_with("hash="));
        assert_eq!(self.read(&json!({"tail": 1}))[0], "the end\n");
        // Twice: with marks of lines from the first time.
        for _ in 0..2 {
            let lines = self.find(&json!({"line_start": last_line, "line_end": last_line}));
            assert_eq!(lines[0], "the end");
            let middle = self.find(&json!({"line_start": 100_000, "line_end": 100_009}));
            assert_eq!(middle[0], LINE.repeat(10).trim_end());
            let past = self.find(&json!({"line_start": last_line + 1}));
            assert!(past[0].contains(&format!("the file has {last_line} lines")), "{}", past[0]);
        }
        let range = json!({"byte_start": size() / 2, "byte_end": size() / 2 + 100});
        assert!(!self.read(&range)[0].is_empty());
        let many = json!({"paths": [self.path, self.path]});
        assert!(self.server.call("read_multiple_files", &many).text().contains(LINE));
        for (tool, arguments) in [
            ("read_media_file", json!({"path": self.path})),
            ("get_file_info", json!({"path": self.path})),
            ("search_content", json!({"path": self.path, "pattern": "the e(nd)?$"})),
            ("search_content", json!({"path": self.path, "pattern": "text", "context": 9})),
        ] {
            self.server.call(tool, &arguments);
        }
        let uri = format!("file://{}", self.path);
        let whole = self.server.send(&Request::read_resource(&uri)).json();
        let message = whole["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("limit:") && message.contains("read_text_file"), "{message}");
    }
}

#[test]
fn huge_files_are_read_in_little_memory() {
    let dirs = Dirs::with_fixture();
    sparse(&dirs, "sparse.log");
    let dense_lines = dense(&dirs, "dense.log");
    let server = Spec::new(dirs.base(), dirs.config("")).start();
    server.call("read_text_file", &json!({"path": dirs.fill_in("$ROOT/hello.txt")}));
    let (idle, _) = server.memory();
    for (name, last_line) in [("sparse.log", FIRST_LINES + 2), ("dense.log", dense_lines)] {
        let path = dirs.fill_in(&format!("$ROOT/{name}"));
        Reader { server: &server, path }.use_everything(last_line);
        let (_, highest) = server.memory();
        println!("{name}: {} MB above idle at most", (highest - idle) / 1_000_000);
        assert!(highest - idle < ABOVE_IDLE_MAX, "{name}: {idle} to {highest}");
    }
    // Six searches for lines in each file; one small file was read.
    assert!(asked(&server, "lines") >= 12);
    assert_eq!(asked(&server, "content"), 1);
}

/// How often a cache was asked, as the metrics say it.
fn asked(server: &Server, cache: &str) -> u64 {
    let metrics = server.metrics();
    let prefix = format!("roothold_cache_requests_total{{cache=\"{cache}\",outcome=\"");
    let counts = metrics.lines().filter_map(|line| line.strip_prefix(&prefix));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn what_is_switched_off_is_not_counted() {
    let dirs = Dirs::with_fixture();
    let off = "[cache]\ncontent_bytes_max = 0\nlines_bytes_max = 0\n";
    let server = Spec::new(dirs.base(), dirs.config(off)).start();
    let read = json!({"path": dirs.fill_in("$ROOT/hello.txt")});
    for _ in 0..3 {
        assert!(server.call("read_text_file", &read).text().contains("PUBLIC-HELLO"));
    }
    assert_eq!(asked(&server, "content"), 0);
    let bytes = "roothold_cache_bytes{cache=\"content\"} 0";
    assert!(server.metrics().lines().any(|line| line == bytes));
}
