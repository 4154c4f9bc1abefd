//! The PostgreSQL store: the contract against a real server, and what only a server has: outages,
//! several replicas, roles, TLS.

mod outage;
mod refusals;
mod storm;
mod tls;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use roothold_state::{Limits, PgOptions, PgStore};
use roothold_testing::Postgres;

use crate::contract::{Fixture, state_contract};

/// A schema of its own in the server that all share.
pub(crate) struct Pg {
    pub(crate) store: PgStore,
    pub(crate) options: PgOptions,
    server: &'static Postgres,
    pub(crate) skew: AtomicI64,
}

/// Lets the time of a store jump, which it asks of the server in one place: there it is set off.
pub(crate) async fn jump(server: &Postgres, schema: &str, skew: &AtomicI64, seconds: i64) {
    let skew = skew.fetch_add(seconds * 1000, Ordering::Relaxed) + seconds * 1000;
    let sql = format!(
        "CREATE OR REPLACE FUNCTION {schema}.state_now() RETURNS bigint LANGUAGE sql VOLATILE AS \
         $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {skew} $$"
    );
    server.say("postgres", &sql).await;
}

/// Options for a new schema.
pub(crate) fn options(server: &Postgres) -> PgOptions {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let schema = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
    PgOptions { url: server.socket("postgres"), schema, connections_max: 3, ..PgOptions::default() }
}

impl Fixture for Pg {
    type Store = PgStore;

    async fn start_with(limits: Limits) -> Self {
        let server = Postgres::shared();
        let options = options(server);
        let store = PgStore::connect(&options, limits).await.unwrap();
        Self { store, options, server, skew: AtomicI64::new(0) }
    }

    fn store(&self) -> &PgStore {
        &self.store
    }

    async fn jump(&self, seconds: i64) {
        jump(self.server, &self.options.schema, &self.skew, seconds).await;
    }
}

mod contract {
    super::state_contract!(super::Pg);
}
