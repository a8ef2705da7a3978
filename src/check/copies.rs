//! Copies of a topic, and how many of them confirm a write.

use super::brokers::TopicFacts;
use super::remedy::set_topic;
use super::topics::entry;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::kafka::inspect::TopicState;

/// A number of copies.
pub(super) fn in_words(copies: usize) -> String {
    if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
}

/// How many copies there are, and how many confirm a write.
pub(super) fn findings(config: &Config, topic: &TopicFacts, state: &TopicState) -> Vec<Finding> {
    let check = "topic_copies";
    let name = &topic.name;
    let least = entry(topic, "min.insync.replicas").and_then(|value| value.parse::<usize>().ok());
    if state.leaderless {
        return vec![Finding::problem(
            check,
            format!("a partition of topic {name} has no leader"),
            "it cannot be written to, and walpost would wait",
            Remedy::note("bring the brokers back that hold it"),
        )];
    }
    if let Some(least) = least.filter(|least| state.in_sync < *least) {
        return vec![Finding::problem(
            check,
            format!(
                "a partition of topic {name} has {} in step, and min.insync.replicas is {least}",
                in_words(state.in_sync)
            ),
            "the brokers refuse to write it, and walpost would wait",
            if state.copies < least {
                set_topic(config, name, "min.insync.replicas", &state.copies.to_string())
                    .then("or give the topic more copies")
            } else {
                Remedy::note("bring the brokers back that hold the other copies")
            },
        )];
    }
    let mut findings = Vec::new();
    if state.copies < 2 {
        findings.push(Finding::warning(
            check,
            format!("topic {name} has 1 copy"),
            "what its broker loses is lost, although Kafka had confirmed it",
            Remedy::note("give the topic 3 copies with kafka-reassign-partitions.sh; WALPOST_TOPIC_REPLICATION=3 is for topics that walpost makes"),
        ));
    } else if least == Some(1) {
        findings.push(Finding::warning(
            check,
            format!("topic {name} has {} and min.insync.replicas=1", in_words(state.copies)),
            "Kafka confirms a write that one broker has; if that one is lost, the event is lost",
            set_topic(config, name, "min.insync.replicas", "2"),
        ));
    } else if least == Some(state.copies) {
        findings.push(Finding::warning(
            check,
            format!(
                "topic {name} has {} and min.insync.replicas={}",
                in_words(state.copies),
                state.copies
            ),
            "a single broker that is down stops all writing",
            set_topic(
                config,
                name,
                "min.insync.replicas",
                &state.copies.saturating_sub(1).to_string(),
            ),
        ));
    }
    if entry(topic, "unclean.leader.election.enable") == Some("true") {
        findings.push(Finding::warning(
            check,
            format!("topic {name} allows unclean leader election"),
            "a broker that was behind may become leader, and confirmed events are lost in silence",
            set_topic(config, name, "unclean.leader.election.enable", "false"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::topics::tests::{STATE, topic};
    use crate::kafka::inspect::Known;

    #[test]
    fn copies_are_counted() {
        #[track_caller]
        fn case(state: TopicState, entries: &[(&str, &str)], expected: Option<Level>) {
            let topic = TopicFacts { known: Known::There(state), ..topic(entries) };
            let found = findings(&config(&[]), &topic, &state);
            assert_eq!(found.first().map(|finding| finding.level), expected, "{found:#?}");
        }
        case(STATE, &[], None);
        case(
            TopicState { copies: 1, in_sync: 1, ..STATE },
            &[("min.insync.replicas", "1")],
            Some(Level::Warning),
        );
        case(STATE, &[("min.insync.replicas", "1")], Some(Level::Warning));
        case(STATE, &[("min.insync.replicas", "3")], Some(Level::Warning));
        case(TopicState { in_sync: 1, ..STATE }, &[], Some(Level::Problem));
        case(TopicState { leaderless: true, ..STATE }, &[], Some(Level::Problem));
        case(STATE, &[("unclean.leader.election.enable", "true")], Some(Level::Warning));
    }
}
