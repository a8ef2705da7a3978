//! Reads variables one by one and collects every mistake on the way.

use std::collections::BTreeMap;
use std::path::Path;

use super::env::{Origin, Source};
use super::invalid::{Invalid, Problem};
use super::table::{self, VARIABLES};
use super::value::closest;

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
    problems: Vec<Problem>,
    warnings: Vec<String>,
    effective: BTreeMap<String, Effective>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self { source, problems: Vec::new(), warnings: Vec::new(), effective: BTreeMap::new() }
    }

    /// All names that are set.
    pub(super) fn names(&self) -> Vec<String> {
        self.source.names()
    }

    /// The text of a variable, from itself or from the file that `NAME_FILE` names.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let secret = is_secret(name);
        let plain = self.source.get(name);
        let file_name = format!("{name}_FILE");
        let file = self.source.get(&file_name);
        let (value, origin) = match (plain, file) {
            (None, None) => return None,
            (Some(_), Some(_)) => {
                self.problem(&file_name, None, format!("is set beside {name}; keep one of them"));
                return None;
            }
            (Some((value, origin)), None) => {
                if let Ok(value) = value.into_string() {
                    (value, origin)
                } else {
                    self.problem(name, None, "is not UTF-8");
                    return None;
                }
            }
            (None, Some((path, _))) => match std::fs::read_to_string(Path::new(&path)) {
                Ok(text) => {
                    let text = text.strip_suffix('\n').unwrap_or(&text);
                    (text.strip_suffix('\r').unwrap_or(text).to_owned(), Origin::File)
                }
                Err(error) => {
                    let path = Path::new(&path).display().to_string();
                    self.problem(&file_name, Some(path), format!("cannot be read: {error}"));
                    return None;
                }
            },
        };
        if let Some(variable) = table::find(name)
            && !variable.available
            && value != variable.default
        {
            let shown = (!secret).then_some(value);
            self.problem(name, shown, "is not available in this version; leave it unset");
            return None;
        }
        let shown = if secret { "***".to_owned() } else { value.clone() };
        self.effective.insert(name.to_owned(), Effective { shown, origin });
        Some(value)
    }

    /// As [`text`](Self::text), with an empty value as none.
    pub(super) fn filled(&mut self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty())
    }

    /// A value that is parsed; the default, which must parse, where there is none.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let default = table::find(name).map_or("", |variable| variable.default);
        match self.filled(name) {
            Some(value) => match parse(&value) {
                Ok(parsed) => Some(parsed),
                Err(reason) => {
                    self.refuse(name, &value, reason);
                    None
                }
            },
            None => parse(default).ok(),
        }
    }

    /// As [`parsed`](Self::parsed), but without a default.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.filled(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.refuse(name, &value, reason);
                None
            }
        }
    }

    /// Notes that a value is wrong.
    pub(super) fn refuse(&mut self, name: &str, value: &str, reason: impl Into<String>) {
        let shown = (!is_secret(name)).then(|| value.chars().take(200).collect());
        self.problem(name, shown, reason);
    }

    /// Notes that something about a variable is wrong.
    pub(super) fn problem(&mut self, name: &str, value: Option<String>, reason: impl Into<String>) {
        let example = table::find(name)
            .filter(|variable| variable.available && !variable.secret)
            .map(|variable| variable.example.to_owned());
        let variable = name.to_owned();
        self.problems.push(Problem { variable, value, reason: reason.into(), example });
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Notes a value that comes from elsewhere than the variable itself.
    pub(super) fn effective(&mut self, name: &str, shown: impl Into<String>, origin: Origin) {
        let shown = if is_secret(name) { "***".to_owned() } else { shown.into() };
        self.effective.insert(name.to_owned(), Effective { shown, origin });
    }

    /// Notes a value that was worked out, unless the variable itself is set.
    pub(super) fn derived(&mut self, name: &str, shown: String) {
        self.effective
            .entry(name.to_owned())
            .or_insert(Effective { shown, origin: Origin::Derived });
    }

    /// Refuses names with our prefix that no variable has.
    pub(super) fn refuse_unknown(&mut self) {
        for variable in VARIABLES.iter().filter(|variable| !variable.available) {
            // Reading one that is set to something refuses it.
            drop(self.text(variable.name));
        }
        let mut service_links = Vec::new();
        for name in self.source.names() {
            let base = name.strip_suffix("_FILE").unwrap_or(&name);
            let known = table::find(&name).is_some() || table::find(base).is_some();
            if known || !name.starts_with("WALPOST") {
                continue;
            }
            if is_service_link(&name) {
                service_links.push(name);
                continue;
            }
            if !name.starts_with("WALPOST_") {
                continue;
            }
            let meant = closest(base, VARIABLES.iter().map(|variable| variable.name))
                .map(|meant| format!("; did you mean {meant}?"))
                .unwrap_or_default();
            self.problem(&name, None, format!("is no variable of walpost's{meant}"));
        }
        if let Some(first) = service_links.first() {
            self.warn(format!(
                "{} variables such as {first} are Kubernetes service links and are ignored; set enableServiceLinks: false on the pod",
                service_links.len()
            ));
        }
    }

    /// What was read, or every mistake.
    pub(super) fn finish(self) -> Result<(BTreeMap<String, Effective>, Vec<String>), Invalid> {
        if self.problems.is_empty() {
            Ok((self.effective, self.warnings))
        } else {
            Err(Invalid(self.problems))
        }
    }
}

/// Whether a variable's value must not be shown. Of properties that are passed through to
/// librdkafka none is, because passwords and keys are among them.
fn is_secret(name: &str) -> bool {
    table::find(name).map_or(name.starts_with("KAFKA_PROP_"), |variable| variable.secret)
}

/// Variables that Kubernetes makes for a service whose name begins with `walpost`, such as
/// `WALPOST_SERVICE_HOST`, `WALPOST_METRICS_PORT` or `WALPOST_PORT_9464_TCP_PROTO`.
/// Source: Kubernetes, "Service", environment variables ("docker links compatible").
fn is_service_link(name: &str) -> bool {
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    if ends.iter().any(|end| name.ends_with(end)) || name.contains("_SERVICE_PORT_") {
        return true;
    }
    let Some((_, port)) = name.split_once("_PORT_") else { return false };
    let mut parts = port.split('_');
    let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    let protocol = parts.next().is_some_and(|part| matches!(part, "TCP" | "UDP" | "SCTP"));
    let rest = parts.next().is_none_or(|part| matches!(part, "PROTO" | "PORT" | "ADDR"));
    number && protocol && rest && parts.next().is_none()
}
