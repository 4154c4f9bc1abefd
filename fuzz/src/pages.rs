//! Text pages: the input's first bytes are a budget and a range, the rest is a file.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use roothold_core::files::{Encoding, TextPage, TextRange, json_len, read_text};
use roothold_core::{Fault, FaultKind, FilePath, Permit, Policy, PolicySpec, Roots, Verb};
use tempfile::TempDir;

use crate::{budget, decide, root};

/// More pages than any input here can have.
const PAGES_MAX: usize = 10_000;

struct World {
    file: PathBuf,
    permit: Permit,
    _dir: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let dir = TempDir::new().expect("a temporary folder");
    let roots = Roots::open(&[root(dir.path())]).expect("a root");
    let policy = Policy::new(roots, PolicySpec::default(), &[]).expect("a policy");
    let path = FilePath::parse("/work/f").expect("a path");
    let permit = decide(&policy, Verb::Read, path).expect("a permit");
    World { file: dir.path().join("f"), permit, _dir: dir }
});

/// Reads a file page by page, and compares with what a plain reader makes of it.
pub fn run(data: &[u8]) {
    /// Fewer bytes may not hold one character in its longest form.
    const BUDGET_BYTES_MIN: usize = 12;
    let [bytes, kind, first, last, content @ ..] = data else { return };
    let bytes_max = BUDGET_BYTES_MIN + usize::from(*bytes);
    let (first, last) = (u64::from(*first), u64::from(*last));
    let range = match kind % 5 {
        0 => TextRange::Whole,
        1 => TextRange::Head(first),
        2 => TextRange::Tail(first),
        3 => TextRange::Lines(first, (kind & 128 == 0).then_some(last)),
        _ => TextRange::Bytes(first, (kind & 128 == 0).then_some(last)),
    };
    fs::write(&WORLD.file, content).expect("a file");
    match pages(range, bytes_max) {
        Err(fault) if fault.kind() == FaultKind::Unsupported => {
            assert!(content.contains(&0), "text is taken for binary: {fault}");
        }
        Err(fault) => {
            assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
            // The plain reader knows no lines of UTF-16.
            let wide = content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff");
            assert!(wide || plainly(content, range).is_none(), "{range:?} is refused: {fault}");
        }
        Ok(pages) => {
            tile(&pages, content, range, bytes_max);
            let last = pages.last().expect("at least one page");
            check_end(last, content, range);
        }
    }
}

fn pages(range: TextRange, bytes_max: usize) -> Result<Vec<TextPage>, Fault> {
    let budget = budget(bytes_max);
    let mut pages = vec![read_text(&WORLD.permit, range, None, &budget)?];
    while let Some(resume) = pages.last().and_then(|page| page.resume.clone()) {
        assert!(pages.len() < PAGES_MAX, "{range:?} has no end");
        pages.push(read_text(&WORLD.permit, range, Some(resume), &budget)?);
    }
    Ok(pages)
}

/// Every page fits, follows the one before it, and shows the bytes that it says it shows.
fn tile(pages: &[TextPage], content: &[u8], range: TextRange, bytes_max: usize) {
    let mut at = pages[0].bytes.0;
    for page in pages {
        assert_eq!(page.bytes.0, at, "pages do not follow each other");
        assert_eq!(page.size, content.len() as u64);
        assert_eq!(page.encoding, pages[0].encoding, "the encoding changes between pages");
        assert!(json_len(&page.text) <= bytes_max, "{} bytes of {bytes_max}", page.text.len());
        at = page.bytes.1;
        assert!(page.resume.is_none() || at > page.bytes.0, "an empty page is followed by another");
        let mut text = page.text.clone();
        let by_lines = matches!(range, TextRange::Head(_) | TextRange::Lines(_, Some(_)));
        let raw = &content[index(page.bytes.0)..index(at)];
        // A range of lines ends without the newline after it.
        if by_lines && page.resume.is_none() && decoded(page, raw).ends_with('\n') {
            text.push('\n');
        }
        assert_eq!(text, decoded(page, raw), "{:?}", page.encoding);
    }
}

/// The pages begin and end where a plain reader says.
fn check_end(last: &TextPage, content: &[u8], range: TextRange) {
    // Lines of UTF-16 are another matter; all of a file is all of it.
    let wide = matches!(last.encoding, Encoding::Utf16Le | Encoding::Utf16Be);
    if !wide || range == TextRange::Whole {
        let (_, end) = plainly(content, range).expect("a range that exists");
        // A range that ends within the mark shows nothing, and ends with it.
        let end = end.max(last.encoding.mark().len());
        assert_eq!(last.bytes.1, end as u64, "the end of {range:?} is missing");
    }
}

/// What a page's bytes stand for, without the mark that they may begin with.
fn decoded(page: &TextPage, raw: &[u8]) -> String {
    // A file of an encoding that has a mark begins with it; a range may begin or end within.
    let mark = page.encoding.mark().len().saturating_sub(index(page.bytes.0));
    let raw = &raw[mark.min(raw.len())..];
    let of_units = |unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = raw.as_chunks::<2>();
        let chars = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)));
        let text = chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER));
        text.chain((!odd.is_empty()).then_some(char::REPLACEMENT_CHARACTER)).collect()
    };
    match page.encoding {
        Encoding::Utf16Le => of_units(u16::from_le_bytes),
        Encoding::Utf16Be => of_units(u16::from_be_bytes),
        // The upper half by a table that would be the same one; every byte is one character.
        Encoding::Windows1252 => {
            assert_eq!(
                page.text.chars().count(),
                raw.len() - usize::from(lacks_newline(page, raw))
            );
            let chars = page.text.chars().chain(['\n']);
            raw.iter()
                .zip(chars)
                .map(|(byte, char)| {
                    assert!(!byte.is_ascii() || char == char::from(*byte), "{byte} is {char:?}");
                    char
                })
                .collect()
        }
        _ => String::from_utf8_lossy(raw).into_owned(),
    }
}

/// Whether the newline at the end was left out.
fn lacks_newline(page: &TextPage, raw: &[u8]) -> bool {
    raw.ends_with(b"\n") && page.text.chars().count() < raw.len()
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a small file")
}

/// The bytes of a range: start and end; `None` if it should be refused.
fn plainly(content: &[u8], range: TextRange) -> Option<(usize, usize)> {
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let offset =
        |line: u64| -> usize { lines.iter().take(index(line)).map(|line| line.len()).sum() };
    let size = content.len();
    match range {
        TextRange::Head(0) | TextRange::Tail(0) | TextRange::Lines(0, _) => None,
        TextRange::Lines(first, Some(last)) | TextRange::Bytes(first, Some(last))
            if last < first =>
        {
            None
        }
        TextRange::Whole => Some((0, size)),
        TextRange::Head(count) => Some((0, offset(count))),
        TextRange::Tail(count) => Some((offset((lines.len() as u64).saturating_sub(count)), size)),
        TextRange::Lines(first, _) if first > 1 && index(first) > lines.len() => None,
        TextRange::Lines(first, last) => Some((offset(first - 1), last.map_or(size, offset))),
        TextRange::Bytes(start, _) if index(start) > size => None,
        TextRange::Bytes(start, end) => Some((index(start), end.map_or(size, index).min(size))),
    }
}
