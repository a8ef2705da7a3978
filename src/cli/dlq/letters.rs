//! The letters of the topic, the resolved ones known, and which of them are meant.

use std::collections::{HashMap, HashSet};

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use sha2::{Digest as _, Sha256};

use crate::cli::command::{Stopped, refused};
use crate::cli::moment;
use crate::config::Config;
use crate::error::Failure;
use crate::kafka::client::auxiliary;
use crate::kafka::dead_letter::{Class, Entry, Letter, Place};
use crate::kafka::reading::{Extents, Reader, Start};

/// Which letters are meant. All that is set must hold; of several values of one kind, one must.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Letters of this reason, or of this class: malformed, policy, infrastructure; may be given
    /// several times.
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Letters with this key; may be given several times.
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// Letters that should have gone to this topic; may be given several times.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Letters of the row with this id; may be given several times.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Letters from this moment on: 2026-11-21T10:00:00Z, 2026-11-21, or how long ago: 2h, 7d.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    since: Option<i64>,
    /// Letters up to this moment, itself included.
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    until: Option<i64>,
    /// Letters of other connectors too, and records that walpost did not write.
    #[arg(long)]
    all_connectors: bool,
}

impl Filter {
    /// Whether anything but the connector is asked for.
    pub(super) fn is_anything(&self) -> bool {
        let lists = [&self.reason, &self.key, &self.topic, &self.id];
        lists.iter().any(|list| !list.is_empty()) || self.since.is_some() || self.until.is_some()
    }

    /// Whether letters of all connectors are meant.
    pub(super) fn is_for_all(&self) -> bool {
        self.all_connectors
    }

    /// Refuses words that no letter can have.
    pub(super) fn checked(self) -> Result<Self, Stopped> {
        for word in &self.reason {
            let class = Class::ALL.iter().any(|class| class.word() == word);
            if !class && Class::of(word) == Class::Unknown {
                return Err(refused(
                    format!("--reason: there is no reason or class {word}"),
                    "`walpost dlq list` shows the reasons that there are",
                ));
            }
        }
        Ok(self)
    }

    /// Whether this letter is meant.
    pub(super) fn takes(&self, connector: &str, letter: &Letter) -> bool {
        let one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one == found))
        };
        let key = letter.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let at = letter.written_at.map(|millis| millis.saturating_mul(1_000));
        (self.all_connectors || letter.connector() == Some(connector))
            && (one_of(&self.reason, letter.reason())
                || one_of(&self.reason, Some(letter.class().word())))
            && one_of(&self.key, key)
            && one_of(&self.topic, letter.topic())
            && one_of(&self.id, letter.text("walpost-row-id"))
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at <= until))
    }
}

/// What was done about letters.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// Letters that are resolved.
    pub(super) resolved: HashSet<Place>,
    /// How often letters were tried in vain.
    pub(super) attempted: HashMap<Place, u32>,
    /// Second letters of a row, and the first: a relay that is killed, or for which Kafka refuses
    /// a record, writes again what it has not stored as written.
    pub(super) copy_of: HashMap<Place, Place>,
    /// The same, the other way round.
    pub(super) copies: HashMap<Place, Vec<Place>>,
    /// The letters by a digest of what names their row: 32 bytes a letter.
    first: HashMap<u128, Place>,
}

impl Done {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Resolved(place) => {
                self.resolved.insert(*place);
            }
            Entry::Attempted(place) => *self.attempted.entry(*place).or_insert(0) += 1,
            Entry::Letter(letter) => {
                let Some(row) = row(letter) else { return };
                let first = *self.first.entry(row).or_insert(letter.place);
                if first != letter.place {
                    self.copy_of.insert(letter.place, first);
                    self.copies.entry(first).or_default().push(letter.place);
                }
            }
        }
    }
}

/// What names the row of a letter: its place in the stream of a connector, and its id in case
/// that the database was exchanged.
fn row(letter: &Letter) -> Option<u128> {
    let position = letter.text("walpost-position")?;
    let mut hash = Sha256::new();
    let id = letter.text("walpost-row-id");
    for part in [letter.connector(), letter.text("walpost-table"), Some(position), id] {
        let part = part.unwrap_or_default();
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    Some(u128::from_be_bytes(hash.finalize().first_chunk::<16>().copied().unwrap_or_default()))
}

/// The topic, to be read as often as needed: letters are as many as there are, so none is kept.
#[derive(Debug)]
pub(super) struct Topic {
    client: crate::kafka::client::Auxiliary,
    name: String,
}

impl Topic {
    pub(super) fn new(config: &Config) -> Self {
        Self { client: auxiliary(&config.kafka, &config.name), name: config.dlq_topic.clone() }
    }

    /// Calls `each` with every record that is there, on a thread that may block, and gives back
    /// what it was given.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        mut state: T,
        mut each: impl FnMut(&mut T, &BorrowedMessage<'_>) + Send + 'static,
    ) -> Result<(T, Extents), Failure> {
        let (client, name) = (self.client.clone(), self.name.clone());
        let read = move || {
            let reader = Reader::new(&client)?;
            let read = reader.read(&name, Start::Beginning, |record| each(&mut state, record));
            read.map(|extents| (state, extents))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|error| Failure::again("kafka_error", error.to_string()))?;
        read.map_err(|error| self.unreadable(&error))
    }

    /// As [`Self::read`], of letters only.
    pub(super) async fn letters<T: Send + 'static>(
        &self,
        state: T,
        mut each: impl FnMut(&mut T, Letter, &BorrowedMessage<'_>) + Send + 'static,
    ) -> Result<(T, Extents), Failure> {
        self.read(state, move |state, record| {
            if let Entry::Letter(letter) = Entry::of(record) {
                each(state, letter, record);
            }
        })
        .await
    }

    /// What was done about letters.
    pub(super) async fn done(&self) -> Result<Done, Stopped> {
        let (done, extents) =
            self.read(Done::default(), |done, record| done.add(&Entry::of(record))).await?;
        if extents.is_empty() {
            return Err(refused(
                format!("topic {} does not exist", self.name),
                "the relay makes it at its first start; WALPOST_DLQ_TOPIC names another one",
            ));
        }
        Ok(done)
    }

    fn unreadable(&self, error: &KafkaError) -> Failure {
        Failure::Again {
            code: "kafka_error",
            message: format!("failed to read topic {}: {error}", self.name),
            hint: Some(format!(
                "this command needs the right to read topic {}; `walpost check` says whether Kafka can be reached",
                self.name
            )),
        }
    }
}

/// Whether a record is before the ends that were found earlier.
pub(super) fn is_before(ends: &Extents, record: &BorrowedMessage<'_>) -> bool {
    ends.get(&record.partition()).is_some_and(|extent| record.offset() < extent.high)
}
