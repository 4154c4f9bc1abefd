//! From a walk to what is told: files are handed out in batches, and what comes back is told in
//! their order.

use super::batch::{Batch, Outcome, What};
use super::crew::with_crew;
use super::ignored::Ignored;
use super::leash::Leash;
use super::{At, Position, Search, Searched, Taken, Taker, Totals};
use crate::fault::Fault;
use crate::files::walk::{Problem, Visit, Walk, WalkEntry};
use crate::gate::entries::EntryKind;
use crate::policy::Permit;

/// How many problems are listed; the others are counted.
const PROBLEMS_MAX: usize = 20;

/// Searches all that a walk shows.
pub(super) fn directory<T: Taker>(
    permit: &Permit,
    search: &Search,
    from: Option<&Position>,
    leash: &Leash<'_>,
    mut walk: Walk<'_>,
    mut telling: Telling<'_, T>,
) -> Result<Searched, Fault> {
    let (root, _) = permit.root()?;
    let mut filter = Filter {
        search,
        ignored: search.gitignore.then(|| Ignored::new(permit)).transpose()?,
        from: from.and_then(|from| Some((from.below.as_slice(), from.at.as_ref()?))),
    };
    with_crew(search, leash, root.hardlinks(), |crew| {
        let mut batch = Batch::default();
        let done = walk.run(|entry| {
            let visit = filter.visit(entry, leash)?;
            if let Some(at) = visit.is_searched.then(|| filter.at(entry)) {
                batch.push(entry, at)?;
                if batch.is_full(crew.handed_out()) {
                    let whole = std::mem::take(&mut batch);
                    if !crew.hand_out(whole, |outcome| telling.outcome(outcome))? {
                        return Ok(Visit::Stop);
                    }
                }
            }
            Ok(if visit.is_entered { Visit::Into } else { Visit::Past })
        })?;
        if done {
            crew.finish(batch, |outcome| telling.outcome(outcome))?;
        }
        Ok(())
    })?;
    if let Some(ignored) = filter.ignored {
        telling.problems.extend(ignored.problems());
    }
    Ok(telling.end(walk.problems()))
}

/// Which files are searched and which directories entered.
struct Filter<'a> {
    search: &'a Search,
    ignored: Option<Ignored<'a>>,
    /// A file in the middle of which the search begins.
    from: Option<(&'a [u8], &'a At)>,
}

struct Visited {
    is_searched: bool,
    is_entered: bool,
}

impl Filter<'_> {
    fn visit(&mut self, entry: &WalkEntry<'_>, leash: &Leash<'_>) -> Result<Visited, Fault> {
        const NEITHER: Visited = Visited { is_searched: false, is_entered: false };
        let is_directory = entry.kind == EntryKind::Directory;
        if !is_directory && entry.kind != EntryKind::File {
            return Ok(NEITHER);
        }
        // An entry may show because it can be written, and only that.
        if !is_directory && !entry.is_readable() {
            return Ok(NEITHER);
        }
        if self.search.exclude.matches(entry.below) {
            return Ok(NEITHER);
        }
        if let Some(ignored) = &mut self.ignored
            && ignored.covers(entry.public, entry.name, is_directory, leash)?
        {
            return Ok(NEITHER);
        }
        if is_directory {
            return Ok(Visited { is_searched: false, is_entered: true });
        }
        let include = self.search.include.as_ref();
        let is_searched = include.is_none_or(|globs| globs.matches(entry.below));
        Ok(Visited { is_searched, is_entered: false })
    }

    /// Where an earlier page ended in a file, if it did.
    fn at(&mut self, entry: &WalkEntry<'_>) -> Option<At> {
        let (below, at) = self.from?;
        // It is the first file of the walk, or it is gone.
        self.from = None;
        (below == entry.below).then(|| at.clone())
    }
}

/// Tells what was found, and counts.
pub(super) struct Telling<'a, T> {
    taker: &'a mut T,
    totals: Totals,
    next: Option<Position>,
    problems: Vec<Problem>,
}

impl<'a, T: Taker> Telling<'a, T> {
    pub(super) fn new(taker: &'a mut T) -> Self {
        Self { taker, totals: Totals::default(), next: None, problems: Vec::new() }
    }

    /// Tells what came of a batch; `false` when nothing more is wanted on this page.
    pub(super) fn outcome(&mut self, outcome: Outcome) -> Result<bool, Fault> {
        let mut looked_at = 0;
        for note in outcome.notes {
            self.totals.files += note.index.saturating_sub(looked_at) as u64;
            looked_at = looked_at.max(note.index);
            match note.what {
                What::Remark(problem) => {
                    self.problems.push(problem);
                    continue;
                }
                What::Unserved(problem) => self.problems.push(problem),
                What::Binary => self.totals.binary += 1,
                What::Found(file) => match self.taker.take(&file)? {
                    Taken::All if file.full => {
                        self.next = Some(file.position(file.lines.len()));
                        return Ok(false);
                    }
                    Taken::All => self.totals.files += 1,
                    Taken::Lines(told) => {
                        self.next = Some(file.position(told.min(file.lines.len())));
                        return Ok(false);
                    }
                    Taken::Enough => {
                        self.totals.files += 1;
                        return Ok(false);
                    }
                },
            }
            looked_at = note.index + 1;
        }
        self.totals.files += outcome.scanned.saturating_sub(looked_at) as u64;
        self.taker.tell(&self.totals);
        self.next = outcome.cut_after.map(|below| Position { below, at: None });
        Ok(self.next.is_none())
    }

    /// How it ended, with the problems of the walk.
    pub(super) fn end(self, (walked, omitted): (Vec<Problem>, usize)) -> Searched {
        let mut problems = self.problems;
        problems.extend(walked);
        let omitted = omitted + problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        Searched { next: self.next, totals: self.totals, problems, problems_omitted: omitted }
    }
}
