//! Whether the brokers can keep walpost's transactions, in exactly-once.

use super::brokers::Cluster;
use super::remedy::allow_on;
use super::transactional_id::Right;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::kafka::inspect::Entries;
use crate::kafka::transaction;
use crate::status::HaltCode;

const CHECK: &str = "transactions";

/// As the rights on topics are called.
const RIGHT: &str = "kafka_rights";

/// Findings of a cluster of so many brokers, in exactly-once.
pub(super) fn findings(config: &Config, cluster: &Cluster) -> Vec<Finding> {
    judge(config, cluster.broker.as_ref(), cluster.brokers)
}

fn judge(config: &Config, broker: Option<&Entries>, brokers: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let number = |name: &str| broker?.get(name)?.parse::<u128>().ok();
    let Some(longest) = number("transaction.max.timeout.ms") else {
        findings.push(Finding::ok(
            CHECK,
            "what the brokers allow a transaction is not visible: walpost's user has no DescribeConfigs on the cluster",
        ));
        return findings;
    };
    let ours = transaction::timeout(config.transaction_interval).as_millis();
    if ours > longest {
        findings.push(Finding::problem(
            CHECK,
            format!("walpost's transactions may be open for {ours} ms, and the brokers allow {longest} ms"),
            "the brokers refuse the first transaction, and walpost would try again for ever",
            Remedy::note(format!(
                "set transaction.max.timeout.ms={ours} in server.properties and restart the brokers one by one; or lower WALPOST_TRANSACTION_INTERVAL, on top of which come 60 s"
            )),
        ));
    } else {
        findings.push(Finding::ok(
            CHECK,
            format!(
                "a transaction may be open for {ours} ms, of {longest} ms that the brokers allow"
            ),
        ));
    }
    let copies = number("transaction.state.log.replication.factor");
    let least = number("transaction.state.log.min.isr");
    let most = brokers as u128;
    if let Some(needed) = copies.max(least).filter(|needed| *needed > most) {
        findings.push(Finding::problem(
            CHECK,
            format!("the brokers' log of transactions is to have {needed} copies, and brokers there are {brokers}"),
            "no transaction can begin until it was once made with so many copies",
            Remedy::note(
                "start more brokers; for a test with one of them set transaction.state.log.replication.factor=1 and transaction.state.log.min.isr=1 in server.properties",
            ),
        ));
    } else if copies == Some(1) {
        findings.push(Finding::warning(
            CHECK,
            "the brokers' log of transactions has 1 copy",
            "without the broker that has it no transaction begins or ends, and what it loses can no longer be told",
            Remedy::note(
                "set transaction.state.log.replication.factor=3 and transaction.state.log.min.isr=2 in server.properties before the first transaction; for a log that is there, kafka-reassign-partitions.sh on topic __transaction_state",
            ),
        ));
    }
    findings
}

/// The right to write under the transactional id.
pub(super) fn right(config: &Config, right: &Right) -> Finding {
    let id = transaction::id(&config.transactional_name());
    let allow = allow_on(config, &["Describe", "Write"], &format!("--transactional-id {id}"));
    let unknown = |why: &str| Finding {
        remedy: Some(allow.clone().then("only where the brokers have ACLs")),
        ..Finding::ok(
            RIGHT,
            format!(
                "whether walpost may write under the transactional id {id} is not known: {why}"
            ),
        )
    };
    match right {
        Right::Given => {
            Finding::ok(RIGHT, format!("walpost may write under the transactional id {id}"))
        }
        Right::Refused => Finding::problem(
            RIGHT,
            format!("walpost's Kafka user has no Write on the transactional id {id}"),
            "without it no transaction can begin, and walpost stands still",
            allow,
        )
        .halts(HaltCode::Authorization),
        Right::NotAsked(why) => unknown(why),
        Right::Unanswered(said) => unknown(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;

    #[track_caller]
    fn check(interval: &str, brokers: usize, entries: &[(&str, &str)], expected: &[Level]) {
        let config = config(&[
            ("WALPOST_DELIVERY", "exactly-once"),
            ("WALPOST_TRANSACTION_INTERVAL", interval),
        ]);
        let entries =
            entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = judge(&config, Some(&entries), brokers);
        let levels: Vec<_> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, expected, "{found:#?}");
    }

    #[test]
    fn the_time_out_of_a_transaction_is_held_against_what_the_brokers_allow() {
        let allowed = |longest| [("transaction.max.timeout.ms", longest)];
        check("100ms", 3, &allowed("900000"), &[Level::Ok]);
        check("100ms", 3, &allowed("60000"), &[Level::Problem]);
        check("1m", 3, &allowed("90000"), &[Level::Problem]);
        check("100ms", 3, &[], &[Level::Ok]);
    }

    #[test]
    fn the_log_of_transactions_needs_as_many_brokers_as_copies() {
        let log = |copies, least| {
            [
                ("transaction.max.timeout.ms", "900000"),
                ("transaction.state.log.replication.factor", copies),
                ("transaction.state.log.min.isr", least),
            ]
        };
        check("100ms", 3, &log("3", "2"), &[Level::Ok]);
        check("100ms", 1, &log("3", "2"), &[Level::Ok, Level::Problem]);
        check("100ms", 1, &log("1", "2"), &[Level::Ok, Level::Problem]);
        check("100ms", 1, &log("1", "1"), &[Level::Ok, Level::Warning]);
    }

    #[test]
    fn a_right_that_is_missing_is_named_with_the_command_that_gives_it() {
        #[track_caller]
        fn check(right: &Right, level: Level) {
            let config = config(&[("WALPOST_DELIVERY", "exactly-once"), ("WALPOST_NAME", "shop")]);
            let found = super::right(&config, right);
            assert_eq!(found.level, level, "{found:#?}");
            if *right != Right::Given {
                let command = found.remedy.expect("a remedy").commands.concat();
                assert!(command.contains("--operation Write --transactional-id walpost.shop"));
            }
        }
        check(&Right::Given, Level::Ok);
        check(&Right::Refused, Level::Problem);
        check(&Right::NotAsked("why"), Level::Ok);
        check(&Right::Unanswered("timed out".to_owned()), Level::Ok);
    }
}
