//! `walpost config`: the effective configuration, and what can be made of the table.

mod schema;
mod template;

use serde_json::{Map, Value, json};

use super::{Exit, help, output};
use crate::config::env::{Environment, Origin};
use crate::config::table::VARIABLES;
use crate::config::{Config, Loaded};

/// Forms of the output.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Arguments {
    /// Prints it as JSON.
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
        output::line(&template::template())?;
        return Ok(Exit::Done);
    }
    if arguments.schema {
        output::line(&pretty(&schema::schema()))?;
        return Ok(Exit::Done);
    }
    if arguments.markdown {
        output::line(&help::markdown())?;
        return Ok(Exit::Done);
    }
    match Config::load(environment) {
        Ok(loaded) => {
            let entries = entries(&loaded);
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

/// A name, its value as it may be shown, and where it stands.
type Entry<'a> = (&'a str, &'a str, Origin);

/// Every variable of this version in the order of the help, then librdkafka's properties that are
/// set.
fn entries(loaded: &Loaded) -> Vec<Entry<'_>> {
    let variables = VARIABLES.iter().filter(|variable| variable.available).map(|variable| {
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
    variables.chain(properties).collect()
}

fn as_text(entries: &[Entry<'_>]) -> String {
    let width = entries.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let line = |(name, shown, origin): &Entry<'_>| match (*shown, *origin) {
        ("", Origin::Default) => format!("{name:width$}  (not set)"),
        (shown, origin) => format!("{name:width$}  {shown}  ({})", origin.as_str()),
    };
    let lines: Vec<_> = entries.iter().map(line).collect();
    lines.join("\n")
}

/// One object, a member a variable; the value of one that is not set is null.
fn as_json(entries: &[Entry<'_>]) -> String {
    let member = |(name, shown, origin): &Entry<'_>| {
        let value = if shown.is_empty() { Value::Null } else { json!(shown) };
        ((*name).to_owned(), json!({"value": value, "origin": origin.as_str()}))
    };
    pretty(&Value::Object(entries.iter().map(member).collect::<Map<_, _>>()))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Variables;

    fn loaded(more: &[(&str, &str)]) -> Loaded {
        let base = [
            ("DATABASE_URL", "postgres://walpost:canary-1@db/shop"),
            ("KAFKA_BOOTSTRAP_SERVERS", "k:9092"),
        ];
        let variables: Variables = base
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::load(&variables).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn each_value_is_shown_with_its_origin() {
        let loaded = loaded(&[("KAFKA_PROP_LINGER_MS", "5"), ("WALPOST_CE_TYPE", "a   (b)")]);
        let text = as_text(&entries(&loaded));
        for (name, rest) in [
            ("DATABASE_URL", "***  (env file)"),
            ("PGHOST", "db  (DATABASE_URL)"),
            ("PGPASSWORD", "***  (DATABASE_URL)"),
            ("PGSSLCERT", "(not set)"),
            ("WALPOST_NAME", "shop.walpost  (derived)"),
            ("WALPOST_CE_TYPE", "a   (b)  (env file)"),
            ("WALPOST_SLOT", "walpost  (default)"),
            ("KAFKA_PROP_LINGER_MS", "5  (env file)"),
        ] {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            let shown = line.unwrap_or_else(|| panic!("{name}")).strip_prefix(name);
            assert_eq!(shown.map(str::trim_start), Some(rest), "{name}");
        }
        assert!(!text.contains("WALPOST_SHARDS"), "not in this version");
        let json: Value = serde_json::from_str(&as_json(&entries(&loaded))).expect("JSON");
        assert_eq!(json["PGSSLCERT"], json!({"value": null, "origin": "default"}));
        assert_eq!(json["KAFKA_PROP_LINGER_MS"], json!({"value": "5", "origin": "env file"}));
    }

    #[test]
    fn no_form_shows_a_secret() {
        let loaded = loaded(&[
            ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_USERNAME", "walpost"),
            ("KAFKA_SASL_PASSWORD", "canary-2"),
            ("KAFKA_SSL_KEY_PASSWORD", "canary-3"),
            ("KAFKA_PROP_SSL_KEYSTORE_PASSWORD", "canary-4"),
            ("WALPOST_HTTP_USERNAME", "ops"),
            ("WALPOST_HTTP_PASSWORD", "canary-5"),
            ("WALPOST_CE_SOURCE", "https://u:canary-6@example.com"),
        ]);
        for shown in [as_text(&entries(&loaded)), as_json(&entries(&loaded))] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
