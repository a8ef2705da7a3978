//! The one table of all variables. Help, `walpost config`, the `.env` template, the JSON Schema
//! and the README follow from it, and so does what is refused: the bounds of a number, the words
//! of a choice, and what is not available in this version.

mod aws;
mod database;
mod delivery;
mod events;
mod kafka;
mod process;
mod registry;
mod source;

use std::sync::LazyLock;

/// What a variable belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where Postgres is.
    Database,
    /// What is followed.
    Source,
    /// How rows become events.
    Events,
    /// How events are delivered.
    Delivery,
    /// Where Kafka is.
    Kafka,
    /// AWS, with `AWS_MSK_IAM`.
    Aws,
    /// The schema registry.
    Registry,
    /// HTTP and log.
    Process,
}

impl Group {
    /// In the order of the help.
    pub const ALL: [Self; 8] = [
        Self::Database,
        Self::Source,
        Self::Events,
        Self::Delivery,
        Self::Kafka,
        Self::Aws,
        Self::Registry,
        Self::Process,
    ];

    /// Heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Database => "Database",
            Self::Source => "What is followed",
            Self::Events => "Events",
            Self::Delivery => "Delivery",
            Self::Kafka => "Kafka",
            Self::Aws => "AWS, for AWS_MSK_IAM",
            Self::Registry => "Schema registry",
            Self::Process => "Process",
        }
    }
}

/// What a variable's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A text; what is right of it is checked where it is read.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A duration with its unit, from the one to the other.
    Duration(&'static str, &'static str),
    /// A size with its unit, from the one to the other.
    Size(&'static str, &'static str),
    /// A whole number, from the one to the other.
    Number(u32, u32),
}

/// A variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// Its default as text; empty where there is none.
    pub default: &'static str,
    /// The default is told in words, and is no value that could be set.
    pub described: bool,
    /// One sentence.
    pub meaning: &'static str,
    /// A value that is accepted.
    pub example: &'static str,
    /// What is accepted.
    pub accepted: Accepted,
    /// Its value must not be shown.
    pub secret: bool,
    /// Those of its words whose feature does not exist in this version.
    pub later_words: &'static [&'static str],
}

/// A text that is not secret; the methods below change that.
const fn variable(
    group: Group,
    name: &'static str,
    default: &'static str,
    example: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable {
        name,
        group,
        default,
        described: false,
        meaning,
        example,
        accepted: Accepted::Text,
        secret: false,
        later_words: &[],
    }
}

impl Variable {
    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn described(self) -> Self {
        Self { described: true, ..self }
    }

    const fn words(self, words: &'static [&'static str]) -> Self {
        Self { accepted: Accepted::Words(words), ..self }
    }

    const fn duration(self, least: &'static str, most: &'static str) -> Self {
        Self { accepted: Accepted::Duration(least, most), ..self }
    }

    const fn size(self, least: &'static str, most: &'static str) -> Self {
        Self { accepted: Accepted::Size(least, most), ..self }
    }

    const fn number(self, least: u32, most: u32) -> Self {
        Self { accepted: Accepted::Number(least, most), ..self }
    }

    /// The features of these words come with a later version. Whoever writes one takes it off.
    const fn later_words(self, words: &'static [&'static str]) -> Self {
        Self { later_words: words, ..self }
    }

    /// The words that this version takes; none where it is no choice.
    pub fn available_words(&self) -> impl Iterator<Item = &'static str> + use<> {
        let words = match self.accepted {
            Accepted::Words(words) => words,
            Accepted::Text | Accepted::Duration(..) | Accepted::Size(..) | Accepted::Number(..) => {
                &[]
            }
        };
        let later = self.later_words;
        words.iter().copied().filter(move |word| !later.contains(word))
    }

    /// The default, where it is a value.
    #[must_use]
    pub fn default_value(&self) -> Option<&'static str> {
        (!self.described && !self.default.is_empty()).then_some(self.default)
    }
}

/// All variables.
pub static VARIABLES: LazyLock<Vec<Variable>> = LazyLock::new(|| {
    [
        database::VARIABLES,
        source::VARIABLES,
        events::VARIABLES,
        delivery::VARIABLES,
        kafka::VARIABLES,
        aws::VARIABLES,
        registry::VARIABLES,
        process::VARIABLES,
    ]
    .concat()
});

/// The variable of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::outbox::role::Role;

    #[test]
    fn every_variable_stands_in_the_table_once_and_in_its_group() {
        let names: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        for group in Group::ALL {
            assert!(VARIABLES.iter().any(|variable| variable.group == group), "{group:?}");
        }
    }

    #[test]
    fn every_role_has_its_variable_with_its_aliases() {
        for role in Role::ALL {
            let name = format!("WALPOST_COLUMN_{}", role.name());
            let variable = find(&name).expect("in the table");
            assert_eq!(variable.default, role.aliases().join(", "), "{name}");
        }
    }

    #[test]
    fn words_that_come_later_are_words_of_the_variable_and_not_its_default() {
        for variable in VARIABLES.iter().filter(|variable| !variable.later_words.is_empty()) {
            let Accepted::Words(words) = variable.accepted else { panic!("{}", variable.name) };
            for later in variable.later_words {
                assert!(words.contains(later), "{}: {later}", variable.name);
                assert_ne!(&variable.default, later, "{}", variable.name);
                assert_ne!(&variable.example, later, "{}", variable.name);
            }
        }
    }

    #[test]
    fn a_meaning_is_a_sentence() {
        for variable in VARIABLES.iter() {
            assert!(variable.meaning.ends_with('.'), "{}", variable.name);
            assert!(!variable.example.is_empty(), "{}", variable.name);
        }
    }
}
