//! Which column of a table plays which role, worked out once per relation.

mod error;
mod search;

pub use error::{MappingError, MappingProblem};

use search::Found;

use super::column::{ColumnType, Field, TypeNames};
use super::role::{ColumnChoice, Role, TableName};
use super::row::{OutboxRow, RowScratch};
use super::spread::Spread;
use crate::cloudevent::options::EventOptions;
use crate::cloudevent::source;
use crate::pgoutput::{Malformed, Relation, Tuple};

/// Debezium's column for a trace, the text of a `java.util.Properties`.
pub(super) const SPAN_CONTEXT_COLUMN: &str = "tracingspancontext";

/// The attributes that a column of a role becomes by itself, in the order they are written.
pub const ROLE_EXTENSIONS: [(&str, Role); 6] = [
    ("traceparent", Role::TraceParent),
    ("tracestate", Role::TraceState),
    ("partitionkey", Role::PartitionKey),
    ("correlationid", Role::CorrelationId),
    ("causationid", Role::CausationId),
    ("tenantid", Role::TenantId),
];

/// A column by name and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedColumn<'a> {
    /// Name, without quotes.
    pub name: &'a str,
    /// Type.
    pub column_type: ColumnType,
}

/// An extension attribute and the column it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Name of the attribute.
    pub name: String,
    /// Its column.
    pub field: Field,
}

/// A piece of a template whose columns are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands.
    Literal(String),
    /// The text of this column.
    Column {
        /// Where it is in the row.
        field: Field,
        /// What it is called.
        name: String,
    },
}

/// A piece of a schema's subject, or of the name of a message in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectPiece {
    /// The topic that the event goes to, whatever decides it.
    Topic,
    /// As in any other template.
    Row(Piece),
}

/// How rows of one table become events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    table: TableName,
    /// `schema.table`, ready to be written.
    table_text: String,
    columns: usize,
    /// Indexed by `Role as usize`.
    roles: [Option<Field>; Role::ALL.len()],
    span_context: Option<Field>,
    extensions: Vec<Extension>,
    topic: Option<Vec<Piece>>,
    event_type: Vec<Piece>,
    subject: Vec<SubjectPiece>,
    message: Vec<SubjectPiece>,
    spreads: Vec<Spread>,
    source: String,
}

impl Mapping {
    /// The mapping of a relation of the stream.
    ///
    /// `types` is what [`crate::pgoutput::LogicalMessage::Type`] has said before.
    ///
    /// # Errors
    ///
    /// When the table cannot be an outbox under these options; all reasons at once.
    pub fn new(
        relation: &Relation<'_>,
        types: &TypeNames,
        options: &EventOptions,
    ) -> Result<Self, MappingError> {
        let table =
            TableName { schema: relation.namespace.to_owned(), table: relation.name.to_owned() };
        let columns: Vec<_> = relation
            .columns
            .iter()
            .map(|column| NamedColumn {
                name: column.name,
                column_type: types.resolve(column.type_oid),
            })
            .collect();
        Self::of_columns(table, &columns, options)
    }

    /// The mapping of anything that has named columns, e.g. the result of a query.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn of_columns(
        table: TableName,
        columns: &[NamedColumn<'_>],
        options: &EventOptions,
    ) -> Result<Self, MappingError> {
        let found = search::search(columns, options);
        let Found { roles, extensions, topic, event_type, subject, message, spreads } = match found
        {
            Ok(found) => found,
            Err(problems) => return Err(MappingError { table, problems }),
        };
        let has_trace = matches!(roles.get(Role::TraceParent as usize), Some(Some(_)))
            || options.columns.get(&Role::TraceParent) == Some(&ColumnChoice::Absent);
        Ok(Self {
            table_text: table.to_string(),
            columns: columns.len(),
            roles,
            span_context: if has_trace { None } else { find(columns, SPAN_CONTEXT_COLUMN) },
            extensions,
            topic,
            event_type,
            subject,
            message,
            spreads,
            source: source::of_table(options, &table),
            table,
        })
    }

    /// The row of a tuple of this relation.
    ///
    /// # Errors
    ///
    /// When the tuple is malformed or has not as many columns as the relation.
    pub fn row<'a>(
        &self,
        scratch: &'a mut RowScratch,
        tuple: Tuple<'a>,
    ) -> Result<OutboxRow<'a>, Malformed> {
        if usize::from(tuple.columns()) != self.columns {
            return Err(tuple.malformed("as many columns as the relation has"));
        }
        scratch.lay_out(tuple)
    }

    /// The table.
    #[must_use]
    pub const fn table(&self) -> &TableName {
        &self.table
    }

    /// The table as `schema.table`.
    #[must_use]
    pub fn table_text(&self) -> &str {
        &self.table_text
    }

    /// The column that plays a role.
    #[must_use]
    pub fn role(&self, role: Role) -> Option<Field> {
        self.roles.get(role as usize).copied().flatten()
    }

    /// Debezium's `tracingspancontext`, where no column plays the role of `traceparent`.
    #[must_use]
    pub const fn span_context(&self) -> Option<Field> {
        self.span_context
    }

    /// The configured extensions, without those of [`ROLE_EXTENSIONS`].
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The topic of rows that do not name their own; `None` when every row has to.
    #[must_use]
    pub fn topic(&self) -> Option<&[Piece]> {
        self.topic.as_deref()
    }

    /// The attribute `type`.
    #[must_use]
    pub fn event_type(&self) -> &[Piece] {
        &self.event_type
    }

    /// The subject of a payload's schema; without a registry of no piece.
    #[must_use]
    pub fn subject(&self) -> &[SubjectPiece] {
        &self.subject
    }

    /// The name of the message, in a schema that has several; of no piece: the first one.
    #[must_use]
    pub fn message(&self) -> &[SubjectPiece] {
        &self.message
    }

    /// The hot aggregates that are spread over keys of their own.
    #[must_use]
    pub fn spreads(&self) -> &[Spread] {
        &self.spreads
    }

    /// The attribute `source` of rows that do not override it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn find(columns: &[NamedColumn<'_>], name: &str) -> Option<Field> {
    let index = columns.iter().position(|column| column.name == name)?;
    let column_type = columns.get(index)?.column_type;
    Some(Field { index, column_type })
}

#[cfg(test)]
pub(crate) mod tests;
