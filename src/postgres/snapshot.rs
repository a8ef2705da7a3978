//! The rows that a snapshot sees, read in a transaction that has imported it.
//!
//! `CREATE_REPLICATION_SLOT` exports a snapshot that fits the slot: it sees exactly what committed
//! before the slot's consistent point, and the stream has exactly what commits after it. So the
//! rows of the one and those of the other are all rows, and no row twice.
//!
//! The session is made as the replication session is, with the same settings for how values look,
//! and its rows are kept in the bytes they came in: a row looks the same in both.
//!
//! Source: PostgreSQL manual, "Streaming Replication Protocol", `CREATE_REPLICATION_SLOT`, option
//! `SNAPSHOT 'export'`; "SET TRANSACTION"; "DECLARE".

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::catalog::Table;
use super::connect::connect;
use super::connection::{Connection, Purpose, unexpected};
use super::error::Error;
use super::frame::Frame;
use super::identifier::{quote_identifier, quote_literal, quote_qualified};
use super::options::ConnectOptions;
use super::server_message::Cells;
use super::timestamp::PgTimestamp;

/// Rows that one command fetches. They are passed on as they come, so this bounds no memory; it
/// bounds what the server still sends when nobody wants it any more.
const FETCH_ROWS: u64 = 1_000;

/// A batch is passed on when it has this many rows…
const BATCH_ROWS: usize = 256;

/// …or this many bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// How much one read of the socket asks for, in bytes.
const READ_CHUNK: usize = 64 * 1024;

const DOING: &str = "read the rows of the snapshot";

/// A session inside the transaction that sees the snapshot. Dropped, it ends both.
#[derive(Debug)]
pub struct SnapshotSession {
    connection: Connection,
    taken_at: PgTimestamp,
}

/// Which rows and columns of a table a publication has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedRows {
    /// Names of the columns; `None`: all.
    pub columns: Option<Vec<String>>,
    /// The row filter as an SQL expression; `None`: all rows.
    pub row_filter: Option<String>,
}

/// In which order the rows of a table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// By this column, then by primary key, or by place where there is none.
    Column(&'a str),
    /// As they lie: the order in which a table that is only added to was written.
    Place,
}

/// One row, its values as Postgres prints them.
pub struct SnapshotRow(Box<[u8]>);

impl SnapshotRow {
    /// # Errors
    ///
    /// It is no whole row.
    fn of(body: &[u8]) -> Result<Self, Error> {
        for cell in Cells::of(body)? {
            cell?;
        }
        Ok(Self(body.into()))
    }

    /// The values in the order of the columns; `None` is SQL NULL.
    pub fn texts(&self) -> impl Iterator<Item = Option<&[u8]>> {
        // It was looked through when it came, so nothing is left out here.
        Cells::of(&self.0).into_iter().flatten().filter_map(Result::ok)
    }
}

impl std::fmt::Debug for SnapshotRow {
    /// Without the values: rows reach no log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotRow").field("bytes", &self.0.len()).finish_non_exhaustive()
    }
}

/// Some rows of one table.
#[derive(Debug)]
pub struct SnapshotBatch {
    /// Which table, as an index into those that were asked for.
    pub table: usize,
    /// The rows, in order.
    pub rows: VecDeque<SnapshotRow>,
}

/// Rows as they come. Dropped, it ends the transaction.
#[derive(Debug)]
pub struct SnapshotRows {
    batches: mpsc::Receiver<Result<Option<SnapshotBatch>, Error>>,
    task: JoinHandle<()>,
}

impl Drop for SnapshotRows {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SnapshotRows {
    /// The next rows; `None` after the last one of the last table. While nobody asks, no more than
    /// two batches wait here, and the server waits for its socket.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection or a query fails; 42501 (`insufficient_privilege`) when we may not read all
    /// rows of a table, 42703 and 42P01 (`undefined_column`, `undefined_table`) when it was changed.
    pub async fn next(&mut self) -> Result<Option<SnapshotBatch>, Error> {
        // The task says when it is done; a channel that just ends tells of no last row.
        self.batches.recv().await.unwrap_or_else(|| {
            Err(Error::protocol("the reading of the snapshot ended before its rows"))
        })
    }
}

impl SnapshotSession {
    /// Opens a session and a transaction, and lets it see the snapshot of this name.
    ///
    /// # Errors
    ///
    /// The connection or a command fails; 22023 or 42704 (`invalid_parameter_value`,
    /// `undefined_object`) when the snapshot is gone, as it is after the next command on the
    /// connection that exported it.
    pub async fn import(options: &ConnectOptions, snapshot: &str) -> Result<Self, Error> {
        let mut connection = connect(options, Purpose::Queries).await?;
        // Unknown before 17, so it cannot be among the startup options.
        if connection.parameters.version_num() >= 170_000 {
            let off = "SET transaction_timeout = 0";
            connection.quick_command(off, "switch transaction_timeout off").await?;
        }
        let doing = "import the slot's snapshot";
        // Scans of large tables otherwise begin where another one is (`synchronize_seqscans`), a
        // plan for a cursor is made for its first tenth, and rows that a policy of row-level
        // security hides from us are left out without a word instead of being an error.
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET TRANSACTION SNAPSHOT {};
             SET LOCAL synchronize_seqscans = off;
             SET LOCAL cursor_tuple_fraction = 1;
             SET LOCAL row_security = off",
            quote_literal(snapshot)?
        );
        connection.quick_command(&begin, doing).await?;
        let now = "SELECT (extract(epoch FROM now()) * 1000000)::int8";
        let rows = connection.quick_command(now, doing).await?;
        let micros = rows
            .first()
            .and_then(|row| str::from_utf8(row.first()?.as_deref()?).ok()?.parse().ok())
            .ok_or_else(|| Error::protocol("no time of the snapshot"))?;
        connection.input.read_in_chunks_of(READ_CHUNK);
        Ok(Self { connection, taken_at: PgTimestamp::from_unix_micros(micros) })
    }

    /// When the transaction began, which is the moment after the snapshot was made.
    #[must_use]
    pub const fn taken_at(&self) -> PgTimestamp {
        self.taken_at
    }

    /// Begins to read all rows of these tables, one table after the other. The transaction ends
    /// with the last row.
    #[must_use]
    pub fn read(mut self, queries: Vec<SnapshotQuery>) -> SnapshotRows {
        let (sender, batches) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut result = Ok(());
            for (table, query) in queries.iter().enumerate() {
                result = read_table(&mut self.connection, table, query, &sender).await;
                if result.is_err() {
                    break;
                }
            }
            let result = result.map(|()| None).map_err(|error| error.doing(DOING));
            // Nobody may be waiting any more.
            drop(sender.send(result).await);
            self.connection.terminate().await;
        });
        SnapshotRows { batches, task }
    }
}

/// The statement that reads a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotQuery(String);

impl SnapshotQuery {
    /// All rows of a table that are published, these columns of each.
    ///
    /// # Errors
    ///
    /// A name is none.
    pub fn new(
        (schema, name): (&str, &str),
        (table, published): (&Table, &PublishedRows),
        columns: &[&str],
        order: Order<'_>,
    ) -> Result<Self, Error> {
        let quoted =
            columns.iter().map(|column| quote_identifier(column)).collect::<Result<Vec<_>, _>>()?;
        // The rows of tables that inherit from an ordinary table come in the stream under their
        // own names; those of partitions under the name of the root.
        let only = if table.relkind == 'p' { "" } else { "ONLY " };
        let mut sql =
            format!("SELECT {} FROM {only}{}", quoted.join(", "), quote_qualified(schema, name)?);
        if let Some(filter) = &published.row_filter {
            sql.push_str(&format!(" WHERE ({filter})"));
        }
        if let Order::Column(column) = order {
            let mut keys = vec![quote_identifier(column)?];
            for column in &table.primary_key {
                keys.push(quote_identifier(column)?);
            }
            if table.primary_key.is_empty() {
                keys.extend(["tableoid".to_owned(), "ctid".to_owned()]);
            }
            sql.push_str(&format!(" ORDER BY {}", keys.join(", ")));
        }
        Ok(Self(sql))
    }
}

/// Where batches go; an error means that nobody takes them any more.
type Sender = mpsc::Sender<Result<Option<SnapshotBatch>, Error>>;

async fn read_table(
    connection: &mut Connection,
    table: usize,
    query: &SnapshotQuery,
    sender: &Sender,
) -> Result<(), Error> {
    let declare = format!("DECLARE walpost_snapshot NO SCROLL CURSOR FOR {}", query.0);
    connection.command(&declare).await?;
    // Without a limit: to find the first row of a table that has to be sorted takes long.
    while fetch(connection, table, sender).await? == FETCH_ROWS {}
    connection.command("CLOSE walpost_snapshot").await.map(drop)
}

/// Fetches some rows, passes them on as they come, and answers how many there were.
async fn fetch(connection: &mut Connection, table: usize, sender: &Sender) -> Result<u64, Error> {
    connection.begin_command(&format!("FETCH FORWARD {FETCH_ROWS} FROM walpost_snapshot")).await?;
    let (mut rows, mut bytes, mut fetched) = (VecDeque::new(), 0, 0);
    loop {
        match connection.next_frame().await? {
            Frame { tag: b'D', body, .. } => {
                rows.push_back(SnapshotRow::of(body)?);
                bytes += body.len();
                fetched += 1;
            }
            Frame { tag: b'T' | b'C', .. } => continue,
            Frame { tag: b'Z', .. } => break,
            Frame { tag, .. } => return Err(unexpected(tag, "in answer to FETCH")),
        }
        if rows.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
            bytes = 0;
            pass_on(sender, table, std::mem::take(&mut rows)).await?;
        }
    }
    connection.is_answered();
    if !rows.is_empty() {
        pass_on(sender, table, rows).await?;
    }
    Ok(fetched)
}

async fn pass_on(sender: &Sender, table: usize, rows: VecDeque<SnapshotRow>) -> Result<(), Error> {
    let batch = Ok(Some(SnapshotBatch { table, rows }));
    sender.send(batch).await.map_err(|_| Error::protocol("nobody takes the rows any more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(relkind: char, primary_key: &[&str]) -> Table {
        Table {
            oid: 1,
            relkind,
            replica_identity: 'd',
            row_security: false,
            columns: Vec::new(),
            primary_key: primary_key.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn rows_are_read_by_time_and_key_or_as_they_lie() {
        #[track_caller]
        fn check(of: &Table, filter: Option<&str>, order: Order<'_>, expected: &str) {
            let published = PublishedRows { columns: None, row_filter: filter.map(str::to_owned) };
            let query =
                SnapshotQuery::new(("App", "out\"box"), (of, &published), &["id", "Type"], order);
            let expected = format!("SELECT \"id\", \"Type\" FROM {expected}");
            assert_eq!(query.unwrap(), SnapshotQuery(expected));
        }
        let time = Order::Column("at");
        check(&table('r', &["id"]), None, Order::Place, r#"ONLY "App"."out""box""#);
        check(
            &table('p', &["id", "day"]),
            None,
            time,
            r#""App"."out""box" ORDER BY "at", "id", "day""#,
        );
        check(
            &table('r', &[]),
            Some("(kind = 'x'::text)"),
            time,
            r#"ONLY "App"."out""box" WHERE ((kind = 'x'::text)) ORDER BY "at", tableoid, ctid"#,
        );
    }

    #[test]
    fn a_row_is_kept_as_it_came_and_never_printed() {
        let body = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let row = SnapshotRow::of(body).unwrap();
        let texts: Vec<_> = row.texts().collect();
        assert_eq!(texts, [Some(&b"ab"[..]), None, Some(&b""[..])]);
        assert_eq!(format!("{row:?}"), "SnapshotRow { bytes: 16, .. }");
        for length in 0..body.len() {
            assert!(SnapshotRow::of(&body[..length]).is_err(), "{length} bytes");
        }
    }
}
