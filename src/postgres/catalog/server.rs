//! The server and our role on it.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::{Catalog, Row};
use crate::lsn::Lsn;
use crate::postgres::error::Error;
use crate::postgres::timestamp::PgTimestamp;

/// Facts about the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// `server_version_num`: 150018 for 15.18.
    pub version_num: u32,
    /// A standby.
    pub in_recovery: bool,
    /// `minimal`, `replica` or `logical`.
    pub wal_level: String,
    /// How much log slots may hold back, in MiB; `None` is without limit.
    pub max_slot_wal_keep_size: Option<u64>,
    /// End of the log: as written on a primary, as replayed on a standby.
    pub wal_end: Lsn,
    /// The server's clock, in microseconds since 1970.
    pub now: i64,
    /// When it said so.
    #[serde(skip)]
    pub answered_at: Instant,
    /// Every transaction with a number below this one has ended. Numbers are full, with the epoch.
    pub settled_xid: u64,
    /// No transaction had this number yet, or a higher one, when the answer was begun: before the
    /// end of the log and the clock were read.
    pub next_xid: u64,
    /// How many slots there may be.
    pub max_replication_slots: u32,
    /// How many there are.
    pub replication_slots: u32,
    /// How many walsenders there may be.
    pub max_wal_senders: u32,
    /// How many there are.
    pub wal_senders: u32,
    /// How long a slot may be idle before it is invalidated (18 and newer); `None` is for ever.
    pub idle_replication_slot_timeout: Option<Duration>,
    /// The standbys' slots that a failover slot waits for (17 and newer).
    pub synchronized_standby_slots: Option<String>,
    /// The standbys that a commit waits for.
    pub synchronous_standby_names: String,
    /// The role that is connected.
    pub role: Role,
}

/// Facts about the role that is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// It may do anything.
    pub superuser: bool,
    /// It may open replication connections, by its attribute or, at Amazon, as a member of
    /// `rds_replication`.
    pub replication: bool,
    /// It may create publications in this database.
    pub create_in_database: bool,
}

const SETTINGS: &str = "SELECT name, setting, unit FROM pg_settings WHERE name = ANY (ARRAY[
    'wal_level', 'max_slot_wal_keep_size', 'max_replication_slots', 'max_wal_senders',
    'idle_replication_slot_timeout', 'synchronized_standby_slots', 'synchronous_standby_names'])";

const END: &str = "SELECT
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
        AS wal_end";

const FACTS: &str = "SELECT
    pg_is_in_recovery() AS in_recovery,
    (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
        AS wal_end,
    pg_snapshot_xmin(pg_current_snapshot())::text AS settled_xid,
    pg_snapshot_xmax(pg_current_snapshot())::text AS next_xid,
    (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now,
    (SELECT count(*) FROM pg_replication_slots) AS slots,
    (SELECT count(*) FROM pg_stat_replication) AS senders,
    r.rolname::text AS role,
    r.rolsuper AS superuser,
    r.rolreplication OR EXISTS (SELECT FROM pg_roles a
        WHERE a.rolname = 'rds_replication' AND pg_has_role(r.oid, a.oid, 'usage')) AS replication,
    has_database_privilege(current_database(), 'CREATE') AS create_in_database
    FROM pg_roles r WHERE r.rolname = current_user";

impl Server {
    /// The server's version for people: 150018 is 15.18.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}.{}", self.version_num / 10_000, self.version_num % 10_000)
    }

    /// The server's clock less ours, in microseconds. The time that the answer took is in it.
    #[must_use]
    pub fn clock_skew_micros(&self) -> i64 {
        let since = i64::try_from(self.answered_at.elapsed().as_micros()).unwrap_or(0);
        self.now.saturating_add(since).saturating_sub(PgTimestamp::now().to_unix_micros())
    }
}

impl Catalog {
    /// Asks about the server and our role.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn server(&self) -> Result<Server, Error> {
        const DOING: &str = "read facts about the server";
        let settings = Settings::read(&self.query(DOING, SETTINGS, &[]).await?)?;
        let rows = self.query(DOING, FACTS, &[]).await?;
        let answered_at = Instant::now();
        let row =
            rows.first().ok_or_else(|| Error::protocol("the role that is connected is gone"))?;
        let count = |column| row.get::<i64>(column).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Ok(Server {
            version_num: self.version_num(),
            in_recovery: row.get("in_recovery")?,
            wal_level: settings.text("wal_level").unwrap_or_default(),
            // -1 is without limit.
            max_slot_wal_keep_size: settings.number("max_slot_wal_keep_size"),
            wal_end: row.lsn("wal_end")?.unwrap_or(Lsn::INVALID),
            now: row.get("now")?,
            answered_at,
            settled_xid: row.xid("settled_xid")?,
            next_xid: row.xid("next_xid")?,
            max_replication_slots: settings.count("max_replication_slots"),
            replication_slots: count("slots")?,
            max_wal_senders: settings.count("max_wal_senders"),
            wal_senders: count("senders")?,
            idle_replication_slot_timeout: settings
                .duration("idle_replication_slot_timeout")
                .filter(|timeout| !timeout.is_zero()),
            synchronized_standby_slots: settings.text("synchronized_standby_slots"),
            synchronous_standby_names: settings
                .text("synchronous_standby_names")
                .unwrap_or_default(),
            role: Role {
                name: row.text("role")?,
                superuser: row.get("superuser")?,
                replication: row.get("replication")?,
                create_in_database: row.get("create_in_database")?,
            },
        })
    }

    /// End of the log: as written on a primary, as replayed on a standby.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn wal_end(&self) -> Result<Lsn, Error> {
        let rows = self.query("ask for the end of the log", END, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::protocol("a function gave no row"))?;
        Ok(row.lsn("wal_end")?.unwrap_or(Lsn::INVALID))
    }

    /// The value of one server setting in its base unit, as `pg_settings` has it; `None` when the
    /// server does not know it or does not show it to us.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        let sql = "SELECT setting FROM pg_settings WHERE name = $1";
        let rows = self.query("read a setting", sql, &[(&name, Type::TEXT)]).await?;
        rows.first().map_or(Ok(None), |row| row.optional_text("setting"))
    }
}

/// Settings by name: the value and its unit.
struct Settings(HashMap<String, (String, Option<String>)>);

impl Settings {
    fn read(rows: &[Row]) -> Result<Self, Error> {
        let mut settings = HashMap::new();
        for row in rows {
            let value = (row.text("setting")?, row.optional_text("unit")?);
            settings.insert(row.text("name")?, value);
        }
        Ok(Self(settings))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|(value, _)| value.clone())
    }

    /// A number that is not negative.
    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(|(value, _)| value.parse().ok())
    }

    fn count(&self, name: &str) -> u32 {
        self.number(name).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        let value = self.number(name)?;
        match self.0.get(name)?.1.as_deref() {
            Some("ms") => Some(Duration::from_millis(value)),
            Some("s") => Some(Duration::from_secs(value)),
            Some("min") => value.checked_mul(60).map(Duration::from_secs),
            _ => None,
        }
    }
}
