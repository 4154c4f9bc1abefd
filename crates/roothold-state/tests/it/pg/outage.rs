//! The server crashes, and comes back; replicas at once.

use std::collections::BTreeSet;
use std::time::Duration;

use roothold_state::{
    Claim, Content, JobState, Limits, Outcome, PgStore, StateError, StateStore, What, Whose,
};
use roothold_testing::Postgres;

use super::options;
use crate::contract::{KINDS, LEASE, chunk, new_job};

/// Long enough for a busy machine; what is waited for comes much sooner.
const PATIENCE: Duration = Duration::from_mins(1);

fn claim(worker: &str) -> Claim<'_> {
    Claim { worker, kinds: KINDS, lease: LEASE }
}

/// Asks until there is an answer that is no outage.
async fn insist<R>(ask: impl AsyncFn() -> Result<R, StateError>) -> R {
    let asked = async {
        loop {
            match ask().await {
                Err(error) if error.is_outage() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => return answer.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the store comes back")
}

#[tokio::test]
async fn an_outage_passes() {
    let server = Postgres::start();
    let store = PgStore::connect(&options(&server), Limits::default()).await.unwrap();
    let mut changes = store.changes();
    let job = new_job("ann");
    store.submit(job.clone()).await.unwrap();
    let lease = store.claim(claim("one")).await.unwrap().unwrap().lease;
    store.commit(lease, chunk(0), LEASE).await.unwrap();

    server.crash();
    for _ in 0..5 {
        let error = store.commit(lease, chunk(1), LEASE).await.unwrap_err();
        assert!(error.is_outage(), "{error:?}");
        assert!(store.check().await.unwrap_err().is_outage());
    }
    let error = PgStore::connect(&options(&server), Limits::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("the state store cannot be opened"), "{error}");

    server.restart();
    insist(|| store.commit(lease, chunk(1), LEASE)).await;
    insist(|| store.commit(lease, chunk(1), LEASE)).await;
    store.finish(lease, Outcome::Completed(b"42".to_vec())).await.unwrap();
    let found = store.get(job.id, Whose::Of("ann")).await.unwrap();
    assert_eq!((found.state, found.chunks, found.parts), (JobState::Completed, 2, 2));

    // The wake-ups come again, and say that some were missed.
    let heard = async {
        loop {
            if changes.next().await.unwrap().what == What::Unknown {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the wake-ups come back");
    let second = new_job("bob");
    store.submit(second.clone()).await.unwrap();
    let heard = async {
        loop {
            let change = changes.next().await.unwrap();
            if change.job == Some(second.id) && change.what == What::Queued {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the wake-up of the new job");
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced() {
    let server = Postgres::shared();
    // Under a name of its own: others use the same server.
    let mut options = options(server);
    options.url.push_str(" application_name=cut_off");
    let store = PgStore::connect(&options, Limits::default()).await.unwrap();
    for _ in 0..3 {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE application_name = 'cut_off'";
        store.check().await.unwrap();
        server.say("postgres", kill).await;
        insist(|| store.check()).await;
    }
}

#[tokio::test]
async fn a_server_that_is_set_to_lose_commits_is_overruled() {
    let server = Postgres::shared();
    let mut options = options(server);
    let role = format!("hasty_{}", options.schema);
    let make = format!(
        "CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET synchronous_commit TO off"
    );
    server.say("postgres", &make).await;
    options.url = options.url.replace("user=postgres", &format!("user={role}"));
    let store = PgStore::connect(&options, Limits::default()).await.unwrap();
    // The store's own sessions look at their setting whenever they ask for the time.
    let look = format!(
        "CREATE OR REPLACE FUNCTION {}.state_now() RETURNS bigint LANGUAGE plpgsql VOLATILE AS \
         $$ BEGIN ASSERT current_setting('synchronous_commit') = 'on'; RETURN 1700000000000; END $$",
        options.schema
    );
    server.say("postgres", &look).await;
    store.submit(new_job("ann")).await.unwrap();
    assert!(store.claim(claim("one")).await.unwrap().is_some());
}

#[tokio::test]
async fn replicas_that_start_at_once_share_one_store() {
    let server = Postgres::shared();
    let options = options(server);
    let start = || PgStore::connect(&options, Limits::default());
    let (a, b, c, d) = tokio::join!(start(), start(), start(), start());
    let stores: Vec<PgStore> = [a, b, c, d].map(Result::unwrap).into();
    let mut submitted = BTreeSet::new();
    for at in 0..40 {
        let job = new_job(&format!("owner {}", at % 10));
        submitted.insert(job.id);
        stores[at % 4].submit(job).await.unwrap();
    }
    let work = async |store: &PgStore| {
        let mut done = Vec::new();
        while let Some(claimed) = store.claim(claim("w")).await.unwrap() {
            assert_eq!(claimed.lease.epoch, 1, "claimed by one replica alone");
            store.commit(claimed.lease, chunk(0), LEASE).await.unwrap();
            store.finish(claimed.lease, Outcome::Completed(Vec::new())).await.unwrap();
            done.push(claimed.lease.job);
        }
        done
    };
    let done = tokio::join!(work(&stores[0]), work(&stores[1]), work(&stores[2]), work(&stores[3]));
    let done = [done.0, done.1, done.2, done.3].concat();
    assert_eq!(done.len(), 40);
    assert_eq!(done.into_iter().collect::<BTreeSet<_>>(), submitted);
}

#[tokio::test]
async fn quotas_hold_over_replicas() {
    let server = Postgres::shared();
    let options = options(server);
    let limits = Limits { live_per_owner_max: 5, running_per_owner_max: 2, ..Limits::default() };
    let start = || PgStore::connect(&options, limits.clone());
    let (a, b) = tokio::join!(start(), start());
    let stores = [a.unwrap(), b.unwrap()];
    let submit = async |store: &PgStore| {
        let mut taken = 0;
        for _ in 0..6 {
            match store.submit(new_job("ann")).await {
                Ok(()) => taken += 1,
                Err(StateError::Quota { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        taken
    };
    let taken = tokio::join!(submit(&stores[0]), submit(&stores[1]), submit(&stores[0]));
    assert_eq!(taken.0 + taken.1 + taken.2, 5);
    let take = async |store: &PgStore| {
        let mut taken = 0;
        while store.claim(claim("w")).await.unwrap().is_some() {
            taken += 1;
        }
        taken
    };
    let taken = tokio::join!(take(&stores[0]), take(&stores[1]), take(&stores[1]));
    assert_eq!(taken.0 + taken.1 + taken.2, 2);
}

#[tokio::test]
async fn an_operation_that_is_dropped_halfway_leaves_no_trace() {
    let server = Postgres::shared();
    let store = PgStore::connect(&options(server), Limits::default()).await.unwrap();
    store.submit(new_job("ann")).await.unwrap();
    let lease = store.claim(claim("one")).await.unwrap().unwrap().lease;
    for at in 0..40 {
        let mut commit = chunk(0);
        commit.state = vec![7; 100_000];
        let after = Duration::from_micros(100 * at);
        let _ = tokio::time::timeout(after, store.commit(lease, commit, LEASE)).await;
        let job = store.get(lease.job, Whose::Anyone).await.unwrap();
        let parts = store.parts(lease.job, Whose::Anyone, 0, 10).await.unwrap();
        let state = store.content(lease.job, Whose::Anyone, Content::Checkpoint).await.unwrap();
        let whole = (job.chunks, job.next, parts.len(), state.is_some());
        assert!(whole == (0, 0, 0, false) || whole == (1, 1, 1, true), "{whole:?}");
    }
    store.commit(lease, chunk(0), LEASE).await.unwrap();
    assert_eq!(store.get(lease.job, Whose::Anyone).await.unwrap().chunks, 1);
}

#[tokio::test]
async fn a_row_that_somebody_locks_holds_nobody_else_up() {
    let server = Postgres::shared();
    let options = options(server);
    let store = PgStore::connect(&options, Limits::default()).await.unwrap();
    for owner in ["ann", "bob"] {
        store.submit(new_job(owner)).await.unwrap();
    }
    // A replica that was stopped in the middle of a transaction.
    let (client, connection) =
        tokio_postgres::connect(&server.socket("postgres"), tokio_postgres::NoTls).await.unwrap();
    let driven = tokio::spawn(connection);
    let lock = format!(
        "SET search_path TO {}; BEGIN; SELECT FROM owners WHERE owner = 'ann' FOR UPDATE",
        options.schema
    );
    client.batch_execute(&lock).await.unwrap();
    let claimed = store.claim(claim("one")).await.unwrap().unwrap();
    assert_eq!(claimed.owner, "bob");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(store.claim(claim("one")).await.unwrap().unwrap().owner, "ann");
    drop(client);
    driven.await.unwrap().unwrap();
}
