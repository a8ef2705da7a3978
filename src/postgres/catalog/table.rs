//! A table: its columns, its size, what we may do with it.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::types::Type;

use super::Catalog;
use crate::postgres::error::Error;
use crate::postgres::identifier::quote_qualified;

/// How long the size of a table may take to find, locks included. It is a number for a page.
const SIZE_TIMEOUT: Duration = Duration::from_secs(2);

/// Over a server's own time limit we wait this much longer for its word that the time is up.
const MARGIN: Duration = Duration::from_secs(5);

/// A row of `pg_class` and its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its object id.
    pub oid: u32,
    /// `r` for a table, `p` for a partitioned one, `v` for a view, and so on.
    pub relkind: char,
    /// `d` default, `n` nothing, `f` full, `i` index.
    pub replica_identity: char,
    /// Row-level security hides rows of it from us.
    pub row_security: bool,
    /// Its columns, in their order, without dropped ones.
    pub columns: Vec<Column>,
    /// Names of the columns of its primary key, in the order of the key; empty without one.
    pub primary_key: Vec<String>,
}

/// A row of `pg_attribute`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its number. Dropped columns leave gaps.
    pub attnum: i16,
    /// Its type in words (`format_type`): `character varying(10)`.
    pub type_name: String,
    /// Object id of its type.
    pub type_oid: u32,
    /// Object id of the type below, where its type is a domain; else `type_oid`.
    pub base_type_oid: u32,
    /// That type in words, without length.
    pub base_type_name: String,
    /// It takes no NULL.
    pub not_null: bool,
    /// It has a default value, or is an identity column.
    pub has_default: bool,
    /// It is computed from others (`GENERATED ALWAYS AS (…)`), and not in the stream.
    pub generated: bool,
}

/// How large a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// Rows, as estimated by the last `VACUUM` or `ANALYZE`, with all partitions; `None` if there
    /// was none yet.
    pub rows_estimate: Option<u64>,
    /// Bytes, with indexes, TOAST and all partitions.
    pub total_bytes: u64,
}

/// What our role may do with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a privilege of its own")]
pub struct Privileges {
    /// It may use the schema.
    pub schema_usage: bool,
    /// It may read all columns.
    pub select: bool,
    /// It may add rows.
    pub insert: bool,
    /// It may delete rows.
    pub delete: bool,
    /// It is, or is a member of, the owner, so may put the table into a publication.
    pub owner: bool,
}

const TABLE: &str = "SELECT c.oid, c.relkind::text, c.relreplident::text,
        row_security_active(c.oid) AS row_security,
        ARRAY(SELECT a.attname::text
            FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
            WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
            ORDER BY k.place) AS primary_key
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
    WHERE s.nspname = $1 AND c.relname = $2";

const COLUMNS: &str = "WITH RECURSIVE base (attnum, oid) AS (
        SELECT attnum, atttypid FROM pg_attribute
            WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT b.attnum, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.oid
            WHERE t.typtype = 'd')
    SELECT a.attname::text AS name, a.attnum, format_type(a.atttypid, a.atttypmod) AS type_name,
        a.atttypid AS type_oid, t.oid AS base_type_oid, format_type(t.oid, NULL) AS base_type_name,
        a.attnotnull AS not_null, a.atthasdef OR a.attidentity <> '' AS has_default,
        a.attgenerated <> '' AS generated
    FROM pg_attribute a
    JOIN base b ON b.attnum = a.attnum
    JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd'
    WHERE a.attrelid = $1
    ORDER BY a.attnum";

const PRIVILEGES: &str = "SELECT
        has_schema_privilege(c.relnamespace, 'USAGE') AS schema_usage,
        has_table_privilege(c.oid, 'SELECT') AS may_select,
        has_table_privilege(c.oid, 'INSERT') AS may_insert,
        has_table_privilege(c.oid, 'DELETE') AS may_delete,
        pg_has_role(c.relowner, 'USAGE') AS owner
    FROM pg_class c WHERE c.oid = $1";

impl Catalog {
    /// Asks about one table; `None` when there is none of this name. Takes no lock on it.
    ///
    /// # Errors
    ///
    /// The connection or a query fails.
    pub async fn table(&self, schema: &str, name: &str) -> Result<Option<Table>, Error> {
        const DOING: &str = "read the table's definition";
        let names: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&schema, Type::NAME), (&name, Type::NAME)];
        let rows = self.query(DOING, TABLE, &names).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let oid: u32 = row.get("oid")?;
        let mut columns = Vec::new();
        for row in self.query(DOING, COLUMNS, &[(&oid, Type::OID)]).await? {
            columns.push(Column {
                name: row.text("name")?,
                attnum: row.get("attnum")?,
                type_name: row.text("type_name")?,
                type_oid: row.get("type_oid")?,
                base_type_oid: row.get("base_type_oid")?,
                base_type_name: row.text("base_type_name")?,
                not_null: row.get("not_null")?,
                has_default: row.get("has_default")?,
                generated: row.get("generated")?,
            });
        }
        let letter = |column| row.text(column).map(|text| text.chars().next().unwrap_or(' '));
        Ok(Some(Table {
            oid,
            relkind: letter("relkind")?,
            replica_identity: letter("relreplident")?,
            row_security: row.get("row_security")?,
            columns,
            primary_key: row.get("primary_key")?,
        }))
    }

    /// Schema and name of the table with this object id; `None` when there is none any more.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn table_name(&self, table: u32) -> Result<Option<(String, String)>, Error> {
        let sql = "SELECT s.nspname::text AS schema, c.relname::text AS name
            FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = $1";
        let rows = self.query("read the table's name", sql, &[(&table, Type::OID)]).await?;
        let name = rows.first().map(|row| Ok((row.text("schema")?, row.text("name")?)));
        name.transpose()
    }

    /// What our role may do with a table; `None` when there is none with this object id.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn privileges(&self, table: u32) -> Result<Option<Privileges>, Error> {
        let rows = self.query("read privileges", PRIVILEGES, &[(&table, Type::OID)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Privileges {
            schema_usage: row.get("schema_usage")?,
            select: row.get("may_select")?,
            insert: row.get("may_insert")?,
            delete: row.get("may_delete")?,
            owner: row.get("owner")?,
        }))
    }

    /// How large a table is; `None` when that cannot be found out within two seconds, because it
    /// is locked by a change of its definition, or when there is no such table.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn table_size(&self, table: u32) -> Result<Option<TableSize>, Error> {
        // A partitioned table holds nothing itself; one that is not partitioned has a tree of one.
        let sql = format!(
            "SELECT sum(pg_total_relation_size(p.oid)),
                 sum(p.reltuples::int8) FILTER (WHERE p.reltuples >= 0)
             FROM (SELECT relid FROM pg_partition_tree({table}) WHERE isleaf
                   UNION SELECT {table}::oid) t
             JOIN pg_class p ON p.oid = t.relid AND p.relkind IN ('r', 'm', 'f')"
        );
        let Some(row) = self.limited("read the table's size", &sql, SIZE_TIMEOUT).await? else {
            return Ok(None);
        };
        let number = |column: usize| row.get(column).and_then(Option::as_deref).and_then(parse);
        Ok(number(0).map(|total_bytes| TableSize { rows_estimate: number(1), total_bytes }))
    }

    /// Counts the rows of a table by reading all of it; `None` when that takes longer than `limit`.
    ///
    /// # Errors
    ///
    /// The connection or the query fails; 42501 (`insufficient_privilege`) when we may not read
    /// the table, 42P01 (`undefined_table`) when it is gone.
    pub async fn count_rows(
        &self,
        schema: &str,
        name: &str,
        limit: Duration,
    ) -> Result<Option<u64>, Error> {
        let sql = format!("SELECT count(*) FROM {}", quote_qualified(schema, name)?);
        let row = self.limited("count rows", &sql, limit).await?;
        Ok(row.and_then(|row| row.first().and_then(Option::as_deref).and_then(parse)))
    }

    /// Runs a query of one row under a time limit that the server keeps; `None` when it is over.
    ///
    /// Statements of one message are one transaction, so the limit ends with it.
    async fn limited(
        &self,
        doing: &'static str,
        sql: &str,
        limit: Duration,
    ) -> Result<Option<Vec<Option<Vec<u8>>>>, Error> {
        // Zero would be without limit.
        let milliseconds = limit.as_millis().clamp(1, 2_147_483_647);
        let sql = format!("SET LOCAL statement_timeout = {milliseconds}; {sql}");
        match self.execute_within(limit + MARGIN, doing, &sql).await {
            Ok(rows) => Ok(rows.into_iter().next()),
            // query_canceled, lock_not_available
            Err(error) if matches!(error.sqlstate(), Some("57014" | "55P03")) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn parse(text: &[u8]) -> Option<u64> {
    str::from_utf8(text).ok()?.parse().ok()
}
