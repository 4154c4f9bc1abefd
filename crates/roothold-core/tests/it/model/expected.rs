//! What the policy and the tree together should answer.

use super::tree::{Components, Node, Nowhere, folded};

/// An answer, as far as the model says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Content(Vec<u8>),
    /// Names, each with whether it is a directory.
    Entries(Vec<(String, bool)>),
    /// The size of a file; nothing for a directory.
    Info(Option<usize>),
    Denied(&'static str),
    NotFound,
    Unsupported,
    Invalid,
}

/// The policy of the model: what is excluded and what can be read, by the end of its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Only names that end in `.md` can be read.
    pub(super) only_md: bool,
}

impl Rules {
    /// `secret`, and every `*.key`, at any depth and in any case.
    pub(super) fn excludes(path: &[String]) -> bool {
        let hidden = |name: &String| {
            let name = name.to_lowercase();
            name == "secret" || ends_in(&name, ".key")
        };
        path.iter().any(hidden)
    }

    /// `d.md`, at any depth, and what lies below it, is never written.
    pub(super) fn protects(path: &[String]) -> bool {
        path.iter().any(|name| name.to_lowercase() == "d.md")
    }

    pub(super) fn reads(self, path: &[String]) -> bool {
        !self.only_md || path.last().is_some_and(|name| ends_in(name, ".md"))
    }
}

/// By the bytes: `*.md` is not `*.MD`.
fn ends_in(name: &str, ending: &str) -> bool {
    name.as_bytes().ends_with(ending.as_bytes())
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Read,
    List,
    Info,
}

/// The model's answer.
pub(super) fn expected(tree: &Node, rules: Rules, question: Question, path: &[String]) -> Answer {
    let Some(lexical) = folded(path) else { return Answer::Denied("roots") };
    if Rules::excludes(&lexical) || before_dot_dot(path).any(|place| Rules::excludes(&place)) {
        return Answer::Denied("exclude");
    }
    if question == Question::Read && !rules.reads(&lexical) {
        return Answer::Denied("read");
    }
    if !tree.is_indirect(path) {
        return told(tree.at(&lexical), rules, question, &lexical, &lexical);
    }
    let (places, ends) = tree.places(path);
    if places.iter().any(|place| Rules::excludes(place)) {
        return Answer::Denied("exclude");
    }
    match tree.resolve(path) {
        Ok(real) => told(tree.at(&real), rules, question, &real, &lexical),
        Err(Nowhere::Outside) => Answer::Denied("roots"),
        Err(Nowhere::Endless) => Answer::Invalid,
        Err(Nowhere::Missing) => {
            let end = places.last().filter(|_| ends);
            let hides = |place: &[String]| question != Question::List && !rules.reads(place);
            if end.is_some_and(|place| hides(place)) || hides(&lexical) {
                return Answer::Denied("read");
            }
            Answer::NotFound
        }
    }
}

/// The answer about what was found at `real`, for which `asked` was asked, as text.
fn told(
    found: Option<&Node>,
    rules: Rules,
    question: Question,
    real: &[String],
    asked: &[String],
) -> Answer {
    let hidden = question != Question::List && !(rules.reads(real) && rules.reads(asked));
    match (found, question) {
        (Some(Node::Directory(_)), Question::Info) => Answer::Info(None),
        _ if hidden => Answer::Denied("read"),
        (None | Some(Node::Link(_)), _) | (Some(Node::File(_)), Question::List) => Answer::NotFound,
        (Some(Node::File(content)), Question::Read) => Answer::Content(content.clone()),
        (Some(Node::File(content)), Question::Info) => Answer::Info(Some(content.len())),
        (Some(Node::Directory(_)), Question::Read) => Answer::Unsupported,
        (Some(Node::Directory(_)), Question::List) => Answer::Entries(visible(found, rules, real)),
    }
}

/// The entries of a directory that show.
pub(super) fn visible(found: Option<&Node>, rules: Rules, at: &[String]) -> Vec<(String, bool)> {
    let Some(Node::Directory(entries)) = found else { return Vec::new() };
    let of = |name: &String| [at, std::slice::from_ref(name)].concat();
    let shows = |name: &String, node: &Node| {
        !Rules::excludes(&of(name))
            && (matches!(node, Node::Directory(_)) || rules.reads(&of(name)))
    };
    let seen = entries.iter().filter(|(name, node)| shows(name, node));
    seen.map(|(name, node)| (name.clone(), matches!(node, Node::Directory(_)))).collect()
}

/// The paths below a directory that a walk shows, each directory before what it holds.
pub(super) fn walked(tree: &Node, rules: Rules, at: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, is_directory) in visible(tree.at(at), rules, at) {
        let below = [at, &[name]].concat();
        found.push(below.join("/"));
        if is_directory {
            found.extend(walked(tree, rules, &below));
        }
    }
    found
}

/// The places, as text, that a path is at before each `..`.
fn before_dot_dot(path: &[String]) -> impl Iterator<Item = Components> {
    let ends = (0..path.len()).filter(|end| path[*end] == "..");
    ends.filter_map(|end| folded(&path[..end]))
}
