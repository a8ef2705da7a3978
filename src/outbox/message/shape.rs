//! The shape of a message: which members it has and what kind of value each holds; and the mapping
//! of a shape.

use crate::cloudevent::options::EventOptions;
use crate::outbox::column::ColumnType;
use crate::outbox::mapping::{Mapping, MappingError, NamedColumn};
use crate::outbox::role::{ColumnChoice, Role, TableName};
use crate::outbox::template::Part;

/// What a member holds, as far as it decides how its column is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Absent,
    Null,
    Text,
    Bool,
    Int4,
    Int8,
    Number,
    Json,
}

impl Kind {
    /// The kind of a JSON value; as the payload it is JSON unless it is a string.
    pub(super) fn of(value: &str, is_payload: bool) -> Self {
        match value.as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b'n') => Self::Null,
            _ if is_payload => Self::Json,
            Some(b'{' | b'[') => Self::Json,
            Some(b't' | b'f') => Self::Bool,
            _ if value.parse::<i32>().is_ok() => Self::Int4,
            _ if value.parse::<i64>().is_ok() => Self::Int8,
            _ => Self::Number,
        }
    }

    const fn column_type(self) -> ColumnType {
        match self {
            Self::Absent | Self::Null | Self::Text => ColumnType::Text,
            Self::Bool => ColumnType::Bool,
            Self::Int4 => ColumnType::Int4,
            Self::Int8 => ColumnType::Int8,
            Self::Number => ColumnType::Other,
            Self::Json => ColumnType::Json,
        }
    }
}

/// A name that a member may have.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    /// A member of this name may be the payload.
    pub(super) is_payload: bool,
}

/// The names that members may have under these options, each once.
pub(super) fn known(options: &EventOptions) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut add = |name: &str, is_payload| {
        if !known.iter().any(|known| known.name == name) {
            known.push(Known { name: name.to_owned(), is_payload });
        }
    };
    // The payload first, so that its names are known as such whatever else uses them.
    for role in [Role::Payload].into_iter().chain(Role::ALL) {
        match options.columns.get(&role).unwrap_or(&ColumnChoice::ByAlias) {
            ColumnChoice::ByAlias => {
                role.aliases().iter().for_each(|alias| add(alias, role == Role::Payload));
            }
            ColumnChoice::Named(name) => add(name, role == Role::Payload),
            ColumnChoice::Absent => {}
        }
    }
    if options.columns.get(&Role::TraceParent) != Some(&ColumnChoice::Absent) {
        add(crate::outbox::mapping::SPAN_CONTEXT_COLUMN, false);
    }
    for (_, column) in &options.extensions {
        add(column, false);
    }
    for part in parts(options) {
        match part {
            Part::Literal(_) => {}
            Part::Role(role) => add(&role.name().to_ascii_lowercase(), false),
            Part::Column(name) => add(name, false),
        }
    }
    known
}

/// The parts of all templates.
fn parts(options: &EventOptions) -> impl Iterator<Item = &Part> {
    let subject = options.schemas.iter().flat_map(|schemas| &schemas.subject.parts);
    options.topic.parts.iter().chain(&options.type_template.parts).chain(subject)
}

/// The mapping of a shape. Columns that are not there but have to be are there as NULL; others have
/// no name under which they could be found.
pub(super) fn mapping(
    table: &TableName,
    known: &[Known],
    shape: &[u8],
    options: &EventOptions,
) -> Result<Mapping, MappingError> {
    let present: Vec<_> = known
        .iter()
        .zip(shape)
        .filter(|(_, kind)| **kind != Kind::Absent as u8)
        .map(|(known, _)| known.name.as_str())
        .collect();
    let needed = needed(&present, options);
    let columns: Vec<_> = known
        .iter()
        .zip(shape)
        .map(|(known, kind)| {
            let name = known.name.as_str();
            let there = *kind != Kind::Absent as u8 || needed.iter().any(|needed| needed == name);
            NamedColumn { name: if there { name } else { "" }, column_type: type_of(*kind) }
        })
        .collect();
    Mapping::of_columns(table.clone(), &columns, options)
}

fn type_of(kind: u8) -> ColumnType {
    let kinds =
        [Kind::Null, Kind::Text, Kind::Bool, Kind::Int4, Kind::Int8, Kind::Number, Kind::Json];
    let found = kinds.into_iter().find(|known| *known as u8 == kind);
    found.unwrap_or(Kind::Absent).column_type()
}

/// The names without which a mapping is refused: a role that has to be there or is in a template,
/// by the first name that it is looked for under, and columns that are named.
fn needed(present: &[&str], options: &EventOptions) -> Vec<String> {
    let mut needed: Vec<String> =
        options.extensions.iter().map(|(_, column)| column.clone()).collect();
    let mut roles = vec![Role::Id, Role::Type, Role::Payload];
    for part in parts(options) {
        match part {
            Part::Literal(_) => {}
            Part::Role(role) => roles.push(*role),
            Part::Column(name) => needed.push(name.clone()),
        }
    }
    for choice in options.columns.values() {
        if let ColumnChoice::Named(name) = choice {
            needed.push(name.clone());
        }
    }
    for role in roles {
        let own = role.name().to_ascii_lowercase();
        let names: Vec<String> = match options.columns.get(&role).unwrap_or(&ColumnChoice::ByAlias)
        {
            ColumnChoice::ByAlias => {
                let aliases = role.aliases().iter().map(|alias| (*alias).to_owned());
                aliases.chain([own]).collect()
            }
            ColumnChoice::Named(name) => vec![name.clone()],
            ColumnChoice::Absent => vec![own],
        };
        if !names.iter().any(|name| present.contains(&name.as_str())) {
            needed.extend(names.into_iter().next());
        }
    }
    needed
}
