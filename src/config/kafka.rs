//! `KAFKA_*`, and librdkafka's properties as `KAFKA_PROP_*`.

use std::collections::BTreeMap;

use rdkafka::config::ClientConfig;

use super::reader::Reader;
use super::value::closest;
use crate::kafka::options::KafkaOptions;
use crate::secret::Secret;

/// The properties of a producer that librdkafka 2.12.1 knows, one a line; from its
/// `CONFIGURATION.md`.
const PROPERTIES: &str = include_str!("librdkafka_properties.txt");

/// Variables with a name of their own, and their properties.
const NAMED: &[(&str, &str)] = &[
    ("KAFKA_SECURITY_PROTOCOL", "security.protocol"),
    ("KAFKA_SASL_MECHANISM", "sasl.mechanism"),
    ("KAFKA_SASL_USERNAME", "sasl.username"),
    ("KAFKA_SASL_PASSWORD", "sasl.password"),
    ("KAFKA_SSL_CA_LOCATION", "ssl.ca.location"),
    ("KAFKA_SSL_CERTIFICATE_LOCATION", "ssl.certificate.location"),
    ("KAFKA_SSL_KEY_LOCATION", "ssl.key.location"),
    ("KAFKA_SSL_KEY_PASSWORD", "ssl.key.password"),
];

/// Properties that a promise hangs on, and which.
const PROTECTED: &[(&str, &str)] = &[
    ("acks", "an event counts as delivered only when all in-sync replicas have it"),
    (
        "request.required.acks",
        "an event counts as delivered only when all in-sync replicas have it",
    ),
    ("enable.idempotence", "without it retries repeat and reorder events"),
    ("enable.gapless.guarantee", "without it later events overtake a refused one"),
    (
        "message.timeout.ms",
        "a time-out is not an answer: events reported as timed out were found written",
    ),
    (
        "delivery.timeout.ms",
        "a time-out is not an answer: events reported as timed out were found written",
    ),
    ("retries", "librdkafka must not give up on an event"),
    ("message.send.max.retries", "librdkafka must not give up on an event"),
    ("partitioner", "a key must stay in its partition"),
    ("transactional.id", "walpost sets it"),
    ("queuing.strategy", "events would be reordered"),
    ("message.max.bytes", "WALPOST_MAX_EVENT sets it"),
    ("bootstrap.servers", "KAFKA_BOOTSTRAP_SERVERS sets it"),
    ("metadata.broker.list", "KAFKA_BOOTSTRAP_SERVERS sets it"),
    ("client.id", "walpost sets it"),
    ("log.queue", "walpost sets it"),
    ("allow.auto.create.topics", "WALPOST_TOPIC_PARTITIONS decides it"),
    ("queue.buffering.max.messages", "WALPOST_MAX_IN_FLIGHT bounds what is in flight"),
    ("queue.buffering.max.kbytes", "WALPOST_MAX_IN_FLIGHT bounds what is in flight"),
    ("produce.offset.report", "walpost needs none"),
    ("delivery.report.only.error", "walpost counts every delivery"),
];

/// Reads which Kafka, and how. Gives something usable also after mistakes, which are noted.
pub(super) fn read(reader: &mut Reader<'_>) -> KafkaOptions {
    let bootstrap_servers = reader.filled("KAFKA_BOOTSTRAP_SERVERS").unwrap_or_else(|| {
        reader.problem("KAFKA_BOOTSTRAP_SERVERS", None, "is required");
        String::new()
    });
    let mut properties = BTreeMap::new();
    let mut native = ClientConfig::new();
    for (variable, property) in NAMED {
        if let Some(value) = reader.filled(variable) {
            set(reader, &mut native, &mut properties, (variable, property, value));
        }
    }
    for name in reader.names() {
        let base = match name.strip_suffix("_FILE") {
            Some(base) => base.to_owned(),
            None => name,
        };
        let Some(rest) = base.strip_prefix("KAFKA_PROP_") else { continue };
        let property = rest
            .to_ascii_lowercase()
            .replace("__", "\u{0}")
            .replace('_', ".")
            .replace('\u{0}', "_");
        if let Some((_, reason)) = PROTECTED.iter().find(|(name, _)| *name == property) {
            reader.problem(&base, None, format!("may not be set: {reason}"));
            continue;
        }
        if !PROPERTIES.lines().any(|known| known == property) {
            let meant = closest(&property, PROPERTIES.lines()).map_or_else(String::new, |meant| {
                let variable = meant.to_ascii_uppercase().replace('.', "_");
                format!("; did you mean {meant} (KAFKA_PROP_{variable})?")
            });
            reader.problem(&base, None, format!("librdkafka has no property {property}{meant}"));
            continue;
        }
        let Some(value) = reader.text(&base) else { continue };
        let too_many = property.starts_with("max.in.flight")
            && value.parse::<u32>().is_ok_and(|number| number > 5);
        if too_many {
            reader.problem(&base, None, "above 5, an idempotent producer loses the order");
            continue;
        }
        if properties.contains_key(&property) {
            reader.problem(&base, None, format!("{property} is set by its own variable already"));
            continue;
        }
        set(reader, &mut native, &mut properties, (&base, &property, value));
    }
    check_security(reader, &properties);
    KafkaOptions { bootstrap_servers, properties }
}

/// Lets librdkafka check a property. What it says repeats the value, so it is not passed on.
fn set(
    reader: &mut Reader<'_>,
    native: &mut ClientConfig,
    properties: &mut BTreeMap<String, Secret>,
    (variable, property, value): (&str, &str, String),
) {
    let mechanism = property == "sasl.mechanism";
    if mechanism && matches!(value.as_str(), "AWS_MSK_IAM" | "OAUTHBEARER") {
        reader.refuse(
            variable,
            &value,
            "is not available in this version; PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are",
        );
        return;
    }
    let mut alone = ClientConfig::new();
    alone.set(property, &value);
    if alone.create_native_config().is_err() {
        let accepted = match property {
            "security.protocol" => "expected plaintext, ssl, sasl_plaintext or sasl_ssl",
            _ => "librdkafka refuses the value",
        };
        reader.refuse(variable, &value, accepted);
        return;
    }
    native.set(property, &value);
    properties.insert(property.to_owned(), Secret::new(value));
}

/// The parts of the security settings go together.
fn check_security(reader: &mut Reader<'_>, properties: &BTreeMap<String, Secret>) {
    let get = |name: &str| properties.get(name).map(|value| value.expose().to_ascii_lowercase());
    let protocol = get("security.protocol").unwrap_or_else(|| "plaintext".to_owned());
    let sasl = protocol.starts_with("sasl");
    let mechanism = get("sasl.mechanism").or_else(|| get("sasl.mechanisms"));
    match (sasl, &mechanism) {
        // librdkafka would fall back to GSSAPI, which it was built without.
        (true, None) => {
            reader.problem("KAFKA_SASL_MECHANISM", None, "is required with a sasl protocol");
        }
        (false, Some(_)) => reader.problem(
            "KAFKA_SECURITY_PROTOCOL",
            Some(protocol.clone()),
            "must be sasl_ssl or sasl_plaintext when KAFKA_SASL_MECHANISM is set",
        ),
        (true, Some(_)) | (false, None) => {}
    }
    if sasl && mechanism.is_some() {
        for (variable, property) in
            [("KAFKA_SASL_USERNAME", "sasl.username"), ("KAFKA_SASL_PASSWORD", "sasl.password")]
        {
            if !properties.contains_key(property) {
                reader.problem(variable, None, "is required with this KAFKA_SASL_MECHANISM");
            }
        }
    }
    let certificate = properties.contains_key("ssl.certificate.location");
    if certificate != properties.contains_key("ssl.key.location") {
        reader.problem(
            "KAFKA_SSL_CERTIFICATE_LOCATION",
            None,
            "and KAFKA_SSL_KEY_LOCATION go together; set both or none",
        );
    }
    let encrypts = protocol.ends_with("ssl");
    if !encrypts && (certificate || properties.contains_key("ssl.ca.location")) {
        reader.problem(
            "KAFKA_SECURITY_PROTOCOL",
            Some(protocol),
            "must be ssl or sasl_ssl when certificates are given",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_knows_every_property_of_the_list() {
        let unknown = |property: &str| {
            let mut config = ClientConfig::new();
            config.set(property, "\u{1}");
            let result = config.create_native_config();
            result.is_err_and(|error| error.to_string().contains("No such configuration property"))
        };
        for property in PROPERTIES.lines() {
            assert!(!unknown(property), "{property}");
        }
        assert!(unknown("no.such.property"));
    }
}
