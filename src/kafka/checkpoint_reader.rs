//! Reading the checkpoint topic up to what anybody has written, for whoever goes on from there.
//!
//! A start does it twice, before its claim and after. A client that is made for one look connects,
//! asks for the leader, and waits for the broker when it is taken down, 40 ms before and up to 200 ms
//! after, at a moment when no row moves. So there are two for a start: they get ready while the
//! database is asked, and stay so beside a slot that another process holds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use tokio::time::Instant;

use super::checkpoint::StreamId;
use super::checkpoint_topic::{Quiet, ReadError, Reader, Stored, consumer, newest};
use super::client::Auxiliary;

/// Reads the checkpoint topic for one stream. Everything here blocks, and takes turns: a look at what
/// the clients were told besides must not take a record out of another's hands.
pub struct CheckpointReader {
    clients: Mutex<Clients>,
    topic: String,
    stream: StreamId,
}

impl std::fmt::Debug for CheckpointReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

struct Clients {
    /// Is told the end that open transactions have.
    everything: Reader,
    /// Is told the end of what is committed, and reads.
    committed: Reader,
}

impl CheckpointReader {
    /// Two clients, which have asked nothing yet.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary, topic: &str, stream: StreamId) -> Result<Self, KafkaError> {
        let client =
            |isolation| consumer(config.clone(), &stream.name, isolation, Quiet { warns: false });
        let clients = Clients {
            everything: client("read_uncommitted")?,
            committed: client("read_committed")?,
        };
        Ok(Self { clients: Mutex::new(clients), topic: topic.to_owned(), stream })
    }

    /// Lets the clients connect and find the topic's leader, or do so again where a broker has closed
    /// what was idle. Blocks for `limit` at most.
    ///
    /// What goes wrong is said by [`survey`](Self::survey), if it still does then.
    pub fn get_ready(&self, limit: Duration) {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = |client: &Reader| {
            if let Err(error) = client.fetch_watermarks(&self.topic, 0, limit) {
                tracing::debug!(%error, topic = self.topic, "the reader is not ready");
            }
            // Errors wait to be polled, and are said then. Nothing is assigned: there are no records.
            while let Some(said) = client.poll(Duration::ZERO) {
                drop(said);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| ready(&clients.everything));
            ready(&clients.committed);
        });
    }

    /// The newest checkpoint, and what else the topic says of the stream. As long as a transaction
    /// is open that writes to the topic, it is waited for, for `patience` at most. An unreadable
    /// record is part of the answer.
    ///
    /// The end that a consumer of committed records is told is that of the first open transaction, so
    /// the true one is asked for without that restriction, and first.
    ///
    /// # Errors
    /// Kafka does not answer as it should within `limit`; [`ReadError::Open`].
    pub fn survey(&self, patience: Duration, limit: Duration) -> Result<Stored, ReadError> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let Clients { everything, committed } = &*clients;
        let (_, end) = everything.fetch_watermarks(&self.topic, 0, limit)?;
        let deadline = Instant::now() + patience;
        loop {
            let bounds = committed.fetch_watermarks(&self.topic, 0, limit)?;
            if bounds.1 >= end {
                let stored = newest(committed, &self.topic, &self.stream, bounds, limit);
                // Until the next look there is nothing to fetch.
                committed.unassign()?;
                return stored;
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Open);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
