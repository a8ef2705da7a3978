//! The outbox table that `--table` makes.

use crate::cloudevent::options::EventOptions;
use crate::outbox::role::{ColumnChoice, Role, TableName};
use crate::postgres::catalog::{Column, Table};
use crate::postgres::identifier::{quote_identifier, quote_qualified};

/// Role, name, type, object id of the type, and the rest of the definition.
const COLUMNS: [(Role, &str, &str, u32, &str); 6] = [
    (Role::Id, "id", "uuid", 2950, "PRIMARY KEY DEFAULT gen_random_uuid()"),
    (Role::AggregateType, "aggregatetype", "text", 25, "NOT NULL"),
    (Role::AggregateId, "aggregateid", "text", 25, "NOT NULL"),
    (Role::Type, "type", "text", 25, "NOT NULL"),
    (Role::Payload, "payload", "jsonb", 3802, ""),
    (Role::Time, "created_at", "timestamptz", 1184, "NOT NULL DEFAULT now()"),
];

fn name(options: &EventOptions, role: Role, default: &str) -> Option<String> {
    match options.columns.get(&role) {
        Some(ColumnChoice::Named(name)) => Some(name.clone()),
        Some(ColumnChoice::Absent) => None,
        Some(ColumnChoice::ByAlias) | None => Some(default.to_owned()),
    }
}

/// The statement that makes it, with the columns' names of the configuration.
pub(crate) fn statement(table: &TableName, options: &EventOptions) -> Option<String> {
    let columns = COLUMNS.iter().filter_map(|(role, default, type_name, _, rest)| {
        let column = quote_identifier(&name(options, *role, default)?).ok()?;
        Some(format!("    {column} {type_name} {rest}").trim_end().to_owned())
    });
    let columns: Vec<_> = columns.collect();
    let table = quote_qualified(&table.schema, &table.table).ok()?;
    Some(format!("CREATE TABLE {table} (\n{}\n)", columns.join(",\n")))
}

/// What the catalog will say of it.
pub(crate) fn made(options: &EventOptions) -> Table {
    let column = |(role, default, type_name, oid, rest): &(Role, &str, &str, u32, &str)| {
        Some(Column {
            name: name(options, *role, default)?,
            attnum: 0,
            type_name: (*type_name).to_owned(),
            type_oid: *oid,
            base_type_oid: *oid,
            base_type_name: (*type_name).to_owned(),
            not_null: rest.contains("NOT NULL") || rest.contains("PRIMARY"),
            has_default: rest.contains("DEFAULT"),
            generated: false,
        })
    };
    Table {
        oid: 0,
        relkind: 'r',
        replica_identity: 'd',
        row_security: false,
        columns: COLUMNS.iter().filter_map(column).collect(),
        primary_key: name(options, Role::Id, "id").into_iter().collect(),
    }
}
