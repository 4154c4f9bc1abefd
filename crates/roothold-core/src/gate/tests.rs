//! What the kernel says of handles, and what is made of it.

#![expect(clippy::disallowed_methods, reason = "fixtures are made on disk")]

use std::fs;

use super::*;
use crate::testing::Workspace;

#[test]
fn what_was_removed_while_it_was_resolved_has_no_path() {
    let workspace = Workspace::new();
    workspace.file("work/f", "x").file("work/d/f", "x").file("work/g (deleted)", "x");
    let root = Root::open(&workspace.root("work")).unwrap();
    let (base, prefix, _) = root.base(b"");
    let above = link_of(base).unwrap();
    let open = |rel: &str| openat2(base, rel, LOOK, Mode::empty(), BENEATH).unwrap();
    let at = |handle: &OwnedFd| whereabouts(&root, (&above, prefix), handle);
    let (file, directory, named) = (open("f"), open("d"), open("g (deleted)"));
    assert_eq!(at(&file).unwrap(), b"f");
    assert_eq!(at(&named).unwrap(), b"g (deleted)", "a file may be called so");
    fs::remove_file(workspace.disk("work/f")).unwrap();
    fs::remove_dir_all(workspace.disk("work/d")).unwrap();
    assert_eq!(at(&file).unwrap_err(), Errno::AGAIN);
    assert_eq!(at(&directory).unwrap_err(), Errno::AGAIN);
    // Another file by the name that the kernel says, and another name of the removed one.
    workspace.file("work/f (deleted)", "another");
    assert_eq!(at(&file).unwrap_err(), Errno::AGAIN);
    fs::hard_link(workspace.disk("work/g (deleted)"), workspace.disk("work/h")).unwrap();
    fs::remove_file(workspace.disk("work/g (deleted)")).unwrap();
    assert_eq!(at(&named).unwrap_err(), Errno::AGAIN);
}
