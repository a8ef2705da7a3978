//! The query that lists the rows of a range, for a table with a time column.

use std::time::Duration;

use crate::config::Config;
use crate::error::Failure;
use crate::outbox::bound::TimeColumn;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, Table};
use crate::postgres::identifier::{quote_identifier, quote_qualified};
use crate::supervisor::decision::Missing;

/// The time column is mostly filled before the commit, when a row or its transaction begins; so
/// much before the range is listed too.
const MARGIN: Duration = Duration::from_secs(300);

/// For each table a comment or a query.
pub(super) async fn queries(
    config: &Config,
    catalog: &Catalog,
    missing: &Missing,
) -> Result<Vec<String>, Failure> {
    let mut queries = Vec::new();
    for name in &config.tables {
        let table = catalog
            .table(&name.schema, &name.table)
            .await
            .map_err(|error| Failure::postgres(&format!("look at table {name}"), &error))?;
        queries.push(match table {
            Some(table) => query(config, name, &table, missing),
            None => format!("-- table {name} does not exist"),
        });
    }
    Ok(queries)
}

fn query(config: &Config, name: &TableName, table: &Table, missing: &Missing) -> String {
    let without =
        |why: &str| format!("-- {name}: {why}; compare its rows with the topics by their id");
    let present = match Present::of(name, table, &config.events) {
        Ok(present) => present,
        Err(error) => return format!("-- {error}"),
    };
    let Some((column, column_type)) = present.time() else {
        return without("it has no time column");
    };
    let time = TimeColumn::of(column, column_type, &config.events);
    let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(0);
    let mut conditions = Vec::new();
    for (operator, micros) in [
        (">=", if missing.from_time == 0 { 0 } else { missing.from_time.saturating_sub(margin) }),
        ("<=", missing.to_time),
    ] {
        if micros == 0 {
            continue;
        }
        match time.as_ref().and_then(|time| time.compared(operator, micros)) {
            Some(condition) => conditions.push(condition),
            None => return without("its time column has no type that can be compared with a time"),
        }
    }
    let (Ok(table), Ok(column)) =
        (quote_qualified(&name.schema, &name.table), quote_identifier(&column.name))
    else {
        return without("it has a name that cannot be quoted");
    };
    let conditions = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!("SELECT * FROM {table}{conditions} ORDER BY {column};")
}
