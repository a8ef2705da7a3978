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

impl KafkaOptions {
    /// Goes on with the tokens of before, where they come from the same place: one that is valid need not
    /// be asked for again, and whoever gives them out may be away.
    pub fn keep_tokens(&mut self, before: &Self) {
        if self.login == before.login {
            self.login.clone_from(&before.login);
        }
    }
}
