//! The one room that speaks to librdkafka's C API.
//!
//! The `rdkafka` crate's producers were measured and not taken for the stream of events: they
//! call back once per record from a thread of their own, want an owned header list per record,
//! and their `flush` has a grain of 100 ms. What is needed here is small: enqueue one record in
//! order without an allocation on our side, learn of deliveries in bulk as counts, and be woken
//! through a file descriptor, so that one task does it all and no lock is shared. The crate is
//! used for everything else (consumers, administration, configuration).
//!
//! Source of every contract relied on below: `rdkafka.h` of librdkafka 2.12.1.

#![expect(unsafe_code, reason = "the boundary to librdkafka; each block carries its proof")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use tokio::net::unix::pipe;

use super::certificates::Certificates;
use super::connections::Connections;
use super::login::{Login, Trouble};
use super::refusal;

mod bootstrap;
mod connections;
mod group_members;
mod question;
mod rights;
mod seat;
mod topic_config;
mod transactions;

pub use group_members::{Described, Member, describe_group};
pub use rights::Rights;
pub(super) use seat::{Seat, Seats};
pub use seat::{Seated, Token};
pub use transactions::Refusal;

/// A refusal by librdkafka, named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// librdkafka's error code.
    pub code: RDKafkaErrorCode,
    /// Its text. Never the text of a configuration error, which repeats the value.
    pub message: String,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.message, self.code)
    }
}

impl std::error::Error for ClientError {}

/// What came out of the producer's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// So many records that were enqueued under this tag are confirmed by Kafka.
    Delivered {
        /// The tag given to [`Client::produce`].
        tag: u64,
        /// How many in a row; more may follow for the same tag.
        count: u32,
        /// Bytes of their keys and values.
        bytes: u64,
        /// The topic, as [`Topic::address`] has it.
        topic: usize,
        /// The partition they went to.
        partition: i32,
    },
    /// A record will not be delivered by this producer, or it is not known whether it was.
    Failed {
        /// The tag given to [`Client::produce`].
        tag: u64,
        /// The topic it was for.
        topic: String,
        /// Why.
        error: ClientError,
    },
    /// The producer can no longer be used.
    Fatal(ClientError),
    /// Something that librdkafka deals with by itself, such as a broker that went away.
    Notice(ClientError),
    /// The transaction was not committed, or it is not known whether it was. Told by
    /// [`crate::kafka::producer::Producer`], never by librdkafka's queue.
    Transaction(ClientError),
}

/// A topic's handle, which spares librdkafka the look-up by name at each record.
#[derive(Debug)]
pub struct Topic {
    handle: NonNull<rd::rd_kafka_topic_t>,
    // Keeps the instance alive: a handle must not outlive it.
    _instance: Arc<Instance>,
}

// SAFETY: an `rd_kafka_topic_t` is reference counted and may be used from any thread (rdkafka.h,
// "Thread-safe").
unsafe impl Send for Topic {}
// SAFETY: as above; no function called here mutates it without librdkafka's own lock.
unsafe impl Sync for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle came from `rd_kafka_topic_new`, is destroyed once, and the instance
        // is alive, since `_instance` is dropped after this.
        unsafe { rd::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

impl Topic {
    /// Tells this topic from others of the same producer.
    #[must_use]
    pub fn address(&self) -> usize {
        self.handle.as_ptr().addr()
    }

    /// Where `partitioner=murmur2_random` puts a key, of so many partitions.
    #[must_use]
    pub fn partition_of(&self, key: &[u8], partitions: usize) -> usize {
        let count = i32::try_from(partitions).unwrap_or(i32::MAX).max(1);
        let key = memory(Some(key));
        // SAFETY: the topic is alive, the key is readable for its length during the call, and the two
        // opaque pointers are not used by this partitioner (rdkafka.h).
        let partition = unsafe {
            rd::rd_kafka_msg_partitioner_murmur2(
                self.handle.as_ptr(),
                key.ptr,
                key.size,
                count,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        usize::try_from(partition).unwrap_or(0)
    }
}

/// `RD_KAFKA_PARTITION_UA` (rdkafka.h): the partitioner says which.
const BY_KEY: i32 = -1;

/// Confirmed records that follow each other under one tag and in one partition.
#[derive(Clone, Copy)]
struct Run {
    tag: u64,
    count: u32,
    bytes: u64,
    topic: usize,
    partition: i32,
}

impl Run {
    fn place(&self) -> (u64, usize, i32) {
        (self.tag, self.topic, self.partition)
    }

    fn happening(self) -> Happening {
        let Self { tag, count, bytes, topic, partition } = self;
        Happening::Delivered { tag, count, bytes, topic, partition }
    }
}

/// The C handles, destroyed in the order that librdkafka wants.
struct Instance {
    rk: NonNull<rd::rd_kafka_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
    // librdkafka writes a byte here when the queue stops being empty; it must stay open until
    // `rd_kafka_destroy` has returned, because a background thread may write until then.
    _wake: OwnedFd,
    // What `certificate_shown` is given at each handshake, until `rd_kafka_destroy` has returned.
    certificates: Arc<Certificates>,
    // What the interceptors are given, until `rd_kafka_destroy` has returned.
    connections: Arc<Connections>,
    // Where it is handed tokens; left before the handles are destroyed.
    seat: Option<Seat>,
}

// SAFETY: "the librdkafka API is thread-safe" (INTRODUCTION.md, "Threads and callbacks"); the
// handles are opaque pointers that are only handed to it.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instance")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        drop(self.seat.take());
        // SAFETY: both came from librdkafka, each is destroyed once, the queue before the
        // instance it belongs to. No other reference exists: this is the last `Arc`.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_destroy(self.rk.as_ptr());
        }
    }
}

/// A producer instance.
///
/// Used by one task; [`Client::handle`] gives other threads what may be asked from anywhere.
#[derive(Debug)]
pub struct Client {
    instance: Arc<Instance>,
    woken: pipe::Receiver,
    /// Why a broker was last not spoken to, as the log had it.
    refusal: Mutex<Option<String>>,
    /// Where its tokens come from, and what was last told of that.
    login: Option<Login>,
    told: Mutex<Option<Trouble>>,
}

/// The questions that block and are therefore asked from another thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Instance>);

/// A topic as the brokers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Number of partitions; 0 where `error` is set.
    pub partitions: usize,
    /// Why it cannot be written to, as far as metadata tells.
    pub error: Option<ClientError>,
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: not null, and each caller passes a NUL-terminated string of librdkafka's that
    // lives at least until this returns.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn error_of(code: RDKafkaRespErr) -> ClientError {
    // SAFETY: takes any code, returns a static string.
    let message = text(unsafe { rd::rd_kafka_err2str(code) });
    ClientError { code: code.into(), message }
}

fn invalid(message: &str) -> ClientError {
    ClientError { code: RDKafkaErrorCode::InvalidArgument, message: message.to_owned() }
}

fn milliseconds(limit: std::time::Duration) -> c_int {
    c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX)
}

impl Client {
    /// Starts a producer with these properties, which logs in as `login` says where the properties
    /// do not. Nothing is connected yet when this returns.
    ///
    /// # Errors
    /// A property that librdkafka refuses is named, its value is not; and whatever
    /// `rd_kafka_new` says, less the values. Must be called within a Tokio runtime.
    pub fn new<'a>(
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
        login: Option<&Login>,
    ) -> Result<Self, ClientError> {
        let (sender, woken) =
            pipe::pipe().map_err(|error| invalid(&format!("no pipe for wake-ups: {error}")))?;
        let wake = sender
            .into_nonblocking_fd()
            .map_err(|error| invalid(&format!("no pipe for wake-ups: {error}")))?;
        let certificates = Arc::<Certificates>::default();
        let connections = Arc::<Connections>::default();
        let conf = Conf::new(properties, &certificates)?;
        conf.watch_connections(&connections)?;
        let mut said = [0 as c_char; 512];
        // SAFETY: `conf` is valid and given away only on success, as the manual says; `said` is
        // writable for its length.
        let rk = unsafe {
            rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
                conf.0.as_ptr(),
                said.as_mut_ptr(),
                said.len(),
            )
        };
        let Some(rk) = NonNull::new(rk) else {
            return Err(invalid(&refusal::of_start(&text(said.as_ptr()))));
        };
        conf.given_away();
        // SAFETY: `rk` is alive; the queue is a reference of our own, destroyed in `Instance`.
        let queue = unsafe { rd::rd_kafka_queue_get_main(rk.as_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: `rk` is ours and used by nobody else; `certificates` and `connections`, which
            // its threads may use until this returns, are still alive.
            unsafe { rd::rd_kafka_destroy(rk.as_ptr()) };
            return Err(invalid("librdkafka has no main queue"));
        };
        // SAFETY: a null queue means the main queue; the payload is copied by librdkafka
        // (rdkafka_queue.c), and the descriptor outlives the instance.
        unsafe {
            rd::rd_kafka_set_log_queue(rk.as_ptr(), ptr::null_mut());
            rd::rd_kafka_queue_io_event_enable(
                queue.as_ptr(),
                wake.as_raw_fd(),
                b"!".as_ptr().cast(),
                1,
            );
        }
        // SAFETY: `Instance` leaves its seat before it destroys the handle.
        let seat = login.map(|login| unsafe { login.seats().seat(rk) });
        let instance =
            Arc::new(Instance { rk, queue, _wake: wake, certificates, connections, seat });
        let login = login.cloned();
        Ok(Self { instance, woken, refusal: Mutex::default(), login, told: Mutex::default() })
    }

    /// What may be asked from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.instance))
    }

    /// Makes a topic's handle; nothing is asked of the brokers yet.
    ///
    /// # Errors
    /// A name with a NUL, and whatever librdkafka says.
    pub fn topic(&self, name: &str) -> Result<Topic, ClientError> {
        let name = CString::new(name).map_err(|_| invalid("a topic name holds a NUL byte"))?;
        // SAFETY: `rk` is alive, the name is NUL-terminated and copied, a null conf means the
        // default topic configuration.
        let handle = unsafe {
            rd::rd_kafka_topic_new(self.instance.rk.as_ptr(), name.as_ptr(), ptr::null_mut())
        };
        match NonNull::new(handle) {
            Some(handle) => Ok(Topic { handle, _instance: Arc::clone(&self.instance) }),
            // SAFETY: reads this thread's last error.
            None => Err(error_of(unsafe { rd::rd_kafka_last_error() })),
        }
    }

    /// Whether this client made the topic's handle: with another's, librdkafka does anything.
    #[must_use]
    pub fn owns(&self, topic: &Topic) -> bool {
        Arc::ptr_eq(&self.instance, &topic._instance)
    }

    /// Enqueues one record behind all that were enqueued before it. Never blocks; copies key,
    /// value and headers.
    ///
    /// # Errors
    /// `QueueFull` when librdkafka's own limit is reached: nothing was enqueued and the same
    /// record may be tried again after a delivery. Everything else ends this producer.
    pub fn produce<'a>(
        &self,
        (topic, partition): (&Topic, Option<i32>),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        tag: u64,
    ) -> Result<(), ClientError> {
        let headers = HeaderList::new(headers)?;
        let partition = partition.unwrap_or(BY_KEY);
        let tag = ptr::without_provenance_mut::<c_void>(
            usize::try_from(tag).map_err(|_| invalid("a tag is wider than a pointer"))?,
        );
        let arguments = [
            vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT, Argument { rkt: topic.handle.as_ptr() }),
            vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION, Argument { i32_: partition }),
            vu(
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                Argument { i: rd::RD_KAFKA_MSG_F_COPY },
            ),
            vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY, Argument { mem: memory(key) }),
            vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE, Argument { mem: memory(value) }),
            vu(rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE, Argument { ptr: tag }),
            vu(
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                Argument { headers: headers.0.as_ptr() },
            ),
        ];
        // SAFETY: `rk` and the topic are alive; each element has the union member that its type
        // says; key and value are readable for their length during the call and copied
        // (`MSG_F_COPY`).
        let error = unsafe {
            rd::rd_kafka_produceva(self.instance.rk.as_ptr(), arguments.as_ptr(), arguments.len())
        };
        match take_error(error) {
            None => {
                headers.given_away();
                Ok(())
            }
            Some(error) => Err(error),
        }
    }

    /// Waits until something is in the queue.
    ///
    /// Cancel safe: a wake-up that was not taken is there the next time. May return when the
    /// queue has been emptied meanwhile.
    ///
    /// # Errors
    /// An I/O error of the pipe, which does not happen while the instance lives.
    pub async fn woken(&self) -> io::Result<()> {
        let mut bytes = [0_u8; 64];
        loop {
            self.woken.readable().await?;
            match self.woken.try_read(&mut bytes) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes all that is in the queue, in order, without waiting.
    ///
    /// Deliveries that follow each other under one tag are one [`Happening`].
    pub fn happenings(&self, mut take: impl FnMut(Happening)) {
        if let Some(trouble) = self.untold_trouble() {
            take(Happening::Notice(trouble));
        }
        loop {
            // SAFETY: the queue is alive; a time-out of 0 never blocks; the event is ours.
            let event = unsafe { rd::rd_kafka_queue_poll(self.instance.queue.as_ptr(), 0) };
            let Some(event) = NonNull::new(event) else { return };
            let event = Event(event);
            match event.kind() {
                rd::RD_KAFKA_EVENT_DR => {
                    // A broker has spoken to us since, so an error that comes later has another reason.
                    self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
                    event.deliveries(&mut take);
                }
                rd::RD_KAFKA_EVENT_ERROR => take(self.error(&event)),
                rd::RD_KAFKA_EVENT_LOG => {
                    if let Some(reason) = event.log() {
                        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                    }
                }
                _ => {}
            }
        }
    }

    fn error(&self, event: &Event) -> Happening {
        // SAFETY: the event is alive and of the error kind, which these three accept.
        let (code, message, fatal) = unsafe {
            let event = event.0.as_ptr();
            (
                rd::rd_kafka_event_error(event),
                text(rd::rd_kafka_event_error_string(event)),
                rd::rd_kafka_event_error_is_fatal(event) != 0,
            )
        };
        if !fatal {
            let message = self.with_reason(code.into(), message);
            let error = ClientError { code: code.into(), message };
            return Happening::Notice(self.with_login(error));
        }
        let mut said = [0 as c_char; 512];
        // SAFETY: `said` is writable for its length and is NUL-terminated by the call.
        let code = unsafe {
            rd::rd_kafka_fatal_error(self.instance.rk.as_ptr(), said.as_mut_ptr(), said.len())
        };
        Happening::Fatal(ClientError { code: code.into(), message: text(said.as_ptr()) })
    }

    /// Why there is no token, once for each reason. A client without one tries nothing, so it has
    /// nothing to say itself. That a token is refused it does say, since it is told.
    fn untold_trouble(&self) -> Option<ClientError> {
        let trouble = self.login.as_ref()?.trouble();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == trouble {
            return None;
        }
        told.clone_from(&trouble);
        let message = trouble.filter(|trouble| !trouble.refused)?.message;
        Some(ClientError { code: RDKafkaErrorCode::BrokerTransportFailure, message })
    }

    /// A broker that refuses a token that has expired, because there is no other, has not refused
    /// us: that is an outage of whoever gives out tokens.
    fn with_login(&self, error: ClientError) -> ClientError {
        match self.login.as_ref().and_then(Login::outage) {
            Some(trouble) if refusal::is_authentication(&error) => ClientError {
                code: RDKafkaErrorCode::BrokerTransportFailure,
                message: format!("{}: {}", trouble.message, error.message),
            },
            Some(_) | None => error,
        }
    }

    /// An error's text, led by the reason in words where one is known.
    fn with_reason(&self, code: RDKafkaErrorCode, message: String) -> String {
        if let Some(reason) = refusal::of_error(&message) {
            return format!("{reason}: {message}");
        }
        if !matches!(code, RDKafkaErrorCode::SSL | RDKafkaErrorCode::AllBrokersDown) {
            return message;
        }
        match &*self.refusal.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => format!("{reason}: {message}"),
            None => message,
        }
    }

    /// When the first of the brokers' certificates expires, in seconds since 1970, by what they
    /// showed at their last handshakes; `None` where none was shown, or none is verified.
    #[must_use]
    pub fn certificate_expiry(&self) -> Option<i64> {
        self.instance.certificates.first_expiry()
    }

    /// Records that are enqueued and not yet reported on.
    #[must_use]
    pub fn unreported(&self) -> usize {
        // SAFETY: `rk` is alive.
        usize::try_from(unsafe { rd::rd_kafka_outq_len(self.instance.rk.as_ptr()) }).unwrap_or(0)
    }

    /// Gives up on everything that is enqueued or under way, so that nothing more leaves this
    /// process. What was under way may have been written all the same.
    pub fn purge(&self) {
        let flags = rd::RD_KAFKA_PURGE_F_QUEUE | rd::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: `rk` is alive. The only error is for an instance that is no producer.
        let code = unsafe { rd::rd_kafka_purge(self.instance.rk.as_ptr(), flags) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            tracing::warn!(error = %error_of(code), "the producer's queue could not be purged");
        }
    }
}

impl Handle {
    /// The cluster's id. Blocks until a broker has answered, or for `limit`.
    #[must_use]
    pub fn cluster_id(&self, limit: std::time::Duration) -> Option<String> {
        // SAFETY: the instance is alive; the string is ours and freed below by its owner.
        let id = unsafe { rd::rd_kafka_clusterid(self.0.rk.as_ptr(), milliseconds(limit)) };
        if id.is_null() {
            return None;
        }
        let copy = text(id);
        // SAFETY: allocated by librdkafka for this instance, freed once.
        unsafe { rd::rd_kafka_mem_free(self.0.rk.as_ptr(), id.cast()) };
        Some(copy)
    }

    /// Whether a broker answers within `limit`. Blocks.
    #[must_use]
    pub fn answers(&self, limit: std::time::Duration) -> bool {
        let mut metadata: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: the instance is alive; no topic handle means those known locally; `metadata` is
        // written on success only, and is destroyed once.
        unsafe {
            let code = rd::rd_kafka_metadata(
                self.0.rk.as_ptr(),
                0,
                ptr::null_mut(),
                &raw mut metadata,
                milliseconds(limit),
            );
            if !metadata.is_null() {
                rd::rd_kafka_metadata_destroy(metadata);
            }
            code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Lets nothing that is enqueued linger, until everything is reported on or `limit` has passed.
    /// Blocks for that long. Another thread must take the reports meanwhile.
    pub fn flush(&self, limit: std::time::Duration) {
        // SAFETY: the instance is alive; with delivery reports as events this only waits. What it
        // gives back is whether `limit` passed.
        unsafe { rd::rd_kafka_flush(self.0.rk.as_ptr(), milliseconds(limit)) };
    }

    /// What the brokers know of a topic. Blocks for `limit` at most. Brokers that create topics
    /// on their own do so when asked, where `allow.auto.create.topics` is set.
    ///
    /// # Errors
    /// No broker answered in time.
    pub fn metadata(
        &self,
        topic: &Topic,
        limit: std::time::Duration,
    ) -> Result<TopicMetadata, ClientError> {
        let mut metadata: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: instance and topic are alive; `metadata` is written on success only, and is
        // ours to destroy.
        let code = unsafe {
            rd::rd_kafka_metadata(
                self.0.rk.as_ptr(),
                0,
                topic.handle.as_ptr(),
                &raw mut metadata,
                milliseconds(limit),
            )
        };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || metadata.is_null() {
            return Err(error_of(code));
        }
        // SAFETY: on success the structure is valid until destroyed, and `topics` points to
        // `topic_cnt` elements; the first one is read only if there is one.
        let answer = unsafe {
            if (*metadata).topic_cnt < 1 || (*metadata).topics.is_null() {
                None
            } else {
                let first = *(*metadata).topics;
                Some((first.partition_cnt, first.err))
            }
        };
        // SAFETY: destroyed once, and not used after.
        unsafe { rd::rd_kafka_metadata_destroy(metadata) };
        let (partitions, code) =
            answer.ok_or_else(|| invalid("the broker's answer names no topic"))?;
        let error = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            None
        } else {
            Some(error_of(code))
        };
        Ok(TopicMetadata { partitions: usize::try_from(partitions).unwrap_or(0), error })
    }
}

/// A configuration that is destroyed unless it is given away.
struct Conf(NonNull<rd::rd_kafka_conf_t>);

impl Conf {
    /// The configuration's instance must not outlive `certificates`.
    fn new<'a>(
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
        certificates: &Arc<Certificates>,
    ) -> Result<Self, ClientError> {
        // SAFETY: no arguments; the result is owned here.
        let conf = NonNull::new(unsafe { rd::rd_kafka_conf_new() })
            .ok_or_else(|| invalid("librdkafka could not make a configuration"))?;
        let conf = Self(conf);
        let mut verified = true;
        for (name, value) in properties {
            if name == "enable.ssl.certificate.verification" {
                // As librdkafka reads a boolean (rdkafka_conf.c); it refuses all other words.
                verified = !matches!(value.to_ascii_lowercase().as_str(), "false" | "f" | "0");
            }
            // What librdkafka says of a wrong property repeats its value, so it is not read.
            let refused = || invalid(&format!("librdkafka refuses the property {name}"));
            let c_name = CString::new(name).map_err(|_| refused())?;
            let c_value = CString::new(value).map_err(|_| refused())?;
            // SAFETY: all strings are NUL-terminated; a null buffer of length 0 is allowed.
            let result = unsafe {
                rd::rd_kafka_conf_set(
                    conf.0.as_ptr(),
                    c_name.as_ptr(),
                    c_value.as_ptr(),
                    ptr::null_mut(),
                    0,
                )
            };
            if result != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err(refused());
            }
        }
        let events = rd::RD_KAFKA_EVENT_DR | rd::RD_KAFKA_EVENT_ERROR | rd::RD_KAFKA_EVENT_LOG;
        // SAFETY: the configuration is alive.
        unsafe { rd::rd_kafka_conf_set_events(conf.0.as_ptr(), events) };
        if verified {
            conf.look_at_certificates(certificates)?;
        }
        Ok(conf)
    }

    /// Has librdkafka call [`certificate_shown`] for each certificate of a broker's chain. Not where
    /// the operator wants nothing to be verified: a fault without consequence would be told.
    fn look_at_certificates(&self, certificates: &Arc<Certificates>) -> Result<(), ClientError> {
        let opaque = Arc::as_ptr(certificates).cast_mut().cast();
        // SAFETY: the configuration is alive; the function is of the type that is asked for and
        // lives for ever; the pointer is only handed back to it.
        let result = unsafe {
            rd::rd_kafka_conf_set_opaque(self.0.as_ptr(), opaque);
            rd::rd_kafka_conf_set_ssl_cert_verify_cb(self.0.as_ptr(), Some(certificate_shown))
        };
        if result != rd::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Err(invalid("librdkafka is built without TLS"));
        }
        Ok(())
    }

    fn given_away(self) {
        std::mem::forget(self);
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { rd::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

/// Says what OpenSSL has against a broker's certificate, and notes when a good one expires; changes
/// nothing of OpenSSL's verdict.
///
/// Called for each certificate of the chain, the broker's own last, at depth 0 (rdkafka.h,
/// `rd_kafka_conf_set_ssl_cert_verify_cb`): `x509_error` is OpenSSL's verdict, and 1 must be returned
/// for a good certificate only, because what is returned here is the verdict from then on.
///
/// It runs on librdkafka's threads. No unwinding leaves it: an `extern "C"` function aborts the
/// process at a panic (Rust reference, "Panic"), as it does when memory is wanted and there is none.
/// The lock that it takes is held for a look into a map, never while librdkafka is called.
extern "C" fn certificate_shown(
    _rk: *mut rd::rd_kafka_t,
    broker_name: *const c_char,
    _broker_id: i32,
    x509_error: *mut c_int,
    depth: c_int,
    certificate: *const c_char,
    certificate_size: usize,
    said: *mut c_char,
    said_size: usize,
    opaque: *mut c_void,
) -> c_int {
    if x509_error.is_null() {
        return 0;
    }
    // SAFETY: not null, and librdkafka's own variable, alive during the call.
    let verdict = unsafe { *x509_error };
    if verdict != 0 {
        // SAFETY: librdkafka's buffer, null or writable for its size.
        unsafe { say(refusal::certificate_fault(verdict), said, said_size) };
        return 0;
    }
    if depth == 0 && !certificate.is_null() && !broker_name.is_null() && !opaque.is_null() {
        // SAFETY: each is not null. The certificate is readable for its size and the name is
        // NUL-terminated, both during the call; `opaque` is the `Certificates` that
        // `look_at_certificates` was given, which `Instance` keeps until librdkafka's threads have
        // ended, and which is shared by reference only.
        unsafe {
            let certificate = std::slice::from_raw_parts(certificate.cast(), certificate_size);
            let broker = CStr::from_ptr(broker_name).to_bytes();
            (*opaque.cast::<Certificates>()).shown(broker, certificate);
        }
    }
    1
}

/// Writes as much of `text` as there is room for, and a NUL.
///
/// # Safety
/// `said` is null or writable for `said_size` bytes.
unsafe fn say(text: &'static str, said: *mut c_char, said_size: usize) {
    let Some(room) = said_size.checked_sub(1) else { return };
    if said.is_null() {
        return;
    }
    let length = text.len().min(room);
    // SAFETY: not null, and writable for `said_size` bytes, which `length` and the NUL fit into;
    // the two do not overlap, since `text` is static and not writable.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), said.cast(), length);
        *said.add(length) = 0;
    }
}

/// A header list that is destroyed unless a record has taken it.
struct HeaderList(NonNull<rd::rd_kafka_headers_t>);

impl HeaderList {
    fn new<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, ClientError> {
        let expected = headers.size_hint().1.unwrap_or(8);
        // SAFETY: the count is only a hint for the first allocation.
        let list = NonNull::new(unsafe { rd::rd_kafka_headers_new(expected) })
            .map(Self)
            .ok_or_else(|| invalid("librdkafka could not make a header list"))?;
        for (name, value) in headers {
            let lengths = (isize::try_from(name.len()), isize::try_from(value.len()));
            let (Ok(name_length), Ok(value_length)) = lengths else {
                return Err(invalid("a header is larger than the address space"));
            };
            // SAFETY: both are readable for the given lengths and copied; lengths are not
            // negative, so librdkafka does not look for a NUL.
            let code = unsafe {
                rd::rd_kafka_header_add(
                    list.0.as_ptr(),
                    name.as_ptr().cast(),
                    name_length,
                    value.as_ptr().cast(),
                    value_length,
                )
            };
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(error_of(code));
            }
        }
        Ok(list)
    }

    fn given_away(self) {
        std::mem::forget(self);
    }
}

impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: no record took the list: `given_away` forgets it when one did.
        unsafe { rd::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}

type Argument = rd::rd_kafka_vu_s__bindgen_ty_1;

fn vu(vtype: rd::rd_kafka_vtype_t, u: Argument) -> rd::rd_kafka_vu_t {
    rd::rd_kafka_vu_t { vtype, u }
}

/// Null for a null key or value; a pointer to somewhere and length 0 for an empty one, which
/// librdkafka tells apart by the pointer.
fn memory(bytes: Option<&[u8]>) -> rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (pointer, size) = bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
    rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: pointer.cast_mut().cast(), size }
}

fn take_error(error: *mut rd::rd_kafka_error_t) -> Option<ClientError> {
    if error.is_null() {
        return None;
    }
    // SAFETY: not null, ours, read before it is destroyed, destroyed once.
    unsafe {
        let taken = ClientError {
            code: rd::rd_kafka_error_code(error).into(),
            message: text(rd::rd_kafka_error_string(error)),
        };
        rd::rd_kafka_error_destroy(error);
        Some(taken)
    }
}

/// An event of the queue; its records live as long as it does.
struct Event(NonNull<rd::rd_kafka_event_t>);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

impl Event {
    fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { rd::rd_kafka_event_type(self.0.as_ptr()) }
    }

    fn deliveries(&self, take: &mut impl FnMut(Happening)) {
        let mut run: Option<Run> = None;
        loop {
            // SAFETY: the event is alive and of the delivery report kind; a record that it gives
            // out lives until the event is destroyed.
            let record = unsafe { rd::rd_kafka_event_message_next(self.0.as_ptr()) };
            // SAFETY: null or valid, as said.
            let Some(record) = (unsafe { record.as_ref() }) else { break };
            let tag = record._private.addr() as u64;
            // librdkafka takes a record for delivered, without an answer for it, when a later one was
            // (`rd_kafka_msgq_move_acked`, 2.12.1), or when the broker has seen its number before. Neither is
            // certain: see `super::opening`.
            let placed = record.offset >= 0;
            if placed && record.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                let bytes = record.len.saturating_add(record.key_len) as u64;
                let (topic, partition) = (record.rkt.addr(), record.partition);
                let here = (tag, topic, partition);
                match &mut run {
                    Some(run) if run.place() == here && run.count < u32::MAX => {
                        run.count += 1;
                        run.bytes += bytes;
                    }
                    _ => {
                        if let Some(run) =
                            run.replace(Run { tag, count: 1, bytes, topic, partition })
                        {
                            take(run.happening());
                        }
                    }
                }
            } else {
                if let Some(run) = run.take() {
                    take(run.happening());
                }
                // SAFETY: a delivery report has a topic, which lives as long as the record.
                let topic = text(unsafe { rd::rd_kafka_topic_name(record.rkt) });
                let error = if record.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    ClientError {
                        code: RDKafkaErrorCode::Inconsistent,
                        message: "nobody has said where in the partition it is".to_owned(),
                    }
                } else {
                    error_of(record.err)
                };
                take(Happening::Failed { tag, topic, error });
            }
        }
        if let Some(run) = run.take() {
            take(run.happening());
        }
    }

    /// Passes a line of librdkafka's on to our log; gives back what it tells of a refusal.
    fn log(&self) -> Option<String> {
        let mut facility: *const c_char = ptr::null();
        let mut message: *const c_char = ptr::null();
        let mut level: c_int = 7;
        // SAFETY: the event is alive; the out-parameters are writable, and what they are set to
        // lives as long as the event.
        let code = unsafe {
            rd::rd_kafka_event_log(
                self.0.as_ptr(),
                &raw mut facility,
                &raw mut message,
                &raw mut level,
            )
        };
        if code != 0 {
            return None;
        }
        let (facility, message) = (text(facility), text(message));
        let refusal = refusal::of_log(&facility, &message);
        match level {
            // Told with the error that follows.
            _ if facility == refusal::CERTIFICATE => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            // The one warning of this kind is that `enable.gapless.guarantee` is experimental,
            // which is known, and wanted.
            _ if facility == "CONFWARN" => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            ..=3 => tracing::error!(target: "librdkafka", facility, "{message}"),
            4 => tracing::warn!(target: "librdkafka", facility, "{message}"),
            5 | 6 => tracing::info!(target: "librdkafka", facility, "{message}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
        refusal
    }
}
