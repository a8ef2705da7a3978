//! The life of a connector: get ready, take the slot, work, and begin again after a failure.
//!
//! ```text
//!  starting ──► standby ──► (slot taken) ──► proof ──► claim ──► streaming ──► draining ──► end
//!     ▲            ▲                           │                    │
//!     └────────────┴────── pause ◄─────────────┴──── failure ◄──────┘
//! ```
//!
//! The slot is the lock: everything from the proof on happens under it. A failure ends the
//! *generation*: the producer is purged, the slot released, and the next attempt starts from the
//! stored checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::crash::{self, Point};
use crate::error::Failure;
use crate::kafka::batch_limits::BatchLimits;
use crate::lsn::Lsn;
use crate::metrics::Metrics;
pub(crate) use crate::pipeline::KnownTopics;
use crate::pipeline::{Outcome, Pipeline, Refusals, SnapshotWork, Teller, Trouble};
use crate::registry::schemas::Schemas;
use crate::status::{Heartbeat, Status};

mod backoff;
mod batches;
mod claim;
mod consumers;
pub(crate) mod decision;
mod first_start;
mod partitions;
mod prepare;
mod prove;
mod pruning;
pub(crate) mod reshard;
mod snapshot;
mod standby;
mod watcher;

use backoff::Backoff;
pub(crate) use claim::{of_other_shards, stream_id};
pub(crate) use first_start::fingerprint;
pub(crate) use prove::last_transaction;

/// How a connector's life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was read is confirmed and stored: a restart repeats nothing.
    Drained,
    /// The drain took too long; so many events will be sent again.
    Unsettled(u64),
    /// The rows of a first start were being published: the next start begins that again.
    SnapshotInterrupted,
}

/// The owner of one stream's life.
pub struct Supervisor<L> {
    load: L,
    config: Config,
    teller: Teller,
    heartbeat: Arc<Heartbeat>,
    known_topics: KnownTopics,
    /// Those of all streams of the process, this one's among them.
    topics_of_all: Vec<KnownTopics>,
    /// The schemas that rows have to fit; what is known of them outlives a generation.
    schemas: Option<Schemas>,
    /// Tells this process from another one that claims the same generation.
    nonce: String,
    refusals: Refusals,
    batch_limits: BatchLimits,
    /// Topics that refused a batch for its size: their limits are not what was believed.
    doubted: BTreeSet<String>,
    /// This process made the slot, so nothing was sent from it before.
    made_slot: bool,
    /// Since when the present attempt is at work.
    streaming_since: Option<Instant>,
    /// The look at consumer groups, while this runs.
    consumers: Option<consumers::Watching>,
    /// It ends by itself when all whose commit begins before this is confirmed and stored; nothing
    /// of later commits is sent.
    stop_before: Option<Lsn>,
}

impl<L> std::fmt::Debug for Supervisor<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl<L: FnMut() -> Result<Config, String>> Supervisor<L> {
    /// A supervisor that begins with `config` and asks `load` for it again at each reconnect, so
    /// that passwords that were rotated in files are taken without a restart.
    pub fn new(config: Config, load: L, (status, metrics): (Status, Metrics)) -> Self {
        let heartbeat = Arc::new(status.heartbeat("relay"));
        let schemas = config.schemas();
        let known_topics = KnownTopics::default();
        Self {
            load,
            config,
            teller: Teller { status, metrics, trouble: Trouble::default() },
            heartbeat,
            topics_of_all: vec![known_topics.clone()],
            known_topics,
            schemas,
            nonce: nonce(),
            refusals: Refusals::default(),
            batch_limits: BatchLimits::default(),
            doubted: BTreeSet::new(),
            made_slot: false,
            streaming_since: None,
            consumers: None,
            stop_before: None,
        }
    }

    /// One of several streams of a process: what each of them finds out of topics, and which of
    /// those is this stream's.
    #[must_use]
    pub(crate) fn among(mut self, all: &[KnownTopics], own: &KnownTopics) -> Self {
        self.known_topics = own.clone();
        self.topics_of_all = all.to_vec();
        self
    }

    /// Runs until `drain` becomes true and the drain is over. Not cancel safe: dropped, it leaves
    /// what is in flight unconfirmed, as a crash does.
    pub async fn run(mut self, drain: watch::Receiver<bool>) -> Ended {
        let mut backoff = Backoff::default();
        let counting =
            partitions::count(self.config.clone(), self.known_topics.clone(), self.teller.clone());
        let _counting = Background(counting);
        // Groups read what all streams send: the first stream looks, for all. One that stops by
        // itself is part of a command, which nobody watches groups by.
        if self.config.shard_index() == 0 && self.stop_before.is_none() {
            let topics = self.topics_of_all.clone();
            self.consumers = consumers::watch(&self.config, topics, self.teller.clone());
        }
        let _refreshing = self
            .schemas
            .clone()
            .map(|schemas| Background(tokio::spawn(async move { schemas.refresh().await })));
        loop {
            let began = Instant::now();
            self.streaming_since = None;
            let failure = match Box::pin(self.attempt(drain.clone())).await {
                Attempt::Ended(ended) => return ended,
                Attempt::Again => continue,
                Attempt::Failed(failure) => failure,
            };
            let streamed = self.streaming_since.take().map(|since| since.elapsed());
            backoff.ended(began.elapsed(), streamed.unwrap_or_default());
            self.report(&failure);
            if self.pause(backoff.next(&failure), drain.clone()).await {
                return Ended::Drained;
            }
            self.reload();
        }
    }

    /// One attempt: get ready, and work until something ends it.
    async fn attempt(&mut self, mut drain: watch::Receiver<bool>) -> Attempt {
        let prepared = {
            let mut stop = drain.clone();
            tokio::select! {
                biased;
                _ = stop.wait_for(|drain| *drain) => return Attempt::Ended(Ended::Drained),
                prepared = self.prepare() => prepared,
            }
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => return Attempt::Failed(failure),
        };
        let context = (self.teller.clone(), Arc::clone(&self.heartbeat));
        let watching = prepared.watching;
        let pruning = pruning::start(&self.config, &prepared.generation.checkpoint, &self.teller);
        let generation = prepared.generation.checkpoint.generation;
        let snapshot = prepared.generation.snapshot.as_ref().map(SnapshotWork::at_the_beginning);
        let pipeline =
            Pipeline::new(prepared.generation, prepared.settings, context, watching.facts.clone());
        let pipeline = match pipeline {
            Ok(pipeline) => pipeline,
            Err(failure) => return Attempt::Failed(failure),
        };
        self.teller.leading(generation, snapshot);
        self.streaming_since = Some(Instant::now());
        drain.mark_unchanged();
        let outcome = Box::pin(pipeline.run(drain)).await;
        drop(watching);
        drop(pruning);
        self.teller.not_leading();
        crash::at(Point::GenerationEnded);
        self.concluded(outcome)
    }

    fn concluded(&mut self, outcome: Outcome) -> Attempt {
        match outcome {
            Outcome::Drained => Attempt::Ended(Ended::Drained),
            Outcome::SnapshotInterrupted => Attempt::Ended(Ended::SnapshotInterrupted),
            Outcome::DrainDeadline { unsettled } => Attempt::Ended(Ended::Unsettled(unsettled)),
            Outcome::Failed(failure) => Attempt::Failed(failure),
            Outcome::SmallerBatches => Attempt::Again,
            Outcome::RefusedBatch { suspects, too_large } => {
                if too_large {
                    let topics = suspects.iter().map(|suspects| suspects.topic.clone());
                    self.doubted.extend(topics);
                }
                if suspects.iter().any(|suspects| suspects.in_snapshot) {
                    tracing::warn!("kafka refused rows of the snapshot, which begins again");
                }
                self.refusals.suspect(suspects);
                Attempt::Again
            }
            Outcome::RefusedAlone { alone, said } => {
                if alone.place.is_in_snapshot() {
                    tracing::warn!(
                        said,
                        "kafka refused the record of a row of the snapshot, which was sent alone; the snapshot begins again"
                    );
                } else {
                    tracing::warn!(position = %alone.place.position(), said, "kafka refused this row's record, which was sent alone");
                }
                self.refusals.refused(alone, said);
                Attempt::Again
            }
            Outcome::LetterFailed { said } => {
                self.refusals.letter_failed(said);
                Attempt::Again
            }
        }
    }

    fn report(&self, failure: &Failure) {
        // A halt is logged where it is told, once.
        if let Failure::Again { .. } = failure {
            tracing::warn!(code = failure.code(), hint = failure.hint(), "{failure}");
        }
        if let Some(reason) = failure.reconnect_reason() {
            self.teller.reconnect(reason);
        }
        failure.tell(&self.teller.status);
    }

    /// Waits; answers whether the wait was ended by a drain.
    async fn pause(&self, pause: Duration, mut drain: watch::Receiver<bool>) -> bool {
        let until = Instant::now() + pause;
        loop {
            self.heartbeat.beat();
            let step = until.min(Instant::now() + Duration::from_secs(1));
            tokio::select! {
                biased;
                _ = drain.wait_for(|drain| *drain) => return true,
                () = tokio::time::sleep_until(step) => {}
            }
            if Instant::now() >= until {
                return false;
            }
        }
    }

    fn reload(&mut self) {
        match (self.load)() {
            Ok(mut config) => {
                config.kafka.keep_tokens(&self.config.kafka);
                if let (Some(schemas), Some(registry)) = (&self.schemas, &config.registry) {
                    schemas.reconfigure(registry.clone());
                }
                if let Some(consumers) = &self.consumers {
                    consumers.reconfigure(&config.kafka);
                }
                self.config = config;
            }
            Err(message) => {
                tracing::error!(
                    "the configuration cannot be read again, the last one stays: {message}"
                );
            }
        }
    }
}

/// Work beside the stream; dropped, it ends.
#[derive(Debug)]
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How an attempt ended.
enum Attempt {
    Ended(Ended),
    Again,
    Failed(Failure),
}

/// Sixteen random hexadecimal digits: the address-space layout, the clock and the process, mixed
/// by the standard library's own keyed hash.
fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:016x}", hasher.finish())
}
