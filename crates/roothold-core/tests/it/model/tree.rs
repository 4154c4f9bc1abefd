//! A file system in memory, with just what the model needs: files, directories, links.

use std::collections::BTreeMap;

/// One thing in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    File(Vec<u8>),
    Directory(BTreeMap<String, Node>),
    Link(String),
}

/// A path as its components, `..` included.
pub(super) type Components = Vec<String>;

/// Why a path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nowhere {
    /// Nothing is there.
    Missing,
    /// It leaves the root.
    Outside,
    /// Links lead to links without an end.
    Endless,
}

const LINKS_MAX: usize = 40;

impl Node {
    pub(super) fn empty() -> Self {
        Self::Directory(BTreeMap::new())
    }

    /// What is at a path without links and `..`.
    pub(super) fn at(&self, path: &[String]) -> Option<&Self> {
        let Some((name, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::Directory(entries) => entries.get(name)?.at(rest),
            _ => None,
        }
    }

    /// The entries of a directory at a path without links and `..`.
    pub(super) fn entries_mut(&mut self, path: &[String]) -> Option<&mut BTreeMap<String, Self>> {
        let Self::Directory(entries) = self else { return None };
        match path.split_first() {
            None => Some(entries),
            Some((name, rest)) => entries.get_mut(name)?.entries_mut(rest),
        }
    }

    /// Whether a link or `..` is met before the path ends or leads nowhere.
    pub(super) fn is_indirect(&self, path: &[String]) -> bool {
        let met = |end: usize| matches!(self.at(&path[..end]), Some(Self::Link(_)));
        path.iter().any(|name| name == "..") || (1..=path.len()).any(met)
    }

    /// Where a path leads, as the kernel resolves it.
    pub(super) fn resolve(&self, path: &[String]) -> Result<Components, Nowhere> {
        let mut todo: Vec<String> = path.iter().rev().cloned().collect();
        let (mut at, mut links) = (Components::new(), 0);
        while let Some(name) = todo.pop() {
            if !matches!(self.at(&at), Some(Self::Directory(_))) {
                return Err(Nowhere::Missing);
            }
            if name == ".." {
                at.pop().ok_or(Nowhere::Outside)?;
                continue;
            }
            at.push(name);
            match self.at(&at) {
                None => return Err(Nowhere::Missing),
                Some(Self::Link(target)) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Nowhere::Endless);
                    }
                    if target.starts_with('/') {
                        return Err(Nowhere::Outside);
                    }
                    at.pop();
                    todo.extend(components(target).into_iter().rev());
                }
                Some(_) => {}
            }
        }
        Ok(at)
    }

    /// Every place that a path names, as text once something is missing, for from there on no
    /// link is ever followed; and whether it stays in the root and comes to an end.
    pub(super) fn places(&self, path: &[String]) -> (Vec<Components>, bool) {
        let mut todo: Vec<String> = path.iter().rev().cloned().collect();
        let (mut at, mut links, mut places) = (Components::new(), 0, Vec::new());
        let mut exists = true;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if at.pop().is_none() {
                    return (places, false);
                }
                continue;
            }
            at.push(name);
            places.push(at.clone());
            exists &= self.at(&at).is_some();
            if let (true, Some(Self::Link(target))) = (exists, self.at(&at)) {
                links += 1;
                if links > LINKS_MAX || target.starts_with('/') {
                    return (places, false);
                }
                at.pop();
                todo.extend(components(target).into_iter().rev());
            }
        }
        places.push(at);
        (places, true)
    }
}

pub(super) fn components(path: &str) -> Components {
    let named = path.split('/').filter(|name| !name.is_empty() && *name != ".");
    named.map(str::to_owned).collect()
}

/// `..` folded as text; `None` where it leaves the root.
pub(super) fn folded(path: &[String]) -> Option<Components> {
    let mut kept = Components::new();
    for name in path {
        if name == ".." {
            kept.pop()?;
        } else {
            kept.push(name.clone());
        }
    }
    Some(kept)
}
