//! How lines are indented that take the place of lines which were quoted with other indentation.
//!
//! What is known are pairs: the indentation of a line as it was quoted, and as it is in the file. If all
//! pairs differ by the same white space in front, new lines are moved by that. Otherwise a new line can
//! still be as deep as a quoted one was. What cannot be told is not guessed.
//!
//! **Invariant**: a new line that is indented as the quoted line at its place gets the indentation of
//! that line in the file, or none of them is written.

use super::matching::leading;

/// What is known of the indentation of lines that were found.
#[derive(Debug)]
pub(super) struct Shift<'a> {
    /// Of the line with which the quote begins, unless it is blank.
    first: Option<(&'a str, &'a str)>,
    /// Of all lines that are not blank, or of all but the first.
    pairs: Vec<(&'a str, &'a str)>,
    /// What is taken away in front and put there instead, where that is the same for all pairs.
    moved: Option<(&'a str, &'a str)>,
}

impl<'a> Shift<'a> {
    /// From the lines as they were quoted and as they were found, which are as many.
    pub(super) fn between(quoted: &[&'a str], found: &[&'a str]) -> Self {
        let pair = |(quoted, found): (&&'a str, &&'a str)| {
            let lead = leading(quoted);
            (lead.len() < quoted.len()).then(|| (lead, leading(found)))
        };
        let all: Vec<_> = quoted.iter().zip(found).map(pair).collect();
        let first = all.first().copied().flatten();
        let mut pairs: Vec<_> = all.into_iter().flatten().collect();
        let mut moved = moved_by(&pairs);
        // Many quote the first line from its first word on, and the others as they are.
        if moved.is_none() && first.is_some_and(|(quoted, _)| quoted.is_empty()) {
            let others = &pairs[1..];
            if others.iter().all(|(quoted, found)| quoted == found) {
                moved = moved_by(others);
                pairs.remove(0);
            }
        }
        // It is searched for each new line.
        pairs.sort_unstable();
        pairs.dedup();
        Self { first, pairs, moved }
    }

    /// The new lines, indented as those that they replace; `None` if that cannot be told.
    pub(super) fn applied(&self, new: &str) -> Option<String> {
        let mut text = String::with_capacity(new.len());
        for (at, line) in new.split('\n').enumerate() {
            if at > 0 {
                text.push('\n');
            }
            let lead = leading(line);
            if lead.len() == line.len() {
                text.push_str(line);
                continue;
            }
            match self.first.filter(|(quoted, _)| at == 0 && *quoted == lead) {
                Some((_, found)) => text.push_str(found),
                None => text.extend(self.indentation(lead)?),
            }
            text.push_str(&line[lead.len()..]);
        }
        Some(text)
    }

    /// What stands in the file for a quoted indentation, in two parts.
    fn indentation<'b>(&self, lead: &'b str) -> Option<[&'b str; 2]>
    where
        'a: 'b,
    {
        let from = self.pairs.partition_point(|(quoted, _)| *quoted < lead);
        let mut same = self.pairs[from..].iter().take_while(|(quoted, _)| *quoted == lead);
        match (same.next(), same.next()) {
            (Some((_, found)), None) => return Some([found, ""]),
            // Two lines were quoted with the same indentation and are not indented alike.
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        let (away, instead) = self.moved?;
        // What other white space comes to is not known: how many spaces are a tab?
        if !away.is_empty() && !instead.is_empty() {
            return None;
        }
        let rest = lead.strip_prefix(away)?;
        let file = self.pairs.iter().map(|(_, found)| *found).find(|found| !found.is_empty());
        is_alike(file.unwrap_or_default(), rest).then_some([instead, rest])
    }
}

/// What is in front of all quoted indentations and stands in front of those of the file instead, if the
/// rest of each is the same.
fn moved_by<'a>(pairs: &[(&'a str, &'a str)]) -> Option<(&'a str, &'a str)> {
    let Some((quoted, found)) = pairs.iter().min_by_key(|(quoted, _)| quoted.len()) else {
        return Some(("", ""));
    };
    let same = quoted.chars().rev().zip(found.chars().rev()).take_while(|(a, b)| a == b);
    let same: usize = same.map(|(letter, _)| letter.len_utf8()).sum();
    let (away, instead) = (&quoted[..quoted.len() - same], &found[..found.len() - same]);
    let fits = |(quoted, found): &(&str, &str)| {
        let rest = quoted.strip_prefix(away);
        rest.is_some() && rest == found.strip_prefix(instead)
    };
    pairs.iter().all(fits).then_some((away, instead))
}

/// Whether two kinds of white space can stand behind each other without mixing tabs with others.
fn is_alike(file: &str, rest: &str) -> bool {
    file.is_empty() || rest.is_empty() || file.contains('\t') == rest.contains('\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(quoted: &str, found: &str, new: &str) -> Option<String> {
        let quoted: Vec<&str> = quoted.split('\n').collect();
        let found: Vec<&str> = found.split('\n').collect();
        Shift::between(&quoted, &found).applied(new)
    }

    #[test]
    fn new_lines_move_as_the_quoted_ones_did() {
        for (quoted, found, new, wanted) in [
            ("a\n  b", "    a\n      b", "c\n    d\n\ne", "    c\n        d\n\n    e"),
            ("    a\n      b", "a\n  b", "    c\n        d", "c\n    d"),
            ("\ta\n\t\tb", "\t\t\ta\n\t\t\t\tb", "\tc\n\t\t\td", "\t\t\tc\n\t\t\t\t\td"),
            // Only how deep lines are that were quoted is known where one kind stands for another.
            ("a\n  b\nc", "\ta\n\t\tb\n\tc", "d\n  e\n  f\ng", "\td\n\t\te\n\t\tf\n\tg"),
            (
                "/**\n * a\n */",
                "\t/**\n\t * a\n\t */",
                "/**\n * b\n * c\n */",
                "\t/**\n\t * b\n\t * c\n\t */",
            ),
            // The first line from its first word on.
            (
                "if a\n        b\n    c",
                "    if a\n        b\n    c",
                "if d\n            e\n    f",
                "    if d\n            e\n    f",
            ),
            ("a", "\t\ta", "b\n\tc", "\t\tb\n\t\t\tc"),
            ("\na", "\n  a", "b", "  b"),
            // Blank lines say nothing, and stay as they are.
            ("a\n \n  b", "  a\n\n    b", "c\n \n  d", "  c\n \n    d"),
            ("a", "  a", "", ""),
            ("  ", "", "x\n y", "x\n y"),
        ] {
            assert_eq!(applied(quoted, found, new).as_deref(), Some(wanted), "{quoted:?} {new:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        for (quoted, found, new) in [
            // All was quoted flat.
            ("a\nb", "  a\n    b", "d\ne"),
            ("a\nb\nc", "  a\n    b\n  c", "d\ne"),
            // Deeper than what is known, in another kind of white space.
            ("a\n  b", "\ta\n\t\tb", "c\n    d"),
            ("a", "\ta", "b\n    c"),
            ("    a", "\ta", "    b\n        c"),
            ("\ta", "    a", "\tb\n\t\tc"),
            // Less deep than what was taken away.
            ("    a\n      b", "a\n  b", "  c"),
        ] {
            assert_eq!(applied(quoted, found, new), None, "{quoted:?} {new:?}");
        }
        // The first line is where it was, whatever is not known of the others.
        assert_eq!(applied("a\nb", "  a\n    b", "d").as_deref(), Some("  d"));
    }

    /// Numbers that are the same each time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, below: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(self.0 >> 33).unwrap() % below
        }

        fn block(&mut self, kinds: &[&str]) -> Vec<String> {
            (0..=self.roll(5))
                .map(|at| {
                    let lead: String =
                        (0..self.roll(4)).map(|_| kinds[self.roll(kinds.len())]).collect();
                    if self.roll(6) == 0 { lead } else { format!("{lead}w{at}") }
                })
                .collect()
        }
    }

    #[test]
    fn a_uniform_shift_moves_whatever_is_new_by_the_same() {
        let mut dice = Dice(7);
        for _ in 0..20_000 {
            let kind = ["  ", "\t"][dice.roll(2)];
            let front = kind.repeat(dice.roll(4));
            let (block, new) = (dice.block(&[kind]), dice.block(&[kind]));
            let moved = |lines: &[String]| -> String {
                let line = |line: &String| {
                    if line.trim().is_empty() { line.clone() } else { format!("{front}{line}") }
                };
                lines.iter().map(line).collect::<Vec<_>>().join("\n")
            };
            if block.iter().all(|line| line.trim().is_empty()) {
                continue;
            }
            let (shallow, deep) = (block.join("\n"), moved(&block));
            assert_eq!(applied(&shallow, &deep, &new.join("\n")), Some(moved(&new)), "{block:?}");
            assert_eq!(applied(&deep, &shallow, &moved(&new)), Some(new.join("\n")), "{block:?}");
        }
    }

    #[test]
    fn what_is_put_back_as_it_was_quoted_stays_as_it_is_in_the_file() {
        let mut dice = Dice(11);
        let mut refused = 0;
        for _ in 0..20_000 {
            let kinds = ["  ", "\t", " ", "\u{a0}"];
            let quoted = dice.block(&kinds);
            let found: Vec<String> = quoted
                .iter()
                .map(|line| {
                    let lead = kinds[dice.roll(4)].repeat(dice.roll(3));
                    if line.trim().is_empty() { line.clone() } else { lead + line.trim() }
                })
                .collect();
            let (quoted, found) = (quoted.join("\n"), found.join("\n"));
            match applied(&quoted, &found, &quoted) {
                Some(text) => assert_eq!(text, found, "{quoted:?}"),
                None => refused += 1,
            }
        }
        assert!((500..10_000).contains(&refused), "{refused}");
    }
}
