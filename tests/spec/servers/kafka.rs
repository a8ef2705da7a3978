//! An Apache Kafka broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataPartition;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message as _};
use tempfile::TempDir;
use tokio::time::Instant;

use super::proxy::Proxy;
use super::{PATIENCE, Record, folder, free_ports, script, signal, until, within};

/// After a kill the controller waits for the dead broker's session to end before it lets the new one
/// in: 9 s by default (measured: 12 s from kill to ready). Tests do that often.
const PROPERTIES: &[&str] = &["broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"];

/// How long one question of a reader may take; then another client asks.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// A broker of its own cluster, without encryption or authentication unless given as properties.
/// Topics are made on first use, with one partition, as Kafka's defaults have it.
#[derive(Debug)]
pub(crate) struct Kafka {
    port: u16,
    /// The ports of the cluster's other brokers.
    others: Vec<u16>,
    folder: TempDir,
}

impl Kafka {
    /// The broker that the tests of this process share. Leave it running.
    pub(crate) fn shared() -> &'static Self {
        static BROKER: OnceLock<Kafka> = OnceLock::new();
        BROKER.get_or_init(Self::start)
    }

    /// A broker of one's own, for a test that freezes or kills it.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A broker of one's own with `properties`, each `name=value` as in `server.properties`.
    #[track_caller]
    pub(crate) fn start_with(properties: &[&str]) -> Self {
        Self::start_with_listeners(|_| properties.iter().map(|&line| line.to_owned()).collect())
    }

    /// As [`Kafka::start_with`], with properties that need to know the broker's port: the one of
    /// its listener `PLAINTEXT`, which the tests read from. The controller listens on the next port.
    #[track_caller]
    pub(crate) fn start_with_listeners(properties: impl FnOnce(u16) -> Vec<String>) -> Self {
        // The second port is the controller's.
        let port = free_ports(2);
        Self::start_on(port, &properties(port))
    }

    /// A broker of one's own, and an address of it at which clients must be `user` with `password`
    /// (SASL PLAIN without TLS).
    #[track_caller]
    pub(crate) fn start_with_sasl(user: &str, password: &str) -> (Self, String) {
        let port = free_ports(3);
        let address = format!("127.0.0.1:{}", port + 2);
        let listeners = format!(
            "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{},SASL_PLAINTEXT://{address}",
            port + 1
        );
        let users = format!(
            "listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security\
             .plain.PlainLoginModule required user_{user}=\"{password}\";"
        );
        let mechanisms = "sasl.enabled.mechanisms=PLAIN".to_owned();
        let broker = Self::start_on(port, &[listeners, mechanisms, users]);
        (broker, address)
    }

    /// A broker of one's own with a proxy in front of it, and the proxy's address. The broker tells
    /// clients that come that way to come that way again.
    #[track_caller]
    pub(crate) fn start_with_proxy() -> (Self, Proxy, String) {
        Self::start_behind(Proxy::start)
    }

    /// As [`Kafka::start_with_proxy`], with what `make` makes of the port that clients come to and the
    /// one that the broker listens on.
    #[track_caller]
    pub(crate) fn start_behind<T>(make: impl FnOnce(u16, u16) -> T) -> (Self, T, String) {
        let port = free_ports(4);
        let address = format!("127.0.0.1:{}", port + 3);
        let plain = format!("PLAINTEXT://127.0.0.1:{port}");
        let listeners = format!(
            "listeners={plain},CONTROLLER://127.0.0.1:{},PROXIED://127.0.0.1:{}",
            port + 1,
            port + 2
        );
        let advertised = format!("advertised.listeners={plain},PROXIED://{address}");
        let map = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
                   PROXIED:PLAINTEXT";
        let broker = Self::start_on(port, &[listeners, advertised, map.to_owned()]);
        (broker, make(port + 3, port + 2), address)
    }

    #[track_caller]
    fn start_on(port: u16, properties: &[String]) -> Self {
        Self::start_node(port, &[], &[], properties)
    }

    /// One node of a cluster whose other brokers listen on `others`; `options` as of the script.
    #[track_caller]
    pub(super) fn start_node(
        port: u16,
        others: &[u16],
        options: &[&str],
        properties: &[String],
    ) -> Self {
        let broker = Self { port, others: others.to_vec(), folder: folder("kafka") };
        let (port, parent) = (broker.port.to_string(), std::process::id().to_string());
        let mut arguments = vec!["start", "--port", &port, "--dir", broker.dir()];
        arguments.extend(options);
        arguments.extend(["--with-parent", &parent, "--temporary", "--"]);
        arguments.extend(PROPERTIES);
        arguments.extend(properties.iter().map(String::as_str));
        script("kafka", &arguments);
        broker
    }

    /// What a client connects to: all brokers of the cluster.
    pub(crate) fn bootstrap(&self) -> String {
        let ports = std::iter::once(&self.port).chain(&self.others);
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Of how many brokers its cluster is.
    pub(super) fn brokers(&self) -> usize {
        self.others.len() + 1
    }

    /// The folder with the log (`log`) and the data (`data`).
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a topic with `partitions` partitions; `configs` are `name=value`, as `cleanup.policy=compact`.
    #[track_caller]
    pub(crate) fn create_topic(&self, name: &str, partitions: u32, configs: &[&str]) {
        let (bootstrap, partitions) = (self.bootstrap(), partitions.to_string());
        let mut arguments =
            vec!["topics", "--bootstrap-server", &bootstrap, "--create", "--topic", name];
        arguments.extend(["--partitions", &partitions]);
        configs.iter().for_each(|config| arguments.extend(["--config", config]));
        script("kafka-tool", &arguments);
    }

    /// Makes a user of `mechanism`, as `SCRAM-SHA-512`, or gives it another password.
    #[track_caller]
    pub(crate) fn scram_user(&self, mechanism: &str, name: &str, password: &str) {
        let bootstrap = self.bootstrap();
        let config = format!("{mechanism}=[iterations=4096,password={password}]");
        let mut arguments = vec!["configs", "--bootstrap-server", &bootstrap, "--alter"];
        arguments.extend(["--entity-type", "users", "--entity-name", name]);
        arguments.extend(["--add-config", &config]);
        script("kafka-tool", &arguments);
    }

    /// Runs a command of Kafka's own scripts, as `kafka-configs.sh --bootstrap-server …`.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        let tool = program.strip_prefix("kafka-").and_then(|rest| rest.strip_suffix(".sh"));
        let tool = tool.unwrap_or_else(|| panic!("`{command}` is no command of Kafka's"));
        // None of our words has a blank in it, so quotes only keep a shell from reading them.
        let arguments: Vec<_> = words.map(|word| word.trim_matches('\'')).collect();
        assert!(
            arguments.contains(&self.bootstrap().as_str()),
            "`{command}` is for another broker"
        );
        script("kafka-tool", &[&[tool], arguments.as_slice()].concat());
    }

    /// Every record of `topic` that is there now, partition after partition; none for an unknown topic.
    #[track_caller]
    pub(crate) fn records(&self, topic: &str) -> Vec<Record> {
        self.read(&[topic], "read_uncommitted")
    }

    /// As [`Kafka::records`], but what a consumer with `isolation.level=read_committed` sees.
    #[track_caller]
    pub(crate) fn committed_records(&self, topic: &str) -> Vec<Record> {
        self.read(&[topic], "read_committed")
    }

    /// Every record of several topics, topic after topic.
    #[track_caller]
    pub(crate) fn records_of(&self, topics: &[&str]) -> Vec<Record> {
        self.read(topics, "read_uncommitted")
    }

    /// Waits until `topic` has at least `count` records, and returns all that are there.
    #[track_caller]
    pub(crate) fn wait_for_records(&self, topic: &str, count: usize) -> Vec<Record> {
        let mut seen = 0;
        let enough = within(PATIENCE, || {
            let records = self.records(topic);
            seen = records.len();
            (seen >= count).then_some(records)
        });
        enough
            .unwrap_or_else(|| panic!("{seen} of {count} records in `{topic}` after {PATIENCE:?}"))
    }

    /// Writes a record for each key by Kafka's own producer, which is the one for Java.
    #[track_caller]
    pub(crate) fn produce_by_java(&self, topic: &str, keys: &[String]) {
        use std::io::Write as _;
        let path = format!("{}/deploy/dev/kafka-tool", env!("CARGO_MANIFEST_DIR"));
        let mut tool = std::process::Command::new(path);
        tool.args(["console-producer", "--bootstrap-server", &self.bootstrap(), "--topic", topic])
            .args(["--reader-property", "parse.key=true"])
            .stdin(std::process::Stdio::piped());
        let mut tool = tool.spawn().unwrap();
        let mut input = tool.stdin.take().unwrap();
        keys.iter().for_each(|key| writeln!(input, "{key}\t{{}}").unwrap());
        drop(input);
        assert!(tool.wait().unwrap().success(), "the console producer failed");
    }

    /// The names of all topics, without Kafka's own.
    #[track_caller]
    pub(crate) fn topics(&self) -> Vec<String> {
        let consumer = self.consumer("read_uncommitted");
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        names.filter(|name| !name.starts_with("__")).collect()
    }

    /// Freezes the broker (SIGSTOP): connections stay open and nothing is answered.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        signal(self.pid(), "STOP");
    }

    /// Lets a frozen broker go on.
    #[track_caller]
    pub(crate) fn thaw(&self) {
        signal(self.pid(), "CONT");
    }

    /// Waits until a client that has just come finds leaders for all partitions: a broker that was
    /// frozen for longer than its session has none for a while.
    #[cfg(feature = "crash-points")]
    #[track_caller]
    pub(crate) fn wait_for_leaders(&self) -> std::time::Duration {
        let begin = Instant::now();
        let led = within(PATIENCE * 3, || {
            let limit = std::time::Duration::from_secs(5);
            let metadata = self.consumer("read_uncommitted").fetch_metadata(None, limit).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.all(|partition| partition.leader() >= 0).then_some(())
        });
        let took = begin.elapsed();
        if led.is_none() || took > std::time::Duration::from_secs(10) {
            // What the controller and the broker said to each other meanwhile.
            let log = std::fs::read_to_string(self.path().join("log")).unwrap_or_default();
            let words = ["enc", "BrokerLifecycle", "eartbeat", "Raft", "session"];
            let said: Vec<_> =
                log.lines().filter(|line| words.iter().any(|word| line.contains(word))).collect();
            let said = said[said.len().saturating_sub(40)..].join("\n");
            super::figure(&format!("leaders only after {took:.1?}; the broker said:\n{said}"));
        }
        assert!(led.is_some(), "the broker has no leaders {took:?} after it went on");
        took
    }

    /// Stops the broker in order.
    #[track_caller]
    pub(crate) fn stop(&self) {
        script("kafka", &["stop", "--dir", self.dir()]);
    }

    /// Kills the broker (SIGKILL).
    #[track_caller]
    pub(crate) fn kill(&self) {
        script("kafka", &["kill", "--dir", self.dir()]);
    }

    /// Starts it after a stop, on the same port with the same data.
    #[track_caller]
    pub(crate) fn start_again(&self) {
        script("kafka", &["start", "--dir", self.dir()]);
    }

    /// Each try has a client of its own: one that met a broker which had just been thawed, and knew of
    /// no partition yet, has been seen to know of none for a minute, where a new one read at once.
    #[track_caller]
    fn read(&self, topics: &[&str], isolation: &str) -> Vec<Record> {
        let mut trouble = None;
        let read = within(PATIENCE * 2, || match self.try_to_read(topics, isolation) {
            Ok(records) => Some(records),
            Err(error) => {
                trouble = Some(error);
                None
            }
        });
        read.unwrap_or_else(|| {
            panic!("cannot read {topics:?} at {}: {trouble:?}", self.bootstrap())
        })
    }

    fn try_to_read(&self, topics: &[&str], isolation: &str) -> Result<Vec<Record>, KafkaError> {
        let consumer = self.consumer(isolation);
        let metadata = consumer.fetch_metadata(None, ANSWER)?;
        let mut records = Vec::new();
        for name in topics {
            if let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == *name) {
                let partitions = topic.partitions().iter().map(MetadataPartition::id);
                records.extend(read_topic(&consumer, name, partitions)?);
            }
        }
        Ok(records)
    }

    pub(super) fn consumer(&self, isolation: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "walpost-tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", isolation)
            // Shorter than the default of 500 ms: a test reads a topic again and again.
            .set("fetch.wait.max.ms", "20")
            .create()
            .unwrap()
    }

    #[track_caller]
    fn pid(&self) -> u32 {
        until("the broker's process id", || {
            std::fs::read_to_string(self.folder.path().join("pid")).ok()?.trim().parse().ok()
        })
    }

    fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

/// The records of a topic, partition after partition, up to where each ended when this began: with a
/// writer at work a reader hardly ever meets the end itself.
fn read_topic(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<Vec<Record>, KafkaError> {
    let (mut unfinished, mut places) = (BTreeMap::new(), TopicPartitionList::new());
    for partition in partitions {
        // Fails while a partition that was just made has no leader.
        let (_, end) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        unfinished.insert(partition, end);
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let (mut records, mut came) = (Vec::new(), Instant::now());
    while !unfinished.is_empty() {
        match consumer.poll(std::time::Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = message.partition();
                if unfinished.get(&partition).is_some_and(|end| message.offset() + 1 >= *end) {
                    unfinished.remove(&partition);
                }
                records.push(Record::from(&message));
                came = Instant::now();
            }
            // A watermark also counts the markers of transactions, which no reader sees: so this is
            // the end wherever nobody writes.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(unfinished.remove(&partition)),
            Some(Err(error)) => return Err(error),
            None if came.elapsed() > ANSWER => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Whether an error only says that connections ended, which librdkafka tells and then mends (its manual
/// calls these two informational).
pub(super) fn connections_only(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | BrokerTransportFailure))
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill();
            return;
        }
        // A second panic would hide the first one's message.
        drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.kill())));
    }
}
