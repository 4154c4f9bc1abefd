//! The form of a diff, that it says all that is different, and that it keeps to its room.

use super::*;

fn diff(old: &str, new: &str) -> String {
    diff_within(old, new, 1 << 20).text
}

fn diff_within(old: &str, new: &str, bytes_max: usize) -> Diff {
    unified("/work/a.txt", old, new, bytes_max, Instant::now() + Duration::from_mins(1))
}

/// Applies a diff, as `patch` does, strictly.
fn patch(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut at, mut new) = (0, String::new());
    let mut lines = diff.lines().skip(4).peekable();
    while let Some(line) = lines.next() {
        if let Some(range) = line.strip_prefix("@@ -") {
            let mut numbers = range.split([',', ' ']).map(str::parse::<usize>);
            let (start, len) = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
            let start = start - usize::from(len > 0);
            new.push_str(&old[at..start].concat());
            at = start;
            continue;
        }
        let ends_without = lines.peek() == Some(&"\\ No newline at end of file");
        let text = format!("{}{}", &line[1..], if ends_without { "" } else { "\n" });
        match line.as_bytes()[0] {
            b' ' => {
                assert_eq!(old[at], text);
                new.push_str(&text);
                at += 1;
            }
            b'-' => {
                assert_eq!(old[at], text);
                at += 1;
            }
            b'+' => new.push_str(&text),
            b'\\' => {}
            other => panic!("{other}"),
        }
    }
    new + &old[at..].concat()
}

#[test]
fn the_form_is_that_of_unified_diffs() {
    let old: String = (1..=12).map(|n| format!("line {n}\n")).collect();
    let new = old.replace("line 6\n", "line six\n");
    let wanted = "Index: /work/a.txt\n\
        ===================================================================\n\
        --- /work/a.txt\toriginal\n\
        +++ /work/a.txt\tmodified\n\
        @@ -2,9 +2,9 @@\n line 2\n line 3\n line 4\n line 5\n-line 6\n+line six\n line 7\n line 8\n line 9\n line 10\n";
    assert_eq!(diff(&old, &new), wanted);
    let without = diff("a\nb", "a\nc");
    assert!(without.ends_with(
        "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"
    ));
    assert!(diff("", "a\n").ends_with("@@ -0,0 +1,1 @@\n+a\n"));
    assert!(diff("a\n", "").ends_with("@@ -1,1 +0,0 @@\n-a\n"));
    assert!(!diff("same\n", "same\n").contains("@@"));
}

#[test]
fn a_diff_says_all_that_is_different() {
    // Many small files over a small alphabet, so that lines repeat and edges are met.
    let mut state = 1u64;
    let mut next = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..3000 {
        let mut text = || {
            let lines = next(30);
            let mut text: String = (0..lines)
                .map(|_| ["a\n", "b\n", "\n", "é\n"][usize::try_from(next(4)).unwrap()])
                .collect();
            if next(3) == 0 {
                text.push('x');
            }
            text
        };
        let (old, new) = (text(), text());
        assert_eq!(patch(&old, &diff(&old, &new)), new, "{old:?} {new:?}");
    }
    let big: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let new = big.replace("7\n", "seven\n");
    assert_eq!(patch(&big, &diff(&big, &new)), new);
}

#[test]
fn a_long_diff_is_cut_at_a_line_and_says_so() {
    let (old, new) = ("old\n".repeat(1000), "new \"quoted\"\n".repeat(1000));
    let whole = diff(&old, &new);
    for bytes_max in [0, 100, 300, 1000, 5000] {
        let cut = diff_within(&old, &new, bytes_max);
        assert!(json_len(&cut.text) <= bytes_max);
        assert!(whole.starts_with(&cut.text) && (cut.text.is_empty() || cut.text.ends_with('\n')));
        assert_eq!(cut.text.lines().count() + cut.omitted_lines, whole.lines().count());
    }
}

#[test]
fn what_is_hard_to_compare_ends_in_time() {
    let lines = |seed: u64| -> String {
        (0..60_000u64).map(|n| format!("{}\n", n.wrapping_mul(seed) % 9973)).collect()
    };
    let begun = Instant::now();
    let (old, new) = (lines(48_271), lines(16_807));
    let diff = diff_within(&old, &new, 64 * 1024);
    assert!(diff.omitted_lines > 0);
    assert!(begun.elapsed() < Duration::from_secs(30));
}
