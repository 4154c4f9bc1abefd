//! What globs demand of a name at least: how it must begin and end. Most names fail that at
//! their first or last byte, and are not worth asking the globs about.
//!
//! **Invariant**: a verdict is what the globs themselves would say, or [`Verdict::Ask`]; a
//! property test holds it to that.

/// Characters with a meaning in a glob.
const SPECIAL: &[char] = &['*', '?', '[', ']', '{', '}', ',', '\\'];

/// What is known of a name without the globs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None of them matches it, nor a path that ends in it.
    No,
    /// One of them matches it.
    Yes,
    /// The globs must be asked.
    Ask,
}

/// The demands of a set of globs.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    all: Vec<Need>,
    /// Whether any that has a beginning begins with the byte.
    begins: [bool; 256],
    /// Whether any without a beginning ends with the byte.
    ends: [bool; 256],
    /// Whether one of them demands nothing.
    any: bool,
}

#[derive(Debug, Clone)]
struct Need {
    begin: Vec<u8>,
    end: Vec<u8>,
    fit: Fit,
}

/// What it means that a name begins and ends as it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// That the glob matches, if the name is just the beginning.
    Whole,
    /// That the glob matches: there is one `*` between the two.
    Around,
    /// That the glob may match.
    Perhaps,
}

impl Needs {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), begins: [false; 256], ends: [false; 256], any: false }
    }

    /// Adds a glob over a name, in which `*` stands for anything.
    pub(super) fn add_name(&mut self, glob: &str) {
        let begin = glob.split(SPECIAL).next().unwrap_or_default();
        let end = glob.rsplit(SPECIAL).next().unwrap_or_default();
        if begin.len() == glob.len() {
            return self.add(glob, "", Fit::Whole);
        }
        let rest = &glob[begin.len()..glob.len() - end.len()];
        self.add(begin, end, if rest == "*" { Fit::Around } else { Fit::Perhaps });
    }

    /// Adds a glob over a whole path: it demands something of the path's last name only.
    pub(super) fn add_path(&mut self, glob: &str) {
        let name = glob.rsplit('/').next().unwrap_or_default();
        let end = name.rsplit(SPECIAL).next().unwrap_or_default();
        // A slash may stand inside of a group; then the glob's last slash begins no name.
        let has_groups = glob.contains(['[', '{', '\\']);
        let begin = if has_groups { "" } else { name.split(SPECIAL).next().unwrap_or_default() };
        let end = if begin.len() == name.len() { "" } else { end };
        self.add(begin, end, Fit::Perhaps);
    }

    fn add(&mut self, begin: &str, end: &str, fit: Fit) {
        match (begin.as_bytes(), end.as_bytes()) {
            ([first, ..], _) => self.begins[usize::from(*first)] = true,
            ([], [.., last]) => self.ends[usize::from(*last)] = true,
            ([], []) => self.any = true,
        }
        let (begin, end) = (begin.as_bytes().to_vec(), end.as_bytes().to_vec());
        self.all.push(Need { begin, end, fit });
    }

    /// What can be said of a name. `folded` compares ASCII letters without their case, which for
    /// an ASCII name is all that folding does; of another name nothing is said then.
    pub(super) fn verdict(&self, name: &[u8], folded: bool) -> Verdict {
        let ([first, ..], [.., last]) = (name, name) else { return Verdict::Ask };
        let lower = |byte: u8| usize::from(if folded { byte.to_ascii_lowercase() } else { byte });
        let is_met = self.any || self.begins[lower(*first)] || self.ends[lower(*last)];
        if folded && !name.is_ascii() {
            return Verdict::Ask;
        }
        if !is_met {
            return Verdict::No;
        }
        let mut verdict = Verdict::No;
        for need in &self.all {
            match need.of(name, folded) {
                Verdict::Yes => return Verdict::Yes,
                Verdict::Ask => verdict = Verdict::Ask,
                Verdict::No => {}
            }
        }
        verdict
    }
}

impl Need {
    fn of(&self, name: &[u8], folded: bool) -> Verdict {
        let same = |a: &[u8], b: &[u8]| if folded { a.eq_ignore_ascii_case(b) } else { a == b };
        let (begin, end) = (self.begin.len(), self.end.len());
        // Something stands between the two in the glob, so they never overlap in a name.
        if name.len() < begin + end
            || !same(&name[..begin], &self.begin)
            || !same(&name[name.len() - end..], &self.end)
        {
            return Verdict::No;
        }
        match self.fit {
            Fit::Whole if name.len() > begin => Verdict::No,
            Fit::Whole | Fit::Around => Verdict::Yes,
            Fit::Perhaps => Verdict::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PathGlobs, PatternSet, name_of};
    use super::*;

    /// Numbers that look like chance and are the same every time (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % end as u64).unwrap()
        }

        fn text(&mut self, pieces: &[&str], most: usize) -> String {
            (0..self.below(most + 1)).map(|_| pieces[self.below(pieces.len())]).collect()
        }
    }

    const IN_GLOBS: [&str; 21] = [
        "a", "b", "A", "ab", ".", "*", "*", "**", "?", "/", "/", "**/", "/**", "[ab]", "[!a]",
        "{a,b}", "{a/b,ab}", "\\*", ",", "\u{e9}", "\u{2105}",
    ];
    const IN_PATHS: [&str; 14] =
        ["a", "b", "A", "B", "ab", ".", "*", ",", "/", "/", "[", "\u{e9}", "\u{ff41}", "\u{2105}"];

    fn path(random: &mut Random) -> Vec<u8> {
        let text = random.text(&IN_PATHS, 7);
        let mut path =
            text.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        if random.below(20) == 0 {
            path.push('a');
            let mut bytes = path.into_bytes();
            let at = random.below(bytes.len());
            bytes[at] = 0xff;
            return bytes;
        }
        path.push_str(if path.is_empty() { "a" } else { "" });
        path.into_bytes()
    }

    #[test]
    fn a_verdict_is_what_the_globs_say() {
        let mut random = Random(0x5eed);
        let (mut compiled, mut matched, mut decided, mut covered) = (0, 0, 0, 0);
        for _ in 0..6000 {
            let globs: Vec<String> =
                (0..=random.below(3)).map(|_| random.text(&IN_GLOBS, 5)).collect();
            let (Ok(exact), Ok(folded), Ok(paths)) = (
                PatternSet::allowing(&globs),
                PatternSet::excluding(&globs),
                PathGlobs::new(&globs),
            ) else {
                continue;
            };
            compiled += 1;
            for _ in 0..60 {
                let path = path(&mut random);
                let shown = || (globs.clone(), String::from_utf8_lossy(&path).into_owned());
                if !exact.everything {
                    for set in [&exact, &folded] {
                        let said = set.matches_by_globs(&path);
                        assert_eq!(set.matches(&path), said, "{:?}", shown());
                        let verdict = set.needs.verdict(name_of(&path), set.folded);
                        decided += usize::from(verdict != Verdict::Ask);
                        matched += usize::from(said);
                    }
                }
                for set in [&exact, &folded] {
                    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
                    let mut ends = ends.map(|(at, _)| at).chain([path.len()]);
                    let said = ends.any(|end| set.matches_by_globs(&path[..end]));
                    assert_eq!(set.covering(&path).is_some(), said, "{:?}", shown());
                    covered += usize::from(said);
                }
                assert_eq!(paths.matches(&path), paths.matches_by_globs(&path), "{:?}", shown());
            }
        }
        assert!(compiled > 1000, "{compiled}");
        assert!(matched > 10_000 && decided > 30_000, "{matched} {decided}");
        assert!(covered > matched, "{covered} {matched}");
    }

    #[test]
    fn the_default_excludes_are_decided_for_nearly_every_name() {
        let set = PatternSet::excluding(crate::DEFAULT_EXCLUDES).unwrap();
        let verdict = |name: &str| set.needs.verdict(name.as_bytes(), true);
        for name in ["client_7.py", "README.md", "credential", "index.html", "a.keys", ".envrc"] {
            assert_eq!(verdict(name), Verdict::No, "{name}");
        }
        for name in [".ENV", "a.Key", "credentials.", "ID_RSA", ".env.x"] {
            assert_eq!(verdict(name), Verdict::Yes, "{name}");
        }
        // The globs know whether it lies in `.docker`.
        assert_eq!(verdict("config.json"), Verdict::Ask);
        assert_eq!(verdict("\u{e9}"), Verdict::Ask);
    }
}
