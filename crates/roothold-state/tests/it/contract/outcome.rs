//! How jobs end.

use roothold_core::FaultKind;
use roothold_state::{
    Content, Directive, Failure, JobState, Outcome, Release, StateError, StateStore, Whose,
};

use super::{Fixture, LEASE, chunk};

pub(crate) async fn a_result_is_kept_and_an_ending_is_final(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    f.store().finish(lease, Outcome::Completed(b"42".to_vec())).await.unwrap();
    let job = f.job(id).await;
    assert_eq!((job.state, job.failure.clone()), (JobState::Completed, None));
    assert_eq!(job.expires_at.unwrap().0 - job.ended_at.unwrap().0, 600_000);
    let read = async |content| f.store().content(id, Whose::Of("ann"), content).await.unwrap();
    assert_eq!(read(Content::Result).await.unwrap(), b"42");
    assert_eq!(read(Content::Checkpoint).await, None, "it is of no more use");
    assert_eq!(f.parts(id).await.len(), 1);
    let late = f.store().commit(lease, chunk(1), LEASE).await;
    assert!(matches!(late, Err(StateError::Fenced)), "{late:?}");
    let late = f.store().heartbeat(lease, LEASE).await;
    assert!(matches!(late, Err(StateError::Fenced)), "{late:?}");
    let other = f.store().finish(lease, Outcome::Cancelled).await;
    assert!(matches!(other, Err(StateError::Fenced)), "{other:?}");
    f.jump(20).await;
    assert!(f.claim("two").await.is_none());
    assert_eq!(f.job(id).await, job);
}

pub(crate) async fn a_repeated_ending_is_one(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    f.store().finish(lease, Outcome::Completed(b"1".to_vec())).await.unwrap();
    f.jump(5).await;
    f.store().finish(lease, Outcome::Completed(b"2".to_vec())).await.unwrap();
    let result = f.store().content(id, Whose::Anyone, Content::Result).await.unwrap();
    assert_eq!(result.unwrap(), b"1");
    f.store().release(lease, Release::Drained).await.unwrap();
    assert_eq!(f.job(id).await.state, JobState::Completed);
}

pub(crate) async fn a_failure_says_why(f: &impl Fixture) {
    for kind in FaultKind::ALL {
        let id = f.submit("ann").await;
        let lease = f.take("one").await;
        let failure = Failure { kind, public: "column é is missing; name another".to_owned() };
        f.store().finish(lease, Outcome::Failed(failure.clone())).await.unwrap();
        let job = f.job(id).await;
        assert_eq!((job.state, job.failure), (JobState::Failed, Some(failure)));
    }
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    let failure = Failure { kind: FaultKind::Internal, public: "é\0".repeat(100_000) };
    f.store().finish(lease, Outcome::Failed(failure)).await.unwrap();
    assert!(f.job(id).await.failure.unwrap().public.len() <= 4096, "a long text is cut");
}

pub(crate) async fn what_ends_its_processes_fails_in_words(f: &impl Fixture) {
    let id = f.submit("ann").await;
    for attempt in 1..=3 {
        assert_eq!(f.claim("one").await.unwrap().attempts, attempt);
        f.jump(11).await;
    }
    assert!(f.claim("one").await.is_none());
    let job = f.job(id).await;
    let failure = job.failure.unwrap();
    assert_eq!((job.state, failure.kind), (JobState::Failed, FaultKind::Limit));
    assert!(failure.public.starts_with("the job was started as often as allowed"), "{failure:?}");

    // One that says itself that it cannot just now is limited too.
    let id = f.submit("ann").await;
    for _ in 1..=3 {
        let lease = f.take("one").await;
        f.store().release(lease, Release::RetryAfter(std::time::Duration::ZERO)).await.unwrap();
    }
    assert!(f.claim("one").await.is_none());
    assert_eq!(f.job(id).await.state, JobState::Failed);
}

pub(crate) async fn a_chunk_makes_the_attempts_begin_anew(f: &impl Fixture) {
    let id = f.submit("ann").await;
    for turn in 0..10 {
        let lease = f.take("one").await;
        f.store().commit(lease, chunk(turn), LEASE).await.unwrap();
        f.jump(11).await;
    }
    let job = f.job(id).await;
    assert_eq!((job.state, job.epoch, job.attempts, job.chunks), (JobState::Running, 10, 1, 10));
}

pub(crate) async fn a_deadline_ends_what_waits_and_tells_who_holds(f: &impl Fixture) {
    let held = f.submit("ann").await;
    let lease = f.take("one").await;
    let waits = f.submit("ann").await;
    f.jump(3599).await;
    assert_eq!(f.store().heartbeat(lease, LEASE).await.unwrap(), Directive::Go);
    f.jump(2).await;
    assert_eq!(f.store().commit(lease, chunk(0), LEASE).await.unwrap(), Directive::Expire);
    assert_eq!(f.store().heartbeat(lease, LEASE).await.unwrap(), Directive::Expire);
    assert!(f.claim("two").await.is_none());
    let failed = |job: roothold_state::Job| {
        assert_eq!(job.state, JobState::Failed);
        let failure = job.failure.unwrap();
        assert_eq!(failure.kind, FaultKind::Timeout);
        assert!(failure.public.contains("deadline passed"), "{failure:?}");
    };
    failed(f.job(waits).await);
    assert_eq!(f.job(held).await.state, JobState::Running, "its holder ends it");
    f.jump(11).await;
    assert_eq!(f.store().expire().await.unwrap().ended, 1, "and if it is gone, anybody");
    failed(f.job(held).await);
}

pub(crate) async fn what_was_ended_meanwhile_is_not_ended_again(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    f.jump(4000).await;
    f.store().expire().await.unwrap();
    let outcomes = [
        Outcome::Completed(b"late".to_vec()),
        Outcome::Failed(Failure { kind: FaultKind::Internal, public: "late".to_owned() }),
        Outcome::Cancelled,
    ];
    for outcome in outcomes {
        let late = f.store().finish(lease, outcome).await;
        assert!(matches!(late, Err(StateError::Fenced)), "{late:?}");
    }
    assert_eq!(f.job(id).await.failure.unwrap().kind, FaultKind::Timeout);
    assert_eq!(f.store().content(id, Whose::Anyone, Content::Result).await.unwrap(), None);
}
