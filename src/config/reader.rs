//! Reads variables one by one and collects every mistake on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::env::{Origin, Source};
use super::invalid::{Invalid, Problem};
use super::lookup;
use super::service_link::is_service_link;
use super::shown;
use super::table::{self, Accepted, VARIABLES, Variable};
use super::value::{self, choice, closest};
use crate::crash;
use crate::mutant;

/// An effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The value; `***` for a secret.
    pub shown: String,
    /// Where it stands.
    pub origin: Origin,
}

/// Reads from a source; nothing is refused before [`Reader::finish`].
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    names: BTreeSet<String>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    effective: BTreeMap<String, Effective>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            names: source.names().into_iter().collect(),
            problems: Vec::new(),
            warnings: Vec::new(),
            effective: BTreeMap::new(),
        }
    }

    /// All names that are set, but not those of service links.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Takes the Kubernetes service links out of the names, with one warning for all.
    pub(super) fn ignore_service_links(&mut self) {
        let is_link = |name: &str| {
            let ours = name.starts_with("WALPOST") || name.starts_with("KAFKA_PROP");
            let known = table::find(name).is_some();
            let value = self.source.get(name).and_then(|(value, _)| value.into_string().ok());
            ours && !known && value.is_some_and(|value| is_service_link(name, &value))
        };
        let (links, names) = std::mem::take(&mut self.names)
            .into_iter()
            .partition::<BTreeSet<_>, _>(|name| is_link(name));
        self.names = names;
        if let Some(first) = links.first() {
            self.warn(format!(
                "{} variables such as {first} are Kubernetes service links and are ignored; set \
                 enableServiceLinks: false on the pod",
                links.len()
            ));
        }
    }

    /// The text of a variable, from itself or from the file that `NAME_FILE` names; an empty one
    /// is as none. What this version cannot do is refused here.
    pub(super) fn filled(&mut self, name: &str) -> Option<String> {
        let (text, origin) = match lookup::text(self.source, name) {
            Ok(found) => found.filter(|(text, _)| !text.is_empty())?,
            Err(lookup::Unusable { variable, value, reason }) => {
                self.problem(&variable, value, reason);
                return None;
            }
        };
        if let Some(variable) = table::find(name)
            && let Some(reason) = not_available(variable, &text)
        {
            self.refuse(name, &text, reason);
            return None;
        }
        self.effective(name, &text, origin);
        Some(text)
    }

    /// The file that a variable's text was read from, where it was.
    pub(super) fn file_of(&self, name: &str) -> Option<PathBuf> {
        let (path, _) = self.source.get(&format!("{name}_FILE"))?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    }

    /// Whether something about a variable is wrong already.
    pub(super) fn has_problem(&self, name: &str) -> bool {
        let base = |problem: &Problem| {
            problem.variable == name || problem.variable.strip_suffix("_FILE") == Some(name)
        };
        self.problems.iter().any(base)
    }

    /// As [`filled`](Self::filled); that there is none is noted, with what to do.
    pub(super) fn required(&mut self, name: &str, reason: &str) -> Option<String> {
        let before = self.problems.len();
        let value = self.filled(name);
        if value.is_none() && self.problems.len() == before {
            self.problem(name, None, reason);
        }
        value
    }

    /// A value that is parsed; the default, which must parse, where there is none.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if let Some(value) = self.filled(name) {
            return self.accept(name, &value, parse(&value));
        }
        let default = table::find(name)?.default_value()?;
        parse(default).ok()
    }

    /// As [`parsed`](Self::parsed), but without a default.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.filled(name)?;
        self.accept(name, &value, parse(&value))
    }

    /// One of the words of the table, each with what it means here.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.parsed(name, |text| word(name, text, words))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.word(name, &[("true", true), ("false", false)])
    }

    /// A duration within the bounds of the table.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        self.parsed(name, |text| within(name, text, value::duration))
    }

    /// A size within the bounds of the table, in bytes.
    pub(super) fn size(&mut self, name: &str) -> Option<u64> {
        self.parsed(name, |text| within(name, text, value::size))
    }

    /// A whole number within the bounds of the table, where one is set.
    pub(super) fn number(&mut self, name: &str) -> Option<u32> {
        self.optional(name, |text| match table::find(name).map(|variable| variable.accepted) {
            Some(Accepted::Number(least, most)) => match text.parse::<u32>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                Ok(_) | Err(_) => Err(format!("expected a number from {least} to {most}")),
            },
            Some(
                Accepted::Text | Accepted::Words(_) | Accepted::Duration(..) | Accepted::Size(..),
            )
            | None => Err("has no bounds in the table".to_owned()),
        })
    }

    /// The value, or a note of what is wrong with it.
    pub(super) fn accept<T>(
        &mut self,
        name: &str,
        value: &str,
        parsed: Result<T, String>,
    ) -> Option<T> {
        parsed.map_err(|reason| self.refuse(name, value, reason)).ok()
    }

    /// Notes that a value is wrong.
    pub(super) fn refuse(&mut self, name: &str, value: &str, reason: impl Into<String>) {
        self.problem(name, shown::in_error(name, value), reason);
    }

    /// Notes that something about a variable is wrong. The value is repeated as it stands.
    pub(super) fn problem(&mut self, name: &str, value: Option<String>, reason: impl Into<String>) {
        let example = table::find(name)
            .filter(|variable| variable.example != "…")
            .map(|variable| variable.example.to_owned());
        let variable = name.to_owned();
        self.problems.push(Problem { variable, value, reason: reason.into(), example });
    }

    /// How many mistakes were noted so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Notes an effective value.
    pub(super) fn effective(&mut self, name: &str, value: &str, origin: Origin) {
        let shown = shown::value(name, value);
        self.effective.insert(name.to_owned(), Effective { shown, origin });
    }

    /// Notes a value that was worked out, unless the variable itself is set.
    pub(super) fn derived(&mut self, name: &str, value: &str) {
        if !self.effective.contains_key(name) {
            self.effective(name, value, Origin::Derived);
        }
    }

    /// Whether a variable is set to something else than this.
    pub(super) fn differs(&self, name: &str, value: &str) -> bool {
        lookup::text(self.source, name)
            .is_ok_and(|found| found.is_some_and(|(text, _)| !text.is_empty() && text != value))
    }

    /// Refuses names of ours that no variable has.
    pub(super) fn refuse_unknown(&mut self) {
        let names = std::mem::take(&mut self.names);
        for name in &names {
            let base = name.strip_suffix("_FILE").unwrap_or(name);
            let known = table::find(name).is_some() || table::find(base).is_some();
            if known || crash::is_variable(name) || mutant::is_variable(name) {
                continue;
            }
            let candidates = VARIABLES.iter().map(|variable| variable.name);
            if name.starts_with("WALPOST_") {
                let meant = closest(base, candidates)
                    .map(|meant| format!("; did you mean {meant}?"))
                    .unwrap_or_default();
                self.problem(name, None, format!("is no variable of walpost's{meant}"));
            } else if let Some(meant) = mistyped(base, candidates) {
                self.warn(format!("{name} is not used by walpost; did you mean {meant}?"));
            }
        }
        self.names = names;
    }

    /// What was read, or every mistake.
    pub(super) fn finish(self) -> Result<(BTreeMap<String, Effective>, Vec<String>), Invalid> {
        if self.problems.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(Invalid { problems: self.problems, warnings: self.warnings })
        }
    }
}

/// Why this version cannot take this value of a variable, if it cannot.
pub(super) fn not_available(variable: &Variable, text: &str) -> Option<String> {
    if variable.later_words.contains(&text) {
        let words: Vec<_> = variable.available_words().collect();
        return Some(format!(
            "is not available in this build of walpost, which is without a cargo feature that the image \
             has; expected {}",
            words.join(", ")
        ));
    }
    None
}

/// One of the words of a variable.
///
/// # Errors
/// What is accepted.
pub(super) fn word<T: Copy>(name: &str, text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let offered: Vec<_> =
        table::find(name).into_iter().flat_map(Variable::available_words).collect();
    choice(text, words, &offered)
}

/// A value with a unit, within the bounds of the table.
fn within<T: PartialOrd>(
    name: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    let value = parse(text)?;
    match table::find(name).map(|variable| variable.accepted) {
        Some(Accepted::Duration(least, most) | Accepted::Size(least, most)) => {
            if value < parse(least)? || value > parse(most)? {
                return Err(format!("expected {least} to {most}"));
            }
            Ok(value)
        }
        Some(Accepted::Text | Accepted::Words(_) | Accepted::Number(..)) | None => {
            Err("has no bounds in the table".to_owned())
        }
    }
}

/// The variable of libpq's or Kafka's that was probably meant. Not more than two letters may be
/// wrong, because others may have variables of these prefixes too.
fn mistyped<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LETTERS_MAX: usize = 2;
    if !["PG", "KAFKA_", "DATABASE_"].iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    candidates
        .filter(|candidate| !candidate.starts_with("WALPOST_"))
        .filter(|candidate| value::distance(name, candidate) <= LETTERS_MAX)
        .min_by_key(|candidate| value::distance(name, candidate))
}
