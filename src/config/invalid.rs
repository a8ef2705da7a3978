//! Mistakes in the configuration, all of them in one message.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable.
    pub variable: String,
    /// Its value, where it may be shown.
    pub value: Option<String>,
    /// What is wrong, what is accepted, what was probably meant.
    pub reason: String,
    /// A value that is accepted.
    pub example: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        if let Some(value) = &self.value {
            write!(f, "={value:?}")?;
        }
        write!(f, ": {}", self.reason)?;
        if let Some(example) = &self.example {
            write!(f, " (example: {example})")?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used: every mistake in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The mistakes, in the order of the table.
    pub problems: Vec<Problem>,
    /// What is no mistake by itself, but may be why something is missing.
    pub warnings: Vec<String>,
}

impl fmt::Display for Invalid {
    /// Names every mistake on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "configuration error ({count} problem{plural})")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        write!(f, "\n`walpost --help` lists every variable")
    }
}

impl std::error::Error for Invalid {}
