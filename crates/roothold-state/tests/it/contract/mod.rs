//! What every store must do. A backend brings a [`Fixture`] and runs them all with
//! `state_contract!`; a case that the list below forgets is dead code, which fails the lints.

pub(crate) mod fair;
pub(crate) mod keep;
pub(crate) mod lease;
pub(crate) mod outcome;
pub(crate) mod owner;

use std::time::Duration;

use roothold_state::{
    Claim, Claimed, Commit, JobId, Lease, Limits, NewJob, Progress, StateStore, Whose,
};

pub(crate) const LEASE: Duration = Duration::from_secs(10);
pub(crate) const KINDS: &[&str] = &["count"];

/// A store of its own, whose time the test moves.
pub(crate) trait Fixture: Sized {
    type Store: StateStore;

    async fn start_with(limits: Limits) -> Self;

    fn store(&self) -> &Self::Store;

    /// Lets the store's clock jump.
    async fn jump(&self, seconds: i64);

    async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    async fn submit(&self, owner: &str) -> JobId {
        let job = new_job(owner);
        let id = job.id;
        self.store().submit(job).await.unwrap();
        id
    }

    async fn claim(&self, worker: &str) -> Option<Claimed> {
        self.store().claim(Claim { worker, kinds: KINDS, lease: LEASE }).await.unwrap()
    }

    /// Claims one that must be there.
    async fn take(&self, worker: &str) -> Lease {
        self.claim(worker).await.expect("a job to claim").lease
    }

    async fn job(&self, id: JobId) -> roothold_state::Job {
        self.store().get(id, Whose::Anyone).await.unwrap()
    }

    async fn parts(&self, id: JobId) -> Vec<Vec<u8>> {
        let parts = self.store().parts(id, Whose::Anyone, 0, 1000).await.unwrap();
        assert!(parts.iter().enumerate().all(|(at, part)| part.number == at as u64));
        parts.into_iter().map(|part| part.content).collect()
    }
}

pub(crate) fn new_job(owner: &str) -> NewJob {
    NewJob {
        id: JobId::random().unwrap(),
        owner: owner.to_owned(),
        kind: "count".to_owned(),
        about: Some("lines of a.txt".to_owned()),
        input: b"{\"of\":\"lines\"}".to_vec(),
        deadline: Duration::from_hours(1),
        retention: Duration::from_mins(10),
        attempts_max: 3,
    }
}

/// The chunk from `from` to `from + 1`, which adds one part.
pub(crate) fn chunk(from: u64) -> Commit {
    Commit {
        from,
        next: from + 1,
        state: format!("folded to {}", from + 1).into_bytes(),
        progress: Progress { bytes_done: from + 1, bytes_total: Some(100), rows: 10 * (from + 1) },
        message: Some(format!("Processed: chunk {from}")),
        partial: Some(format!("so far {}", from + 1).into_bytes()),
        part: Some(format!("part {from}").into_bytes()),
    }
}

macro_rules! each {
    ($fixture:ty, $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                let fixture = <$fixture as $crate::contract::Fixture>::start().await;
                $crate::contract::$module::$case(&fixture).await;
            }
        )*
    };
}
pub(crate) use each;

macro_rules! each_with_limits {
    ($fixture:ty, $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::contract::$module::$case::<$fixture>().await;
            }
        )*
    };
}
pub(crate) use each_with_limits;

macro_rules! state_contract {
    ($fixture:ty) => {
        $crate::contract::each! {
            $fixture,
            owner::a_job_exists_for_its_owner_alone,
            owner::a_repeated_submission_is_one_job,
            owner::lists_are_pages_newest_first,
            owner::what_nobody_holds_is_cancelled_at_once,
            owner::the_holder_of_a_cancelled_job_is_told,
            owner::what_has_ended_is_not_cancelled,
            owner::hostile_names_are_names,
            owner::arguments_out_of_bounds_are_refused,
            lease::a_claim_brings_what_is_needed_to_begin,
            lease::a_heartbeat_keeps_the_job,
            lease::a_late_holder_is_refused_everything,
            lease::a_job_goes_on_from_its_last_chunk,
            lease::a_repeated_commit_counts_once,
            lease::a_chunk_that_does_not_follow_is_refused,
            lease::the_holder_may_be_late_if_nobody_came,
            lease::a_clock_that_was_set_back_keeps_no_lease,
            lease::work_of_unknown_kind_waits,
            lease::a_given_back_job_is_claimable_and_no_attempt,
            lease::a_retry_waits_and_is_an_attempt,
            lease::a_retry_waits_no_longer_when_the_clock_was_set_back,
            outcome::a_result_is_kept_and_an_ending_is_final,
            outcome::a_repeated_ending_is_one,
            outcome::a_failure_says_why,
            outcome::what_ends_its_processes_fails_in_words,
            outcome::a_chunk_makes_the_attempts_begin_anew,
            outcome::a_deadline_ends_what_waits_and_tells_who_holds,
            outcome::what_was_ended_meanwhile_is_not_ended_again,
            fair::owners_take_turns,
            fair::who_has_fewest_running_comes_first,
            fair::no_job_is_claimed_twice,
            keep::jobs_are_kept_as_long_as_said,
            keep::wake_ups_say_what_happened,
            keep::heads_of_chains_only_move_on,
            keep::jobs_are_counted,
            keep::a_closed_store_says_so,
        }
        $crate::contract::each_with_limits! {
            $fixture,
            owner::live_jobs_are_limited_per_owner_and_in_all,
            owner::what_is_too_large_is_refused,
            lease::what_a_chunk_adds_is_limited_and_refused_as_a_whole,
            fair::one_owner_runs_so_many_at_once,
            keep::the_oldest_of_too_many_are_forgotten,
        }
    };
}
pub(crate) use state_contract;
