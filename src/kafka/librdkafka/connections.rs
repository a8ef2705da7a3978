//! What librdkafka says of its connections while it works: by *interceptors*, which it calls on its own
//! threads (rdkafka.h, "Interceptors").
//!
//! No unwinding leaves them: an `extern "C"` function aborts the process at a panic (Rust reference,
//! "Panic"). The lock that they take is held for a look into a map, never while librdkafka is called; it
//! may itself hold the lock of a broker meanwhile.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr;

use super::{Client, ClientError, Conf, error_of, text};
use crate::kafka::connections::{Connections, Seen};

const NAME: &CStr = c"walpost";

impl Client {
    /// How the connections to the brokers are, and were since the last look.
    #[must_use]
    pub fn look_at_connections(&self) -> Seen {
        self.instance.connections.look()
    }
}

impl Conf {
    /// Has librdkafka tell `connections`, which the configuration's instance must not outlive.
    pub(super) fn watch_connections(
        &self,
        connections: &Arc<Connections>,
    ) -> Result<(), ClientError> {
        let opaque = Arc::as_ptr(connections).cast_mut().cast();
        // SAFETY: the configuration is alive; the name is copied; the function is of the type that is
        // asked for and lives for ever; the pointer is only handed back to it.
        let result = unsafe {
            rd::rd_kafka_conf_interceptor_add_on_new(
                self.0.as_ptr(),
                NAME.as_ptr(),
                Some(instance_made),
                opaque,
            )
        };
        if result != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error_of(result));
        }
        Ok(())
    }
}

/// The other two can only be added here, before the instance has threads ("on_new", rdkafka.h).
extern "C" fn instance_made(
    rk: *mut rd::rd_kafka_t,
    _conf: *const rd::rd_kafka_conf_t,
    opaque: *mut c_void,
    _said: *mut c_char,
    _said_size: usize,
) -> RDKafkaRespErr {
    // SAFETY: `rk` is the instance that is being made, whose threads do not run yet; the name is copied,
    // the functions are of the types that are asked for and live for ever, and `opaque` is only handed
    // back to them.
    unsafe {
        let added = rd::rd_kafka_interceptor_add_on_broker_state_change(
            rk,
            NAME.as_ptr(),
            Some(state_changed),
            opaque,
        );
        if added != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return added;
        }
        rd::rd_kafka_interceptor_add_on_response_received(
            rk,
            NAME.as_ptr(),
            Some(request_over),
            opaque,
        )
    }
}

extern "C" fn state_changed(
    _rk: *mut rd::rd_kafka_t,
    broker: i32,
    _protocol: *const c_char,
    host: *const c_char,
    port: c_int,
    state: *const c_char,
    opaque: *mut c_void,
) -> RDKafkaRespErr {
    // SAFETY: as of `connections`; the two texts are null or NUL-terminated, and live during the call.
    if let Some(connections) = unsafe { connections(opaque) } {
        connections.changed(broker, &text(host), port, &text(state));
    }
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

extern "C" fn request_over(
    _rk: *mut rd::rd_kafka_t,
    _socket: c_int,
    _broker_name: *const c_char,
    broker: i32,
    request: i16,
    _version: i16,
    _correlation: i32,
    _size: usize,
    micros: i64,
    error: RDKafkaRespErr,
    opaque: *mut c_void,
) -> RDKafkaRespErr {
    // SAFETY: as of `connections`.
    if let Some(connections) = unsafe { connections(opaque) } {
        connections.answered(broker, request, micros, error.into());
    }
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// What an interceptor was given.
///
/// # Safety
/// `opaque` is null or what `watch_connections` was given: `Instance` keeps that until librdkafka's threads
/// have ended, and it is shared by reference only.
unsafe fn connections<'a>(opaque: *mut c_void) -> Option<&'a Connections> {
    // SAFETY: as said.
    unsafe { opaque.cast::<Connections>().as_ref() }
}
