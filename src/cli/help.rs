//! The list of variables that `--help` ends with, from the one table.

use std::fmt::Write as _;

use crate::config::table::{Group, VARIABLES};

/// All variables by group, with their defaults.
#[must_use]
pub fn variables() -> String {
    let mut text = String::from("Environment variables (each also as NAME_FILE):");
    for group in Group::ALL {
        let mut lines = String::new();
        for variable in VARIABLES.iter().filter(|variable| variable.group == group) {
            let default = match variable.default {
                "" => String::new(),
                default => format!(" [{default}]"),
            };
            let line = writeln!(lines, "  {}{default}\n      {}", variable.name, variable.meaning);
            debug_assert!(line.is_ok(), "a String takes everything");
        }
        if !lines.is_empty() {
            let heading = write!(text, "\n\n{}:\n{}", group.title(), lines.trim_end());
            debug_assert!(heading.is_ok(), "a String takes everything");
        }
    }
    text.push_str("\n\nAny other librdkafka property as KAFKA_PROP_<NAME>, with _ for . (KAFKA_PROP_LINGER_MS=1).\n\nExit codes: 0 drained or done, 1 fatal error or drain deadline, 2 wrong command line, 78 wrong configuration, 130/143 second signal.");
    text
}

/// The table of variables for the README.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let rows: Vec<_> = VARIABLES
            .iter()
            .filter(|variable| variable.group == group)
            .map(|variable| {
                let default = match variable.default {
                    "" => String::new(),
                    default => format!("`{default}`"),
                };
                format!("| `{}` | {default} | {} |", variable.name, variable.meaning)
            })
            .collect();
        if !rows.is_empty() {
            let block = write!(
                text,
                "\n**{}**\n\n| variable | default | meaning |\n| --- | --- | --- |\n{}\n",
                group.title(),
                rows.join("\n")
            );
            debug_assert!(block.is_ok(), "a String takes everything");
        }
    }
    text
}
