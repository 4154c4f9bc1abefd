//! What is too much.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use super::*;
use crate::Budget;
use crate::files::search::scan::Blocks;

fn refused(text: &str) -> Fault {
    Pattern::new(&PatternSpec { text: text.to_owned(), ..PatternSpec::default() }).unwrap_err()
}

#[test]
fn patterns_that_grow_are_refused_at_once() {
    for text in [
        "(a{1000}){1000}",
        "((a{0,100}){0,100}){0,100}",
        r"\pL{1,1000}",
        r"(?i)(\w{50}){50}",
        "(((((((a{9}){9}){9}){9}){9}){9}){9}){9}",
        &"a".repeat(PATTERN_BYTES_MAX + 1),
    ] {
        let fault = refused(text);
        assert_eq!(fault.kind(), FaultKind::Limit, "{}", fault.public());
        assert!(fault.public().len() < 200);
    }
}

#[test]
fn what_is_no_pattern_says_why_and_what_to_do() {
    for (text, said) in [
        ("", "empty"),
        ("foo(", "set literal"),
        ("a(?=b)", "neither look-around"),
        ("(?<!a)b", "neither look-around"),
        (r"(a)\1", "nor backreferences"),
        ("a\nb", "set multiline"),
        (r"a\nb", "set multiline"),
        ("[z-a]", "set literal"),
        (&"(".repeat(300), "no regular expression"),
        (&format!("{}a{}", "(".repeat(200), ")".repeat(200)), "no regular expression"),
    ] {
        let fault = refused(text);
        assert_eq!(fault.kind(), FaultKind::Invalid);
        assert!(fault.public().contains(said), "{text}: {}", fault.public());
        assert!(!fault.public().contains('\n'), "{text}: {}", fault.public());
    }
}

#[test]
fn patterns_that_would_take_others_forever_end() {
    let workspace = Workspace::new();
    workspace.file("work/a", format!("{}b\n", "a".repeat(50_000)));
    for text in ["(a+)+$", "(a|aa)+$", "(a*)*c", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"] {
        let (found, searched) = whole(&workspace.policy(), "/work", &regex(text));
        assert_eq!((found.len(), searched.totals.files), (0, 1), "{text}");
    }
}

#[test]
fn a_large_pattern_finds_the_same_as_a_small_one() {
    let workspace = Workspace::new();
    let word = "w".repeat(50);
    let text: String = (0..3000)
        .map(|at| match at % 7 {
            0 => "\n".to_owned(),
            1 => format!("{word}\n"),
            2 => format!("{}\n", "v ".repeat(at % 40)),
            _ => format!("{}\r\n", "x".repeat(at % 13)),
        })
        .collect();
    workspace.file("work/small", &text).file("work/large", text.repeat(3));
    let (small, large) = (regex(&format!("^$|{word}")), regex(r"^$|\w{50}"));
    assert_ne!(small.pattern.class(), large.pattern.class());
    let found = records(&workspace.policy(), "/work", &large);
    assert!(found.len() > 500);
    assert_eq!(found, records(&workspace.policy(), "/work", &small));
}

#[test]
fn a_file_is_left_after_its_share() {
    let workspace = Workspace::new();
    workspace.file("work/a", "x\n-\nx\nx\n").file("work/b", "x\n-\nx\n-\n");
    let mut search = literal("x");
    (search.matches_per_file_max, search.before, search.after) = (2, 1, 1);
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let mut page = Page::default();
    super::search(&permit, &search, None, &budget(), &mut page).unwrap();
    let numbers: Vec<&str> = page.records.iter().map(|line| &line["/work/".len()..]).collect();
    assert_eq!(numbers, ["a:1:x", "a-2--", "a:3:x", "b:1:x", "b-2--", "b:3:x", "b-4--"]);
    assert_eq!(page.files, ["/work/a"]);
    assert_eq!(paged(&workspace.policy(), "/work", &search, 1).0, page.records);
}

#[test]
fn a_line_that_is_too_long_ends_its_file_and_no_other() {
    let workspace = Workspace::new();
    let long = "y".repeat(1024 * 1024 + 1);
    workspace
        .file("work/a", format!("needle\n{long}\nneedle\n"))
        .file("work/b", format!("{} needle {}\n", &long[..400_000], &long[..400_000]))
        .file("work/c", "needle");
    let (found, searched) = whole(&workspace.policy(), "/work", &literal("needle"));
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], "/work/a:1:needle");
    assert!(found[1].starts_with("/work/b:1:…yyy") && found[1].contains(" needle y"));
    assert!(found[1].len() < 550, "{}", found[1].len());
    assert_eq!(found[2], "/work/c:1:needle");
    assert_eq!(searched.problems.len(), 1);
    assert!(searched.problems[0].reason.contains("too long"), "{:?}", searched.problems);
}

#[test]
fn a_file_without_end_of_line_is_never_in_memory() {
    let workspace = Workspace::new();
    workspace.file("work/hole", "text\n".repeat(2000));
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    let file = std::fs::OpenOptions::new().write(true).open(workspace.disk("work/hole")).unwrap();
    file.set_len(10 << 30).unwrap();
    let (found, searched) = whole(&workspace.policy(), "/work", &literal("needle"));
    assert_eq!(found.len(), 0);
    assert_eq!(searched.problems.len(), 1);
    file.set_len(0).unwrap();
    file.set_len(10 << 30).unwrap();
    assert_eq!(whole(&workspace.policy(), "/work", &literal("needle")).1.totals.binary, 1);
}

#[test]
fn where_matches_span_lines_a_file_has_a_largest_size() {
    let workspace = Workspace::new();
    let large = 8 * 1024 * 1024 + 1;
    workspace.file("work/a", "a\n".repeat(large / 2 + 1)).file("work/b", "a\nb\n");
    let spec =
        PatternSpec { text: "a\nb".into(), literal: true, multiline: true, ..Default::default() };
    let (found, searched) = whole(&workspace.policy(), "/work", &of(&spec));
    assert_eq!(found, ["/work/b:1:a", "/work/b:2:b"]);
    assert!(searched.problems[0].reason.contains("without multiline"));
}

#[test]
fn problems_have_a_limit_and_are_counted() {
    let workspace = Workspace::new();
    for at in 0..30 {
        workspace.file(&format!("work/{at}"), "x");
        let link = workspace.disk(&format!("work/{at}-too"));
        #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
        std::fs::hard_link(workspace.disk(&format!("work/{at}")), link).unwrap();
    }
    let (_, searched) = whole(&workspace.policy(), "/work", &literal("x"));
    assert_eq!((searched.problems.len(), searched.problems_omitted), (20, 40));
}

/// Gives the call up when it is told of the first file.
struct GivesUp<'a>(&'a Budget);

impl Taker for GivesUp<'_> {
    fn take(&mut self, _: &FoundFile) -> Result<Taken, Fault> {
        self.0.cancel();
        Ok(Taken::All)
    }

    fn tell(&mut self, _: &Totals) {}
}

#[test]
fn a_search_ends_with_its_call() {
    let workspace = Workspace::new();
    for at in 0..1000 {
        workspace.file(&format!("work/{}/{at}", at % 50), "needle");
    }
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let kind = |budget: &Budget| {
        super::search(&permit, &literal("needle"), None, budget, &mut GivesUp(budget))
            .unwrap_err()
            .kind()
    };
    assert_eq!(kind(&budget()), FaultKind::Cancelled);
    let cancelled = budget();
    cancelled.cancel();
    assert_eq!(kind(&cancelled), FaultKind::Cancelled);
    assert_eq!(kind(&Budget::new(1024, 10, Duration::ZERO)), FaultKind::Timeout);
}

#[test]
fn a_large_file_is_left_in_its_middle_when_the_call_ends() {
    let workspace = Workspace::new();
    workspace.file("work/a", "x".repeat(1000));
    #[expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]
    let file = std::fs::File::open(workspace.disk("work/a")).unwrap();
    let budget = budget();
    let (leash, trouble) = (Leash::new(&budget), std::cell::RefCell::new(None));
    let mut blocks = Blocks { file: file.as_fd(), offset: 0, leash: &leash, trouble: &trouble };
    let mut block = [0; 100];
    assert_eq!(blocks.read(&mut block).unwrap(), 100);
    budget.cancel();
    assert!(blocks.read(&mut block).is_err());
    assert_eq!(trouble.into_inner().unwrap().kind(), FaultKind::Cancelled);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    #[expect(clippy::disallowed_methods, reason = "the kernel has a file that fails to be read")]
    let file = std::fs::File::open("/proc/self/mem").unwrap();
    let (budget, search) = (budget(), literal("x"));
    let leash = Leash::new(&budget);
    let mut remarks = Vec::new();
    let stat = rustix::fs::fstat(&file).unwrap();
    let source = Source { handle: &file.into(), stat: &stat, at: None, room: 1000 };
    let scanned = Scanner::new(&search, &leash).scan(&source, |remark| remarks.push(remark));
    assert!(matches!(scanned, Ok(Scanned::Text(None))), "{scanned:?}");
    assert_eq!(remarks, ["could not be read to its end"]);
}

/// Fails when it is told of a file.
struct Fails;

impl Taker for Fails {
    fn take(&mut self, _: &FoundFile) -> Result<Taken, Fault> {
        Err(Fault::invalid("enough"))
    }

    fn tell(&mut self, _: &Totals) {}
}

#[test]
fn helpers_go_home_when_the_telling_fails() {
    let workspace = Workspace::new();
    for at in 0..500 {
        workspace.file(&format!("work/{}/{at}", at % 50), "needle");
    }
    let permit = decide(&workspace.policy(), Verb::Search, "/work").unwrap();
    let ended = super::search(&permit, &literal("needle"), None, &budget(), &mut Fails);
    assert_eq!(ended.unwrap_err().public(), "enough");
}
