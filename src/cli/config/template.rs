//! `walpost config --env`: a template of an env file.

use std::fmt::Write as _;

use crate::config::table::{Group, VARIABLES};

/// Every variable of this version as a comment, with its default or else an example.
pub(super) fn template() -> String {
    let mut text = String::from(
        "# Every variable of walpost, with its default or an example. Take the # off to set one.\n\
         # In place of each, NAME_FILE may name a file that holds the value.\n",
    );
    for group in Group::ALL {
        let variables: Vec<_> =
            VARIABLES.iter().filter(|variable| variable.group == group).collect();
        if variables.is_empty() {
            continue;
        }
        let heading = write!(text, "\n# ---- {} ----\n", group.title());
        debug_assert!(heading.is_ok(), "a String takes everything");
        for variable in variables {
            let default = match (variable.described, variable.default) {
                (true, default) => format!(" Default: {default}."),
                (false, _) => String::new(),
            };
            let value = variable.default_value().unwrap_or(variable.example);
            let (meaning, name) = (variable.meaning, variable.name);
            let lines = write!(text, "# {meaning}{default}\n#{name}={value}\n");
            debug_assert!(lines.is_ok(), "a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::env::Variables;

    /// Secrets have no example that could be a value.
    const NO_EXAMPLE: &str = "…";

    #[test]
    fn every_line_of_the_template_is_accepted_when_its_mark_is_taken_off() {
        let template = template();
        let lines: Vec<_> = template
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| !name.contains(' '))
            .collect();
        let count = VARIABLES.len();
        assert_eq!(lines.len(), count);
        let together = [
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_PASSWORD", "p"),
            ("WALPOST_HTTP_PASSWORD", "p"),
            ("WALPOST_REGISTRY_PASSWORD", "p"),
            ("WALPOST_COLUMN_ID", "id"),
        ];
        let variables: Variables = lines
            .iter()
            .filter(|(_, value)| *value != NO_EXAMPLE)
            .chain(&together)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if let Err(error) = Config::load(&variables) {
            panic!("{error}");
        }
    }
}
