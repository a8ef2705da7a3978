//! Hands a session that we have begun over to `tokio-postgres`.
//!
//! `tokio-postgres` insists on beginning a session itself, by rules that differ from ours: it sends
//! a password in the clear over an unencrypted connection, and tells a refused password from a
//! broken one only by text. So it is given a stream that has been authenticated already: what it
//! writes first, its `StartupMessage`, stays here, and what it reads first is the end of the
//! conversation that we have had.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::postgres::connection::Connection;
use crate::postgres::stream::Stream;

/// An authenticated stream, as a stream that is not.
#[derive(Debug)]
pub(super) struct Handover {
    stream: Stream,
    /// The `StartupMessage` has been taken.
    started: bool,
    /// Bytes to be read before those of the stream.
    greeting: Vec<u8>,
    given: usize,
}

impl Handover {
    pub(super) fn new(connection: Connection) -> Self {
        let mut greeting = Vec::new();
        message(&mut greeting, b'R', &[&0_i32.to_be_bytes()]);
        for (name, value) in connection.parameters.iter() {
            message(&mut greeting, b'S', &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
        }
        let pid = connection.backend_pid().to_be_bytes();
        message(&mut greeting, b'K', &[&pid, connection.backend_secret()]);
        message(&mut greeting, b'Z', &[b"I"]);
        let (stream, unread) = connection.into_parts();
        greeting.extend(unread);
        Self { stream, started: false, greeting, given: 0 }
    }
}

/// Appends a message of the server.
fn message(to: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).expect("these are messages that came in one frame");
    to.push(tag);
    to.extend(length.to_be_bytes());
    for part in parts {
        to.extend_from_slice(part);
    }
}

impl AsyncRead for Handover {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.greeting.get(this.given..).filter(|rest| !rest.is_empty()) {
            Some(rest) => {
                let (now, _) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                this.given += now.len();
                if this.given == this.greeting.len() {
                    (this.greeting, this.given) = (Vec::new(), 0);
                }
                Poll::Ready(Ok(()))
            }
            None => Pin::new(&mut this.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Handover {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.started {
            return Pin::new(&mut this.stream).poll_write(cx, buf);
        }
        // It is alone in the first write, since nothing else may be sent before its answer.
        let claimed = buf.split_first_chunk().map(|(length, _)| u32::from_be_bytes(*length));
        if claimed.and_then(|length| usize::try_from(length).ok()) != Some(buf.len()) {
            let what = "tokio-postgres began a session with something else than one StartupMessage";
            return Poll::Ready(Err(io::Error::other(what)));
        }
        this.started = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
