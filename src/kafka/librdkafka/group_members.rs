//! Who is in a consumer group, and what each reads.
//!
//! The `rdkafka` crate offers only the old question for groups, which asks every broker, knows
//! nothing of groups of the newer protocol (KIP-848), and leaves out in silence a group that we
//! may not see. This one says all of it.
//!
//! librdkafka would find the group's coordinator by itself, and must not be let: where that takes
//! longer than the question may wait, it goes on after the question has ended, and as soon as the
//! coordinator is there it uses what was freed with the question, and ends the process
//! (`rd_kafka_enq_once_del_source_return: Assertion eonce->refcnt > 0`; 2.12.1, issue 4605 of
//! librdkafka, pull request 5397). A question to a broker that is named takes another way
//! (rdkafka_admin.c, `rd_kafka_admin_worker`): whoever asks tries the brokers.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::question::prepare;
use super::{ClientError, Event, error_of, invalid, text};

/// A consumer group as its coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Kafka's word: `Stable`, `Empty`, `PreparingRebalance`, …; `Dead` for one that it does not
    /// know.
    pub word: String,
    /// By their ids.
    pub members: Vec<Member>,
}

/// One consumer of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Given by the coordinator, new each time it joins.
    pub id: String,
    /// What it reads, in order.
    pub partitions: Vec<(String, i32)>,
}

/// Asks a broker who is in a group. Blocks for `limit` and a second at most.
///
/// # Errors
/// The broker is not the group's coordinator, or did not answer in time; the right Describe on the
/// group is missing.
pub fn describe_group(
    client: &BaseConsumer,
    group: &str,
    broker: i32,
    limit: Duration,
) -> Result<Described, ClientError> {
    let name = CString::new(group).map_err(|_| invalid("a group's name holds a NUL byte"))?;
    let rk = client.client().native_ptr();
    let kind = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: the instance lives as long as the client, which outlives this call.
    let (options, queue) = unsafe { prepare(rk, kind, limit) }?;
    // SAFETY: the options are alive; a null buffer of length 0 is allowed for the text of the error.
    let named = unsafe {
        rd::rd_kafka_AdminOptions_set_broker(options.as_ptr(), broker, ptr::null_mut(), 0)
    };
    if named != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(error_of(named));
    }
    let mut names = [name.as_ptr()];
    // SAFETY: one NUL-terminated name, which the question copies, as it does the options.
    unsafe {
        rd::rd_kafka_DescribeConsumerGroups(
            rk,
            names.as_mut_ptr(),
            names.len(),
            options.as_ptr(),
            queue.as_ptr(),
        );
    }
    answer(&queue.answer(limit)?)
}

fn answer(event: &Event) -> Result<Described, ClientError> {
    let mut count = 0;
    // SAFETY: the event is alive; a result of another kind is null and not used. The array has
    // `count` elements, of which the first is read only if there is one; all live as long as the
    // event.
    let group = unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event.0.as_ptr());
        if result.is_null() {
            return Err(invalid("the answer is to another question"));
        }
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Err(invalid("the answer names no group"));
        }
        *groups
    };
    // SAFETY: the group lives as long as the event; a null error is "no error" to
    // `rd_kafka_error_code` (rdkafka.h).
    let code =
        unsafe { rd::rd_kafka_error_code(rd::rd_kafka_ConsumerGroupDescription_error(group)) };
    if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        let error = error_of(code);
        if error.code == RDKafkaErrorCode::GroupIdNotFound {
            return Ok(Described { word: "Dead".to_owned(), members: Vec::new() });
        }
        return Err(error);
    }
    // SAFETY: as above; the name of a state is a static text.
    let (word, count) = unsafe {
        let state = rd::rd_kafka_ConsumerGroupDescription_state(group);
        let word = text(rd::rd_kafka_consumer_group_state_name(state));
        (word, rd::rd_kafka_ConsumerGroupDescription_member_count(group))
    };
    let mut members: Vec<_> = (0..count)
        .filter_map(|index| {
            // SAFETY: the index is below the count; a member lives as long as the event, and so do
            // its id and its partitions, which are null where it has none.
            unsafe {
                let member = rd::rd_kafka_ConsumerGroupDescription_member(group, index);
                if member.is_null() {
                    return None;
                }
                let assignment = rd::rd_kafka_MemberDescription_assignment(member);
                let partitions = if assignment.is_null() {
                    Vec::new()
                } else {
                    partitions(rd::rd_kafka_MemberAssignment_partitions(assignment))
                };
                Some(Member {
                    id: text(rd::rd_kafka_MemberDescription_consumer_id(member)),
                    partitions,
                })
            }
        })
        .collect();
    members.sort();
    Ok(Described { word, members })
}

/// # Safety
/// The list is null, or alive and not written to.
unsafe fn partitions(list: *const rd::rd_kafka_topic_partition_list_t) -> Vec<(String, i32)> {
    // SAFETY: by the contract; null is no reference.
    let Some(list) = (unsafe { list.as_ref() }) else { return Vec::new() };
    let count = usize::try_from(list.cnt).unwrap_or(0);
    if list.elems.is_null() || count == 0 {
        return Vec::new();
    }
    // SAFETY: `elems` has `cnt` elements, whose topics are NUL-terminated (rdkafka.h).
    let elements = unsafe { std::slice::from_raw_parts(list.elems, count) };
    let mut found: Vec<_> =
        elements.iter().map(|element| (text(element.topic), element.partition)).collect();
    found.sort();
    found
}
