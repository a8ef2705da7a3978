//! What is in the database already.

use crate::config::Config;
use crate::error::Failure;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, PrintedTexts, Publication, Table};
use crate::postgres::identifier::quote_literal;
use crate::shard::{self, FilterError};

/// The database as `setup` finds it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// `server_version_num`
    pub(crate) version_num: u32,
    /// `UTF8`, as a rule.
    pub(crate) encoding: String,
    /// Who is connected.
    pub(crate) user: String,
    /// Amazon's role that stands for the attribute `REPLICATION`.
    pub(crate) rds: bool,
    /// The role that walpost will have.
    pub(crate) role: Option<Role>,
    /// The tables of the configuration.
    pub(crate) tables: Vec<FoundTable>,
    /// What there is of each stream, in the order of their numbers; one, as a rule.
    pub(crate) streams: Vec<FoundStream>,
}

/// Publication and slot of one stream.
#[derive(Clone, Debug)]
pub(crate) struct FoundStream {
    /// The name that the publication has or gets.
    pub(crate) publication_name: String,
    /// The publication.
    pub(crate) publication: Option<Publication>,
    /// Its owner.
    pub(crate) publication_owner: Option<String>,
    /// The row filter that each table of the configuration is to have; `None` where there is one
    /// stream. Or why there can be none.
    pub(crate) filters: Result<Vec<Option<String>>, String>,
    /// The row filter that each table has, where there are several streams.
    pub(crate) filters_now: Vec<Option<String>>,
    /// The name that the slot has or gets.
    pub(crate) slot_name: String,
    /// The slot is there; whether somebody holds it.
    pub(crate) slot: Option<bool>,
}

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) superuser: bool,
    pub(crate) can_login: bool,
    pub(crate) replication: bool,
}

/// A table of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct FoundTable {
    pub(crate) name: TableName,
    /// As the catalog has it.
    pub(crate) table: Option<Table>,
    /// Constraints of walpost's, by name: the mark of their condition, and whether all rows were
    /// looked at.
    pub(crate) constraints: Vec<(String, String, bool)>,
    /// What the role may do: use the schema, read, delete.
    pub(crate) may: [bool; 3],
}

impl Found {
    /// Looks at everything. Changes nothing.
    ///
    /// # Errors
    /// The connection or a query fails.
    pub(crate) async fn look(
        config: &Config,
        catalog: &Catalog,
        role: &str,
    ) -> Result<Self, Failure> {
        let quoted = literal(role)?;
        let facts = rows(
            catalog,
            "SELECT current_setting('server_encoding'), current_user::text,
                EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication')::text",
        )
        .await?;
        let facts = facts.into_iter().next().unwrap_or_default();
        let role = rows(
            catalog,
            &format!(
                "SELECT rolsuper::text, rolcanlogin::text, (rolreplication OR EXISTS (
                    SELECT FROM pg_roles a WHERE a.rolname = 'rds_replication'
                        AND pg_has_role(r.oid, a.oid, 'MEMBER')))::text
                FROM pg_roles r WHERE rolname = {quoted}"
            ),
        )
        .await?;
        let role = role.first().map(|row| Role {
            superuser: yes(row, 0),
            can_login: yes(row, 1),
            replication: yes(row, 2),
        });
        let mut tables = Vec::new();
        for name in &config.tables {
            let grantee = role.map(|_| quoted.as_str());
            tables.push(FoundTable::look(catalog, name, grantee).await?);
        }
        let mut streams = Vec::new();
        for stream in config.streams() {
            streams.push(FoundStream::look(&stream, catalog, &tables).await?);
        }
        Ok(Self {
            version_num: catalog.version_num(),
            encoding: text(&facts, 0),
            user: text(&facts, 1),
            rds: yes(&facts, 2),
            role,
            tables,
            streams,
        })
    }
}

impl FoundStream {
    async fn look(
        config: &Config,
        catalog: &Catalog,
        tables: &[FoundTable],
    ) -> Result<Self, Failure> {
        let name = &config.publication;
        let failed = |error| Failure::postgres(&format!("look at publication {name}"), &error);
        let publication = catalog.publication(name).await.map_err(failed)?;
        let owner = rows(
            catalog,
            &format!(
                "SELECT pg_get_userbyid(pubowner)::text FROM pg_publication WHERE pubname = {}",
                literal(name)?
            ),
        )
        .await?;
        let slot = catalog
            .slot(&config.slot)
            .await
            .map_err(|error| Failure::postgres(&format!("look at slot {}", config.slot), &error))?;
        let mut filters_now = Vec::new();
        if config.shard.is_some() {
            for table in &config.tables {
                let place = (table.schema.as_str(), table.table.as_str());
                let published = catalog.published_rows(place, name).await.map_err(failed)?;
                filters_now.push(published.row_filter);
            }
        }
        Ok(Self {
            publication_name: name.clone(),
            publication,
            publication_owner: owner.first().map(|row| text(row, 0)),
            filters: filters(config, catalog, tables).await?,
            filters_now,
            slot_name: config.slot.clone(),
            slot: slot.map(|slot| slot.active),
        })
    }
}

/// The row filters that the tables are to have; a table that is not there as it would be made.
async fn filters(
    config: &Config,
    catalog: &Catalog,
    tables: &[FoundTable],
) -> Result<Result<Vec<Option<String>>, String>, Failure> {
    let made = super::table::made(&config.events);
    let alone = tables.len() == 1;
    let mut filters = Vec::new();
    for found in tables {
        let Some(shard) = config.shard else {
            filters.push(None);
            continue;
        };
        let table = (&found.name, found.table.as_ref().unwrap_or(&made));
        match shard::filter(shard, table, &config.events, alone, catalog).await {
            Ok(filter) => filters.push(Some(filter)),
            Err(FilterError::Postgres(error)) => {
                return Err(Failure::postgres("quote a name", &error));
            }
            Err(FilterError::Key(error)) => {
                return Ok(Err(format!("{error}; {}", error.hint)));
            }
            Err(FilterError::Mapping(error)) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(filters))
}

impl FoundTable {
    async fn look(
        catalog: &Catalog,
        name: &TableName,
        grantee: Option<&str>,
    ) -> Result<Self, Failure> {
        let table = catalog
            .table(&name.schema, &name.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        let mut found =
            Self { name: name.clone(), table, constraints: Vec::new(), may: [false; 3] };
        let Some(table) = &found.table else { return Ok(found) };
        let constraints = rows(
            catalog,
            &format!(
                "SELECT conname::text, coalesce(obj_description(oid, 'pg_constraint'), ''),
                    convalidated::text
                FROM pg_constraint
                WHERE conrelid = {} AND contype = 'c' AND conname LIKE 'walpost\\_%'",
                table.oid
            ),
        )
        .await?;
        found.constraints =
            constraints.iter().map(|row| (text(row, 0), text(row, 1), yes(row, 2))).collect();
        if let Some(grantee) = grantee {
            let may = rows(
                catalog,
                &format!(
                    "SELECT has_schema_privilege({grantee}, relnamespace, 'USAGE')::text,
                        has_table_privilege({grantee}, oid, 'SELECT')::text,
                        has_table_privilege({grantee}, oid, 'DELETE')::text
                    FROM pg_class WHERE oid = {}",
                    table.oid
                ),
            )
            .await?;
            if let Some(row) = may.first() {
                found.may = [yes(row, 0), yes(row, 1), yes(row, 2)];
            }
        }
        Ok(found)
    }
}

fn literal(text: &str) -> Result<String, Failure> {
    quote_literal(text).map_err(|error| Failure::postgres("quote a name", &error))
}

fn text(row: &[Option<String>], column: usize) -> String {
    row.get(column).cloned().flatten().unwrap_or_default()
}

fn yes(row: &[Option<String>], column: usize) -> bool {
    row.get(column).is_some_and(|value| value.as_deref() == Some("true"))
}

async fn rows(catalog: &Catalog, sql: &str) -> Result<Vec<PrintedTexts>, Failure> {
    let found = catalog.statements(sql).await;
    found
        .map(|(rows, _)| rows)
        .map_err(|error| Failure::postgres("look at what is there already", &error))
}
