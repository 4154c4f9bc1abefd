//! The files that the file tools are measured on, made once from a seed and reused.
//!
//! No symbolic links, since some servers walk around a cycle of them without end, and no names
//! that the default policy hides, so that every server has the same answer to give.
//!
//! Invariant: a corpus whose stamp stands is whole. The stamp is written last.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// Changes whenever the same seed would make other files.
const VERSION: u32 = 1;
const STAMP: &str = "stamp.json";
/// Entries of the wide directory; each twentieth is a directory.
pub(super) const WIDE_ENTRIES: usize = 10_000;
/// Files of [`Corpus::batch`].
pub(super) const BATCH_FILES: usize = 100;
/// Files of [`Corpus::page`].
pub(super) const PAGES: usize = 256;
/// The size of each page.
pub(super) const PAGE_BYTES: usize = 4096;
const DEPTH_MAX: usize = 8;

const WORDS: &[&str] = &[
    "alpha", "request", "response", "handler", "stream", "buffer", "token", "session", "cache",
    "index", "shard", "replica", "commit", "merge", "parse", "encode", "socket", "thread", "await",
    "queue", "vector", "matrix", "config", "value", "error", "result", "client", "route", "schema",
    "record", "column", "cursor",
];
const FOLDERS: &[&str] =
    &["src", "lib", "core", "util", "api", "docs", "test", "build", "data", "mod"];
/// Each tenth file is Markdown.
const EXTENSIONS: &[&str] = &["rs", "py", "ts", "md", "json", "txt", "go", "html", "rs", "yaml"];

/// How much is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scale {
    files: usize,
    directories: usize,
    log_bytes: u64,
}

impl Scale {
    pub(super) const FULL: Self =
        Self { files: 100_000, directories: 5_000, log_bytes: 1024 * 1024 * 1024 };
    /// The log still has more than a million lines.
    pub(super) const QUICK: Self =
        Self { files: 10_000, directories: 500, log_bytes: 128 * 1024 * 1024 };
}

/// What there is, as far as answers are checked against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    version: u32,
    scale: Scale,
    markdown_files: usize,
    log_lines: u64,
}

/// A whole corpus on the disk.
pub(super) struct Corpus {
    pub(super) place: PathBuf,
    stamp: Stamp,
}

impl Corpus {
    /// The corpus of a scale below `parent`, which is made if it is not there.
    pub(super) fn open(parent: &Path, scale: Scale) -> anyhow::Result<Self> {
        let place = parent.join(format!("bench-corpus-{}", scale.files));
        let kept = std::fs::read(place.join(STAMP)).ok();
        let kept: Option<Stamp> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(stamp) = kept.filter(|stamp| stamp.version == VERSION && stamp.scale == scale) {
            return Ok(Self { place, stamp });
        }
        println!("making the files to measure on in {}", place.display());
        if place.exists() {
            std::fs::remove_dir_all(&place).context("removing half a corpus")?;
        }
        for folder in ["tree", "wide", "batch", "pages"] {
            std::fs::create_dir_all(place.join(folder))?;
        }
        let mut random = Random(7);
        let markdown_files = tree(&place.join("tree"), scale, &mut random)?;
        wide(&place.join("wide"))?;
        for at in 0..BATCH_FILES {
            let bytes = 500 + random.below(2500);
            std::fs::write(place.join(format!("batch/b{at:03}.txt")), random.text(bytes))?;
        }
        for at in 0..PAGES {
            let page = random.text(PAGE_BYTES + 1);
            std::fs::write(place.join(format!("pages/{at:04}.txt")), &page[..PAGE_BYTES])?;
        }
        let log_lines = log(&place.join("app.log"), scale.log_bytes, &mut random)?;
        let stamp = Stamp { version: VERSION, scale, markdown_files, log_lines };
        std::fs::write(place.join(STAMP), serde_json::to_vec(&stamp)?)?;
        Ok(Self { place, stamp })
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    /// The lines of the tree's files that `has` picks.
    pub(super) fn lines_with(&self, has: impl Fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let (mut folders, mut lines) = (vec![self.tree()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let text = std::fs::read_to_string(entry.path())?;
                lines.extend(text.lines().filter(|line| has(line)).map(str::to_owned));
            }
        }
        Ok(lines)
    }

    pub(super) fn wide(&self) -> PathBuf {
        self.place.join("wide")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.place.join("app.log")
    }

    pub(super) fn page(&self, at: usize) -> PathBuf {
        self.place.join(format!("pages/{:04}.txt", at % PAGES))
    }

    pub(super) fn batch(&self) -> Vec<PathBuf> {
        (0..BATCH_FILES).map(|at| self.place.join(format!("batch/b{at:03}.txt"))).collect()
    }

    /// A file to edit, made anew: lines of words, with `mark` as a line in the middle.
    pub(super) fn edited(&self, mark: &str, bytes: usize) -> anyhow::Result<PathBuf> {
        let mut random = Random(11);
        let text = [random.text(bytes / 2), random.text(bytes / 2)].join(&format!("\n{mark}\n"));
        let folder = self.place.join("edited");
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("text.txt");
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Files in the tree.
    pub(super) const fn files(&self) -> usize {
        self.stamp.scale.files
    }

    pub(super) const fn markdown_files(&self) -> usize {
        self.stamp.markdown_files
    }

    pub(super) const fn log_lines(&self) -> u64 {
        self.stamp.log_lines
    }
}

/// How a line of the log says its number, counted from 1.
pub(super) fn line_mark(line: u64) -> String {
    format!("line={line:010}")
}

/// Makes a tree of small files and returns how many of them are Markdown.
fn tree(place: &Path, scale: Scale, random: &mut Random) -> anyhow::Result<usize> {
    let mut folders = vec![(place.to_owned(), 0)];
    while folders.len() < scale.directories {
        // Half of the time below one of the newest, or the tree would stay flat.
        let newest = if random.below(2) == 0 { folders.len().saturating_sub(400) } else { 0 };
        let (parent, depth) = &folders[newest + random.below(folders.len() - newest)];
        if *depth < DEPTH_MAX {
            let name = format!("{}{}", random.pick(FOLDERS), folders.len());
            let folder = (parent.join(name), depth + 1);
            std::fs::create_dir(&folder.0)?;
            folders.push(folder);
        }
    }
    let mut markdown_files = 0;
    for at in 0..scale.files {
        let folder = if at < folders.len() { at } else { random.below(folders.len()) };
        let extension = random.pick(EXTENSIONS);
        markdown_files += usize::from(extension == "md");
        let name = format!("{}_{at}.{extension}", random.pick(WORDS));
        let bytes = 100 + random.below(1900);
        std::fs::write(folders[folder].0.join(name), random.text(bytes))?;
    }
    Ok(markdown_files)
}

fn wide(place: &Path) -> anyhow::Result<()> {
    for at in 0..WIDE_ENTRIES {
        if at % 20 == 0 {
            std::fs::create_dir(place.join(format!("dir_{at:05}")))?;
        } else {
            std::fs::write(place.join(format!("entry_{at:05}.txt")), format!("e{at}\n"))?;
        }
    }
    Ok(())
}

/// Makes a log of at least so many bytes and returns its number of lines.
fn log(place: &Path, bytes: u64, random: &mut Random) -> anyhow::Result<u64> {
    let messages: Vec<String> = (0..997)
        .map(|_| {
            let words = 4 + random.below(6);
            random.words(words)
        })
        .collect();
    let mut file = BufWriter::with_capacity(1 << 20, File::create(place)?);
    let (mut line, mut written) = (0_u64, 0_u64);
    while written < bytes {
        line += 1;
        let (minute, second) = (line / 480 % 60, line / 8 % 60);
        let message = &messages[usize::try_from(line * 104_729 % 997)?];
        let text = format!(
            "2026-11-01T12:{minute:02}:{second:02}.{:03}Z INFO svc-{:02} {} {message}\n",
            line % 1000,
            line * 31 % 40,
            line_mark(line)
        );
        file.write_all(text.as_bytes())?;
        written += text.len() as u64;
    }
    file.flush()?;
    Ok(line)
}

/// Numbers that look like chance and are the same every time (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    pub(super) fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.pick(WORDS)).collect::<Vec<_>>().join(" ")
    }

    /// Lines of words, at least `bytes` long in all.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 100);
        while text.len() < bytes {
            let words = 3 + self.below(10);
            text.push_str(&self.words(words));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_made_once_and_the_same_each_time() {
        let scale = Scale { files: 50, directories: 10, log_bytes: 10_000 };
        let dir = tempfile::tempdir().unwrap();
        let made = Corpus::open(dir.path(), scale).unwrap();
        let first = std::fs::read(made.page(3)).unwrap();
        assert_eq!(first.len(), PAGE_BYTES);
        let again = Corpus::open(dir.path(), scale).unwrap();
        assert_eq!(again.stamp, made.stamp);
        let other = tempfile::tempdir().unwrap();
        let other = Corpus::open(other.path(), scale).unwrap();
        assert_eq!(other.stamp, made.stamp);
        assert_eq!(std::fs::read(other.page(3)).unwrap(), first);
        assert!(made.lines_with(|line| line.contains("alpha")).unwrap().len() > 10);
        let log = std::fs::read_to_string(made.log()).unwrap();
        assert_eq!(log.lines().count() as u64, made.log_lines());
        assert!(log.lines().last().unwrap().contains(&line_mark(made.log_lines())));
    }
}
