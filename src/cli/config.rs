//! `walpost config`: the effective configuration, and what can be made of the table.

use serde_json::{Map, Value, json};

use super::{Exit, help, output};
use crate::config::Config;
use crate::config::env::{Environment, Origin};
use crate::config::table::{Group, VARIABLES};

/// Forms of the output.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// A template of an env file, with every variable, its default and its meaning.
    #[arg(long)]
    env: bool,
    /// A JSON Schema of the variables.
    #[arg(long)]
    schema: bool,
    /// The table of the README.
    #[arg(long, hide = true)]
    markdown: bool,
}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written to.
pub fn run(arguments: Arguments, environment: &Environment) -> std::io::Result<Exit> {
    if arguments.env {
        output::line(&template())?;
        return Ok(Exit::Done);
    }
    if arguments.schema {
        output::line(&pretty(&schema()))?;
        return Ok(Exit::Done);
    }
    if arguments.markdown {
        output::line(&help::markdown())?;
        return Ok(Exit::Done);
    }
    match Config::load(environment) {
        Ok(loaded) => {
            let entries = VARIABLES.iter().filter(|variable| variable.available).map(|variable| {
                let set = loaded.effective.get(variable.name);
                let origin = set.map_or(Origin::Default, |set| set.origin);
                let shown = set.map_or(variable.default, |set| set.shown.as_str());
                (variable.name, shown, origin)
            });
            let properties = loaded
                .effective
                .iter()
                .filter(|(name, _)| name.starts_with("KAFKA_PROP_"))
                .map(|(name, set)| (name.as_str(), set.shown.as_str(), set.origin));
            let entries: Vec<_> = entries.chain(properties).collect();
            output::line(&if arguments.json { as_json(&entries) } else { as_text(&entries) })?;
            for warning in loaded.warnings {
                output::error(&format!("warning: {warning}"));
            }
            Ok(Exit::Done)
        }
        Err(invalid) => {
            output::error(&invalid.to_string());
            Ok(Exit::Configuration)
        }
    }
}

type Entry<'a> = (&'a str, &'a str, Origin);

fn as_text(entries: &[Entry<'_>]) -> String {
    let width = entries.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let lines: Vec<_> = entries
        .iter()
        .map(|(name, shown, origin)| {
            format!("{name:width$}  {shown}  ({})", origin.as_str()).replace("   (", "  (")
        })
        .collect();
    lines.join("\n")
}

fn as_json(entries: &[Entry<'_>]) -> String {
    let object: Map<String, Value> = entries
        .iter()
        .map(|(name, shown, origin)| {
            ((*name).to_owned(), json!({"value": shown, "origin": origin.as_str()}))
        })
        .collect();
    pretty(&Value::Object(object))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn template() -> String {
    let mut text = String::from("# Every variable of walpost. A line without # is set.\n");
    for group in Group::ALL {
        text.push_str("\n# ");
        text.push_str(group.title());
        text.push('\n');
        for variable in VARIABLES {
            if variable.group == group && variable.available {
                let value =
                    if variable.default.is_empty() { variable.example } else { variable.default };
                text.push_str(&format!("# {}\n# {}={value}\n", variable.meaning, variable.name));
            }
        }
    }
    text
}

fn schema() -> Value {
    let properties: Map<String, Value> = VARIABLES
        .iter()
        .filter(|variable| variable.available)
        .flat_map(|variable| {
            let described = json!({
                "type": "string",
                "description": variable.meaning,
                "examples": [variable.example],
                "writeOnly": variable.secret,
            });
            let file = json!({
                "type": "string",
                "description": format!("Path of a file that holds {}.", variable.name),
            });
            [(variable.name.to_owned(), described), (format!("{}_FILE", variable.name), file)]
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "walpost's environment variables",
        "type": "object",
        "properties": properties,
        "patternProperties": {"^KAFKA_PROP_": {"type": "string"}},
        "additionalProperties": false,
    })
}
