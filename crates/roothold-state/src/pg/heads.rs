//! Heads of audit chains.

use deadpool_postgres::Object;

use crate::error::StateError;
use crate::head::{ChainHead, HEADS_MAX};
use crate::limits::PAGE_MAX;
use crate::rows::{count, stored};
use crate::time::UnixMillis;

pub(super) async fn put(conn: &mut Object, head: &ChainHead) -> Result<(), StateError> {
    head.check()?;
    let tx = conn.transaction().await?;
    // The one statement that decides also when two replicas write at once.
    let put = tx
        .prepare_cached(
            "INSERT INTO chain_heads AS known (replica, chain, seq, hash, at) \
             VALUES ($1, $2, $3, $4, state_now()) ON CONFLICT (replica, chain) DO UPDATE \
             SET seq = excluded.seq, hash = excluded.hash, at = excluded.at \
             WHERE known.seq < excluded.seq",
        )
        .await?;
    let (replica, chain, seq) = (&head.replica, &head.chain, stored(head.seq));
    if tx.execute(&put, &[replica, chain, &seq, &head.hash]).await? == 0 {
        let known = tx
            .prepare_cached("SELECT seq, hash FROM chain_heads WHERE replica = $1 AND chain = $2")
            .await?;
        if let Some(row) = tx.query_opt(&known, &[replica, chain]).await? {
            head.is_news(Some((count(row.try_get(0)?), row.try_get(1)?)))?;
        }
    }
    let forget = tx
        .prepare_cached(
            "DELETE FROM chain_heads WHERE (replica, chain) IN (SELECT replica, chain \
             FROM chain_heads ORDER BY at DESC, replica, chain LIMIT 100 OFFSET $1)",
        )
        .await?;
    tx.execute(&forget, &[&HEADS_MAX]).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn list(
    conn: &mut Object,
    replica: Option<&str>,
) -> Result<Vec<ChainHead>, StateError> {
    let select = conn
        .prepare_cached(
            "SELECT replica, chain, seq, hash, at FROM chain_heads \
             WHERE $1::text IS NULL OR replica = $1 ORDER BY at DESC, replica, chain LIMIT $2",
        )
        .await?;
    let rows = conn.query(&select, &[&replica, &i64::from(PAGE_MAX)]).await?;
    let head = |row: &tokio_postgres::Row| {
        Ok(ChainHead {
            replica: row.try_get(0)?,
            chain: row.try_get(1)?,
            seq: count(row.try_get(2)?),
            hash: row.try_get(3)?,
            at: UnixMillis(row.try_get(4)?),
        })
    };
    rows.iter().map(head).collect()
}
