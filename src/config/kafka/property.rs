//! librdkafka's properties: their names, those that are walpost's own to set, those whose values
//! are secret.

/// The properties of a producer that librdkafka 2.12.1 knows, one a line; from its
/// `CONFIGURATION.md`.
const KNOWN: &str = include_str!("../librdkafka_properties.txt");

/// Names that mean the same to librdkafka, and which of the two walpost goes on with, so that a
/// value meets the one it replaces. Source: `_RK_C_ALIAS` in librdkafka's `rdkafka_conf.c`.
const ALIASES: &[(&str, &str)] = &[
    ("sasl.mechanisms", "sasl.mechanism"),
    ("compression.type", "compression.codec"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
];

const ANSWER: &str = "an event counts as delivered only when all in-sync replicas have it";
const TIME_OUT: &str =
    "a time-out is not an answer: events reported as timed out were found written";
const GIVE_UP: &str = "librdkafka must not give up on an event";
const SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS sets it";
const TOKENS: &str =
    "walpost asks for tokens itself; see KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL";
const IN_FLIGHT: &str = "WALPOST_MAX_IN_FLIGHT bounds what is in flight";

/// Properties that a promise hangs on, and which.
const PROTECTED: &[(&str, &str)] = &[
    ("acks", ANSWER),
    ("request.required.acks", ANSWER),
    ("enable.idempotence", "without it retries repeat and reorder events"),
    ("enable.gapless.guarantee", "without it later events overtake a refused one"),
    ("message.timeout.ms", TIME_OUT),
    ("delivery.timeout.ms", TIME_OUT),
    ("retries", GIVE_UP),
    ("message.send.max.retries", GIVE_UP),
    ("partitioner", "a key must stay in its partition"),
    ("transactional.id", "walpost sets it"),
    ("queuing.strategy", "events would be reordered"),
    ("message.max.bytes", "WALPOST_MAX_EVENT sets it"),
    ("bootstrap.servers", SERVERS),
    ("metadata.broker.list", SERVERS),
    ("client.id", "walpost sets it"),
    ("log.queue", "walpost sets it"),
    ("allow.auto.create.topics", "WALPOST_TOPIC_PARTITIONS decides it"),
    ("queue.buffering.max.messages", IN_FLIGHT),
    ("queue.buffering.max.kbytes", IN_FLIGHT),
    ("produce.offset.report", "walpost needs none"),
    ("delivery.report.only.error", "walpost counts every delivery"),
];

/// Parts of the names of properties whose values are passwords, keys or tokens, or commands that
/// may hold one.
const SECRET: &[&str] = &["password", "passphrase", "secret", "pem", "oauthbearer", "kerberos"];

/// The property that `KAFKA_PROP_<NAME>` is for: `_` is a dot, `__` is a `_`.
pub(in crate::config) fn of_variable(name: &str) -> String {
    let dotted: Vec<_> = name.split("__").map(|part| part.replace('_', ".")).collect();
    dotted.join("_").to_ascii_lowercase()
}

/// The variable that sets a property.
pub(super) fn variable(property: &str) -> String {
    let name = property.replace('_', "__").replace('.', "_").to_ascii_uppercase();
    format!("KAFKA_PROP_{name}")
}

/// All that librdkafka knows.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    KNOWN.lines()
}

/// Whether librdkafka knows a property.
pub(in crate::config) fn is_known(property: &str) -> bool {
    all().any(|known| known == property)
}

/// Whether a property's value must not be shown. What is unknown may be a mistyped password.
pub(in crate::config) fn is_secret(property: &str) -> bool {
    !is_known(property) || SECRET.iter().any(|part| property.contains(part))
}

/// Why a user may not set a property, where that is so.
pub(super) fn protected(property: &str) -> Option<&'static str> {
    let tokens = property.starts_with("sasl.oauthbearer.") || property.contains("unsecure.jwt");
    if tokens && is_known(property) && !super::login::is_ours(property) {
        return Some(TOKENS);
    }
    PROTECTED.iter().find(|(name, _)| *name == property).map(|(_, reason)| *reason)
}

/// The one name that walpost uses of several with the same meaning.
pub(super) fn canonical(property: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == property).map_or(property, |(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use rdkafka::config::ClientConfig;

    use super::*;

    /// Whether librdkafka says that it does not know a property.
    fn unknown(property: &str) -> bool {
        let mut config = ClientConfig::new();
        config.set(property, "\u{1}");
        let result = config.create_native_config();
        result.is_err_and(|error| error.to_string().contains("No such configuration property"))
    }

    #[test]
    fn librdkafka_knows_every_property_that_stands_here() {
        let aliases = ALIASES.iter().flat_map(|(alias, name)| [*alias, *name]);
        let protected = PROTECTED.iter().map(|(name, _)| *name);
        for property in all().chain(aliases).chain(protected) {
            assert!(!unknown(property), "{property}");
            assert!(is_known(property), "{property}");
        }
        assert!(unknown("no.such.property"));
    }

    #[test]
    fn both_names_of_a_property_set_the_same() {
        for (alias, name) in ALIASES {
            let value = match *alias {
                "sasl.mechanisms" => "PLAIN",
                "compression.type" => "zstd",
                _ => "3",
            };
            let mut config = ClientConfig::new();
            config.set(*alias, value);
            let native = config.create_native_config().expect("set");
            assert_eq!(native.get(name).expect("known"), native.get(alias).expect("known"));
            assert!(native.get(name).expect("known").starts_with(value), "{name}");
        }
    }

    #[test]
    fn a_property_and_its_variable_lead_to_each_other() {
        for property in all() {
            let variable = variable(property);
            let name = variable.strip_prefix("KAFKA_PROP_").expect("the prefix");
            assert_eq!(of_variable(name), property);
        }
        assert_eq!(of_variable("linger_ms"), "linger.ms");
        assert_eq!(of_variable("LOG__LEVEL"), "log_level");
    }

    #[test]
    fn what_may_hold_a_secret_is_secret() {
        for property in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.kerberos.kinit.cmd",
            "sasl.pasword",
        ] {
            assert!(is_secret(property), "{property}");
        }
        for property in ["linger.ms", "compression.codec", "ssl.ca.location", "sasl.mechanism"] {
            assert!(!is_secret(property), "{property}");
        }
    }
}
