//! The effective configuration as it may be shown: every variable, its value and where it stands.

use super::Loaded;
use super::env::Origin;
use super::table::VARIABLES;

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its value as it may be shown: `***` for a secret, empty where nothing is set.
    pub value: String,
    /// Where the value stands.
    pub origin: Origin,
}

impl Loaded {
    /// Every variable of this version in the order of the help, then librdkafka's properties that
    /// are set.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let variables = VARIABLES.iter().map(|variable| {
            let set = self.effective.get(variable.name);
            let origin = set.map_or(Origin::Default, |set| set.origin);
            let value = set.map_or(variable.default, |set| set.shown.as_str());
            Entry { name: variable.name.to_owned(), value: value.to_owned(), origin }
        });
        let properties =
            self.effective.iter().filter(|(name, _)| name.starts_with("KAFKA_PROP_")).map(
                |(name, set)| Entry {
                    name: name.clone(),
                    value: set.shown.clone(),
                    origin: set.origin,
                },
            );
        variables.chain(properties).collect()
    }
}
