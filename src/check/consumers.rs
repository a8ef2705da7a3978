//! The consumer groups that are watched.

use super::remedy::allow_on;
use super::{Finding, Remedy};
use crate::config::Config;
use crate::kafka::client::auxiliary;
use crate::kafka::groups::{Group, Standings, State, Topics, means, patiently};
use crate::kafka::librdkafka::ClientError;
use crate::route;
use rdkafka::types::RDKafkaErrorCode;

const CHECK: &str = "consumer_groups";

/// Looks at each group as the relay would: its first stream, where there are several.
pub(super) async fn ask(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.shard_index() > 0 {
        return findings;
    }
    for name in &config.consumer_groups {
        let (client, group) = (auxiliary(&config.kafka, &config.name), name.clone());
        let template = config.events.topic.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let group = Group::new(&client, &group)?;
            let state = patiently(|| group.state())?;
            let asked = |topic: &str| route::may_become(&template, topic);
            let topics = Topics::Read { asked: &asked, members: &state.members };
            Ok((patiently(|| group.standings(topics))?, state))
        });
        let found = asked.await.unwrap_or_else(|_| {
            let message = "the question was dropped".to_owned();
            Err(ClientError { code: RDKafkaErrorCode::Fail, message })
        });
        findings.push(finding(config, name, &found));
    }
    findings
}

fn finding(
    config: &Config,
    group: &str,
    found: &Result<(Standings, State), ClientError>,
) -> Finding {
    let (standings, state) = match found {
        Ok(found) => found,
        Err(error) => return refused(config, group, error),
    };
    let members = state.members.len();
    if members == 0 && standings.is_empty() {
        return Finding::warning(
            CHECK,
            format!(
                "group {group} has no consumer, and has stored no place in a topic of this connector"
            ),
            "a group that does not exist looks the same: its lag would never be seen",
            Remedy::note(format!(
                "start its consumers once, or write WALPOST_CONSUMER_GROUPS as they have it; \
                 kafka-consumer-groups.sh --bootstrap-server {} --list names all groups",
                config.kafka.bootstrap_servers
            )),
        );
    }
    let lag: i64 = standings.values().filter_map(|standing| standing.lag()).sum();
    Finding::ok(
        CHECK,
        format!("group {group} is {}, members: {members}, records not read: {lag}", state.word),
    )
}

fn refused(config: &Config, group: &str, error: &ClientError) -> Finding {
    let remedy = if error.code == RDKafkaErrorCode::GroupAuthorizationFailed {
        allow_on(config, &["Describe"], &format!("--group {group}"))
    } else {
        Remedy::note("check that the brokers are up, and that the group's coordinator is")
    };
    Finding::warning(
        CHECK,
        means(error, group),
        "the relay works, but how far this group is behind is not seen",
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::check::publication::tests::config;
    use crate::kafka::groups::{Member, Standing};

    #[track_caller]
    fn check(found: &Result<(Standings, State), ClientError>, level: Level, text: &str) {
        let finding = finding(&config(&[]), "g", found);
        assert_eq!((finding.check, finding.level), (CHECK, level), "{finding:#?}");
        assert!(format!("{finding:?}").contains(text), "{finding:#?}");
    }

    #[test]
    fn a_group_is_at_work_or_unknown_or_hidden() {
        let state = |members: usize| State {
            word: "Stable".to_owned(),
            members: vec![Member { id: "m".to_owned(), partitions: Vec::new() }; members],
        };
        let standing = Standing { next: Some(3), low: 0, high: 10 };
        let standings = Standings::from([(("t".to_owned(), 0), standing)]);
        check(&Ok((standings.clone(), state(1))), Level::Ok, "members: 1, records not read: 7");
        check(&Ok((standings, state(0))), Level::Ok, "members: 0");
        check(&Ok((Standings::new(), state(1))), Level::Ok, "members: 1");
        check(&Ok((Standings::new(), state(0))), Level::Warning, "stored no place");
        let error = |code| ClientError { code, message: "m".to_owned() };
        let hidden = Err(error(RDKafkaErrorCode::GroupAuthorizationFailed));
        check(&hidden, Level::Warning, "--operation Describe --group g");
        check(&Err(error(RDKafkaErrorCode::OperationTimedOut)), Level::Warning, "coordinator");
    }
}
