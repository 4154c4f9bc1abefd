//! Whether a directory may be moved, as far as patterns alone can tell.
//!
//! What is excluded below a directory goes with it, and must still be excluded where it comes
//! to lie. To look for it on disk would tell whether it exists, so the patterns are asked instead:
//! one that covers by name does so anywhere; one that covers by place is looked at for whether it
//! could cover anything below the directory, where that is now.
//!
//! **Invariant**: the answer does not depend on what is on disk.

use globset::GlobBuilder;

use super::rules::RootRules;
use crate::fault::{Fault, Rule};
use crate::pattern::PatternSet;

impl RootRules {
    /// Refuses to move a directory if something below it could be excluded now and not be there.
    ///
    /// # Errors
    /// `Denied`, with the pattern.
    pub(crate) fn refuse_uncovering(&self, from: &[u8], to: &Self) -> Result<(), Fault> {
        let (policy, own) = self.excludes();
        let bound = bound_below(policy, &self.public_of(from))
            .or_else(|| bound_below(own?, from))
            .or_else(|| if std::ptr::eq(self, to) { None } else { self.lost_in(to) });
        let Some(pattern) = bound else { return Ok(()) };
        let rule = Rule { name: "exclude", detail: Some(pattern.to_owned()) };
        Err(Fault::denied(
            rule,
            "the pattern could cover something below this directory, and would no longer cover it elsewhere; \
             move files one by one, or ask the operator",
        ))
    }

    /// The first exclude pattern of this root that another does not have.
    fn lost_in(&self, other: &Self) -> Option<&str> {
        let sources = |rules: &'_ Self| rules.excludes().1.map(|own| own.sources().to_vec());
        let there = sources(other).unwrap_or_default();
        let own = self.excludes().1?.sources();
        own.iter().find(|pattern| !there.contains(pattern)).map(String::as_str)
    }
}

/// The first pattern that could match something below a directory only because of where that is.
fn bound_below<'a>(set: &'a PatternSet, directory: &[u8]) -> Option<&'a str> {
    let path = set.view(directory);
    let path = String::from_utf8_lossy(&path);
    let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    set.path_patterns().find(|(_, body)| is_bound(body, &components)).map(|(source, _)| source)
}

fn is_bound(pattern: &str, directory: &[&str]) -> bool {
    let mut parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    // A group that holds a slash cannot be looked at part by part.
    if parts.iter().any(|part| is_torn(part)) {
        return true;
    }
    parts.dedup_by(|a, b| *a == "**" && *b == "**");
    if parts.first() != Some(&"**") {
        return reaches_below(&parts, directory);
    }
    // It matches anywhere: by place only if a part of it is matched by the end of the directory.
    (0..directory.len()).any(|at| reaches_below(&parts[1..], &directory[at..]))
}

/// Whether a pattern could match a path that begins with these components and goes on.
fn reaches_below(pattern: &[&str], directory: &[&str]) -> bool {
    match (pattern, directory) {
        ([], _) => false,
        (_, []) | (["**", ..], _) => true,
        ([part, pattern @ ..], [name, directory @ ..]) => {
            matches(part, name) && reaches_below(pattern, directory)
        }
    }
}

fn matches(part: &str, name: &str) -> bool {
    let glob = GlobBuilder::new(part).literal_separator(true).backslash_escape(true).build();
    // What cannot be understood could match.
    glob.map_or(true, |glob| glob.compile_matcher().is_match(name))
}

/// Whether a bracket or brace opens here and does not close.
fn is_torn(part: &str) -> bool {
    let count = |wanted: char| part.chars().filter(|c| *c == wanted).count();
    count('{') != count('}') || count('[') != count(']') || part.ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::PatternSet;

    fn bound(pattern: &str, directory: &str) -> bool {
        let set = PatternSet::excluding(&[pattern]).unwrap();
        bound_below(&set, directory.as_bytes()).is_some()
    }

    #[test]
    fn patterns_that_cover_by_name_are_bound_to_no_place() {
        for pattern in [".env", "*.key", "**/.env", "**/{a,b}.pem", "**/.docker/config.json"] {
            assert!(!bound(pattern, "work/app"), "{pattern}");
        }
        assert!(!bound("**/secrets/**", "work/app"));
    }

    #[test]
    fn patterns_that_cover_by_place_are_bound_where_they_reach() {
        for (pattern, directory, wanted) in [
            ("vault/**", "vault", true),
            ("vault/**", "VAULT/deep", true),
            ("vault/**", "vaults", false),
            ("work/cfg/.env", "work", true),
            ("work/cfg/.env", "work/cfg", true),
            ("work/cfg/.env", "work/cfg/deep", false),
            ("work/cfg/.env", "work/other", false),
            ("*/private/**", "work", true),
            ("*/private/**", "work/private", true),
            ("*/private/**", "work/public", false),
            ("work/**/x.db", "work/a/b", true),
            ("**/.docker/config.json", "work/.docker", true),
            ("**/.docker/config.json", "work/.Docker", true),
            ("**/a/b/c", "x/a/b", true),
            ("**/a/b/c", "x/b/a", true),
            ("**/a/b/c", "x/b", false),
            ("**/a/**/z", "x/a/y", true),
            ("**/.git/**", "work/.git", true),
            ("**/*.app/secret", "x/y.app", true),
            ("**/*.app/secret", "x/y", false),
            ("{a/b,c}/d", "x", true),
        ] {
            assert_eq!(bound(pattern, directory), wanted, "{pattern} below {directory}");
        }
    }
}
