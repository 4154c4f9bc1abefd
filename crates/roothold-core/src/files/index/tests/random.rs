//! Whatever happens to a tree, with the index and without it every answer is the same.

use super::*;

/// Numbers that look like chance and are the same every time (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    /// A path of up to four names, which are few, so that they are met again.
    fn path(&mut self, workspace: &Workspace) -> std::path::PathBuf {
        const NAMES: [&str; 6] = ["a", "b", ".env", "c.md", "\u{e9}", "d\n"];
        let depth = 1 + self.below(4);
        let mut path = workspace.disk("work");
        for _ in 0..depth {
            path.push(NAMES[self.below(NAMES.len())]);
        }
        path
    }
}

/// One change of the tree; many fail, since what they need is not there.
fn change(random: &mut Random, workspace: &Workspace) {
    let (path, other) = (random.path(workspace), random.path(workspace));
    match random.below(9) {
        0..3 => drop(fs::create_dir_all(path)),
        3 => drop(fs::write(path, "")),
        4 => drop(fs::remove_file(path)),
        5 => drop(fs::remove_dir_all(path)),
        6 => drop(fs::rename(path, other)),
        7 => drop(renameat_with(CWD, path, CWD, other, RenameFlags::EXCHANGE)),
        _ => drop(std::os::unix::fs::symlink(other, path)),
    }
}

fn listed(policy: &Policy, path: &str) -> Option<Vec<String>> {
    let permit = decide(policy, Verb::List, path).ok()?;
    let listing = list(&permit, &budget()).ok()?;
    Some(listing.after(None).map(|entry| format!("{} {:?}", entry.name, entry.kind)).collect())
}

#[test]
fn answers_are_the_same_with_and_without_an_index() {
    let workspace = Workspace::new();
    let with = policy_with(&workspace, trusting(), PolicySpec::default());
    let without = policy_with(&workspace, Index::default(), PolicySpec::default());
    without.roots().index().set_bytes_max(0);
    let small = policy_with(&workspace, trusting(), PolicySpec::default());
    small.roots().index().set_bytes_max(4 * FRAME_BYTES);
    let mut random = Random(11);
    for round in 0..150 {
        for _ in 0..random.below(4) {
            change(&mut random, &workspace);
        }
        // What the guard against changes within one tick is for is tested by itself.
        tick(&workspace);
        let disk = walked(&without);
        assert_eq!(walked(&with), disk, "round {round}");
        assert_eq!(walked(&small), disk, "round {round}, with little room");
        for path in ["/work", "/work/a", "/work/a/b", "/work/b"] {
            assert_eq!(listed(&with, path), listed(&without, path), "round {round} {path}");
        }
        let from = disk.0.get(random.below(disk.0.len().max(1)));
        assert_eq!(taken_up(&with, from), taken_up(&without, from), "round {round}");
    }
    let figures = with.roots().index().figures();
    assert!(figures.hits > 500 && figures.misses > 60, "{figures:?}");
    assert_eq!(without.roots().index().figures(), CacheFigures::default());
    assert!(small.roots().index().figures().bytes <= 4 * FRAME_BYTES as u64);
}

/// What is left of a walk after an entry.
fn taken_up(policy: &Policy, after: Option<&String>) -> Vec<Vec<u8>> {
    let (permit, budget) = (decide(policy, Verb::List, "/work").unwrap(), budget());
    let after = after.map(String::as_bytes);
    let (mut rest, mut walk) = (Vec::new(), Walk::start(&permit, after, &budget).unwrap());
    walk.run(|entry| {
        rest.push(entry.below.to_vec());
        Ok(Visit::Into)
    })
    .unwrap();
    rest
}
