//! What a standby proves before it says that it could take over.
//!
//! In a rolling update the instance at work is stopped once the new one is ready. So a new one whose
//! configuration does not fit the tables must not be ready; it learns that from the catalog, for it
//! does not read the stream yet. Only a standby asks: an instance that takes the slot goes by the
//! stream, which tells of each row what the table was like when the row was written.

use super::prepare::Reached;
use crate::config::Config;
use crate::error::Failure;
use crate::outbox::message::MessageReader;
use crate::outbox::present::Present;
use crate::status::HaltCode;

/// Looks whether rows that are written now could become events under this configuration.
///
/// # Errors
/// A column is not there or has a type that its role cannot have.
pub(super) async fn could_take_over(config: &Config, reached: &Reached) -> Result<(), Failure> {
    if let Some(prefix) = &config.messages {
        MessageReader::new(prefix, &config.events).map_err(|error| {
            Failure::halt(
                HaltCode::NotReady,
                format!("no message can be read as an outbox row: {error}"),
                "set the variable that the message names; the instance that holds the slot works on meanwhile",
            )
        })?;
    }
    for name in &config.tables {
        let table = reached
            .catalog
            .table(&name.schema, &name.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        // A table that is gone is told of where the publication is examined.
        let Some(mut table) = table else { continue };
        if Present::of(name, &table, &config.events).is_ok() {
            continue;
        }
        // Postgres 18 can publish stored generated columns, so they may be what is looked for.
        table.columns.iter_mut().for_each(|column| column.generated = false);
        if let Err(error) = Present::of(name, &table, &config.events) {
            return Err(Failure::halt(
                HaltCode::NotReady,
                error.to_string(),
                "set the variable that the message names, or alter the table; the instance that holds the slot works on meanwhile",
            ));
        }
    }
    Ok(())
}
