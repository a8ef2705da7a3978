//! The hash of a row's key, in the words of a row filter.
//!
//! A filter may use built-in immutable functions and nothing else (manual, "CREATE PUBLICATION",
//! "Expressions"; `check_simple_rowfilter_expr` in `src/backend/commands/publicationcmds.c`). A
//! cast such as `id::text` is refused for numbers and `uuid`, because it is a conversion and no
//! function; `textin(uuid_out(id))` does the same and is accepted (seen with Postgres 15 and 18).
//!
//! Where a key can come from one column only, the hash of that column's type is enough and the
//! quickest. Where it can come from two, of one table or of several, the *text* is hashed, which
//! is what the record's key is made of: so one key has one hash wherever it comes from. `hashtext`
//! knows bytes only and no locale, unless a column's collation is not deterministic, which a filter
//! may not use.
//!
//! All texts here are written as the server prints them back (`pg_get_expr` with nothing but
//! `pg_catalog` in the path), so that a publication can be compared with them word for word.

use std::fmt;

use crate::outbox::present::Present;
use crate::outbox::role::{Role, TableName};
use crate::postgres::catalog::Column;

/// The types whose values a filter can hash, as [`Column::type_oid`] has them: not the type below a
/// domain, since types of users are refused in a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Varchar,
    Name,
    Char,
    Uuid,
    Int2,
    Int4,
    Int8,
    Numeric,
    Bytea,
}

impl Kind {
    /// Source: `src/include/catalog/pg_type.dat`; these ids never change.
    const fn of_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            17 => Self::Bytea,
            19 => Self::Name,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            25 => Self::Text,
            1042 => Self::Char,
            1043 => Self::Varchar,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            _ => return None,
        })
    }

    /// The value hashed as what it is. Values that print alike have one hash.
    fn hash(self, column: &str) -> String {
        match self {
            Self::Text => format!("hashtext({column})"),
            Self::Varchar | Self::Name => format!("hashtext(({column})::text)"),
            Self::Char => format!("hashbpchar({column})"),
            Self::Uuid => format!("uuid_hash({column})"),
            Self::Int2 => format!("hashint2({column})"),
            Self::Int4 => format!("hashint4({column})"),
            Self::Int8 => format!("hashint8({column})"),
            Self::Numeric => format!("hash_numeric({column})"),
            Self::Bytea => format!("hashtext(encode({column}, 'hex'::text))"),
        }
    }

    /// The text that becomes the key; `None` where that is not text but bytes.
    fn text(self, column: &str) -> Option<String> {
        Some(match self {
            Self::Text => column.to_owned(),
            Self::Varchar | Self::Name => format!("({column})::text"),
            Self::Char => format!("textin(bpcharout({column}))"),
            Self::Uuid => format!("textin(uuid_out({column}))"),
            Self::Int2 => format!("textin(int2out({column}))"),
            Self::Int4 => format!("textin(int4out({column}))"),
            Self::Int8 => format!("textin(int8out({column}))"),
            Self::Numeric => format!("textin(numeric_out({column}))"),
            Self::Bytea => return None,
        })
    }

    /// A value may print as nothing.
    const fn may_be_empty(self) -> bool {
        matches!(self, Self::Text | Self::Varchar | Self::Name | Self::Char | Self::Bytea)
    }
}

/// A column that a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name, quoted where SQL wants it.
    pub name: String,
    kind: Kind,
}

/// Where the keys of a table's rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    partition_key: Option<KeyColumn>,
    aggregate_id: Option<KeyColumn>,
}

/// A table whose keys a filter cannot hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unshardable {
    /// What is wrong, with the name of table and column.
    pub message: String,
    /// What mends it.
    pub hint: &'static str,
}

impl fmt::Display for Unshardable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unshardable {}

impl Key {
    /// The columns that play the roles of the key.
    ///
    /// # Errors
    ///
    /// There is none, or one is of a type that a filter cannot hash.
    pub fn of(name: &TableName, present: &Present<'_>) -> Result<Self, Unshardable> {
        let column = |role| {
            let found = present.columns.get(present.mapping.role(role)?.index)?;
            Some(key_column(name, found))
        };
        let key = Self {
            partition_key: column(Role::PartitionKey).transpose()?,
            aggregate_id: column(Role::AggregateId).transpose()?,
        };
        if key.partition_key.is_none() && key.aggregate_id.is_none() {
            return Err(Unshardable {
                message: format!(
                    "table {name} has no column for the key, so its rows cannot be divided among shards"
                ),
                hint: "name one in WALPOST_COLUMN_AGGREGATE_ID or WALPOST_COLUMN_PARTITION_KEY, or set WALPOST_SHARDS=1",
            });
        }
        Ok(key)
    }

    /// The columns, for their names to be quoted.
    pub fn columns_mut(&mut self) -> impl Iterator<Item = &mut KeyColumn> {
        self.partition_key.iter_mut().chain(&mut self.aggregate_id)
    }

    /// The expression of the hash. NULL for a key that is NULL.
    ///
    /// # Errors
    ///
    /// Two columns have to be compared and one is of bytes.
    pub fn hash(&self, name: &TableName, alone: bool) -> Result<String, Unshardable> {
        let simple = match (&self.partition_key, &self.aggregate_id) {
            (None, Some(only)) if alone => Some(only),
            (Some(only), None) if alone && !only.kind.may_be_empty() => Some(only),
            _ => None,
        };
        if let Some(only) = simple {
            return Ok(only.kind.hash(&only.name));
        }
        let text = |column: &KeyColumn| {
            column.kind.text(&column.name).ok_or_else(|| Unshardable {
                message: format!(
                    "column {} of table {name} is bytea, and keys of that table may come from another column too: a filter cannot compare the two",
                    column.name
                ),
                hint: "set WALPOST_COLUMN_PARTITION_KEY=- where the column is not needed, follow one table only, or set WALPOST_SHARDS=1",
            })
        };
        // An empty partition key is as none; an empty aggregate id is an empty key.
        let partition_key = self.partition_key.as_ref().map(|column| {
            let text = text(column)?;
            Ok(match column.kind.may_be_empty() {
                true => format!("NULLIF({text}, ''::text)"),
                false => text,
            })
        });
        let aggregate_id = self.aggregate_id.as_ref().map(text);
        Ok(match (partition_key.transpose()?, aggregate_id.transpose()?) {
            (Some(first), Some(second)) => format!("hashtext(COALESCE({first}, {second}))"),
            (Some(only), None) | (None, Some(only)) => format!("hashtext({only})"),
            (None, None) => "NULL::integer".to_owned(),
        })
    }
}

fn key_column(table: &TableName, column: &Column) -> Result<KeyColumn, Unshardable> {
    match Kind::of_oid(column.type_oid) {
        Some(kind) => Ok(KeyColumn { name: column.name.clone(), kind }),
        None => Err(Unshardable {
            message: format!(
                "column {} of table {table} is {}, which no row filter can hash: keys of shards are text, varchar, char, name, uuid, smallint, integer, bigint, numeric or bytea",
                column.name, column.type_name
            ),
            hint: "change the column's type, name another column in WALPOST_COLUMN_PARTITION_KEY or WALPOST_COLUMN_AGGREGATE_ID, or set WALPOST_SHARDS=1",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableName {
        TableName { schema: "public".to_owned(), table: "outbox".to_owned() }
    }

    fn column(name: &str, oid: u32) -> Option<KeyColumn> {
        Some(KeyColumn { name: name.to_owned(), kind: Kind::of_oid(oid).expect("a known type") })
    }

    /// The hash by the types of partition key and aggregate id; 0 is no column.
    #[track_caller]
    fn check(partition_key: u32, aggregate_id: u32, alone: bool, expected: Option<&str>) {
        let of = |name, oid| if oid == 0 { None } else { column(name, oid) };
        let key =
            Key { partition_key: of("pk", partition_key), aggregate_id: of("id", aggregate_id) };
        assert_eq!(key.hash(&table(), alone).ok().as_deref(), expected);
    }

    #[test]
    fn a_key_of_one_column_is_hashed_as_what_it_is() {
        check(0, 25, true, Some("hashtext(id)"));
        check(0, 1043, true, Some("hashtext((id)::text)"));
        check(0, 2950, true, Some("uuid_hash(id)"));
        check(0, 20, true, Some("hashint8(id)"));
        check(0, 23, true, Some("hashint4(id)"));
        check(0, 17, true, Some("hashtext(encode(id, 'hex'::text))"));
        check(2950, 0, true, Some("uuid_hash(pk)"));
        check(25, 0, true, Some("hashtext(NULLIF(pk, ''::text))"));
    }

    #[test]
    fn a_key_that_two_columns_may_give_is_hashed_as_its_text() {
        check(25, 25, true, Some("hashtext(COALESCE(NULLIF(pk, ''::text), id))"));
        check(
            25,
            2950,
            true,
            Some("hashtext(COALESCE(NULLIF(pk, ''::text), textin(uuid_out(id))))"),
        );
        check(20, 20, true, Some("hashtext(COALESCE(textin(int8out(pk)), textin(int8out(id))))"));
        check(0, 2950, false, Some("hashtext(textin(uuid_out(id)))"));
        check(25, 17, true, None);
        check(0, 17, false, None);
    }

    #[test]
    fn a_type_of_a_user_is_refused_by_its_name() {
        let column = Column {
            name: "id".to_owned(),
            attnum: 1,
            type_name: "order_id".to_owned(),
            type_oid: 20_000,
            base_type_oid: 2950,
            base_type_name: "uuid".to_owned(),
            not_null: true,
            has_default: false,
            generated: false,
        };
        let refused = key_column(&table(), &column).expect_err("a domain");
        assert!(refused.message.contains("column id of table public.outbox is order_id"));
    }
}
