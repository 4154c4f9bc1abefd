//! Runs a program under a seccomp profile in the form that container runtimes read, without a
//! container: for the tests of `deploy/seccomp.json`, and to try a change to it.
//!
//! ```text
//! cargo run -p roothold --example under_profile -- deploy/seccomp.json target/debug/roothold serve .
//! ```
//!
//! It knows the part of that form that the profile uses, and refuses what it does not know.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use seccompiler::{BpfMap, TargetArch};
use serde_json::{Map, Value, json};

/// What glibc takes as "this kernel is too old", and then does without.
const ENOSYS: u64 = 38;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(profile), Some(program)) = (arguments.next(), arguments.next()) else {
        bail!("write under_profile PROFILE PROGRAM ARGUMENT...");
    };
    #[expect(clippy::disallowed_methods, reason = "a tool reads the file that it is given")]
    let text = std::fs::read_to_string(&profile).context("reading the profile")?;
    let profile: Value = serde_json::from_str(&text).context("the profile is not JSON")?;
    for filter in filters(&profile)? {
        apply(&filter)?;
    }
    Err(Command::new(program).args(arguments).exec()).context("starting the program")
}

/// The profile as filters, one for each other error number and one for what is allowed. Where one
/// of several refuses, it is refused.
fn filters(profile: &Value) -> anyhow::Result<Vec<Value>> {
    ensure!(profile["defaultAction"] == "SCMP_ACT_ERRNO", "the default must be an error");
    let default = json!({"errno": profile["defaultErrnoRet"].as_u64().context("defaultErrnoRet")?});
    let mut allowed = Vec::new();
    let mut others: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for entry in profile["syscalls"].as_array().context("syscalls")? {
        let names = entry["names"].as_array().context("names")?;
        let rules = names.iter().filter(|name| is_known(name)).map(|name| rule(name, entry));
        let rules = rules.collect::<anyhow::Result<Vec<_>>>()?;
        match entry["action"].as_str() {
            Some("SCMP_ACT_ALLOW") => allowed.extend(rules),
            Some("SCMP_ACT_ERRNO") => {
                let errno = entry["errnoRet"].as_u64().unwrap_or(ENOSYS);
                others.entry(errno).or_default().extend(rules.iter().cloned());
                // Not for the last filter to refuse: its number is another.
                allowed.extend(rules);
            }
            other => bail!("the action {other:?} is not known here"),
        }
    }
    let filter = |on_match: Value, otherwise: Value, rules: Vec<Value>| json!({"main": {"match_action": on_match, "mismatch_action": otherwise, "filter": rules}});
    let refusing = others
        .into_iter()
        .map(|(errno, rules)| filter(json!({"errno": errno}), json!("allow"), rules));
    let mut filters: Vec<Value> = refusing.collect();
    // Last, since it refuses the call that installs filters, too.
    filters.push(filter(json!("allow"), default, allowed));
    Ok(filters)
}

fn rule(name: &Value, entry: &Value) -> anyhow::Result<Value> {
    let mut rule = Map::from_iter([("syscall".to_owned(), name.clone())]);
    let conditions = entry["args"].as_array().into_iter().flatten().map(|condition| {
        let (op, value) = match condition["op"].as_str() {
            Some("SCMP_CMP_EQ") => (json!("eq"), &condition["value"]),
            Some("SCMP_CMP_MASKED_EQ") => {
                (json!({"masked_eq": condition["value"]}), &condition["valueTwo"])
            }
            other => bail!("the comparison {other:?} is not known here"),
        };
        Ok(json!({"index": condition["index"], "type": "dword", "op": op, "val": value}))
    });
    let conditions = conditions.collect::<anyhow::Result<Vec<_>>>()?;
    if !conditions.is_empty() {
        rule.insert("args".to_owned(), conditions.into());
    }
    Ok(rule.into())
}

/// Whether this architecture has a call of that name; profiles name those of others, too.
fn is_known(name: &Value) -> bool {
    let only = json!({"main": {
        "match_action": "allow",
        "mismatch_action": {"errno": 1},
        "filter": [{"syscall": name}],
    }});
    compile(&only).is_ok()
}

fn compile(filter: &Value) -> anyhow::Result<BpfMap> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(seccompiler::compile_from_json(filter.to_string().as_bytes(), arch)?)
}

fn apply(filter: &Value) -> anyhow::Result<()> {
    let compiled = compile(filter)?;
    let program = compiled.get("main").context("the filter has no program")?;
    seccompiler::apply_filter(program).context("the kernel refuses the filter")
}
