//! librdkafka's transaction calls, as they are.
//!
//! The `rdkafka` crate offers them too, but its `commit_transaction` polls the queue in steps of
//! 100 ms, which would be the length of a transaction again. There is no call to abort one here:
//! see [`crate::kafka::transaction`].

use std::time::Duration;

use rdkafka::bindings as rd;

use super::{ClientError, Handle, milliseconds, text};

/// A transaction call that did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub error: ClientError,
    /// The same call may be made again and goes on where it was: it is still under way.
    pub resumable: bool,
}

impl Handle {
    /// Takes over the `transactional.id`: fences whoever had it, ends what it left open, and
    /// returns when that is over. Blocks for `limit` at most.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn init_transactions(&self, limit: Duration) -> Result<(), Refusal> {
        // SAFETY: the instance is alive; the result is null or ours.
        taken(unsafe { rd::rd_kafka_init_transactions(self.0.rk.as_ptr(), milliseconds(limit)) })
    }

    /// Opens a transaction. Nothing is sent, so this does not wait for a broker.
    ///
    /// # Errors
    /// The producer is in no state to do so. Inside a transaction that has failed, the error is
    /// what made it fail.
    pub fn begin_transaction(&self) -> Result<(), ClientError> {
        // SAFETY: the instance is alive; the result is null or ours.
        taken(unsafe { rd::rd_kafka_begin_transaction(self.0.rk.as_ptr()) })
            .map_err(|refusal| refusal.error)
    }

    /// Commits the open transaction. Blocks for `limit` at most, also until every report of a
    /// delivery was taken from the queue, which another thread must do.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn commit_transaction(&self, limit: Duration) -> Result<(), Refusal> {
        // SAFETY: the instance is alive; the result is null or ours.
        taken(unsafe { rd::rd_kafka_commit_transaction(self.0.rk.as_ptr(), milliseconds(limit)) })
    }
}

fn taken(error: *mut rd::rd_kafka_error_t) -> Result<(), Refusal> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, ours, read before it is destroyed, destroyed once.
    let refusal = unsafe {
        let refusal = Refusal {
            error: ClientError {
                code: rd::rd_kafka_error_code(error).into(),
                message: text(rd::rd_kafka_error_string(error)),
            },
            resumable: rd::rd_kafka_error_is_retriable(error) != 0,
        };
        rd::rd_kafka_error_destroy(error);
        refusal
    };
    Err(refusal)
}
