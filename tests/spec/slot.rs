//! The replication slot as Postgres shows it.

use crate::oracle::lsn;
use crate::servers::Database;

/// Up to where the slot named after the database was told that everything is safe.
#[track_caller]
pub(crate) fn confirmed_flush(database: &Database) -> u64 {
    of_slot(database, "confirmed_flush_lsn")
}

/// Where decoding would start again: the log before it may go.
#[track_caller]
pub(crate) fn restart(database: &Database) -> u64 {
    of_slot(database, "restart_lsn")
}

/// The end of the server's log.
#[track_caller]
pub(crate) fn wal_end(database: &Database) -> u64 {
    lsn(&database.value("select pg_current_wal_lsn()"))
}

#[track_caller]
fn of_slot(database: &Database, column: &str) -> u64 {
    let name = database.name();
    let slot = format!("select {column} from pg_replication_slots where slot_name = '{name}'");
    lsn(&database.value(&slot))
}
