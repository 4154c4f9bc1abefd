//! Encodings as pages show them.

use super::*;
use crate::files::Encoding;

/// A small file, and one too large to be read as a whole for a page of it.
fn sizes() -> [usize; 2] {
    [20, 30_000]
}

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("line {n} é “€”\r\n")).collect()
}

#[test]
fn the_encoding_is_said_and_the_mark_is_no_text() {
    let workspace = Workspace::new();
    for encoding in Encoding::ALL {
        for count in sizes() {
            let bytes = encoding.encode(&lines(count)).unwrap();
            workspace.file(&format!("work/{}-{count}", encoding.name()), bytes);
        }
    }
    let policy = workspace.policy();
    for encoding in Encoding::ALL {
        for count in sizes() {
            let path = format!("/work/{}-{count}", encoding.name());
            let get = |range| {
                let page = text(&policy, &path, range).unwrap();
                assert_eq!((page.encoding, page.lossy), (encoding, false), "{path} {range:?}");
                page
            };
            assert_eq!(get(TextRange::Head(2)).text, lines(2).trim_end_matches('\n'), "{path}");
            assert_eq!(get(TextRange::Head(1)).bytes.0, 0);
            let last = format!("line {} é “€”\r\n", count - 1);
            assert_eq!(get(TextRange::Tail(1)).text, last, "{path}");
            let page = get(TextRange::Lines(count as u64, None));
            assert_eq!((page.text, page.lines), (last, Some((count as u64, count as u64))));
            let past = text(&policy, &path, TextRange::Lines(count as u64 + 1, None)).unwrap_err();
            assert!(past.public().starts_with(&format!("the file has {count} lines;")), "{past}");
            // What the page says it stands for is what it is read from.
            let page = get(TextRange::Lines(3, Some(4)));
            let again = get(TextRange::Bytes(page.bytes.0, Some(page.bytes.1)));
            assert_eq!(again.text, format!("{}\n", page.text), "{path}");
        }
    }
}

#[test]
fn pages_join_to_the_text_whatever_the_encoding() {
    let workspace = Workspace::new();
    let wide = "漢😀\u{a0a}".repeat(800);
    let narrow = format!("{}{}", lines(60), "é€\"".repeat(500));
    for encoding in Encoding::ALL {
        let content = if encoding == Encoding::Windows1252 { &narrow } else { &wide };
        workspace.file("work/f", encoding.encode(content).unwrap());
        let permit = decide(&workspace.policy(), Verb::Read, "/work/f").unwrap();
        for room in [64, 65, 66, 67, 1000] {
            let small = Budget::new(room, 10, Duration::from_mins(1));
            let (pages, joined) = pages(&permit, TextRange::Whole, &small).unwrap();
            assert!(joined == *content, "{encoding:?} in pages of {room}");
            assert!(pages.iter().all(|page| !page.lossy && page.encoding == encoding));
            let full = |page: &TextPage| json_len(&page.text) + 4 >= room.min(1000);
            assert!(encoding == Encoding::Windows1252 || pages[..pages.len() - 1].iter().all(full));
        }
    }
}

#[test]
fn a_range_of_bytes_within_a_character_does_not_change_the_encoding() {
    let workspace = Workspace::new();
    let wide = "漢字\n".repeat(50_000);
    workspace.file("work/utf8", &wide);
    workspace.file("work/utf16", Encoding::Utf16Le.encode(&"😀\n".repeat(100_000)).unwrap());
    let policy = workspace.policy();
    for start in [7_u64, 8, 300_001, 300_002] {
        let page = text(&policy, "/work/utf8", TextRange::Bytes(start, Some(start + 11))).unwrap();
        assert_eq!((page.encoding, page.bytes), (Encoding::Utf8, (start, start + 11)));
    }
    // Units of UTF-16 are whole; half a pair is shown as what it is.
    let page = text(&policy, "/work/utf16", TextRange::Bytes(3, Some(7))).unwrap();
    assert_eq!((page.text.as_str(), page.bytes), ("😀\n", (2, 8)));
    let page = text(&policy, "/work/utf16", TextRange::Bytes(4, Some(8))).unwrap();
    assert_eq!((page.text.as_str(), page.lossy), ("\u{fffd}\n", true));
    let page = text(&policy, "/work/utf16", TextRange::Bytes(0, Some(1))).unwrap();
    assert_eq!((page.text.as_str(), page.bytes), ("", (0, 2)));
}

#[test]
fn a_page_of_a_large_file_is_judged_with_its_head() {
    let workspace = Workspace::new();
    let (ascii, utf8) = ("plain\n".repeat(60_000), "größe\n".repeat(60_000));
    let latin = b"gr\xf6\xdfe\n".repeat(60_000);
    let bad = b"caf\xe9\n";
    workspace.file("work/ascii", [ascii.as_bytes(), bad].concat());
    workspace.file("work/utf8", [utf8.as_bytes(), bad].concat());
    workspace.file("work/latin", [&latin[..], bad].concat());
    let policy = workspace.policy();
    let last = |path| text(&policy, path, TextRange::Tail(1)).unwrap();
    let shown = |path| {
        let page = last(path);
        (page.text, page.encoding, page.lossy)
    };
    assert_eq!(shown("/work/ascii"), ("café\n".to_owned(), Encoding::Windows1252, false));
    assert_eq!(shown("/work/latin"), ("café\n".to_owned(), Encoding::Windows1252, false));
    assert_eq!(shown("/work/utf8"), ("caf\u{fffd}\n".to_owned(), Encoding::Utf8, true));
    let first = text(&policy, "/work/ascii", TextRange::Head(1)).unwrap();
    assert_eq!((first.text.as_str(), first.encoding), ("plain", Encoding::Utf8));
}

#[test]
fn binary_is_said_and_odd_files_are_read() {
    let workspace = Workspace::new();
    workspace
        .file("work/bin", b"\0\x01")
        .file("work/utf32", b"\xff\xfe\0\0A\0\0\0")
        .file("work/mark", b"\xff\xfe")
        .file("work/odd", b"\xff\xfea\0\n\0b")
        .file("work/cut", "größe\n".repeat(9).as_bytes().split_last().unwrap().1)
        .file("work/bad", ["größe".as_bytes(), b"\xff"].concat());
    let policy = workspace.policy();
    let whole = |path| text(&policy, path, TextRange::Whole);
    for path in ["/work/bin", "/work/utf32"] {
        let fault = whole(path).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Unsupported);
        assert!(fault.public().contains("read_media_file"));
    }
    let page = whole("/work/mark").unwrap();
    assert_eq!((page.text.as_str(), page.bytes, page.lines), ("", (0, 2), None));
    for range in [TextRange::Whole, TextRange::Tail(2), TextRange::Lines(1, None)] {
        let page = text(&policy, "/work/odd", range).unwrap();
        assert_eq!((page.text.as_str(), page.lossy), ("a\n\u{fffd}", true), "{range:?}");
    }
    assert!(!whole("/work/cut").unwrap().lossy);
    let page = whole("/work/bad").unwrap();
    assert_eq!(
        (page.text.as_str(), page.encoding, page.lossy),
        ("größe\u{fffd}", Encoding::Utf8, true)
    );
}

#[test]
fn the_hash_is_of_the_file_and_not_of_the_text() {
    let workspace = Workspace::new();
    let large = Encoding::Utf8Bom.encode(&"x".repeat(300_000)).unwrap();
    workspace.file("work/a", b"\xef\xbb\xbfa").file("work/b", b"a").file("work/large", &large);
    let policy = workspace.policy();
    let hash = |path| text(&policy, path, TextRange::Whole).unwrap().hash;
    assert_ne!(hash("/work/a"), hash("/work/b"));
    assert_eq!(hash("/work/a"), content_hash(b"\xef\xbb\xbfa"));
    let permit = decide(&policy, Verb::Read, "/work/large").unwrap();
    let roomy = budget().with_result_bytes_max(1 << 20);
    let page = read_text(&permit, TextRange::Whole, None, &roomy).unwrap();
    assert_eq!((page.text.len(), page.hash), (300_000, content_hash(&large)));
}
