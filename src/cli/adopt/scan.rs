//! What the slot says of the transaction in which the connector stopped, and whether the
//! publication had the table by then.
//!
//! The offset names the last row that is in Kafka by its place in the log and its transaction, but
//! not how many rows of that transaction there are: the end of a transaction is no event, and so is
//! in no offset. The slot is read from before that transaction, and nothing is confirmed to it.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::offset::InFlight;
use crate::cli::command::{Stopped, refused};
use crate::config::Config;
use crate::error::Failure;
use crate::lsn::Lsn;
use crate::outbox::role::TableName;
use crate::pgoutput::{self, Begin, LogicalMessage};
use crate::postgres::error::Error;
use crate::postgres::replication::{
    ReplicationConnection, ReplicationMessage, ReplicationStream, StatusUpdate,
};

/// How long the reading may take.
const LIMIT: Duration = Duration::from_secs(600);

/// How often the server is asked how far it has sent.
const ASK: Duration = Duration::from_secs(1);

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The transaction in which the connector stopped.
    pub(super) in_flight: Option<InFlight>,
    /// What was committed before this place is in Kafka.
    pub(super) base: Lsn,
    /// Where to begin to read.
    pub(super) from: Lsn,
    /// End of the log: there is nothing to find behind it.
    pub(super) end: Lsn,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The transaction in which the connector stopped, if it has rows of the outbox.
    pub(super) in_flight: Option<Sent>,
    /// A transaction whose outbox row came through the publication, and that was sent at least in
    /// part.
    pub(super) witness: Option<u32>,
}

/// How much of a transaction is in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The transaction.
    pub(super) begin: Begin,
    /// The byte after its commit record.
    pub(super) end: Lsn,
    /// Its rows of the outbox.
    pub(super) rows: u64,
    /// The first of them, for which it is proven.
    pub(super) sent: u64,
    /// Rows after those that may be in Kafka too: they share the place of the last one.
    pub(super) doubtful: u64,
}

/// Reads the slot.
///
/// # Errors
/// Postgres refuses, or it takes longer than ten minutes.
pub(super) async fn scan(config: &Config, wanted: Wanted) -> Result<Found, Stopped> {
    let connection = ReplicationConnection::connect(&config.database)
        .await
        .map_err(|error| Failure::postgres("connect for replication", &error))?;
    let publications = [config.publication.as_str()];
    let mut stream = connection
        .start_replication(&config.slot, wanted.from, &publications, false)
        .await
        .map_err(|error| Failure::postgres(&format!("read slot {}", config.slot), &error))?;
    let mut scan = Scan::new(&config.tables, wanted);
    let read = tokio::time::timeout(LIMIT, read(&mut stream, &mut scan)).await;
    // Nothing was promised, so it does not matter whether the server hears it.
    let ended = stream.shutdown(nothing(), Duration::from_secs(2)).await;
    if let Err(error) = ended {
        tracing::debug!("the stream did not end well: {error}");
    }
    match read {
        Ok(Ok(())) => Ok(scan.found),
        Ok(Err(Reading::Postgres(error))) if error.sqlstate() == Some("42704") => Err(refused(
            format!(
                "slot {} holds changes from a time at which publication {} did not exist",
                config.slot, config.publication
            ),
            "a publication must be older than what is read through it: while the connector is at work, make the publication and after it the slot; `walpost setup --apply --slot` does so",
        )),
        Ok(Err(Reading::Postgres(error))) => {
            Err(Failure::postgres(&format!("read slot {}", config.slot), &error).into())
        }
        Ok(Err(Reading::Malformed(what))) => Err(Failure::again("postgres_protocol", what).into()),
        Err(_) => Err(refused(
            format!(
                "the transaction in which the connector stopped was not found in slot {} within {LIMIT:?}",
                config.slot
            ),
            "--from-slot takes the position of the connector's slot, without looking for it: then all rows that the connector sent after that position come again",
        )),
    }
}

/// Why the reading ended early.
enum Reading {
    Postgres(Error),
    Malformed(String),
}

impl From<Error> for Reading {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

fn nothing() -> StatusUpdate {
    StatusUpdate {
        write: Lsn::INVALID,
        flush: Lsn::INVALID,
        apply: Lsn::INVALID,
        reply_requested: false,
    }
}

async fn read(stream: &mut ReplicationStream, scan: &mut Scan<'_>) -> Result<(), Reading> {
    let mut asked: Option<Instant> = None;
    loop {
        while let Some((message, length)) = stream.peek()? {
            let done = match message {
                ReplicationMessage::XLogData { wal_start, data, .. } => {
                    let message = pgoutput::decode(data)
                        .map_err(|error| Reading::Malformed(format!("at {wal_start}: {error}")))?;
                    scan.take(wal_start, &message)
                }
                ReplicationMessage::Keepalive { wal_end, .. } => scan.is_past(wal_end),
                ReplicationMessage::CopyDone => true,
            };
            stream.consume(length);
            if done {
                return Ok(());
            }
        }
        if asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            // It answers with a keepalive, which says how far it has sent.
            stream.send_status(StatusUpdate { reply_requested: true, ..nothing() }).await?;
            asked = Some(Instant::now());
        }
        match tokio::time::timeout(ASK, stream.fill()).await {
            Ok(filled) => {
                filled?;
            }
            Err(_) => asked = None,
        }
    }
}

/// The stream as far as it was read.
struct Scan<'a> {
    tables: &'a [TableName],
    wanted: Wanted,
    outbox: HashSet<u32>,
    begin: Option<Begin>,
    rows: u64,
    before: u64,
    at: u64,
    found: Found,
}

impl<'a> Scan<'a> {
    fn new(tables: &'a [TableName], wanted: Wanted) -> Self {
        Self {
            tables,
            wanted,
            outbox: HashSet::new(),
            begin: None,
            rows: 0,
            before: 0,
            at: 0,
            found: Found::default(),
        }
    }

    /// Looks at one message; whether all is known.
    fn take(&mut self, lsn: Lsn, message: &LogicalMessage<'_>) -> bool {
        match message {
            LogicalMessage::Begin(begin) => {
                self.begin = Some(*begin);
                (self.rows, self.before, self.at) = (0, 0, 0);
                // Without a transaction to look for, what matters lies before the base.
                self.wanted.in_flight.is_none() && begin.final_lsn >= self.wanted.base
            }
            LogicalMessage::Relation(relation) => {
                let is_outbox = self.tables.iter().any(|table| {
                    table.schema == relation.namespace && table.table == relation.name
                });
                if is_outbox {
                    self.outbox.insert(relation.oid);
                } else {
                    self.outbox.remove(&relation.oid);
                }
                false
            }
            LogicalMessage::Insert { relation_oid, .. } => {
                self.outbox.contains(relation_oid) && self.row(lsn)
            }
            LogicalMessage::Commit(commit) => {
                let (Some(begin), Some(wanted)) = (self.begin.take(), self.wanted.in_flight) else {
                    return false;
                };
                if begin.xid != wanted.xid {
                    return false;
                }
                // Each row by INSERT has a place of its own. Of rows that share one it is not known
                // how many were sent.
                let (sent, doubtful) =
                    if self.at == 1 { (self.before + 1, 0) } else { (self.before, self.at) };
                let rows = self.rows;
                self.found.in_flight =
                    Some(Sent { begin, end: commit.end_lsn, rows, sent, doubtful });
                true
            }
            LogicalMessage::Type(_)
            | LogicalMessage::Origin { .. }
            | LogicalMessage::Update { .. }
            | LogicalMessage::Delete { .. }
            | LogicalMessage::Truncate
            | LogicalMessage::Message(_) => false,
        }
    }

    /// A row of the outbox.
    fn row(&mut self, lsn: Lsn) -> bool {
        let Some(begin) = self.begin else { return false };
        match self.wanted.in_flight {
            Some(wanted) if wanted.xid == begin.xid => {
                self.found.witness.get_or_insert(begin.xid);
                self.rows += 1;
                match lsn.cmp(&wanted.last) {
                    std::cmp::Ordering::Less => self.before += 1,
                    std::cmp::Ordering::Equal => self.at += 1,
                    std::cmp::Ordering::Greater => {}
                }
                false
            }
            in_flight if begin.final_lsn < self.wanted.base => {
                self.found.witness.get_or_insert(begin.xid);
                in_flight.is_none()
            }
            // A transaction after the base that the connector has not begun, so the one that is
            // looked for has no row of the outbox.
            Some(_) | None => true,
        }
    }

    /// The server has sent all up to here.
    fn is_past(&self, sent: Lsn) -> bool {
        self.begin.is_none() && sent >= self.wanted.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::{Commit, Relation};
    use crate::postgres::timestamp::PgTimestamp;

    const TABLE: u32 = 10;

    /// A row of that table, without columns.
    const ROW: &[u8] = b"I\0\0\0\x0aN\0\0";

    fn outbox() -> TableName {
        TableName { schema: "public".to_owned(), table: "outbox".to_owned() }
    }

    /// Reads transactions of (number, commit record, places of the rows), up to the base 100.
    fn read(in_flight: Option<(u32, u64)>, transactions: &[(u32, u64, &[u64])]) -> Found {
        let tables = [outbox()];
        let in_flight = in_flight.map(|(xid, last)| InFlight { xid, last: Lsn::new(last) });
        let wanted =
            Wanted { in_flight, base: Lsn::new(100), from: Lsn::INVALID, end: Lsn::new(1_000) };
        let mut scan = Scan::new(&tables, wanted);
        let relation = LogicalMessage::Relation(Relation {
            oid: TABLE,
            namespace: "public",
            name: "outbox",
            replica_identity: b'd',
            columns: Vec::new(),
        });
        assert!(!scan.take(Lsn::new(1), &relation));
        let time = PgTimestamp::default();
        for &(xid, commit_lsn, rows) in transactions {
            let final_lsn = Lsn::new(commit_lsn);
            let begin = LogicalMessage::Begin(Begin { final_lsn, commit_time: time, xid });
            let mut messages = vec![(rows.first().copied().unwrap_or(1), begin)];
            for row in rows {
                messages.push((*row, pgoutput::decode(ROW).expect("a row")));
            }
            let end_lsn = Lsn::new(commit_lsn + 8);
            let commit = Commit { commit_lsn: final_lsn, end_lsn, commit_time: time };
            messages.push((commit_lsn + 8, LogicalMessage::Commit(commit)));
            for (lsn, message) in messages {
                if scan.take(Lsn::new(lsn), &message) {
                    return scan.found;
                }
            }
        }
        scan.found
    }

    /// Rows of the transaction, those that were sent, and those in doubt.
    #[track_caller]
    fn check(last: u64, rows: &[u64], expected: (u64, u64, u64)) {
        let found = read(Some((5, last)), &[(5, 200, rows)]);
        let sent = found.in_flight.expect("the transaction is there");
        assert_eq!((sent.rows, sent.sent, sent.doubtful), expected, "{last} in {rows:?}");
        assert_eq!((sent.end, found.witness), (Lsn::new(208), Some(5)));
    }

    #[test]
    fn the_rows_up_to_the_last_one_were_sent() {
        check(130, &[110, 120, 130], (3, 3, 0));
        check(120, &[110, 120, 130], (3, 2, 0));
        // An update of another row, behind the last insert.
        check(140, &[110, 120, 130], (3, 3, 0));
        check(105, &[110, 120], (2, 0, 0));
    }

    #[test]
    fn rows_that_share_the_place_of_the_last_one_are_in_doubt() {
        check(120, &[110, 120, 120, 120, 130], (5, 1, 3));
    }

    #[test]
    fn a_transaction_without_a_row_of_the_outbox_is_not_looked_for_for_ever() {
        let found = read(Some((5, 130)), &[(4, 90, &[80]), (6, 300, &[250]), (5, 400, &[350])]);
        assert_eq!(found, Found { in_flight: None, witness: Some(4) });
    }

    #[test]
    fn a_row_before_the_base_is_a_witness_and_one_behind_it_is_not() {
        assert_eq!(read(None, &[(4, 90, &[80]), (6, 300, &[250])]).witness, Some(4));
        assert_eq!(read(None, &[(6, 300, &[50])]).witness, None);
        assert_eq!(read(None, &[(3, 90, &[])]).witness, None);
    }
}
