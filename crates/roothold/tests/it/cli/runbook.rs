//! The commands of the runbook, and of the deployment's pages, on a machine as the unit of systemd has
//! it: each is run as it is written, with the places moved below a directory of the test's.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Person, Ran};
use crate::support::{Dirs, Request, Spec};

/// What a page has between backquotes, or as a line of its own.
fn commands(page: &str, text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let lines = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned);
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_command = |text: &String| {
        let rest = text.strip_prefix("XDG_STATE_HOME=/var/lib ").unwrap_or(text);
        let operators = ["audit", "check", "explain", "jobs", "keys"];
        rest.strip_prefix("roothold ")
            .is_some_and(|rest| operators.iter().any(|one| rest.starts_with(one)))
    };
    let found: Vec<String> = spans.chain(lines).map(words).filter(is_command).collect();
    assert!(!found.is_empty(), "{page} has no commands");
    found
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The commands of both pages, without those that are there twice.
fn all() -> Vec<String> {
    let readme = page("deploy/README.md");
    let at = readme.find("## One machine, with systemd").unwrap();
    let section = readme[at + 3..].split("\n## ").next().unwrap();
    let mut all = commands("the section on systemd", section);
    all.extend(commands("the runbook", &page("docs/runbook.md")));
    all.sort();
    all.dedup();
    all
}

/// A machine on which the unit's server runs and has been asked something.
struct Machine {
    dirs: Dirs,
    person: Person,
    /// The keys that there were at the start.
    keys: PathBuf,
    key_id: String,
    job_id: String,
}

impl Machine {
    fn at(&self, path: &str) -> PathBuf {
        self.dirs.base().join(path)
    }

    /// Runs a command of a page.
    fn run(&self, command: &str) -> Ran {
        let id = if command.contains(" jobs ") { &self.job_id } else { &self.key_id };
        let file = self.dirs.fill_in("$ROOT/hello.txt");
        let base = self.dirs.base().display();
        // What was taken out of a Secret: each time as it is there.
        let taken = self.at("keys.jsonl");
        std::fs::copy(&self.keys, &taken).unwrap();
        let mut env = Vec::new();
        let mut arguments = Vec::new();
        for word in command.split_whitespace() {
            let word = match word {
                "ID" => id.clone(),
                "NAME" => "ops".to_owned(),
                "VERB" => "read".to_owned(),
                "PATH" => file.clone(),
                "keys.jsonl" => taken.display().to_string(),
                word => word
                    .replace("/etc/roothold", &format!("{base}/etc/roothold"))
                    .replace("/var/lib", &format!("{base}/var/lib")),
            };
            match word.split_once('=') {
                Some((name, value)) if arguments.is_empty() => {
                    env.push((name.to_owned(), value.to_owned()));
                }
                _ => arguments.push(word),
            }
        }
        let arguments: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        Ran::from(self.person.command(&arguments).envs(env).output().unwrap())
    }
}

#[test]
fn the_commands_of_the_runbook_work_as_they_are_written() {
    let (dirs, person) = (Dirs::with_fixture(), Person::new());
    let (etc, var) = (dirs.base().join("etc/roothold"), dirs.base().join("var/lib"));
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::create_dir_all(var.join("roothold")).unwrap();
    dirs.write("work/orders.csv", "id,amount\n1,2\n");
    let keys = etc.join("keys.jsonl");
    let scopes = "files:read,datasets:read";
    let file = keys.to_str().unwrap();
    let made = person.run(&["keys", "new", "ops", "--file", file, "--scopes", scopes]);
    let key_id = made.err.split_whitespace().nth(1).unwrap().to_owned();
    let key = made.good();
    let mut spec = Spec::new(&etc, dirs.config(&format!("[auth]\nkeys_file = \"{file}\"\n")));
    spec.cwd = var.join("roothold");
    spec.audit = var.join("roothold/audit");
    spec.env = vec![("XDG_STATE_HOME", var.to_str().unwrap())];
    let server = spec.start();
    let ask =
        |tool: &str, arguments| server.send(&Request::call(tool, &arguments).bearer(key.trim()));
    ask("read_text_file", json!({"path": dirs.fill_in("$ROOT/.env")}));
    let arguments = json!({
        "data_source": dirs.fill_in("$ROOT/orders.csv"), "operation": "profile", "background": true,
    });
    let job = if cfg!(feature = "datasets") {
        ask("process_large_dataset", arguments).result()["structuredContent"]["job"].clone()
    } else {
        json!({"job_id": ""})
    };
    let job_id = job["job_id"].as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
    let all_keys = dirs.base().join("keys");
    std::fs::copy(&keys, &all_keys).unwrap();
    let machine = Machine { dirs, person, keys: all_keys, key_id, job_id };
    for command in all() {
        // A server without datasets keeps no jobs.
        if command.contains(" jobs ") && !cfg!(feature = "datasets") {
            continue;
        }
        let ran = machine.run(&command);
        // A job that has ended cannot be cancelled, which is an answer too.
        let is_answer = ran.code == 0 || command.contains(" jobs cancel ") && ran.code == 1;
        assert!(is_answer, "{command}: {ran:?}");
        let said = format!("{}{}", ran.out, ran.err);
        let expected = match command.split("roothold ").nth(1).unwrap() {
            rest if rest.starts_with("audit tail") => "ops read_text_file",
            rest if rest.starts_with("audit verify") => "whole",
            rest if rest.starts_with("check") => "The configuration is good.",
            rest if rest.starts_with("keys") || rest.starts_with("jobs list") => "ops",
            rest if rest.starts_with("jobs") => machine.job_id.as_str(),
            _ => "",
        };
        assert!(said.contains(expected), "{command}: {said}");
        if command.contains("audit tail") {
            let place = machine.at("var/lib/roothold/audit").display().to_string();
            assert!(ran.err.contains(&format!("the log in {place}")), "{command}: {said}");
        }
        if command.contains(" check ") {
            assert!(said.contains(&machine.at("var/lib").display().to_string()), "{said}");
        }
    }
}
