//! Transactions: whether one happened, and which ones go on for long.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::{ToSql, Type};

use super::Catalog;
use crate::postgres::error::Error;

/// What the server knows of a transaction.
///
/// Source: PostgreSQL manual, "Transaction ID and Snapshot Information Functions",
/// `pg_xact_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XactStatus {
    /// It goes on.
    InProgress,
    /// It happened.
    Committed,
    /// It did not.
    Aborted,
    /// It is so long ago that the server has forgotten.
    TooOld,
    /// This server has never given out its number: its past is not the past that we know.
    Future,
}

/// A transaction that has been open for long, or is prepared and waits for its second phase.
///
/// The creation of a slot waits for each of them that has a transaction id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LongTransaction {
    /// Process id of its session; `None` for a prepared one, which has none.
    pub pid: Option<i32>,
    /// Identifier of a prepared one (`COMMIT PREPARED '…'`).
    pub prepared: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// `application_name` of its session.
    pub application_name: Option<String>,
    /// It has a transaction id, because it has written something.
    pub has_xid: bool,
    /// For how long it has been open or prepared, in seconds. Sessions of other roles show it only
    /// to members of `pg_read_all_stats`.
    pub age_seconds: i64,
}

const LONG: &str = "SELECT pid, NULL::text AS gid, datname::text AS database, application_name,
        backend_xid IS NOT NULL AS has_xid,
        extract(epoch FROM clock_timestamp() - xact_start)::int8 AS age_seconds
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
        AND xact_start <= clock_timestamp() - make_interval(secs => $1)
    UNION ALL
    SELECT NULL, gid, database::text, NULL, true,
        extract(epoch FROM clock_timestamp() - prepared)::int8
    FROM pg_prepared_xacts WHERE prepared <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY age_seconds DESC LIMIT 100";

impl Catalog {
    /// Asks what became of a transaction. `xid` is its full number, with the epoch.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn xact_status(&self, xid: u64) -> Result<XactStatus, Error> {
        let sql = "SELECT pg_xact_status(($1::text)::xid8) AS status";
        let xid = xid.to_string();
        match self.query("read a transaction's status", sql, &[(&xid, Type::TEXT)]).await {
            // invalid_parameter_value: the number is in the future.
            Err(error) if error.sqlstate() == Some("22023") => Ok(XactStatus::Future),
            Err(error) => Err(error),
            Ok(rows) => {
                let status = rows.first().map_or(Ok(None), |row| row.optional_text("status"))?;
                match status.as_deref() {
                    Some("committed") => Ok(XactStatus::Committed),
                    Some("aborted") => Ok(XactStatus::Aborted),
                    Some("in progress") => Ok(XactStatus::InProgress),
                    None => Ok(XactStatus::TooOld),
                    Some(other) => Err(Error::protocol(format!(
                        "a status {other:?} of a transaction that is not known"
                    ))),
                }
            }
        }
    }

    /// Whether all of these transactions ended before everything that a slot has yet to decode. They
    /// are named as catalog rows have them in `xmin`.
    ///
    /// A slot's `catalog_xmin` is taken from a record of the running transactions that lies before
    /// its confirmed position: whatever is older had ended there (`LogicalIncreaseXminForSlot` in
    /// src/backend/replication/logical/logical.c). It may be later than it could be, since a new slot
    /// begins with that of the other slots, so `false` proves nothing.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn ended_before_slot(&self, xids: &[String], slot: &str) -> Result<bool, Error> {
        let sql = "SELECT catalog_xmin::text FROM pg_replication_slots WHERE slot_name = $1";
        let rows = self.query("read the slot's xmin", sql, &[(&slot, Type::NAME)]).await?;
        let xmin = rows.first().map_or(Ok(None), |row| row.optional_text("catalog_xmin"))?;
        match xmin {
            Some(xmin) => self.precede(xids, &xmin).await,
            None => Ok(false),
        }
    }

    /// Whether all of these transactions have lower numbers than another one.
    ///
    /// `xmin` stays as it is when a row is frozen, so that of a row of two thousand million
    /// transactions ago seems to lie in the future.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn precede(&self, xids: &[String], than: &str) -> Result<bool, Error> {
        let sql = "SELECT coalesce(bool_and(
                age(x::xid) > age(($2::text)::xid) OR age(x::xid) < 0), false) AS precede
            FROM unnest($1::text[]) AS x";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&xids, Type::TEXT_ARRAY), (&than, Type::TEXT)];
        let rows = self.query("compare transactions", sql, &parameters).await?;
        rows.first().map_or(Ok(false), |row| row.get("precede"))
    }

    /// The number that the next transaction will get, with the epoch.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn next_xid(&self) -> Result<u64, Error> {
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next";
        let rows = self.query("read the next transaction's number", sql, &[]).await?;
        let next = rows.first().map_or(Ok(None), |row| row.optional_text("next"))?;
        next.and_then(|next| next.parse().ok())
            .ok_or_else(|| Error::protocol("no number of the next transaction"))
    }

    /// Transactions that have been open or prepared for `longer_than` or more, the oldest first,
    /// at most 100.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn long_transactions(
        &self,
        longer_than: Duration,
    ) -> Result<Vec<LongTransaction>, Error> {
        let seconds = longer_than.as_secs_f64();
        let rows = self.query("read open transactions", LONG, &[(&seconds, Type::FLOAT8)]).await?;
        rows.iter()
            .map(|row| {
                Ok(LongTransaction {
                    pid: row.get("pid")?,
                    prepared: row.get("gid")?,
                    database: row.get("database")?,
                    application_name: row.get("application_name")?,
                    has_xid: row.get("has_xid")?,
                    age_seconds: row.get("age_seconds")?,
                })
            })
            .collect()
    }
}
