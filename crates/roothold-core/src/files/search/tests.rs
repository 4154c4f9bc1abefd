//! Tests of what is found, on real files.

mod against_naive;
mod finding;
mod hiding;
mod ignoring;
mod limits;
mod paging;

use super::*;
use crate::testing::{Workspace, budget, decide};
use crate::{FaultKind, Policy, Verb};

/// What a search finds, one line a record.
#[derive(Default)]
struct Page {
    records: Vec<String>,
    /// How many lines, or files, fit.
    room: Option<usize>,
    files: Vec<String>,
    tells: usize,
}

impl Taker for Page {
    fn take(&mut self, file: &FoundFile) -> Result<Taken, Fault> {
        let wanted = file.lines.len().max(1);
        let fits = self.room.map_or(wanted, |room| room.saturating_sub(self.records.len()));
        if file.lines.is_empty() {
            if fits == 0 {
                return Ok(Taken::Lines(0));
            }
            self.records.push(format!("{} {}", file.path, file.matches));
            return Ok(Taken::All);
        }
        for line in file.lines.iter().take(fits) {
            let kind = if line.kind == LineKind::Match { ':' } else { '-' };
            self.records.push(format!("{}{kind}{}{kind}{}", file.path, line.number, line.text));
        }
        if file.more {
            self.files.push(file.path.clone());
        }
        Ok(if fits < wanted { Taken::Lines(fits) } else { Taken::All })
    }

    fn tell(&mut self, _: &Totals) {
        self.tells += 1;
    }
}

fn literal(text: &str) -> Search {
    of(&PatternSpec { text: text.to_owned(), literal: true, ..PatternSpec::default() })
}

fn regex(text: &str) -> Search {
    of(&PatternSpec { text: text.to_owned(), ..PatternSpec::default() })
}

fn of(spec: &PatternSpec) -> Search {
    Search {
        pattern: Pattern::new(spec).unwrap(),
        include: None,
        exclude: PathGlobs::new::<&str>(&[]).unwrap(),
        gitignore: false,
        shows: Shows::Lines,
        before: 0,
        after: 0,
        matches_per_file_max: u64::MAX,
        line_bytes_max: 500,
    }
}

/// One page of any size.
fn whole(policy: &Policy, path: &str, wanted: &Search) -> (Vec<String>, Searched) {
    let permit = decide(policy, Verb::Search, path).unwrap();
    let mut page = Page::default();
    let searched = search(&permit, wanted, None, &budget(), &mut page).unwrap();
    (page.records, searched)
}

fn records(policy: &Policy, path: &str, wanted: &Search) -> Vec<String> {
    whole(policy, path, wanted).0
}

/// All pages of so many records.
fn paged(policy: &Policy, path: &str, wanted: &Search, room: usize) -> (Vec<String>, Totals) {
    let permit = decide(policy, Verb::Search, path).unwrap();
    let (mut all, mut from, mut totals) = (Vec::new(), None, Totals::default());
    loop {
        let mut page = Page { room: Some(room), ..Page::default() };
        let searched = search(&permit, wanted, from.as_ref(), &budget(), &mut page).unwrap();
        assert!(page.records.len() <= room);
        all.extend(page.records);
        totals.files += searched.totals.files;
        totals.binary += searched.totals.binary;
        assert!(searched.next != from || searched.next.is_none(), "it does not go on: {from:?}");
        match searched.next {
            None => return (all, totals),
            next => from = next,
        }
    }
}
