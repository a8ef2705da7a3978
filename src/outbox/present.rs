//! The mapping of a table as the catalog has it now, for those who do not read the stream.

use super::column::ColumnType;
use super::mapping::{Mapping, MappingError, NamedColumn};
use super::role::{Role, TableName};
use crate::cloudevent::options::EventOptions;
use crate::postgres::catalog::{Column, Table};

/// A table's mapping, and the columns that it counts.
#[derive(Clone, Debug)]
pub struct Present<'a> {
    /// How its rows become events.
    pub mapping: Mapping,
    /// The columns that the stream has, in its order: all but generated ones.
    pub columns: Vec<&'a Column>,
}

impl<'a> Present<'a> {
    /// Finds the columns of the roles.
    ///
    /// # Errors
    ///
    /// When the table cannot be an outbox under these options; all reasons at once.
    pub fn of(
        name: &TableName,
        table: &'a Table,
        options: &EventOptions,
    ) -> Result<Self, MappingError> {
        let columns: Vec<_> = table.columns.iter().filter(|column| !column.generated).collect();
        let named: Vec<_> = columns
            .iter()
            .map(|column| NamedColumn { name: &column.name, column_type: column_type(column) })
            .collect();
        let mapping = Mapping::of_columns(name.clone(), &named, options)?;
        Ok(Self { mapping, columns })
    }

    /// The column that plays the role of the time.
    #[must_use]
    pub fn time(&self) -> Option<(&'a Column, ColumnType)> {
        let field = self.mapping.role(Role::Time)?;
        Some((self.columns.get(field.index)?, field.column_type))
    }
}

/// The type as the stream tells it: a domain's is that of its base.
fn column_type(column: &Column) -> ColumnType {
    // An extension's type, in whatever schema it was installed.
    if column.base_type_name.rsplit('.').next() == Some("citext") {
        return ColumnType::Text;
    }
    ColumnType::of_oid(column.base_type_oid)
}
