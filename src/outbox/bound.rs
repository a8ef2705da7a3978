//! Comparing a time column with a moment, in SQL.

use super::column::ColumnType;
use crate::cloudevent::options::{EventOptions, TimeUnit};
use crate::postgres::catalog::Column;
use crate::postgres::identifier::{quote_identifier, quote_literal};

/// A time column whose values can be compared with a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeColumn {
    /// The column, quoted.
    column: String,
    /// The column, or what of it is an instant.
    expression: String,
    column_type: ColumnType,
    unit: TimeUnit,
}

impl TimeColumn {
    /// `None` for a column of a type that has no order in time, such as text.
    #[must_use]
    pub fn of(column: &Column, column_type: ColumnType, options: &EventOptions) -> Option<Self> {
        let quoted = quote_identifier(&column.name).ok()?;
        let expression = match column_type {
            ColumnType::Timestamp => {
                format!("{quoted} AT TIME ZONE {}", quote_literal(&options.time_zone).ok()?)
            }
            ColumnType::TimestampTz
            | ColumnType::Date
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8 => quoted.clone(),
            ColumnType::Bool
            | ColumnType::Bytea
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Other => return None,
        };
        Some(Self { column: quoted, expression, column_type, unit: options.time_unit })
    }

    /// What stands on the left of a comparison.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The column, quoted.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The condition that a constant of the column's type, in SQL, is not after a moment in
    /// microseconds since 1970.
    #[must_use]
    pub fn bound_is_past(&self, constant: &str, micros: i64) -> Option<String> {
        let typed = match self.column_type {
            ColumnType::Timestamp => {
                let zone = self.expression.strip_prefix(&self.column)?;
                format!("{constant}::timestamp{zone}")
            }
            ColumnType::TimestampTz => format!("{constant}::timestamptz"),
            ColumnType::Date => format!("{constant}::date"),
            ColumnType::Bool
            | ColumnType::Bytea
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Other => format!("{constant}::int8"),
        };
        let compared = self.compared("<=", micros)?;
        Some(format!("{typed}{}", compared.strip_prefix(&self.expression)?))
    }

    /// Whether a column can tell a moment from one a microsecond later.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        matches!(self.column_type, ColumnType::Timestamp | ColumnType::TimestampTz)
    }

    /// The condition that the column stands to a moment, in microseconds since 1970, as `operator`
    /// says. A moment within the column's grain is rounded down to the grain's beginning: that of a
    /// day for a date, in UTC. `None` for a moment that cannot be written.
    #[must_use]
    pub fn compared(&self, operator: &str, micros: i64) -> Option<String> {
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        let bound = match self.column_type {
            ColumnType::Timestamp | ColumnType::TimestampTz => format!("timestamptz '{time}'"),
            ColumnType::Date => format!("(timestamptz '{time}')::date"),
            ColumnType::Bool
            | ColumnType::Bytea
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Other => match self.unit {
                TimeUnit::Seconds => micros.div_euclid(1_000_000),
                TimeUnit::Milliseconds => micros.div_euclid(1_000),
                TimeUnit::Microseconds => micros,
                TimeUnit::Nanoseconds => micros.checked_mul(1_000)?,
            }
            .to_string(),
        };
        Some(format!("{} {operator} {bound}", self.expression))
    }
}
