//! How large a batch may be, as topics and brokers have it.
//!
//! A topic's `max.message.bytes` limits a *batch* of records, as it is sent, that is, compressed;
//! a broker refuses a larger one whole. librdkafka has one `batch.size` for all topics of a
//! producer, and does not split what was refused. So the smallest limit of the topics in use is
//! every batch's.
//!
//! What librdkafka 2.12.1 counts (read in `rdkafka_msgset_writer.c`): the whole request so far,
//! uncompressed, and for each record the most that its framing can take; compressed data that came
//! out larger are thrown away and the batch is sent as it was. So a batch of several records is
//! never larger than `batch.size`, and no room needs to be left. A record that is larger alone is
//! a batch of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::options::KafkaOptions;
use super::producer::TOPICS_MAX;

/// The entry of a topic's configuration.
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// `batch.size` where nothing asks for another. Half of librdkafka's own and of the brokers' default limit:
/// a batch is there as records, compressed, and encrypted, several of them at once, and with twice the size
/// a drain of rows of 5 kB over TLS took 5 MB more (47.4 and 42.6) and came no sooner (`deploy/docs/speed.md`).
pub const BATCH_SIZE: usize = 500_000;

/// A limit that nobody tells is guessed by halving, and not below this.
const SMALLEST_GUESS: usize = 1024;

/// The header of a batch: 12 bytes of offset and length, and 49 (Kafka's record batch, version 2).
const BATCH_HEADER: usize = 61;

/// Most bytes that the framing of one record takes: its length, attributes, two deltas, lengths of
/// key and value, and the number of headers, as variable-length integers.
const RECORD_FRAME: usize = 36;

/// Most bytes that the framing of one header takes: two lengths.
const HEADER_FRAME: usize = 10;

/// The size of a batch of one record, uncompressed; never too small. `bytes` are key, value, and
/// the headers' names and values.
#[must_use]
pub const fn alone(bytes: usize, headers: usize) -> usize {
    bytes
        .saturating_add(BATCH_HEADER + RECORD_FRAME)
        .saturating_add(headers.saturating_mul(HEADER_FRAME))
}

/// The `batch.size` that the configuration asks for.
#[must_use]
pub fn configured(options: &KafkaOptions) -> usize {
    options
        .properties
        .get("batch.size")
        .and_then(|size| size.expose().trim().parse().ok())
        .unwrap_or(BATCH_SIZE)
}

/// The limits of topics, as they were last read or guessed. Remembered for the life of the
/// process, so that the next generation's producer begins with batches that all of them take.
#[derive(Clone, Debug, Default)]
pub struct BatchLimits(Arc<Mutex<BTreeMap<String, usize>>>);

impl BatchLimits {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, usize>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers a topic's limit.
    pub fn note(&self, topic: &str, bytes: usize) {
        self.with(|limits| {
            if limits.len() >= TOPICS_MAX && !limits.contains_key(topic) {
                // Names come from rows, so there must be an end. The others are read again.
                limits.clear();
            }
            limits.insert(topic.to_owned(), bytes);
        });
    }

    /// A topic's limit, if it is known.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<usize> {
        self.with(|limits| limits.get(topic).copied())
    }

    /// The largest batch that every known topic takes, and that is not over `configured`.
    #[must_use]
    pub fn batch_size(&self, configured: usize) -> usize {
        self.with(|limits| limits.values().copied().fold(configured, usize::min)).max(1)
    }

    /// Halves what is believed of a topic that refused a batch and does not tell its limit;
    /// `batch_size` was the size of batches when it did. Answers the new limit.
    #[must_use]
    pub fn guess(&self, topic: &str, batch_size: usize) -> usize {
        let believed = self.of(topic).map_or(batch_size, |limit| limit.min(batch_size));
        let guess = (believed / 2).max(SMALLEST_GUESS.min(believed));
        self.note(topic, guess);
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_is_every_batchs() {
        let limits = BatchLimits::default();
        assert_eq!(limits.batch_size(BATCH_SIZE), BATCH_SIZE);
        limits.note("large", 5_000_000);
        assert_eq!(limits.batch_size(BATCH_SIZE), BATCH_SIZE);
        limits.note("small", 5_000);
        limits.note("smaller", 4_000);
        assert_eq!((limits.batch_size(BATCH_SIZE), limits.batch_size(3_000)), (4_000, 3_000));
        limits.note("smaller", 900_000);
        assert_eq!(limits.batch_size(BATCH_SIZE), 5_000, "a limit that was raised counts no more");
    }

    #[test]
    fn a_limit_that_nobody_tells_is_halved_to_an_end() {
        let limits = BatchLimits::default();
        assert_eq!(limits.guess("t", 1_000_000), 500_000);
        assert_eq!(limits.guess("t", limits.batch_size(1_000_000)), 250_000);
        let guesses = (0..20).map(|_| limits.guess("t", limits.batch_size(1_000_000)));
        assert_eq!(guesses.min(), Some(SMALLEST_GUESS));
        assert_eq!(limits.of("t"), Some(SMALLEST_GUESS));
        limits.note("tiny", 100);
        assert_eq!(limits.guess("tiny", 100), 100, "no guess raises a limit");
    }
}
