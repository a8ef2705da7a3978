//! A secret that is read where it is kept, each time that it is needed.

use std::path::PathBuf;

use crate::secret::Secret;

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a variable.
    Here(Secret),
    /// In this file, less one line's end; it may be replaced at any time.
    File(PathBuf),
}

impl Kept {
    /// The secret as it is now.
    ///
    /// # Errors
    /// The file cannot be read. Only its name is told.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Here(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                let less = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n'));
                Ok(Secret::new(less.unwrap_or(&text)))
            }
        }
    }
}
