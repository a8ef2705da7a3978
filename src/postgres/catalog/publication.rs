//! A publication and what it publishes.

use serde::Serialize;
use tokio_postgres::types::Type;

use super::Catalog;
use crate::postgres::error::Error;
use crate::postgres::identifier::{quote_identifier, quote_qualified};

/// A row of `pg_publication` and what hangs on it.
///
/// Object ids and row versions (`xmin`) tell a publication from another of the same name, and from
/// itself before a change: a table that is dropped and made again is silently no longer published.
///
/// Source: PostgreSQL manual, "pg_publication", "pg_publication_rel", "pg_publication_tables",
/// "pg_publication_namespace".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// Its object id.
    pub oid: u32,
    /// The version of its row.
    pub xmin: String,
    /// Inserts are published.
    pub insert: bool,
    /// Updates are.
    pub update: bool,
    /// Deletes are.
    pub delete: bool,
    /// Truncates are.
    pub truncate: bool,
    /// Rows of partitions appear as rows of the partitioned table.
    pub via_partition_root: bool,
    /// `FOR ALL TABLES`
    pub all_tables: bool,
    /// The tables that it publishes, for whatever reason, by schema and name.
    pub tables: Vec<PublishedTable>,
    /// `FOR TABLES IN SCHEMA` (15 and newer).
    pub schemas: Vec<PublishedSchema>,
}

/// A table that a publication publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its object id.
    pub oid: u32,
    /// How it is listed, if it or a table that it is a partition of is listed by name.
    pub membership: Option<Membership>,
}

/// A row of `pg_publication_rel`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// Its object id.
    pub oid: u32,
    /// The version of its row.
    pub xmin: String,
    /// Only some rows are published (15 and newer).
    pub row_filter: bool,
    /// Only some columns are published (15 and newer).
    pub column_list: bool,
}

/// A row of `pg_publication_namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedSchema {
    /// Name of the schema.
    pub name: String,
    /// Object id of the row.
    pub oid: u32,
    /// The version of the row.
    pub xmin: String,
}

const PUBLICATION: &str = "SELECT oid, xmin::text, pubinsert, pubupdate, pubdelete, pubtruncate,
    pubviaroot, puballtables FROM pg_publication WHERE pubname = $1";

const SCHEMAS: &str = "SELECT s.nspname::text AS name, p.oid, p.xmin::text
    FROM pg_publication_namespace p JOIN pg_namespace s ON s.oid = p.pnnspid
    WHERE p.pnpubid = $1 ORDER BY s.nspname";

/// The published tables. One row of `pg_publication_rel` each: its own, else that of the nearest
/// listed table that it is a partition of.
fn tables_query(version_num: u32) -> String {
    let since_15 = if version_num >= 150_000 {
        "r.prqual IS NOT NULL AS row_filter, r.prattrs IS NOT NULL AS column_list"
    } else {
        "false AS row_filter, false AS column_list"
    };
    format!(
        "SELECT t.schemaname::text AS schema, t.tablename::text AS name, c.oid,
            m.oid AS member_oid, m.xmin AS member_xmin, m.row_filter, m.column_list
        FROM pg_publication_tables t
        JOIN pg_namespace s ON s.nspname = t.schemaname
        JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = t.tablename
        LEFT JOIN LATERAL (
            SELECT r.oid, r.xmin::text, {since_15}
            FROM pg_publication_rel r
            LEFT JOIN pg_partition_ancestors(c.oid) WITH ORDINALITY AS a (relid, distance)
                ON a.relid = r.prrelid
            WHERE r.prpubid = $2 AND (r.prrelid = c.oid OR a.relid IS NOT NULL)
            ORDER BY r.prrelid = c.oid DESC, a.distance
            LIMIT 1) m ON true
        WHERE t.pubname = $1
        ORDER BY t.schemaname, t.tablename"
    )
}

impl Catalog {
    /// Asks about one publication; `None` when there is none of this name.
    ///
    /// # Errors
    ///
    /// The connection or a query fails.
    pub async fn publication(&self, name: &str) -> Result<Option<Publication>, Error> {
        const DOING: &str = "read the publication";
        let rows = self.query(DOING, PUBLICATION, &[(&name, Type::NAME)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let oid: u32 = row.get("oid")?;

        let mut tables = Vec::new();
        let sql = tables_query(self.version_num());
        for row in self.query(DOING, &sql, &[(&name, Type::NAME), (&oid, Type::OID)]).await? {
            let membership = row.get::<Option<u32>>("member_oid")?.map(|oid| {
                Ok::<_, Error>(Membership {
                    oid,
                    xmin: row.text("member_xmin")?,
                    row_filter: row.get("row_filter")?,
                    column_list: row.get("column_list")?,
                })
            });
            tables.push(PublishedTable {
                schema: row.text("schema")?,
                name: row.text("name")?,
                oid: row.get("oid")?,
                membership: membership.transpose()?,
            });
        }

        let mut schemas = Vec::new();
        if self.version_num() >= 150_000 {
            for row in self.query(DOING, SCHEMAS, &[(&oid, Type::OID)]).await? {
                schemas.push(PublishedSchema {
                    name: row.text("name")?,
                    oid: row.get("oid")?,
                    xmin: row.text("xmin")?,
                });
            }
        }
        Ok(Some(Publication {
            oid,
            xmin: row.text("xmin")?,
            insert: row.get("pubinsert")?,
            update: row.get("pubupdate")?,
            delete: row.get("pubdelete")?,
            truncate: row.get("pubtruncate")?,
            via_partition_root: row.get("pubviaroot")?,
            all_tables: row.get("puballtables")?,
            tables,
            schemas,
        }))
    }

    /// A name as an identifier in SQL, quoted where the server would quote it.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn quoted(&self, name: &str) -> Result<String, Error> {
        let sql = "SELECT quote_ident($1) AS quoted";
        let rows = self.query("quote a name", sql, &[(&name, Type::TEXT)]).await?;
        rows.first().map_or_else(|| Ok(name.to_owned()), |row| row.text("quoted"))
    }

    /// Whether a publication, with the tables in it, is known to be older than a slot: whether
    /// every transaction that made or changed it ended before the oldest one that the slot may
    /// have to know the catalog of. `false` where it cannot be told, as when the slot was made while
    /// a transaction ran that is older than the publication.
    ///
    /// # Errors
    ///
    /// The connection or the query fails.
    pub async fn is_older(&self, publication: &str, slot: &str) -> Result<bool, Error> {
        // Ages are compared, not numbers, which wrap around.
        const SQL: &str =
            "SELECT coalesce(bool_and(age(made.xmin) > age(s.catalog_xmin)), false) AS older
            FROM pg_replication_slots s, (
                SELECT xmin FROM pg_publication WHERE pubname = $1
                UNION ALL
                SELECT r.xmin FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                WHERE p.pubname = $1) made
            WHERE s.slot_name = $2";
        let names: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&publication, Type::NAME), (&slot, Type::NAME)];
        let rows = self.query("compare publication and slot", SQL, &names).await?;
        rows.first().map_or(Ok(false), |row| row.get("older"))
    }

    /// Creates a publication of the inserts into tables, each a schema and a name, and a row filter
    /// where it has one; there may be none.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 42710 (`duplicate_object`) when there is one of this
    /// name, 42501 (`insufficient_privilege`) when the role may not create it or does not own a
    /// table, 42P01 (`undefined_table`) when a table is missing.
    pub async fn create_publication(
        &self,
        name: &str,
        tables: &[PublishTable<'_>],
    ) -> Result<(), Error> {
        let sql = create_command(name, tables)?;
        self.execute("create the publication", &sql).await.map(drop)
    }

    /// Drops a publication.
    ///
    /// # Errors
    ///
    /// The connection or the command fails; 42704 (`undefined_object`) when there is none of this
    /// name, 42501 (`insufficient_privilege`) when the role does not own it.
    pub async fn drop_publication(&self, name: &str) -> Result<(), Error> {
        let sql = format!("DROP PUBLICATION {}", quote_identifier(name)?);
        self.execute("drop the publication", &sql).await.map(drop)
    }
}

/// A table to be published: schema, name, and the row filter as an expression in SQL.
pub type PublishTable<'a> = (&'a str, &'a str, Option<&'a str>);

/// The list of tables of `CREATE PUBLICATION`, or of `ALTER PUBLICATION … SET TABLE`.
///
/// # Errors
///
/// A name cannot be quoted.
pub fn table_list(tables: &[PublishTable<'_>]) -> Result<String, Error> {
    let table = |(schema, table, filter): &PublishTable<'_>| {
        let quoted = quote_qualified(schema, table)?;
        Ok(filter.map_or_else(|| quoted.clone(), |filter| format!("{quoted} WHERE ({filter})")))
    };
    Ok(tables.iter().map(table).collect::<Result<Vec<_>, Error>>()?.join(", "))
}

/// The statement that makes a publication of the inserts into the tables of a list, as
/// [`table_list`] makes it, all names quoted.
///
/// Without a table it publishes nothing by itself: messages are sent whatever the publication has,
/// but the server wants one when it decodes a change of any table.
#[must_use]
pub fn create_publication(name: &str, tables: &str) -> String {
    let tables = match tables {
        "" => String::new(),
        tables => format!(" FOR TABLE {tables}"),
    };
    format!(
        "CREATE PUBLICATION {name}{tables} WITH (publish = 'insert', publish_via_partition_root = true)"
    )
}

fn create_command(name: &str, tables: &[PublishTable<'_>]) -> Result<String, Error> {
    Ok(create_publication(&quote_identifier(name)?, &table_list(tables)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_created_for_inserts_through_the_root() {
        let command =
            create_command("wal\"post", &[("public", "outbox", None), ("App", "a.b", None)])
                .unwrap();
        assert_eq!(
            command,
            "CREATE PUBLICATION \"wal\"\"post\" FOR TABLE \"public\".\"outbox\", \"App\".\"a.b\" \
             WITH (publish = 'insert', publish_via_partition_root = true)"
        );
        let filtered = create_command("p_0", &[("public", "outbox", Some("(h & 1) = 0"))]).unwrap();
        assert!(
            filtered.contains("TABLE \"public\".\"outbox\" WHERE ((h & 1) = 0) WITH"),
            "{filtered}"
        );
        assert_eq!(
            create_command("p", &[]).unwrap(),
            "CREATE PUBLICATION \"p\" WITH (publish = 'insert', publish_via_partition_root = true)"
        );
        assert!(create_command("", &[("public", "outbox", None)]).is_err());
    }
}
