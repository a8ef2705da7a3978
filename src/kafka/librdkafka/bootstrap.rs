//! The addresses that a client began with, told to it once more.

use std::ffi::{CStr, c_char};
use std::ptr;

use rdkafka::bindings as rd;

use super::Handle;

const SERVERS: &CStr = c"bootstrap.servers";

impl Handle {
    /// Tells the client its `bootstrap.servers` again. It connects to them if it knows no other
    /// broker; what it has enqueued, its number and its epoch stay. Does not block.
    ///
    /// For a client that has forgotten all brokers. One that is told in a metadata answer that there
    /// are none drops those it knows, and those it began with too, and may never ask anybody again:
    /// it stops the timer by which it would begin anew, and does not set it a second time
    /// (`rd_kafka_metadata_decommission_unavailable_brokers`, `rd_kafka_rebootstrap`; librdkafka 2.10
    /// to 2.13, confluentinc/librdkafka#5301). A broker gives such an answer while the controllers do
    /// not count it among the living, as when it has just been frozen. Measured with librdkafka 2.12.1
    /// and Kafka 4.3.1, one broker: one freeze in about thirty.
    ///
    /// Each call adds a copy of the text to the client (`rd_kafka_brokers_add`), so it is not to be
    /// made often.
    pub fn bootstrap_again(&self) {
        // SAFETY: the instance is alive, and its configuration lives as long; the name is
        // NUL-terminated; without a buffer only the size is written, with one at most so much.
        unsafe {
            let rk = self.0.rk.as_ptr();
            let configuration = rd::rd_kafka_conf(rk);
            let mut size = 0;
            rd::rd_kafka_conf_get(configuration, SERVERS.as_ptr(), ptr::null_mut(), &raw mut size);
            let mut servers: Vec<c_char> = vec![0; size + 1];
            rd::rd_kafka_conf_get(
                configuration,
                SERVERS.as_ptr(),
                servers.as_mut_ptr(),
                &raw mut size,
            );
            // Copied by librdkafka. What it gives back is how many of them it did not know.
            rd::rd_kafka_brokers_add(rk, servers.as_ptr());
        }
    }
}
