//! Where values come from: the process's environment, and a file of variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A place that holds variables. The environment is an argument, so that tests supply their own.
pub trait Source {
    /// The value of a variable, and where it stands; `None` when it is not set.
    fn get(&self, name: &str) -> Option<(OsString, Origin)>;

    /// The names of all variables that are set.
    fn names(&self) -> Vec<String>;
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// The environment.
    Environment,
    /// The file given with `--env-file`.
    EnvFile,
    /// The file that `NAME_FILE` names.
    File,
    /// A part of `DATABASE_URL`.
    Url,
    /// Worked out from other values.
    Derived,
}

impl Origin {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::EnvFile => "env file",
            Self::File => "file",
            Self::Url => "DATABASE_URL",
            Self::Derived => "derived",
        }
    }
}

/// The environment of this process, over an optional file of variables.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    file: Option<Variables>,
}

impl Environment {
    /// The environment alone, or over a file given with `--env-file`.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is no variable.
    pub fn with_file(path: Option<&Path>) -> Result<Self, EnvFileError> {
        let file = path.map(Variables::read).transpose()?;
        Ok(Self { file })
    }
}

impl Source for Environment {
    fn get(&self, name: &str) -> Option<(OsString, Origin)> {
        match std::env::var_os(name) {
            Some(value) => Some((value, Origin::Environment)),
            None => self.file.as_ref().and_then(|file| file.get(name)),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        if let Some(file) = &self.file {
            names.extend(file.names());
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Variables in memory: those of an `--env-file`, or of a test.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl fmt::Debug for Variables {
    /// Names only: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Source for Variables {
    fn get(&self, name: &str) -> Option<(OsString, Origin)> {
        self.0.get(name).map(|value| (OsString::from(value), Origin::EnvFile))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// A file of variables that cannot be used.
#[derive(Debug)]
pub enum EnvFileError {
    /// It cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// A line, counted from 1, is neither `NAME=value`, a comment, nor empty.
    Line(PathBuf, usize),
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the env file {} cannot be read: {error}", path.display())
            }
            Self::Line(path, line) => write!(
                f,
                "line {line} of the env file {} is not NAME=value, a # comment or empty",
                path.display()
            ),
        }
    }
}

impl std::error::Error for EnvFileError {}

impl Variables {
    /// Reads a file in the form that `docker run --env-file` takes: one `NAME=value` a line, the
    /// value as it stands, without quotes; `#` begins a comment line.
    ///
    /// # Errors
    /// See [`EnvFileError`].
    pub fn read(path: &Path) -> Result<Self, EnvFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| EnvFileError::Unreadable(path.to_owned(), error))?;
        text.lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim_end_matches('\r')))
            .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
            .map(|(number, line)| {
                let (name, value) = line
                    .split_once('=')
                    .filter(|(name, _)| is_name(name))
                    .ok_or_else(|| EnvFileError::Line(path.to_owned(), number))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_holds_variables_comments_and_empty_lines() {
        let path = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(path.path(), "# c\n\nA=1\nB=x = y \"z\"\r\n").expect("written");
        let read = Variables::read(path.path()).expect("readable");
        assert_eq!(read.get("A"), Some(("1".into(), Origin::EnvFile)));
        assert_eq!(read.get("B"), Some(("x = y \"z\"".into(), Origin::EnvFile)));
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_by_its_number() {
        let path = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(path.path(), "A=1\nexport B=2\n").expect("written");
        assert!(matches!(Variables::read(path.path()), Err(EnvFileError::Line(_, 2))));
    }
}
