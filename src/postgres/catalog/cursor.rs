//! The rows of tables, all of one moment, read piece by piece.

use std::time::Duration;

use super::{Catalog, Newest, PrintedRow};
use crate::postgres::error::Error;
use crate::postgres::identifier::{quote_identifier, quote_qualified};

/// How long the first piece may take: without an index on the column of the order, the server
/// sorts the whole table first.
const PIECE_LIMIT: Duration = Duration::from_secs(3_600);

/// What is read at once, in bytes, as far as the rows read so far tell.
const PIECE_BYTES: usize = 4 << 20;

/// Rows that are read at once, at most. The first piece is smaller, since nothing is known then.
const PIECE_ROWS: usize = 2_000;

/// The number of rows of the first piece.
const FIRST_ROWS: usize = 16;

/// Rows of a table that are to be read, in order.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Schema and name of the table.
    pub table: (&'a str, &'a str),
    /// Its columns.
    pub columns: &'a [&'a str],
    /// What follows `WHERE`, in SQL; `None` is every row.
    pub condition: Option<&'a str>,
    /// The order: the oldest first.
    pub order: Newest<'a>,
}

/// A cursor over the rows of one table. Made by [`Catalog::open`], read by [`Catalog::fetch`].
#[derive(Debug)]
pub struct Cursor {
    rows: usize,
    ended: bool,
}

impl Catalog {
    /// Begins a transaction in which every question is answered as of its first one, and which
    /// can change nothing. It lasts until the connection ends.
    ///
    /// # Errors
    /// The connection or the statement fails.
    pub async fn begin_reading(&self) -> Result<(), Error> {
        const SQL: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";
        self.execute("begin to read", SQL).await.map(drop)
    }

    /// Takes a lock by its number, for as long as this connection lives; `false` when another
    /// session of this database has it.
    ///
    /// # Errors
    /// The connection or the statement fails.
    ///
    /// Source: PostgreSQL manual, "Advisory Lock Functions".
    pub async fn lock(&self, number: i64) -> Result<bool, Error> {
        let sql = format!("SELECT pg_try_advisory_lock({number})");
        let rows = self.execute("take a lock", &sql).await?;
        Ok(rows.first().and_then(|row| row.first()).is_some_and(|got| got.as_deref() == Some(b"t")))
    }

    /// Counts rows, within [`Self::begin_reading`]'s moment.
    ///
    /// # Errors
    /// The connection or the query fails.
    pub async fn count_where(
        &self,
        (schema, table): (&str, &str),
        condition: &str,
    ) -> Result<u64, Error> {
        let sql =
            format!("SELECT count(*) FROM {} WHERE {condition}", quote_qualified(schema, table)?);
        let rows = self.execute_within(PIECE_LIMIT, "count rows", &sql).await?;
        let count = rows.first().and_then(|row| row.first().cloned().flatten());
        count
            .and_then(|text| String::from_utf8(text).ok()?.parse().ok())
            .ok_or_else(|| Error::protocol("count(*) is no number"))
    }

    /// Opens a cursor over rows. There is one at a time.
    ///
    /// # Errors
    /// The connection or the query fails; 42501 (`insufficient_privilege`) without the right to
    /// read the columns, 22P02 (`invalid_text_representation`) for a constant that is none of its
    /// column's type.
    pub async fn open(&self, wanted: Wanted<'_>) -> Result<Cursor, Error> {
        let columns = wanted
            .columns
            .iter()
            .map(|column| quote_identifier(column))
            .collect::<Result<Vec<_>, _>>()?;
        let condition = wanted.condition.map_or_else(String::new, |sql| format!(" WHERE {sql}"));
        // Rows of one time in the order in which they lie: two reads of the same rows agree.
        let order = match wanted.order {
            Newest::Column(column) => {
                format!("{} NULLS FIRST, tableoid, ctid", quote_identifier(column)?)
            }
            Newest::Place => "tableoid, ctid".to_owned(),
        };
        let sql = format!(
            "DECLARE walpost_rows NO SCROLL CURSOR FOR SELECT {} FROM {}{condition} ORDER BY {order}",
            columns.join(", "),
            quote_qualified(wanted.table.0, wanted.table.1)?,
        );
        self.execute("open a cursor", &sql).await?;
        Ok(Cursor { rows: FIRST_ROWS, ended: false })
    }

    /// The next rows, in order; none at the end, where the cursor is closed. The smaller the
    /// rows, the more of them come at once.
    ///
    /// # Errors
    /// The connection or the query fails.
    pub async fn fetch(&self, cursor: &mut Cursor) -> Result<Vec<PrintedRow>, Error> {
        if cursor.ended {
            return Ok(Vec::new());
        }
        let sql = format!("FETCH FORWARD {} FROM walpost_rows", cursor.rows);
        let rows = self.execute_within(PIECE_LIMIT, "read rows", &sql).await?;
        if rows.is_empty() {
            cursor.ended = true;
            self.execute("close a cursor", "CLOSE walpost_rows").await?;
            return Ok(rows);
        }
        let size = |row: &PrintedRow| row.iter().flatten().map(Vec::len).sum::<usize>();
        let largest = rows.iter().map(size).max().unwrap_or(0).max(1);
        // No more than twice as many as before: large rows may be further on.
        cursor.rows = (PIECE_BYTES / largest).clamp(1, PIECE_ROWS).min(cursor.rows * 2);
        Ok(rows)
    }
}
