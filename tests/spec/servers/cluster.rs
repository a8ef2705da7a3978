//! An Apache Kafka cluster: brokers that hold each partition together, and a controller that is left
//! alone, so that a partition has a leader again soon after it lost one.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use tokio::time::Instant;

use super::{Kafka, PATIENCE, free_ports, within};

/// How many brokers.
pub(crate) const BROKERS: usize = 3;

/// A cluster's id: 16 bytes as base64url. Each cluster has a controller of its own, so that all may
/// have the same.
const CLUSTER: &str = "AwalpostTortureCluster";

/// Every partition is on all brokers, and a write needs two. The controller decides on both, so it has
/// to know them too.
const PROPERTIES: &[&str] = &[
    "default.replication.factor=3",
    "min.insync.replicas=2",
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=2",
    // A follower that says nothing for so long is left out. The default of 30 s would be most of a
    // test's time.
    "replica.lag.time.max.ms=5000",
    "auto.leader.rebalance.enable=false",
];

/// A running cluster. It ends with the test process.
#[derive(Debug)]
pub(crate) struct Cluster {
    brokers: Vec<Kafka>,
    _controller: Kafka,
}

impl Cluster {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let quorum = free_ports(1);
        let asks = format!("controller.quorum.bootstrap.servers=127.0.0.1:{quorum}");
        let options = ["--cluster", CLUSTER];
        let shared = || PROPERTIES.iter().map(|line| (*line).to_owned());
        let mut controls: Vec<String> = shared().collect();
        controls.extend([
            "process.roles=controller".to_owned(),
            format!("listeners=CONTROLLER://127.0.0.1:{quorum}"),
            asks.clone(),
        ]);
        let controller = Kafka::start_node(quorum, &[], &options, &controls);
        let ports: Vec<u16> = (0..BROKERS).map(|_| free_ports(1)).collect();
        let broker = |number: usize| {
            let others: Vec<u16> =
                ports.iter().copied().filter(|port| *port != ports[number]).collect();
            let mut properties: Vec<String> = shared().collect();
            properties.extend([
                "process.roles=broker".to_owned(),
                format!("node.id={}", number + 2),
                format!("listeners=PLAINTEXT://127.0.0.1:{}", ports[number]),
                asks.clone(),
            ]);
            Kafka::start_node(ports[number], &others, &options, &properties)
        };
        let brokers = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..BROKERS).map(|it| scope.spawn(move || broker(it))).collect();
            starts.into_iter().map(|start| start.join().expect("a broker starts")).collect()
        });
        Self { brokers, _controller: controller }
    }

    /// A client of this one is a client of all.
    pub(crate) fn any(&self) -> &Kafka {
        &self.brokers[0]
    }

    /// One of them.
    pub(crate) fn broker(&self, number: usize) -> &Kafka {
        &self.brokers[number]
    }

    /// Which broker leads the first partition of `topic`.
    #[cfg(feature = "crash-points")]
    #[track_caller]
    pub(crate) fn leader(&self, topic: &str) -> usize {
        let leader = within(PATIENCE, || {
            let client = self.any().consumer("read_uncommitted");
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(5)).ok()?;
            let leader = metadata.topics().first()?.partitions().first()?.leader();
            usize::try_from(leader - 2).ok()
        });
        leader.unwrap_or_else(|| panic!("{topic} has no leader after {PATIENCE:?}"))
    }

    /// Waits until every partition has a leader and all its copies are in step.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) -> Duration {
        let begin = Instant::now();
        let whole = within(PATIENCE * 3, || {
            let client = self.any().consumer("read_uncommitted");
            let metadata = client.fetch_metadata(None, Duration::from_secs(5)).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.all(|it| it.leader() >= 0 && it.isr().len() == BROKERS).then_some(())
        });
        assert!(
            whole.is_some(),
            "the cluster is not whole {:?} after its last fault",
            begin.elapsed()
        );
        begin.elapsed()
    }

    /// The broker that each partition prefers becomes its leader.
    #[cfg(feature = "crash-points")]
    #[track_caller]
    pub(crate) fn elect_preferred(&self) {
        // Ends with an error where there is nothing to move.
        let servers = self.any().bootstrap();
        self.any().run(&format!(
            "kafka-leader-election.sh --bootstrap-server {servers} --election-type preferred --all-topic-partitions"
        ));
    }
}
