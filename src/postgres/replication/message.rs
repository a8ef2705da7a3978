//! The messages inside CopyBoth.

use crate::lsn::Lsn;
use crate::postgres::error::Error;
use crate::postgres::server_message::Body;
use crate::postgres::timestamp::PgTimestamp;

/// A message of the server in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationMessage<'a> {
    /// `XLogData` (`w`): one message of the output plug-in.
    XLogData {
        /// Start of the log record that it was decoded from. Rows share it, so it is no position;
        /// see [`crate::lsn`].
        wal_start: Lsn,
        /// What the server calls the current end of its log; for a logical slot it is as
        /// `wal_start`, and means nothing more.
        wal_end: Lsn,
        /// The server's clock when it sent this; for lag only, never for order.
        sent_at: PgTimestamp,
        /// The plug-in's message.
        data: &'a [u8],
    },
    /// `Primary keepalive message` (`k`).
    Keepalive {
        /// Position up to which the server has decoded and sent.
        wal_end: Lsn,
        /// The server's clock when it sent this.
        sent_at: PgTimestamp,
        /// The server wants a status update now, or will drop the session (`wal_sender_timeout`).
        reply_requested: bool,
    },
    /// `CopyDone`: the server has ended the stream.
    CopyDone,
}

/// Length of a message in the buffer, to be given back to
/// [`consume`](super::ReplicationStream::consume).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct FrameLength {
    /// Bytes of notices and changed parameters that lie before it.
    pub(super) skipped: usize,
    /// Bytes of the message itself, with its header.
    pub(super) frame: usize,
}

/// A `Standby status update`: how far we have got.
///
/// `flush` is a promise that cannot be taken back: the server may forget all that lies before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Received up to here.
    pub write: Lsn,
    /// Safe up to here. `Lsn::INVALID` promises nothing.
    pub flush: Lsn,
    /// Applied up to here. The server reports it (`pg_stat_replication.replay_lsn`), no more.
    pub apply: Lsn,
    /// Asks the server for a keepalive at once.
    pub reply_requested: bool,
}

/// Length of a status update as it goes over the wire: tag, length field, and a body of `r`, three
/// positions, the clock and a flag.
pub(super) const STATUS_FRAME: usize = 1 + 4 + 1 + 3 * 8 + 8 + 1;

impl StatusUpdate {
    /// The whole `CopyData` message.
    pub(super) fn encode(self, now: PgTimestamp) -> [u8; STATUS_FRAME] {
        // The length counts itself but not the tag.
        const LENGTH: u32 = 38;
        const { assert!(LENGTH as usize == STATUS_FRAME - 1) };
        let mut frame = [0; STATUS_FRAME];
        let parts: [&[u8]; 8] = [
            b"d",
            &LENGTH.to_be_bytes(),
            b"r",
            &self.write.as_u64().to_be_bytes(),
            &self.flush.as_u64().to_be_bytes(),
            &self.apply.as_u64().to_be_bytes(),
            &now.0.to_be_bytes(),
            &[u8::from(self.reply_requested)],
        ];
        for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        frame
    }
}

/// Reads the body of a `CopyData`.
pub(super) fn parse_copy_data(body: &[u8]) -> Result<ReplicationMessage<'_>, Error> {
    let mut body = Body::new(body, "replication message");
    match body.u8()? {
        b'w' => Ok(ReplicationMessage::XLogData {
            wal_start: Lsn::new(body.u64()?),
            wal_end: Lsn::new(body.u64()?),
            sent_at: PgTimestamp(body.i64()?),
            data: body.rest(),
        }),
        b'k' => Ok(ReplicationMessage::Keepalive {
            wal_end: Lsn::new(body.u64()?),
            sent_at: PgTimestamp(body.i64()?),
            reply_requested: body.u8()? != 0,
        }),
        other => Err(Error::protocol(format!(
            "a replication message {:?} that is not known",
            char::from(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPALIVE: &[u8] = b"k\0\0\0\x16\xB3\x74\xD8\x48\0\0\0\0\0\0\0\x2A\x01";
    const XLOG_DATA: &[u8] = b"w\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03the data";

    #[test]
    fn messages_are_read() {
        assert_eq!(
            parse_copy_data(KEEPALIVE).unwrap(),
            ReplicationMessage::Keepalive {
                wal_end: "16/B374D848".parse().unwrap(),
                sent_at: PgTimestamp(42),
                reply_requested: true,
            }
        );
        assert_eq!(
            parse_copy_data(XLOG_DATA).unwrap(),
            ReplicationMessage::XLogData {
                wal_start: Lsn::new(1),
                wal_end: Lsn::new(2),
                sent_at: PgTimestamp(3),
                data: b"the data",
            }
        );
    }

    #[test]
    fn every_prefix_of_a_message_is_an_error() {
        for length in 0..KEEPALIVE.len() {
            assert!(parse_copy_data(&KEEPALIVE[..length]).is_err(), "{length} bytes");
        }
        for length in 0..XLOG_DATA.len() - "the data".len() {
            assert!(parse_copy_data(&XLOG_DATA[..length]).is_err(), "{length} bytes");
        }
        assert!(parse_copy_data(b"x").is_err());
    }

    #[test]
    fn a_status_update_is_as_the_manual_has_it() {
        let update = StatusUpdate {
            write: Lsn::new(3),
            flush: Lsn::new(2),
            apply: Lsn::new(1),
            reply_requested: true,
        };
        assert_eq!(
            &update.encode(PgTimestamp(42))[..],
            b"d\0\0\0\x26r\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x2A\x01"
        );
    }
}
