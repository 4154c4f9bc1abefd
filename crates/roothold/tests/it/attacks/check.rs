//! One case from beginning to end, and what must hold after every one.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::case::{Case, Step, strings};
use super::steps::{Ask, Seen, Wire};
use super::{race, setup, watched};
use crate::killed;
use crate::support::{Audit, Conn, Dirs, Request, Server, Spec, Stdio, find_canary, full};

pub(super) enum Verdict {
    Passed,
    NotRun(String),
    Failed(String),
}

/// Outcomes that are as safe as those that the battery names, each with its reason.
const ALSO: &[(&str, &str, &str)] = &[(
    "FS-325",
    "invalid",
    "the file swapped in holds NULs, and binary is refused before its size matters",
)];

type Checked = Result<(), String>;

/// Debug builds on shared machines are slower than what the battery's limits are meant for.
const SLOWNESS: u32 = if cfg!(debug_assertions) { 5 } else { 1 };

pub(super) fn over_http(case: &Case) -> Verdict {
    let mut dirs = Dirs::with_fixture();
    if let Err(why) = prepare(case, &mut dirs) {
        return why;
    }
    // Room for what the cases about size send.
    let mut config = dirs.config("body_bytes_max = 33554432\n");
    if case.calls.iter().any(|step| step.tool == "@kill_during") {
        return verdict(killed::battery(case.calls[0].args["rounds"].as_u64().unwrap(), &dirs));
    }
    let retargeted = attacker_kind(case) == Some("root_is_symlink_retargeted");
    if retargeted {
        config = race::through_a_link(&dirs, &config);
    }
    let before = snapshot(case, &dirs);
    let server = Spec::new(dirs.base(), config).start();
    let tools = tools_of(&server);
    if let Some(why) = cannot_run(case, &dirs, &tools) {
        return Verdict::NotRun(why);
    }
    if retargeted {
        race::retarget(&dirs);
    }
    let mut wire = Wire::Http(&server, Conn::open(server.address));
    let seen = match attacker_kind(case) {
        Some("exchange") => race::run(case, &dirs, &mut wire, &tools),
        _ => run_steps(case, &dirs, &mut wire, &tools),
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => return Verdict::Failed(why),
    };
    let checked = expectations(case, &dirs, &seen)
        .and_then(|()| posts(case, &dirs, &before))
        .and_then(|()| invariants(&server, &dirs, seen.len(), case));
    verdict(checked)
}

pub(super) fn over_stdio(case: &Case) -> Verdict {
    let mut dirs = Dirs::with_fixture();
    if let Err(why) = prepare(case, &mut dirs) {
        return why;
    }
    let before = snapshot(case, &dirs);
    let mut stdio = Stdio::start(dirs.base(), &dirs.config(""));
    let (listed, _) = stdio.request("tools/list", &json!({}));
    let tools = names(&listed["result"]);
    if let Some(why) = cannot_run(case, &dirs, &tools) {
        return Verdict::NotRun(why);
    }
    let mut wire = Wire::Stdio(stdio);
    let seen = match run_steps(case, &dirs, &mut wire, &tools) {
        Ok(seen) => seen,
        Err(why) => return Verdict::Failed(why),
    };
    let Wire::Stdio(stdio) = wire else { unreachable!("it was made above") };
    let status = stdio.end();
    let checked = expectations(case, &dirs, &seen)
        .and_then(|()| posts(case, &dirs, &before))
        .and_then(|()| if status.success() { Ok(()) } else { Err(format!("{status}")) })
        .and_then(|()| audited(&Audit::read(&dirs.base().join("audit")), seen.len()))
        .and_then(|()| {
            let log = fs::read(dirs.base().join("stderr.log")).unwrap();
            no_canary("the log", &log)
        });
    verdict(checked)
}

fn verdict(checked: Checked) -> Verdict {
    checked.map_or_else(Verdict::Failed, |()| Verdict::Passed)
}

fn prepare(case: &Case, dirs: &mut Dirs) -> Result<(), Verdict> {
    for op in &case.setup {
        if let Err(why) = setup::apply(dirs, op) {
            // Only where the battery itself says so may a refused preparation be skipped.
            let may_skip = case.note.contains("skip when");
            return Err(if may_skip { Verdict::NotRun(why) } else { Verdict::Failed(why) });
        }
    }
    Ok(())
}

fn attacker_kind(case: &Case) -> Option<&str> {
    case.attacker.as_ref()?["kind"].as_str()
}

pub(super) fn tools_of(server: &Server) -> HashSet<String> {
    names(&server.send(&Request::modern("tools/list", &json!({}))).result())
}

fn names(result: &Value) -> HashSet<String> {
    let tools = result["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Why a case would show nothing: none of its calls, or not the first of a control, exists.
fn cannot_run(case: &Case, dirs: &Dirs, tools: &HashSet<String>) -> Option<String> {
    let missing: Vec<Option<&str>> = case
        .calls
        .iter()
        .flat_map(inner_steps)
        .map(|step| Ask::of(&step, dirs).needs().filter(|tool| !tools.contains(*tool)))
        .collect();
    let all = !missing.is_empty() && missing.iter().all(Option::is_some);
    let control = case.group == "control" && missing.first().is_some_and(Option::is_some);
    let first = missing.iter().flatten().next();
    first.filter(|_| all || control).map(|tool| format!("there is no tool {tool}"))
}

fn inner_steps(step: &Step) -> Vec<Step> {
    match step.tool.as_str() {
        "@same_response" => ["a", "b"].map(|key| Step::of(&step.args[key])).to_vec(),
        "@parallel" | "@cancel_after_ms" | "@loop" | "@kill_during" => {
            vec![Step::of(&step.args["inner"])]
        }
        "@parallel_distinct" => {
            step.args["inner"].as_array().unwrap().iter().map(Step::of).collect()
        }
        "@audit_count" | "@watch" => Vec::new(),
        _ => vec![step.clone()],
    }
}

pub(super) fn run_steps(
    case: &Case,
    dirs: &Dirs,
    wire: &mut Wire<'_>,
    tools: &HashSet<String>,
) -> Result<Vec<Seen>, String> {
    let mut seen = Vec::new();
    for step in &case.calls {
        let asks: Vec<Ask> = inner_steps(step).iter().map(|step| Ask::of(step, dirs)).collect();
        if asks.iter().any(|ask| ask.needs().is_some_and(|tool| !tools.contains(tool))) {
            continue;
        }
        match step.tool.as_str() {
            "@audit_count" => {
                // The books are checked after every case; here they have something to hold.
                for path in ["hello.txt", ".env", "nosuch", "../outside/secret.txt"] {
                    let path = dirs.fill_in(&format!("$ROOT/{path}"));
                    seen.push(wire.ask(&Ask::Call("read_text_file", json!({"path": path}))));
                }
            }
            "@same_response" => {
                let (a, b) = (wire.ask(&asks[0]), wire.ask(&asks[1]));
                if a.message["result"] != b.message["result"] {
                    return Err(format!("not the same: {} and {}", a.message, b.message));
                }
                seen.extend([a, b]);
            }
            "@parallel" => {
                let n = usize::try_from(step.args["n"].as_u64().unwrap()).unwrap();
                seen.extend(wire.ask_at_once(std::iter::repeat_n(&asks[0], n)));
            }
            "@loop" => {
                for at in 0..step.args["n"].as_u64().unwrap().min(if full() { 20_000 } else { 200 })
                {
                    let mut inner = Step::of(&step.args["inner"]);
                    for value in inner.args.values_mut() {
                        *value = json!(value.as_str().unwrap().replace("{i}", &at.to_string()));
                    }
                    seen.push(wire.ask(&Ask::of(&inner, dirs)));
                }
            }
            "@parallel_distinct" => seen.extend(wire.ask_at_once(&asks)),
            "@cancel_after_ms" => {
                seen.push(wire.hang_up_after(step.args["ms"].as_u64().unwrap(), &asks[0]));
            }
            "@watch" => seen.extend(watched::run(step, dirs, wire)?),
            _ => seen.push(wire.ask(&asks[0])),
        }
    }
    Ok(seen)
}

pub(super) fn expectations(case: &Case, dirs: &Dirs, seen: &[Seen]) -> Checked {
    let expect = &case.expect;
    let allowed = strings(&expect["outcome"]);
    for seen in seen {
        let shown = String::from_utf8_lossy(&seen.raw[..seen.raw.len().min(400)]).into_owned();
        // A tool that was never meant to exist is refused by not existing.
        let also = ALSO.iter().any(|(id, outcome, _)| (*id, *outcome) == (&*case.id, seen.outcome));
        let fine =
            also || seen.outcome == "unsupported" || allowed.iter().any(|ok| ok == seen.outcome);
        if !allowed.is_empty() && !fine {
            return Err(format!("{} is {}: {shown}", seen.tool, seen.outcome));
        }
        no_canary("an answer", &seen.raw)?;
        let limit = expect["max_ms"].as_u64().unwrap_or(5000);
        if seen.took > Duration::from_millis(limit) * SLOWNESS {
            return Err(format!("{} took {:?}", seen.tool, seen.took));
        }
        if let Some(max) = expect["max_bytes"].as_u64()
            && seen.raw.len() as u64 > max
        {
            return Err(format!("{} gave {} bytes", seen.tool, seen.raw.len()));
        }
        for text in strings(&expect["not_contains"]) {
            if seen.text().contains(&dirs.fill_in(&text)) {
                return Err(format!("{} tells {text}: {shown}", seen.tool));
            }
        }
        for key in ["raw_not_contains", "wire_not_contains"] {
            for text in strings(&expect[key]) {
                if memchr::memmem::find(&seen.raw, text.as_bytes()).is_some() {
                    return Err(format!("{} sends {text:?}", seen.tool));
                }
            }
        }
    }
    if expect["exactly_one_ok"] == true
        && seen.iter().filter(|seen| seen.outcome == "ok").count() != 1
    {
        return Err(format!("not exactly one was ok: {seen:?}"));
    }
    if let Some(wanted) = expect["contains"].as_str() {
        let alike = seen.iter().all(|one| one.tool == seen[0].tool);
        let from = if alike { 0 } else { seen.len() - 1 };
        if let Some(lacks) = seen[from..].iter().find(|seen| !seen.text().contains(wanted)) {
            return Err(format!("{wanted} is missing: {}", lacks.message));
        }
    }
    distinct(case, seen)
}

fn distinct(case: &Case, seen: &[Seen]) -> Checked {
    if case.expect["distinct_entries"] != true {
        return Ok(());
    }
    let entries = &seen[0].message["result"]["structuredContent"]["entries"];
    let entries = entries.as_array().unwrap();
    let names: HashSet<&str> = entries.iter().map(|e| e["name"].as_str().unwrap()).collect();
    if names.len() == entries.len() { Ok(()) } else { Err(format!("{entries:?}")) }
}

/// What the files that must stay as they are hold at the beginning.
fn snapshot(case: &Case, dirs: &Dirs) -> Vec<(PathBuf, Vec<u8>)> {
    let posts = case.expect["post"].as_array().cloned().unwrap_or_default();
    let unchanged = posts.iter().filter(|post| post["check"] == "unchanged");
    let paths = unchanged.map(|post| PathBuf::from(dirs.fill_in(post["path"].as_str().unwrap())));
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn posts(case: &Case, dirs: &Dirs, before: &[(PathBuf, Vec<u8>)]) -> Checked {
    for (path, content) in before {
        if fs::read(path).ok().as_ref() != Some(content) {
            return Err(format!("{} changed", path.display()));
        }
    }
    for post in case.expect["post"].as_array().into_iter().flatten() {
        let path = PathBuf::from(dirs.fill_in(post["path"].as_str().unwrap()));
        let holds = match post["check"].as_str().unwrap() {
            // What would hold the tree is not made at all.
            "absent" | "tree_size_below" => !path.exists(),
            "exists" => path.exists(),
            "unchanged" => true,
            "no_canary_tree" if post["except"] == "baseline" => canaries(&path) == 4,
            "no_canary_tree" => canaries(&path) == 0,
            other => return Err(format!("the battery has a new check: {other}")),
        };
        if !holds {
            return Err(format!("{post} does not hold"));
        }
    }
    Ok(())
}

/// How many files below a directory hold a canary.
fn canaries(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let entries = entries.map(|entry| entry.unwrap().path());
    let count = |path: PathBuf| match fs::symlink_metadata(&path).unwrap() {
        found if found.is_dir() => canaries(&path),
        found if found.is_file() => usize::from(find_canary(&fs::read(path).unwrap()).is_some()),
        _ => 0,
    };
    entries.map(count).sum()
}

pub(super) fn no_canary(whence: &str, text: &[u8]) -> Checked {
    find_canary(text).map_or(Ok(()), |found| Err(format!("{whence} tells {found}")))
}

/// What must hold whatever was asked.
pub(super) fn invariants(server: &Server, dirs: &Dirs, calls: usize, case: &Case) -> Checked {
    if !server.is_ready() {
        return Err("the server is not ready".to_owned());
    }
    let (_, highest) = server.memory();
    if highest > 400 << 20 {
        return Err(format!("the server took {highest} bytes of memory"));
    }
    let log = server.log();
    no_canary("the log", log.as_bytes())?;
    no_canary("/metrics", server.metrics().as_bytes())?;
    for line in log.lines() {
        if serde_json::from_str::<Value>(line).is_err() {
            return Err(format!("a log line is not one event: {line}"));
        }
    }
    for text in strings(&case.expect["raw_not_contains"]) {
        if log.contains(&text) {
            return Err(format!("the log holds {text:?}"));
        }
    }
    let _ = dirs;
    audited(&server.audit(), calls)
}

/// One decision and one outcome per call, and no content.
pub(super) fn audited(audit: &Audit, calls: usize) -> Checked {
    no_canary("the audit log", &audit.raw)?;
    let (intents, outcomes) = audit.counts();
    if (intents, outcomes) != (calls, calls) {
        return Err(format!("{calls} calls, {intents} intents, {outcomes} outcomes"));
    }
    Ok(())
}
