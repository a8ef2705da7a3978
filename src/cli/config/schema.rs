//! `walpost config --schema`: a JSON Schema of the variables.

use serde_json::{Map, Value, json};

use crate::config::table::{Accepted, VARIABLES, Variable};

/// What a duration and a size look like. The bounds are told in words, as JSON Schema has none for
/// numbers with units.
const DURATION: &str = "^(0|[0-9]+(ms|s|m|h|d))$";
const SIZE: &str = "^(0|[0-9]+(B|kB|KB|KiB|MB|MiB|GB|GiB))$";

/// The variables of this version, each also as `NAME_FILE`, and librdkafka's properties. All are
/// strings, as in an environment.
pub(super) fn schema() -> Value {
    let properties: Map<String, Value> = VARIABLES
        .iter()
        .flat_map(|variable| {
            let file = json!({
                "type": "string",
                "description": format!("Path of a file that holds {}.", variable.name),
            });
            let own = Value::Object(property(variable));
            [(variable.name.to_owned(), own), (format!("{}_FILE", variable.name), file)]
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

fn property(variable: &Variable) -> Map<String, Value> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    let bounds = match variable.accepted {
        Accepted::Text | Accepted::Words(_) => String::new(),
        Accepted::Duration(least, most) | Accepted::Size(least, most) => {
            format!(" From {least} to {most}.")
        }
        Accepted::Number(least, most) => format!(" From {least} to {most}."),
    };
    set("type", json!("string"));
    set("description", json!(format!("{}{bounds}", variable.meaning)));
    match variable.accepted {
        Accepted::Text => None,
        Accepted::Words(_) => set("enum", variable.available_words().collect()),
        Accepted::Duration(..) => set("pattern", json!(DURATION)),
        Accepted::Size(..) => set("pattern", json!(SIZE)),
        Accepted::Number(..) => set("pattern", json!("^[0-9]+$")),
    };
    if let Some(default) = variable.default_value() {
        set("default", json!(default));
    }
    if variable.secret {
        set("writeOnly", json!(true));
    } else {
        set("examples", json!([variable.example]));
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_says_what_is_accepted_and_what_is_taken_when_nothing_is_set() {
        let schema = schema();
        let property = |name: &str| &schema["properties"][name];
        assert_eq!(property("WALPOST_DELIVERY")["enum"], json!(["at-least-once", "exactly-once"]));
        assert_eq!(property("WALPOST_CREATE")["enum"], json!(["true", "false"]));
        assert_eq!(property("WALPOST_MAX_IN_FLIGHT")["default"], "16MiB");
        assert_eq!(property("WALPOST_MAX_IN_FLIGHT")["pattern"], SIZE);
        assert_eq!(property("WALPOST_SHUTDOWN_TIMEOUT")["pattern"], DURATION);
        assert_eq!(property("PGSSLMODE")["default"], Value::Null, "it is told in words");
        assert_eq!(property("PGPASSWORD")["writeOnly"], true);
        assert_eq!(property("PGPASSWORD")["examples"], Value::Null);
        assert_eq!(property("PGPASSWORD_FILE")["type"], "string");
    }
}
