//! The topics that the newest rows would go to.

use super::brokers::TopicFacts;
use super::remedy::{create_topic, set_topic};
use super::topics::{entry, may_make, seen, unseen};
use super::{Finding, copies};
use crate::config::Config;
use crate::kafka::inspect::{Entries, Known};

/// What Kafka adds to the largest event in a batch of its own: the batch's header (61 bytes), the
/// record's lengths, and a few bytes a header.
/// Source: Kafka documentation, "Message Format".
const RECORD_OVERHEAD: usize = 1024;

/// Findings of a topic that rows go to.
pub(super) fn findings(
    config: &Config,
    broker: Option<&Entries>,
    topic: &TopicFacts,
) -> Vec<Finding> {
    let check = "event_topic";
    let name = &topic.name;
    if let Some(unseen) = unseen(check, config, topic, &["Write", "Describe"]) {
        return vec![unseen];
    }
    let mut findings = Vec::new();
    match &topic.known {
        Known::There(state) => {
            findings.extend(compacted(config, topic));
            findings.extend(size(config, topic, broker));
            findings.extend(copies::findings(config, topic, state));
            if findings.is_empty() {
                findings.push(Finding::ok(check, seen(topic, state)));
            }
        }
        Known::Missing | Known::Forbidden | Known::Unanswered(_) => {
            findings.push(event_missing(config, broker, topic));
            findings.extend(size(config, topic, broker));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, format!("topic {name}")));
    }
    findings
}

fn event_missing(config: &Config, broker: Option<&Entries>, topic: &TopicFacts) -> Finding {
    let check = "event_topic";
    let name = &topic.name;
    if let Some(partitions) = config.topic_partitions {
        return match &topic.refused {
            None => Finding::ok(
                check,
                format!("walpost makes topic {name} with {partitions} partitions, which it may"),
            ),
            Some(said) => Finding::problem(
                check,
                format!("topic {name} does not exist, and walpost may not make it: {said}"),
                "rows of it would become dead letters (unknown_topic)",
                may_make(config, &create_topic(config, name, partitions, &[]), name),
            ),
        };
    }
    match broker.and_then(|entries| entries.get("auto.create.topics.enable")).map(String::as_str) {
        Some("true") => Finding::ok(check, format!("the brokers make topic {name} on first use")),
        Some(_) => Finding::problem(
            check,
            format!(
                "topic {name} does not exist, and the brokers do not make topics (auto.create.topics.enable=false)"
            ),
            "rows of it would become dead letters (unknown_topic)",
            create_topic(config, name, 6, &[])
                .or_variable("WALPOST_TOPIC_PARTITIONS", "6")
                .then("more partitions later move keys to others, so choose enough now"),
        ),
        None => Finding::warning(
            check,
            format!(
                "topic {name} does not exist, and whether the brokers make topics is not visible"
            ),
            "if they do not, rows of it become dead letters (unknown_topic)",
            create_topic(config, name, 6, &[]).or_variable("WALPOST_TOPIC_PARTITIONS", "6"),
        ),
    }
}

fn compacted(config: &Config, topic: &TopicFacts) -> Option<Finding> {
    let policy = entry(topic, "cleanup.policy").filter(|policy| policy.contains("compact"))?;
    if !topic.route.null_key {
        return None;
    }
    Some(Finding::problem(
        "event_topic",
        format!(
            "topic {} has cleanup.policy={policy}, and rows without a key go there",
            topic.name
        ),
        "a compacted topic refuses records without a key, and such rows become dead letters",
        set_topic(config, &topic.name, "cleanup.policy", "delete")
            .then("or give every row an aggregate id"),
    ))
}

/// Whether the largest event fits.
pub(super) fn size(
    config: &Config,
    topic: &TopicFacts,
    broker: Option<&Entries>,
) -> Option<Finding> {
    let largest = config.events.max_event;
    let needed = largest.saturating_add(RECORD_OVERHEAD);
    let limit = match entry(topic, "max.message.bytes") {
        Some(limit) => limit,
        None => broker?.get("message.max.bytes")?.as_str(),
    };
    let limit: usize = limit.parse().ok().filter(|limit| *limit < needed)?;
    let name = &topic.name;
    let remedy = if matches!(topic.known, Known::There(_)) {
        set_topic(config, name, "max.message.bytes", &needed.to_string())
    } else {
        let entry = ("max.message.bytes", needed.to_string());
        let partitions = config.topic_partitions.unwrap_or(6);
        create_topic(config, name, partitions, &[(entry.0, &entry.1)])
    };
    let fitting = limit.saturating_sub(RECORD_OVERHEAD);
    let finding = Finding::problem(
        "topic_size",
        format!(
            "topic {name} takes messages of at most {limit} bytes, and WALPOST_MAX_EVENT is {largest}"
        ),
        "the brokers refuse a larger event, and its row becomes a dead letter (refused_by_broker)",
        remedy.or_variable("WALPOST_MAX_EVENT", &format!("{fitting}B")),
    );
    Some(if topic.name == config.dlq_topic {
        Finding {
            why: "a letter keeps its row's payload; one that the brokers refuse stops the stream",
            ..finding
        }
    } else {
        finding
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::sample::Route;
    use crate::check::topics::tests::{Judge, check, topic};

    #[test]
    fn the_largest_event_fits_into_its_topic() {
        let of: Judge = |config, topic| findings(config, None, topic);
        check(of, &topic(&[]), ("event_topic", Level::Ok), "");
        check(of, &topic(&[("max.message.bytes", "1001024")]), ("event_topic", Level::Ok), "");
        check(
            of,
            &topic(&[("max.message.bytes", "1001023")]),
            ("topic_size", Level::Problem),
            "--add-config max.message.bytes=1001024",
        );
    }

    #[test]
    fn rows_without_a_key_do_not_go_into_a_compacted_topic() {
        let of: Judge = |config, topic| findings(config, None, topic);
        let compacted = topic(&[("cleanup.policy", "compact")]);
        check(of, &compacted, ("event_topic", Level::Ok), "");
        let without = TopicFacts { route: Route { null_key: true }, ..compacted };
        check(of, &without, ("event_topic", Level::Problem), "cleanup.policy=delete");
    }

    #[test]
    fn a_topic_that_nobody_makes_is_a_problem() {
        #[track_caller]
        fn case(more: &[(&str, &str)], broker: Option<&str>, expected: Level) {
            let broker = broker.map(|value| {
                Entries::from([("auto.create.topics.enable".to_owned(), value.to_owned())])
            });
            let missing = TopicFacts { known: Known::Missing, entries: None, ..topic(&[]) };
            let found = findings(&config(more), broker.as_ref(), &missing);
            assert_eq!(found.first().map(|finding| finding.level), Some(expected), "{found:#?}");
        }
        case(&[], Some("true"), Level::Ok);
        case(&[], Some("false"), Level::Problem);
        case(&[], None, Level::Warning);
        case(&[("WALPOST_TOPIC_PARTITIONS", "3")], Some("false"), Level::Ok);
    }
}
