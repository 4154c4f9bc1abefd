//! What the text of files may hold: a ceiling on the length of Rust files, and words that are
//! somebody's unfinished business or belong to one person's machine. No text at all, whoever writes it, may hold
//! what a merge leaves where it did not know what to do.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Problem;

/// The most lines of a Rust file, tests included: longer tests go to `foo/tests.rs`.
const RUST_LINES_MAX: usize = 500;

/// Kinds of files that people write. Others, such as images and lock files, are not read.
const WRITTEN: &[&str] = &[
    "rs", "md", "toml", "sh", "py", "js", "mjs", "ts", "yml", "yaml", "json", "conf", "html",
    "css", "tpl", "txt",
];

/// Locked dependencies and recorded data are not our words.
const NOT_OURS: &[&str] = &["package-lock.json", "requirements.txt"];

/// What must not stand in any file, and why. Spelt in parts, or this file would name itself.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or leave it out"),
    (concat!("FIX", "ME"), "finish it or leave it out"),
    (concat!("to", "do!("), "finish it or leave it out"),
    (concat!("unimpl", "emented!("), "finish it or leave it out"),
    (concat!("dbg", "!("), "a trace of debugging"),
    (concat!("#[ig", "nore"), "a test that is not run must not read as one that passed"),
    (concat!("/wo", "rk/main/"), "a path of somebody's machine"),
    (concat!("/wo", "rk/shared/"), "a path of somebody's machine"),
    (concat!("/ro", "ot/."), "a path of somebody's machine"),
    (concat!(".lib", "rary/"), "a path of somebody's machine"),
];

/// What begins a line that a merge left: the character, seven times, and then a blank or nothing.
const CONFLICT: &[u8] = b"<|=>";

pub(super) fn check(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in files {
        let bytes = std::fs::read(root.join(file))
            .with_context(|| format!("reading {}", file.display()))?;
        let place = file.display().to_string();
        problems.extend(conflicts(&place, &bytes));
        if !is_written(file) {
            continue;
        }
        match str::from_utf8(&bytes) {
            Ok(text) => problems.extend(scan(&place, text)),
            Err(_) => problems.push(Problem::new(place, "is not UTF-8")),
        }
    }
    Ok(problems)
}

/// What a merge left in a text. What is no text, such as an image, holds a zero.
fn conflicts(place: &str, bytes: &[u8]) -> Vec<Problem> {
    if bytes.contains(&0) {
        return Vec::new();
    }
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    lines
        .filter(|(_, line)| is_conflict(line))
        .map(|(number, _)| {
            Problem::new(format!("{place}:{number}"), "a merge was not finished: choose")
        })
        .collect()
}

fn is_conflict(line: &[u8]) -> bool {
    let Some((marker, rest)) = line.split_first_chunk::<7>() else { return false };
    CONFLICT.contains(&marker[0])
        && marker.iter().all(|byte| *byte == marker[0])
        && matches!(rest.first(), None | Some(b' ' | b'\r'))
}

fn is_written(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let known = file.extension().and_then(|ext| ext.to_str()).map(|ext| WRITTEN.contains(&ext));
    // Without an extension: scripts such as `test`, a Dockerfile, a licence.
    known.unwrap_or(true) && !NOT_OURS.contains(&name)
}

fn scan(place: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    let rust = Path::new(place).extension().is_some_and(|ext| ext == "rs");
    if rust && lines > RUST_LINES_MAX {
        let what = format!("{lines} lines, more than {RUST_LINES_MAX}: split it");
        problems.push(Problem::new(place, what));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
            problems.push(Problem::new(format!("{place}:{number}"), format!("{word:?}: {why}")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_word_is_found_with_its_line() {
        for (word, _) in FORBIDDEN {
            let found = scan("a.md", &format!("fine\n// {word} x\n"));
            assert!(found.len() == 1 && found[0].place == "a.md:2", "{word}: {found:?}");
        }
    }

    #[test]
    fn what_a_merge_left_is_found_in_whatever_is_text() {
        let left = |sides: [&str; 4]| {
            let [ours, base, theirs, end] = sides;
            format!("a\n{ours}\nb\n{base}\nc\n{theirs}\nd\n{end}\n")
        };
        let markers = [("<", " HEAD"), ("|", " 1f2e"), ("=", ""), (">", " other\r")]
            .map(|(mark, name)| mark.repeat(7) + name);
        let text = left(markers.each_ref().map(String::as_str));
        let places: Vec<String> =
            conflicts("Cargo.lock", text.as_bytes()).into_iter().map(|found| found.place).collect();
        assert_eq!(places, ["Cargo.lock:2", "Cargo.lock:4", "Cargo.lock:6", "Cargo.lock:8"]);
        let latin = [b"\xe9\n".as_slice(), text.as_bytes()].concat();
        assert_eq!(conflicts("a.txt", &latin).len(), 4, "not only in UTF-8");
        assert_eq!(conflicts("x.png", &[b"\0".as_slice(), text.as_bytes()].concat()), []);
        for fine in ["========", "=======x", " =======", "<<<<<<", "<<<<<<<<< x", "a <<<<<<< b", ""]
        {
            assert_eq!(conflicts("a.md", fine.as_bytes()), [], "{fine}");
        }
    }

    #[test]
    fn a_rust_file_has_a_ceiling_and_prose_has_none() {
        let full = "x\n".repeat(RUST_LINES_MAX);
        assert!(scan("a.rs", &full).is_empty());
        assert_eq!(scan("a.rs", &(full.clone() + "x\n")).len(), 1);
        assert!(scan("a.md", &(full + "x\n")).is_empty());
    }

    #[test]
    fn what_people_write_is_read_and_what_tools_write_is_not() {
        for (name, expected) in [
            ("a.rs", true),
            ("test", true),
            ("Cargo.lock", false),
            ("x.png", false),
            ("a/package-lock.json", false),
        ] {
            assert_eq!(is_written(Path::new(name)), expected, "{name}");
        }
    }
}
