//! Globs over characters, by way of globs over bytes.
//!
//! The globs underneath compare bytes: to them `?` and `[!a]` are one byte each, so that `caf?`
//! is not `café`, and an exclude that is written so covers less than it says. Here both become
//! alternatives: a byte of ASCII, or all the bytes of one longer character. The classes that
//! say so rest on how a class is taken underneath: as the bytes of the characters that it
//! names, and what lies between the last byte of one and the first of another.
//!
//! **Invariant**: of a name that is UTF-8, `?` and `[!…]` take one whole character each.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A byte of ASCII that is no slash.
const ASCII: &str = "[\u{1}-.0-\u{7f}]";
/// The first byte of a character of at least two bytes, unless that is `0xc2`: not ASCII, nor
/// from `0x80` (the last byte of U+0080) to `0xc2` (the first of U+0081).
const FIRST_OF_2: &str = "[!\u{1}-\u{7f}\u{80}-\u{81}]";
/// The first byte of a character of at least three bytes: from `0xe0`.
const FIRST_OF_3: &str = "[!\u{1}-\u{7f}\u{80}-\u{7ff}]";
/// The first byte of a character of four bytes: from `0xf0`.
const FIRST_OF_4: &str = "[!\u{1}-\u{7f}\u{80}-\u{ffff}]";
/// A byte after the first, or `0xc2`, which in UTF-8 never stands there.
const NEXT: &str = "[\u{80}-\u{81}]";
/// Within a class: every byte that is not ASCII, from the last of U+0800 to the first of U+10FFFF.
const NOT_ASCII: &str = "\u{800}-\u{10ffff}";

/// Rewrites a glob so that it is about characters.
///
/// # Errors
/// Says what to write instead of a class of characters that are not ASCII.
pub(super) fn by_character(glob: &str) -> Result<Cow<'_, str>, String> {
    if !glob.contains(['?', '[']) {
        return Ok(Cow::Borrowed(glob));
    }
    let mut out = String::with_capacity(glob.len());
    let mut rest = glob.chars();
    while let Some(char) = rest.next() {
        match char {
            '\\' => out.extend([char].into_iter().chain(rest.next())),
            '?' => push_alternatives(&mut out, ASCII),
            '[' => {
                let Some((class, after)) = split_class(rest.as_str()) else {
                    out.push(char);
                    continue;
                };
                if !class.is_ascii() {
                    return Err("a class holds ASCII characters only; write {é,è} for [éè]".into());
                }
                match class.strip_prefix(['!', '^']) {
                    None => _ = write!(out, "[{class}]"),
                    Some(members) => push_alternatives(&mut out, &all_but(members)),
                }
                rest = after.chars();
            }
            other => out.push(other),
        }
    }
    Ok(Cow::Owned(out))
}

/// `{one,…}`, where `…` is every character that is not ASCII.
fn push_alternatives(out: &mut String, one: &str) {
    _ = write!(out, "{{{one},{FIRST_OF_2}{NEXT},{FIRST_OF_3}{NEXT}{NEXT}");
    _ = write!(out, ",{FIRST_OF_4}{NEXT}{NEXT}{NEXT}");
    // Those that begin with 0xc2, one by one: no class is that byte alone.
    for char in '\u{80}'..='\u{bf}' {
        out.extend([',', char]);
    }
    out.push('}');
}

/// What stands between the brackets, and what comes after; `None` if they are not closed. A
/// bracket that would close a class without members is one of them.
fn split_class(after_bracket: &str) -> Option<(&str, &str)> {
    let first = after_bracket.strip_prefix(['!', '^']).unwrap_or(after_bracket);
    let skipped = after_bracket.len() - first.len() + usize::from(first.starts_with(']'));
    let end = skipped + after_bracket.get(skipped..)?.find(']')?;
    Some((&after_bracket[..end], &after_bracket[end + 1..]))
}

/// The class of the bytes of ASCII that are not among the members of another.
fn all_but(members: &str) -> String {
    let members: Vec<char> = members.chars().collect();
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(first) = members.get(at) {
        match members.get(at + 1..at + 3) {
            Some(['-', last]) if at + 1 < members.len() => {
                found.extend(*first..=*last);
                at += 3;
            }
            _ => {
                found.insert(*first);
                at += 1;
            }
        }
    }
    // Where they mean themselves: the bracket first, the dash last.
    let bracket = if found.remove(&']') { "]" } else { "" };
    let dash = if found.remove(&'-') { "-" } else { "" };
    let others: String = found.into_iter().collect();
    format!("[!{bracket}{others}{NOT_ASCII}{dash}]")
}

#[cfg(test)]
mod tests {
    use super::super::{PathGlobs, PatternSet};

    fn finds(glob: &str, path: &str) -> bool {
        PathGlobs::new(&[glob]).unwrap().matches(path.as_bytes())
    }

    /// One of each length, and the first and last of each.
    const CHARACTERS: [&str; 12] = [
        "a",
        "\u{7f}",
        "\u{80}",
        "\u{bf}",
        "\u{c0}",
        "é",
        "\u{7ff}",
        "\u{800}",
        "€",
        "\u{ffff}",
        "\u{10000}",
        "😀",
    ];

    #[test]
    fn a_question_mark_is_one_character() {
        for one in CHARACTERS {
            assert!(finds("?", one) && finds("x?y", &format!("x{one}y")), "{one:?}");
            assert!(finds("[!x]", one) && finds("[^x-z]", one), "{one:?}");
            for two in CHARACTERS {
                let both = format!("{one}{two}");
                assert!(finds("??", &both) && finds("?*", &both), "{both:?}");
                assert!(finds("{??,z}", &both) && finds("*?", &both), "{both:?}");
                assert!(!finds("?", &both) && !finds("[!x]", &both), "{both:?}");
                assert!(!finds("???", &both) && !finds("?*??", &both), "{both:?}");
            }
        }
        assert!(!finds("?", "") && !finds("a?b", "a/b") && finds("\\?", "?") && !finds("\\?", "x"));
    }

    #[test]
    fn an_exclude_covers_what_it_says() {
        let excludes = |pattern: &str, path: &str| {
            PatternSet::excluding(&[pattern]).unwrap().covering(path.as_bytes()).is_some()
        };
        assert!(excludes("secr?ts", "SECRÉTS/a") && excludes("secr?ts", "secre\u{301}ts"));
        assert!(excludes("*.k[!a]y", "x.kéy") && !excludes("*.k[!a]y", "x.kay"));
        assert!(excludes("caf?.txt", "caf\u{2105}.txt") == excludes("caf???.txt", "cafx/o.txt"));
    }

    #[test]
    fn classes_keep_their_members() {
        for (class, members) in [
            ("[!]]", "]"),
            ("[!]a-c]", "]abc"),
            ("[!a-]", "a-"),
            ("[!-a]", "-a"),
            ("[!^]", "^"),
            ("[!!]", "!"),
            ("[^!-/]", "!#./-"),
            ("[!\\]", "\\"),
            ("[!a-cx-z]", "abcxyz"),
        ] {
            for char in "]abcdxyz-^!#.\\é€".chars() {
                let expected = !members.contains(char);
                assert_eq!(finds(class, &char.to_string()), expected, "{class} {char:?}");
            }
        }
        assert!(finds("[a-c]", "b") && !finds("[a-c]", "é"));
    }

    #[test]
    fn a_class_that_could_not_hold_is_refused() {
        for glob in ["[é]", "x[à-ü]y", "[!é]"] {
            let error = PathGlobs::new(&[glob]).unwrap_err().to_string();
            assert!(error.contains("a class holds ASCII characters only"), "{error}");
        }
        assert!(PathGlobs::new(&["[a", "?["]).is_err());
        assert!(PathGlobs::new(&["?".repeat(PathGlobs::GLOB_BYTES_MAX)]).is_ok());
    }
}
