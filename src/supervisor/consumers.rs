//! Looks at the consumer groups of `WALPOST_CONSUMER_GROUPS` while the relay runs.
//!
//! On a thread of its own with clients of its own: every question to Kafka blocks until its
//! answer or its limit, and nothing that the stream needs waits for one. A look that fails is told
//! and tried again; it changes nothing else. Every instance looks, a standby too, so that one that
//! takes over knows already how old what a group has not read is. Of the streams of one process only
//! the first looks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::config::{Config, Delivery};
use crate::kafka::client::auxiliary;
use crate::kafka::groups::{
    Group, Place, Rebalances, Standing, Standings, Topics, is_silence, means, passes,
};
use crate::kafka::librdkafka::ClientError;
use crate::kafka::options::KafkaOptions;
use crate::kafka::unread::{MOMENTS, Samples, Search};
use crate::outbox::template::Template;
use crate::pipeline::{KnownTopics, Teller};
use crate::route;
use crate::status::consumers::{ConsumerGroup, Found, GroupTopic};
use crate::status::counts::OTHER;

/// Between two looks.
const POLL: Duration = Duration::from_secs(5);

/// Topics of a group that are told apart; a topic's name may come from a row.
const TOPICS_MAX: usize = 200;

/// The running watch; dropped, its thread ends after the question that it is at.
#[derive(Debug)]
pub(super) struct Watching {
    _stop: mpsc::Sender<()>,
    kafka: Arc<Mutex<KafkaOptions>>,
}

impl Watching {
    /// From the next look on Kafka is asked with these: passwords may have been rotated.
    pub(super) fn reconfigure(&self, kafka: &KafkaOptions) {
        self.kafka.lock().unwrap_or_else(PoisonError::into_inner).clone_from(kafka);
    }
}

/// Begins to look, at the topics that any stream of the process has found; `None` without a group.
pub(super) fn watch(config: &Config, topics: Vec<KnownTopics>, teller: Teller) -> Option<Watching> {
    if config.consumer_groups.is_empty() {
        return None;
    }
    let groups: Vec<_> = config.consumer_groups.iter().map(|name| Watched::new(name)).collect();
    tell(&teller, &groups);
    let (stop, stopped) = mpsc::channel::<()>();
    let kafka = Arc::new(Mutex::new(config.kafka.clone()));
    let mut watch = Watch {
        groups,
        kafka: Arc::clone(&kafka),
        name: config.name.clone(),
        topic: config.events.topic.clone(),
        known: topics,
        transactional: config.delivery == Delivery::ExactlyOnce,
        teller,
        begin: 0,
    };
    let work = move || {
        loop {
            watch.look();
            match stopped.recv_timeout(POLL) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    match std::thread::Builder::new().name("consumer-groups".to_owned()).spawn(work) {
        Ok(_) => Some(Watching { _stop: stop, kafka }),
        Err(error) => {
            tracing::warn!("consumer groups are not looked at: no thread for it: {error}");
            None
        }
    }
}

struct Watch {
    groups: Vec<Watched>,
    kafka: Arc<Mutex<KafkaOptions>>,
    name: String,
    topic: Template,
    /// Of each stream.
    known: Vec<KnownTopics>,
    /// The last offset of a partition is a transaction's end.
    transactional: bool,
    teller: Teller,
    /// Which group is looked at first.
    begin: usize,
}

impl Watch {
    fn look(&mut self) {
        let known: BTreeSet<_> = self.known.iter().flat_map(KnownTopics::names).collect();
        let asked = |topic: &str| known.contains(topic) || route::may_become(&self.topic, topic);
        let kafka = self.kafka.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A question that is not answered takes seconds, and the next group's would as well. The
        // next look begins behind it, for another group's broker may be well.
        self.groups.rotate_left(self.begin);
        let mut unanswered = None;
        for (place, group) in self.groups.iter_mut().enumerate() {
            let looked = group.look((&kafka, &self.name), &asked, self.transactional);
            let silent = looked.as_ref().is_err_and(is_silence);
            group.conclude(looked);
            if silent {
                unanswered = Some(place);
                break;
            }
        }
        self.groups.rotate_right(self.begin);
        let count = self.groups.len().max(1);
        self.begin = unanswered.map_or(0, |place| (self.begin + place + 1) % count);
        tell(&self.teller, &self.groups);
    }
}

fn tell(teller: &Teller, groups: &[Watched]) {
    let told: Vec<_> = groups.iter().map(|group| group.told.clone()).collect();
    teller.status.update(|facts| facts.consumer_groups = told);
}

/// One group.
struct Watched {
    told: ConsumerGroup,
    /// With what the client was made.
    client: Option<(KafkaOptions, Group)>,
    partitions: BTreeMap<Place, Partition>,
    rebalances: Rebalances,
}

#[derive(Debug, Default)]
struct Partition {
    samples: Samples,
    /// Where it ended when the group was first seen to have no place in it.
    end_without_place: Option<i64>,
}

impl Partition {
    /// The first record that the group has not read, as far as is known.
    fn next(&mut self, standing: &Standing) -> i64 {
        let next = match standing.next {
            Some(next) => {
                self.end_without_place = None;
                next
            }
            // Where it will begin is its consumers' `auto.offset.reset`. What was written since
            // then it has not read in either case.
            None => *self.end_without_place.get_or_insert(standing.high),
        };
        next.max(standing.low)
    }
}

impl Watched {
    fn new(name: &str) -> Self {
        Self {
            told: ConsumerGroup { group: name.to_owned(), ..ConsumerGroup::default() },
            client: None,
            partitions: BTreeMap::new(),
            rebalances: Rebalances::default(),
        }
    }

    fn look(
        &mut self,
        (kafka, name): (&KafkaOptions, &str),
        asked: &dyn Fn(&str) -> bool,
        transactional: bool,
    ) -> Result<Found, ClientError> {
        if self.client.as_ref().is_none_or(|(with, _)| with != kafka) {
            let client = Group::new(&auxiliary(kafka, name), &self.told.group)?;
            self.client = Some((kafka.clone(), client));
        }
        let Self { client: Some((_, group)), partitions, rebalances, .. } = self else {
            return Ok(Found::default());
        };
        let state = group.state()?;
        let standings = group.standings(Topics::Read { asked, members: &state.members })?;
        rebalances.see(&state);
        let now = milliseconds_now();
        partitions.retain(|place, _| standings.contains_key(place));
        place_in_time(group, partitions, &standings, now)?;
        Ok(Found {
            members: u64::try_from(state.members.len()).unwrap_or(u64::MAX),
            state: state.word,
            topics: by_topic(partitions, &standings, (now, transactional)),
        })
    }

    fn conclude(&mut self, looked: Result<Found, ClientError>) {
        let group = self.told.group.as_str();
        let trouble = match looked {
            Ok(found) => {
                self.told.found = Some(found);
                self.told.looked = Some(Instant::now());
                None
            }
            // At the first group of a cluster its coordinator is made.
            Err(error) if passes(&error) && self.told.looked.is_none() => return,
            Err(error) => Some(means(&error, group)),
        };
        match (&self.told.trouble, &trouble) {
            (before, Some(now)) if before.as_ref() != Some(now) => {
                tracing::warn!(group, "a consumer group cannot be looked at: {now}");
            }
            (Some(_), None) => tracing::info!(group, "a consumer group can be looked at again"),
            (_, _) => {}
        }
        self.told.trouble = trouble;
        self.told.rebalances = self.rebalances.seen();
    }
}

/// Notes where the partitions end, and asks for the time of what came before they were watched.
fn place_in_time(
    group: &Group,
    partitions: &mut BTreeMap<Place, Partition>,
    standings: &Standings,
    now: i64,
) -> Result<(), ClientError> {
    let mut searches: BTreeMap<&Place, Search> = BTreeMap::new();
    for (place, standing) in standings {
        let partition = partitions.entry(place.clone()).or_default();
        partition.samples.ended(standing.high, now);
        let next = partition.next(standing);
        if next < standing.high && partition.samples.begin_after(next) {
            searches.insert(place, Search::new(next, now));
        }
        partition.samples.forget_before(next);
    }
    if searches.is_empty() {
        return Ok(());
    }
    for _ in 0..MOMENTS {
        let moments = searches.iter().map(|(place, search)| (*place, search.moment()));
        let found = group.first_since(moments)?;
        for (place, search) in &mut searches {
            search.answer(found.get(*place).copied());
        }
    }
    for (place, search) in searches {
        if let Some(partition) = partitions.get_mut(place) {
            partition.samples.began(&search);
        }
    }
    Ok(())
}

fn by_topic(
    partitions: &mut BTreeMap<Place, Partition>,
    standings: &Standings,
    (now, transactional): (i64, bool),
) -> Vec<GroupTopic> {
    let mut topics: Vec<GroupTopic> = Vec::new();
    for (place, standing) in standings {
        let Some(partition) = partitions.get_mut(place) else { continue };
        let next = partition.next(standing);
        let lag = u64::try_from(standing.high.saturating_sub(next)).unwrap_or(0);
        // A client that commits behind the last record it was given leaves the end of that
        // record's transaction before it for ever: an offset that nobody can read.
        let lag = if transactional && lag == 1 { 0 } else { lag };
        let age = match lag {
            0 => Some(0.0),
            _ => partition.samples.age(next, now).map(seconds),
        };
        let full = topics.len() >= TOPICS_MAX;
        let name = if full && topics.last().is_none_or(|last| last.topic != place.0) {
            OTHER
        } else {
            place.0.as_str()
        };
        if topics.last().is_none_or(|last| last.topic != name) {
            let topic = GroupTopic { lag_seconds: Some(0.0), ..GroupTopic::default() };
            topics.push(GroupTopic { topic: name.to_owned(), ..topic });
        }
        if let Some(topic) = topics.last_mut() {
            topic.lag = topic.lag.saturating_add(lag);
            topic.lag_seconds = topic.lag_seconds.zip(age).map(|(most, age)| most.max(age));
            topic.partitions += 1;
            topic.partitions_without_place += u64::from(standing.next.is_none());
        }
    }
    topics
}

fn milliseconds_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

fn seconds(milliseconds: i64) -> f64 {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(of: &[(&str, i32, Option<i64>, i64)]) -> Standings {
        let standing = |(topic, partition, next, high): &(&str, i32, Option<i64>, i64)| {
            let standing = Standing { next: *next, low: 0, high: *high };
            (((*topic).to_owned(), *partition), standing)
        };
        of.iter().map(standing).collect()
    }

    /// Two looks, a second apart: topic, lag, seconds and partitions without a place.
    #[track_caller]
    fn check(
        first: &[(&str, i32, Option<i64>, i64)],
        second: &[(&str, i32, Option<i64>, i64)],
        expected: &[(&str, u64, Option<f64>, u64)],
    ) {
        let mut partitions = BTreeMap::<Place, Partition>::new();
        for (standings, now) in [(standings(first), 1_000), (standings(second), 2_000)] {
            for (place, standing) in &standings {
                let partition = partitions.entry(place.clone()).or_default();
                partition.samples.ended(standing.high, now);
                partition.next(standing);
            }
        }
        let found = by_topic(&mut partitions, &standings(second), (2_000, false));
        let found: Vec<_> = found
            .iter()
            .map(|t| (t.topic.as_str(), t.lag, t.lag_seconds, t.partitions_without_place))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_topic_is_as_far_behind_as_its_partitions_together_and_as_old_as_the_oldest() {
        check(
            &[("a", 0, Some(0), 0), ("a", 1, Some(5), 5), ("b", 0, Some(9), 9)],
            &[("a", 0, Some(0), 10), ("a", 1, Some(10), 15), ("b", 0, Some(9), 9)],
            &[("a", 15, Some(1.0), 0), ("b", 0, Some(0.0), 0)],
        );
    }

    #[test]
    fn without_a_place_only_what_came_since_is_unread() {
        check(&[("a", 0, None, 100)], &[("a", 0, None, 103)], &[("a", 3, Some(1.0), 1)]);
        check(&[("a", 0, None, 100)], &[("a", 0, Some(0), 103)], &[("a", 103, None, 0)]);
    }

    #[test]
    fn the_end_of_the_last_transaction_is_no_record_that_was_not_read() {
        #[track_caller]
        fn check(next: i64, transactional: bool, expected: u64) {
            let standings = standings(&[("a", 0, Some(next), 10)]);
            let mut partitions: BTreeMap<Place, Partition> =
                standings.keys().map(|place| (place.clone(), Partition::default())).collect();
            let found = by_topic(&mut partitions, &standings, (0, transactional));
            assert_eq!(found.first().map(|topic| topic.lag), Some(expected));
        }
        check(10, true, 0);
        check(9, true, 0);
        check(8, true, 2);
        check(9, false, 1);
    }

    #[test]
    fn topics_past_the_maximum_are_told_together() {
        let names: Vec<_> = (0..TOPICS_MAX + 50).map(|n| format!("t{n:04}")).collect();
        let of: Vec<_> = names.iter().map(|name| (name.as_str(), 0, Some(1), 1)).collect();
        let mut partitions: BTreeMap<Place, Partition> =
            standings(&of).into_keys().map(|place| (place, Partition::default())).collect();
        let found = by_topic(&mut partitions, &standings(&of), (0, false));
        assert_eq!(found.len(), TOPICS_MAX + 1);
        assert_eq!(found.last().map(|t| (t.topic.as_str(), t.partitions)), Some((OTHER, 50)));
    }
}
