//! Handing tokens to clients that are alive.
//!
//! librdkafka takes a token for SASL/OAUTHBEARER at any time and from any thread, and a client
//! without one does not connect, but waits (`rd_kafka_sasl_ready` in rdkafka_broker.c). So each client
//! takes a *seat* when it is made, and every token is handed to all seats.
//!
//! The `rdkafka` crate has a callback for the same purpose. It is not used, because it is only called
//! while a client's main queue is polled, which an `AdminClient` and a consumer that only asks for
//! metadata never do, and because it would block the thread that polls.
//!
//! # Safety argument
//!
//! A handle stands in [`Seats`] only while its [`Seat`] lives. Whoever owns a client drops the seat
//! before it destroys the client, and both the dropping and each use of a handle hold the same lock.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::fmt;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::admin::AdminClient;
use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

use super::{ClientError, invalid, text};
use crate::secret::Secret;

/// A token for SASL/OAUTHBEARER (RFC 7628).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub value: Secret,
    /// Whose it is; for librdkafka's own messages only.
    pub principal: String,
    /// When it expires, in milliseconds since 1970 by our clock.
    pub expires: i64,
    /// Names and values that the brokers are told beside.
    pub extensions: Vec<(String, String)>,
}

/// The clients that are handed tokens, and the token that is handed to whoever comes.
#[derive(Debug, Default)]
pub(in crate::kafka) struct Seats(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    taken: u64,
    clients: BTreeMap<u64, Native>,
    token: Option<Token>,
}

/// A client's handle, which is alive as long as it stands in [`Seats`].
#[derive(Debug)]
struct Native(NonNull<rd::rd_kafka_t>);

// SAFETY: "the librdkafka API is thread-safe" (INTRODUCTION.md, "Threads and callbacks"); the handle
// is an opaque pointer that is only handed to it.
unsafe impl Send for Native {}

/// A client's place; dropped, it is handed nothing more.
#[derive(Debug)]
pub(in crate::kafka) struct Seat {
    number: u64,
    seats: Arc<Seats>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().clients.remove(&self.number);
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a token to all, and from now on to whoever comes.
    ///
    /// # Errors
    /// librdkafka does not take it: a character that RFC 7628 does not allow, or it has expired.
    pub(in crate::kafka) fn give(&self, token: Token) -> Result<(), ClientError> {
        let mut inner = self.lock();
        for client in inner.clients.values() {
            client.give(&token)?;
        }
        inner.token = Some(token);
        Ok(())
    }

    /// Tells all that there is no token, which they report as an error of authentication.
    pub(in crate::kafka) fn refuse(&self, why: &str) {
        let mut inner = self.lock();
        inner.token = None;
        for client in inner.clients.values() {
            client.refuse(why);
        }
    }

    /// Seats a client, and hands it the token that there is.
    ///
    /// # Safety
    /// The handle must be alive until the seat is dropped.
    pub(super) unsafe fn seat(self: &Arc<Self>, client: NonNull<rd::rd_kafka_t>) -> Seat {
        let mut inner = self.lock();
        let client = Native(client);
        if let Some(token) = &inner.token
            && let Err(error) = client.give(token)
        {
            // It has expired meanwhile: the next one is on its way.
            tracing::debug!(%error, "a client is not given the token");
        }
        inner.taken += 1;
        let number = inner.taken;
        inner.clients.insert(number, client);
        Seat { number, seats: Arc::clone(self) }
    }
}

impl Native {
    fn give(&self, token: &Token) -> Result<(), ClientError> {
        let refused = || invalid("a token, or an extension, holds a NUL byte");
        let c_string = |text: &str| CString::new(text).map_err(|_| refused());
        let value = c_string(token.value.expose())?;
        let principal = c_string(&token.principal)?;
        let mut extensions = Vec::new();
        for (name, value) in &token.extensions {
            extensions.push(c_string(name)?);
            extensions.push(c_string(value)?);
        }
        let mut pointers: Vec<*const c_char> =
            extensions.iter().map(|text| text.as_ptr()).collect();
        let mut said = [0 as c_char; 512];
        // SAFETY: the handle is alive (see the head of this file); all strings are NUL-terminated,
        // alive during the call and copied; the array has as many elements as is said; `said` is
        // writable for its length.
        let code = unsafe {
            rd::rd_kafka_oauthbearer_set_token(
                self.0.as_ptr(),
                value.as_ptr(),
                token.expires,
                principal.as_ptr(),
                if pointers.is_empty() { ptr::null_mut() } else { pointers.as_mut_ptr() },
                pointers.len(),
                said.as_mut_ptr(),
                said.len(),
            )
        };
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        // librdkafka repeats a name or value that it does not take, which may be the token.
        let repeats = text(said.as_ptr()).contains("characters");
        let message = if repeats {
            "the token, or an extension, has a character in it that RFC 7628 does not allow"
                .to_owned()
        } else {
            text(said.as_ptr())
        };
        Err(ClientError { code: code.into(), message })
    }

    fn refuse(&self, why: &str) {
        let why = CString::new(why.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the handle is alive (see the head of this file); the text is NUL-terminated and
        // copied.
        let code =
            unsafe { rd::rd_kafka_oauthbearer_set_token_failure(self.0.as_ptr(), why.as_ptr()) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            tracing::debug!(?code, "a client is not told that there is no token");
        }
    }
}

/// A client of the `rdkafka` crate that is handed tokens, where it needs any.
pub struct Seated<T> {
    // Before the client, because fields are dropped in this order.
    _seat: Option<Seat>,
    client: T,
}

impl<T> fmt::Debug for Seated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seated")
    }
}

impl<T> Deref for Seated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

impl<C: ConsumerContext> Seated<BaseConsumer<C>> {
    /// A consumer.
    pub(in crate::kafka) fn consumer(client: BaseConsumer<C>, seats: Option<&Arc<Seats>>) -> Self {
        let handle = NonNull::new(client.client().native_ptr());
        // SAFETY: the handle lives as long as the client, which is dropped after the seat and is
        // never given away.
        let seat = seats.zip(handle).map(|(seats, handle)| unsafe { seats.seat(handle) });
        Self { _seat: seat, client }
    }
}

impl<C: ClientContext> Seated<AdminClient<C>> {
    /// A client that administers.
    pub(in crate::kafka) fn admin(client: AdminClient<C>, seats: Option<&Arc<Seats>>) -> Self {
        let handle = NonNull::new(client.inner().native_ptr());
        // SAFETY: as for a consumer.
        let seat = seats.zip(handle).map(|(seats, handle)| unsafe { seats.seat(handle) });
        Self { _seat: seat, client }
    }
}
