//! How much of a topic one key has: a hot aggregate is one partition's work, however many there are.
//!
//! A Space-Saving sketch (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and
//! Top-k Elements in Data Streams", 2005) of fixed size for each topic, over 64-bit hashes, so no
//! key is kept. Its counters are divided into sets by the hash's first bits, so that an event
//! looks at one set of eight: some ten nanoseconds, and no allocation.
//!
//! A counter that is taken over from another key starts at that one's count, which is remembered
//! as its error. Count less error is never more than the key's true count; what is lost is at most
//! an eighth of the set's events, so with many keys the share is too low by at most two in a
//! hundred or so, and never too high but by a collision of hashes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::producer::TopicId;
use crate::status::topic::{SPREAD_LEAST, TopicCount};

const SETS: usize = 8;
const WAYS: usize = 8;

/// Topics that have a sketch, of some 1.2 KiB each.
const TOPICS_MAX: usize = 1_000;

/// What was seen counts half after this long: the share is that of the last minutes.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// How often shares are told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The sketches of all topics of a generation.
#[derive(Debug)]
pub(super) struct Keys {
    topics: Vec<Option<Box<Topic>>>,
    told_at: Instant,
    halved_at: Instant,
}

#[derive(Debug)]
struct Topic {
    sketch: Sketch,
    count: Arc<TopicCount>,
}

impl Keys {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { topics: Vec::new(), told_at: now, halved_at: now }
    }

    /// From here on the keys of this topic are counted; past the maximum they are not.
    pub(super) fn learn(&mut self, id: TopicId, count: Arc<TopicCount>) {
        if id.number() >= TOPICS_MAX {
            return;
        }
        if self.topics.len() <= id.number() {
            self.topics.resize_with(id.number() + 1, || None);
        }
        if let Some(place) = self.topics.get_mut(id.number()) {
            place.get_or_insert_with(|| Box::new(Topic { sketch: Sketch::default(), count }));
        }
    }

    /// An event with this key was enqueued. One without a key counts, and is no key's.
    pub(super) fn note(&mut self, id: TopicId, key: Option<&[u8]>) {
        if let Some(Some(topic)) = self.topics.get_mut(id.number()) {
            topic.sketch.note(key.map(hash));
        }
    }

    /// Tells the shares, at most once a second.
    pub(super) fn tell(&mut self, now: Instant) {
        if now.saturating_duration_since(self.told_at) < TELL_EVERY {
            return;
        }
        self.told_at = now;
        let halve = now.saturating_duration_since(self.halved_at) >= HALF_LIFE;
        if halve {
            self.halved_at = now;
        }
        for topic in self.topics.iter_mut().flatten() {
            if halve {
                topic.sketch.halve();
            }
            topic.count.hot_key(topic.sketch.share());
        }
    }
}

/// Sixty-four counters in eight sets.
#[derive(Debug, Default)]
struct Sketch {
    sets: [[Counter; WAYS]; SETS],
    total: u64,
}

/// One counter; with a count of zero it is free.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    hash: u64,
    count: u32,
    error: u32,
}

impl Sketch {
    fn note(&mut self, hash: Option<u64>) {
        self.total = self.total.saturating_add(1);
        let Some(hash) = hash else { return };
        let set = usize::try_from(hash >> 61).expect("three bits");
        let Some(set) = self.sets.get_mut(set) else { return };
        if let Some(known) = set.iter_mut().find(|counter| counter.hash == hash) {
            known.count = known.count.saturating_add(1);
        } else if let Some(least) = set.iter_mut().min_by_key(|counter| counter.count) {
            let error = least.count;
            *least = Counter { hash, count: error.saturating_add(1), error };
        }
    }

    /// What the most frequent key surely has of all events; `None`: there were too few.
    fn share(&self) -> Option<f64> {
        if self.total < SPREAD_LEAST {
            return None;
        }
        let sure = |counter: &Counter| counter.count.saturating_sub(counter.error);
        let most = self.sets.iter().flatten().map(sure).max()?;
        // Exact up to 2^53 events.
        Some(f64::from(most) / self.total as f64)
    }

    fn halve(&mut self) {
        self.total /= 2;
        for counter in self.sets.iter_mut().flatten() {
            counter.count /= 2;
            counter.error /= 2;
        }
    }
}

/// Mixes eight bytes at a time by a multiplication whose upper half is folded in. Not one that
/// withstands who chooses keys against it: they could only spoil this number.
fn hash(key: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(ODD);
        let [low, high] = [product & u128::from(u64::MAX), product >> 64];
        u64::try_from(low ^ high).expect("both halves have 64 bits")
    };
    let mut chunks = key.chunks_exact(8);
    let mut hash = ODD ^ (key.len() as u64);
    for chunk in &mut chunks {
        hash = mix(hash, u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
    }
    let mut rest = [0; 8];
    rest.iter_mut().zip(chunks.remainder()).for_each(|(to, from)| *to = *from);
    mix(mix(hash, u64::from_le_bytes(rest)), ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand keys, of which key 0 comes so many times in a thousand; in a fixed, mixed order.
    fn sketch(hot_per_mille: u64, events: u64) -> Sketch {
        let mut sketch = Sketch::default();
        let mut state = 1_u64;
        for _ in 0..events {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = state >> 33;
            let key = if random % 1_000 < hot_per_mille { 0 } else { 1 + random / 1_000 % 9_999 };
            sketch.note(Some(hash(format!("customer-{key}").as_bytes())));
        }
        sketch
    }

    #[test]
    fn the_share_of_the_hottest_key_is_found_among_many() {
        #[track_caller]
        fn check(hot_per_mille: u64) {
            let share = sketch(hot_per_mille, 100_000).share().unwrap();
            let truth = Duration::from_millis(hot_per_mille).as_secs_f64();
            assert!(share <= truth + 0.005, "{share} for {truth}");
            assert!(share >= truth - 0.025, "{share} for {truth}");
        }
        for hot_per_mille in [0, 10, 50, 100, 300, 900, 1_000] {
            check(hot_per_mille);
        }
    }

    #[test]
    fn few_events_have_no_share_and_old_ones_count_less() {
        assert_eq!(sketch(1_000, SPREAD_LEAST - 1).share(), None);
        let mut sketch = sketch(1_000, 1_000);
        assert_eq!(sketch.share(), Some(1.0));
        for _ in 0..4 {
            sketch.halve();
        }
        assert_eq!(sketch.share(), None);
        for n in 0..10_000_u64 {
            sketch.note(Some(hash(&n.to_be_bytes())));
        }
        assert!(sketch.share().unwrap() < 0.05);
    }

    #[test]
    fn events_without_a_key_are_no_keys() {
        let mut sketch = Sketch::default();
        for _ in 0..300 {
            sketch.note(None);
        }
        for _ in 0..100 {
            sketch.note(Some(hash(b"")));
        }
        assert_eq!(sketch.share(), Some(0.25));
    }

    #[test]
    fn keys_that_differ_a_little_have_other_hashes() {
        let mut seen = std::collections::HashSet::new();
        for key in [&b""[..], b"\0", b"\0\0", b"a", b"b", b"12345678", b"12345678\0", b"123456789"]
        {
            assert!(seen.insert(hash(key)), "{key:?}");
        }
    }

    #[test]
    fn a_share_is_told_once_a_second() {
        let mut keys = Keys::new();
        keys.learn(TopicId::for_tests(0), Arc::default());
        for _ in 0..200 {
            keys.note(TopicId::for_tests(0), Some(b"k"));
            keys.note(TopicId::for_tests(7), Some(b"k"));
        }
        let count = Arc::clone(&keys.topics[0].as_ref().unwrap().count);
        let now = keys.told_at;
        keys.tell(now + TELL_EVERY / 2);
        assert_eq!(count.hot_key_share(), None);
        keys.tell(now + TELL_EVERY);
        assert_eq!(count.hot_key_share(), Some(1.0));
    }
}
