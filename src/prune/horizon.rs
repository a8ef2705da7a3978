//! How far the past reaches in which everything that was committed has been delivered.

use crate::config::Config;
use crate::error::Failure;
use crate::kafka::checkpoint::{Checkpoint, Phase};
use crate::lsn::Lsn;
use crate::postgres::catalog::{Catalog, Publication};
use crate::proof::{self, Difference};

/// A place of the log before which everything lies that ended transactions wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    /// Every transaction of this database with a number below this one has ended: what it wrote is
    /// visible, or will never be. Numbers of subtransactions count too, since a subtransaction that
    /// goes on has a higher number than the transaction around it.
    pub(crate) xid: u64,
    /// The end of the log, read after that.
    pub(crate) lsn: Lsn,
    /// The timeline that this is a place of.
    pub(crate) timeline: u32,
    /// The system that has it.
    pub(crate) system_identifier: String,
}

/// Bytes at the beginning of a page of the log, and of its first page in a file, in which no record
/// lies (`XLogPageHeaderData`, `XLogLongPageHeaderData` of `src/include/access/xlog_internal.h`).
const PAGE_HEADERS: [u64; 2] = [24, 40];

/// A snapshot lists the running transactions of all databases of the server. One of another
/// database cannot have written rows here, and may run for hours, so it is left out: a transaction
/// holds a lock on its own number, by the process that runs it, until it ends (manual, `pg_locks`),
/// and a process stays in its database. A number that nobody holds in this moment counts as one of
/// here, and so does that of a prepared transaction, which no process runs.
const XID: &str = "SELECT coalesce(min(running.xid::text::int8),
        pg_snapshot_xmax(pg_current_snapshot())::text::int8)::text
    FROM pg_snapshot_xip(pg_current_snapshot()) AS running (xid)
    WHERE running.xid::xid NOT IN (
        SELECT held.transactionid FROM pg_locks held JOIN pg_stat_activity holder USING (pid)
        WHERE held.locktype = 'transactionid' AND held.mode = 'ExclusiveLock' AND held.granted
            AND holder.datid IS DISTINCT FROM (
                SELECT oid FROM pg_database WHERE datname = current_database()))";

/// The insert position, since with `synchronous_commit = off` a transaction is visible before its
/// commit record is written out. The name of a file of the log begins with the timeline.
const PLACE: &str = "SELECT pg_current_wal_insert_lsn()::text,
    current_setting('wal_block_size'),
    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
    (SELECT system_identifier FROM pg_control_system())::text";

impl Horizon {
    /// Takes it now.
    ///
    /// # Errors
    /// The connection or a query fails.
    pub(crate) async fn take(catalog: &Catalog) -> Result<Self, Failure> {
        // Two statements, in this order: see the room's description.
        let xid = one_row(catalog, XID).await?;
        let place = one_row(catalog, PLACE).await?;
        let [Some(lsn), Some(block), Some(timeline), Some(system)] = place.as_slice() else {
            return Err(unexpected());
        };
        let xid = xid.into_iter().flatten().next().and_then(|text| text.parse().ok());
        let lsn: Option<Lsn> = lsn.parse().ok();
        let (Some(xid), Some(lsn), Ok(block), Ok(timeline)) =
            (xid, lsn, block.parse(), u32::from_str_radix(timeline, 16))
        else {
            return Err(unexpected());
        };
        Ok(Self {
            xid,
            lsn: before_page_header(lsn, block),
            timeline,
            system_identifier: system.clone(),
        })
    }

    /// Whether everything below the number has been delivered, as far as it is for the stream to
    /// deliver. `fingerprint` is of publication and tables, read after the horizon was taken.
    pub(crate) fn passed(
        &self,
        checkpoint: &Checkpoint,
        fingerprint: &str,
    ) -> Result<(), NotPassed> {
        if checkpoint.phase != Phase::Stream {
            return Err(NotPassed::Never(
                "the rows of the first start are still being published".to_owned(),
            ));
        }
        if checkpoint.system_identifier != self.system_identifier {
            return Err(NotPassed::Never(format!(
                "the checkpoint belongs to the database system {}, but this one is {}",
                checkpoint.system_identifier, self.system_identifier
            )));
        }
        if proof::compare(&checkpoint.fingerprint, fingerprint) != Difference::None {
            return Err(NotPassed::Never(format!(
                "the publication {} or its tables changed: {} became {fingerprint}",
                checkpoint.publication, checkpoint.fingerprint
            )));
        }
        // A place of another timeline is a place in another log.
        if checkpoint.timeline != self.timeline || checkpoint.resume_lsn < self.lsn {
            return Err(NotPassed::Yet { stands: checkpoint.resume_lsn });
        }
        Ok(())
    }
}

/// The publication as it is now, and the fingerprint of it and of the tables, to compare with the
/// checkpoint's.
///
/// # Errors
/// They could not be looked at.
pub(crate) async fn published(
    config: &Config,
    catalog: &Catalog,
) -> Result<(Publication, String), Failure> {
    let name = &config.publication;
    let publication = catalog
        .publication(name)
        .await
        .map_err(|error| Failure::postgres(&format!("look at publication {name}"), &error))?
        .ok_or_else(|| Failure::Again {
            code: "refused",
            message: format!("publication {name} does not exist"),
            hint: Some("nothing is proven without it; nothing was deleted".to_owned()),
        })?;
    let mut oids = Vec::with_capacity(config.tables.len());
    for table in &config.tables {
        let found = catalog
            .table(&table.schema, &table.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {table}"), &error))?;
        oids.extend(found.map(|found| found.oid));
    }
    let fingerprint = crate::supervisor::fingerprint(&publication, &oids);
    Ok((publication, fingerprint))
}

/// Why nothing is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotPassed {
    /// The checkpoint stands before the horizon.
    Yet {
        /// Here.
        stands: Lsn,
    },
    /// Waiting does not help.
    Never(String),
}

/// A position right behind a page's header is the page's beginning: no record lies between, and
/// the stream names the end of the record before.
fn before_page_header(lsn: Lsn, block: u64) -> Lsn {
    match lsn.as_u64().checked_rem(block) {
        Some(within) if PAGE_HEADERS.contains(&within) => Lsn::new(lsn.as_u64() - within),
        Some(_) | None => lsn,
    }
}

fn unexpected() -> Failure {
    Failure::again("postgres_error", "the server did not say where its log ends")
}

async fn one_row(catalog: &Catalog, sql: &str) -> Result<Vec<Option<String>>, Failure> {
    let (rows, _) = catalog
        .statements(sql)
        .await
        .map_err(|error| Failure::postgres("ask where the server's log ends", &error))?;
    rows.into_iter().next().ok_or_else(unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::checkpoint::tests::checkpoint;

    fn horizon() -> Horizon {
        Horizon { xid: 1, lsn: Lsn::new(100), timeline: 1, system_identifier: "1".to_owned() }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Checkpoint), expected: Option<&str>) {
        let mut stored = Checkpoint {
            system_identifier: "1".to_owned(),
            fingerprint: "p1; table 1 t1".to_owned(),
            resume_lsn: Lsn::new(100),
            ..checkpoint()
        };
        change(&mut stored);
        let found = match horizon().passed(&stored, "p1; table 1 t1") {
            Ok(()) => None,
            Err(NotPassed::Yet { .. }) => Some("yet".to_owned()),
            Err(NotPassed::Never(why)) => Some(why),
        };
        match (&found, expected) {
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => assert_eq!(found.as_deref(), expected),
        }
    }

    #[test]
    fn a_horizon_is_passed_by_a_checkpoint_of_the_same_log_and_publication() {
        check(|_| {}, None);
        check(|stored| stored.resume_lsn = Lsn::new(99), Some("yet"));
        check(|stored| stored.timeline = 2, Some("yet"));
        check(|stored| stored.phase = Phase::Snapshot, Some("first start"));
        check(|stored| stored.system_identifier = "2".to_owned(), Some("system"));
        check(|stored| stored.fingerprint = "p2; table 1 t1".to_owned(), Some("changed"));
        check(|stored| stored.fingerprint = "p1".to_owned(), Some("changed"));
    }

    #[test]
    fn the_header_of_a_page_of_the_log_holds_no_record() {
        for (lsn, expected) in [
            (0x2000_u64, 0x2000_u64),
            (0x2018, 0x2000),
            (0x2028, 0x2000),
            (0x2019, 0x2019),
            (0x2030, 0x2030),
        ] {
            assert_eq!(before_page_header(Lsn::new(lsn), 8192), Lsn::new(expected), "{lsn:x}");
        }
    }
}
