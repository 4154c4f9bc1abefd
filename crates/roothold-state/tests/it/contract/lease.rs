//! Leases, fencing and chunks.

use std::time::Duration;

use roothold_state::{
    Claim, Content, Directive, JobState, Lease, Limits, NewJob, Outcome, Progress, Release,
    StateError, StateStore, Whose,
};

use super::{Fixture, KINDS, LEASE, chunk, new_job};

fn is_fenced<T: std::fmt::Debug>(answer: Result<T, StateError>) {
    let error = answer.unwrap_err();
    assert!(matches!(error, StateError::Fenced), "{error:?}");
}

pub(crate) async fn a_claim_brings_what_is_needed_to_begin(f: &impl Fixture) {
    assert!(f.claim("one").await.is_none());
    let id = f.submit("ann").await;
    let claimed = f.claim("one").await.unwrap();
    assert_eq!(claimed.lease, Lease { job: id, epoch: 1 });
    assert_eq!((claimed.owner.as_str(), claimed.kind.as_str()), ("ann", "count"));
    assert_eq!((claimed.input.as_slice(), claimed.attempts), (&b"{\"of\":\"lines\"}"[..], 1));
    assert_eq!(claimed.attempts_max, 3);
    assert!(claimed.checkpoint.is_none());
    assert!(claimed.remaining <= Duration::from_hours(1));
    assert!(claimed.remaining > Duration::from_secs(3500));
    assert!(f.claim("two").await.is_none());
    let job = f.job(id).await;
    assert_eq!((job.state, job.worker.as_deref()), (JobState::Running, Some("one")));
    assert!(job.started_at.is_some());
}

pub(crate) async fn a_heartbeat_keeps_the_job(f: &impl Fixture) {
    f.submit("ann").await;
    let lease = f.take("one").await;
    for _ in 0..5 {
        f.jump(9).await;
        assert_eq!(f.store().heartbeat(lease, LEASE).await.unwrap(), Directive::Go);
        assert!(f.claim("two").await.is_none());
    }
    f.jump(9).await;
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    f.jump(9).await;
    assert!(f.claim("two").await.is_none(), "a commit keeps it too");
}

pub(crate) async fn a_late_holder_is_refused_everything(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let old = f.take("one").await;
    f.store().commit(old, chunk(0), LEASE).await.unwrap();
    f.jump(11).await;
    let new = f.take("two").await;
    assert_eq!(new.epoch, old.epoch + 1);
    is_fenced(f.store().heartbeat(old, LEASE).await);
    is_fenced(f.store().commit(old, chunk(1), LEASE).await);
    is_fenced(f.store().commit(old, chunk(0), LEASE).await);
    is_fenced(f.store().finish(old, Outcome::Completed(b"wrong".to_vec())).await);
    is_fenced(f.store().finish(old, Outcome::Cancelled).await);
    is_fenced(f.store().release(old, Release::Drained).await);
    let future = Lease { epoch: new.epoch + 1, ..new };
    is_fenced(f.store().commit(future, chunk(1), LEASE).await);
    f.store().commit(new, chunk(1), LEASE).await.unwrap();
    f.store().finish(new, Outcome::Completed(b"right".to_vec())).await.unwrap();
    is_fenced(f.store().finish(old, Outcome::Completed(b"wrong".to_vec())).await);
    let result = f.store().content(id, Whose::Anyone, Content::Result).await.unwrap();
    assert_eq!(result.unwrap(), b"right");
    assert_eq!(f.parts(id).await, [b"part 0".to_vec(), b"part 1".to_vec()]);
}

pub(crate) async fn a_job_goes_on_from_its_last_chunk(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    for at in 0..3 {
        f.store().commit(lease, chunk(at), LEASE).await.unwrap();
    }
    let job = f.job(id).await;
    assert_eq!((job.next, job.chunks, job.parts), (3, 3, 3));
    assert_eq!(job.progress, Progress { bytes_done: 3, bytes_total: Some(100), rows: 30 });
    assert_eq!(job.message.as_deref(), Some("Processed: chunk 2"));
    let partial = f.store().content(id, Whose::Of("ann"), Content::Partial).await.unwrap();
    assert_eq!(partial.unwrap(), b"so far 3");
    f.jump(11).await;
    let claimed = f.claim("two").await.unwrap();
    let at = claimed.checkpoint.unwrap();
    assert_eq!((at.next, at.state.as_slice()), (3, &b"folded to 3"[..]));
    assert_eq!(at.progress, job.progress);

    let few = f.store().parts(id, Whose::Of("ann"), 1, 1).await.unwrap();
    assert_eq!((few.len(), few[0].number), (1, 1));
    assert!(f.store().parts(id, Whose::Of("ann"), 3, 10).await.unwrap().is_empty());
}

pub(crate) async fn a_repeated_commit_counts_once(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    for at in 0..3 {
        for _ in 0..3 {
            f.store().commit(lease, chunk(at), LEASE).await.unwrap();
        }
    }
    let job = f.job(id).await;
    assert_eq!((job.next, job.chunks, job.parts, f.parts(id).await.len()), (3, 3, 3, 3));
}

pub(crate) async fn a_chunk_that_does_not_follow_is_refused(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    let gap = f.store().commit(lease, chunk(1), LEASE).await;
    assert!(matches!(gap, Err(StateError::Gap { from: 1, stands: 0 })), "{gap:?}");
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    f.store().commit(lease, chunk(1), LEASE).await.unwrap();
    let again = f.store().commit(lease, chunk(0), LEASE).await;
    assert!(matches!(again, Err(StateError::Gap { from: 0, stands: 2 })), "{again:?}");
    assert_eq!(f.parts(id).await.len(), 2);
}

pub(crate) async fn the_holder_may_be_late_if_nobody_came(f: &impl Fixture) {
    f.submit("ann").await;
    let lease = f.take("one").await;
    f.jump(60).await;
    assert_eq!(f.store().heartbeat(lease, LEASE).await.unwrap(), Directive::Go);
    f.jump(60).await;
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    assert!(f.claim("two").await.is_none());
}

pub(crate) async fn a_clock_that_was_set_back_keeps_no_lease(f: &impl Fixture) {
    f.submit("ann").await;
    f.take("one").await;
    f.jump(-3600).await;
    let lease = f.take("two").await;
    assert_eq!(lease.epoch, 2);
    assert!(f.claim("three").await.is_none());
    f.jump(11).await;
    assert_eq!(f.take("three").await.epoch, 3);
}

pub(crate) async fn work_of_unknown_kind_waits(f: &impl Fixture) {
    f.store().submit(NewJob { kind: "newer".to_owned(), ..new_job("ann") }).await.unwrap();
    assert!(f.claim("old").await.is_none());
    let behind = f.submit("ann").await;
    assert_eq!(f.take("old").await.job, behind, "what comes after it is not held up");
    let claim = Claim { worker: "new", kinds: &["other", "newer", "'"], lease: LEASE };
    assert!(f.store().claim(claim).await.unwrap().is_some());
    let claim = Claim { worker: "new", kinds: KINDS, lease: LEASE };
    assert!(f.store().claim(claim).await.unwrap().is_none());
}

pub(crate) async fn a_given_back_job_is_claimable_and_no_attempt(f: &impl Fixture) {
    let id = f.submit("ann").await;
    for _ in 0..10 {
        let lease = f.take("one").await;
        for _ in 0..2 {
            f.store().release(lease, Release::Drained).await.unwrap();
        }
        is_fenced(f.store().commit(lease, chunk(0), LEASE).await);
        is_fenced(f.store().heartbeat(lease, LEASE).await);
    }
    let job = f.job(id).await;
    assert_eq!((job.state, job.attempts, job.epoch), (JobState::Queued, 0, 10));
}

pub(crate) async fn a_retry_waits_and_is_an_attempt(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    f.store().release(lease, Release::RetryAfter(Duration::from_secs(30))).await.unwrap();
    assert!(f.claim("one").await.is_none());
    f.jump(31).await;
    assert_eq!(f.claim("one").await.unwrap().attempts, 2);
    assert_eq!(f.job(id).await.attempts, 2);
}

pub(crate) async fn a_retry_waits_no_longer_when_the_clock_was_set_back(f: &impl Fixture) {
    f.submit("ann").await;
    let lease = f.take("one").await;
    f.store().release(lease, Release::RetryAfter(Duration::MAX)).await.unwrap();
    assert!(f.claim("one").await.is_none());
    f.jump(-3600).await;
    f.take("one").await;
}

pub(crate) async fn what_a_chunk_adds_is_limited_and_refused_as_a_whole<F: Fixture>() {
    let limits = Limits {
        checkpoint_bytes_max: 20,
        result_bytes_max: 20,
        part_bytes_max: 10,
        parts_bytes_max: 15,
        ..Limits::default()
    };
    let f = F::start_with(limits).await;
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    let too_large = |answer: Result<Directive, StateError>, of: &str| {
        let error = answer.unwrap_err();
        assert!(matches!(error, StateError::TooLarge { what, .. } if what == of), "{error}");
    };
    let mut commit = chunk(0);
    commit.part = Some(vec![1; 11]);
    too_large(f.store().commit(lease, commit.clone(), LEASE).await, "a part of the result");
    commit.part = Some(vec![1; 10]);
    commit.state = vec![1; 21];
    too_large(f.store().commit(lease, commit.clone(), LEASE).await, "the checkpoint");
    commit.state = vec![1; 20];
    commit.partial = Some(vec![1; 21]);
    too_large(f.store().commit(lease, commit.clone(), LEASE).await, "the partial result");
    commit.partial = Some(vec![1; 20]);
    f.store().commit(lease, commit.clone(), LEASE).await.unwrap();
    (commit.from, commit.next, commit.state) = (1, 2, b"second".to_vec());
    too_large(f.store().commit(lease, commit.clone(), LEASE).await, "the result in parts");
    let job = f.job(id).await;
    assert_eq!((job.next, job.chunks, job.parts), (1, 1, 1));
    let kept = f.store().content(id, Whose::Anyone, Content::Checkpoint).await.unwrap().unwrap();
    assert_eq!(kept, vec![1; 20]);
    commit.part = Some(vec![1; 5]);
    f.store().commit(lease, commit, LEASE).await.unwrap();
}
