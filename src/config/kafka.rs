//! `KAFKA_*`, and librdkafka's properties as `KAFKA_PROP_*`.

mod login;
pub(super) mod property;
mod security;

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::config::ClientConfig;

use super::Needs;
use super::reader::{Reader, not_available, word};
use super::table;
use super::value::closest;
use crate::kafka::client::AWS_MSK_IAM;
use crate::kafka::options::KafkaOptions;
use crate::secret::Secret;

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

/// What is set, by property, and by which variable.
type Properties = BTreeMap<String, (String, Secret)>;

/// Reads which Kafka, and how. Gives something usable also after mistakes, which are noted.
pub(super) fn read(reader: &mut Reader<'_>, needs: Needs) -> KafkaOptions {
    let servers = match needs {
        Needs::Both => reader.required("KAFKA_BOOTSTRAP_SERVERS", "is required"),
        Needs::Database => reader.filled("KAFKA_BOOTSTRAP_SERVERS"),
    };
    if let Some(text) = &servers
        && let Err(reason) = check_servers(text)
    {
        reader.refuse("KAFKA_BOOTSTRAP_SERVERS", text, reason);
    }
    let mut properties = Properties::new();
    for (variable, property) in NAMED.iter().chain(&login::NAMED) {
        if let Some(value) = reader.filled(variable) {
            set(reader, &mut properties, (variable, property, value));
        }
    }
    let variables: BTreeSet<String> =
        reader.names().filter(|name| name.starts_with("KAFKA_PROP_")).map(base).collect();
    for variable in variables {
        let property = property_of(&variable);
        if is_usable(reader, &variable, &property)
            && let Some(value) = reader.filled(&variable)
        {
            set(reader, &mut properties, (&variable, property::canonical(&property), value));
        }
    }
    // Half of what a login needs is no mistake where nobody logs in.
    if needs == Needs::Both || servers.is_some() {
        security::check(reader, &properties);
    }
    let login = login::read(reader, &mut properties, servers.as_deref());
    let properties = properties.into_iter().map(|(name, (_, value))| (name, value)).collect();
    KafkaOptions { bootstrap_servers: servers.unwrap_or_default(), properties, login }
}

/// The variable whose value this one holds, or names the file of. A few properties end in `.file`
/// themselves.
fn base(name: &str) -> String {
    match name.strip_suffix("_FILE") {
        Some(base) if !property::is_known(&property_of(name)) => base.to_owned(),
        Some(_) | None => name.to_owned(),
    }
}

fn property_of(variable: &str) -> String {
    property::of_variable(variable.strip_prefix("KAFKA_PROP_").unwrap_or(variable))
}

/// Whether a property may be set at all; if not, that is noted.
fn is_usable(reader: &mut Reader<'_>, variable: &str, property: &str) -> bool {
    if let Some(reason) = property::protected(property) {
        reader.problem(variable, None, format!("may not be set: {reason}"));
        return false;
    }
    if !property::is_known(property) {
        let meant = closest(property, property::all()).map_or_else(String::new, |meant| {
            format!("; did you mean {meant} ({})?", property::variable(meant))
        });
        reader.problem(variable, None, format!("librdkafka has no property {property}{meant}"));
        return false;
    }
    true
}

/// Takes a value when it is right by itself.
fn set(
    reader: &mut Reader<'_>,
    properties: &mut Properties,
    (variable, property, value): (&str, &str, String),
) {
    if let Err(reason) = check_value(property, &value) {
        reader.refuse(variable, &value, reason);
    } else if let Some((first, _)) = properties.get(property) {
        let reason = format!("sets {property}, as {first} does; keep one of them");
        reader.problem(variable, None, reason);
    } else {
        properties.insert(property.to_owned(), (variable.to_owned(), Secret::new(value)));
    }
}

/// Whether a property takes a value. librdkafka is asked where walpost has no words of its own;
/// what librdkafka says repeats the value, which may be a password, so it is not passed on
/// (measured: `No such configuration property: "sasl.pasword" sasl.pasword <the password>`).
fn check_value(property: &str, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("has a NUL in it".to_owned());
    }
    let named = NAMED.iter().find(|(_, name)| *name == property).map(|(variable, _)| *variable);
    if let Some(variable) = named.and_then(table::find)
        && let Some(reason) = not_available(variable, value)
    {
        return Err(reason);
    }
    match property {
        // librdkafka takes any case of these.
        "security.protocol" => {
            let words = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"].map(|name| (name, ()));
            return word("KAFKA_SECURITY_PROTOCOL", &value.to_ascii_lowercase(), &words);
        }
        // librdkafka takes any text here, and fails when the client is made.
        "sasl.mechanism" => {
            let words = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", AWS_MSK_IAM];
            return word("KAFKA_SASL_MECHANISM", value, &words.map(|name| (name, ())));
        }
        "max.in.flight.requests.per.connection"
            if value.parse::<u32>().is_ok_and(|number| number > 5) =>
        {
            return Err("above 5, an idempotent producer loses the order".to_owned());
        }
        // What these take is checked where they are put together.
        ours if login::is_ours(ours) => return Ok(()),
        _ => {}
    }
    let mut alone = ClientConfig::new();
    alone.set(property, value);
    alone.create_native_config().map(drop).map_err(|_| {
        format!(
            "librdkafka refuses the value; what {property} takes stands in librdkafka's \
             CONFIGURATION.md"
        )
    })
}

/// Whether a text is a list of brokers: `host:port`, librdkafka's `protocol://` before it, and the
/// port left out for 9092.
fn check_servers(text: &str) -> Result<(), String> {
    const EXPECTED: &str = "expected host:port, or several with commas between";
    let is_server = |server: &str| {
        let (protocol, address) = server.split_once("://").unwrap_or(("plaintext", server));
        let protocols = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
        let (host, port) = match address.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or(""))),
                None => ("", None),
            },
            None => address.split_once(':').map_or((address, None), |(h, port)| (h, Some(port))),
        };
        protocols.iter().any(|known| protocol.eq_ignore_ascii_case(known))
            && !host.is_empty()
            && !host.contains(|c: char| c.is_whitespace() || "/@?".contains(c))
            && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    };
    if text.split(',').all(|server| is_server(server.trim())) {
        Ok(())
    } else {
        Err(EXPECTED.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_list(text: &str, expected: bool) {
        assert_eq!(check_servers(text).is_ok(), expected, "{text:?}");
    }

    #[test]
    fn brokers_are_hosts_with_ports() {
        check_list("kafka:9092", true);
        check_list("kafka", true);
        check_list("a:1, b:2,c:65535", true);
        check_list("[::1]:9092,10.0.0.1:9092", true);
        check_list("SASL_SSL://kafka:9092", true);
        for refused in [
            "",
            ",",
            "a:1,",
            "a:0",
            "a:65536",
            "a:x",
            ":9092",
            "a b:1",
            "::1:9092",
            "[::1",
            "[::1]9092",
            "http://kafka:9092",
            "kafka://kafka:9092",
            "ssl://u:p@kafka:9092",
            "kafka:9092/topic",
        ] {
            check_list(refused, false);
        }
    }

    #[track_caller]
    fn check_refused(property: &str, value: &str, expected: &str) {
        let refused = check_value(property, value).expect_err(property);
        assert!(refused.contains(expected), "{property}={value}: {refused}");
    }

    #[test]
    fn a_value_is_right_by_itself() {
        for (property, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.client.id", "walpost"),
            ("linger.ms", "1.5"),
            ("compression.codec", "zstd"),
            ("max.in.flight.requests.per.connection", "5"),
        ] {
            assert_eq!(check_value(property, value), Ok(()), "{property}={value}");
        }
        check_refused("security.protocol", "sasl-ssl", "did you mean \"sasl_ssl\"?");
        check_refused("sasl.mechanism", "plain", "did you mean \"PLAIN\"?");
        check_refused("sasl.mechanism", "GSSAPI", "expected one of PLAIN, SCRAM-SHA-256");
        check_refused("linger.ms", "soon", "librdkafka refuses the value");
        check_refused("compression.codec", "brotli", "librdkafka refuses the value");
        check_refused("max.in.flight.requests.per.connection", "6", "above 5");
        check_refused("max.in.flight.requests.per.connection", "x", "librdkafka refuses");
        check_refused("client.rack", "a\0b", "NUL");
    }

    #[test]
    fn what_librdkafka_says_of_a_value_is_not_passed_on() {
        for property in property::all() {
            if let Err(reason) = check_value(property, "canary-4c1") {
                assert!(!reason.contains("canary-4c1"), "{property}: {reason}");
            }
        }
    }
}
