//! The series of consumer groups.
//!
//! They are written anew at each question and not registered: one that is registered stays, and
//! an old lag of a group that cannot be looked at is worse than none.

use crate::status::consumers::GroupView;
use crate::status::snapshot::{Ago, Snapshot};

use super::refresh::unix_seconds;
use super::registry::Registry;

pub(super) fn append(registry: &Registry, snapshot: &Snapshot, text: &mut String) {
    let groups = &snapshot.consumer_groups;
    let fresh = || groups.iter().filter(|group| group.is_fresh());
    let by_group = |group: &GroupView, value: f64| (vec![("group", group.group.clone())], value);
    let by_topic = |group: &GroupView, topic: &str, value: f64| {
        (vec![("group", group.group.clone()), ("topic", topic.to_owned())], value)
    };
    let lag = fresh().flat_map(|group| {
        // Exact up to 2^53 records.
        group.topics.iter().map(|topic| by_topic(group, &topic.topic, topic.lag as f64))
    });
    registry.append_all(text, "walpost_consumer_group_lag", lag);
    let seconds = fresh().flat_map(|group| {
        let known = |topic: &crate::status::consumers::GroupTopic| {
            Some(by_topic(group, &topic.topic, topic.lag_seconds?))
        };
        group.topics.iter().filter_map(known).collect::<Vec<_>>()
    });
    registry.append_all(text, "walpost_consumer_group_lag_seconds", seconds);
    let members =
        fresh().filter_map(|group| Some(by_group(group, group.members.map(|count| count as f64)?)));
    registry.append_all(text, "walpost_consumer_group_members", members);
    let rebalances = groups.iter().map(|group| by_group(group, group.rebalances as f64));
    registry.append_all(text, "walpost_consumer_group_rebalances_total", rebalances);
    let started: Ago = snapshot.started;
    let looked = groups
        .iter()
        .map(|group| by_group(group, unix_seconds(group.looked.unwrap_or(started).at)));
    registry.append_all(text, "walpost_consumer_group_looked_timestamp_seconds", looked);
}
