//! What a first start asks: the lock under which a slot is made, and what of a table is published.

use tokio_postgres::types::{ToSql, Type};

use super::Catalog;
use crate::postgres::error::Error;
use crate::postgres::snapshot::PublishedRows;

impl Catalog {
    /// Takes the lock under which one process at a time makes a slot of this name; answers whether
    /// it was free. It ends with [`first_start_is_over`](Self::first_start_is_over) or with the
    /// connection.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn begin_first_start(&self, slot: &str) -> Result<bool, Error> {
        let sql = "SELECT pg_try_advisory_lock(hashtextextended('walpost first start ' || $1, 0))
            AS taken";
        let rows =
            self.query("take the lock of a first start", sql, &[(&slot, Type::TEXT)]).await?;
        rows.first().map_or(Ok(false), |row| row.get("taken"))
    }

    /// Gives the lock of [`begin_first_start`](Self::begin_first_start) back.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn first_start_is_over(&self, slot: &str) -> Result<(), Error> {
        let sql = "SELECT pg_advisory_unlock(hashtextextended('walpost first start ' || $1, 0))";
        let doing = "give the lock of a first start back";
        self.query(doing, sql, &[(&slot, Type::TEXT)]).await.map(drop)
    }

    /// Which rows and columns of a table a publication has. Before Postgres 15 it has all.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn published_rows(
        &self,
        (schema, name): (&str, &str),
        publication: &str,
    ) -> Result<PublishedRows, Error> {
        const SQL: &str = "SELECT attnames::text[] AS columns, rowfilter
            FROM pg_publication_tables
            WHERE pubname = $1 AND schemaname = $2 AND tablename = $3";
        if self.version_num() < 150_000 {
            return Ok(PublishedRows::default());
        }
        let names: [(&(dyn ToSql + Sync), Type); 3] =
            [(&publication, Type::NAME), (&schema, Type::NAME), (&name, Type::NAME)];
        let rows = self.query("read what is published", SQL, &names).await?;
        let Some(row) = rows.first() else { return Ok(PublishedRows::default()) };
        Ok(PublishedRows {
            columns: Some(row.get("columns")?),
            row_filter: row.optional_text("rowfilter")?,
        })
    }
}
