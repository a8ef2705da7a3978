//! Consumer groups, as they were looked at last.

use tokio::time::Instant;

use super::snapshot::{Ago, Clock};
use super::span::spoken;

/// What is older than this says nothing about a group any more; it is looked at every few seconds.
pub const FRESH_SECONDS: f64 = 60.0;

/// A group that is watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumerGroup {
    /// Its name.
    pub group: String,
    /// When it was last looked at with success.
    pub looked: Option<Instant>,
    /// What was found then.
    pub found: Option<Found>,
    /// How often it was seen to share its partitions out anew.
    pub rebalances: u64,
    /// Why the last look failed; `None`: it did not.
    pub trouble: Option<String>,
}

/// What a look at a group finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Kafka's word: `Stable`, `Empty`, …; `Dead` for a group that it does not know.
    pub state: String,
    /// Consumers in it.
    pub members: u64,
    /// Where it stands, by topic.
    pub topics: Vec<GroupTopic>,
}

/// Where a group stands in a topic.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct GroupTopic {
    /// The topic; `other` past the first ones.
    pub topic: String,
    /// Records that it has not read.
    pub lag: u64,
    /// How long ago the oldest of them was written; 0 without any, `null`: not known.
    pub lag_seconds: Option<f64>,
    /// Partitions.
    pub partitions: u64,
    /// Those of them in which it has stored no place; of these only what was written since it is
    /// watched counts as not read.
    pub partitions_without_place: u64,
}

/// A group, as it is shown.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GroupView {
    /// Its name.
    pub group: String,
    /// Kafka's word for it; `null`: it was never looked at.
    pub state: Option<String>,
    /// Consumers in it.
    pub members: Option<u64>,
    /// How often it was seen to share its partitions out anew.
    pub rebalances: u64,
    /// When it was last looked at with success.
    pub looked: Option<Ago>,
    /// Why the last look failed.
    pub trouble: Option<String>,
    /// Where it stood at the last look that had success.
    pub topics: Vec<GroupTopic>,
}

impl GroupView {
    pub(super) fn of(group: &ConsumerGroup, clock: Clock) -> Self {
        let found = group.found.clone();
        Self {
            group: group.group.clone(),
            state: found.as_ref().map(|found| found.state.clone()),
            members: found.as_ref().map(|found| found.members),
            rebalances: group.rebalances,
            looked: group.looked.map(|at| clock.ago(at)),
            trouble: group.trouble.clone(),
            topics: found.map(|found| found.topics).unwrap_or_default(),
        }
    }

    /// What was found is of now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.looked.is_some_and(|at| at.seconds_ago <= FRESH_SECONDS)
    }

    /// What is wrong with it, in a sentence; being behind is not.
    pub(super) fn wrong(&self) -> Option<String> {
        let name = &self.group;
        if let Some(trouble) = &self.trouble {
            return Some(match self.looked {
                Some(at) => format!("{trouble}; last seen {} ago", spoken(at.seconds_ago)),
                None => trouble.clone(),
            });
        }
        match (self.members?, self.topics.as_slice()) {
            (0, []) => Some(format!("no consumer of group {name} was ever here")),
            (_, []) => Some(format!("group {name} reads no topic of this connector")),
            (0, _) => Some(format!("group {name} has no consumer")),
            (_, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Snapshot;
    use super::*;

    #[test]
    fn what_is_wrong_with_a_group_is_said_in_a_sentence() {
        #[track_caller]
        fn check(members: u64, topics: usize, trouble: Option<&str>, expected: Option<&str>) {
            let snapshot = Snapshot::for_tests();
            let view = GroupView {
                group: "g".to_owned(),
                state: Some("Stable".to_owned()),
                members: Some(members),
                rebalances: 0,
                looked: Some(snapshot.ago(61.0)),
                trouble: trouble.map(str::to_owned),
                topics: vec![GroupTopic::default(); topics],
            };
            assert_eq!(view.wrong().as_deref(), expected);
            assert!(!view.is_fresh());
        }
        check(1, 1, None, None);
        check(0, 1, None, Some("group g has no consumer"));
        check(0, 0, None, Some("no consumer of group g was ever here"));
        check(2, 0, None, Some("group g reads no topic of this connector"));
        check(1, 1, Some("no answer"), Some("no answer; last seen 1 min 1 s ago"));
    }
}
