//! One entry of a topic's configuration (`DescribeConfigs`).
//!
//! The `rdkafka` crate asks this with a client of its own; the producer is connected already.

use std::ffi::CString;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;

use super::{ClientError, Event, Handle, error_of, invalid, text};

/// Destroyed with the question that it was made for.
struct Resource(NonNull<rd::rd_kafka_ConfigResource_t>);

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_ConfigResource_destroy(self.0.as_ptr()) }
    }
}

impl Handle {
    /// The value of one entry of a topic's configuration, with the broker's default where the
    /// topic has none. Blocks for `limit` and a second at most.
    ///
    /// # Errors
    /// The right `DescribeConfigs` is missing, the topic is unknown, or no broker answered in time.
    pub fn topic_config(
        &self,
        topic: &str,
        entry: &str,
        limit: Duration,
    ) -> Result<Option<String>, ClientError> {
        let name = CString::new(topic).map_err(|_| invalid("a topic name holds a NUL byte"))?;
        let (options, queue) =
            self.question(rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, limit)?;
        // SAFETY: the name is NUL-terminated and copied.
        let resource = unsafe {
            rd::rd_kafka_ConfigResource_new(
                rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                name.as_ptr(),
            )
        };
        let resource =
            Resource(NonNull::new(resource).ok_or_else(|| invalid("no resource for a question"))?);
        let mut resources = [resource.0.as_ptr()];
        // SAFETY: all are alive; the question takes copies of the one resource and of the options.
        unsafe {
            rd::rd_kafka_DescribeConfigs(
                self.0.rk.as_ptr(),
                resources.as_mut_ptr(),
                resources.len(),
                options.as_ptr(),
                queue.as_ptr(),
            );
        }
        value(&queue.answer(limit)?, entry)
    }
}

fn value(event: &Event, entry: &str) -> Result<Option<String>, ClientError> {
    let mut count = 0;
    // SAFETY: the event is alive; a result of another kind is null and not used. The array has
    // `count` elements, of which the first is read only if there is one; all live as long as the
    // event.
    let resource = unsafe {
        let result = rd::rd_kafka_event_DescribeConfigs_result(event.0.as_ptr());
        if result.is_null() {
            return Err(invalid("the answer is to another question"));
        }
        let resources = rd::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        if resources.is_null() || count == 0 {
            return Err(invalid("the answer names no topic"));
        }
        *resources
    };
    // SAFETY: the resource lives as long as the event.
    let code = unsafe { rd::rd_kafka_ConfigResource_error(resource) };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(error_of(code));
    }
    let mut count = 0;
    // SAFETY: as above.
    let entries = unsafe { rd::rd_kafka_ConfigResource_configs(resource, &raw mut count) };
    if entries.is_null() {
        return Ok(None);
    }
    // SAFETY: `count` pointers to entries that live as long as the event.
    let entries = unsafe { std::slice::from_raw_parts(entries, count) };
    for found in entries {
        // SAFETY: as above; a name is never null, a value is for an entry that is secret.
        let (name, value) = unsafe {
            (rd::rd_kafka_ConfigEntry_name(*found), rd::rd_kafka_ConfigEntry_value(*found))
        };
        if text(name) == entry {
            return Ok((!value.is_null()).then(|| text(value)));
        }
    }
    Ok(None)
}
