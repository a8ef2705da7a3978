//! Which rows of an outbox table are meant, as a condition in SQL.
//!
//! For those who read the table: `walpost replay`, and the query that `walpost checkpoint accept`
//! prints. Both mean the same rows by the same range.

use super::column::{ColumnType, Field};
use super::present::Present;
use super::role::Role;
use crate::cloudevent::options::{EventOptions, TimeUnit};
use crate::postgres::catalog::Column;
use crate::postgres::identifier::{quote_identifier, quote_literal};

/// What is asked for. All that is set must hold; of several values of one kind, one must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// From this moment on, itself included; microseconds since 1970, by the time column.
    pub since: Option<i64>,
    /// Up to this moment, itself included.
    pub until: Option<i64>,
    /// Ids of rows.
    pub ids: Vec<String>,
    /// Aggregate ids.
    pub aggregates: Vec<String>,
    /// Aggregate types.
    pub aggregate_types: Vec<String>,
    /// Types of events, as the type column has them.
    pub types: Vec<String>,
}

impl Selection {
    /// Nothing is asked for: every row is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The condition, as what follows `WHERE`; `None` when every row is meant.
    ///
    /// # Errors
    /// The table has no column that could be asked, in words that go on after its name.
    pub fn condition(
        &self,
        present: &Present<'_>,
        options: &EventOptions,
    ) -> Result<Option<String>, String> {
        let mut conditions = self.values(present)?;
        conditions.extend(self.times(present, options)?);
        Ok(joined(&conditions))
    }

    /// The condition for rows that a range leaves out because their time is NULL; `None` where
    /// there is no range, or no such row.
    ///
    /// # Errors
    /// As [`Self::condition`].
    pub fn without_time(&self, present: &Present<'_>) -> Result<Option<String>, String> {
        let Some((column, _)) = present.time() else { return Ok(None) };
        if column.not_null || (self.since.is_none() && self.until.is_none()) {
            return Ok(None);
        }
        let mut conditions = self.values(present)?;
        conditions.push(format!("{} IS NULL", quoted(&column.name)?));
        Ok(joined(&conditions))
    }

    fn values(&self, present: &Present<'_>) -> Result<Vec<String>, String> {
        let mut conditions = Vec::new();
        for (role, what, wanted) in [
            (Role::Id, "id", &self.ids),
            (Role::AggregateId, "aggregate id", &self.aggregates),
            (Role::AggregateType, "aggregate type", &self.aggregate_types),
            (Role::Type, "type", &self.types),
        ] {
            if wanted.is_empty() {
                continue;
            }
            let field = present.mapping.role(role);
            let found = field.and_then(|field| Some((field, *present.columns.get(field.index)?)));
            let (field, column) =
                found.ok_or_else(|| format!("it has no column for the {what}"))?;
            conditions.push(one_of(field, column, wanted)?);
        }
        Ok(conditions)
    }

    fn times(&self, present: &Present<'_>, options: &EventOptions) -> Result<Vec<String>, String> {
        let bounds = [(">=", self.since), ("<=", self.until)];
        let bounds = bounds.into_iter().filter_map(|(operator, at)| Some((operator, at?)));
        let mut conditions = Vec::new();
        for (operator, micros) in bounds {
            let (column, column_type) =
                present.time().ok_or_else(|| "it has no time column".to_owned())?;
            let name = quoted(&column.name)?;
            let bound = bound(options, column_type, micros).ok_or_else(|| {
                "its time column has no type that can be compared with a time".to_owned()
            })?;
            let zone = quote_literal(&options.time_zone).map_err(|error| error.to_string())?;
            conditions.push(match column_type {
                ColumnType::Timestamp => format!("{name} AT TIME ZONE {zone} {operator} {bound}"),
                ColumnType::TimestampTz
                | ColumnType::Date
                | ColumnType::Int2
                | ColumnType::Int4
                | ColumnType::Int8
                | ColumnType::Bool
                | ColumnType::Bytea
                | ColumnType::Text
                | ColumnType::Char
                | ColumnType::Json
                | ColumnType::Jsonb
                | ColumnType::Other => format!("{name} {operator} {bound}"),
            });
        }
        Ok(conditions)
    }
}

fn joined(conditions: &[String]) -> Option<String> {
    if conditions.is_empty() { None } else { Some(conditions.join(" AND ")) }
}

fn quoted(name: &str) -> Result<String, String> {
    quote_identifier(name).map_err(|error| error.to_string())
}

/// A column equals one of these texts, which are what an event shows of it.
fn one_of(field: Field, column: &Column, wanted: &[String]) -> Result<String, String> {
    let name = quoted(&column.name)?;
    // Where the constant takes the column's type, an index on the column can be used.
    let name = match field.column_type {
        ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Text
        | ColumnType::Char
        | ColumnType::Bytea => name,
        ColumnType::Other if column.base_type_name == "uuid" => name,
        ColumnType::Bool
        | ColumnType::Json
        | ColumnType::Jsonb
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::TimestampTz
        | ColumnType::Other => format!("{name}::text"),
    };
    let mut constants = Vec::new();
    for value in wanted {
        let value = match field.column_type {
            // Events show the digits without their `\x`.
            ColumnType::Bytea => format!("\\x{}", value.strip_prefix("\\x").unwrap_or(value)),
            ColumnType::Bool
            | ColumnType::Int2
            | ColumnType::Int4
            | ColumnType::Int8
            | ColumnType::Text
            | ColumnType::Char
            | ColumnType::Json
            | ColumnType::Jsonb
            | ColumnType::Date
            | ColumnType::Timestamp
            | ColumnType::TimestampTz
            | ColumnType::Other => value.clone(),
        };
        constants.push(quote_literal(&value).map_err(|error| error.to_string())?);
    }
    Ok(format!("{name} IN ({})", constants.join(", ")))
}

/// A moment as a constant that compares with a column of this type.
fn bound(options: &EventOptions, column_type: ColumnType, micros: i64) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(micros).ok()?;
    match column_type {
        ColumnType::Timestamp | ColumnType::TimestampTz => Some(format!("timestamptz '{time}'")),
        // Whole days: from the beginning of the first, and the last one too.
        ColumnType::Date => Some(format!("(timestamptz '{time}')::date")),
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => {
            let number = match options.time_unit {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::mapping::tests::options;
    use crate::outbox::role::TableName;
    use crate::postgres::catalog::Table;

    fn column(name: &str, oid: u32, type_name: &str, not_null: bool) -> Column {
        Column {
            name: name.to_owned(),
            attnum: 1,
            type_name: type_name.to_owned(),
            type_oid: oid,
            base_type_oid: oid,
            base_type_name: type_name.to_owned(),
            not_null,
            has_default: false,
            generated: false,
        }
    }

    fn table(time: Column) -> Table {
        Table {
            oid: 1,
            relkind: 'r',
            replica_identity: 'd',
            row_security: false,
            columns: vec![
                column("id", 2950, "uuid", true),
                column("aggregatetype", 25, "text", true),
                column("aggregateid", 17, "bytea", true),
                column("type", 16, "boolean", true),
                column("payload", 3802, "jsonb", true),
                time,
            ],
            primary_key: Vec::new(),
        }
    }

    #[track_caller]
    fn check(time: Column, selection: &Selection, expected: Result<Option<&str>, &str>) {
        let (name, table) =
            (TableName { schema: "public".to_owned(), table: "outbox".to_owned() }, table(time));
        let options = options();
        let present = Present::of(&name, &table, &options).expect("an outbox");
        let condition = selection.condition(&present, &options);
        assert_eq!(condition.as_ref().map(Option::as_deref).map_err(String::as_str), expected);
    }

    fn at(since: i64, until: i64) -> Selection {
        Selection { since: Some(since), until: Some(until), ..Selection::default() }
    }

    #[test]
    fn values_are_compared_in_the_columns_type_where_an_index_can_help() {
        let wanted = |text: &str| vec![text.to_owned()];
        let time = || column("created_at", 1184, "timestamp with time zone", true);
        check(time(), &Selection::default(), Ok(None));
        check(
            time(),
            &Selection { ids: vec!["a".to_owned(), "o'b".to_owned()], ..Selection::default() },
            Ok(Some("\"id\" IN ('a', 'o''b')")),
        );
        check(
            time(),
            &Selection {
                aggregates: wanted("ff"),
                aggregate_types: wanted("order"),
                types: wanted("true"),
                ..Selection::default()
            },
            Ok(Some(
                "\"aggregateid\" IN ('\\xff') AND \"aggregatetype\" IN ('order') AND \"type\"::text IN ('true')",
            )),
        );
        check(
            time(),
            &Selection { ids: wanted("a\0"), ..Selection::default() },
            Err("\"a\\0\" cannot be sent to Postgres"),
        );
    }

    #[test]
    fn a_range_holds_both_its_ends_in_the_columns_own_unit() {
        let range = at(1_700_000_000_000_000, 1_700_000_060_500_000);
        let (from, to) = ("2023-11-14T22:13:20Z", "2023-11-14T22:14:20.5Z");
        check(
            column("created_at", 1184, "timestamp with time zone", true),
            &range,
            Ok(Some(&format!(
                "\"created_at\" >= timestamptz '{from}' AND \"created_at\" <= timestamptz '{to}'"
            ))),
        );
        check(
            column("created_at", 1114, "timestamp without time zone", true),
            &range,
            Ok(Some(&format!(
                "\"created_at\" AT TIME ZONE 'UTC' >= timestamptz '{from}' AND \"created_at\" AT TIME ZONE 'UTC' <= timestamptz '{to}'"
            ))),
        );
        check(
            column("created_at", 20, "bigint", true),
            &range,
            Ok(Some("\"created_at\" >= 1700000000000 AND \"created_at\" <= 1700000060500")),
        );
        check(
            column("created_at", 1082, "date", true),
            &range,
            Ok(Some(&format!(
                "\"created_at\" >= (timestamptz '{from}')::date AND \"created_at\" <= (timestamptz '{to}')::date"
            ))),
        );
    }

    #[test]
    fn a_range_needs_a_time_column() {
        check(column("note", 25, "text", true), &at(0, 1), Err("it has no time column"));
    }

    #[test]
    fn rows_without_a_time_are_asked_for_only_where_a_range_leaves_them_out() {
        let name = TableName { schema: "public".to_owned(), table: "outbox".to_owned() };
        let options = options();
        for (not_null, selection, expected) in [
            (false, at(0, 1), Some("\"created_at\" IS NULL")),
            (true, at(0, 1), None),
            (false, Selection::default(), None),
        ] {
            let table = table(column("created_at", 1184, "timestamp with time zone", not_null));
            let present = Present::of(&name, &table, &options).expect("an outbox");
            let condition = selection.without_time(&present);
            assert_eq!(condition.as_ref().map(Option::as_deref), Ok(expected), "{selection:?}");
        }
    }
}
