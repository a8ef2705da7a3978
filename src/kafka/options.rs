//! Which Kafka, and with which librdkafka properties.

use std::collections::BTreeMap;

use super::login::Login;
use crate::secret::Secret;

/// All that is needed to make a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `bootstrap.servers`.
    pub bootstrap_servers: String,
    /// librdkafka properties given by the user (`KAFKA_*`, `KAFKA_PROP_*`), by their dotted names,
    /// validated; none of those that walpost sets itself. Values are kept as secrets, because
    /// keys, passwords and certificates are among them.
    pub properties: BTreeMap<String, Secret>,
    /// Where tokens come from, with a `sasl.mechanism` that wants tokens.
    pub login: Option<Login>,
}
