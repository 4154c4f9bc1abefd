//! What writes that a crash cut off may have left on disk, as the logs of their processes tell.
//!
//! Only logs that no live process holds are read, the newest of them, and of each its end: what
//! was running at a crash was announced shortly before it. Neither hashes nor order are checked;
//! what is done with the answer must be harmless whatever the log says.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::read::{Event, Record};

/// How many logs are read, how much of each, and of all together: a start must not be slow because
/// many were kept.
const LOGS_MAX: usize = 1000;
const TAIL_BYTES: u64 = 8 * 1024 * 1024;
const BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A temporary file that may be there, beside its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The public path of the file that was to be written.
    pub target: String,
    /// The name of the temporary file.
    pub temp: String,
}

/// What the logs beside `own` leave open. What cannot be read is passed over: the files that it
/// would name are swept later, when a write meets them.
pub(super) fn left(own: &Path) -> Vec<Left> {
    let (mut left, mut read) = (Vec::new(), 0);
    for log in others(own).unwrap_or_default().iter().take(LOGS_MAX) {
        if let Ok(Some(mut file)) = open_if_unused(log) {
            let (bytes, of_this) = of_log(&mut file).unwrap_or_default();
            left.extend(of_this);
            read += bytes;
        }
        if read >= BYTES_MAX {
            break;
        }
    }
    left
}

/// The other logs in the directory, the newest first: their names begin with their time.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit directory is the operator's; see the sink"
)]
fn others(own: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(dir) = own.parent() else { return Ok(Vec::new()) };
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path != own && name.starts_with("audit-") && name.ends_with(".jsonl") {
            logs.push(path);
        }
    }
    logs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(logs)
}

/// Opens a log, unless a live process holds it or that cannot be told.
#[expect(
    clippy::disallowed_methods,
    reason = "the audit directory is the operator's; see the sink"
)]
fn open_if_unused(log: &Path) -> io::Result<Option<File>> {
    let file = File::open(log)?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file))
}

/// How much was read, and what it tells.
fn of_log(file: &mut File) -> io::Result<(u64, Vec<Left>)> {
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    // Line by line: what a whole tail takes, the allocator would keep for a while.
    of_lines(BufReader::new(file.take(TAIL_BYTES)))
}

/// How much was read, and the temporary names of intents without an outcome.
fn of_lines(mut lines: impl BufRead) -> io::Result<(u64, Vec<Left>)> {
    let mut open: HashMap<u64, Vec<Left>> = HashMap::new();
    let (mut line, mut read) = (Vec::new(), 0);
    loop {
        line.clear();
        let bytes = lines.read_until(b'\n', &mut line)?;
        if bytes == 0 {
            break;
        }
        read += bytes as u64;
        let announces = memchr::memmem::find(&line, b"\"temp\":\"").is_some();
        let ends = !open.is_empty() && memchr::memmem::find(&line, b"\"outcome\"").is_some();
        if !announces && !ends {
            continue;
        }
        // The first line may be the rest of one, and the last may be cut off.
        let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
        match record.event {
            Event::Intent { call, actions, .. } => {
                let left = actions
                    .into_iter()
                    .filter_map(|action| Some(Left { target: action.target, temp: action.temp? }));
                open.insert(call, left.collect());
            }
            Event::Outcome { call, .. } => {
                open.remove(&call);
            }
            _ => {}
        }
    }
    Ok((read, open.into_values().flatten().collect()))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{Action, AuditLog, AuditOptions, CallId, Decision, Intent, Outcome};

    const TEMP: &str = ".roothold-0123456789abcdef0123456789abcdef.tmp";

    fn announce(log: &AuditLog, target: &str, ends: bool) {
        let call: CallId = log.next_call();
        let actions =
            [Action { verb: "write", target, denied: None, temp: Some(TEMP), statement: None }];
        let intent = Intent {
            call,
            principal: "anna",
            tool: "write_file",
            actions: &actions,
            decision: Decision::Allow,
            rule: "policy",
            request_id: "r",
        };
        log.intent_write(&intent).unwrap();
        if ends {
            let outcome =
                Outcome { call, fault: None, rule: None, bytes_out: 0, duration: Duration::ZERO };
            log.outcome(&outcome).unwrap();
        }
    }

    /// A log as a crash leaves it: nobody holds it, and it has no stop line.
    fn crashed(dir: &Path) {
        let inner = tempfile::tempdir().unwrap();
        let log = AuditLog::open(inner.path(), AuditOptions::default()).unwrap();
        announce(&log, "/work/done.txt", true);
        announce(&log, "/work/cut off.txt", false);
        log.flush().unwrap();
        let name = log.path().file_name().unwrap().to_owned();
        let mut bytes = std::fs::read(log.path()).unwrap();
        bytes.extend_from_slice(b"{\"v\":2,\"seq\":9,\"temp\":\"half a line");
        std::fs::write(dir.join(name), bytes).unwrap();
    }

    #[test]
    fn only_unfinished_writes_of_the_dead_are_told() {
        let dir = tempfile::tempdir().unwrap();
        crashed(dir.path());
        let alive = AuditLog::open(dir.path(), AuditOptions::default()).unwrap();
        announce(&alive, "/work/alive.txt", false);
        let own = AuditLog::open(dir.path(), AuditOptions::default()).unwrap();
        announce(&own, "/work/own.txt", false);
        let wanted = Left { target: "/work/cut off.txt".to_owned(), temp: TEMP.to_owned() };
        assert_eq!(own.left_by_others(), [wanted]);
        drop(alive);
        assert_eq!(own.left_by_others().len(), 2, "a log is nobody's once its process is gone");
    }

    #[test]
    fn what_is_no_log_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("audit-x.jsonl"), b"\"temp\":\"\n\xff\n{}\n").unwrap();
        std::fs::create_dir(dir.path().join("audit-y.jsonl")).unwrap();
        let own = AuditLog::open(dir.path(), AuditOptions::default()).unwrap();
        assert_eq!(own.left_by_others(), []);
    }
}
