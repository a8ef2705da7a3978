//! What can be wrong with the registry, or with what it says.

use std::fmt;

/// Why there is no schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// No answer, or none that says anything: it may go away by itself.
    Unreachable(String),
    /// The registry does not take our user and password.
    Unauthorized(String),
    /// It knows us, but we may not do this.
    Forbidden(String),
    /// It says that there is no such subject, version or schema.
    NotFound(String),
    /// It refuses what we ask (HTTP 409, 422): an incompatible or invalid schema.
    Refused(String),
    /// It has a schema, which walpost cannot use.
    Unusable(String),
}

impl RegistryError {
    /// Whether the registry answered and speaks of the schema, not of itself or of us.
    #[must_use]
    pub const fn is_about_schema(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Refused(_) | Self::Unusable(_) => true,
            Self::Unreachable(_) | Self::Unauthorized(_) | Self::Forbidden(_) => false,
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text)
            | Self::Unauthorized(text)
            | Self::Forbidden(text)
            | Self::NotFound(text)
            | Self::Refused(text)
            | Self::Unusable(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for RegistryError {}
