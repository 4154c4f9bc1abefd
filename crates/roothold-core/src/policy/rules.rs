//! The patterns that hold in one root: the policy's, which see the public path, and the root's
//! own, which see the path below it.

use super::spec::{PolicyError, PolicySpec};
use super::temp::TEMP_PATTERN;
use super::verb_rule;
use crate::action::Verb;
use crate::fault::{Fault, Rule};
use crate::files::EntryKind;
use crate::pattern::{PatternError, PatternSet};
use crate::roots::{Access, Root, below};

/// Patterns of the policy and of the root, kept apart because they see different paths.
#[derive(Debug)]
struct Pair {
    public: PatternSet,
    /// `None`: the root adds nothing to the policy.
    below: Option<PatternSet>,
}

/// The compiled rules of one root.
#[derive(Debug)]
pub(crate) struct RootRules {
    public: Vec<u8>,
    access: Access,
    read: Pair,
    write: Pair,
    exclude: Pair,
    write_exclude: PatternSet,
}

type Compile = fn(&[String]) -> Result<PatternSet, PatternError>;

impl RootRules {
    pub(super) fn compile(spec: &PolicySpec, root: &Root) -> Result<Self, PolicyError> {
        let own = root.patterns();
        let build = |compile: Compile, key: &str, patterns: &[String]| {
            compile(patterns).map_err(|source| PolicyError::Pattern { key: key.to_owned(), source })
        };
        let in_root = |key: &str| format!("[[roots]] `{}` {key}", root.name());
        let pair = |compile: Compile, key: &str, public: &[String], below: Option<&Vec<String>>| {
            let public = build(compile, &format!("policy.{key}"), public)?;
            let below = below.map(|below| build(compile, &in_root(key), below)).transpose()?;
            Ok::<_, PolicyError>(Pair { public, below })
        };
        // Our own temporary files are nobody's to see.
        let mut exclude = spec.exclude.clone();
        exclude.push(TEMP_PATTERN.to_owned());
        let allowing: Compile = |patterns| PatternSet::allowing(patterns);
        let excluding: Compile = |patterns| PatternSet::excluding(patterns);
        Ok(Self {
            public: root.public().to_vec(),
            access: root.access(),
            read: pair(allowing, "read", &spec.read, own.read.as_ref())?,
            write: pair(allowing, "write", &spec.write, own.write.as_ref())?,
            exclude: pair(excluding, "exclude", &exclude, Some(&own.exclude))?,
            write_exclude: build(excluding, &in_root("write_exclude"), &own.write_exclude)?,
        })
    }

    /// Decides one verb on a path below the root (normalised, without `..`).
    ///
    /// `is_directory` is `None` before anything was opened.
    pub(crate) fn decide(
        &self,
        verb: Verb,
        rel: &[u8],
        is_directory: Option<bool>,
    ) -> Result<(), Fault> {
        let public = self.public_of(rel);
        self.refuse_covered(&public, rel)?;
        match verb {
            Verb::List | Verb::Use => Ok(()),
            // Before opening, a path may turn out to be a directory, which anyone may look at.
            // Below one that is searched each file is decided on by itself.
            Verb::Stat | Verb::Search if is_directory != Some(false) => Ok(()),
            Verb::Stat => {
                self.visible(&public, rel).then_some(()).ok_or_else(|| no_pattern(Verb::Read))
            }
            Verb::Read | Verb::Search => {
                self.readable(&public, rel).then_some(()).ok_or_else(|| no_pattern(Verb::Read))
            }
            Verb::Write => self.decide_write(&public, rel),
        }
    }

    /// Refuses a path that an exclude pattern covers, whatever is meant to be done with it.
    pub(crate) fn refuse_excluded(&self, rel: &[u8]) -> Result<(), Fault> {
        self.refuse_covered(&self.public_of(rel), rel)
    }

    fn refuse_covered(&self, public: &[u8], rel: &[u8]) -> Result<(), Fault> {
        let Some(pattern) = self.excluded(public, rel) else { return Ok(()) };
        let rule = Rule { name: "exclude", detail: Some(pattern.to_owned()) };
        Err(Fault::denied(rule, "excluded from every tool; leave it, or ask the operator"))
    }

    /// The patterns that exclude: the policy's, and the root's own.
    pub(super) fn excludes(&self) -> (&PatternSet, Option<&PatternSet>) {
        (&self.exclude.public, self.exclude.below.as_ref())
    }

    fn decide_write(&self, public: &[u8], rel: &[u8]) -> Result<(), Fault> {
        if self.access == Access::ReadOnly {
            let rule = Rule { name: "access", detail: Some("ro".to_owned()) };
            return Err(Fault::denied(
                rule,
                "this root is read-only; write to another root, or ask the operator to configure access = \"rw\" for it (--write for directories named on the command line)",
            ));
        }
        if rel.is_empty() {
            let rule = Rule { name: "root_itself", detail: None };
            return Err(Fault::denied(rule, "a root itself is never written, moved or deleted"));
        }
        if let Some(pattern) = self.write_exclude.covering(rel) {
            let rule = Rule { name: "write_exclude", detail: Some(pattern.to_owned()) };
            return Err(Fault::denied(rule, "it can be read at most; write elsewhere"));
        }
        if self.writable_by_pattern(public, rel) { Ok(()) } else { Err(no_pattern(Verb::Write)) }
    }

    fn excluded(&self, public: &[u8], rel: &[u8]) -> Option<&str> {
        let below = self.exclude.below.as_ref();
        self.exclude.public.covering(public).or_else(|| below.and_then(|set| set.covering(rel)))
    }

    /// Whether an entry of a directory that is not excluded shows in it: one check per entry of a
    /// listing or walk, instead of one per component.
    pub(crate) fn shows(&self, public: &[u8], kind: EntryKind) -> bool {
        let rel = self.rel_of(public);
        let is_excluded = self.exclude.public.matches(public)
            || self.exclude.below.as_ref().is_some_and(|set| set.matches(rel));
        !is_excluded && (kind == EntryKind::Directory || self.visible(public, rel))
    }

    /// What [`Self::shows`] says of an entry with this name, where its name alone decides: nearly
    /// always, and without its path.
    pub(crate) fn shows_by_name(&self, name: &[u8], kind: EntryKind) -> Option<bool> {
        if self.exclude.any_by_name(name)? {
            return Some(false);
        }
        if kind == EntryKind::Directory || self.read.all_by_name(name)? {
            return Some(true);
        }
        // What cannot be read may show because it can be written.
        (self.access == Access::ReadOnly).then_some(false)
    }

    /// Whether a file that is not excluded shows: it can be read or written.
    fn visible(&self, public: &[u8], rel: &[u8]) -> bool {
        self.readable(public, rel)
            || (self.access == Access::ReadWrite
                && self.writable_by_pattern(public, rel)
                && self.write_exclude.covering(rel).is_none())
    }

    /// Whether a file that is not excluded can be read, by its public path.
    pub(crate) fn is_readable(&self, public: &[u8]) -> bool {
        self.readable(public, self.rel_of(public))
    }

    fn readable(&self, public: &[u8], rel: &[u8]) -> bool {
        self.read.allows(public, rel)
    }

    fn writable_by_pattern(&self, public: &[u8], rel: &[u8]) -> bool {
        self.write.allows(public, rel)
    }

    /// The path below the root of a public path in it.
    pub(crate) fn rel_of<'a>(&self, public: &'a [u8]) -> &'a [u8] {
        below(&self.public, public).unwrap_or_default()
    }

    /// The public path, without its leading slash, of a path below the root.
    pub(crate) fn public_of(&self, rel: &[u8]) -> Vec<u8> {
        join(&self.public, rel)
    }
}

impl Pair {
    /// Whether one of the two matches every path that ends in a name.
    fn any_by_name(&self, name: &[u8]) -> Option<bool> {
        let below = self.below.as_ref();
        let any = self.public.matches_by_name(name)?
            || below.map_or(Some(false), |set| set.matches_by_name(name))?;
        Some(any)
    }

    /// Whether both match every path that ends in a name.
    fn all_by_name(&self, name: &[u8]) -> Option<bool> {
        let below = self.below.as_ref();
        let all = self.public.matches_by_name(name)?
            && below.map_or(Some(true), |set| set.matches_by_name(name))?;
        Some(all)
    }

    fn allows(&self, public: &[u8], rel: &[u8]) -> bool {
        self.public.matches(public) && self.below.as_ref().is_none_or(|set| set.matches(rel))
    }
}

/// Two path pieces joined by a slash, either of which may be empty.
pub(crate) fn join(above: &[u8], below: &[u8]) -> Vec<u8> {
    match (above.is_empty(), below.is_empty()) {
        (true, _) => below.to_vec(),
        (_, true) => above.to_vec(),
        _ => [above, b"/", below].concat(),
    }
}

fn no_pattern(verb: Verb) -> Fault {
    let name = verb_rule(verb);
    let hint = match verb {
        Verb::Write => "no write pattern covers this path; listRoots shows the access policy",
        _ => "no read pattern covers this path; listRoots shows the access policy",
    };
    Fault::denied(Rule { name, detail: None }, hint)
}
