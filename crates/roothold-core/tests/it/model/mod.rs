//! Random changes to a tree, and random questions about it: the answers are those of a plain
//! model in memory.
//!
//! Somebody else changes the tree on disk, as editors and builds do; the core is asked in
//! between. The names are few, so that paths meet what is there, and hold some that are excluded
//! and some that only look like it.

mod changes;
mod expected;
mod tree;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use roothold_core::files::{EntryKind, TextRange, Visit, Walk, info, list, read_text};
use roothold_core::{
    Access, Action, Actions, Budget, Fault, FaultKind, FilePath, Hardlinks, Permit, Policy,
    PolicySpec, Principal, RootPatterns, RootSpec, Roots, Verb,
};
use tempfile::TempDir;

use expected::{Answer, Question, Rules, expected, walked};
use tree::{Components, Node};

const NAMES: [&str; 7] = ["a", "b", "c.md", "d.md", "Secret", "e.key", "secrets"];
const TARGETS: [&str; 10] =
    ["a", "b", "c.md", "../a", "..", "../../b", "secret", "a/Secret", "b/../c.md", "/etc"];

/// One step of a test.
#[derive(Debug, Clone)]
enum Step {
    Put(Components, Vec<u8>),
    Make(Components),
    Link(Components, &'static str),
    Remove(Components),
    Rename(Components, Components),
    Ask(Question, Components),
    Walk(Components),
}

fn place() -> impl Strategy<Value = Components> {
    let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    prop::collection::vec(name, 1..4)
}

/// A place, as somebody writes it who likes detours.
fn detour() -> impl Strategy<Value = Components> {
    let name = prop_oneof![
        6 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned),
        1 => Just("..".to_owned()),
    ];
    prop::collection::vec(name, 0..6)
}

/// What somebody else does.
fn disturbance() -> impl Strategy<Value = Step> {
    let content = "[ab ]{0,12}".prop_map(String::into_bytes);
    prop_oneof![
        4 => (place(), content).prop_map(|(at, content)| Step::Put(at, content)),
        4 => place().prop_map(Step::Make),
        3 => (place(), prop::sample::select(&TARGETS[..])).prop_map(|(at, to)| Step::Link(at, to)),
        1 => place().prop_map(Step::Remove),
        2 => (place(), place()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let question = prop::sample::select(&[Question::Read, Question::List, Question::Info][..]);
    prop_oneof![
        14 => disturbance(),
        12 => (question, detour()).prop_map(|(question, at)| Step::Ask(question, at)),
        2 => place().prop_map(Step::Walk),
    ]
}

/// The tree on disk, and the same in memory.
struct World {
    dir: TempDir,
    tree: Node,
    policy: Policy,
    rules: Rules,
    access: Access,
}

impl World {
    fn new(rules: Rules, access: Access) -> Self {
        let dir = TempDir::new().unwrap();
        let root = RootSpec {
            uri: "file:///work".to_owned(),
            name: "work".to_owned(),
            description: String::new(),
            path: dir.path().to_owned(),
            access,
            patterns: RootPatterns {
                write_exclude: vec!["d.md".to_owned()],
                ..RootPatterns::default()
            },
            hardlinks: Hardlinks::Deny,
            mounts: Vec::new(),
        };
        let read = if rules.only_md { "*.md" } else { "**" };
        let spec = PolicySpec {
            read: vec![read.to_owned()],
            exclude: vec!["secret".to_owned(), "*.key".to_owned()],
            ..PolicySpec::default()
        };
        let policy = Policy::new(Roots::open(&[root]).unwrap(), spec, &[]).unwrap();
        Self { dir, tree: Node::empty(), policy, rules, access }
    }

    fn disk(&self, at: &[String]) -> PathBuf {
        at.iter().fold(self.dir.path().to_owned(), |path, name| path.join(name))
    }

    /// What may be put at a place: its directory is there, and nothing is in it by that name.
    fn is_free(&self, at: &[String]) -> bool {
        let Some((_, above)) = at.split_last() else { return false };
        matches!(self.tree.at(above), Some(Node::Directory(_))) && self.tree.at(at).is_none()
    }

    fn insert(&mut self, at: &[String], node: Node) {
        let (name, above) = at.split_last().unwrap();
        self.tree.entries_mut(above).unwrap().insert(name.clone(), node);
    }

    fn take(&mut self, at: &[String]) -> Node {
        let (name, above) = at.split_last().unwrap();
        self.tree.entries_mut(above).unwrap().remove(name).unwrap()
    }

    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Put(at, content) => {
                if self.is_free(at) || matches!(self.tree.at(at), Some(Node::File(_))) {
                    std::fs::write(self.disk(at), content).unwrap();
                    self.insert(at, Node::File(content.clone()));
                }
            }
            Step::Make(at) => {
                if self.is_free(at) {
                    std::fs::create_dir(self.disk(at)).unwrap();
                    self.insert(at, Node::empty());
                }
            }
            Step::Link(at, target) => {
                if self.is_free(at) {
                    symlink(target, self.disk(at)).unwrap();
                    self.insert(at, Node::Link((*target).to_owned()));
                }
            }
            Step::Remove(at) => {
                if self.tree.at(at).is_some() {
                    match self.take(at) {
                        Node::Directory(_) => std::fs::remove_dir_all(self.disk(at)).unwrap(),
                        _ => std::fs::remove_file(self.disk(at)).unwrap(),
                    }
                }
            }
            Step::Rename(from, to) => {
                if self.tree.at(from).is_some() && self.is_free(to) && !to.starts_with(from) {
                    std::fs::rename(self.disk(from), self.disk(to)).unwrap();
                    let node = self.take(from);
                    self.insert(to, node);
                }
            }
            Step::Ask(question, at) => {
                let wanted = expected(&self.tree, self.rules, *question, at);
                prop_assert_eq!(self.ask(*question, at), wanted, "{:?} {:?}", question, at);
            }
            Step::Walk(at) => {
                if let (false, Some(Node::Directory(_))) = (Rules::excludes(at), self.tree.at(at)) {
                    prop_assert_eq!(self.walk(at), walked(&self.tree, self.rules, at));
                }
            }
        }
        Ok(())
    }

    fn permit(&self, verb: Verb, at: &[String]) -> Result<Permit, Fault> {
        let path = FilePath::parse(&format!("/work/{}", at.join("/")))?;
        let actions = Actions::one(Action::file(verb, path));
        let permits = self.policy.decide(&Principal::local(), "model", &actions);
        permits.map(|mut permits| permits.remove(0))
    }

    fn ask(&self, question: Question, at: &[String]) -> Answer {
        let answer = match question {
            Question::Read => self.permit(Verb::Read, at).and_then(|permit| {
                let page = read_text(&permit, TextRange::Whole, None, &budget())?;
                Ok(Answer::Content(page.text.into_bytes()))
            }),
            Question::List => self.permit(Verb::List, at).and_then(|permit| {
                let listing = list(&permit, &budget())?;
                let listed = listing.after(None);
                let entries = listed
                    .map(|entry| (entry.name.to_string(), entry.kind == EntryKind::Directory));
                Ok(Answer::Entries(entries.collect()))
            }),
            Question::Info => self.permit(Verb::Stat, at).and_then(|permit| {
                let info = info(&permit, &budget())?;
                let size = usize::try_from(info.size).unwrap();
                Ok(Answer::Info((info.kind == EntryKind::File).then_some(size)))
            }),
        };
        answer.unwrap_or_else(|fault| refused(&fault))
    }

    /// A walk that is broken off after every entry and taken up again sees what one walk sees.
    fn walk(&self, at: &[String]) -> Vec<String> {
        let (permit, budget) = (self.permit(Verb::List, at).unwrap(), budget());
        let (mut found, mut last) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let mut walk = Walk::start(&permit, last.as_deref(), &budget).unwrap();
            let mut next = None;
            let ended = walk.run(|entry| {
                if next.is_some() {
                    return Ok(Visit::Stop);
                }
                next = Some(entry.below.to_vec());
                Ok(Visit::Into)
            });
            let ended = ended.unwrap();
            let Some(below) = next else { return found };
            let path = [at.join("/").as_bytes(), b"/", &below].concat();
            found.push(String::from_utf8(path).unwrap());
            last = Some(below);
            if ended {
                return found;
            }
        }
    }
}

fn refused(fault: &Fault) -> Answer {
    match fault.kind() {
        FaultKind::Denied => Answer::Denied(fault.rule().unwrap().name),
        FaultKind::NotFound => Answer::NotFound,
        FaultKind::Unsupported => Answer::Unsupported,
        FaultKind::Invalid => Answer::Invalid,
        other => panic!("{other:?}: {fault}"),
    }
}

fn budget() -> Budget {
    Budget::new(64 * 1024, 10_000, Duration::from_mins(1))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("ROOTHOLD_TEST_FULL").is_some() { 20_000 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_core_answers_as_the_model_does(
        only_md in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(Rules { only_md }, Access::ReadOnly);
        for step in &steps {
            world.run(step)?;
        }
    }
}
