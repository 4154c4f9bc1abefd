//! Glob patterns of the policy.
//!
//! Without a slash a pattern matches an entry's name at any depth; with one it matches a whole
//! path. `*` and `?` do not cross a slash, `**` does, `{a,b}` and `[a-z]` are as usual, and a
//! leading `!` is refused: there is no negation. `?` and `[!a]` are one character each.
//! Allowing patterns match case-sensitively. Excluding patterns are *folded*: pattern and name
//! are compared after NFKC and Unicode case folding, so that `.ENV`, `.ｅnv` and an NFD spelling
//! are all `.env`.

mod chars;
mod need;

use std::borrow::Cow;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

use chars::by_character;
use need::{Needs, Verdict};

/// Why a pattern is refused.
#[derive(Debug, thiserror::Error)]
#[error("the pattern `{pattern}` is refused: {reason}")]
pub struct PatternError {
    /// The pattern as it was written.
    pub pattern: String,
    /// What is wrong with it, and what to write instead.
    pub reason: String,
}

/// A set of patterns that are matched together.
#[derive(Debug, Clone)]
pub(crate) struct PatternSet {
    sources: Vec<String>,
    names: GlobSet,
    /// For each glob of `names`, which source it came from.
    name_sources: Vec<usize>,
    paths: GlobSet,
    path_sources: Vec<usize>,
    /// What all of them demand of a path's last name.
    needs: Needs,
    folded: bool,
    /// One of them is `**`, the usual default, which is not worth asking the globs about.
    everything: bool,
}

impl PatternSet {
    /// Patterns that allow: case-sensitive, exact.
    ///
    /// # Errors
    /// A [`PatternError`] for the first pattern that is refused.
    pub(crate) fn allowing<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        Self::compile(patterns, false)
    }

    /// Patterns that exclude: folded on both sides.
    ///
    /// # Errors
    /// A [`PatternError`] for the first pattern that is refused.
    pub(crate) fn excluding<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        Self::compile(patterns, true)
    }

    fn compile<S: AsRef<str>>(patterns: &[S], folded: bool) -> Result<Self, PatternError> {
        let mut set = Self {
            sources: patterns.iter().map(|pattern| pattern.as_ref().to_owned()).collect(),
            names: GlobSet::empty(),
            name_sources: Vec::new(),
            paths: GlobSet::empty(),
            path_sources: Vec::new(),
            needs: Needs::new(),
            folded,
            everything: patterns.iter().any(|pattern| pattern.as_ref() == "**"),
        };
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for (source, pattern) in set.sources.iter().enumerate() {
            let refuse = |reason: String| PatternError { pattern: pattern.clone(), reason };
            let body = checked(pattern).map_err(refuse)?;
            let body = if folded {
                String::from_utf8_lossy(&fold(body.as_bytes())).into_owned()
            } else {
                body.to_owned()
            };
            let name_only = body.strip_prefix("**/").filter(|rest| !rest.contains('/'));
            let (builder, sources, text) = match name_only {
                Some(rest) => (&mut names, &mut set.name_sources, rest),
                None if !body.contains('/') && !pattern.starts_with('/') => {
                    (&mut names, &mut set.name_sources, body.as_str())
                }
                None => (&mut paths, &mut set.path_sources, body.as_str()),
            };
            // A name holds no slash. Said without the rule about slashes, `.env*` and the like are
            // compared as prefixes and endings, and not as regular expressions.
            let is_name =
                text.len() < body.len() || !body.contains('/') && !pattern.starts_with('/');
            let glob = GlobBuilder::new(&by_character(text).map_err(refuse)?)
                .literal_separator(!is_name)
                .backslash_escape(true)
                .build()
                .map_err(|error| refuse(error.kind().to_string()))?;
            builder.add(glob);
            sources.push(source);
            if is_name { set.needs.add_name(text) } else { set.needs.add_path(text) }
        }
        let refuse = |error: globset::Error| PatternError {
            pattern: set.sources.join(", "),
            reason: error.to_string(),
        };
        set.names = names.build().map_err(refuse)?;
        set.paths = paths.build().map_err(refuse)?;
        Ok(set)
    }

    /// Whether there is no pattern in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The patterns as they were written.
    pub(crate) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The patterns that look at more than a name: as they were written, and as they are matched.
    pub(crate) fn path_patterns(&self) -> impl Iterator<Item = (&str, String)> {
        self.path_sources.iter().map(|source| {
            let source = self.sources[*source].as_str();
            let body = self.view(source.strip_prefix('/').unwrap_or(source).as_bytes());
            (source, String::from_utf8_lossy(&body).into_owned())
        })
    }

    /// Whether any pattern matches `path` itself.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.matches_by_name(name_of(path)).unwrap_or_else(|| self.matches_by_globs(path))
    }

    /// Whether any pattern matches whatever path ends in `name`, where that is the same for all of
    /// them; nearly always it is.
    pub(crate) fn matches_by_name(&self, name: &[u8]) -> Option<bool> {
        if self.is_empty() || self.everything {
            return Some(self.everything);
        }
        match self.needs.verdict(name, self.folded) {
            Verdict::No => Some(false),
            Verdict::Yes => Some(true),
            Verdict::Ask => None,
        }
    }

    fn matches_by_globs(&self, path: &[u8]) -> bool {
        let path = self.view(path);
        (!self.names.is_empty()
            && self.names.is_match_candidate(&Candidate::from_bytes(name_of(&path))))
            || (!self.paths.is_empty()
                && self.paths.is_match_candidate(&Candidate::from_bytes(&*path)))
    }

    /// The first pattern that matches `path` or a directory above it.
    pub(crate) fn covering(&self, path: &[u8]) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let path = self.view(path);
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let above = &path[..end];
            // Path and patterns are folded by now, so letters are compared as they are.
            if self.needs.verdict(name_of(above), false) == Verdict::No {
                continue;
            }
            if let Some(source) = self.first_match(above) {
                return Some(&self.sources[source]);
            }
        }
        None
    }

    fn first_match(&self, path: &[u8]) -> Option<usize> {
        let (name, path) = (Candidate::from_bytes(name_of(path)), Candidate::from_bytes(path));
        // Mostly nothing matches, and to ask that is cheaper than to collect what does.
        if !self.names.is_match_candidate(&name) && !self.paths.is_match_candidate(&path) {
            return None;
        }
        let by_name = self.names.matches_candidate(&name);
        let by_path = self.paths.matches_candidate(&path);
        let by_name = by_name.first().map(|at| self.name_sources[*at]);
        let by_path = by_path.first().map(|at| self.path_sources[*at]);
        by_name.into_iter().chain(by_path).min()
    }

    pub(crate) fn view<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        if self.folded { fold(path) } else { Cow::Borrowed(path) }
    }
}

/// Globs that a caller searches with: each matches a whole path below the directory searched, so
/// `*.md` finds what lies directly in it and `**/*.md` what lies anywhere below.
#[derive(Debug, Clone)]
pub struct PathGlobs {
    globs: GlobSet,
    needs: Needs,
    depth_max: Option<usize>,
}

impl PathGlobs {
    /// The longest glob, in bytes: a longer one costs more to compile than it can be worth.
    pub const GLOB_BYTES_MAX: usize = 1024;
    /// The most globs in one set.
    pub const GLOBS_MAX: usize = 64;

    /// Compiles globs, case-sensitive.
    ///
    /// # Errors
    /// A [`PatternError`] for the first glob that is refused.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, PatternError> {
        let (mut set, mut needs) = (GlobSetBuilder::new(), Needs::new());
        let mut depth_max = Some(0);
        for (at, glob) in globs.iter().map(AsRef::as_ref).enumerate() {
            let refuse =
                |reason: String| PatternError { pattern: glob.chars().take(80).collect(), reason };
            if glob.len() > Self::GLOB_BYTES_MAX {
                return Err(refuse(format!("it is longer than {} bytes", Self::GLOB_BYTES_MAX)));
            }
            if at >= Self::GLOBS_MAX {
                return Err(refuse(format!("there are more than {} patterns", Self::GLOBS_MAX)));
            }
            let body = checked(glob).map_err(refuse)?;
            let built = GlobBuilder::new(&by_character(body).map_err(refuse)?)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| refuse(error.kind().to_string()))?;
            set.add(built);
            // Slashes in braces count too often, which costs only a look.
            let depth = (!body.contains("**")).then(|| body.split('/').count());
            depth_max = depth_max.zip(depth).map(|(most, depth)| most.max(depth));
            match body.strip_prefix("**/") {
                Some(name) if !name.contains('/') => needs.add_name(name),
                _ => needs.add_path(body),
            }
        }
        let refuse = |error: globset::Error| PatternError {
            pattern: String::new(),
            reason: error.to_string(),
        };
        Ok(Self { globs: set.build().map_err(refuse)?, needs, depth_max })
    }

    /// How many components a path has at most that matches; `None`, where it may have any number.
    pub fn depth_max(&self) -> Option<usize> {
        self.depth_max
    }

    /// Whether any glob matches `path`.
    pub fn matches(&self, path: &[u8]) -> bool {
        !self.globs.is_empty()
            && match self.needs.verdict(name_of(path), false) {
                Verdict::No => false,
                Verdict::Yes => true,
                Verdict::Ask => self.matches_by_globs(path),
            }
    }

    fn matches_by_globs(&self, path: &[u8]) -> bool {
        self.globs.is_match_candidate(&Candidate::from_bytes(path))
    }
}

/// The last component of a path.
fn name_of(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        Some(at) => &path[at + 1..],
        None => path,
    }
}

/// NFKC and Unicode case folding. What is not UTF-8 is compared with U+FFFD in place of each
/// bad sequence, so that a stray byte hides no ASCII part of a name.
fn fold(path: &[u8]) -> Cow<'_, [u8]> {
    if path.is_ascii() {
        if path.iter().any(u8::is_ascii_uppercase) {
            return Cow::Owned(path.to_ascii_lowercase());
        }
        return Cow::Borrowed(path);
    }
    let text = String::from_utf8_lossy(path);
    let folded: Vec<String> = text.split('/').map(fold_component).collect();
    Cow::Owned(folded.join("/").into_bytes())
}

/// Folds one name. Some characters fold to several with a slash among them, such as `℅`; a name
/// has none, so it becomes one that no pattern takes for the end of a name.
fn fold_component(name: &str) -> String {
    const SLASH_IN_A_NAME: &str = "\u{fffd}";
    // Folding can denormalise and the reverse, so NFKC stands on both sides of it (UAX #31, NFKC_Casefold).
    let text: String = name.nfkc().filter(|c| !is_ignorable(*c)).collect();
    let folded: String = UniCase::unicode(text).to_folded_case().nfkc().collect();
    folded.replace('/', SLASH_IN_A_NAME)
}

/// Default-ignorable code points, which a name can carry unseen (Unicode 17,
/// DerivedCoreProperties, Default_Ignorable_Code_Point).
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The pattern without a leading slash, which only says that it is anchored.
fn checked(pattern: &str) -> Result<&str, String> {
    if pattern.starts_with('!') {
        return Err("there is no negation; list what is allowed, and exclude the rest".to_owned());
    }
    let body = pattern.strip_prefix('/').unwrap_or(pattern);
    if body.is_empty() {
        return Err("it is empty; `**` matches everything".to_owned());
    }
    if body.ends_with('/') {
        return Err(
            "a trailing slash matches nothing; an exclude covers what lies below by itself"
                .to_owned(),
        );
    }
    if body.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    if body.split('/').any(|component| component == ".." || component == ".") {
        return Err("`.` and `..` never match a path".to_owned());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(pattern: &str, path: &str) -> bool {
        PatternSet::allowing(&[pattern]).unwrap().matches(path.as_bytes())
    }

    fn exclude(pattern: &str, path: &str) -> bool {
        PatternSet::excluding(&[pattern]).unwrap().covering(path.as_bytes()).is_some()
    }

    #[test]
    fn without_a_slash_the_name_decides_at_any_depth() {
        assert!(allow("*.md", "README.md"));
        assert!(allow("*.md", "a/b/README.md"));
        assert!(!allow("*.md", "a/README.MD"));
        assert!(!allow("*.md", "notes.md/secret.bin"));
    }

    #[test]
    fn with_a_slash_the_whole_path_decides() {
        assert!(allow("workspace/**/*", "workspace/x"));
        assert!(allow("workspace/**/*", "workspace/a/b.rs"));
        assert!(!allow("workspace/**/*", "workspace"));
        assert!(!allow("workspace/*", "workspace/a/b.rs"));
        assert!(allow("/vault/**", "vault/x"));
        assert!(!allow("/vault/**", "a/vault/x"));
        assert!(allow("**", "anything/at/all"));
        assert!(allow("/only", "only") && !allow("/only", "a/only"));
    }

    #[test]
    fn excludes_cover_what_lies_below() {
        assert!(exclude("*.key", "prod.key/a.md"));
        assert!(exclude("**/.git", "a/.git/config"));
        assert!(exclude("**/.git/**", ".git/config"));
        assert!(!exclude("**/.git/**", ".git"));
        assert!(!exclude(".env", ".env.json"));
        assert!(exclude(".env.*", ".env."));
    }

    #[test]
    fn excludes_fold_case_and_compatibility() {
        for disguise in [
            ".Env",
            ".ENV",
            ".ｅnv",
            ".e\u{200b}nv",
            ".EN\u{1e7c}".replace('\u{1e7c}', "V").as_str(),
        ] {
            assert!(exclude(".env", disguise), "{disguise:?}");
        }
        assert!(exclude("**/secréts/**", "secre\u{301}ts/a.txt"));
        assert!(exclude("stra\u{df}e", "STRASSE"));
        assert!(exclude("credentials.*", "sub/CREDENTIALS.JSON"));
    }

    #[test]
    fn what_folds_to_a_slash_or_to_nothing_disguises_no_name() {
        assert!(exclude("secret*.txt", "secret\u{2105}.txt"));
        assert!(exclude("secret*", "a/secret\u{2105}"));
        for unseen in [
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{2065}',
            '\u{fff0}',
            '\u{1bca0}',
        ] {
            assert!(exclude(".env", &format!(".en{unseen}v")), "{unseen:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_hide_nothing() {
        let set = PatternSet::excluding(&["*.key"]).unwrap();
        assert!(set.covering(b"a\xff.key").is_some());
        assert!(set.covering(b"\xff/A.KEY/x").is_some());
    }

    #[test]
    fn globs_tell_how_deep_they_reach() {
        let depth = |globs: &[&str]| PathGlobs::new(globs).unwrap().depth_max();
        assert_eq!(depth(&["*.csv"]), Some(1));
        assert_eq!(depth(&["*.csv", "/a/*/c"]), Some(3));
        assert!(depth(&["{a,b/c}.csv"]).is_some_and(|most| most >= 2));
        assert_eq!(depth(&["*.csv", "a/**"]), None);
    }

    #[test]
    fn negation_and_patterns_that_match_nothing_are_refused() {
        for bad in ["!*.md", "", "/", "a/", "../x", "a/./b", "[z-a]", "{a"] {
            assert!(PatternSet::allowing(&[bad]).is_err(), "{bad:?}");
        }
    }
}
