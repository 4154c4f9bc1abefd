//! A small web server that gives parts of files, and can be told to misbehave.

use std::collections::HashMap;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a page is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As it should be.
    Fair,
    /// All of it, whatever was asked for.
    Whole,
    /// With a redirect there.
    Redirect(String),
    /// The first bytes of each part, and then the connection breaks.
    Breaks(usize),
    /// The first bytes of each part, and then nothing.
    Stalls(usize),
    /// More than was asked for.
    TooMuch,
    /// An error without an end.
    Endless,
    /// With that status.
    Status(u16),
}

/// A file that can be asked for.
#[derive(Debug, Clone)]
pub struct Page {
    /// What it holds.
    pub body: Arc<[u8]>,
    /// Its `ETag`, quoted.
    pub etag: Option<String>,
    /// Its `Last-Modified`.
    pub modified: Option<String>,
    /// How it is given.
    pub manner: Manner,
    /// Whether `If-Match` and the like are ignored.
    pub ignores_conditions: bool,
}

impl Page {
    /// A page that is given as it should be.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into().into(),
            etag: Some("\"one\"".to_owned()),
            modified: Some("Thu, 26 Nov 2026 04:17:03 GMT".to_owned()),
            manner: Manner::Fair,
            ignores_conditions: false,
        }
    }
}

/// A request as it came: its line and its headers, in lower case.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Such as `GET /a.csv HTTP/1.1`.
    pub line: String,
    /// By name.
    pub headers: HashMap<String, String>,
}

/// The server. Its threads end with the process of the test.
#[derive(Debug, Clone)]
pub struct Web {
    address: SocketAddr,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Web {
    /// Listens on a port of its own, on loopback.
    ///
    /// # Panics
    /// Where there is no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let web = Self { address, pages: Arc::default(), seen: Arc::default() };
        let serving = web.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // A client that goes away is no failure.
                std::thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        web
    }

    /// Its URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Puts a page at a path, which begins with a slash.
    ///
    /// # Panics
    /// If another thread of the test panicked.
    pub fn put(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Takes what was asked for so far.
    ///
    /// # Panics
    /// If another thread of the test panicked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(seen) = request(&mut reader)? {
            let path = seen.line.split(' ').nth(1).unwrap_or_default().to_owned();
            let page = self.pages.lock().unwrap().get(&path).cloned();
            self.seen.lock().unwrap().push(seen.clone());
            match page {
                Some(page) => {
                    if !answer(&mut writer, &seen, &page)? {
                        return Ok(());
                    }
                }
                None => writer.write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n")?,
            }
        }
        Ok(())
    }
}

fn request(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Seen { line: line.trim_end().to_owned(), headers }))
}

/// Answers, and tells whether the connection goes on.
fn answer(writer: &mut impl std::io::Write, seen: &Seen, page: &Page) -> std::io::Result<bool> {
    let is_head = seen.line.starts_with("HEAD ");
    match &page.manner {
        Manner::Redirect(to) => {
            write!(writer, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(true);
        }
        Manner::Status(status) if !is_head => {
            write!(writer, "HTTP/1.1 {status} X\r\nContent-Length: 6\r\n\r\nS3CR3T")?;
            return Ok(true);
        }
        Manner::Endless if !is_head => {
            write!(writer, "HTTP/1.1 400 X\r\n\r\n")?;
            loop {
                writer.write_all(&[b'x'; 65536])?;
            }
        }
        _ => {}
    }
    if !page.ignores_conditions && is_other(seen, page) {
        writer.write_all(b"HTTP/1.1 412 Other\r\nContent-Length: 0\r\n\r\n")?;
        return Ok(true);
    }
    let range = seen.headers.get("range").and_then(|range| range_of(range, page.body.len()));
    let range = range.filter(|_| page.manner != Manner::Whole);
    let (status, part) = match range {
        Some((from, to)) => (206, from..to),
        None => (200, 0..page.body.len()),
    };
    write!(writer, "HTTP/1.1 {status} OK\r\nAccept-Ranges: bytes\r\n")?;
    for (name, value) in [("ETag", &page.etag), ("Last-Modified", &page.modified)] {
        if let Some(value) = value {
            write!(writer, "{name}: {value}\r\n")?;
        }
    }
    if status == 206 {
        let (last, all) = (part.end.saturating_sub(1), page.body.len());
        write!(writer, "Content-Range: bytes {}-{last}/{all}\r\n", part.start)?;
    }
    let body = &page.body[part];
    if page.manner == Manner::TooMuch && !is_head {
        write!(writer, "Content-Length: {}\r\n\r\n", body.len() + 1000)?;
        writer.write_all(body)?;
        writer.write_all(&[b'x'; 1000])?;
        return Ok(false);
    }
    write!(writer, "Content-Length: {}\r\n\r\n", body.len())?;
    if is_head {
        return Ok(true);
    }
    match page.manner {
        Manner::Breaks(bytes) if bytes < body.len() => {
            writer.write_all(&body[..bytes])?;
            Ok(false)
        }
        Manner::Stalls(bytes) if bytes < body.len() => {
            writer.write_all(&body[..bytes])?;
            std::thread::sleep(Duration::from_mins(5));
            Ok(false)
        }
        _ => writer.write_all(body).map(|()| true),
    }
}

fn is_other(seen: &Seen, page: &Page) -> bool {
    let has = |name: &str| seen.headers.get(name);
    let is_weak = page.etag.as_deref().is_some_and(|tag| tag.starts_with("W/"));
    has("if-match").is_some_and(|tag| is_weak || Some(tag) != page.etag.as_ref())
        || has("if-unmodified-since").is_some_and(|time| Some(time) != page.modified.as_ref())
}

/// From where to where a header asks; the end is behind the last.
fn range_of(header: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let from: usize = from.parse().ok()?;
    let to = to.parse::<usize>().map_or(length, |last| last + 1).min(length);
    (from < to).then_some((from, to))
}
