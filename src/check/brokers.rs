//! Questions to Kafka. Nothing here makes a topic, not even one that brokers make when asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;

use super::login;
use super::sample::Route;
use super::{Finding, LIMIT, Remedy};
use crate::config::Config;
use crate::kafka::batch_limits::BATCH_SIZE;
use crate::kafka::client::{ANSWER_LIMIT, auxiliary, producer_properties};
use crate::kafka::inspect::{Entries, Inspector, Known};
use crate::kafka::librdkafka::{ClientError, Handle, Happening, Rights};
use crate::kafka::login::{Issuer, Login};
use crate::kafka::producer::{Producer, is_authentication};
use crate::kafka::topics::{CHECKPOINT_CONFIG, DEAD_LETTER_CONFIG, Wanted};
use crate::status::HaltCode;

const CHECK: &str = "kafka";

/// What was found, and what later questions need of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) findings: Vec<Finding>,
    /// `None` when no broker answered.
    pub(super) cluster: Option<Cluster>,
}

/// A cluster that answers.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) checkpoint_topic: Known,
    /// A broker's configuration; `None` where we may not see it.
    pub(super) broker: Option<Entries>,
    /// How many brokers there are.
    pub(super) brokers: usize,
    inspector: Arc<Inspector>,
    /// Of the producer that the relay would use.
    handle: Handle,
}

impl Cluster {
    /// A topic; it is not made.
    pub(super) async fn topic(&self, name: &str) -> Known {
        let name = name.to_owned();
        blocking(&self.inspector, move |inspector| inspector.topic(&name))
            .await
            .unwrap_or_else(|| Known::Unanswered("the question was dropped".to_owned()))
    }
}

/// A topic, as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicFacts {
    pub(super) name: String,
    pub(super) known: Known,
    /// Its configuration; `None` where we may not see it.
    pub(super) entries: Option<Entries>,
    /// Why walpost could not make it, where it would have to.
    pub(super) refused: Option<String>,
    /// What our user may do with it; `None` where the brokers do not say.
    pub(super) rights: Option<Rights>,
    pub(super) route: Route,
}

/// All topics that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topics {
    pub(super) checkpoint: TopicFacts,
    pub(super) letters: TopicFacts,
    pub(super) events: Vec<TopicFacts>,
}

/// Reaches the cluster with the very producer that the relay would use.
pub(super) async fn ask(config: &Config) -> Asked {
    let Some(login) = &config.kafka.login else { return ask_brokers(config).await };
    let (mut findings, given) = login::ask(login).await;
    if !given {
        return Asked { findings, cluster: None };
    }
    let mut asked = ask_brokers(config).await;
    findings.append(&mut asked.findings);
    Asked { findings, ..asked }
}

async fn ask_brokers(config: &Config) -> Asked {
    let properties = producer_properties(
        &config.kafka,
        &config.name,
        config.events.max_event,
        false,
        BATCH_SIZE,
    );
    let mut producer = match Producer::new(&properties) {
        Ok(producer) => producer,
        Err(error) => return Asked { findings: vec![no_client(&error)], cluster: None },
    };
    let (handle, asking) = (producer.handle(), producer.handle());
    let id = tokio::task::spawn_blocking(move || asking.cluster_id(ANSWER_LIMIT)).await;
    let mut notices = Vec::new();
    producer.happenings(|happening| {
        if let Happening::Notice(error) | Happening::Fatal(error) = happening {
            notices.push(error);
        }
    });
    let Ok(Some(id)) = id else {
        return Asked { findings: vec![unreachable(config, &notices)], cluster: None };
    };
    let inspector = match Inspector::new(&auxiliary(&config.kafka, &config.name)) {
        Ok(inspector) => Arc::new(inspector),
        Err(error) => {
            let error = ClientError {
                code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail),
                message: "the client that asks questions cannot be made".to_owned(),
            };
            return Asked { findings: vec![no_client(&error)], cluster: None };
        }
    };
    let brokers = blocking(&inspector, Inspector::brokers).await.flatten();
    let broker = match brokers {
        Some((_, first)) => within(inspector.broker_entries(first)).await,
        None => None,
    };
    let count = brokers.map_or_else(String::new, |(count, _)| format!(", brokers: {count}"));
    let findings = vec![Finding::ok(
        CHECK,
        format!("cluster {id} at {}{count}, {}", config.kafka.bootstrap_servers, security(config)),
    )];
    let topic = config.checkpoint_topic.clone();
    let checkpoint_topic = blocking(&inspector, move |inspector| inspector.topic(&topic))
        .await
        .unwrap_or_else(|| Known::Unanswered("the question was dropped".to_owned()));
    let brokers = brokers.map_or(0, |(count, _)| count);
    let cluster = Cluster { id, checkpoint_topic, broker, brokers, inspector, handle };
    Asked { findings, cluster: Some(cluster) }
}

async fn blocking<T: Send + 'static>(
    inspector: &Arc<Inspector>,
    ask: impl FnOnce(&Inspector) -> T + Send + 'static,
) -> Option<T> {
    let inspector = Arc::clone(inspector);
    tokio::task::spawn_blocking(move || ask(&inspector)).await.ok()
}

async fn within<T, E>(question: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(LIMIT, question).await.ok()?.ok()
}

/// Asks for walpost's own topics, and for those that rows go to.
pub(super) async fn ask_for_topics(
    config: &Config,
    cluster: &Cluster,
    routes: &BTreeMap<String, Route>,
) -> Topics {
    let replication = config.topic_replication.unwrap_or(-1);
    let own = |name, entries| Wanted { name, partitions: 1, replication, config: entries };
    let create = config.create;
    let checkpoint = own(&config.checkpoint_topic, CHECKPOINT_CONFIG);
    let letters = own(&config.dlq_topic, DEAD_LETTER_CONFIG);
    let checkpoint = ask_for(cluster, checkpoint, create, Route::default()).await;
    let letters = ask_for(cluster, letters, create, Route::default()).await;
    let mut events = Vec::new();
    for (name, route) in routes {
        let partitions = config.topic_partitions.unwrap_or(1);
        let wanted = Wanted { name, partitions, replication, config: &[] };
        events.push(ask_for(cluster, wanted, config.topic_partitions.is_some(), *route).await);
    }
    Topics { checkpoint, letters, events }
}

async fn ask_for(cluster: &Cluster, wanted: Wanted<'_>, create: bool, route: Route) -> TopicFacts {
    let name = wanted.name.to_owned();
    let inspector = &cluster.inspector;
    let known = cluster.topic(&name).await;
    let mut facts = TopicFacts { name, known, entries: None, refused: None, rights: None, route };
    match facts.known {
        Known::There(_) => {
            facts.entries = within(inspector.topic_entries(wanted.name)).await;
            let (handle, topic) = (cluster.handle.clone(), facts.name.clone());
            let rights = tokio::task::spawn_blocking(move || handle.rights(&topic, ANSWER_LIMIT));
            facts.rights = rights.await.ok().and_then(Result::ok).flatten();
        }
        Known::Missing if create => {
            let answer = tokio::time::timeout(LIMIT, inspector.could_make(wanted)).await;
            facts.refused = match answer {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer".to_owned()),
            };
        }
        Known::Missing | Known::Forbidden | Known::Unanswered(_) => {}
    }
    facts
}

/// How the connection is secured, in words.
fn security(config: &Config) -> String {
    let property = |name: &str| config.kafka.properties.get(name).map(|value| value.expose());
    let protocol = property("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    match (protocol.as_str(), property("sasl.mechanism").or_else(|| property("sasl.mechanisms"))) {
        ("plaintext", _) => "neither encrypted nor authenticated".to_owned(),
        ("ssl", _) => "encrypted".to_owned(),
        (protocol, mechanism) => {
            let encrypted = if protocol.contains("ssl") { "encrypted" } else { "not encrypted" };
            format!("{encrypted}, authenticated by {}", mechanism.unwrap_or("SASL"))
        }
    }
}

fn no_client(error: &ClientError) -> Finding {
    Finding::problem(
        CHECK,
        format!("the Kafka client cannot be made: {error}"),
        "no connection to Kafka can be made with this configuration",
        Remedy::note(
            "correct the KAFKA_ variable that sets the property; a file that it names must be readable",
        ),
    )
}

/// Says why no broker answered, from what librdkafka reported meanwhile.
fn unreachable(config: &Config, notices: &[ClientError]) -> Finding {
    let servers = &config.kafka.bootstrap_servers;
    let has = |test: &dyn Fn(&ClientError) -> bool| notices.iter().rev().find(|error| test(error));
    let problem = |error: Option<&ClientError>, why, remedy| {
        let said = error.map_or_else(
            || format!("nothing within {} s", ANSWER_LIMIT.as_secs()),
            |error| error.message.clone(),
        );
        Finding::problem(CHECK, format!("no broker answers at {servers}: {said}"), why, remedy)
    };
    if let Some(error) = has(&is_authentication) {
        let (why, remedy) = unknown(config);
        return problem(Some(error), why, Remedy::note(remedy)).halts(HaltCode::Authentication);
    }
    if let Some(error) = has(&|error| error.code == RDKafkaErrorCode::SSL) {
        return problem(
            Some(error),
            "the encrypted connection cannot be made: one side does not trust the other's certificate, or the port is not an encrypted one",
            Remedy::variable("KAFKA_SSL_CA_LOCATION", "/path/to/ca.pem")
                .then("the file holds the authority that signed the brokers' certificates; for mutual TLS set KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION too"),
        );
    }
    // librdkafka's own words for a listener that speaks TLS or SASL to a client that does not.
    if let Some(error) = has(&|error| error.message.contains("security.protocol")) {
        return problem(
            Some(error),
            "the listener on that port expects another security protocol",
            Remedy::variable("KAFKA_SECURITY_PROTOCOL", "sasl_ssl")
                .then("plaintext, ssl, sasl_plaintext or sasl_ssl, as the listener has it"),
        );
    }
    let told = has(&|error| error.code != RDKafkaErrorCode::AllBrokersDown).or(notices.last());
    problem(
        told,
        "without Kafka there is nowhere to send to; walpost would wait, and the slot holds back the log meanwhile",
        Remedy::note(
            "check KAFKA_BOOTSTRAP_SERVERS, that the brokers run and advertise addresses that can be reached from here, and KAFKA_SECURITY_PROTOCOL",
        ),
    )
}

/// Why brokers do not know us, and what to do.
fn unknown(config: &Config) -> (&'static str, &'static str) {
    match config.kafka.login.as_ref().map(Login::issuer) {
        None => (
            "the brokers do not know walpost, or not with this password",
            "check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD; kafka-configs.sh --describe --entity-type users lists SCRAM users",
        ),
        Some(Issuer::OAuth(_)) => (
            "the brokers do not take the token that the endpoint gave",
            "compare issuer, audience and scope of the token with sasl.oauthbearer.expected.issuer, sasl.oauthbearer.expected.audience and sasl.oauthbearer.jwks.endpoint.url of the brokers, their clock with the endpoint's, and check KAFKA_SASL_OAUTHBEARER_SCOPE and _EXTENSIONS",
        ),
        #[cfg(feature = "msk-iam")]
        Some(Issuer::MskIam(_)) => (
            "the brokers do not take the signed token",
            "check that the policy of this identity allows kafka-cluster:Connect on the cluster, that AWS_REGION is the cluster's, that the port is that of IAM (9098, public 9198), and the clock",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::publication::tests::config;

    #[test]
    fn an_unreachable_kafka_is_explained_by_the_most_telling_notice() {
        #[track_caller]
        fn check(notices: &[(RDKafkaErrorCode, &str)], expected: &str) {
            let notices: Vec<_> = notices
                .iter()
                .map(|(code, message)| ClientError { code: *code, message: (*message).to_owned() })
                .collect();
            let remedy = unreachable(&config(&[]), &notices).remedy.expect("a remedy");
            let text = format!("{:?} {:?}", remedy.variables, remedy.note);
            assert!(text.contains(expected), "{text}");
        }
        use RDKafkaErrorCode as Code;
        let down = (Code::AllBrokersDown, "1/1 brokers are down");
        check(&[], "KAFKA_BOOTSTRAP_SERVERS");
        check(&[(Code::BrokerTransportFailure, "refused"), down], "KAFKA_BOOTSTRAP_SERVERS");
        check(&[(Code::Authentication, "SASL authentication error"), down], "KAFKA_SASL_PASSWORD");
        check(&[(Code::SSL, "certificate verify failed"), down], "KAFKA_SSL_CA_LOCATION");
        check(
            &[(
                Code::BrokerTransportFailure,
                "might be caused by incorrect security.protocol configuration",
            )],
            "KAFKA_SECURITY_PROTOCOL=sasl_ssl",
        );
    }

    #[test]
    fn security_is_said_in_words() {
        #[track_caller]
        fn check(more: &[(&str, &str)], expected: &str) {
            assert_eq!(security(&config(more)), expected);
        }
        check(&[], "neither encrypted nor authenticated");
        check(&[("KAFKA_SECURITY_PROTOCOL", "ssl")], "encrypted");
        check(
            &[
                ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
                ("KAFKA_SASL_MECHANISM", "PLAIN"),
                ("KAFKA_SASL_USERNAME", "u"),
                ("KAFKA_SASL_PASSWORD", "p"),
            ],
            "not encrypted, authenticated by PLAIN",
        );
    }
}
