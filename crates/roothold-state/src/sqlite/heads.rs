//! Heads of audit chains.

use rusqlite::{OptionalExtension as _, params};

use super::db::Db;
use crate::error::StateError;
use crate::head::{ChainHead, HEADS_MAX};
use crate::limits::PAGE_MAX;
use crate::rows::{count, stored};
use crate::time::UnixMillis;

impl Db {
    pub(super) fn put_chain_head(&mut self, head: &ChainHead) -> Result<(), StateError> {
        head.check()?;
        let now = self.now();
        self.write(|tx| {
            let mut known = tx.prepare_cached(
                "SELECT seq, hash FROM chain_heads WHERE replica = ?1 AND chain = ?2",
            )?;
            let known: Option<(i64, String)> = known
                .query_row([&head.replica, &head.chain], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if !head.is_news(known.as_ref().map(|(seq, hash)| (count(*seq), hash.as_str())))? {
                return Ok(());
            }
            let mut put = tx.prepare_cached(
                "INSERT INTO chain_heads (replica, chain, seq, hash, at) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (replica, chain) \
                 DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at",
            )?;
            put.execute(params![head.replica, head.chain, stored(head.seq), head.hash, now])?;
            tx.execute(
                "DELETE FROM chain_heads WHERE rowid IN \
                 (SELECT rowid FROM chain_heads ORDER BY at DESC, rowid DESC LIMIT 100 OFFSET ?1)",
                [HEADS_MAX],
            )?;
            Ok(())
        })
    }

    pub(super) fn chain_heads(&self, replica: Option<&str>) -> Result<Vec<ChainHead>, StateError> {
        let mut select = self.read().prepare_cached(
            "SELECT replica, chain, seq, hash, at FROM chain_heads \
             WHERE replica = coalesce(?1, replica) ORDER BY at DESC, replica, chain LIMIT ?2",
        )?;
        let rows = select.query_map(params![replica, PAGE_MAX], |row| {
            Ok(ChainHead {
                replica: row.get(0)?,
                chain: row.get(1)?,
                seq: count(row.get(2)?),
                hash: row.get(3)?,
                at: UnixMillis(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
    }
}
