//! The ordered producer of one generation.
//!
//! One task enqueues, in the order of the log, and takes the delivery reports. Any error of a
//! delivery ends the generation: a report of failure does not mean "not written" (records that
//! librdkafka reported as timed out were found in the log), and sending such a record again by
//! hand would put it behind later ones. A new generation starts from the checkpoint instead.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::client::Properties;
use super::connections::Seen;
use super::librdkafka::{Client, ClientError, Handle, Happening, Topic};
use super::opening::Partitions;
use super::prompt::{LINGER, Prompt};
pub use super::refusal::is_authentication;
use super::teardown::dismiss;
use super::transaction::{self, Transactions, Turn};
use crate::crash::{self, Point};
use crate::mutant::{self, Mutant};

/// How long a topic that was never seen may take to appear, for brokers that create topics when
/// they are first asked for. Equals librdkafka's `topic.metadata.propagation.max.ms`.
pub const TOPIC_LIMIT: Duration = Duration::from_secs(30);

/// How many topics one process writes to at most: each costs memory here and in librdkafka.
pub const TOPICS_MAX: usize = 10_000;

/// The tag of the one checkpoint record that may be under way; rows are tagged from 0 up.
pub const CHECKPOINT_TAG: u64 = u64::MAX;

/// A topic that is known to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicId(usize);

impl TopicId {
    /// Topics of a producer are numbered from 0 up, in the order in which they became known.
    #[must_use]
    pub const fn number(self) -> usize {
        self.0
    }

    /// The topic with this number.
    #[cfg(test)]
    pub(crate) const fn for_tests(number: usize) -> Self {
        Self(number)
    }
}

/// The producer of one generation.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    /// None where a linger was configured, which then holds, and in transactions.
    prompt: Option<Prompt>,
    topics: Vec<Known>,
    by_name: HashMap<String, TopicId>,
    by_address: HashMap<usize, TopicId>,
    /// The topic of the row before, since rows of one topic tend to follow each other.
    last: Option<(String, TopicId)>,
    /// The last record that was offered waits for the first one of its partition.
    waits: bool,
    /// When it last looked at a clock.
    now: Instant,
    /// In exactly-once.
    once: Option<Once>,
}

/// What a transactional producer has beside.
#[derive(Debug)]
struct Once {
    transactions: Transactions,
    properties: Properties,
    /// What was waited for and is not told yet.
    told: Vec<Turn>,
    /// The handles of the topics are others than before.
    renewed: bool,
}

/// A topic and what it takes.
#[derive(Debug)]
struct Known {
    topic: Topic,
    partitions: Partitions,
    /// The largest batch, in bytes as sent.
    limit: usize,
}

/// What became of the question for a topic.
#[derive(Debug)]
pub enum Resolution {
    /// It is there.
    Known {
        /// Its handle.
        topic: Topic,
        /// How many partitions it has.
        partitions: usize,
    },
    /// The brokers answered for [`TOPIC_LIMIT`] that they do not know it.
    Unknown,
    /// It may not be written or described.
    Forbidden(ClientError),
    /// No broker answered; ask again.
    Unanswered(ClientError),
}

/// What an error of Kafka's means for the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Start a new generation.
    Again,
    /// A right is missing.
    Forbidden,
    /// The topic is gone.
    TopicGone,
    /// The brokers refuse what was sent: a record of this batch is not acceptable.
    Refused,
    /// Another error came first and took this record with it.
    Secondary,
    /// Another producer has the `transactional.id`, or the transaction was open for too long.
    Fenced,
}

impl Producer {
    /// Starts a producer. See [`Client::new`].
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(properties: &Properties) -> Result<Self, ClientError> {
        let client = properties.client()?;
        let lingers = properties.iter().any(|property| property == ("linger.ms", LINGER));
        let prompt =
            lingers.then(|| Prompt::start(client.handle())).transpose().map_err(|error| {
                ClientError {
                    code: RDKafkaErrorCode::CriticalSystemResource,
                    message: format!("no thread for the producer: {error}"),
                }
            })?;
        Ok(Self {
            client,
            prompt,
            topics: Vec::new(),
            by_name: HashMap::new(),
            by_address: HashMap::new(),
            last: None,
            waits: false,
            now: Instant::now(),
            once: None,
        })
    }

    /// Starts a producer whose records stand in transactions. It does nothing to the brokers
    /// before [`init`](Self::init).
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn transactional(properties: Properties) -> Result<Self, ClientError> {
        let producer = Self::new(&properties)?;
        let once = Once {
            transactions: Transactions::new()?,
            properties,
            told: Vec::new(),
            renewed: false,
        };
        // A commit does not let records linger, and nothing is read before it.
        Ok(Self { once: Some(once), prompt: None, ..producer })
    }

    /// Whether its records stand in transactions.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.once.is_some()
    }

    /// Makes a transactional producer the one that may write; any other is left as it is. To be
    /// called by the holder of the slot only (or of the lock under which the first one is made),
    /// because it ends the work of whoever was that before, and before the checkpoint is read,
    /// because what that one left undecided is decided by this. Called again, it does nothing: if
    /// another has taken over since, the next record is refused.
    ///
    /// # Errors
    /// The brokers refuse, or did not answer in time.
    pub async fn init(&mut self) -> Result<(), ClientError> {
        match &mut self.once {
            Some(once) => once.transactions.init(&self.client).await,
            None => Ok(()),
        }
    }

    /// Whether a record may be enqueued now: not between two transactions, and not while the last one
    /// that was offered waits for the first one of its partition.
    #[must_use]
    pub fn takes_records(&self) -> bool {
        !self.waits && self.transactions_take_records()
    }

    fn transactions_take_records(&self) -> bool {
        self.once.as_ref().is_none_or(|once| once.transactions.takes_records())
    }

    /// Since when a transaction is open that takes records.
    #[must_use]
    pub fn open_since(&self) -> Option<Instant> {
        self.once.as_ref().and_then(|once| once.transactions.open_since())
    }

    /// The record that was enqueued last ends the transaction. It is committed when all of its
    /// records are reported; [`happenings`](Self::happenings) tells of them after that. Does
    /// nothing in at-least-once.
    ///
    /// # Errors
    /// librdkafka refuses the configuration of a new client.
    ///
    /// # Panics
    /// No transaction is open.
    pub fn close_transaction(&mut self) -> Result<(), ClientError> {
        let Some(once) = &mut self.once else { return Ok(()) };
        once.transactions.close();
        once.transactions.go_on(&self.client, &once.properties)
    }

    /// What made the open transaction fail, when its records were thrown away without a reason.
    #[must_use]
    pub fn cause(&self) -> Option<ClientError> {
        self.once.as_ref().and_then(|_| transaction::cause(&self.client))
    }

    /// The names and addresses of all topics, once after these have changed.
    pub fn new_addresses(&mut self) -> Option<Vec<(String, usize)>> {
        let once = self.once.as_mut()?;
        if !std::mem::take(&mut once.renewed) {
            return None;
        }
        let address = |id: &TopicId| self.topics.get(id.0).map(|known| known.topic.address());
        Some(
            self.by_name
                .iter()
                .filter_map(|(name, id)| Some((name.clone(), address(id)?)))
                .collect(),
        )
    }

    /// What may be asked from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.client.handle()
    }

    /// The topic of this name, if it is known to exist.
    pub fn topic(&mut self, name: &str) -> Option<TopicId> {
        if let Some((last, id)) = &self.last
            && last == name
        {
            return Some(*id);
        }
        let id = *self.by_name.get(name)?;
        match &mut self.last {
            Some((last, last_id)) => {
                last.clear();
                last.push_str(name);
                *last_id = id;
            }
            None => self.last = Some((name.to_owned(), id)),
        }
        Some(id)
    }

    /// Whether one more topic may be taken.
    #[must_use]
    pub fn has_room_for_a_topic(&self) -> bool {
        self.topics.len() < TOPICS_MAX
    }

    /// Remembers a topic that was found to exist, with so many partitions.
    ///
    /// # Panics
    /// The handle is another client's.
    pub fn learn(&mut self, name: &str, topic: Topic, partitions: usize) -> TopicId {
        assert!(self.client.owns(&topic), "a topic of another client");
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let id = TopicId(self.topics.len());
        self.by_address.insert(topic.address(), id);
        // Short lives are many, and each begins somewhere.
        let first = usize::try_from(RandomState::new().hash_one(name) >> 32).unwrap_or(0);
        let partitions = Partitions::new(partitions, first);
        self.topics.push(Known { topic, partitions, limit: usize::MAX });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Remembers the largest batch that a topic takes.
    pub fn limit(&mut self, topic: TopicId, limit: usize) {
        if let Some(known) = self.topics.get_mut(topic.0) {
            known.limit = limit;
        }
    }

    /// The largest batch that a topic takes, in bytes as sent; without end where it is not known.
    #[must_use]
    pub fn limit_of(&self, topic: TopicId) -> usize {
        self.topics.get(topic.0).map_or(usize::MAX, |known| known.limit)
    }

    /// The question for a topic, to be asked on a thread that may block. A topic that the brokers
    /// do not know is waited for with `patience`.
    ///
    /// # Errors
    /// The name is impossible.
    pub fn question(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<impl FnOnce() -> Resolution + Send + 'static, ClientError> {
        let topic = self.client.topic(name)?;
        let handle = self.client.handle();
        Ok(move || resolve(&handle, topic, patience))
    }

    /// Enqueues one record. See [`Client::produce`].
    ///
    /// # Errors
    /// `QueueFull`: nothing was enqueued, try again when it [takes records](Self::takes_records).
    /// Anything else ends the generation.
    pub fn enqueue<'a>(
        &mut self,
        topic: TopicId,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        tag: u64,
    ) -> Result<(), ClientError> {
        let Some(Known { topic, partitions, .. }) = self.topics.get_mut(topic.0) else {
            return Err(ClientError {
                code: RDKafkaErrorCode::UnknownTopic,
                message: "a topic of another producer".to_owned(),
            });
        };
        let (index, chosen) = match key {
            Some(key) => (topic.partition_of(key, partitions.count()), None),
            None => {
                let index = partitions.without_key();
                (index, i32::try_from(index).ok())
            }
        };
        let client = &self.client;
        self.waits = !partitions.takes(index, self.now, || client.unreported() == 0);
        if self.waits {
            self.hurry();
            return Err(ClientError {
                code: RDKafkaErrorCode::QueueFull,
                message: "the first record of its partition is not confirmed yet".to_owned(),
            });
        }
        let to = (&*topic, chosen);
        let Some(once) = &mut self.once else {
            return client.produce(to, key, value, headers, tag);
        };
        once.transactions.before_record(client)?;
        client.produce(to, key, value, headers, tag)?;
        once.transactions.enqueued();
        Ok(())
    }

    /// Lets what is enqueued leave at once, without waiting for a batch to fill. Costs a wake-up of
    /// two threads, so it is for times of little load. Does nothing where a linger is configured.
    pub fn hurry(&self) {
        if let Some(prompt) = &self.prompt {
            prompt.now();
        }
    }

    /// Waits until there may be something to take. Cancel safe.
    ///
    /// # Errors
    /// An I/O error of the wake-up pipe.
    pub async fn woken(&mut self) -> std::io::Result<()> {
        self.now = Instant::now();
        let Some(once) = &mut self.once else { return self.client.woken().await };
        tokio::select! {
            biased;
            turn = once.transactions.turn() => {
                once.told.push(turn);
                Ok(())
            }
            woken = self.client.woken() => woken,
        }
    }

    /// Takes what happened. See [`Client::happenings`]. In exactly-once, a record is `Delivered`
    /// when its transaction is committed, and the checkpoint record after all others.
    pub fn happenings(&mut self, mut take: impl FnMut(Happening)) {
        self.now = Instant::now();
        self.waits = false;
        let Some(once) = &mut self.once else {
            return self.client.happenings(|happening| {
                opened(&self.by_address, &mut self.topics, &happening, self.now);
                take(happening);
            });
        };
        for turn in once.told.drain(..) {
            match turn {
                Turn::Committed => {
                    crash::at(Point::TransactionConfirmed);
                    once.transactions.confirmations(CHECKPOINT_TAG).into_iter().for_each(&mut take);
                }
                Turn::Failed(error) => take(Happening::Transaction(error)),
                Turn::Renewed(client) => match renewed(&self.by_name, &self.topics, &client) {
                    Ok(topics) => {
                        // Topics keep their instance alive, so they go with it.
                        let before = (
                            std::mem::replace(&mut self.client, *client),
                            std::mem::replace(&mut self.topics, topics),
                        );
                        dismiss(before);
                        self.by_address = addresses(&self.topics);
                        once.renewed = true;
                    }
                    Err(error) => take(Happening::Transaction(error)),
                },
            }
        }
        let transactions = &mut once.transactions;
        self.client.happenings(|happening| {
            opened(&self.by_address, &mut self.topics, &happening, self.now);
            if let Some(happening) = transactions.keep_back(happening) {
                take(happening);
            }
        });
        if let Err(error) = transactions.go_on(&self.client, &once.properties) {
            take(Happening::Transaction(error));
        }
    }

    /// Enqueues one record and waits for its delivery, in exactly-once for the commit of a
    /// transaction of its own. For the start of a generation only, when nothing else is under way.
    ///
    /// Not cancel safe: the record may be delivered after this was dropped.
    ///
    /// # Errors
    /// The record was not delivered, as far as is known.
    pub async fn deliver(
        &mut self,
        topic: TopicId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), ClientError> {
        self.enqueue(topic, Some(key), value, std::iter::empty(), CHECKPOINT_TAG)?;
        self.close_transaction()?;
        self.hurry();
        let mut delivered = false;
        loop {
            let mut result = None;
            self.happenings(|happening| match happening {
                Happening::Delivered { tag: CHECKPOINT_TAG, .. } => result = Some(Ok(())),
                Happening::Delivered { .. } => {}
                Happening::Failed { error, .. }
                | Happening::Fatal(error)
                | Happening::Transaction(error) => {
                    result.get_or_insert(Err(error));
                }
                Happening::Notice(error) => {
                    tracing::warn!(error = %error, "kafka is not well");
                }
            });
            match result {
                // A slow commit is followed by a new client; the next record waits for it.
                Some(Ok(())) if !self.takes_records() => delivered = true,
                Some(result) => return result,
                None if delivered && self.takes_records() => return Ok(()),
                None => {}
            }
            self.woken().await.map_err(|error| ClientError {
                code: RDKafkaErrorCode::Fail,
                message: error.to_string(),
            })?;
        }
    }

    /// How the connections to the brokers are. See [`Client::look_at_connections`].
    #[must_use]
    pub fn look_at_connections(&self) -> Seen {
        self.client.look_at_connections()
    }

    /// When the first of the brokers' certificates expires. See [`Client::certificate_expiry`].
    #[must_use]
    pub fn certificate_expiry(&self) -> Option<i64> {
        self.client.certificate_expiry()
    }

    /// Records that are enqueued and not yet reported on.
    #[must_use]
    pub fn unreported(&self) -> usize {
        self.client.unreported()
    }

    /// Ends the generation: nothing more leaves this process. The instance is taken down on a
    /// thread of its own, since librdkafka waits for its threads there.
    pub fn abandon(self) {
        if mutant::is(Mutant::NotPurged) {
            return std::mem::forget(self);
        }
        self.client.purge();
        dismiss(self);
    }
}

/// A partition that has confirmed a record is open from then on.
fn opened(
    by_address: &HashMap<usize, TopicId>,
    topics: &mut [Known],
    happening: &Happening,
    now: Instant,
) {
    if let Happening::Delivered { topic, partition, .. } = happening
        && let Some(known) = by_address.get(topic).and_then(|id| topics.get_mut(id.0))
    {
        known.partitions.confirmed(*partition, now);
    }
}

fn addresses(topics: &[Known]) -> HashMap<usize, TopicId> {
    topics.iter().enumerate().map(|(id, known)| (known.topic.address(), TopicId(id))).collect()
}

/// The same topics of another client, in the same order, and what they take.
fn renewed(
    by_name: &HashMap<String, TopicId>,
    before: &[Known],
    client: &Client,
) -> Result<Vec<Known>, ClientError> {
    let mut names: Vec<_> = by_name.iter().map(|(name, id)| (id.0, name)).collect();
    names.sort_unstable();
    let again = |((_, name), known): ((usize, &String), &Known)| {
        let again =
            |topic| Known { topic, partitions: known.partitions.again(), limit: known.limit };
        client.topic(name).map(again)
    };
    names.into_iter().zip(before).map(again).collect()
}

fn resolve(handle: &Handle, topic: Topic, patience: Duration) -> Resolution {
    let deadline = Instant::now() + patience;
    loop {
        let metadata = match handle.metadata(&topic, Duration::from_secs(5)) {
            Ok(metadata) => metadata,
            Err(error) => return Resolution::Unanswered(error),
        };
        match metadata.error {
            None if metadata.partitions > 0 => {
                return Resolution::Known { topic, partitions: metadata.partitions };
            }
            Some(error) if meaning(error.code) == Meaning::Forbidden => {
                return Resolution::Forbidden(error);
            }
            // Unknown so far, or being created and without a leader.
            _ if Instant::now() >= deadline => return Resolution::Unknown,
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// What an error code means for the relay.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "librdkafka's codes are open-ended; one that is not named here costs a new generation, which is always safe"
)]
pub fn meaning(code: RDKafkaErrorCode) -> Meaning {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication => Meaning::Forbidden,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            Meaning::TopicGone
        }
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidMessage
        | Code::PolicyViolation => Meaning::Refused,
        // `State`: a record for a transaction that has failed, of which no report has told yet.
        // `InvalidDifferentRecord`: the broker named the records of the batch that it means, and
        // this is not one of them; a refused batch reports it of its first record, as a rule.
        Code::PurgeQueue
        | Code::PurgeInflight
        | Code::Fatal
        | Code::GaplessGuarantee
        | Code::InvalidDifferentRecord
        | Code::State => Meaning::Secondary,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => Meaning::Fenced,
        _ => Meaning::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_the_broker_is_told_from_a_connection_that_ends_meanwhile() {
        #[track_caller]
        fn check(message: &str, expected: bool) {
            let code = RDKafkaErrorCode::Authentication;
            let error = ClientError { code, message: message.to_owned() };
            assert_eq!(is_authentication(&error), expected);
        }
        // Texts of librdkafka 2.12.1, less the broker's name.
        check(
            "SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
            true,
        );
        check(
            "SASL SCRAM-SHA-256 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512",
            true,
        );
        check(
            "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure: broker's supported mechanisms: ",
            false,
        );
        check(
            "SASL PLAIN mechanism handshake failed: Local: Timed out: broker's supported mechanisms: ",
            false,
        );
    }

    #[tokio::test]
    async fn the_limits_of_topics_go_along_to_a_new_client() {
        let properties = Properties::for_tests(&[("bootstrap.servers", "127.0.0.1:1")]);
        let mut producer = Producer::new(&properties).expect("properties");
        // Not in the order of their names.
        for (name, limit) in [("z", 1), ("a", 2), ("m", 3)] {
            let topic = producer.client.topic(name).expect("a name");
            let id = producer.learn(name, topic, 1);
            producer.limit(id, limit);
        }
        let fresh = properties.client().expect("properties");
        let topics = renewed(&producer.by_name, &producer.topics, &fresh).expect("names");
        assert_eq!(topics.iter().map(|known| known.limit).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(topics.iter().all(|known| fresh.owns(&known.topic)));
    }
}
