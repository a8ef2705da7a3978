//! walpost's own topics, and those that the newest rows would go to.

use super::brokers::{Cluster, TopicFacts, Topics};
use super::remedy::{allow, create_topic, set_topic};
use super::{Finding, Remedy};
use crate::config::{Config, OnBadRow};
use crate::kafka::inspect::{Entries, Known, TopicState};
use crate::kafka::topics::{CHECKPOINT_CONFIG, DEAD_LETTER_CONFIG};
use crate::status::HaltCode;

/// What Kafka adds to the largest event in a batch of its own: the batch's header (61 bytes), the
/// record's lengths, and a few bytes a header.
/// Source: Kafka documentation, "Message Format".
const RECORD_OVERHEAD: usize = 1024;

/// Findings of all topics that were asked for.
pub(super) fn findings(config: &Config, cluster: &Cluster, topics: &Topics) -> Vec<Finding> {
    let broker = cluster.broker.as_ref();
    let mut findings = checkpoint(config, &topics.checkpoint);
    findings.extend(letters(config, &topics.letters));
    for topic in &topics.events {
        findings.extend(events(config, broker, topic));
    }
    findings.extend(rights(config, &topics.checkpoint, (true, true)));
    if config.on_bad_row == OnBadRow::DeadLetter {
        findings.extend(rights(config, &topics.letters, (false, true)));
    }
    for topic in &topics.events {
        findings.extend(rights(config, topic, (false, true)));
    }
    findings
}

/// Whether our user may read and write a topic, as `needed` says.
fn rights(config: &Config, topic: &TopicFacts, needed: (bool, bool)) -> Option<Finding> {
    let check = "kafka_rights";
    let name = &topic.name;
    if !matches!(topic.known, Known::There(_)) {
        return None;
    }
    let Some(rights) = topic.rights else {
        return Some(Finding::ok(
            check,
            format!("whether walpost may write to topic {name} is not visible without writing"),
        ));
    };
    let missing: Vec<_> =
        [(needed.0 && !rights.read, "Read"), (needed.1 && !rights.write, "Write")]
            .into_iter()
            .filter_map(|(missing, operation)| missing.then_some(operation))
            .collect();
    if missing.is_empty() {
        return Some(Finding::ok(check, format!("walpost may use topic {name}")));
    }
    Some(
        Finding::problem(
            check,
            format!("walpost's Kafka user has no {} on topic {name}", missing.join(" and ")),
            "without it walpost stands still",
            allow(config, &missing, name),
        )
        .halts(HaltCode::Authorization),
    )
}

fn entry<'a>(topic: &'a TopicFacts, name: &str) -> Option<&'a str> {
    topic.entries.as_ref()?.get(name).map(String::as_str)
}

/// A topic that is forbidden or was not answered for.
fn unseen(
    check: &'static str,
    config: &Config,
    topic: &TopicFacts,
    operations: &[&str],
) -> Option<Finding> {
    let name = &topic.name;
    match &topic.known {
        Known::Forbidden => Some(
            Finding::problem(
                check,
                format!("walpost's Kafka user may not see topic {name}"),
                "walpost writes there",
                allow(config, operations, name),
            )
            .halts(HaltCode::Authorization),
        ),
        Known::Unanswered(text) => Some(Finding::problem(
            check,
            format!("the brokers do not answer for topic {name}: {text}"),
            "walpost writes there",
            Remedy::note("look at the brokers' logs"),
        )),
        Known::There(_) | Known::Missing => None,
    }
}

fn checkpoint(config: &Config, topic: &TopicFacts) -> Vec<Finding> {
    let check = "checkpoint_topic";
    let name = &topic.name;
    if let Some(unseen) = unseen(check, config, topic, &["Read", "Write", "Describe"]) {
        return vec![unseen];
    }
    let Known::There(state) = &topic.known else {
        return vec![own_missing(check, config, topic, CHECKPOINT_CONFIG)];
    };
    if state.partitions != 1 {
        return vec![
            Finding::problem(
                check,
                format!("the checkpoint topic {name} has {} partitions", state.partitions),
                "the order of the checkpoints is lost with more than one",
                create_topic(config, &format!("{name}.1"), 1, CHECKPOINT_CONFIG)
                    .or_variable("WALPOST_CHECKPOINT_TOPIC", &format!("{name}.1"))
                    .then("or delete the topic if it is not walpost's; the stored checkpoint is in it"),
            )
            .halts(HaltCode::NotReady),
        ];
    }
    let mut findings = Vec::new();
    match entry(topic, "cleanup.policy") {
        Some("compact") | None => {}
        Some(policy) => findings.push(
            Finding::problem(
                check,
                format!("the checkpoint topic {name} has cleanup.policy={policy}"),
                "the checkpoint would be deleted after a while",
                set_topic(config, name, "cleanup.policy", "compact"),
            )
            .halts(HaltCode::NotReady),
        ),
    }
    findings.extend(copies(config, topic, state));
    if findings.is_empty() {
        findings.push(Finding::ok(check, seen(topic, state)));
    }
    findings
}

fn seen(topic: &TopicFacts, state: &TopicState) -> String {
    let plural = if state.partitions == 1 { "" } else { "s" };
    let entries = match &topic.entries {
        Some(_) => "",
        None => "; its configuration is not visible (DescribeConfigs)",
    };
    format!(
        "topic {}: {} partition{plural}, {} in each{entries}",
        topic.name,
        state.partitions,
        copies_in_words(state.copies)
    )
}

fn copies_in_words(copies: usize) -> String {
    if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
}

/// One of walpost's own topics is not there.
fn own_missing(
    check: &'static str,
    config: &Config,
    topic: &TopicFacts,
    entries: &[(&str, &str)],
) -> Finding {
    let name = &topic.name;
    let make = create_topic(config, name, 1, entries);
    match &topic.refused {
        None if config.create => {
            Finding::ok(check, format!("the first start makes topic {name}, which it may"))
        }
        Some(said) => Finding::problem(
            check,
            format!("topic {name} does not exist, and walpost may not make it: {said}"),
            "walpost keeps its place, and rows that become no event, in topics of its own",
            make.then("or allow walpost's Kafka user Create on the cluster or the topic"),
        )
        .halts(HaltCode::NotReady),
        None => Finding::problem(
            check,
            format!("topic {name} does not exist, and WALPOST_CREATE is false"),
            "walpost keeps its place, and rows that become no event, in topics of its own",
            make.or_variable("WALPOST_CREATE", "true"),
        )
        .halts(HaltCode::NotReady),
    }
}

fn letters(config: &Config, topic: &TopicFacts) -> Vec<Finding> {
    let check = "dead_letter_topic";
    let name = &topic.name;
    if config.on_bad_row != OnBadRow::DeadLetter {
        return vec![Finding::ok(check, "dead letters are off (WALPOST_ON_BAD_ROW)")];
    }
    if let Some(unseen) = unseen(check, config, topic, &["Write", "Describe"]) {
        return vec![unseen];
    }
    let Known::There(state) = &topic.known else {
        return vec![own_missing(check, config, topic, DEAD_LETTER_CONFIG)];
    };
    let mut findings = Vec::new();
    let policy = entry(topic, "cleanup.policy").unwrap_or("delete");
    if policy.contains("compact") {
        findings.push(Finding::problem(
            check,
            format!("the dead-letter topic {name} has cleanup.policy={policy}"),
            "of several letters with one key only the last stays, and letters without a key are refused",
            set_topic(config, name, "cleanup.policy", "delete"),
        ));
    } else if let Some(retention) = entry(topic, "retention.ms").filter(|value| *value != "-1") {
        findings.push(Finding::warning(
            check,
            format!("the dead-letter topic {name} forgets after {retention} ms (retention.ms)"),
            "a letter that nobody has dealt with until then is gone",
            set_topic(config, name, "retention.ms", "-1"),
        ));
    }
    findings.extend(size(config, topic, None));
    findings.extend(copies(config, topic, state));
    if findings.is_empty() {
        findings.push(Finding::ok(check, seen(topic, state)));
    }
    findings
}

fn events(config: &Config, broker: Option<&Entries>, topic: &TopicFacts) -> Vec<Finding> {
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
            findings.extend(copies(config, topic, state));
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
                create_topic(config, name, partitions, &[])
                    .then("or allow walpost's Kafka user Create on the cluster or the topic"),
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
fn size(config: &Config, topic: &TopicFacts, broker: Option<&Entries>) -> Option<Finding> {
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

/// How many copies there are, and how many confirm a write.
fn copies(config: &Config, topic: &TopicFacts, state: &TopicState) -> Vec<Finding> {
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
                copies_in_words(state.in_sync)
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
            format!("topic {name} has {} and min.insync.replicas=1", copies_in_words(state.copies)),
            "Kafka confirms a write that one broker has; if that one is lost, the event is lost",
            set_topic(config, name, "min.insync.replicas", "2"),
        ));
    } else if least == Some(state.copies) {
        findings.push(Finding::warning(
            check,
            format!(
                "topic {name} has {} and min.insync.replicas={}",
                copies_in_words(state.copies),
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
    use crate::check::sample::Route;

    const STATE: TopicState =
        TopicState { partitions: 1, copies: 3, in_sync: 3, leaderless: false };

    fn topic(entries: &[(&str, &str)]) -> TopicFacts {
        let mut all = Entries::from([
            ("min.insync.replicas".to_owned(), "2".to_owned()),
            ("max.message.bytes".to_owned(), "1048588".to_owned()),
        ]);
        all.extend(entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        TopicFacts {
            name: "t".to_owned(),
            known: Known::There(STATE),
            entries: Some(all),
            refused: None,
            rights: None,
            route: Route::default(),
        }
    }

    type Judge = fn(&Config, &TopicFacts) -> Vec<Finding>;

    #[track_caller]
    fn check(judge: Judge, topic: &TopicFacts, expected: (&str, Level), remedy: &str) {
        let found = judge(&config(&[]), topic);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!((found[0].check, found[0].level), expected, "{found:#?}");
        let commands = found[0].remedy.clone().unwrap_or_default().commands.join("\n");
        assert!(commands.ends_with(remedy), "{commands}");
    }

    #[test]
    fn the_checkpoint_topic_is_compacted_and_has_one_partition() {
        use Level::{Ok, Problem};
        let of = checkpoint as Judge;
        check(of, &topic(&[("cleanup.policy", "compact")]), ("checkpoint_topic", Ok), "");
        check(
            of,
            &topic(&[("cleanup.policy", "compact,delete")]),
            ("checkpoint_topic", Problem),
            "kafka-configs.sh --bootstrap-server 127.0.0.1:9092 --alter --entity-type topics \
             --entity-name t --add-config cleanup.policy=compact",
        );
        let known = Known::There(TopicState { partitions: 3, ..STATE });
        let wide = TopicFacts { known, ..topic(&[]) };
        let found = checkpoint(&config(&[]), &wide);
        assert_eq!(found.first().map(|finding| finding.level), Some(Problem));
        let forbidden = TopicFacts { known: Known::Forbidden, ..topic(&[]) };
        check(
            of,
            &forbidden,
            ("checkpoint_topic", Problem),
            "--add --allow-principal 'User:ANONYMOUS' --operation Read --operation Write \
             --operation Describe --topic t",
        );
        let missing = TopicFacts { known: Known::Missing, entries: None, ..topic(&[]) };
        check(of, &missing, ("checkpoint_topic", Ok), "");
        let refused = TopicFacts { refused: Some("no".to_owned()), ..missing };
        let found = checkpoint(&config(&[]), &refused);
        assert_eq!(found.first().map(|finding| finding.level), Some(Problem));
    }

    #[test]
    fn a_letter_stays_until_somebody_has_dealt_with_it() {
        use Level::{Ok, Problem, Warning};
        let of = letters as Judge;
        check(of, &topic(&[("retention.ms", "-1")]), ("dead_letter_topic", Ok), "");
        check(
            of,
            &topic(&[("retention.ms", "604800000")]),
            ("dead_letter_topic", Warning),
            "--add-config retention.ms=-1",
        );
        check(
            of,
            &topic(&[("cleanup.policy", "compact")]),
            ("dead_letter_topic", Problem),
            "--add-config cleanup.policy=delete",
        );
    }

    #[test]
    fn the_largest_event_fits_into_its_topic() {
        let of: Judge = |config, topic| events(config, None, topic);
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
        let of: Judge = |config, topic| events(config, None, topic);
        let compacted = topic(&[("cleanup.policy", "compact")]);
        check(of, &compacted, ("event_topic", Level::Ok), "");
        let without = TopicFacts { route: Route { null_key: true }, ..compacted };
        check(of, &without, ("event_topic", Level::Problem), "cleanup.policy=delete");
    }

    #[test]
    fn a_missing_right_has_its_command() {
        #[track_caller]
        fn case(rights_of: Option<(bool, bool)>, needed: (bool, bool), expected: &[&str]) {
            let rights_of =
                rights_of.map(|(read, write)| crate::kafka::librdkafka::Rights { read, write });
            let topic = TopicFacts { rights: rights_of, ..topic(&[]) };
            let found = rights(&config(&[]), &topic, needed).expect("a finding");
            let commands = found.remedy.unwrap_or_default().commands;
            let operations: Vec<_> = commands
                .iter()
                .flat_map(|command| command.split(' '))
                .filter(|word| ["Read", "Write"].contains(word))
                .collect();
            assert_eq!(operations, expected);
        }
        case(None, (true, true), &[]);
        case(Some((true, true)), (true, true), &[]);
        case(Some((false, true)), (false, true), &[]);
        case(Some((false, false)), (true, true), &["Read", "Write"]);
        case(Some((true, false)), (false, true), &["Write"]);
    }

    #[test]
    fn copies_are_counted() {
        #[track_caller]
        fn case(state: TopicState, entries: &[(&str, &str)], expected: Option<Level>) {
            let topic = TopicFacts { known: Known::There(state), ..topic(entries) };
            let found = copies(&config(&[]), &topic, &state);
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

    #[test]
    fn a_topic_that_nobody_makes_is_a_problem() {
        #[track_caller]
        fn case(more: &[(&str, &str)], broker: Option<&str>, expected: Level) {
            let broker = broker.map(|value| {
                Entries::from([("auto.create.topics.enable".to_owned(), value.to_owned())])
            });
            let missing = TopicFacts { known: Known::Missing, entries: None, ..topic(&[]) };
            let found = events(&config(more), broker.as_ref(), &missing);
            assert_eq!(found.first().map(|finding| finding.level), Some(expected), "{found:#?}");
        }
        case(&[], Some("true"), Level::Ok);
        case(&[], Some("false"), Level::Problem);
        case(&[], None, Level::Warning);
        case(&[("WALPOST_TOPIC_PARTITIONS", "3")], Some("false"), Level::Ok);
    }
}
