//! The librdkafka properties of each client, and which of them are walpost's own to set.

use std::time::Duration;

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::KafkaError;

use super::librdkafka::{Client, ClientError, Seated};
use super::login::Login;
use super::options::KafkaOptions;
use super::prompt::LINGER;
use super::transaction;
use crate::mutant::{self, Mutant};

/// How long a question to the brokers may take before it counts as unanswered.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Room for what Kafka adds to an event of the largest allowed size: batch and record headers,
/// lengths, the topic name in the request.
const REQUEST_OVERHEAD: usize = 64 * 1024;

/// The mechanism that is none of librdkafka's: to the brokers it is OAUTHBEARER, with a token that
/// is signed here.
pub const AWS_MSK_IAM: &str = "AWS_MSK_IAM";

/// Properties of a producer, among which are passwords, and where its tokens come from.
#[derive(Clone)]
pub struct Properties {
    list: Vec<(String, String)>,
    login: Option<Login>,
}

impl std::fmt::Debug for Properties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Properties")
    }
}

impl Properties {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a property in the place of what it was.
    pub fn set(&mut self, property: &str, value: impl Into<String>) {
        self.list.retain(|(name, _)| name != property);
        self.list.push((property.to_owned(), value.into()));
    }

    /// A client with these properties. See [`Client::new`].
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn client(&self) -> Result<Client, ClientError> {
        Client::new(self.iter(), self.login.as_ref())
    }

    /// Properties alone, for a client that logs in nowhere.
    #[cfg(test)]
    pub(super) fn for_tests(list: &[(&str, &str)]) -> Self {
        let list = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { list: list.collect(), login: None }
    }
}

/// The properties that every client of this process has.
fn shared(options: &KafkaOptions, name: &str) -> Vec<(String, String)> {
    let mut properties = vec![
        ("bootstrap.servers".to_owned(), options.bootstrap_servers.clone()),
        ("client.id".to_owned(), format!("walpost-{name}")),
        // Load balancers drop idle connections in silence.
        ("socket.keepalive.enable".to_owned(), "true".to_owned()),
        // The default of 10 s would be most of the time that a recovery takes.
        ("reconnect.backoff.max.ms".to_owned(), "2000".to_owned()),
    ];
    let encrypted = options
        .properties
        .get("security.protocol")
        .is_some_and(|protocol| protocol.expose().to_ascii_lowercase().contains("ssl"));
    if encrypted && !options.properties.contains_key("ssl.ca.location") {
        // OpenSSL is linked statically and knows no trust store by itself.
        properties.push(("ssl.ca.location".to_owned(), "probe".to_owned()));
    }
    properties
}

fn overlay(
    mut properties: Vec<(String, String)>,
    options: &KafkaOptions,
    except: &[&str],
) -> Vec<(String, String)> {
    for (name, value) in &options.properties {
        if except.contains(&name.as_str()) {
            continue;
        }
        properties.retain(|(ours, _)| ours != name);
        let value = match (name.as_str(), value.expose()) {
            ("sasl.mechanism", AWS_MSK_IAM) => "OAUTHBEARER",
            (_, value) => value,
        };
        properties.push((name.clone(), value.to_owned()));
    }
    properties
}

/// The producer's properties.
///
/// Those without which a promise breaks come last and cannot be overridden:
///
/// - `enable.gapless.guarantee`: without it, librdkafka delivers the later records of a partition
///   after a batch before them was refused (measured with `MSG_SIZE_TOO_LARGE`: 4 failed, 6 later
///   ones written), which reorders a key.
/// - `message.timeout.ms=0`: a time-out is not an answer. Records reported as timed out were found
///   in the log, and "gapless" does not cover time-outs.
/// - `partitioner=murmur2_random`: Java's placement, so that a key stays where other producers and
///   a former Debezium put it; librdkafka's own default is CRC32.
/// - `batch.size` is what the configuration asks for, or less where a topic takes less; see
///   [`batch_limits`](super::batch_limits).
/// - The two queue limits are off because the pipeline bounds what is in flight by bytes.
#[must_use]
pub fn producer_properties(
    options: &KafkaOptions,
    name: &str,
    max_event: usize,
    create_topics: bool,
    batch_size: usize,
) -> Properties {
    let mut ours = shared(options, name);
    for (property, value) in [
        ("compression.codec", "lz4"),
        ("linger.ms", LINGER),
        ("batch.num.messages", "20000"),
        ("retry.backoff.ms", "50"),
    ] {
        ours.push((property.to_owned(), value.to_owned()));
    }
    let list = overlay(ours, options, &[]);
    let mut properties = Properties { list, login: options.login.clone() };
    let largest = max_event.saturating_add(REQUEST_OVERHEAD).max(1_000_000);
    let message_timeout = if mutant::is(Mutant::MessageTimeout) { "1000" } else { "0" };
    for (property, value) in [
        ("acks", "all".to_owned()),
        ("enable.idempotence", "true".to_owned()),
        ("enable.gapless.guarantee", (!mutant::is(Mutant::GaplessOff)).to_string()),
        ("message.timeout.ms", message_timeout.to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        ("message.max.bytes", largest.to_string()),
        ("queue.buffering.max.messages", "0".to_owned()),
        ("queue.buffering.max.kbytes", "2147483647".to_owned()),
        ("allow.auto.create.topics", create_topics.to_string()),
        ("log.queue", "true".to_owned()),
        ("batch.size", batch_size.to_string()),
    ] {
        properties.set(property, value);
    }
    properties
}

/// The properties of a producer whose records stand in transactions of about this length.
///
/// - `retry.backoff.ms` is how a request to commit that was sent twice is told from one that was
///   sent once; see [`super::transaction`].
/// - `linger.ms` stays as it is: a commit does not wait for it.
#[must_use]
pub fn transactional(mut properties: Properties, name: &str, interval: Duration) -> Properties {
    for (property, value) in [
        ("transactional.id", transaction::id(name)),
        ("transaction.timeout.ms", transaction::timeout(interval).as_millis().to_string()),
        ("retry.backoff.ms", transaction::RETRY_BACKOFF.as_millis().to_string()),
    ] {
        properties.set(property, value);
    }
    properties
}

/// Producer properties that a user may set and that no other client understands, so that
/// librdkafka would warn about each of them.
const PRODUCER_ONLY: &[&str] = &[
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "linger.ms",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
];

/// The configuration of the short-lived clients: administration, and the checkpoint's reader.
#[derive(Clone, Debug)]
pub struct Auxiliary {
    config: ClientConfig,
    login: Option<Login>,
}

impl Auxiliary {
    /// Sets a property.
    pub fn set(&mut self, property: &str, value: impl Into<String>) -> &mut Self {
        self.config.set(property, value);
        self
    }

    /// A consumer.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn consumer(&self) -> Result<Seated<BaseConsumer>, KafkaError> {
        self.consumer_with(DefaultConsumerContext)
    }

    /// A consumer with a context of one's own.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn consumer_with<C: ConsumerContext>(
        &self,
        context: C,
    ) -> Result<Seated<BaseConsumer<C>>, KafkaError> {
        let client = self.config.create_with_context(context)?;
        Ok(Seated::<BaseConsumer<C>>::consumer(client, self.login.as_ref().map(Login::seats)))
    }

    /// A client that administers.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn admin(&self) -> Result<Seated<AdminClient<DefaultClientContext>>, KafkaError> {
        let client = self.config.create()?;
        Ok(Seated::<AdminClient<_>>::admin(client, self.login.as_ref().map(Login::seats)))
    }

    /// The first property that librdkafka does not take, if there is one. Its value is not repeated.
    #[must_use]
    pub fn refused_property(&self) -> Option<String> {
        match self.config.create_native_config() {
            Err(KafkaError::ClientConfig(_, _, property, _)) => Some(property),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The configuration of the short-lived clients.
#[must_use]
pub fn auxiliary(options: &KafkaOptions, name: &str) -> Auxiliary {
    let mut config = ClientConfig::new();
    for (property, value) in overlay(shared(options, name), options, PRODUCER_ONLY) {
        config.set(property, value);
    }
    Auxiliary { config, login: options.login.clone() }
}
