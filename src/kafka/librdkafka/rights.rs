//! What walpost's user may do with a topic, as the brokers say it (KIP-430).
//!
//! The `rdkafka` crate does not offer this question.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;

use super::{ClientError, Event, Handle, error_of, invalid, take_error};

/// The operations on a topic that walpost needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// `Read`
    pub read: bool,
    /// `Write`
    pub write: bool,
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
        let (options, queue) =
            self.question(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, limit)?;
        // SAFETY: the options are alive; an error is ours, and null means that there is none.
        let refused = unsafe {
            rd::rd_kafka_AdminOptions_set_include_authorized_operations(options.as_ptr(), 1)
        };
        if let Some(error) = take_error(refused) {
            return Err(error);
        }
        let mut names = [name.as_ptr()];
        // SAFETY: one NUL-terminated name, copied by the first call; the question takes its own
        // copy of the collection and of the options, as the examples in rdkafka.h do.
        unsafe {
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            rd::rd_kafka_DescribeTopics(rk, topics, options.as_ptr(), queue.as_ptr());
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
        answer(&queue.answer(limit)?)
    }
}

fn answer(event: &Event) -> Result<Option<Rights>, ClientError> {
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
