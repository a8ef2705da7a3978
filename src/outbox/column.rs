//! Types of columns, as far as they make a difference to an event.

use std::collections::BTreeMap;

use crate::pgoutput::Type;

/// Type of a column. What is not named here arrives as the text that Postgres prints, and stays
/// that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `boolean`, printed `t` and `f`.
    Bool,
    /// `bytea`, printed `\x` and lower-case hexadecimal digits (`bytea_output = hex`).
    Bytea,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `text`, `varchar`, `name`, `citext`
    Text,
    /// `character(n)`, printed with blanks up to its length.
    Char,
    /// `json`, printed as it was inserted.
    Json,
    /// `jsonb`, printed anew by Postgres.
    Jsonb,
    /// `date`
    Date,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// Any other: numbers, `uuid`, enums, arrays, ranges, …
    Other,
}

impl ColumnType {
    /// The type of a built-in object id.
    ///
    /// Source: `src/include/catalog/pg_type.dat`; these ids never change.
    #[must_use]
    pub const fn of_oid(oid: u32) -> Self {
        match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            19 | 25 | 1043 => Self::Text,
            114 => Self::Json,
            1042 => Self::Char,
            1082 => Self::Date,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            3802 => Self::Jsonb,
            _ => Self::Other,
        }
    }

    /// The type of a name in the catalog.
    fn of_name(namespace: &str, name: &str) -> Self {
        if name == "citext" {
            // An extension's type, in whatever schema it was installed.
            return Self::Text;
        }
        if namespace != "pg_catalog" {
            return Self::Other;
        }
        match name {
            "bool" => Self::Bool,
            "bytea" => Self::Bytea,
            "int8" => Self::Int8,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "name" | "text" | "varchar" => Self::Text,
            "json" => Self::Json,
            "bpchar" => Self::Char,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "jsonb" => Self::Jsonb,
            _ => Self::Other,
        }
    }
}

/// What the server has said about types that are not built in.
///
/// A column of a domain carries the domain's object id; only the [`Type`] message before the
/// relation tells the base type. As many entries as the published tables have such types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeNames(BTreeMap<u32, ColumnType>);

impl TypeNames {
    /// Nothing said so far, as at the start of every replication connection.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Remembers one.
    pub fn learn(&mut self, message: &Type<'_>) {
        self.0.insert(message.oid, ColumnType::of_name(message.namespace, message.name));
    }

    /// The type of an object id, built in or learned.
    #[must_use]
    pub fn resolve(&self, oid: u32) -> ColumnType {
        self.0.get(&oid).copied().unwrap_or_else(|| ColumnType::of_oid(oid))
    }
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its place in the row, from 0.
    pub index: usize,
    /// Its type.
    pub column_type: ColumnType,
}
