#![expect(
    clippy::disallowed_methods,
    reason = "the files are changed on disk, as another program would"
)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use super::{Drift, SourceFile, find_sources};
use crate::testing::{Workspace, budget, decide};
use crate::{FaultKind, PathGlobs, Verb};

fn names(found: &super::FoundSources) -> Vec<String> {
    found.files.iter().map(SourceFile::path).collect()
}

#[test]
fn a_file_is_read_at_any_place_and_ends_where_it_ends() {
    let space = Workspace::new();
    space.file("work/a.csv", "0123456789");
    let permit = decide(&space.policy(), Verb::Read, "/work/a.csv").unwrap();
    let file = SourceFile::open(&permit).unwrap();
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(3, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"3456");
    assert_eq!(file.read_at(8, &mut buffer).unwrap(), 2);
    assert_eq!(file.read_at(1 << 40, &mut buffer).unwrap(), 0);
    assert_eq!((file.size(), file.path().as_str()), (10, "/work/a.csv"));
}

#[test]
fn a_handle_outlives_its_name_and_tells_what_became_of_the_file() {
    let space = Workspace::new();
    space.file("work/a.csv", "0123456789");
    let permit = decide(&space.policy(), Verb::Read, "/work/a.csv").unwrap();
    let file = SourceFile::open(&permit).unwrap();
    assert_eq!(file.drift().unwrap(), Drift::Same);
    let mut writer = OpenOptions::new().append(true).open(space.disk("work/a.csv")).unwrap();
    writer.write_all(b"more").unwrap();
    assert_eq!(file.drift().unwrap(), Drift::Grown);
    writer.set_len(2).unwrap();
    assert_eq!(file.drift().unwrap(), Drift::Changed);
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 2, "no signal, a short read");
    fs::remove_file(space.disk("work/a.csv")).unwrap();
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 2);
    let revision = file.revision();
    space.file("work/a.csv", "0123456789");
    assert_ne!(SourceFile::open(&permit).unwrap().revision(), revision);
}

#[test]
fn a_glob_opens_only_what_a_walk_shows() {
    let space = Workspace::new();
    space
        .file("work/a.csv", "1")
        .file("work/b/c.csv", "2")
        .file("work/b/c.txt", "3")
        .file("work/.env/d.csv", "4")
        .file("outside.csv", "5")
        .link("work/e.csv", space.disk("outside.csv"));
    fs::hard_link(space.disk("work/b/c.txt"), space.disk("work/twice.csv")).unwrap();
    let permit = decide(&space.policy(), Verb::Search, "/work").unwrap();
    let globs = PathGlobs::new(&["**/*.csv"]).unwrap();
    let found = find_sources(&permit, &globs, 10, &budget()).unwrap();
    assert_eq!(names(&found), ["/work/a.csv", "/work/b/c.csv"]);
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert_eq!(found.problems[0].path, "/work/twice.csv");
    let first = find_sources(&permit, &globs, 1, &budget()).unwrap();
    assert!(first.more && names(&first) == ["/work/a.csv"]);
    let cancelled = budget();
    cancelled.cancel();
    let fault = find_sources(&permit, &globs, 10, &cancelled).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Cancelled);
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let space = Workspace::new();
    space.file("work/b/c.csv", "2");
    let fifo = space.disk("work/fifo.csv");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let policy = space.policy();
    for (path, kind) in [
        ("/work/b", FaultKind::Unsupported),
        ("/work/fifo.csv", FaultKind::Denied),
        ("/work/none.csv", FaultKind::NotFound),
    ] {
        let permit = decide(&policy, Verb::Read, path).unwrap();
        assert_eq!(SourceFile::open(&permit).unwrap_err().kind(), kind, "{path}");
    }
    let permit = decide(&policy, Verb::Search, "/work").unwrap();
    let globs = PathGlobs::new(&["**/*.csv"]).unwrap();
    let found = find_sources(&permit, &globs, 10, &budget()).unwrap();
    assert_eq!(names(&found), ["/work/b/c.csv"]);
}
