//! `walpost config`: the effective configuration, and what can be made of the table.

mod schema;
mod template;

use serde_json::{Map, Value, json};

use super::{Exit, help, output};
use crate::config::Config;
use crate::config::effective::Entry;
use crate::config::env::{Environment, Origin};

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
            let entries = loaded.entries();
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

fn as_text(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let line = |Entry { name, value, origin }: &Entry| match (value.as_str(), *origin) {
        ("", Origin::Default) => format!("{name:width$}  (not set)"),
        ("", Origin::Derived) => format!("{name:width$}  (none)"),
        (shown, origin) => format!("{name:width$}  {shown}  ({})", origin.as_str()),
    };
    let lines: Vec<_> = entries.iter().map(line).collect();
    lines.join("\n")
}

/// One object, a member a variable; the value of one that is not set is null.
fn as_json(entries: &[Entry]) -> String {
    let member = |Entry { name, value, origin }: &Entry| {
        let value = if value.is_empty() { Value::Null } else { json!(value) };
        (name.clone(), json!({"value": value, "origin": origin.as_str()}))
    };
    pretty(&Value::Object(entries.iter().map(member).collect::<Map<_, _>>()))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loaded;
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
        let text = as_text(&loaded.entries());
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
        let bare = as_text(&self::loaded(&[("WALPOST_MESSAGES", "shop")]).entries());
        assert!(
            bare.lines().any(|line| line.starts_with("WALPOST_TABLE ") && line.ends_with("(none)"))
        );
        let json: Value = serde_json::from_str(&as_json(&loaded.entries())).expect("JSON");
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
        for shown in [as_text(&loaded.entries()), as_json(&loaded.entries())] {
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
