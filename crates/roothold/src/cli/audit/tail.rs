//! `roothold audit tail`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use roothold_core::audit::{Event, Record};

use super::super::{ConfigArgs, disk, say};
use super::logs_in;

/// Shows the last records, and follows new ones.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Tail {
    /// The directory of the log. Default: the configured one, or the user's.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// The configuration whose log is meant.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How many records to show first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    lines: usize,
    /// Stay, and show records as they come, also those of a server that starts later.
    #[arg(long, short)]
    follow: bool,
    /// The lines as they are in the log.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Records are shown as they are; whether the log is whole is the answer of `roothold audit verify`.

Examples:
  roothold audit tail -f
  roothold audit tail --dir /var/lib/roothold/audit -n 100 --json";

/// How often the log is looked at while it is followed.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl Tail {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let directory = match (&self.dir, self.config.clone()) {
            (Some(directory), _) => directory.clone(),
            (None, config) => {
                let source = ConfigArgs { config, ..ConfigArgs::default() };
                source.load(&[], false, Vec::new())?.audit_dir()?
            }
        };
        let mut logs: Vec<Log> = Vec::new();
        let mut last: Vec<(String, String)> = Vec::new();
        let found = logs_in(&directory)?;
        // Which log is meant depends on who asks, and from where.
        say(&format!("roothold: the log in {}", directory.display()));
        for path in found {
            let mut log = Log::open(path)?;
            merge(&mut last, log.last_lines(self.lines)?, self.lines);
            logs.push(log);
        }
        let show = |line: &str| {
            let text = if self.json { line.to_owned() } else { human(line) };
            let mut out = std::io::stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
        };
        // A reader that went away ends the command.
        let mut goes_on = last.iter().all(|(_, line)| show(line)) && self.follow;
        while goes_on {
            std::thread::sleep(POLL_INTERVAL);
            follow_new(&directory, &mut logs)?;
            for log in &mut logs {
                while let Some(line) = log.next_line()? {
                    goes_on = goes_on && show(&line);
                }
            }
        }
        Ok(0)
    }
}

/// Opens logs that were not there before.
fn follow_new(directory: &Path, logs: &mut Vec<Log>) -> anyhow::Result<()> {
    for path in logs_in(directory)? {
        if logs.iter().all(|log| log.path != path) {
            logs.push(Log::open(path)?);
        }
    }
    Ok(())
}

/// Takes up the lines of another log, in the order of their times, since logs of servers that ran
/// at once overlap; only the last `max` stay.
fn merge(last: &mut Vec<(String, String)>, lines: VecDeque<String>, max: usize) {
    let mut time = String::new();
    for line in lines {
        // What is no record stays beside the one before it.
        if let Ok(record) = serde_json::from_str::<Record>(&line) {
            time = record.ts;
        }
        last.push((time.clone(), line));
    }
    last.sort_by(|(a, _), (b, _)| a.cmp(b));
    last.drain(..last.len().saturating_sub(max));
}

/// A log that is read up to its end, again and again.
struct Log {
    path: PathBuf,
    /// None after its stop line, so that a closed file that is moved away gives its room back.
    reader: Option<BufReader<File>>,
    /// A line that was not whole yet.
    begun: Vec<u8>,
}

impl Log {
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let reader = Some(BufReader::new(disk::open(&path)?));
        Ok(Self { path, reader, begun: Vec::new() })
    }

    /// The last whole lines, up to `max`.
    fn last_lines(&mut self, max: usize) -> anyhow::Result<VecDeque<String>> {
        let mut last = VecDeque::new();
        while let Some(line) = self.next_line()? {
            last.push_back(line);
            if last.len() > max {
                last.pop_front();
            }
        }
        Ok(last)
    }

    /// The next whole line, without its end.
    fn next_line(&mut self) -> anyhow::Result<Option<String>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        reader.read_until(b'\n', &mut self.begun)?;
        if self.begun.pop_if(|last| *last == b'\n').is_none() {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.begun);
        if memchr::memmem::find(&line, b"\"kind\":\"stop\"").is_some() {
            self.reader = None;
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }
}

/// A record as one line for people.
fn human(line: &str) -> String {
    let Ok(Record { ts, event, .. }) = serde_json::from_str(line) else {
        return "a line that is no audit record".to_owned();
    };
    match event {
        Event::Boot { version, replica, .. } => {
            format!("{ts} boot     {} version {version}", plain(&replica))
        }
        Event::Intent { call, principal, tool, actions, decision, rule, .. } => {
            let targets: Vec<String> = actions
                .iter()
                .map(|action| {
                    let denied = action.denied.as_ref().map(|rule| format!(" (denied: {rule})"));
                    // A relative path that is empty is the root itself.
                    let target = if action.target.is_empty() { "." } else { &action.target };
                    format!("{} {target}{}", action.verb, denied.unwrap_or_default())
                })
                .collect();
            let why = if decision == "allow" { String::new() } else { format!(" by {rule}") };
            plain(&format!(
                "{ts} {decision:<8} #{call} {principal} {tool}: {}{why}",
                targets.join(", ")
            ))
        }
        Event::Outcome { call, ok, fault, bytes_out, duration_us, .. } => {
            let what = fault.unwrap_or_else(|| if ok { "ok" } else { "failed" }.to_owned());
            format!("{ts} outcome  #{call} {what}, {bytes_out} bytes in {duration_us} µs")
        }
        Event::AuthFailure { class, remote, .. } => plain(&format!(
            "{ts} refused  authentication failed: {class}, from {}",
            remote.as_deref().unwrap_or("unknown")
        )),
        Event::Closed { file } => plain(&format!("{ts} closed   {}", file.log)),
        Event::Stop { next } => {
            let next = next.map(|next| format!("     the log goes on in {next}"));
            plain(&format!("{ts} stop{}", next.unwrap_or_default()))
        }
    }
}

/// Text that cannot move the cursor of a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00";

    #[test]
    fn logs_that_overlap_are_shown_in_the_order_of_time() {
        let line = |ts: &str| {
            format!(r#"{{"v":1,"seq":1,"ts":"{ts}","kind":"stop","prev":null,"hash":"{HASH}"}}"#)
        };
        let mut last = Vec::new();
        merge(&mut last, [line("T1"), line("T4"), "torn".to_owned()].into(), 4);
        merge(&mut last, [line("T2"), line("T3")].into(), 4);
        let shown: Vec<&str> = last.iter().map(|(time, _)| time.as_str()).collect();
        assert_eq!(shown, ["T2", "T3", "T4", "T4"]);
        assert_eq!(last[3].1, "torn");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a fixture is made on disk")]
    fn a_log_that_has_stopped_is_let_go() {
        let line = |kind: &str| format!("{{\"v\":3,\"kind\":\"{kind}\"}}\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line("boot")).unwrap();
        let mut log = Log::open(file.path().to_owned()).unwrap();
        assert_eq!(log.last_lines(9).unwrap().len(), 1);
        assert!(log.reader.is_some());
        let more = std::fs::File::options().append(true).open(file.path());
        more.unwrap().write_all((line("outcome") + &line("stop")).as_bytes()).unwrap();
        assert_eq!(log.last_lines(9).unwrap().len(), 2);
        assert!(log.reader.is_none() && log.next_line().unwrap().is_none());
    }

    #[test]
    fn records_are_lines_for_people() {
        let intent = format!(
            r#"{{"v":1,"seq":2,"ts":"T","kind":"intent","call":7,"principal":"ci","tool":"read_text_file","actions":[{{"verb":"read","target":"/a\u001b[2J"}}],"decision":"deny","rule":"exclude .env","request_id":"r","prev":"{HASH}","hash":"{HASH}"}}"#
        );
        assert_eq!(
            human(&intent),
            "T deny     #7 ci read_text_file: read /a\u{fffd}[2J by exclude .env"
        );
        let outcome = format!(
            r#"{{"v":1,"seq":3,"ts":"T","kind":"outcome","call":7,"ok":true,"bytes_out":12,"duration_us":34,"prev":"{HASH}","hash":"{HASH}"}}"#
        );
        assert_eq!(human(&outcome), "T outcome  #7 ok, 12 bytes in 34 µs");
        let stop = format!(
            r#"{{"v":3,"seq":4,"ts":"T","kind":"stop","next":"b","prev":"{HASH}","hash":"{HASH}"}}"#
        );
        assert_eq!(human(&stop), "T stop     the log goes on in b");
        assert_eq!(human("{}"), "a line that is no audit record");
    }
}
