//! Whose turn it is.

use std::collections::BTreeSet;

use roothold_state::{Claim, Limits, Outcome, StateStore};

use super::{Fixture, KINDS, LEASE};

async fn owner_of_next(f: &impl Fixture) -> (String, roothold_state::Lease) {
    let claimed = f.claim("one").await.expect("a job to claim");
    (claimed.owner, claimed.lease)
}

pub(crate) async fn owners_take_turns(f: &impl Fixture) {
    for _ in 0..4 {
        f.submit("ann").await;
    }
    f.submit("bob").await;
    f.submit("bob").await;
    f.submit("cid").await;
    // One worker, one at a time: nobody waits for all of ann's.
    let mut order = String::new();
    for _ in 0..7 {
        let (owner, lease) = owner_of_next(f).await;
        order.push_str(&owner[..1]);
        f.store().finish(lease, Outcome::Completed(Vec::new())).await.unwrap();
    }
    assert_eq!(order, "abcabaa");
}

pub(crate) async fn who_has_fewest_running_comes_first(f: &impl Fixture) {
    for owner in ["ann", "ann", "ann", "ann", "bob", "bob"] {
        f.submit(owner).await;
    }
    let (first, held) = owner_of_next(f).await;
    let (second, other) = owner_of_next(f).await;
    assert_eq!((first.as_str(), second.as_str()), ("ann", "bob"));
    f.store().finish(held, Outcome::Cancelled).await.unwrap();
    assert_eq!(owner_of_next(f).await.0, "ann", "she has none running, bob has one");
    f.store().finish(other, Outcome::Cancelled).await.unwrap();
    assert_eq!(owner_of_next(f).await.0, "bob");
    let ids: Vec<_> = f.store().list(roothold_state::Whose::Of("ann"), None, 9).await.unwrap().jobs;
    assert!(ids[3].epoch == 1 && ids[2].epoch == 1 && ids[1].epoch == 0, "the oldest first");
}

pub(crate) async fn one_owner_runs_so_many_at_once<F: Fixture>() {
    let f = F::start_with(Limits { running_per_owner_max: 2, ..Limits::default() }).await;
    for _ in 0..4 {
        f.submit("ann").await;
    }
    let first = f.take("one").await;
    f.take("one").await;
    assert!(f.claim("one").await.is_none());
    f.submit("bob").await;
    assert_eq!(owner_of_next(&f).await.0, "bob");
    f.store().finish(first, Outcome::Cancelled).await.unwrap();
    assert_eq!(owner_of_next(&f).await.0, "ann");
    assert!(f.claim("one").await.is_none());
    f.jump(11).await;
    // Leases that are over hold no place.
    let mut owners = Vec::new();
    while let Some(claimed) = f.claim("two").await {
        owners.push(claimed.owner);
    }
    assert_eq!(owners, ["bob", "ann", "ann"]);
}

pub(crate) async fn no_job_is_claimed_twice(f: &impl Fixture) {
    let mut submitted = BTreeSet::new();
    for owner in 0..8 {
        for _ in 0..4 {
            submitted.insert(f.submit(&format!("owner {owner}")).await);
        }
    }
    let worker = async |name: String| {
        let mut mine = Vec::new();
        let claim = Claim { worker: &name, kinds: KINDS, lease: LEASE };
        while let Some(claimed) = f.store().claim(claim).await.unwrap() {
            assert_eq!(claimed.lease.epoch, 1);
            mine.push(claimed.lease.job);
            tokio::task::yield_now().await;
        }
        mine
    };
    let named = |at: i32| worker(format!("worker {at}"));
    let claimed = tokio::join!(named(0), named(1), named(2), named(3));
    let claimed = [claimed.0, claimed.1, claimed.2, claimed.3].concat();
    assert_eq!(claimed.len(), submitted.len());
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), submitted);
}
