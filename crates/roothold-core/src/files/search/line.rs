//! A line as it is shown: without its end, as text, and no longer than a reader can use.

use std::ops::Range;

/// What stands for the part of a line that is not shown.
const DOTS: &str = "…";

/// The line without `\n` or `\r\n` at its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line as text, and whether it was cut. Of one longer than `bytes_max` the part around what
/// matched is shown, a quarter of it before.
pub(super) fn shown(
    line: &[u8],
    bytes_max: usize,
    matched: impl FnOnce() -> Option<Range<usize>>,
) -> (String, bool) {
    if line.len() <= bytes_max {
        return (String::from_utf8_lossy(line).into_owned(), false);
    }
    let matched = matched().unwrap_or(0..0);
    let before = matched.start.min(line.len()).saturating_sub(bytes_max / 4);
    let start = char_start(line, before.min(line.len() - bytes_max));
    let end = char_start(line, start + bytes_max);
    let mut text = String::with_capacity(end - start + 2 * DOTS.len());
    if start > 0 {
        text.push_str(DOTS);
    }
    text.push_str(&String::from_utf8_lossy(&line[start..end]));
    if end < line.len() {
        text.push_str(DOTS);
    }
    (text, true)
}

/// Where the character begins that `at` lies in, as far as it is UTF-8.
fn char_start(line: &[u8], at: usize) -> usize {
    let is_inner = |at: usize| line.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    // A character has four bytes at most.
    (at.saturating_sub(3)..=at).rev().find(|at| !is_inner(*at)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_taken_off_once() {
        for (line, text) in
            [("a\r\n", "a"), ("a\n", "a"), ("a", "a"), ("\n", ""), ("a\r\r\n", "a\r")]
        {
            assert_eq!(without_end(line.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn a_long_line_is_cut_around_what_matched() {
        let line = format!("{}MATCH{}", "a".repeat(1000), "b".repeat(1000));
        let at = |start: usize| move || Some(start..start + 5);
        let (text, cut) = shown(line.as_bytes(), 40, at(1000));
        assert!(cut);
        assert_eq!(text, format!("…{}MATCH{}…", "a".repeat(10), "b".repeat(25)));
        let (text, _) = shown(line.as_bytes(), 40, at(0));
        assert_eq!(text, format!("{}…", "a".repeat(40)));
        let (text, _) = shown(line.as_bytes(), 40, at(2000));
        assert_eq!(text, format!("…{}", "b".repeat(40)));
        assert_eq!(shown(b"short", 40, || unreachable!()), ("short".to_owned(), false));
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let line = "\u{e9}\u{20ac}\u{1f600}".repeat(50);
        for bytes_max in 8..40 {
            for start in 0..line.len() {
                let (text, _) = shown(line.as_bytes(), bytes_max, || Some(start..start));
                assert!(!text.contains('\u{fffd}'), "{bytes_max} {start}: {text}");
                assert!(text.len() <= bytes_max + 3 + 2 * DOTS.len());
            }
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_far_as_it_is() {
        let bytes: Vec<u8> = (0..=255).map(|byte| byte | 0x80).collect();
        let (text, cut) = shown(&bytes, 50, || Some(100..101));
        assert!(cut && text.contains('\u{fffd}'));
        assert_eq!(shown(b"caf\xe9", 50, || None), ("caf\u{fffd}".to_owned(), false));
    }
}
