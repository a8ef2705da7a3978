//! The search for the columns of roles, extensions and templates, and for all that is amiss.

use super::{Extension, MappingProblem, NamedColumn, Piece, ROLE_EXTENSIONS, SubjectPiece, find};
use crate::cloudevent::options::EventOptions;
use crate::outbox::column::{ColumnType, Field};
use crate::outbox::role::{ColumnChoice, Role};
use crate::outbox::spread::Spread;
use crate::outbox::template::{Part, Template};

/// What the columns of a table are for.
pub(super) struct Found {
    /// Indexed by `Role as usize`.
    pub(super) roles: [Option<Field>; Role::ALL.len()],
    pub(super) extensions: Vec<Extension>,
    pub(super) topic: Option<Vec<Piece>>,
    pub(super) event_type: Vec<Piece>,
    pub(super) subject: Vec<SubjectPiece>,
    pub(super) message: Vec<SubjectPiece>,
    pub(super) spreads: Vec<Spread>,
}

/// Finds them, or names every problem.
pub(super) fn search(
    columns: &[NamedColumn<'_>],
    options: &EventOptions,
) -> Result<Found, Vec<MappingProblem>> {
    let mut search = Search { columns, roles: [None; Role::ALL.len()], problems: Vec::new() };
    search.find_roles(options);
    let extensions = search.find_extensions(options);
    search.check_required(options);
    search.check_types();
    let topic = search.resolve_topic(&options.topic);
    let event_type = search.resolve_type(&options.type_template);
    let schemas = options.schemas.as_ref();
    let subject = schemas.map(|schemas| &schemas.subject);
    let subject = search.resolve_subject("WALPOST_REGISTRY_SUBJECT", subject);
    let message = schemas.and_then(|schemas| schemas.message.as_ref());
    let message = search.resolve_subject("WALPOST_REGISTRY_MESSAGE", message);
    let spreads = search.find_spreads(options);
    if search.problems.is_empty() {
        Ok(Found { roles: search.roles, extensions, topic, event_type, subject, message, spreads })
    } else {
        Err(search.problems)
    }
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

    /// Every table has to have their columns: one that is mistyped would spread nothing.
    fn find_spreads(&mut self, options: &EventOptions) -> Vec<Spread> {
        let mut spreads = Vec::new();
        for hot in &options.virtual_partitions {
            if self.role(Role::AggregateId).is_none() {
                let missing = MappingProblem::SpreadRole { role: Role::AggregateId };
                if !self.problems.contains(&missing) {
                    self.problems.push(missing);
                }
            }
            if !hot.aggregate_type.is_empty() && self.role(Role::AggregateType).is_none() {
                let missing = MappingProblem::SpreadRole { role: Role::AggregateType };
                if !self.problems.contains(&missing) {
                    self.problems.push(missing);
                }
            }
            let Some(field) = find(self.columns, &hot.column) else {
                self.problems.push(MappingProblem::SpreadColumn { column: hot.column.clone() });
                continue;
            };
            spreads.push(Spread {
                aggregate_type: hot.aggregate_type.clone(),
                aggregate_id: hot.aggregate_id.clone(),
                sub_keys: hot.sub_keys,
                field,
            });
        }
        spreads
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

    /// A template in which the role `topic` is the event's topic; of no piece when there is none.
    fn resolve_subject(
        &mut self,
        variable: &'static str,
        template: Option<&Template>,
    ) -> Vec<SubjectPiece> {
        let mut pieces = Vec::new();
        for part in template.map_or(&[][..], |template| &template.parts) {
            if *part == Part::Role(Role::Topic) {
                pieces.push(SubjectPiece::Topic);
                continue;
            }
            let one = Template { parts: vec![part.clone()] };
            let resolved = self.resolve(variable, &one);
            pieces.extend(resolved.into_iter().map(SubjectPiece::Row));
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
