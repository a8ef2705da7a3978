//! A question of librdkafka's administration calls, asked by the instance that is there already.

use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::{ClientError, Event, Handle, error_of, invalid, milliseconds};

/// Destroyed with the question that it was made for.
pub(super) struct Options(NonNull<rd::rd_kafka_AdminOptions_t>);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

impl Options {
    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

/// Where the answer arrives.
pub(super) struct Queue(NonNull<rd::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; librdkafka keeps a reference of its own for an answer
        // that is still to come.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Queue {
    pub(super) fn as_ptr(&self) -> *mut rd::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// The answer. Blocks for `limit` and a second at most: the question itself ends at `limit`.
    ///
    /// # Errors
    /// None came in time, or it says that the question failed as a whole.
    pub(super) fn answer(&self, limit: Duration) -> Result<Event, ClientError> {
        let patience = milliseconds(limit.saturating_add(Duration::from_secs(1)));
        // SAFETY: the queue is alive; the event is ours.
        let event = unsafe { rd::rd_kafka_queue_poll(self.0.as_ptr(), patience) };
        let event = Event(NonNull::new(event).ok_or_else(|| ClientError {
            code: RDKafkaErrorCode::OperationTimedOut,
            message: "no answer".to_owned(),
        })?);
        // SAFETY: the event is alive, and any event has an error code.
        let code = unsafe { rd::rd_kafka_event_error(event.0.as_ptr()) };
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            Ok(event)
        } else {
            Err(error_of(code))
        }
    }
}

impl Handle {
    /// Options for one question of this kind, and a queue for its answer.
    pub(super) fn question(
        &self,
        kind: rd::rd_kafka_admin_op_t,
        limit: Duration,
    ) -> Result<(Options, Queue), ClientError> {
        // SAFETY: the instance lives as long as this handle.
        unsafe { prepare(self.0.rk.as_ptr(), kind, limit) }
    }
}

/// Options for one question of this kind, and a queue for its answer.
///
/// # Safety
/// `rk` is an instance of librdkafka that is alive as long as what is answered here.
pub(super) unsafe fn prepare(
    rk: *mut rd::rd_kafka_t,
    kind: rd::rd_kafka_admin_op_t,
    limit: Duration,
) -> Result<(Options, Queue), ClientError> {
    // SAFETY: the instance is alive; the result is owned below.
    let options = unsafe { rd::rd_kafka_AdminOptions_new(rk, kind) };
    let options =
        Options(NonNull::new(options).ok_or_else(|| invalid("no options for a question"))?);
    // SAFETY: the instance is alive; the queue is owned below.
    let queue = unsafe { rd::rd_kafka_queue_new(rk) };
    let queue = Queue(NonNull::new(queue).ok_or_else(|| invalid("no queue for an answer"))?);
    // SAFETY: the options are alive; a null buffer of length 0 is allowed for the text of the
    // error.
    let timeout = unsafe {
        rd::rd_kafka_AdminOptions_set_request_timeout(
            options.as_ptr(),
            milliseconds(limit),
            ptr::null_mut(),
            0,
        )
    };
    if timeout == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        Ok((options, queue))
    } else {
        Err(error_of(timeout))
    }
}
