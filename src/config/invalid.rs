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
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "configuration error ({count} problem{plural})")?;
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        write!(f, "\n`walpost --help` lists every variable")
    }
}

impl std::error::Error for Invalid {}
