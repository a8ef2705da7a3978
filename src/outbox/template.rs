//! Templates of the topic and of `type`: literal text with columns in braces.

use super::role::Role;

/// A parsed template, e.g. `outbox.event.{aggregate_type}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In order; adjacent literals are merged.
    pub parts: Vec<Part>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// The column that plays this role, whatever it is called.
    Role(Role),
    /// The column of this name.
    Column(String),
}
