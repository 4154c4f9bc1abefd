//! Random trees and texts, searched as a beginner would write it, must give the same.

#![expect(clippy::disallowed_methods, reason = "the beginner reads files by their paths")]

use std::fs;
use std::path::Path;

use super::*;

/// Numbers that look like chance and are the same every time (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A few characters, so that short patterns match now and then; some are not ASCII.
    fn text(&mut self, lines: usize) -> String {
        let mut text = String::new();
        for _ in 0..lines {
            for _ in 0..self.below(12) {
                text.push_str(self.pick(&["a", "b", "A", " ", "\u{e9}", "."]));
            }
            text.push_str(self.pick(&["\n", "\n", "\n", "\r\n"]));
        }
        if self.below(3) == 0 {
            text.push_str(self.pick(&["ab", "a", "\u{e9}a"]));
        }
        text
    }
}

fn tree(random: &mut Random) -> Workspace {
    let workspace = Workspace::new();
    let names = ["a", "a.b", "b", ".env", "A", "x.key", "\u{e9}"];
    for _ in 0..25 {
        let depth = random.below(3);
        let mut path = "work".to_owned();
        for _ in 0..depth {
            path += "/d";
            path += random.pick(&["", "1", "-", ".x"]);
        }
        let lines = if random.below(30) == 0 { 9000 } else { random.below(12) };
        let text = random.text(lines);
        workspace.file(&format!("{path}/{}", random.pick(&names)), text);
    }
    workspace
}

/// The records of one file.
fn naive_file(
    path: &str,
    text: &str,
    search: &Search,
    matches: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let most = usize::try_from(search.matches_per_file_max).unwrap_or(usize::MAX);
    let hits: Vec<usize> = (0..lines.len()).filter(|at| matches(lines[*at])).collect();
    let next = hits.get(most).copied().unwrap_or(usize::MAX);
    let hits = &hits[..hits.len().min(most)];
    let mut records = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_near = |hit: &usize| at + search.before >= *hit && at <= *hit + search.after;
        let kind = if hits.contains(&at) {
            ':'
        } else if at < next && hits.iter().any(is_near) {
            '-'
        } else {
            continue;
        };
        records.push(format!("{path}{kind}{}{kind}{line}", at + 1));
    }
    records
}

fn naive(dir: &Path, shown: &str, search: &Search, matches: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".env" && name != "x.key")
        .collect();
    names.sort();
    let mut records = Vec::new();
    for name in names {
        let (path, shown) = (dir.join(&name), format!("{shown}/{name}"));
        if path.is_dir() {
            records.extend(naive(&path, &shown, search, matches));
        } else {
            let text = fs::read_to_string(&path).unwrap();
            records.extend(naive_file(&shown, &text, search, matches));
        }
    }
    records
}

#[test]
fn random_trees_give_what_a_beginner_finds() {
    type Case = (&'static str, bool, bool, fn(&str) -> bool);
    let cases: [Case; 6] = [
        ("ab", true, false, |line| line.contains("ab")),
        ("a.", true, false, |line| line.contains("a.")),
        ("a.b", false, false, |line| {
            let chars: Vec<char> = line.chars().collect();
            chars.windows(3).any(|three| three[0] == 'a' && three[2] == 'b')
        }),
        ("^a*$", false, false, |line| line.chars().all(|c| c == 'a')),
        ("\u{c9}a", true, true, |line| line.to_lowercase().contains("\u{e9}a")),
        ("b$", false, true, |line| line.ends_with(['b', 'B'])),
    ];
    for seed in 0..6 {
        let mut random = Random(seed);
        let workspace = tree(&mut random);
        let policy = workspace.policy();
        for (text, literal, ignore_case, matches) in cases {
            let spec =
                PatternSpec { text: text.into(), literal, ignore_case, ..Default::default() };
            let mut search = of(&spec);
            (search.before, search.after) = (random.below(4), random.below(4));
            search.matches_per_file_max = if random.below(2) == 0 { 3 } else { u64::MAX };
            let wanted = naive(&workspace.disk("work"), "/work", &search, &matches);
            for room in [1 + wanted.len() / (1 + random.below(40)), 100_000] {
                let (found, _) = paged(&policy, "/work", &search, room);
                assert!(found == wanted, "seed {seed}, {text}, room {room}");
            }
        }
    }
}
