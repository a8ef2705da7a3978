//! Consumer groups: where they stand in topics, and setting them somewhere else.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::client::{ANSWER_LIMIT, Auxiliary};
use super::librdkafka::{self, ClientError, Seated};

pub use super::librdkafka::{Described as State, Member};

/// How long a client believes what it was told of leaders, milliseconds. By default that is 15 minutes,
/// and meanwhile it asks a broker that is away: after a failure librdkafka asks anew only about topics
/// that a client has opened (rdkafka_request.c, `rd_kafka_metadata_refresh_known_topics`), and this one
/// opens none.
const LEADER_AGE_MS: &str = "5000";

/// How long one of the brokers may take to say who is in a group, before the next is asked.
const BROKER_LIMIT: Duration = Duration::from_secs(5);

/// The pause before a question is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a group stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The next offset that it reads; `None` when it has stored none.
    pub next: Option<i64>,
    /// The first offset that is there.
    pub low: i64,
    /// The offset after the last record.
    pub high: i64,
}

impl Standing {
    /// Records before the end, as far as offsets tell.
    #[must_use]
    pub fn lag(&self) -> Option<i64> {
        self.next.map(|next| self.high.saturating_sub(next.max(self.low)).max(0))
    }
}

/// A partition of a topic.
pub type Place = (String, i32);

/// By topic and partition.
pub type Standings = BTreeMap<Place, Standing>;

/// In which topics a group is looked at.
#[derive(Clone, Copy)]
pub enum Topics<'a> {
    /// In these, all their partitions.
    Named(&'a [String]),
    /// In those that are asked for and that it reads: a member of it has some partition of it, or
    /// the group has stored a place in one.
    Read {
        /// Which topics are asked for.
        asked: &'a dyn Fn(&str) -> bool,
        /// Who is in it.
        members: &'a [Member],
    },
}

impl std::fmt::Debug for Topics<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(names) => f.debug_tuple("Named").field(names).finish(),
            Self::Read { members, .. } => {
                f.debug_struct("Read").field("members", members).finish_non_exhaustive()
            }
        }
    }
}

impl Topics<'_> {
    fn have(&self, topic: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|name| name == topic),
            Self::Read { asked, .. } => asked(topic),
        }
    }
}

/// One group. Never joins it.
pub struct Group {
    consumer: Seated<BaseConsumer>,
    name: String,
    /// The broker that was its coordinator when it was last asked.
    coordinator: Cell<Option<i32>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Group {
    /// A client of its own, for as long as this lives.
    ///
    /// # Errors
    /// librdkafka refuses the configuration.
    pub fn new(config: &Auxiliary, name: &str) -> Result<Self, ClientError> {
        let consumer = config
            .clone()
            .set("group.id", name)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("metadata.max.age.ms", LEADER_AGE_MS)
            .consumer()?;
        Ok(Self { consumer, name: name.to_owned(), coordinator: Cell::new(None) })
    }

    /// Whether it is at work, and who is in it: asks the broker that knew it the last time, and the
    /// others where that one knows it no more, or does not answer. Blocks.
    ///
    /// # Errors
    /// The right Describe on the group is missing, or its coordinator does not answer.
    pub fn state(&self) -> Result<State, ClientError> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let left = || deadline.saturating_duration_since(Instant::now());
        let before = self.coordinator.take();
        let mut failure = None;
        let mut ask = |broker| {
            let limit = left().clamp(PAUSE, BROKER_LIMIT);
            match librdkafka::describe_group(&self.consumer, &self.name, broker, limit) {
                // One that does not answer may be the coordinator: those that do say that they are not.
                Err(error) if is_elsewhere(&error) => _ = failure.get_or_insert(error),
                Err(error) if is_silence(&error) => failure = Some(error),
                answer => {
                    self.coordinator.set(answer.is_ok().then_some(broker));
                    return Some(answer);
                }
            }
            None
        };
        if let Some(answer) = before.and_then(&mut ask) {
            return answer;
        }
        let metadata = self.consumer.fetch_metadata(None, left().max(PAUSE))?;
        let brokers = metadata.brokers().iter().map(|broker| broker.id());
        let others = brokers.filter(|broker| Some(*broker) != before);
        if let Some(answer) = others.take_while(|_| !left().is_zero()).find_map(&mut ask) {
            return answer;
        }
        Err(failure.unwrap_or_else(|| ClientError {
            code: RDKafkaErrorCode::CoordinatorNotAvailable,
            message: "Kafka named no broker".to_owned(),
        }))
    }

    /// Where it stands. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn standings(&self, topics: Topics<'_>) -> Result<Standings, ClientError> {
        let metadata = self.consumer.fetch_metadata(None, ANSWER_LIMIT)?;
        let mut asked = TopicPartitionList::new();
        for topic in metadata.topics().iter().filter(|topic| topics.have(topic.name())) {
            for partition in topic.partitions() {
                asked.add_partition(topic.name(), partition.id());
            }
        }
        if asked.count() == 0 {
            return Ok(Standings::new());
        }
        let committed = self.consumer.committed_offsets(asked, ANSWER_LIMIT)?;
        let stored: BTreeMap<Place, Option<i64>> = offsets(&committed).collect();
        let mut read: BTreeSet<&str> =
            stored.iter().filter(|(_, next)| next.is_some()).map(|(at, _)| at.0.as_str()).collect();
        match topics {
            Topics::Named(_) => read.extend(stored.keys().map(|(topic, _)| topic.as_str())),
            Topics::Read { members, .. } => {
                let assigned = members.iter().flat_map(|member| &member.partitions);
                read.extend(assigned.map(|(topic, _)| topic.as_str()));
            }
        }
        let shown: Vec<&Place> =
            stored.keys().filter(|(topic, _)| read.contains(topic.as_str())).collect();
        // One question to each broker for all its partitions. The end is where a consumer with
        // isolation.level=read_committed gets to.
        let lows = self.ask(shown.iter().map(|place| (*place, Offset::Beginning)))?;
        let highs = self.ask(shown.iter().map(|place| (*place, Offset::End)))?;
        let standing = |place: &Place| {
            Some(Standing {
                next: stored.get(place).copied().flatten(),
                low: *lows.get(place)?,
                high: *highs.get(place)?,
            })
        };
        Ok(shown.into_iter().filter_map(|at| Some((at.clone(), standing(at)?))).collect())
    }

    /// The first record of each partition that is not older than its moment, milliseconds since
    /// 1970; without an entry where all are. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn first_since<'p>(
        &self,
        moments: impl IntoIterator<Item = (&'p Place, i64)>,
    ) -> Result<BTreeMap<Place, i64>, ClientError> {
        self.ask(moments.into_iter().map(|(place, moment)| (place, Offset::Offset(moment))))
    }

    /// The first record of each partition that is not older than this moment, milliseconds since
    /// 1970; the end where all are. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn at(
        &self,
        standings: &Standings,
        millis: i64,
    ) -> Result<BTreeMap<Place, i64>, ClientError> {
        let found = self.first_since(standings.keys().map(|place| (place, millis)))?;
        let offset =
            |place: &Place, standing: &Standing| found.get(place).copied().unwrap_or(standing.high);
        Ok(standings.iter().map(|(at, standing)| (at.clone(), offset(at, standing))).collect())
    }

    /// `ListOffsets`: by a moment, or one of the two ends.
    fn ask<'p>(
        &self,
        questions: impl Iterator<Item = (&'p Place, Offset)>,
    ) -> Result<BTreeMap<Place, i64>, ClientError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in questions {
            list.add_partition_offset(topic, *partition, offset)?;
        }
        if list.count() == 0 {
            return Ok(BTreeMap::new());
        }
        let found = self.consumer.offsets_for_times(list, ANSWER_LIMIT)?;
        Ok(offsets(&found).filter_map(|(place, offset)| Some((place, offset?))).collect())
    }

    /// Stores these offsets for the group. Kafka refuses while the group has members. Blocks.
    ///
    /// # Errors
    /// The brokers refuse, or do not answer.
    pub fn set(&self, places: &BTreeMap<Place, i64>) -> Result<(), ClientError> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in places {
            let offset = Offset::Offset(*offset);
            list.add_partition_offset(topic, *partition, offset)?;
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(ClientError::from)
    }
}

/// How often a group was seen to share its partitions out anew.
///
/// Kafka tells no client how often that was, so looks are compared. Seen are a group that is at it
/// just now, and one whose members or their partitions are not those of the last look; not seen is
/// one that begins and ends between two looks and gives everybody what they had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalances {
    seen: u64,
    /// It was at it at the last look.
    under_way: bool,
    members: Option<Vec<Member>>,
}

impl Rebalances {
    /// Takes what a look has found.
    pub fn see(&mut self, state: &State) {
        let under_way = matches!(
            state.word.as_str(),
            "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling"
        );
        let changed = self.members.as_ref().is_some_and(|before| *before != state.members);
        // One that was under way is counted already, and its end is no other one.
        if !self.under_way && (under_way || changed) {
            self.seen = self.seen.saturating_add(1);
        }
        self.under_way = under_way;
        self.members = Some(state.members.clone());
    }

    /// How many.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }
}

/// The group's coordinator is about to be there: after a start of a broker, or at the first group
/// of a cluster.
#[must_use]
pub fn passes(error: &ClientError) -> bool {
    matches!(
        error.code,
        RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
    )
}

/// Nobody has answered, which takes until the question's limit.
#[must_use]
pub fn is_silence(error: &ClientError) -> bool {
    matches!(
        error.code,
        RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
    )
}

/// The broker that was asked is not the group's coordinator.
fn is_elsewhere(error: &ClientError) -> bool {
    matches!(
        error.code,
        RDKafkaErrorCode::NotCoordinator | RDKafkaErrorCode::CoordinatorNotAvailable
    )
}

/// Asks again while the failure [`passes`], as long as an answer may take. Blocks.
///
/// # Errors
/// Those of the last question.
pub fn patiently<T>(question: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    loop {
        match question() {
            Err(error) if passes(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
}

/// What the failure of a question for a group means, and what to do.
#[must_use]
pub fn means(error: &ClientError, group: &str) -> String {
    if error.code == RDKafkaErrorCode::GroupAuthorizationFailed {
        format!("walpost's Kafka user has no right Describe on group {group}")
    } else if error.code == RDKafkaErrorCode::TopicAuthorizationFailed {
        format!("walpost's Kafka user has no right Describe on a topic of group {group}")
    } else {
        format!("Kafka did not answer for group {group}: {error}")
    }
}

impl From<KafkaError> for ClientError {
    /// By its code alone: the text of a failure of the configuration may hold a value of it.
    fn from(error: KafkaError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        Self { code, message: code.to_string() }
    }
}

/// What a list says of each partition; `None` where it says no offset.
fn offsets(list: &TopicPartitionList) -> impl Iterator<Item = (Place, Option<i64>)> {
    list.elements().into_iter().map(|element| {
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        };
        ((element.topic().to_owned(), element.partition()), offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a group, each its word and the partition of each of its members; how many
    /// rebalances are seen.
    #[track_caller]
    fn check(looks: &[(&str, &[(&str, i32)])], expected: u64) {
        let mut rebalances = Rebalances::default();
        for (word, members) in looks {
            let members = members
                .iter()
                .map(|(id, partition)| Member {
                    id: (*id).to_owned(),
                    partitions: vec![("t".to_owned(), *partition)],
                })
                .collect();
            rebalances.see(&State { word: (*word).to_owned(), members });
        }
        assert_eq!(rebalances.seen(), expected, "{looks:?}");
    }

    #[test]
    fn a_rebalance_is_seen_once_by_who_has_what_or_while_it_is_under_way() {
        let (one, two): (&[_], &[_]) = (&[("a", 0)], &[("a", 0), ("b", 1)]);
        check(&[], 0);
        check(&[("Stable", one), ("Stable", one)], 0);
        check(&[("Stable", one), ("Stable", two), ("Stable", two)], 1);
        check(&[("Stable", two), ("Stable", &[("a", 1), ("b", 0)])], 1);
        check(&[("Stable", one), ("PreparingRebalance", two), ("Stable", two)], 1);
        check(&[("PreparingRebalance", one), ("CompletingRebalance", two), ("Stable", two)], 1);
        check(&[("Stable", one), ("PreparingRebalance", one), ("Stable", one)], 1);
        check(&[("Stable", one), ("Empty", &[]), ("Stable", one)], 2);
    }
}
