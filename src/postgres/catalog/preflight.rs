//! Questions that only a preflight asks: what a publication sends of a table, what its newest rows
//! look like, whether two connections reach one server.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::Catalog;
use crate::postgres::connection::Row as TextRow;
use crate::postgres::error::Error;
use crate::postgres::identifier::{quote_identifier, quote_qualified};

/// Rows of a sample. Each is held in memory whole.
const SAMPLE_ROWS: u32 = 20;

/// How many of a table's last pages a sample is taken from.
const SAMPLE_PAGES: i64 = 8;

/// How long a sample may take; it is of use, not of need.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Over a server's own time limit we wait this much longer for its word that the time is up.
const MARGIN: Duration = Duration::from_secs(5);

/// What a publication sends of one table (15 and newer, which know lists and filters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The columns.
    pub columns: Vec<String>,
    /// The condition that a row must meet, as SQL.
    pub row_filter: Option<String>,
}

/// How a table is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// It writes no log, so no change of it can be streamed.
    pub unlogged: bool,
    /// Pages of its own, without those of partitions.
    pub pages: i64,
}

impl Catalog {
    /// What a publication sends of a table; `None` when it does not publish it, and from servers
    /// before 15, which send all of it.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn sent(
        &self,
        publication: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<Sent>, Error> {
        if self.version_num() < 150_000 {
            return Ok(None);
        }
        let sql = "SELECT attnames::text[] AS columns, rowfilter FROM pg_publication_tables
            WHERE pubname = $1 AND schemaname = $2 AND tablename = $3";
        let names: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(&publication, Type::NAME), (&schema, Type::NAME), (&table, Type::NAME)];
        let rows = self.query("read what the publication sends", sql, &names).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let columns = row.get::<Option<Vec<String>>>("columns")?.unwrap_or_default();
        Ok(Some(Sent { columns, row_filter: row.optional_text("rowfilter")? }))
    }

    /// How a table is stored; `None` when there is none with this object id.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn storage(&self, table: u32) -> Result<Option<Storage>, Error> {
        let sql = "SELECT relpersistence <> 'p' AS unlogged,
                CASE WHEN relkind IN ('r', 'm') THEN
                    pg_relation_size(oid) / current_setting('block_size')::int8 END AS pages
            FROM pg_class WHERE oid = $1";
        let rows = self.query("read how the table is stored", sql, &[(&table, Type::OID)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let pages = row.get::<Option<i64>>("pages")?.unwrap_or(0);
        Ok(Some(Storage { unlogged: row.get("unlogged")?, pages }))
    }

    /// Whether the server that this connection has reached knows a session with this process id.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn knows_session(&self, pid: i32) -> Result<bool, Error> {
        let sql = "SELECT FROM pg_stat_activity WHERE pid = $1";
        let rows = self.query("look for a session", sql, &[(&pid, Type::INT4)]).await?;
        Ok(!rows.is_empty())
    }

    /// Whether our role sees what the sessions of other roles do.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn sees_all_sessions(&self) -> Result<bool, Error> {
        let sql = "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees";
        let rows = self.query("read our role's memberships", sql, &[]).await?;
        rows.first().map_or(Ok(false), |row| row.get("sees"))
    }

    /// Some rows from the end of a table, each value as the stream would print it; of a
    /// partitioned table, which has no end, any rows. Reads a few pages and changes nothing.
    /// `None` when that takes longer than five seconds.
    ///
    /// # Errors
    ///
    /// The connection or the query fails; 42501 (`insufficient_privilege`) when we may not read
    /// the table.
    pub async fn sampled_rows(
        &self,
        (schema, table): (&str, &str),
        columns: &[&str],
        pages: i64,
    ) -> Result<Option<Vec<Vec<Option<Vec<u8>>>>>, Error> {
        let columns: Result<Vec<_>, _> =
            columns.iter().map(|column| quote_identifier(column)).collect();
        let select =
            format!("SELECT {} FROM {}", columns?.join(", "), quote_qualified(schema, table)?);
        if pages > 0 {
            let first = pages.saturating_sub(SAMPLE_PAGES).max(0);
            let sql = format!(
                "{select} WHERE ctid >= '({first},0)' ORDER BY ctid DESC LIMIT {SAMPLE_ROWS}"
            );
            match self.sample(&sql).await? {
                // Deleted rows: the end of the table is empty.
                Some(rows) if rows.is_empty() => {}
                other => return Ok(other),
            }
        }
        self.sample(&format!("{select} LIMIT {SAMPLE_ROWS}")).await
    }

    async fn sample(&self, sql: &str) -> Result<Option<Vec<TextRow>>, Error> {
        let milliseconds = SAMPLE_TIMEOUT.as_millis();
        let sql = format!(
            "SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout = {milliseconds}; {sql}"
        );
        match self.execute_within(SAMPLE_TIMEOUT + MARGIN, "read a few rows", &sql).await {
            Ok(rows) => Ok(Some(rows)),
            // query_canceled, lock_not_available
            Err(error) if matches!(error.sqlstate(), Some("57014" | "55P03")) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
