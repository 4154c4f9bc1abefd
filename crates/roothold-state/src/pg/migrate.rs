//! Bringing the schema up to date, before the pool is made.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::PgOptions;
use super::connect::Way;
use super::error::said;
use crate::error::OpenError;
use crate::migrations::{self, PG};

/// The key of the lock that starting replicas wait for, one after the other.
const LOCK: i64 = 0x524f_4f54_484f_4c44;

/// What becomes of a schema that is missing, or older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// It is made and brought up to date.
    Made,
    /// It stays, and is refused.
    AsItIs,
}

/// Brings the schema up to date, or refuses one that is not.
pub(super) async fn migrate(
    way: &Way,
    options: &PgOptions,
    schema: Schema,
) -> Result<(), OpenError> {
    let started = tokio::time::timeout(options.timeout, way.config.connect(way.tls.clone()));
    let (client, connection) = started
        .await
        .map_err(|_| OpenError::Unreachable("no answer in time".to_owned()))?
        .map_err(unreachable)?;
    let steps = async move {
        let mut client = client;
        client.batch_execute(&way.greeting).await.map_err(unreachable)?;
        match schema {
            Schema::Made => {
                make_schema(&client, options).await?;
                migrated(&mut client).await
            }
            Schema::AsItIs => {
                let applied = existing(&client).await?.ok_or(OpenError::Absent)?;
                migrations::complete(PG, &applied)
            }
        }
    };
    tokio::select! {
        done = steps => done,
        // It ends with the client at the earliest; before that it failed.
        ended = connection => Err(ended.err().map_or_else(
            || OpenError::Unreachable("the connection was closed".to_owned()),
            unreachable,
        )),
    }
}

// By value: it is what `map_err` gives.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn unreachable(error: tokio_postgres::Error) -> OpenError {
    OpenError::Unreachable(said(&error))
}

/// Makes the schema if it is not there.
async fn make_schema(client: &Client, options: &PgOptions) -> Result<(), OpenError> {
    let there = client
        .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[&options.schema])
        .await
        .map_err(unreachable)?;
    if there.is_some() {
        return Ok(());
    }
    let make = format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", options.schema);
    match client.batch_execute(&make).await {
        Ok(()) => Ok(()),
        // Two that start at once may both have found it missing.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(OpenError::Options(format!(
                "the state store's role may not make the schema {0}; make it once as an \
                 administrator: CREATE SCHEMA {0} AUTHORIZATION <role>",
                options.schema
            )))
        }
        Err(error) => Err(unreachable(error)),
    }
}

async fn migrated(client: &mut Client) -> Result<(), OpenError> {
    let tx = client.transaction().await.map_err(unreachable)?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map_err(unreachable)?;
    let applied = applied(&tx).await?;
    for migration in migrations::pending(PG, &applied)? {
        let version = migration.version;
        let step = async {
            tx.batch_execute(migration.sql).await?;
            let note = "INSERT INTO migrations (version, hash, at) VALUES ($1, $2, state_now())";
            tx.execute(note, &[&version, &migration.hash()]).await
        };
        let failed = |error| OpenError::Migration { version, cause: said(&error) };
        step.await.map_err(failed)?;
    }
    tx.commit().await.map_err(unreachable)
}

type Applied = Vec<(i64, Vec<u8>)>;

/// What was done before; a schema without tables becomes ours.
async fn applied(tx: &Transaction<'_>) -> Result<Applied, OpenError> {
    if let Some(applied) = existing(tx).await? {
        return Ok(applied);
    }
    let table = "CREATE TABLE migrations (version bigint PRIMARY KEY, hash bytea NOT NULL, at bigint NOT NULL)";
    tx.batch_execute(table).await.map_err(unreachable)?;
    Ok(Applied::new())
}

/// What was done before, if the schema has tables, which are ours.
async fn existing(client: &(impl GenericClient + Sync)) -> Result<Option<Applied>, OpenError> {
    let tables = "SELECT count(*) FILTER (WHERE tablename = 'migrations'), count(*) \
                  FROM pg_tables WHERE schemaname = current_schema()";
    let row = client.query_one(tables, &[]).await.map_err(unreachable)?;
    match (row.get::<_, i64>(0), row.get::<_, i64>(1)) {
        (0, 0) => return Ok(None),
        (0, _) => {
            let what = "tables of another program are in its schema; name another in state.schema";
            return Err(OpenError::Foreign(what));
        }
        _ => {}
    }
    let select = "SELECT version, hash FROM migrations ORDER BY version";
    let rows = client.query(select, &[]).await.map_err(unreachable)?;
    let row = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
    rows.iter().map(row).collect::<Result<_, _>>().map(Some).map_err(unreachable)
}
