//! A table that a command reads by SQL, which the relay never does.

use super::command::{Stopped, refused};
use crate::config::Config;
use crate::error::Failure;
use crate::outbox::mapping::MappingError;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, Table};
use crate::status::HaltCode;

/// The table, if it is there and our role may read it.
pub(super) async fn table(
    config: &Config,
    catalog: &Catalog,
    name: &TableName,
) -> Result<Table, Stopped> {
    let looking = format!("look at table {name}");
    let table = catalog
        .table(&name.schema, &name.table)
        .await
        .map_err(|error| Failure::postgres(&looking, &error))?;
    let table = table.ok_or_else(|| {
        refused(
            format!("table {name} does not exist"),
            "create the outbox table, or name another one in WALPOST_TABLE",
        )
    })?;
    let privileges =
        catalog.privileges(table.oid).await.map_err(|error| Failure::postgres(&looking, &error))?;
    if privileges.is_some_and(|may| may.schema_usage && may.select) {
        return Ok(table);
    }
    Err(refused(
        format!("the role {} may not read table {name}", config.database.user),
        format!(
            "the relay needs that right only for a snapshot at its first start, this command does: GRANT USAGE ON SCHEMA {} TO …; GRANT SELECT ON {name} TO …; or run it as another role",
            name.schema
        ),
    ))
}

/// A table that cannot be read as an outbox.
pub(super) fn unfit(error: &MappingError) -> Stopped {
    Stopped::Failure(Failure::halt(
        HaltCode::TableChanged,
        error.to_string(),
        "give the table the column, or set the variable that the message names",
    ))
}
