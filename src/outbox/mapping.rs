//! Which column of a table plays which role, worked out once per relation.

mod error;

pub use error::{MappingError, MappingProblem};

use super::column::{ColumnType, Field, TypeNames};
use super::role::{ColumnChoice, Role, TableName};
use super::row::{OutboxRow, RowScratch};
use super::template::{Part, Template};
use crate::cloudevent::options::EventOptions;
use crate::cloudevent::source;
use crate::pgoutput::{Malformed, Relation, Tuple};

/// Debezium's column for a trace, the text of a `java.util.Properties`.
const SPAN_CONTEXT_COLUMN: &str = "tracingspancontext";

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
        let mut search = Search { columns, roles: [None; Role::ALL.len()], problems: Vec::new() };
        search.find_roles(options);
        let extensions = search.find_extensions(options);
        search.check_required(options);
        search.check_types();
        let topic = search.resolve_topic(&options.topic);
        let event_type = search.resolve_type(&options.type_template);
        let Search { roles, problems, .. } = search;
        if !problems.is_empty() {
            return Err(MappingError { table, problems });
        }
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

/// A mapping in the making.
struct Search<'a> {
    columns: &'a [NamedColumn<'a>],
    roles: [Option<Field>; Role::ALL.len()],
    problems: Vec<MappingProblem>,
}

impl Search<'_> {
    fn role(&self, role: Role) -> Option<Field> {
        self.roles.get(role as usize).copied().flatten()
    }

    fn play(&mut self, role: Role, field: Option<Field>) {
        if let Some(slot) = self.roles.get_mut(role as usize) {
            *slot = field;
        }
    }

    fn find_roles(&mut self, options: &EventOptions) {
        for role in Role::ALL {
            let field = match options.columns.get(&role).unwrap_or(&ColumnChoice::ByAlias) {
                ColumnChoice::ByAlias => {
                    role.aliases().iter().find_map(|alias| find(self.columns, alias))
                }
                ColumnChoice::Named(name) => {
                    let field = find(self.columns, name);
                    if field.is_none() {
                        self.problems
                            .push(MappingProblem::NamedColumn { role, column: name.clone() });
                    }
                    field
                }
                ColumnChoice::Absent => None,
            };
            self.play(role, field);
        }
    }

    /// An extension that a role makes by itself gives its column to the role, so that no
    /// attribute is there twice.
    fn find_extensions(&mut self, options: &EventOptions) -> Vec<Extension> {
        let mut extensions = Vec::new();
        for (name, column) in &options.extensions {
            let Some(field) = find(self.columns, column) else {
                self.problems.push(MappingProblem::ExtensionColumn {
                    extension: name.clone(),
                    column: column.clone(),
                });
                continue;
            };
            let role = ROLE_EXTENSIONS.iter().find(|(extension, _)| extension == name);
            let Some((_, role)) = role.copied() else {
                extensions.push(Extension { name: name.clone(), field });
                continue;
            };
            match options.columns.get(&role) {
                Some(ColumnChoice::Named(other)) if other != column => {
                    let (extension, other) = (name.clone(), other.clone());
                    self.problems.push(MappingProblem::TwoColumns { role, extension, other });
                }
                _ => self.play(role, Some(field)),
            }
        }
        extensions
    }

    /// `type` is asked for only where its template uses it.
    fn check_required(&mut self, options: &EventOptions) {
        let type_is_used = options.type_template.parts.contains(&Part::Role(Role::Type));
        for role in [Role::Id, Role::Type, Role::Payload] {
            let named = matches!(options.columns.get(&role), Some(ColumnChoice::Named(_)));
            let needed = role != Role::Type || type_is_used;
            if needed && !named && self.role(role).is_none() {
                self.problems.push(MappingProblem::RequiredRole { role });
            }
        }
    }

    fn check_types(&mut self) {
        for role in [Role::Time, Role::Headers] {
            let Some(field) = self.role(role) else { continue };
            let fits = match field.column_type {
                ColumnType::Text => true,
                ColumnType::Json | ColumnType::Jsonb => role == Role::Headers,
                ColumnType::Int2
                | ColumnType::Int4
                | ColumnType::Int8
                | ColumnType::Date
                | ColumnType::Timestamp
                | ColumnType::TimestampTz => role == Role::Time,
                ColumnType::Bool | ColumnType::Bytea | ColumnType::Char | ColumnType::Other => {
                    false
                }
            };
            if !fits {
                let column = self.columns.get(field.index).map_or("", |column| column.name);
                self.problems.push(MappingProblem::RoleType { role, column: column.to_owned() });
            }
        }
    }

    /// The topic template. A table whose rows name their own topics needs no columns for the
    /// roles in it: a row that then names none is a bad row.
    fn resolve_topic(&mut self, template: &Template) -> Option<Vec<Piece>> {
        let missing_role = template
            .parts
            .iter()
            .any(|part| matches!(part, Part::Role(role) if self.in_template(*role).is_none()));
        if missing_role && self.role(Role::Topic).is_some() {
            return None;
        }
        Some(self.resolve("WALPOST_TOPIC", template))
    }

    /// The template of `type`. That its own role has no column is named already.
    fn resolve_type(&mut self, template: &Template) -> Vec<Piece> {
        let before = self.problems.len();
        let pieces = self.resolve("WALPOST_CE_TYPE", template);
        let named = MappingProblem::RequiredRole { role: Role::Type };
        if self.problems.iter().take(before).any(|problem| *problem == named) {
            self.problems.retain(|problem| {
                !matches!(problem, MappingProblem::TemplateColumn { variable, role, .. }
                    if *variable == "WALPOST_CE_TYPE" && *role == Some(Role::Type))
            });
        }
        pieces
    }

    /// The column that a role in braces means: the one that plays it, else one of that very name.
    fn in_template(&self, role: Role) -> Option<Field> {
        self.role(role).or_else(|| find(self.columns, &role.name().to_ascii_lowercase()))
    }

    fn resolve(&mut self, variable: &'static str, template: &Template) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in &template.parts {
            let (name, field) = match part {
                Part::Literal(text) => {
                    pieces.push(Piece::Literal(text.clone()));
                    continue;
                }
                Part::Role(role) => (role.name().to_ascii_lowercase(), self.in_template(*role)),
                Part::Column(name) => (name.clone(), find(self.columns, name)),
            };
            if let Some(field) = field {
                pieces.push(Piece::Column { field, name });
            } else {
                let role = if let Part::Role(role) = part { Some(*role) } else { None };
                self.problems.push(MappingProblem::TemplateColumn { variable, name, role });
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests;
