//! How the producer's connections to the brokers are.
//!
//! librdkafka has statistics of this, and they are not asked for: with `statistics.interval.ms` each
//! topic gets two histograms, made for the largest message and the longest batch
//! (`rkt_avg_batchsize` and `rkt_avg_batchcnt`, rdkafka_topic.c 2.12.1), 34 kB a topic as measured,
//! and its count of retries leaves out the records, which go back to their partition's queue
//! (`rd_kafka_toppar_retry_msgq`) instead of being "retried". So it is asked to call here when a
//! connection's state changes and when a request is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode;

use super::certificates::BROKERS_MAX;

/// The states of librdkafka's in which requests can be sent (`rd_kafka_broker_state_names`).
const UP: [&str; 3] = ["UP", "UPDATE", "REAUTH"];

/// The state before there was a reason to connect.
const INIT: &str = "INIT";

/// The number of a broker in the cluster begins here; less is an address of `bootstrap.servers`, or the
/// coordinator of transactions, which are other names of brokers that have a number.
const FIRST: i32 = 0;

/// `Produce`, as the protocol numbers its requests.
const PRODUCE: i16 = 0;

/// A broker that the producer has dealt with.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its address, `host:port`, as the cluster tells it.
    pub name: String,
    /// The connection is up.
    pub up: bool,
    /// Mean round trip since the last look, seconds; `None` when nothing was answered.
    pub round_trip: Option<f64>,
}

/// What a look at the connections finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Brokers by their number in the cluster, without those that there was no reason to connect to.
    pub brokers: Vec<Broker>,
    /// Requests with records that got no answer since the last look, because the connection ended or
    /// the time was over; librdkafka sends their records again.
    pub retries: u64,
}

/// What librdkafka's threads have said of the connections.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    brokers: BTreeMap<i32, Connection>,
    retries: u64,
}

#[derive(Debug, Default)]
struct Connection {
    name: String,
    up: bool,
    answers: u32,
    /// Of the answers together.
    waited: Duration,
}

impl Connections {
    /// A connection has another state now.
    pub(super) fn changed(&self, broker: i32, host: &str, port: i32, state: &str) {
        if broker < FIRST {
            return;
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = told.brokers.len() >= BROKERS_MAX;
        if !told.brokers.contains_key(&broker) && (full || state == INIT) {
            return;
        }
        let connection = told.brokers.entry(broker).or_default();
        connection.name = format!("{host}:{port}");
        connection.up = UP.contains(&state);
    }

    /// A request got its answer after so many microseconds, or none.
    pub(super) fn answered(&self, broker: i32, request: i16, micros: i64, error: RDKafkaErrorCode) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (error, u64::try_from(micros)) {
            (RDKafkaErrorCode::NoError, Ok(micros)) => {
                if let Some(connection) = told.brokers.get_mut(&broker) {
                    connection.answers = connection.answers.saturating_add(1);
                    connection.waited =
                        connection.waited.saturating_add(Duration::from_micros(micros));
                }
            }
            (
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut,
                _,
            ) if request == PRODUCE => told.retries += 1,
            _ => {}
        }
    }

    /// What there is to tell, since the last look.
    pub(super) fn look(&self) -> Seen {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let retries = std::mem::take(&mut told.retries);
        let brokers = told.brokers.values_mut().map(|connection| {
            let answers = std::mem::take(&mut connection.answers);
            let waited = std::mem::take(&mut connection.waited);
            Broker {
                name: connection.name.clone(),
                up: connection.up,
                round_trip: (answers > 0).then(|| waited.as_secs_f64() / f64::from(answers)),
            }
        });
        Seen { brokers: brokers.collect(), retries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(seen: Seen) -> Vec<(String, bool, Option<f64>)> {
        seen.brokers.into_iter().map(|broker| (broker.name, broker.up, broker.round_trip)).collect()
    }

    #[test]
    fn a_broker_is_told_once_there_was_a_reason_to_connect_to_it() {
        let connections = Connections::default();
        connections.changed(-1, "bootstrap", 9092, "UP");
        connections.changed(2, "b", 9092, "INIT");
        assert_eq!(connections.look(), Seen::default());
        connections.changed(2, "b", 9092, "TRY_CONNECT");
        connections.changed(1, "a", 9092, "UP");
        assert_eq!(
            brokers(connections.look()),
            [("a:9092".to_owned(), true, None), ("b:9092".to_owned(), false, None)]
        );
        connections.changed(1, "a", 9092, "INIT");
        connections.changed(2, "b", 9093, "UPDATE");
        assert_eq!(
            brokers(connections.look()),
            [("a:9092".to_owned(), false, None), ("b:9093".to_owned(), true, None)]
        );
    }

    #[test]
    fn a_round_trip_is_the_mean_since_the_last_look() {
        let connections = Connections::default();
        connections.changed(1, "a", 9092, "UP");
        let answered = |broker, micros| {
            connections.answered(broker, PRODUCE, micros, RDKafkaErrorCode::NoError);
        };
        answered(1, 1_000);
        answered(1, 2_000);
        answered(-1, 9_000);
        answered(1, -1);
        let round_trip = || connections.look().brokers[0].round_trip;
        assert_eq!(round_trip(), Some(0.0015));
        assert_eq!(round_trip(), None);
    }

    #[test]
    fn records_that_got_no_answer_are_sent_again() {
        let connections = Connections::default();
        let over = |request, error| connections.answered(1, request, -1, error);
        over(PRODUCE, RDKafkaErrorCode::BrokerTransportFailure);
        over(PRODUCE, RDKafkaErrorCode::OperationTimedOut);
        over(PRODUCE, RDKafkaErrorCode::BrokerDestroy);
        // Metadata.
        over(3, RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(connections.look().retries, 2);
        assert_eq!(connections.look().retries, 0);
    }
}
