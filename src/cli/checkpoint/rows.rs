//! The query that lists the rows of a range, for a table with a time column.

use std::time::Duration;

use crate::cloudevent::options::TimeUnit;
use crate::config::Config;
use crate::error::Failure;
use crate::outbox::column::ColumnType;
use crate::outbox::present::Present;
use crate::outbox::role::TableName;
use crate::postgres::catalog::{Catalog, Table};
use crate::postgres::identifier::{quote_identifier, quote_literal, quote_qualified};
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
    let condition = |operator: &str, micros: i64| -> Option<String> {
        let column = quote_identifier(&column.name).ok()?;
        let bound = bound(config, column_type, micros)?;
        if column_type != ColumnType::Timestamp {
            return Some(format!("{column} {operator} {bound}"));
        }
        let zone = quote_literal(&config.events.time_zone).ok()?;
        Some(format!("{column} AT TIME ZONE {zone} {operator} {bound}"))
    };
    let margin = i64::try_from(MARGIN.as_micros()).unwrap_or(0);
    let mut conditions = Vec::new();
    for (operator, micros) in [
        (">=", if missing.from_time == 0 { 0 } else { missing.from_time.saturating_sub(margin) }),
        ("<=", missing.to_time),
    ] {
        if micros == 0 {
            continue;
        }
        match condition(operator, micros) {
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

/// A moment as a constant that compares with a column of this type.
fn bound(config: &Config, column_type: ColumnType, micros: i64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    match column_type {
        ColumnType::Timestamp | ColumnType::TimestampTz => Some(format!("timestamptz '{time}'")),
        // Whole days: from the beginning of the first, and the last one too.
        ColumnType::Date => Some(format!("(timestamptz '{time}')::date")),
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
            let number = match config.events.time_unit {
                TimeUnit::Seconds => micros.div_euclid(1_000_000),
                TimeUnit::Milliseconds => micros.div_euclid(1_000),
                TimeUnit::Microseconds => micros,
                TimeUnit::Nanoseconds => micros.checked_mul(1_000)?,
            };
            Some(number.to_string())
        }
        ColumnType::Bool
        | ColumnType::Bytea
        | ColumnType::Text
        | ColumnType::Char
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Other => None,
    }
}
