//! The stream itself: fill, peek, consume; status updates; an orderly end.
//!
//! The reader decides how fast the server is. The walsender gives each message to its socket at
//! once; a reader that waits in `recv` wakes up for each, at the cost of a context switch on both
//! sides. One that lets the socket fill for a fraction of a millisecond under backlog was measured
//! to double the walsender's rate. So [`ReplicationStream::fill`] is one large read and no loop:
//! when to call it is the caller's to decide.

use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::time::Instant;

use super::message::{
    FrameLength, ReplicationMessage, STATUS_FRAME, StatusUpdate, parse_copy_data,
};
use crate::postgres::connection::{Connection, unexpected};
use crate::postgres::error::Error;
use crate::postgres::frame::Frame;
use crate::postgres::server_message::{log_notice, parse_error};
use crate::postgres::timestamp::PgTimestamp;

/// How much one read asks for, in bytes. The default limit of a receive buffer that grows by
/// itself is 6 MiB on Linux (`net.ipv4.tcp_rmem`); at 400 bytes a row a read of this size carries
/// 600 rows, past which a system call costs nothing per row.
const READ_CHUNK: usize = 256 * 1024;

/// A logical replication stream, which holds its slot.
///
/// Reading, looking and consuming allocate nothing, unless a frame is larger than the buffer.
#[derive(Debug)]
pub struct ReplicationStream {
    connection: Connection,
}

impl ReplicationStream {
    pub(super) fn new(mut connection: Connection) -> Self {
        connection.input.read_in_chunks_of(READ_CHUNK);
        Self { connection }
    }

    /// Waits for bytes and reads what is waiting, up to some hundred kilobytes; gives back how
    /// many.
    ///
    /// The stream may be left unread for as long as status updates go out: the server then waits.
    ///
    /// Cancel safe: bytes are either in the buffer or still in the socket.
    ///
    /// # Errors
    ///
    /// The connection fails, or has ended ([`Closed`](crate::postgres::error::ErrorKind::Closed)).
    pub async fn fill(&mut self) -> Result<usize, Error> {
        self.set_aside()?;
        self.connection.fill().await
    }

    /// The next whole message in the buffer, which stays there until
    /// [`consume`](Self::consume); `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The server has sent an `ErrorResponse`, or something that is no message of this stream. The
    /// stream is then over.
    pub fn peek(&self) -> Result<Option<(ReplicationMessage<'_>, FrameLength)>, Error> {
        let mut skipped = 0;
        while let Some(frame) = self.connection.input.frame_at(skipped)? {
            let message = match frame.tag {
                b'd' => parse_copy_data(frame.body)?,
                b'c' => ReplicationMessage::CopyDone,
                b'E' => return Err(Error::from_server(parse_error(frame.body)?)),
                b'N' | b'S' => {
                    skipped += frame.length;
                    continue;
                }
                other => return Err(unexpected(other, "inside the replication stream")),
            };
            return Ok(Some((message, FrameLength { skipped, frame: frame.length })));
        }
        Ok(None)
    }

    /// Forgets the message that [`peek`](Self::peek) has shown. No bytes are moved.
    ///
    /// # Panics
    ///
    /// `length` is from another stream, or was consumed before.
    pub fn consume(&mut self, length: FrameLength) {
        if length.skipped > 0 {
            let notices = self.set_aside();
            debug_assert!(notices.is_ok(), "peek has seen these frames");
        }
        self.connection.input.consume(length.frame);
    }

    /// Consumes the notices and changed parameters that are first in the buffer, and logs the
    /// notices: Postgres 18 says by a warning, and no more, that a publication is missing.
    fn set_aside(&mut self) -> Result<(), Error> {
        while let Some(Frame { tag: tag @ (b'N' | b'S'), body, length }) =
            self.connection.input.frame_at(0)?
        {
            if tag == b'N' {
                log_notice(body);
            }
            self.connection.input.consume(length);
        }
        Ok(())
    }

    /// Tells the server how far we have got.
    ///
    /// If the server takes no bytes, a later update takes the place of one that still waits.
    ///
    /// Cancel safe: an update that is cancelled goes out with the next one, or not at all.
    ///
    /// # Errors
    ///
    /// The connection fails.
    pub async fn send_status(&mut self, update: StatusUpdate) -> Result<(), Error> {
        self.connection.forget_unsent(STATUS_FRAME);
        self.connection.queue(&update.encode(PgTimestamp::now()));
        self.connection.flush().await.map_err(|error| error.doing("send status update"))
    }

    /// Ends the stream in order: sends `last` and `CopyDone`, discards what the server still sends
    /// up to its own end, and says goodbye.
    ///
    /// Closing a socket with unread bytes in it makes the operating system send a reset, upon
    /// which the server throws away what it has not read yet: the last status update. That is why
    /// the server's end is waited for. A server that is inside a large transaction answers only
    /// after the whole of it, so `deadline` may pass.
    ///
    /// Not cancel safe: the stream is gone, and whether the server heard `last` is unknown.
    ///
    /// # Errors
    ///
    /// The server's end was not seen within `deadline`, so `last` may be unheard, or the server
    /// refuses.
    pub async fn shutdown(mut self, last: StatusUpdate, deadline: Duration) -> Result<(), Error> {
        let ended = async {
            self.send_status(last).await?;
            let mut message = BytesMut::new();
            frontend::copy_done(&mut message);
            self.connection.send(&message).await?;
            self.discard_to_end().await
        };
        match tokio::time::timeout(deadline, ended).await {
            Ok(result) => result.map_err(|error| error.doing("end replication"))?,
            Err(_) => return Err(Error::timeout("the server's end of the stream", deadline)),
        }
        self.connection.terminate().await;
        Ok(())
    }

    /// Discards frames up to `ReadyForQuery` or the end of the connection, in pieces as they come.
    async fn discard_to_end(&mut self) -> Result<(), Error> {
        let mut done = false;
        loop {
            while let Some((tag, length)) = self.connection.input.header()? {
                match tag {
                    b'E' => {
                        let Some(frame) = self.connection.input.frame_at(0)? else { break };
                        return Err(Error::from_server(parse_error(frame.body)?));
                    }
                    b'c' | b'C' => done = true,
                    b'Z' => return Ok(()),
                    _ => {}
                }
                self.discard(length).await?;
            }
            match self.connection.fill().await {
                Ok(_) => {}
                // It ends the stream only after it has read CopyDone, and so all before it, or,
                // when it shuts down, after it has heard that we have everything.
                Err(_) if done => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn discard(&mut self, mut length: usize) -> Result<(), Error> {
        loop {
            let here = length.min(self.connection.input.len());
            self.connection.input.consume(here);
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.connection.fill().await?;
        }
    }

    /// Bytes in the buffer that are not consumed.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.connection.input.len()
    }

    /// When bytes last came from the server.
    #[must_use]
    pub fn last_received_at(&self) -> Instant {
        self.connection.received_at
    }

    /// Process id of the walsender: `active_pid` of the slot.
    #[must_use]
    pub fn backend_pid(&self) -> i32 {
        self.connection.backend_pid()
    }

    /// End of the validity of the server's certificate, in seconds since 1970, on an encrypted
    /// connection.
    #[must_use]
    pub fn certificate_not_after(&self) -> Option<i64> {
        self.connection.stream.peer_certificate().and_then(|peer| peer.not_after)
    }
}
