//! What is in the database already.

use crate::config::Config;
use crate::error::Failure;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, PrintedTexts, Publication, Table};
use crate::postgres::identifier::quote_literal;

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
    /// The publication.
    pub(crate) publication: Option<Publication>,
    /// Its owner.
    pub(crate) publication_owner: Option<String>,
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
        Ok(Self {
            version_num: catalog.version_num(),
            encoding: text(&facts, 0),
            user: text(&facts, 1),
            rds: yes(&facts, 2),
            role,
            tables,
            publication,
            publication_owner: owner.first().map(|row| text(row, 0)),
            slot: slot.map(|slot| slot.active),
        })
    }
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
