//! A replication slot.

use serde::Serialize;
use tokio_postgres::types::Type;

use super::Catalog;
use crate::lsn::Lsn;
use crate::postgres::error::Error;

/// A row of `pg_replication_slots`, with who holds it and what its decoding has spilled to disk.
///
/// Source: PostgreSQL manual, "pg_replication_slots" and "pg_stat_replication_slots".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slot {
    /// Output plug-in; `None` for a physical slot.
    pub plugin: Option<String>,
    /// `physical` or `logical`.
    pub slot_type: String,
    /// Database of a logical slot.
    pub database: Option<String>,
    /// It ends with the session that made it.
    pub temporary: bool,
    /// Somebody holds it.
    pub active: bool,
    /// Process id of the walsender that holds it.
    pub active_pid: Option<i32>,
    /// Who is behind that walsender, as far as we may know.
    pub holder: Option<Holder>,
    /// The oldest log that it still needs.
    pub restart_lsn: Option<Lsn>,
    /// What its consumer has confirmed.
    pub confirmed_flush_lsn: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Bytes of log that can be written before it is in danger; `None` without a limit, and for a
    /// lost slot. May be negative.
    pub safe_wal_size: Option<i64>,
    /// Transactions since the oldest one whose deleted catalog rows it holds back.
    pub catalog_xmin_age: Option<i32>,
    /// Why it can no longer be used (17 and newer; on 16 only `conflicting`, the older word for
    /// three of the reasons).
    pub invalidation_reason: Option<String>,
    /// Standbys keep in step with it (17 and newer).
    pub failover: Option<bool>,
    /// It is such a copy, on a standby (17 and newer).
    pub synced: Option<bool>,
    /// Since when nobody holds it, in microseconds since 1970 (17 and newer).
    pub inactive_since: Option<i64>,
    /// Bytes of transactions that decoding has spilled to disk, since the statistics began.
    pub spill_bytes: Option<i64>,
    /// Transactions that decoding has spilled to disk.
    pub spill_txns: Option<i64>,
    /// End of the server's log in the same moment.
    pub wal_end: Lsn,
}

/// The session that holds a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// `application_name`
    pub application_name: Option<String>,
    /// Its address. Only a member of `pg_read_all_stats` sees that of another role's session, and
    /// a Unix socket has none.
    pub client_addr: Option<String>,
}

/// The query for a server of this version: what an older one does not know is NULL.
fn query(version_num: u32) -> String {
    let since_17 = if version_num >= 170_000 {
        "s.invalidation_reason, s.failover, s.synced,
         (extract(epoch FROM s.inactive_since) * 1000000)::int8 AS inactive_since"
    } else if version_num >= 160_000 {
        "CASE WHEN s.conflicting THEN 'conflicting' END AS invalidation_reason,
         NULL::bool AS failover, NULL::bool AS synced, NULL::int8 AS inactive_since"
    } else {
        "NULL::text AS invalidation_reason,
         NULL::bool AS failover, NULL::bool AS synced, NULL::int8 AS inactive_since"
    };
    format!(
        "SELECT s.plugin::text, s.slot_type, s.database::text, s.temporary, s.active, s.active_pid,
            s.restart_lsn::text, s.confirmed_flush_lsn::text, s.wal_status, s.safe_wal_size,
            age(s.catalog_xmin) AS catalog_xmin_age,
            a.pid AS holder_pid, a.application_name, host(a.client_addr) AS client_addr,
            t.spill_bytes, t.spill_txns,
            (CASE WHEN pg_is_in_recovery()
                THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS wal_end,
            {since_17}
        FROM pg_replication_slots s
        LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid
        LEFT JOIN pg_stat_replication_slots t ON t.slot_name = s.slot_name
        WHERE s.slot_name = $1"
    )
}

impl Catalog {
    /// Asks about one slot; `None` when there is none of this name.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn slot(&self, name: &str) -> Result<Option<Slot>, Error> {
        let sql = query(self.version_num());
        let rows = self.query("read the slot", &sql, &[(&name, Type::NAME)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let holder = row.get::<Option<i32>>("holder_pid")?.map(|_| {
            Ok::<_, Error>(Holder {
                application_name: row.optional_text("application_name")?,
                client_addr: row.optional_text("client_addr")?,
            })
        });
        Ok(Some(Slot {
            plugin: row.get("plugin")?,
            slot_type: row.get("slot_type")?,
            database: row.get("database")?,
            temporary: row.get("temporary")?,
            active: row.get("active")?,
            active_pid: row.get("active_pid")?,
            holder: holder.transpose()?,
            restart_lsn: row.lsn("restart_lsn")?,
            confirmed_flush_lsn: row.lsn("confirmed_flush_lsn")?,
            wal_status: row.get("wal_status")?,
            safe_wal_size: row.get("safe_wal_size")?,
            catalog_xmin_age: row.get("catalog_xmin_age")?,
            invalidation_reason: row.get("invalidation_reason")?,
            failover: row.get("failover")?,
            synced: row.get("synced")?,
            inactive_since: row.get("inactive_since")?,
            spill_bytes: row.get("spill_bytes")?,
            spill_txns: row.get("spill_txns")?,
            wal_end: row.lsn("wal_end")?.unwrap_or(Lsn::INVALID),
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A slot that walpost can take, at 200 and kept from 100, in a log that ends at 1,000.
    pub(crate) fn slot() -> Slot {
        Slot {
            plugin: Some("pgoutput".to_owned()),
            slot_type: "logical".to_owned(),
            database: Some("shop".to_owned()),
            temporary: false,
            active: false,
            active_pid: None,
            holder: None,
            restart_lsn: Some(Lsn::new(100)),
            confirmed_flush_lsn: Some(Lsn::new(200)),
            wal_status: Some("reserved".to_owned()),
            safe_wal_size: None,
            catalog_xmin_age: None,
            invalidation_reason: None,
            failover: None,
            synced: None,
            inactive_since: None,
            spill_bytes: None,
            spill_txns: None,
            wal_end: Lsn::new(1_000),
        }
    }
}
