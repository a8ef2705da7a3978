//! walpost's own topics, and what it may do with all of them.

use super::brokers::{Cluster, TopicFacts, Topics};
use super::remedy::{allow, create_topic, set_topic};
use super::{Finding, Remedy, copies, event_topic};
use crate::config::{Config, OnBadRow};
use crate::kafka::inspect::{Known, TopicState};
use crate::kafka::topics::{CHECKPOINT_CONFIG, DEAD_LETTER_CONFIG};
use crate::status::HaltCode;

/// Findings of all topics that were asked for.
pub(super) fn findings(config: &Config, cluster: &Cluster, topics: &Topics) -> Vec<Finding> {
    let broker = cluster.broker.as_ref();
    let mut findings = checkpoint(config, &topics.checkpoint);
    findings.extend(letters(config, &topics.letters));
    for topic in &topics.events {
        findings.extend(event_topic::findings(config, broker, topic));
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

/// An entry of a topic's configuration, where it is visible.
pub(super) fn entry<'a>(topic: &'a TopicFacts, name: &str) -> Option<&'a str> {
    topic.entries.as_ref()?.get(name).map(String::as_str)
}

/// A topic that is forbidden or was not answered for.
pub(super) fn unseen(
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
    findings.extend(copies::findings(config, topic, state));
    if findings.is_empty() {
        findings.push(Finding::ok(check, seen(topic, state)));
    }
    findings
}

/// Words for a topic that is as it should be.
pub(super) fn seen(topic: &TopicFacts, state: &TopicState) -> String {
    let plural = if state.partitions == 1 { "" } else { "s" };
    let entries = match &topic.entries {
        Some(_) => "",
        None => "; its configuration is not visible (DescribeConfigs)",
    };
    format!(
        "topic {}: {} partition{plural}, {} in each{entries}",
        topic.name,
        state.partitions,
        copies::in_words(state.copies)
    )
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
            may_make(config, &make, name),
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

/// The right to make a topic, or somebody else who makes it.
pub(super) fn may_make(config: &Config, make: &Remedy, name: &str) -> Remedy {
    let command = make.commands.join("; ");
    allow(config, &["Create"], name).then(format!("or let somebody who may make it: {command}"))
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
    findings.extend(event_topic::size(config, topic, None));
    findings.extend(copies::findings(config, topic, state));
    if findings.is_empty() {
        findings.push(Finding::ok(check, seen(topic, state)));
    }
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::check::sample::Route;
    use crate::kafka::inspect::Entries;

    /// Three copies in step.
    pub(in crate::check) const STATE: TopicState =
        TopicState { partitions: 1, copies: 3, in_sync: 3, leaderless: false };

    /// A topic as it should be, with these entries.
    pub(in crate::check) fn topic(entries: &[(&str, &str)]) -> TopicFacts {
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

    pub(in crate::check) type Judge = fn(&Config, &TopicFacts) -> Vec<Finding>;

    #[track_caller]
    pub(in crate::check) fn check(
        judge: Judge,
        topic: &TopicFacts,
        expected: (&str, Level),
        remedy: &str,
    ) {
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
}
