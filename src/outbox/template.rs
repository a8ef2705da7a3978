//! Templates of the topic and of `type`: literal text with columns in braces.

use std::fmt;

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

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// Characters before the mistake.
    at: usize,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Unclosed,
    Unopened,
    Nested,
    Nameless,
    Empty,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.at.saturating_add(1);
        match self.problem {
            Problem::Unclosed => write!(
                f,
                "the \"{{\" at character {place} is not closed; a column is written {{column}}, \
                 a brace {{{{"
            ),
            Problem::Unopened => {
                write!(f, "the \"}}\" at character {place} closes nothing; a brace is written }}}}")
            }
            Problem::Nested => write!(f, "the \"{{\" at character {place} is inside of braces"),
            Problem::Nameless => {
                write!(f, "the braces at character {place} are empty; name a column in them")
            }
            Problem::Empty => write!(f, "the template is empty"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Reads a template: a name in braces is a role in lower case, else a column; `{{` is a brace,
    /// and so is `}}`.
    ///
    /// # Errors
    ///
    /// When the text is empty, a brace is alone, or a pair of braces names nothing.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().enumerate().peekable();
        while let Some((at, character)) = characters.next() {
            match character {
                '{' | '}' if characters.next_if(|(_, next)| *next == character).is_some() => {
                    literal.push(character);
                }
                '{' => {
                    let name = name_in_braces(at, &mut characters)?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(part_of_name(name));
                }
                '}' => return Err(TemplateError { at, problem: Problem::Unopened }),
                _ => literal.push(character),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        if parts.is_empty() {
            return Err(TemplateError { at: 0, problem: Problem::Empty });
        }
        Ok(Self { parts })
    }
}

/// The rest of a pair of braces that opened at character `open`.
fn name_in_braces(
    open: usize,
    characters: &mut impl Iterator<Item = (usize, char)>,
) -> Result<String, TemplateError> {
    let mut name = String::new();
    for (at, character) in characters {
        match character {
            '}' if name.is_empty() => {
                return Err(TemplateError { at: open, problem: Problem::Nameless });
            }
            '}' => return Ok(name),
            '{' => return Err(TemplateError { at, problem: Problem::Nested }),
            _ => name.push(character),
        }
    }
    Err(TemplateError { at: open, problem: Problem::Unclosed })
}

fn part_of_name(name: String) -> Part {
    let role = Role::ALL.into_iter().find(|role| role.name().to_ascii_lowercase() == name);
    role.map_or(Part::Column(name), Part::Role)
}

impl fmt::Display for Template {
    /// The text that [`Template::parse`] reads as this template.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(text) => {
                    f.write_str(&text.replace('{', "{{").replace('}', "}}"))?;
                }
                Part::Role(role) => write!(f, "{{{}}}", role.name().to_ascii_lowercase())?,
                Part::Column(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Part]) {
        let template = Template::parse(text).expect(text);
        assert_eq!(template.parts, expected, "{text}");
        assert_eq!(Template::parse(&template.to_string()), Ok(template), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let refused = Template::parse(text).expect_err(text).to_string();
        assert_eq!(refused, expected, "{text}");
    }

    fn literal(text: &str) -> Part {
        Part::Literal(text.into())
    }

    #[test]
    fn a_name_in_braces_is_a_role_or_else_a_column() {
        check(
            "outbox.event.{aggregate_type}",
            &[literal("outbox.event."), Part::Role(Role::AggregateType)],
        );
        check(
            "{type}.v{schema_version}",
            &[Part::Role(Role::Type), literal(".v"), Part::Role(Role::SchemaVersion)],
        );
        check("{region}", &[Part::Column("region".into())]);
        check("{Type}", &[Part::Column("Type".into())]);
        check("{aggregatetype}", &[Part::Column("aggregatetype".into())]);
        check("orders", &[literal("orders")]);
    }

    #[test]
    fn two_braces_are_one() {
        check("a{{b}}c", &[literal("a{b}c")]);
        check("{{{type}}}", &[literal("{"), Part::Role(Role::Type), literal("}")]);
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        check_refused("", "the template is empty");
        check_refused(
            "é.{type",
            "the \"{\" at character 3 is not closed; a column is written {column}, a brace {{",
        );
        check_refused("a}", "the \"}\" at character 2 closes nothing; a brace is written }}");
        check_refused("a{}", "the braces at character 2 are empty; name a column in them");
        check_refused("a{b{c}}", "the \"{\" at character 4 is inside of braces");
    }
}
