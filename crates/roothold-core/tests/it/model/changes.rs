//! Random changes through the core: what it says it changed is what the model changes, and what
//! it refuses changes nothing, not even by a file left over.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use roothold_core::files::{
    Edit, EditRequest, Precondition, TextRange, WriteOptions, delete, edit, make_directory,
    move_entry, read_text, write,
};
use roothold_core::{Access, Fault, FaultKind, Verb};

use super::expected::Rules;
use super::tree::{Components, Node};
use super::{Step, World, budget, detour, disturbance};

/// What a caller says that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Nothing,
    Absent,
    Right,
    Wrong,
}

#[derive(Debug, Clone)]
enum Change {
    Write(Components, String, Claim),
    Edit(Components, String, String),
    Make(Components),
    Move(Components, Components),
    Delete(Components, Claim),
}

#[derive(Debug, Clone)]
enum Turn {
    Somebody(Step),
    Core { change: Change, dry_run: bool },
}

fn change() -> impl Strategy<Value = Change> {
    let claim =
        || prop::sample::select(&[Claim::Nothing, Claim::Absent, Claim::Right, Claim::Wrong][..]);
    let text = || "[ab ]{0,6}";
    prop_oneof![
        4 => (detour(), text(), claim()).prop_map(|(at, text, claim)| Change::Write(at, text, claim)),
        3 => (detour(), "[ab]{1,2}", text()).prop_map(|(at, old, new)| Change::Edit(at, old, new)),
        3 => detour().prop_map(Change::Make),
        3 => (detour(), detour()).prop_map(|(from, to)| Change::Move(from, to)),
        2 => (detour(), claim()).prop_map(|(at, claim)| Change::Delete(at, claim)),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        3 => disturbance().prop_map(Turn::Somebody),
        2 => (change(), prop::bool::weighted(0.2))
            .prop_map(|(change, dry_run)| Turn::Core { change, dry_run }),
    ]
}

/// Makes a change through the core.
fn run(world: &World, change: &Change, dry_run: bool) -> Result<(), Fault> {
    let budget = budget();
    let options = |claim: Claim, at: &[String]| -> Result<WriteOptions, Fault> {
        let precondition = match claim {
            Claim::Nothing => Precondition::Any,
            Claim::Absent => Precondition::Absent,
            Claim::Wrong => Precondition::Content("0".repeat(32)),
            Claim::Right => {
                let permit = world.permit(Verb::Read, at)?;
                Precondition::Content(read_text(&permit, TextRange::Whole, None, &budget)?.hash)
            }
        };
        Ok(WriteOptions { precondition, dry_run })
    };
    let permit = |verb: Verb, at: &[String]| world.permit(verb, at);
    // As the tools do: who says what a file holds must be one who may read it.
    let read = |claim: Claim, at: &[String]| match claim {
        Claim::Right | Claim::Wrong => permit(Verb::Read, at).map(Some),
        Claim::Nothing | Claim::Absent => Ok(permit(Verb::Read, at).ok()),
    };
    match change {
        Change::Write(at, text, claim) => {
            let options = options(*claim, at)?;
            let read = read(*claim, at)?;
            write(&permit(Verb::Write, at)?, read.as_ref(), text.as_bytes(), &options, &budget)?;
        }
        Change::Edit(at, old, new) => {
            let request = EditRequest {
                edits: vec![Edit { old: old.clone(), new: new.clone() }],
                options: options(Claim::Nothing, at)?,
                bytes_max: 1 << 20,
                diff_bytes_max: 1 << 16,
            };
            edit(&permit(Verb::Write, at)?, &permit(Verb::Read, at)?, &request, &budget)?;
        }
        Change::Make(at) => {
            make_directory(&permit(Verb::Write, at)?, &options(Claim::Nothing, at)?, &budget)?;
        }
        Change::Move(from, to) => {
            let options = options(Claim::Nothing, from)?;
            let (look, source) = (permit(Verb::Stat, from)?, permit(Verb::Write, from)?);
            move_entry(&look, &source, &permit(Verb::Write, to)?, &options, &budget)?;
        }
        Change::Delete(at, claim) => {
            let options = options(*claim, at)?;
            let read = read(*claim, at)?;
            delete(&permit(Verb::Write, at)?, read.as_ref(), &options, &budget)?;
        }
    }
    Ok(())
}

/// What the tree is after a change that the core says it made.
fn applied(world: &World, change: &Change) -> Node {
    let mut tree = world.tree.clone();
    match change {
        Change::Write(at, text, claim) => {
            let real = followed(&tree, at);
            assert!(*claim != Claim::Wrong, "a wrong hash was taken");
            assert!(*claim != Claim::Absent || tree.at(&real).is_none(), "it was there");
            put(&mut tree, &checked(world, real), Node::File(text.clone().into_bytes()));
        }
        Change::Edit(at, old, new) => {
            let real = checked(world, followed(&tree, at));
            let Some(Node::File(content)) = tree.at(&real) else { panic!("no file was edited") };
            let text = String::from_utf8(content.clone()).unwrap();
            assert_eq!(occurrences(&text, old), 1, "{old:?} is not once in {text:?}");
            let text = text.replacen(old.as_str(), new, 1);
            put(&mut tree, &real, Node::File(text.into_bytes()));
        }
        Change::Make(at) => {
            let real = followed(&tree, at);
            if !matches!(tree.at(&real), Some(Node::Directory(_))) {
                put(&mut tree, &checked(world, real), Node::empty());
            }
        }
        Change::Move(from, to) => {
            let (from, to) =
                (checked(world, itself(&tree, from)), checked(world, itself(&tree, to)));
            assert!(tree.at(&to).is_none(), "something was overwritten by a move");
            let node = take(&mut tree, &from);
            put(&mut tree, &to, node);
        }
        Change::Delete(at, claim) => {
            assert!(*claim != Claim::Wrong && *claim != Claim::Absent, "a wrong claim was taken");
            let gone = take(&mut tree, &checked(world, itself(&world.tree, at)));
            assert!(!matches!(gone, Node::Directory(_)), "a directory was deleted");
        }
    }
    tree
}

/// Nothing else may ever be changed.
fn checked(world: &World, real: Components) -> Components {
    assert_eq!(world.access, Access::ReadWrite, "{real:?} was changed in a read-only root");
    assert!(!real.is_empty(), "the root itself was changed");
    assert!(!Rules::excludes(&real) && !Rules::protects(&real), "{real:?} was changed");
    real
}

/// Where a path leads, or would lead if what is missing were made.
fn followed(tree: &Node, at: &[String]) -> Components {
    tree.resolve(at).unwrap_or_else(|_| {
        let (mut places, ends) = tree.places(at);
        assert!(ends, "{at:?} leads outside");
        places.pop().unwrap()
    })
}

/// The place that a path names, a link at its end being itself.
fn itself(tree: &Node, at: &[String]) -> Components {
    let (name, above) = at.split_last().unwrap();
    if name == ".." {
        return followed(tree, at);
    }
    [tree.resolve(above).unwrap(), vec![name.clone()]].concat()
}

fn put(tree: &mut Node, at: &[String], node: Node) {
    let (name, above) = at.split_last().unwrap();
    for end in 0..above.len() {
        let entries = tree.entries_mut(&above[..end]).unwrap();
        entries.entry(above[end].clone()).or_insert_with(Node::empty);
    }
    tree.entries_mut(above).unwrap().insert(name.clone(), node);
}

fn take(tree: &mut Node, at: &[String]) -> Node {
    let (name, above) = at.split_last().unwrap();
    tree.entries_mut(above).unwrap().remove(name).expect("what was changed was there")
}

fn occurrences(text: &str, part: &str) -> usize {
    (0..text.len()).filter(|at| text[*at..].starts_with(part)).count()
}

/// Whether a change that names no links and no `..` must be made, as far as the model can tell.
fn must_succeed(world: &World, change: &Change) -> bool {
    let tree = &world.tree;
    let open = |at: &[String]| {
        let allowed = !at.is_empty() && !Rules::excludes(at) && !Rules::protects(at);
        world.access == Access::ReadWrite && allowed && !tree.is_indirect(at)
    };
    let way_is_free = |at: &[String]| {
        (0..at.len()).all(|end| !matches!(tree.at(&at[..end]), Some(Node::File(_))))
    };
    match change {
        Change::Write(at, _, claim) => {
            let found = tree.at(at);
            let fits = match claim {
                Claim::Nothing => true,
                Claim::Absent => found.is_none(),
                Claim::Right => found.is_some() && world.rules.reads(at),
                Claim::Wrong => false,
            };
            open(at) && way_is_free(at) && fits && !matches!(found, Some(Node::Directory(_)))
        }
        Change::Edit(at, old, new) => match tree.at(at) {
            Some(Node::File(content)) => {
                let text = str::from_utf8(content).unwrap();
                let once = occurrences(text, old) == 1 && old != new;
                open(at) && world.rules.reads(at) && once
            }
            _ => false,
        },
        Change::Make(at) => {
            open(at) && way_is_free(at) && !matches!(tree.at(at), Some(Node::File(_)))
        }
        Change::Move(from, to) => {
            let is_file = matches!(tree.at(from), Some(Node::File(_)));
            let lands = to.split_last().is_some_and(|(_, above)| {
                matches!(tree.at(above), Some(Node::Directory(_))) && tree.at(to).is_none()
            });
            open(from) && open(to) && world.rules.reads(from) && is_file && lands
        }
        Change::Delete(at, claim) => {
            let fits = *claim == Claim::Nothing;
            open(at) && fits && matches!(tree.at(at), Some(Node::File(_)))
        }
    }
}

/// The tree as it is on disk.
fn on_disk(at: &Path) -> Node {
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let node = if kind.is_dir() {
            on_disk(&entry.path())
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap();
            Node::Link(target.to_str().unwrap().to_owned())
        } else {
            Node::File(std::fs::read(entry.path()).unwrap())
        };
        entries.insert(entry.file_name().to_str().unwrap().to_owned(), node);
    }
    Node::Directory(entries)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("ROOTHOLD_TEST_FULL").is_some() { 5_000 } else { 80 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_core_changes_what_the_model_changes(
        only_md in any::<bool>(),
        writable in prop::bool::weighted(0.9),
        turns in prop::collection::vec(turn(), 1..50),
    ) {
        let access = if writable { Access::ReadWrite } else { Access::ReadOnly };
        let mut world = World::new(Rules { only_md }, access);
        for turn in &turns {
            match turn {
                Turn::Somebody(step) => world.run(step)?,
                Turn::Core { change, dry_run } => {
                    let made = run(&world, change, *dry_run);
                    match &made {
                        Ok(()) if *dry_run => {}
                        Ok(()) => world.tree = applied(&world, change),
                        Err(fault) => {
                            prop_assert_ne!(fault.kind(), FaultKind::Internal, "{:?}", fault);
                            prop_assert!(!must_succeed(&world, change), "{:?}: {}", change, fault);
                        }
                    }
                    let disk = on_disk(world.dir.path());
                    prop_assert_eq!(&disk, &world.tree, "{:?} {:?}", change, made);
                }
            }
        }
    }
}
