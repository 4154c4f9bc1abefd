//! Other databases while the server runs.
//!
//! **Invariant**: all of a new configuration is taken, or nothing of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roothold_core::Policy;

use super::needs::Needs;
use super::watch::PROBE_TIMEOUT;
use super::{Database, Databases, Role, SLACK, State};
use crate::config::DatabaseSection;
use crate::walls;

/// How often it is looked whether calls still use a database that is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// Databases that are as they were, or rather roles in them; most have one.
    pub(crate) kept: usize,
    /// Those that are new, or reached in another way.
    pub(crate) made: usize,
    /// Those that are gone, or were reached in another way.
    pub(crate) closed: usize,
}

/// Ends when no call has the role any more, or none that is in time can.
async fn unused(role: &Arc<Role>) {
    let limits = &role.source.spec().limits;
    let until = tokio::time::Instant::now() + limits.time + limits.wait + SLACK;
    while Arc::strong_count(role) > 1 && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Databases that could take the place of those that are there.
pub(crate) struct Prepared(Vec<Arc<Database>>);

impl Databases {
    /// Reads what other sections mean; changes nothing. Reads files, so it blocks.
    ///
    /// # Errors
    /// Why they cannot be used while the server runs, in one sentence.
    pub(crate) fn prepare(
        &self,
        sections: &[DatabaseSection],
        policy: &Policy,
    ) -> Result<Prepared, String> {
        let before = self.all();
        // First: what is out of reach could not be read, whatever it holds.
        self.keep_within_reach(|| Needs::of_files(sections))?;
        let all = self.made(sections, &before).map_err(|error| error.to_string())?;
        self.keep_within_reach(|| Needs::of_all(&all))?;
        let known: Vec<PathBuf> =
            before.iter().flat_map(|database| database.section.own_files()).collect();
        let is_in_root = |dir: PathBuf| policy.roots().containing(&dir).is_some();
        let is_served =
            |file: &PathBuf| !known.contains(file) && walls::directories_of(file).any(is_in_root);
        if let Some(section) = sections.iter().find(|one| one.own_files().iter().any(is_served)) {
            return Err(format!(
                "databases: `{}` has a file in a root, from which it must be kept when the server starts; restart it",
                section.name
            ));
        }
        Ok(Prepared(all))
    }

    /// Refuses what the wall does not let through, where one stands.
    fn keep_within_reach(&self, needs: impl FnOnce() -> Needs) -> Result<(), String> {
        let lack = self.0.within.get().and_then(|within| within.lacks(&needs()));
        lack.map_or(Ok(()), |lack| {
            Err(format!(
                "databases: {lack} is out of reach behind Landlock, which cannot be widened; restart the server"
            ))
        })
    }

    /// Asks those that are new, so that `/ready` does not fail for what nobody has asked yet.
    pub(crate) async fn ask_new(&self, prepared: &Prepared) {
        let is_new = |role: &Role| role.health.state() == State::Unasked;
        // Many roles that do not answer must not keep the others from what is new.
        let _ = tokio::time::timeout(PROBE_TIMEOUT, self.ask(&prepared.0, is_new)).await;
    }

    /// Takes them, and returns the policy that knows of them. Calls that run end by the roles that they
    /// began with, which are closed then. Wants a runtime.
    pub(crate) fn take(&self, prepared: Prepared, policy: &Policy) -> (Policy, Reloaded) {
        let before = roles(&self.all());
        let Prepared(all) = prepared;
        let after = roles(&all);
        let is_in =
            |list: &[Arc<Role>], one: &Arc<Role>| list.iter().any(|other| Arc::ptr_eq(other, one));
        let kept = after.iter().filter(|one| is_in(&before, one)).count();
        let made = after.len() - kept;
        let gone: Vec<_> = before.into_iter().filter(|one| !is_in(&after, one)).collect();
        drop(after);
        let closed = gone.len();
        let policy = self.put(all, policy);
        for role in gone {
            let end = self.0.end.clone();
            self.0.tasks.spawn(async move {
                tokio::select! {
                    () = unused(&role) => {}
                    () = end.cancelled() => {}
                }
                role.source.close().await;
            });
        }
        self.watch();
        self.look_soon();
        (policy, Reloaded { kept, made, closed })
    }
}

fn roles(all: &[Arc<Database>]) -> Vec<Arc<Role>> {
    all.iter().flat_map(|database| database.roles()).cloned().collect()
}
