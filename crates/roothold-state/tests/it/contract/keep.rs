//! What is kept, for how long, and who is told.

use std::time::Duration;

use roothold_state::{
    ChainHead, Change, Counts, Expired, Limits, Outcome, Release, StateError, StateStore,
    UnixMillis, What, Whose,
};

use super::{Fixture, LEASE, chunk, new_job};

pub(crate) async fn jobs_are_kept_as_long_as_said(f: &impl Fixture) {
    let (ended, live) = (f.submit("ann").await, f.submit("bob").await);
    let lease = f.take("one").await;
    assert_eq!(lease.job, ended);
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    f.store().finish(lease, Outcome::Completed(b"42".to_vec())).await.unwrap();
    f.jump(599).await;
    assert_eq!(f.store().expire().await.unwrap(), Expired::default());
    assert_eq!(f.parts(ended).await.len(), 1);
    f.jump(2).await;
    assert_eq!(f.store().expire().await.unwrap(), Expired { ended: 0, deleted: 1 });
    let gone = f.store().get(ended, Whose::Of("ann")).await;
    assert!(matches!(gone, Err(StateError::NotFound(_))), "{gone:?}");
    f.job(live).await;
    // Its owner's place in the order went with it, and comes back with the next job.
    f.submit("ann").await;
    f.take("one").await;
}

pub(crate) async fn the_oldest_of_too_many_are_forgotten<F: Fixture>() {
    let f = F::start_with(Limits { kept_per_owner_max: 3, ..Limits::default() }).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(f.submit("ann").await);
        let lease = f.take("one").await;
        f.store().finish(lease, Outcome::Cancelled).await.unwrap();
    }
    let kept = f.store().list(Whose::Of("ann"), None, 10).await.unwrap().jobs;
    assert_eq!(kept.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[7], ids[6], ids[5]]);
}

pub(crate) async fn wake_ups_say_what_happened(f: &impl Fixture) {
    let mut changes = f.store().changes();
    let mut next = async || loop {
        let change = tokio::time::timeout(Duration::from_secs(30), changes.next()).await;
        let change: Change = change.expect("a wake-up").expect("an open store");
        if change.what != What::Unknown {
            return (change.job.unwrap(), change.what);
        }
    };
    let id = f.submit("ann").await;
    assert_eq!(next().await, (id, What::Queued));
    let lease = f.take("one").await;
    assert_eq!(next().await, (id, What::Progress));
    f.store().commit(lease, chunk(0), LEASE).await.unwrap();
    assert_eq!(next().await, (id, What::Progress));
    f.store().release(lease, Release::Drained).await.unwrap();
    assert_eq!(next().await, (id, What::Queued));
    let lease = f.take("one").await;
    assert_eq!(next().await, (id, What::Progress));
    f.store().cancel(id, Whose::Of("ann")).await.unwrap();
    assert_eq!(next().await, (id, What::CancelAsked));
    f.store().finish(lease, Outcome::Cancelled).await.unwrap();
    assert_eq!(next().await, (id, What::Ended));
    let late = f.submit("ann").await;
    assert_eq!(next().await, (late, What::Queued));
    f.jump(4000).await;
    f.store().expire().await.unwrap();
    assert_eq!(next().await, (late, What::Ended));
}

pub(crate) async fn heads_of_chains_only_move_on(f: &impl Fixture) {
    let head = |replica: &str, chain: &str, seq, digit: &str| ChainHead {
        replica: replica.to_owned(),
        chain: chain.to_owned(),
        seq,
        hash: digit.repeat(64),
        at: UnixMillis(0),
    };
    let put = async |head| f.store().put_chain_head(head).await;
    put(head("one", "boot 1", 5, "a")).await.unwrap();
    put(head("one", "boot 1", 5, "a")).await.unwrap();
    put(head("one", "boot 1", 3, "b")).await.unwrap();
    let forked = put(head("one", "boot 1", 5, "b")).await.unwrap_err();
    assert!(forked.to_string().contains("another hash is stored"), "{forked}");
    put(head("one", "boot 1", 9, "c")).await.unwrap();
    f.jump(1).await;
    put(head("one", "boot 2", 1, "d")).await.unwrap();
    f.jump(1).await;
    put(head("two", "boot 1", 1, "e")).await.unwrap();
    let heads = f.store().chain_heads(None).await.unwrap();
    let short: Vec<_> = heads
        .iter()
        .map(|head| (head.replica.as_str(), head.chain.as_str(), head.seq, &head.hash[..1]))
        .collect();
    let newest_first =
        [("two", "boot 1", 1, "e"), ("one", "boot 2", 1, "d"), ("one", "boot 1", 9, "c")];
    assert_eq!(short, newest_first);
    assert!(heads.iter().all(|head| head.at.0 > 1_600_000_000_000), "the store's time");
    assert_eq!(f.store().chain_heads(Some("one")).await.unwrap().len(), 2);
    assert_eq!(f.store().chain_heads(Some("none")).await.unwrap().len(), 0);
    for wrong in [
        head("", "c", 1, "a"),
        head("r", "", 1, "a"),
        head("r", "c", 1, "x"),
        head("r", "c", 1, "aa"),
    ] {
        assert!(matches!(put(wrong).await, Err(StateError::Invalid(_))));
    }
}

pub(crate) async fn jobs_are_counted(f: &impl Fixture) {
    assert_eq!(f.store().counts().await.unwrap(), Counts::default());
    for owner in ["ann", "bob", "cid", "dan"] {
        f.submit(owner).await;
    }
    f.take("one").await;
    let lease = f.take("one").await;
    f.store().finish(lease, Outcome::Cancelled).await.unwrap();
    f.jump(11).await;
    f.take("two").await;
    let counts = f.store().counts().await.unwrap();
    assert_eq!(counts, Counts { queued: 1, running: 1, stalled: 1, ended: 1 });
    f.store().check().await.unwrap();
}

pub(crate) async fn a_closed_store_says_so(f: &impl Fixture) {
    f.submit("ann").await;
    f.store().close().await;
    f.store().close().await;
    let closed = |error: StateError| assert!(matches!(error, StateError::Closed), "{error}");
    closed(f.store().submit(new_job("ann")).await.unwrap_err());
    closed(f.store().check().await.unwrap_err());
    closed(f.store().list(Whose::Anyone, None, 1).await.unwrap_err());
}
