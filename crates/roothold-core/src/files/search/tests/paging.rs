//! Pages: together they are the whole, and each thing is told once.

use super::*;

/// Small and large files with matches in many places, and names that sort oddly.
fn tree() -> Workspace {
    let workspace = Workspace::new();
    let large: String = (0..6000)
        .map(|at| match at % 397 {
            0 | 1 | 5 => format!("line {at} needle\n"),
            _ => format!("line {at} {}\n", "filler ".repeat(at % 5)),
        })
        .collect();
    workspace
        .file("work/large.log", &large)
        .file("work/a/b.txt", "needle\n1\n2\n3\n4\nneedle\nneedle\n")
        .file("work/a.txt", "needle")
        .file("work/a/\u{e9}.txt", "no\nneedle\n")
        .file("work/z/only.txt", "-\nneedle\n-\n");
    for at in 0..300 {
        let text = if at % 50 == 0 { "needle" } else { "hay" };
        workspace.file(&format!("work/many/{}/{at}", at % 30), text);
    }
    workspace
}

#[test]
fn pages_of_any_size_join_to_the_whole() {
    let workspace = tree();
    let policy = workspace.policy();
    for (before, after) in [(0, 0), (2, 0), (0, 3), (2, 4)] {
        let mut search = literal("needle");
        (search.before, search.after) = (before, after);
        // The budget of one call does not hold it all.
        let (whole, totals) = paged(&policy, "/work", &search, 100_000);
        assert!(whole.len() > 50, "{}", whole.len());
        assert_eq!(totals.files, 305);
        for room in [1, 7, 64] {
            let (pages, page_totals) = paged(&policy, "/work", &search, room);
            assert!(pages == whole, "pages of {room} with context {before} and {after}");
            assert_eq!(page_totals, totals);
        }
    }
}

#[test]
fn a_page_in_a_large_file_does_not_look_at_what_was_told() {
    let workspace = tree();
    let permit = decide(&workspace.policy(), Verb::Search, "/work/large.log").unwrap();
    let mut page = Page { room: Some(30), ..Page::default() };
    let searched = search(&permit, &literal("needle"), None, &budget(), &mut page).unwrap();
    let at = searched.next.unwrap().at.unwrap();
    assert!(at.offset > 50_000, "{at:?}");
    let next: u64 = page.records.last().unwrap().split(':').nth(1).unwrap().parse().unwrap();
    assert!(at.next_line > next && at.line <= next);
}

#[test]
fn marks_of_encodings_do_not_move_a_page() {
    let workspace = Workspace::new();
    let line = |at: usize| format!("line {at} needle {}\n", "filler ".repeat(at % 5));
    let text: String = (0..4000).map(line).collect();
    let odd: Vec<u8> = (0..4000)
        .flat_map(|at| {
            [[b"\xff\xfe", &b"\xef\xbb\xbf"[..], b""][at % 3], line(at).as_bytes()].concat()
        })
        .collect();
    let wide: Vec<u8> =
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    workspace
        .file("work/bom", format!("\u{feff}{text}"))
        .file("work/odd", [b"x\n", &odd[..]].concat());
    workspace.file("work/wide", wide);
    let mut search = literal("needle");
    (search.before, search.after) = (1, 1);
    for path in ["/work/bom", "/work/odd", "/work/wide"] {
        let (whole, _) = paged(&workspace.policy(), path, &search, 100_000);
        assert!(whole.len() >= 4000, "{path}");
        assert!(paged(&workspace.policy(), path, &search, 700).0 == whole, "{path}");
    }
}

#[test]
fn pages_that_end_for_want_of_room_to_collect_go_on() {
    let workspace = tree();
    let small = crate::Budget::new(800, 10_000, std::time::Duration::from_mins(1));
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let (mut all, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let mut page = Page::default();
        let searched =
            search(&permit, &literal("needle"), from.as_ref(), &small, &mut page).unwrap();
        all.extend(page.records);
        pages += 1;
        match searched.next {
            None => break,
            next => from = next,
        }
    }
    assert!(pages > 2);
    assert!(all == paged(&workspace.policy(), "/work", &literal("needle"), 100_000).0);
}

#[test]
fn a_file_that_changed_between_pages_is_told_anew() {
    let workspace = Workspace::new();
    workspace.file("work/a", "needle 1\nneedle 2\nneedle 3\n").file("work/b", "needle 4");
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let page = |from: Option<&Position>| {
        let mut page = Page { room: Some(2), ..Page::default() };
        let searched = search(&permit, &literal("needle"), from, &budget(), &mut page).unwrap();
        (page.records, searched)
    };
    let (_, first) = page(None);
    workspace.file("work/a", "needle 0\nother and longer\n");
    let (records, second) = page(first.next.as_ref());
    assert_eq!(records, ["/work/a:1:needle 0", "/work/b:1:needle 4"]);
    assert!(second.problems[0].reason.contains("changed since"), "{:?}", second.problems);
    assert_eq!(second.next, None);
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    std::fs::remove_file(workspace.disk("work/a")).unwrap();
    let (records, second) = page(first.next.as_ref());
    assert_eq!(records, ["/work/b:1:needle 4"]);
    assert!(second.problems.is_empty());
}

#[test]
fn where_a_directory_took_the_place_of_a_file_it_is_searched() {
    let workspace = Workspace::new();
    workspace.file("work/d/a", "needle\nneedle\n").file("work/d/b", "needle");
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let mut page = Page { room: Some(1), ..Page::default() };
    let first = search(&permit, &literal("needle"), None, &budget(), &mut page).unwrap();
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    std::fs::remove_file(workspace.disk("work/d/a")).unwrap();
    workspace.file("work/d/a/new", "needle");
    let mut page = Page::default();
    search(&permit, &literal("needle"), first.next.as_ref(), &budget(), &mut page).unwrap();
    assert_eq!(page.records, ["/work/d/a/new:1:needle", "/work/d/b:1:needle"]);
}

#[test]
fn the_one_who_is_told_can_have_enough() {
    struct One(usize);
    impl Taker for One {
        fn take(&mut self, _: &FoundFile) -> Result<Taken, Fault> {
            self.0 += 1;
            Ok(Taken::Enough)
        }
        fn tell(&mut self, _: &Totals) {}
    }
    let workspace = tree();
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let mut one = One(0);
    let searched = search(&permit, &literal("needle"), None, &budget(), &mut one).unwrap();
    assert_eq!((one.0, searched.next), (1, None));
}
