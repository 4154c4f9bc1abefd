//! What owners see and may do.

use std::time::Duration;

use roothold_state::{
    Content, Directive, JobId, JobState, Limits, NewJob, Outcome, StateError, StateStore, Whose,
};

use super::{Fixture, LEASE, chunk, new_job};

pub(crate) async fn a_job_exists_for_its_owner_alone(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let store = f.store();
    let job = store.get(id, Whose::Of("ann")).await.unwrap();
    assert_eq!((job.id, job.state, job.owner.as_str()), (id, JobState::Queued, "ann"));
    assert_eq!((job.epoch, job.chunks, job.ended_at), (0, 0, None));
    assert_eq!(job.about.as_deref(), Some("lines of a.txt"));
    assert_eq!(job.deadline_at.0 - job.submitted_at.0, 3_600_000);
    let input = store.content(id, Whose::Of("ann"), Content::Input).await.unwrap();
    assert_eq!(input.unwrap(), b"{\"of\":\"lines\"}");
    assert_eq!(store.content(id, Whose::Of("ann"), Content::Result).await.unwrap(), None);

    let nobody = JobId::from_bytes([7; 16]);
    for (id, whose) in [(id, Whose::Of("bob")), (nobody, Whose::Of("bob"))] {
        let missing = |error: StateError| assert!(matches!(error, StateError::NotFound(_)));
        missing(store.get(id, whose).await.unwrap_err());
        missing(store.cancel(id, whose).await.unwrap_err());
        missing(store.content(id, whose, Content::Input).await.unwrap_err());
        missing(store.parts(id, whose, 0, 10).await.unwrap_err());
    }
    assert_eq!(f.job(id).await.state, JobState::Queued, "bob's cancel did nothing");
    assert!(store.list(Whose::Of("bob"), None, 10).await.unwrap().jobs.is_empty());
    assert!(!f.job(id).await.cancel_asked);
}

pub(crate) async fn a_repeated_submission_is_one_job(f: &impl Fixture) {
    let job = new_job("ann");
    for _ in 0..3 {
        f.store().submit(job.clone()).await.unwrap();
    }
    assert_eq!(f.store().list(Whose::Anyone, None, 10).await.unwrap().jobs.len(), 1);
    let theirs = NewJob { owner: "bob".to_owned(), ..job.clone() };
    assert!(matches!(f.store().submit(theirs).await, Err(StateError::Invalid(_))));
    assert_eq!(f.job(job.id).await.owner, "ann");
}

pub(crate) async fn lists_are_pages_newest_first(f: &impl Fixture) {
    let mut ids = Vec::new();
    for turn in 0..7 {
        ids.push(f.submit(if turn % 3 == 2 { "bob" } else { "ann" }).await);
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = f.store().list(Whose::Of("ann"), before, 2).await.unwrap();
        assert!(page.jobs.len() <= 2);
        seen.extend(page.jobs.iter().map(|job| job.id));
        // What comes meanwhile does not shift the pages.
        f.submit("ann").await;
        let Some(next) = page.before else { break };
        before = Some(next);
    }
    assert_eq!(seen, [ids[6], ids[4], ids[3], ids[1], ids[0]]);
    assert_eq!(f.store().list(Whose::Anyone, None, 1000).await.unwrap().jobs.len(), 10);
}

pub(crate) async fn what_nobody_holds_is_cancelled_at_once(f: &impl Fixture) {
    let queued = f.submit("ann").await;
    let job = f.store().cancel(queued, Whose::Of("ann")).await.unwrap();
    assert_eq!(job.state, JobState::Cancelled);
    assert!(job.ended_at.is_some() && job.expires_at.is_some());
    assert!(f.claim("one").await.is_none());

    let stalled = f.submit("ann").await;
    let lease = f.take("one").await;
    f.jump(11).await;
    let job = f.store().cancel(stalled, Whose::Of("ann")).await.unwrap();
    assert_eq!(job.state, JobState::Cancelled);
    let late = f.store().commit(lease, chunk(0), LEASE).await;
    assert!(matches!(late, Err(StateError::Fenced)));
}

pub(crate) async fn the_holder_of_a_cancelled_job_is_told(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    for _ in 0..2 {
        let job = f.store().cancel(id, Whose::Of("ann")).await.unwrap();
        assert_eq!((job.state, job.cancel_asked), (JobState::Running, true));
    }
    assert_eq!(f.store().heartbeat(lease, LEASE).await.unwrap(), Directive::Cancel);
    assert_eq!(f.store().commit(lease, chunk(0), LEASE).await.unwrap(), Directive::Cancel);
    f.store().finish(lease, Outcome::Cancelled).await.unwrap();
    let job = f.job(id).await;
    assert_eq!((job.state, job.chunks), (JobState::Cancelled, 1));
    let partial = f.store().content(id, Whose::Of("ann"), Content::Partial).await.unwrap();
    assert_eq!(partial.unwrap(), b"so far 1", "what it had can still be read");

    // Its holder died instead: nobody claims it again.
    let id = f.submit("ann").await;
    f.take("one").await;
    f.store().cancel(id, Whose::Of("ann")).await.unwrap();
    f.jump(11).await;
    assert!(f.claim("two").await.is_none());
    assert_eq!(f.job(id).await.state, JobState::Cancelled);
}

pub(crate) async fn what_has_ended_is_not_cancelled(f: &impl Fixture) {
    let id = f.submit("ann").await;
    let lease = f.take("one").await;
    f.store().finish(lease, Outcome::Completed(b"42".to_vec())).await.unwrap();
    let job = f.store().cancel(id, Whose::Of("ann")).await.unwrap();
    assert_eq!((job.state, job.cancel_asked), (JobState::Completed, false));
}

pub(crate) async fn hostile_names_are_names(f: &impl Fixture) {
    let names = ["'; DROP TABLE jobs; --", "%", "_", "\"", "é\u{301}", "a\nb", "\u{202e}", "NULL"];
    for name in names {
        let id = f.submit(name).await;
        let jobs = f.store().list(Whose::Of(name), None, 10).await.unwrap().jobs;
        assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [id], "{name:?}");
    }
    assert_eq!(f.store().list(Whose::Anyone, None, 100).await.unwrap().jobs.len(), names.len());
    let nul = Whose::Of("a\0b");
    assert!(f.store().list(nul, None, 10).await.unwrap().jobs.is_empty());
    let missing = f.store().get(JobId::from_bytes([1; 16]), nul).await;
    assert!(matches!(missing, Err(StateError::NotFound(_))), "{missing:?}");
}

pub(crate) async fn arguments_out_of_bounds_are_refused(f: &impl Fixture) {
    let good = new_job("ann");
    let day = Duration::from_hours(24);
    let wrong = [
        NewJob { owner: String::new(), ..good.clone() },
        NewJob { owner: "a".repeat(257), ..good.clone() },
        NewJob { owner: "a\0b".to_owned(), ..good.clone() },
        NewJob { kind: String::new(), ..good.clone() },
        NewJob { attempts_max: 0, ..good.clone() },
        NewJob { attempts_max: 1001, ..good.clone() },
        NewJob { deadline: Duration::ZERO, ..good.clone() },
        NewJob { deadline: 367 * day, ..good.clone() },
        NewJob { retention: Duration::MAX, ..good.clone() },
        NewJob { about: Some("x".repeat(1025)), ..good.clone() },
        NewJob { about: Some("two\nlines".to_owned()), ..good.clone() },
    ];
    for job in wrong {
        let shown = format!("{job:?}");
        assert!(matches!(f.store().submit(job).await, Err(StateError::Invalid(_))), "{shown}");
    }
    f.store().submit(NewJob { about: None, ..good }).await.unwrap();
    let page = f.store().list(Whose::Of("ann"), None, 10).await.unwrap();
    assert_eq!(page.jobs[0].about, None);
    let lease = f.take("one").await;
    let invalid = |error: StateError| assert!(matches!(error, StateError::Invalid(_)), "{error}");
    for lease_time in [Duration::ZERO, Duration::from_secs(301), Duration::MAX] {
        invalid(f.store().heartbeat(lease, lease_time).await.unwrap_err());
        invalid(f.store().commit(lease, chunk(0), lease_time).await.unwrap_err());
        let claim = roothold_state::Claim { worker: "w", kinds: super::KINDS, lease: lease_time };
        invalid(f.store().claim(claim).await.unwrap_err());
    }
    let none = roothold_state::Claim { worker: "w", kinds: &[], lease: LEASE };
    invalid(f.store().claim(none).await.unwrap_err());
    let mut backwards = chunk(5);
    backwards.next = 5;
    invalid(f.store().commit(lease, backwards, LEASE).await.unwrap_err());
    let mut talkative = chunk(0);
    talkative.message = Some("x".repeat(1025));
    invalid(f.store().commit(lease, talkative, LEASE).await.unwrap_err());
}

pub(crate) async fn live_jobs_are_limited_per_owner_and_in_all<F: Fixture>() {
    let f = F::start_with(Limits { live_per_owner_max: 2, live_max: 3, ..Limits::default() }).await;
    let first = f.submit("ann").await;
    f.submit("ann").await;
    let error = f.store().submit(new_job("ann")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "your jobs that have not ended are limited to 2; wait for one, or cancel one"
    );
    f.submit("bob").await;
    let error = f.store().submit(new_job("eve")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the jobs of all that have not ended are limited to 3; try again later"
    );
    f.store().cancel(first, Whose::Of("ann")).await.unwrap();
    f.submit("ann").await;
}

pub(crate) async fn what_is_too_large_is_refused<F: Fixture>() {
    let limits = Limits { input_bytes_max: 10, result_bytes_max: 10, ..Limits::default() };
    let f = F::start_with(limits).await;
    let large = NewJob { input: vec![0; 11], ..new_job("ann") };
    let error = f.store().submit(large).await.unwrap_err();
    assert_eq!(error.to_string(), "the job's input has 11 bytes, more than the 10 that are kept");
    f.store().submit(NewJob { input: vec![0; 10], ..new_job("ann") }).await.unwrap();
    let lease = f.take("one").await;
    let error = f.store().finish(lease, Outcome::Completed(vec![0; 11])).await.unwrap_err();
    assert!(matches!(error, StateError::TooLarge { what: "the result", .. }), "{error}");
    assert_eq!(f.job(lease.job).await.state, JobState::Running);
    f.store().finish(lease, Outcome::Completed(vec![0; 10])).await.unwrap();
}
