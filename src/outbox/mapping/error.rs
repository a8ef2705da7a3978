//! Why a table cannot be an outbox under the present configuration.

use std::fmt;

use crate::outbox::role::{Role, TableName};

/// A table and configuration that do not fit; all reasons at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// The table.
    pub table: TableName,
    /// Never empty.
    pub problems: Vec<MappingProblem>,
}

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingProblem {
    /// No column for a role that every event needs.
    RequiredRole {
        /// The role.
        role: Role,
    },
    /// `WALPOST_COLUMN_<ROLE>` names a column that is not there.
    NamedColumn {
        /// The role.
        role: Role,
        /// The name.
        column: String,
    },
    /// The column of a role has a type that cannot play it.
    RoleType {
        /// The role.
        role: Role,
        /// Its column.
        column: String,
    },
    /// An extension's column is not there.
    ExtensionColumn {
        /// Name of the extension.
        extension: String,
        /// Its column.
        column: String,
    },
    /// An extension and a role that are the same attribute have different columns.
    TwoColumns {
        /// The role.
        role: Role,
        /// Name of the extension.
        extension: String,
        /// The role's column.
        other: String,
    },
    /// A hot aggregate's column is not there.
    SpreadColumn {
        /// The column.
        column: String,
    },
    /// A hot aggregate cannot be told from others.
    SpreadRole {
        /// The role that no column plays.
        role: Role,
    },
    /// A template names a column that is not there.
    TemplateColumn {
        /// The variable of the template.
        variable: &'static str,
        /// The name in braces.
        name: String,
        /// The role of that name.
        role: Option<Role>,
    },
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} cannot be read as an outbox: ", self.table)?;
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingError {}

impl fmt::Display for MappingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequiredRole { role } => write!(
                f,
                "no column for the {} (looked for {}), set WALPOST_COLUMN_{} to its name",
                role.name().to_ascii_lowercase(),
                role.aliases().join(", "),
                role.name()
            ),
            Self::NamedColumn { role, column } => write!(
                f,
                "there is no published column {column:?}, which WALPOST_COLUMN_{} names",
                role.name()
            ),
            Self::RoleType { role, column } => {
                let types = if *role == Role::Headers {
                    "json, jsonb or text"
                } else {
                    "timestamp, timestamptz, date, an integer or text"
                };
                write!(
                    f,
                    "column {column:?} has no type for the {}, which is {types}; \
                     WALPOST_COLUMN_{}=- leaves it out",
                    role.name().to_ascii_lowercase(),
                    role.name()
                )
            }
            Self::ExtensionColumn { extension, column } => write!(
                f,
                "there is no published column {column:?}, which WALPOST_CE_EXTENSIONS names for \
                 {extension}"
            ),
            Self::TwoColumns { role, extension, other } => write!(
                f,
                "WALPOST_CE_EXTENSIONS and WALPOST_COLUMN_{} (= {other}) name different columns \
                 for {extension}, leave one of them out",
                role.name()
            ),
            Self::SpreadColumn { column } => write!(
                f,
                "there is no published column {column:?}, which WALPOST_VIRTUAL_PARTITIONS names"
            ),
            Self::SpreadRole { role } => write!(
                f,
                "WALPOST_VIRTUAL_PARTITIONS needs a column for the {} (looked for {}), set \
                 WALPOST_COLUMN_{}",
                role.name().to_ascii_lowercase(),
                role.aliases().join(", "),
                role.name()
            ),
            Self::TemplateColumn { variable, name, role: None } => {
                write!(f, "{variable} uses {{{name}}}, and there is no such published column")
            }
            Self::TemplateColumn { variable, name, role: Some(role) } => write!(
                f,
                "{variable} uses {{{name}}}, and no column plays that role (looked for {}), set \
                 {variable} or WALPOST_COLUMN_{}",
                role.aliases().join(", "),
                role.name()
            ),
        }
    }
}
