//! The stream itself: fill, peek, consume; status updates; an orderly end.
//!
//! The reader decides how fast the server is. The walsender gives each message to its socket at
//! once; a reader that waits in `recv` wakes up for each, at the cost of a context switch on both
//! sides. One that lets the socket fill for some milliseconds under backlog was measured to double
//! the walsender's rate. So [`ReplicationStream::fill`] is one large read and no loop:
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::lsn::Lsn;
    use crate::postgres::error::ErrorKind;
    use crate::postgres::stream::Stream;

    /// A message of the server.
    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    fn keepalive_frame() -> Vec<u8> {
        frame(b'd', b"k\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\x01")
    }

    fn notice() -> Vec<u8> {
        frame(b'N', b"SWARNING\0C01000\0Mm\0\0")
    }

    fn invalidated() -> Vec<u8> {
        frame(b'E', b"SERROR\0VERROR\0C55000\0Mx\0\0")
    }

    fn copy_done() -> Vec<u8> {
        frame(b'c', b"")
    }

    fn complete() -> Vec<u8> {
        frame(b'C', b"COPY 0\0")
    }

    fn stream() -> (ReplicationStream, UnixStream) {
        let (client, server) = UnixStream::pair().unwrap();
        (ReplicationStream::new(Connection::new(Stream::Unix(client))), server)
    }

    fn keepalive(stream: &ReplicationStream) -> Option<(bool, FrameLength)> {
        match stream.peek().unwrap()? {
            (ReplicationMessage::Keepalive { wal_end, reply_requested, .. }, length) => {
                assert_eq!(wal_end, Lsn::new(7));
                Some((reply_requested, length))
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_message_is_seen_until_it_is_consumed() {
        let (mut stream, mut server) = stream();
        for byte in keepalive_frame() {
            assert_eq!(keepalive(&stream), None);
            server.write_all(&[byte]).await.unwrap();
            assert_eq!(stream.fill().await.unwrap(), 1);
        }
        let (reply_requested, length) = keepalive(&stream).unwrap();
        assert!(reply_requested);
        assert_eq!(stream.buffered(), keepalive_frame().len());
        stream.consume(length);
        assert_eq!((keepalive(&stream), stream.buffered()), (None, 0));
    }

    #[tokio::test]
    async fn notices_and_parameters_are_no_messages() {
        let (mut stream, mut server) = stream();
        let parameter = frame(b'S', b"a\0b\0");
        let all = [notice(), parameter, keepalive_frame(), notice(), keepalive_frame()];
        server.write_all(&all.concat()).await.unwrap();
        stream.fill().await.unwrap();
        for _ in 0..2 {
            let (_, length) = keepalive(&stream).unwrap();
            stream.consume(length);
        }
        assert_eq!(stream.buffered(), 0);
        // Without a message behind them they do not pile up.
        for _ in 0..3 {
            server.write_all(&notice()).await.unwrap();
            stream.fill().await.unwrap();
            assert_eq!((keepalive(&stream), stream.buffered()), (None, notice().len()));
        }
    }

    #[tokio::test]
    async fn an_error_in_the_middle_keeps_its_sqlstate() {
        let (mut stream, mut server) = stream();
        server.write_all(&invalidated()).await.unwrap();
        stream.fill().await.unwrap();
        assert_eq!(stream.peek().unwrap_err().sqlstate(), Some("55000"));
    }

    #[tokio::test]
    async fn the_end_of_the_connection_is_an_error_of_its_own() {
        let (mut stream, server) = stream();
        drop(server);
        assert_eq!(stream.fill().await.unwrap_err().kind(), ErrorKind::Closed);
    }

    #[tokio::test]
    async fn a_server_that_takes_nothing_gets_whole_updates_and_the_last_one() {
        let (mut stream, mut server) = stream();
        // The socket fills up; then updates wait, and the later takes the place of the earlier.
        let mut sent = 0;
        let update = |flush| StatusUpdate { flush: Lsn::new(flush), ..StatusUpdate::default() };
        let now = Duration::from_millis(1);
        while tokio::time::timeout(now, stream.send_status(update(sent))).await.is_ok() {
            sent += 1;
        }
        for more in 1..=100 {
            let waiting = tokio::time::timeout(now, stream.send_status(update(sent + more))).await;
            assert!(waiting.is_err());
        }
        let mut got = Vec::new();
        let sending = async {
            stream.send_status(update(9_999_999)).await.unwrap();
            drop(stream);
        };
        let (reading, ()) = tokio::join!(server.read_to_end(&mut got), sending);
        assert_eq!(reading.unwrap() % STATUS_FRAME, 0);
        let flushed: Vec<u64> = got
            .chunks(STATUS_FRAME)
            .map(|frame| {
                assert_eq!(&frame[..6], b"d\0\0\0\x26r");
                u64::from_be_bytes(frame[14..22].try_into().unwrap())
            })
            .collect();
        assert!(flushed.is_sorted(), "{flushed:?}");
        assert_eq!(flushed.last(), Some(&9_999_999));
        assert!(u64::try_from(flushed.len()).unwrap() <= sent + 2, "{} of {sent}", flushed.len());
    }

    /// What becomes of a shutdown whose server answers so.
    async fn shut_down(answer: &[Vec<u8>], goes_away: bool) -> (Result<(), Error>, Vec<u8>) {
        let (stream, mut server) = stream();
        server.write_all(&answer.concat()).await.unwrap();
        if goes_away {
            server.shutdown().await.unwrap();
        }
        let last = StatusUpdate { flush: Lsn::new(3), ..StatusUpdate::default() };
        let result = stream.shutdown(last, Duration::from_millis(200)).await;
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        (result, heard)
    }

    #[tokio::test]
    async fn a_shutdown_says_its_last_status_and_waits_for_the_servers_end() {
        let (result, heard) = shut_down(
            &[keepalive_frame(), notice(), copy_done(), complete(), frame(b'Z', b"I")],
            false,
        )
        .await;
        result.unwrap();
        let (status, rest) = heard.split_at(STATUS_FRAME);
        assert_eq!(status[21], 3);
        assert_eq!(rest, b"c\0\0\0\x04X\0\0\0\x04");
    }

    #[tokio::test]
    async fn a_shutdown_whose_end_is_not_seen_is_an_error() {
        let kind = |(result, _): (Result<(), Error>, Vec<u8>)| result.map_err(|error| error.kind());
        assert_eq!(kind(shut_down(&[copy_done(), complete()], true).await), Ok(()));
        assert_eq!(kind(shut_down(&[keepalive_frame()], true).await), Err(ErrorKind::Closed));
        assert_eq!(kind(shut_down(&[keepalive_frame()], false).await), Err(ErrorKind::Timeout));
        assert_eq!(kind(shut_down(&[invalidated()], false).await), Err(ErrorKind::Server));
    }
}
