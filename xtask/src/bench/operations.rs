//! What is measured: each operation, how each server is asked for it, and what the answer must
//! hold. A rival that is not named in an operation has no such tool.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::corpus::{Corpus, WIDE_ENTRIES, line_mark};
use super::expect::Expect;
use super::physical::{Bare, COUNT_TO, Figure, PREAD, READDIR, RG};
use super::rivals::{FD, Rival};
use super::stdio::{Call, Reply, Session};

/// The largest answer that Roothold gives by default settings.
const CEILING_BYTES: usize = 1024 * 1024;
/// The size of an answer when the caller does not say.
const DEFAULT_BYTES: usize = 64 * 1024;
/// What a listing may take of `readdir`'s processor time, cold and again.
const LIST_MOST: (f64, f64) = (1.5, 0.5);
/// What a tree or a glob may take of `fd`'s.
const WALK_MOST: (f64, f64) = (1.25, 0.3);
/// What a search in texts may take of `rg`'s.
const SEARCH_MOST: f64 = 1.2;
/// What it may take to find a line for the first time, of what `wc -l` takes to get there.
const LINES_MOST: f64 = 1.5;
/// Milliseconds that a line may take that was found before.
const LINES_AGAIN_MS_MAX: f64 = 1.0;
/// Milliseconds that the last lines may take.
const TAIL_MS_MAX: f64 = 2.0;
/// What a read of 4 KB may take of an `open`, `pread` and `close` of the same file: 0.04 ms where
/// these took 0.002.
const READ_MOST: f64 = 20.0;
/// What all files of the batch may take of the same: 0.7 ms where these took 0.14.
const BATCH_MOST: f64 = 5.0;
/// How large the file is that is edited.
const EDITED_BYTES: usize = 200_000;
/// Milliseconds that an edit may take: 1.2, and what the kernel takes to sync the file.
const EDIT_MS_MAX: f64 = 1.4;
/// Calls at once in the operation that measures many.
const IN_FLIGHT: usize = 32;
/// Lines from the ends of the log.
const END_LINES: u64 = 50;
/// Deep inside the log.
const DEEP: (u64, u64) = (1_000_000, 1_000_050);

/// Something that a client asks of a server.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// One call, to its last page.
    Call(Call),
    /// Many calls, [`IN_FLIGHT`] at once. Figures are per call.
    Calls(Vec<Call>),
    /// Calls one after the other, after which all is as before. Figures are per call.
    Turns(Vec<Call>),
    /// `tools/list`.
    Tools,
}

impl Work {
    pub(super) fn run(&self, session: &mut Session) -> anyhow::Result<Reply> {
        match self {
            Self::Call(call) => session.call(call),
            Self::Calls(calls) => session.pipeline(calls, IN_FLIGHT),
            Self::Turns(calls) => session.pipeline(calls, 1),
            Self::Tools => session.tools(),
        }
    }

    pub(super) const fn calls(&self) -> usize {
        match self {
            Self::Calls(calls) | Self::Turns(calls) => calls.len(),
            Self::Call(_) | Self::Tools => 1,
        }
    }
}

/// One way to ask Roothold.
pub(super) struct Ours {
    /// What is special about it, if there are several.
    pub(super) variant: String,
    pub(super) work: Work,
    /// How large the server may make a page.
    pub(super) page_bytes: usize,
    /// Whether each time a process is asked that has not seen these files before. Otherwise it is
    /// one that was asked for the same already.
    pub(super) cold: bool,
    /// Whether it is asked of a server that may write.
    pub(super) writes: bool,
    /// A bare tool, and how many times its processor time it may take.
    pub(super) times_max: Option<(&'static str, f64)>,
    /// How many milliseconds of processor time it may take.
    pub(super) ms_max: Option<f64>,
}

impl Ours {
    /// One way among no others.
    fn once(work: Work) -> Self {
        Self {
            variant: String::new(),
            work,
            page_bytes: DEFAULT_BYTES,
            cold: false,
            writes: false,
            times_max: None,
            ms_max: None,
        }
    }

    fn times_max(self, tool: &'static str, times: f64) -> Self {
        Self { times_max: Some((tool, times)), ..self }
    }

    fn ms_max(self, milliseconds: f64) -> Self {
        Self { ms_max: Some(milliseconds), ..self }
    }
}

pub(super) struct Operation {
    pub(super) name: String,
    pub(super) ours: Vec<Ours>,
    pub(super) rivals: Vec<(Rival, Work)>,
    pub(super) expect: Expect,
    /// Bytes of content in a whole answer; for texts.
    pub(super) content_bytes: Option<usize>,
    pub(super) bare: Vec<Bare>,
}

impl Operation {
    /// The ways to do it without a server.
    pub(super) fn without_server(&self, target: Duration) -> anyhow::Result<Vec<Figure>> {
        self.bare.iter().map(|bare| bare.measure(target)).collect()
    }
}

pub(super) fn all(corpus: &Corpus, fd: Option<&Path>) -> anyhow::Result<Vec<Operation>> {
    let mut all = finding(corpus, fd);
    all.extend(searching(corpus)?);
    all.extend(reading(corpus)?);
    all.push(editing(corpus)?);
    all.push(Operation {
        name: "tools/list".to_owned(),
        ours: vec![Ours::once(Work::Tools)],
        rivals: Rival::ALL.map(|rival| (rival, Work::Tools)).to_vec(),
        expect: Expect::Anything,
        content_bytes: None,
        bare: Vec::new(),
    });
    Ok(all)
}

/// Directories, trees and globs.
fn finding(corpus: &Corpus, fd: Option<&Path>) -> Vec<Operation> {
    let (wide, tree) = (json!(corpus.wide()), json!(corpus.tree()));
    let in_wide = json!({"path": wide});
    let markdown = json!({"path": tree, "pattern": "**/*.md"});
    let files = WIDE_ENTRIES - WIDE_ENTRIES / 20;
    vec![
        Operation {
            name: format!("list {WIDE_ENTRIES} entries"),
            ours: walked("list_directory", &in_wide, READDIR, LIST_MOST),
            rivals: vec![
                (Rival::Reference, one("list_directory", in_wide.clone())),
                (Rival::FastMcp, one("list_directory", in_wide.clone())),
                (Rival::RustMcp, one("list_directory", in_wide.clone())),
                (Rival::DesktopCommander, one("list_directory", json!({"path": wide, "depth": 1}))),
            ],
            expect: Expect::Times("entry_", files),
            content_bytes: None,
            bare: vec![Bare::ReadDirectory(corpus.wide())],
        },
        Operation {
            name: format!("list {WIDE_ENTRIES} entries with sizes"),
            ours: paged("list_directory_with_sizes", &in_wide),
            rivals: vec![
                (Rival::Reference, one("list_directory_with_sizes", in_wide.clone())),
                (Rival::FastMcp, one("list_directory_with_sizes", in_wide.clone())),
                (Rival::RustMcp, one("list_directory_with_sizes", in_wide.clone())),
            ],
            expect: Expect::Times("entry_", files),
            content_bytes: None,
            bare: vec![Bare::ReadSizes(corpus.wide())],
        },
        Operation {
            name: format!("tree of {} files", corpus.files()),
            ours: walked("directory_tree", &json!({"path": tree}), FD, WALK_MOST),
            rivals: vec![
                (Rival::Reference, one("directory_tree", json!({"path": tree}))),
                (Rival::FastMcp, one("directory_tree", json!({"path": tree}))),
                (Rival::RustMcp, one("directory_tree", json!({"path": tree}))),
                (
                    Rival::DesktopCommander,
                    one("list_directory", json!({"path": tree, "depth": 20})),
                ),
            ],
            expect: Expect::Times("\"file\"", corpus.files()),
            content_bytes: None,
            bare: Bare::tree(corpus, fd),
        },
        Operation {
            name: format!("glob **/*.md in {} files", corpus.files()),
            ours: walked("search_files", &markdown, FD, WALK_MOST),
            rivals: [Rival::Reference, Rival::FastMcp, Rival::RustMcp]
                .map(|rival| (rival, one("search_files", markdown.clone())))
                .to_vec(),
            expect: Expect::Ends(".md", corpus.markdown_files()),
            content_bytes: None,
            bare: Bare::glob(corpus, fd),
        },
    ]
}

/// Texts in files: few lines of the tree match.
fn searching(corpus: &Corpus) -> anyhow::Result<Vec<Operation>> {
    const LITERAL: &str = "vector matrix socket";
    const REGEX: &str = r"record\s+column\s+(?:alpha|index)$";
    let tree = corpus.tree();
    let search = |name: &str, pattern: &'static str, is_literal: bool, lines: Vec<String>| {
        let ours = json!({"path": tree, "pattern": pattern, "literal": is_literal});
        let rust_mcp = json!({
            "path": tree, "pattern": "**/*", "query": pattern, "is_regex": !is_literal,
        });
        Operation {
            name: format!("{name} in {} files", corpus.files()),
            ours: paged("search_content", &ours)
                .into_iter()
                .map(|ours| ours.times_max(RG, SEARCH_MOST))
                .collect(),
            // The reference server does not look into files; the other rival that does answers
            // before it has found anything, and is asked again and again.
            rivals: vec![(Rival::RustMcp, one("search_files_content", rust_mcp))],
            expect: Expect::All(lines),
            content_bytes: None,
            bare: Bare::search(corpus, pattern, is_literal),
        }
    };
    let found = |has: fn(&str) -> bool| {
        let lines = corpus.lines_with(has)?;
        anyhow::ensure!(!lines.is_empty(), "nothing in the files matches");
        Ok(lines)
    };
    let has_literal = |line: &str| line.contains(LITERAL);
    let has_regex = |line: &str| {
        let end = ["record column alpha", "record column index"];
        end.iter().any(|end| line.ends_with(end))
    };
    Ok(vec![
        search("search literal", LITERAL, true, found(has_literal)?),
        search("search regex", REGEX, false, found(has_regex)?),
    ])
}

/// Texts, whole and in part.
fn reading(corpus: &Corpus) -> anyhow::Result<Vec<Operation>> {
    let page = corpus.page(0);
    let content = std::fs::read_to_string(&page)?;
    let pages: Vec<_> = (0..super::corpus::PAGES).map(|at| corpus.page(at)).collect();
    let each = |tool| {
        Work::Calls(pages.iter().map(|page| Call::new(tool, json!({"path": page}))).collect())
    };
    let batch = corpus.batch();
    let texts: Vec<String> = batch.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
    let batch_bytes = texts.iter().map(String::len).sum();
    let (path, many) = (json!({"path": page}), json!({"paths": batch}));
    Ok(vec![
        Operation {
            name: "read 4 KB".to_owned(),
            ours: vec![Ours::once(one("read_text_file", path.clone())).times_max(PREAD, READ_MOST)],
            rivals: vec![
                (Rival::Reference, one("read_text_file", path.clone())),
                (Rival::FastMcp, one("read_file", path.clone())),
                (Rival::RustMcp, one("read_text_file", path.clone())),
                (Rival::DesktopCommander, one("read_file", path)),
            ],
            content_bytes: Some(content.len()),
            expect: Expect::All(vec![content]),
            bare: vec![Bare::ReadFiles(vec![page])],
        },
        Operation {
            name: format!("read 4 KB, {IN_FLIGHT} at once"),
            ours: vec![Ours::once(each("read_text_file"))],
            rivals: vec![
                (Rival::Reference, each("read_text_file")),
                (Rival::FastMcp, each("read_file")),
                (Rival::RustMcp, each("read_text_file")),
                (Rival::DesktopCommander, each("read_file")),
            ],
            expect: Expect::Anything,
            content_bytes: None,
            bare: Vec::new(),
        },
        first(corpus),
        deep(corpus),
        last(corpus),
        Operation {
            name: format!("read {} small files", batch.len()),
            ours: paged("read_multiple_files", &many)
                .into_iter()
                .map(|ours| ours.times_max(PREAD, BATCH_MOST))
                .collect(),
            rivals: vec![
                (Rival::Reference, one("read_multiple_files", many.clone())),
                (Rival::FastMcp, one("read_multiple_files", many.clone())),
                (Rival::RustMcp, one("read_multiple_text_files", many.clone())),
                (Rival::DesktopCommander, one("read_multiple_files", many)),
            ],
            // A page may end inside of a text.
            expect: Expect::All(texts.iter().map(|text| first_line(text)).collect()),
            content_bytes: Some(batch_bytes),
            bare: vec![Bare::ReadFiles(batch)],
        },
    ])
}

fn first(corpus: &Corpus) -> Operation {
    let log = corpus.log();
    Operation {
        name: format!("first {END_LINES} lines of {}", size(&log)),
        ours: vec![Ours::once(one("read_text_file", json!({"path": log, "head": END_LINES})))],
        rivals: vec![
            (Rival::Reference, one("read_text_file", json!({"path": log, "head": END_LINES}))),
            (
                Rival::FastMcp,
                one("read_lines", json!({"path": log, "start": 1, "count": END_LINES})),
            ),
            (Rival::RustMcp, one("head_file", json!({"path": log, "lines": END_LINES}))),
            (
                Rival::DesktopCommander,
                one("read_file", json!({"path": log, "offset": 0, "length": END_LINES})),
            ),
        ],
        expect: Expect::All(vec![line_mark(1), line_mark(END_LINES)]),
        content_bytes: None,
        bare: vec![Bare::end(corpus, "head", END_LINES)],
    }
}

fn deep(corpus: &Corpus) -> Operation {
    let log = corpus.log();
    let (from, to) = DEEP;
    let count = to - from + 1;
    let lines = || one("read_text_file", json!({"path": log, "line_start": from, "line_end": to}));
    Operation {
        name: format!("lines {from} to {to} of {}", size(&log)),
        ours: cold_and_again(
            || vec![Ours::once(lines())],
            |ours| ours.times_max(COUNT_TO, LINES_MOST),
            |ours| ours.ms_max(LINES_AGAIN_MS_MAX),
        ),
        // The reference server cannot begin in the middle.
        rivals: vec![
            (
                Rival::FastMcp,
                one("read_lines", json!({"path": log, "start": from, "count": count})),
            ),
            (
                Rival::RustMcp,
                one("read_file_lines", json!({"path": log, "offset": from - 1, "limit": count})),
            ),
            (
                Rival::DesktopCommander,
                one("read_file", json!({"path": log, "offset": from - 1, "length": count})),
            ),
        ],
        expect: Expect::All(vec![line_mark(from), line_mark(to)]),
        content_bytes: None,
        bare: vec![Bare::lines(corpus, from, to), Bare::count_to(corpus, to)],
    }
}

fn last(corpus: &Corpus) -> Operation {
    let log = corpus.log();
    let lines = corpus.log_lines();
    Operation {
        name: format!("last {END_LINES} lines of {}", size(&log)),
        ours: vec![
            Ours::once(one("read_text_file", json!({"path": log, "tail": END_LINES})))
                .ms_max(TAIL_MS_MAX),
        ],
        rivals: vec![
            (Rival::Reference, one("read_text_file", json!({"path": log, "tail": END_LINES}))),
            (Rival::RustMcp, one("tail_file", json!({"path": log, "lines": END_LINES}))),
            (
                Rival::DesktopCommander,
                one("read_file", json!({"path": log, "offset": -END_LINES.cast_signed()})),
            ),
        ],
        expect: Expect::All(vec![line_mark(lines - END_LINES + 2), line_mark(lines)]),
        content_bytes: None,
        bare: vec![Bare::end(corpus, "tail", END_LINES)],
    }
}

/// A mark in the middle of a text, replaced by another and back.
fn editing(corpus: &Corpus) -> anyhow::Result<Operation> {
    const MARKS: [&str; 2] = ["the first mark", "the second mark"];
    let file = corpus.edited(MARKS[0], EDITED_BYTES)?;
    let edit = |from: &str, to: &str| {
        let edits = json!([{"oldText": from, "newText": to}]);
        Call::new("edit_file", json!({"path": file, "edits": edits}))
    };
    let turns = Work::Turns(vec![edit(MARKS[0], MARKS[1]), edit(MARKS[1], MARKS[0])]);
    Ok(Operation {
        name: format!("edit {} KB", EDITED_BYTES / 1000),
        ours: vec![Ours { writes: true, ..Ours::once(turns.clone()).ms_max(EDIT_MS_MAX) }],
        // The others cannot, or do not say what they changed.
        rivals: vec![(Rival::Reference, turns.clone()), (Rival::RustMcp, turns)],
        // Of both diffs.
        expect: Expect::All(
            MARKS.iter().flat_map(|mark| [format!("-{mark}"), format!("+{mark}")]).collect(),
        ),
        content_bytes: None,
        bare: vec![Bare::Replace(file)],
    })
}

fn one(tool: &'static str, arguments: Value) -> Work {
    Work::Call(Call::new(tool, arguments))
}

/// With the page size that a caller gets who does not say, and the largest.
fn paged(tool: &'static str, arguments: &Value) -> Vec<Ours> {
    let mut large = arguments.clone();
    large["max_bytes"] = json!(CEILING_BYTES);
    let ours = |variant: &str, arguments, page_bytes| Ours {
        variant: variant.to_owned(),
        page_bytes,
        ..Ours::once(one(tool, arguments))
    };
    vec![
        ours(", pages of 64 KiB", arguments.clone(), DEFAULT_BYTES),
        ours(", pages of 1 MiB", large, CEILING_BYTES),
    ]
}

/// The same, by a process that has not seen the files and by one that has, each with its goal.
fn cold_and_again(
    make: impl Fn() -> Vec<Ours>,
    cold_goal: impl Fn(Ours) -> Ours,
    again_goal: impl Fn(Ours) -> Ours,
) -> Vec<Ours> {
    let named = |ours: Ours, how| Ours { variant: format!(", {how}{}", ours.variant), ..ours };
    let cold = make().into_iter().map(|ours| Ours { cold: true, ..named(ours, "cold") });
    let again = make().into_iter().map(|ours| named(ours, "again"));
    cold.map(cold_goal).chain(again.map(again_goal)).collect()
}

/// In pages, cold and again, each of which may take so many times what a bare tool takes.
fn walked(
    tool: &'static str,
    arguments: &Value,
    bare: &'static str,
    (cold, again): (f64, f64),
) -> Vec<Ours> {
    cold_and_again(
        || paged(tool, arguments),
        |ours| ours.times_max(bare, cold),
        |ours| ours.times_max(bare, again),
    )
}

fn size(file: &Path) -> String {
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    format!("{} MiB", bytes >> 20)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
