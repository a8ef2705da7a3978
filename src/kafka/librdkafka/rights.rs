//! What walpost's user may do with a topic, as the brokers say it (KIP-430).
//!
//! The `rdkafka` crate does not offer this question.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::{ClientError, Event, Handle, error_of, invalid, milliseconds, take_error};

/// The operations on a topic that walpost needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// `Read`
    pub read: bool,
    /// `Write`
    pub write: bool,
}

/// Destroyed with the question that it was made for.
struct Options(NonNull<rd::rd_kafka_AdminOptions_t>);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

/// Where the answer arrives.
struct Queue(NonNull<rd::rd_kafka_queue_t>);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once; librdkafka keeps a reference of its own for an answer
        // that is still to come.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Handle {
    /// What our user may do with a topic. Blocks for `limit` and a second at most. `None` when the
    /// brokers do not say.
    ///
    /// # Errors
    /// The topic is unknown or hidden from us, or no broker answered in time.
    pub fn rights(&self, topic: &str, limit: Duration) -> Result<Option<Rights>, ClientError> {
        let name = CString::new(topic).map_err(|_| invalid("a topic name holds a NUL byte"))?;
        let rk = self.0.rk.as_ptr();
        // SAFETY: the instance is alive; the result is owned below.
        let options = unsafe {
            rd::rd_kafka_AdminOptions_new(
                rk,
                rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            )
        };
        let options =
            Options(NonNull::new(options).ok_or_else(|| invalid("no options for a question"))?);
        // SAFETY: the instance is alive; the queue is owned below.
        let queue = unsafe { rd::rd_kafka_queue_new(rk) };
        let queue = Queue(NonNull::new(queue).ok_or_else(|| invalid("no queue for an answer"))?);
        // SAFETY: the options are alive; an error is ours, and null means that there is none. A
        // null buffer of length 0 is allowed for the text of the second call's error.
        let (refused, timeout) = unsafe {
            (
                rd::rd_kafka_AdminOptions_set_include_authorized_operations(options.0.as_ptr(), 1),
                rd::rd_kafka_AdminOptions_set_request_timeout(
                    options.0.as_ptr(),
                    milliseconds(limit),
                    ptr::null_mut(),
                    0,
                ),
            )
        };
        if let Some(error) = take_error(refused) {
            return Err(error);
        }
        if timeout != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error_of(timeout));
        }
        let mut names = [name.as_ptr()];
        // SAFETY: one NUL-terminated name, copied by the first call; the question takes its own
        // copy of the collection and of the options, as the examples in rdkafka.h do.
        let event = unsafe {
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            rd::rd_kafka_DescribeTopics(rk, topics, options.0.as_ptr(), queue.0.as_ptr());
            rd::rd_kafka_TopicCollection_destroy(topics);
            rd::rd_kafka_queue_poll(
                queue.0.as_ptr(),
                milliseconds(limit.saturating_add(Duration::from_secs(1))),
            )
        };
        let event = Event(NonNull::new(event).ok_or_else(|| ClientError {
            code: RDKafkaErrorCode::OperationTimedOut,
            message: "no answer".to_owned(),
        })?);
        answer(&event)
    }
}

fn answer(event: &Event) -> Result<Option<Rights>, ClientError> {
    // SAFETY: the event is alive, and any event has an error code.
    let code = unsafe { rd::rd_kafka_event_error(event.0.as_ptr()) };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(error_of(code));
    }
    let mut count = 0;
    // SAFETY: the event is alive; a result of another kind is null and not used. The array has
    // `count` elements, of which the first is read only if there is one; all live as long as the
    // event.
    let topic = unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event.0.as_ptr());
        if result.is_null() {
            return Err(invalid("the answer is to another question"));
        }
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return Err(invalid("the answer names no topic"));
        }
        *topics
    };
    // SAFETY: the topic lives as long as the event; a null error is "no error" to
    // `rd_kafka_error_code` (rdkafka.h).
    let code = unsafe { rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic)) };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(error_of(code));
    }
    let mut count = 0;
    // SAFETY: as above.
    let operations =
        unsafe { rd::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count) };
    if operations.is_null() {
        return Ok(None);
    }
    // SAFETY: `count` elements that live as long as the event. They are read as the numbers that
    // a C enumeration is, because one of a later librdkafka may have no name here.
    let operations = unsafe { std::slice::from_raw_parts(operations.cast::<u32>(), count) };
    let has = |operation: rd::rd_kafka_AclOperation_t| {
        let all = rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALL;
        operations.iter().any(|found| *found == operation as u32 || *found == all as u32)
    };
    Ok(Some(Rights {
        read: has(rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ),
        write: has(rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE),
    }))
}
