//! Rows for people to look at: the newest of a table, and what a slot still holds.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_postgres::types::{ToSql, Type};

use super::{Catalog, Row};
use crate::lsn::Lsn;
use crate::postgres::error::Error;
use crate::postgres::identifier::{
    quote_identifier, quote_literal, quote_publications, quote_qualified,
};

/// How long the newest rows of a table may take to find. Without an index on the time column the
/// server reads the whole table.
const ROWS_LIMIT: Duration = Duration::from_secs(60);

/// How long the decoding of a slot may take.
const SLOT_LIMIT: Duration = Duration::from_secs(120);

/// Over a server's own time limit we wait this much longer for its word that the time is up.
const MARGIN: Duration = Duration::from_secs(5);

/// The values of one row as Postgres prints them; `None` is SQL NULL.
pub type PrintedRow = Vec<Option<Vec<u8>>>;

/// One message that a slot holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotMessage {
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// The message of the plug-in.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for SlotMessage {
    /// Without the data, which holds values of rows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotMessage").field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

/// Which rows of a table are the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest<'a> {
    /// By this column.
    Column(&'a str),
    /// By where they lie: right for a table that is only added to, and nearly right for others,
    /// since the place of a deleted row is used again.
    Place,
}

impl Catalog {
    /// The newest rows of a table, the newest first: these columns, printed as the stream prints
    /// them.
    ///
    /// # Errors
    ///
    /// The connection or the query fails; 42501 (`insufficient_privilege`) without the right to
    /// read the columns, 57014 (`query_canceled`) when the server takes longer than a minute.
    pub async fn newest_rows(
        &self,
        (schema, table): (&str, &str),
        columns: &[&str],
        newest: Newest<'_>,
        limit: u32,
    ) -> Result<Vec<PrintedRow>, Error> {
        let columns =
            columns.iter().map(|column| quote_identifier(column)).collect::<Result<Vec<_>, _>>()?;
        let order = match newest {
            Newest::Column(column) => format!("{} DESC NULLS LAST", quote_identifier(column)?),
            Newest::Place => "tableoid DESC, ctid DESC".to_owned(),
        };
        let sql = format!(
            "SET LOCAL statement_timeout = {}; SELECT {} FROM {} ORDER BY {order} LIMIT {limit}",
            ROWS_LIMIT.as_millis(),
            columns.join(", "),
            quote_qualified(schema, table)?,
        );
        self.execute_within(ROWS_LIMIT + MARGIN, "read the newest rows", &sql).await
    }

    /// What a slot holds that nobody has: its messages from its confirmed position on, `limit` at
    /// most. Nothing is consumed, and the slot stays where it is.
    ///
    /// The server decodes whole transactions until it has `decode` messages, and keeps them in
    /// its own temporary files meanwhile.
    ///
    /// # Errors
    ///
    /// The connection or the query fails; 55006 (`object_in_use`) when somebody holds the slot,
    /// 42704 (`undefined_object`) when it is missing, or when its log tells of a time at which
    /// the publication did not exist (up to Postgres 17), 55000 when it was invalidated,
    /// 57014 (`query_canceled`) when the server takes longer than two minutes.
    ///
    /// Source: PostgreSQL manual, "Replication Management Functions",
    /// `pg_logical_slot_peek_binary_changes`.
    pub async fn slot_messages(
        &self,
        slot: &str,
        (publication, messages): (&str, bool),
        (decode, limit): (i32, usize),
    ) -> Result<Vec<SlotMessage>, Error> {
        const DOING: &str = "read what the slot holds";
        let messages = if messages { ", 'messages', 'true'" } else { "" };
        let sql = format!(
            "SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes(
                $1, NULL, $2, 'proto_version', '1', 'publication_names', $3{messages})"
        );
        let publication = quote_identifier(publication)?;
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&slot, Type::NAME), (&decode, Type::INT4), (&publication, Type::TEXT)];
        // The server's own limit: one that only we kept would leave it decoding.
        let set = format!("SET statement_timeout = {}", SLOT_LIMIT.as_millis());
        self.execute(DOING, &set).await?;
        let read = async {
            let rows = self.client.query_typed_raw(&sql, parameters);
            let rows = rows.await.map_err(|error| self.explain(error).doing(DOING))?;
            let mut rows = pin!(rows);
            let mut messages = Vec::new();
            while let Some(row) = rows.next().await {
                let row = Row(row.map_err(|error| self.explain(error).doing(DOING))?);
                if messages.len() < limit {
                    let lsn = row.lsn("lsn")?.unwrap_or(Lsn::INVALID);
                    messages.push(SlotMessage { lsn, data: row.get("data")? });
                }
            }
            Ok(messages)
        };
        let read = tokio::time::timeout(SLOT_LIMIT + MARGIN, read)
            .await
            .unwrap_or_else(|_| Err(Error::timeout("no answer", SLOT_LIMIT).doing(DOING)))?;
        self.execute(DOING, "SET statement_timeout = 0").await?;
        Ok(read)
    }

    /// Whether everything that an idle slot holds can be decoded. Nothing is consumed.
    ///
    /// # Errors
    ///
    /// The connection or the query fails; 55006 (`object_in_use`) when somebody holds the slot.
    pub async fn slot_is_readable(
        &self,
        slot: &str,
        publication: &str,
        limit: Duration,
    ) -> Result<Readable, Error> {
        let sql = format!(
            "SET LOCAL statement_timeout = {};
            SELECT count(*) FROM pg_logical_slot_peek_binary_changes({}, NULL, NULL,
                'proto_version', '1', 'publication_names', {})",
            limit.as_millis(),
            quote_literal(slot)?,
            quote_publications(&[publication])?,
        );
        match self.execute_within(limit + MARGIN, "decode what the slot holds", &sql).await {
            Ok(_) => Ok(Readable::Yes),
            Err(error) => match error.sqlstate() {
                Some("42704") => Ok(Readable::NoPublication),
                Some("57014") => Ok(Readable::TooLong),
                _ => Err(error),
            },
        }
    }
}

/// Whether a slot can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// To the end of the log.
    Yes,
    /// No: it holds changes from a time at which the publication did not exist. Decoding looks
    /// into the catalog as it was then, so making the publication again does not help (measured on
    /// 14 to 17; 18 leaves such changes out and warns in its own log).
    NoPublication,
    /// It took too long to find out.
    TooLong,
}
