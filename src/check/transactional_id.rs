//! Whether walpost may write under its transactional id, asked without taking it over.
//!
//! There is no question of that kind in Kafka's protocol; the right shows only when somebody takes
//! the id over, which ends the work of a walpost that runs. But the brokers look at the right first
//! and at the request after (`handleInitProducerIdRequest` of `KafkaApis.scala`, then
//! `handleInitProducerId` of `TransactionCoordinator.scala`, which looks at the time-out before it
//! looks at the id). So the request is made with a time-out that they do not allow: the answer is
//! either that the right is missing, or that the time-out is too long, and nothing has happened.

use rdkafka::types::RDKafkaErrorCode;

use super::brokers::Cluster;
use crate::config::Config;
use crate::kafka::batch_limits::BATCH_SIZE;
use crate::kafka::client::{ANSWER_LIMIT, producer_properties, transactional};
use crate::kafka::inspect::Known;
use crate::kafka::librdkafka::ClientError;

/// The brokers' log of transactions, which they make when the first client asks for it.
const LOG: &str = "__transaction_state";

/// The longest time-out that a request can name, in milliseconds; brokers allow 900000 by default.
const TOO_LONG: i32 = i32::MAX;

/// What the brokers say of the right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// walpost may.
    Given,
    /// It may not.
    Refused,
    /// The question would have changed something.
    NotAsked(&'static str),
    /// No answer, or another one.
    Unanswered(String),
}

/// Asks. `held` says that somebody reads the slot, so may be at work under the id.
pub(super) async fn ask(config: &Config, cluster: &Cluster, held: bool) -> Right {
    if matches!(cluster.topic(LOG).await, Known::Missing) {
        return Right::NotAsked("the brokers would make their log of transactions for it");
    }
    // Brokers that allow every time-out would give the id to us.
    let allowed = longest_transaction(cluster);
    if held && allowed.is_none_or(|longest| longest >= u128::from(TOO_LONG.unsigned_abs())) {
        return Right::NotAsked("a walpost may be at work under it, and would lose it");
    }
    let producer = producer_properties(
        &config.kafka,
        &config.name,
        config.events.max_event,
        false,
        BATCH_SIZE,
    );
    let mut properties =
        transactional(producer, &config.transactional_name(), config.transaction_interval);
    properties.set("transaction.timeout.ms", TOO_LONG.to_string());
    let asked = tokio::task::spawn_blocking(move || {
        let client = properties.client()?;
        let said = client.handle().init_transactions(ANSWER_LIMIT);
        client.happenings(|_| {});
        said.map_err(|refusal| refusal.error)
    });
    match asked.await {
        Ok(said) => judge(said),
        Err(_) => Right::Unanswered("the question was dropped".to_owned()),
    }
}

/// How long a transaction may be open, in milliseconds; `None` where that is not visible.
fn longest_transaction(cluster: &Cluster) -> Option<u128> {
    cluster.broker.as_ref()?.get("transaction.max.timeout.ms")?.parse().ok()
}

fn judge(said: Result<(), ClientError>) -> Right {
    let Err(error) = said else { return Right::Given };
    if error.code == RDKafkaErrorCode::InvalidTransactionTimeout {
        Right::Given
    } else if error.code == RDKafkaErrorCode::TransactionalIdAuthorizationFailed {
        Right::Refused
    } else {
        Right::Unanswered(error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_the_impossible_request_tells_the_right() {
        #[track_caller]
        fn check(code: RDKafkaErrorCode, expected: &Right) {
            let error = ClientError { code, message: "said".to_owned() };
            assert_eq!(judge(Err(error)), *expected);
        }
        check(RDKafkaErrorCode::InvalidTransactionTimeout, &Right::Given);
        check(RDKafkaErrorCode::TransactionalIdAuthorizationFailed, &Right::Refused);
        let unanswered = Right::Unanswered("said".to_owned());
        check(RDKafkaErrorCode::CoordinatorNotAvailable, &unanswered);
        check(RDKafkaErrorCode::OperationTimedOut, &unanswered);
        assert_eq!(judge(Ok(())), Right::Given);
    }
}
