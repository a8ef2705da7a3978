//! The bytes that have arrived and are not yet used, and the frames in them.
//!
//! One buffer, owned by its connection, is filled by plain reads. A read that is cancelled loses
//! nothing, since what arrived is already here; `read_exact` around a header loses the header.
//! A frame is read where it lies, so nothing is allocated or copied for a message.

use super::error::Error;

/// Length of the tag and of the length field that precede each body.
const HEADER: usize = 5;

/// The largest frame that is taken, in bytes: 1 GiB.
///
/// The server builds each message in a `StringInfo`, which holds less than 1 GiB (`MaxAllocSize`
/// in `src/include/utils/memutils.h`), so nothing it can send is refused.
pub(super) const MAX_FRAME: usize = 1 << 30;

/// How much one read asks for while a connection is being made: all of its messages are small.
const HANDSHAKE_CHUNK: usize = 8 * 1024;

/// Bytes received and not yet consumed. The room behind them is always initialised, so it can be
/// lent to a read as it is.
#[derive(Debug)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    chunk: usize,
}

/// One whole message of the server, still in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Says which message it is.
    pub(super) tag: u8,
    /// What follows the length field.
    pub(super) body: &'a [u8],
    /// Length of header and body.
    pub(super) length: usize,
}

impl FrameBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, chunk: HANDSHAKE_CHUNK }
    }

    /// From now on each read asks for at least this many bytes, and the buffer, when it is not in
    /// the middle of a larger frame, keeps room for twice as many.
    pub(super) fn read_in_chunks_of(&mut self, chunk: usize) {
        self.chunk = chunk;
    }

    /// Bytes that have arrived and are not consumed.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The bytes themselves.
    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The whole frame that begins `offset` bytes into what has arrived, if all of it is here.
    ///
    /// # Errors
    ///
    /// The length field is smaller than itself or larger than [`MAX_FRAME`].
    pub(super) fn frame_at(&self, offset: usize) -> Result<Option<Frame<'_>>, Error> {
        let unread = self.unread().get(offset..).unwrap_or_default();
        let Some((&tag, rest)) = unread.split_first() else { return Ok(None) };
        let Some((claimed, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let claimed = u32::from_be_bytes(*claimed);
        // The length counts itself but not the tag.
        let body = usize::try_from(claimed).ok().and_then(|length| length.checked_sub(4));
        let Some(body) = body.filter(|&body| body <= MAX_FRAME - HEADER) else {
            return Err(Error::protocol(format!(
                "a message {:?} that claims {claimed} bytes; allowed are 4 to {MAX_FRAME}",
                char::from(tag)
            )));
        };
        Ok(rest.get(..body).map(|body| Frame { tag, body, length: HEADER + body.len() }))
    }

    /// Tag and total length of the first frame as soon as its header is here.
    ///
    /// # Errors
    ///
    /// As [`FrameBuffer::frame_at`].
    pub(super) fn header(&self) -> Result<Option<(u8, usize)>, Error> {
        if let Some(frame) = self.frame_at(0)? {
            return Ok(Some((frame.tag, frame.length)));
        }
        let Some((&tag, rest)) = self.unread().split_first() else { return Ok(None) };
        let Some((claimed, _)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        // `frame_at` has held the length against its limits.
        Ok(usize::try_from(u32::from_be_bytes(*claimed)).ok().map(|length| (tag, length + 1)))
    }

    /// Forgets the first `length` bytes. They stay where they are until the next read.
    ///
    /// # Panics
    ///
    /// So many have not arrived, which is a mistake of the caller.
    pub(super) fn consume(&mut self, length: usize) {
        assert!(length <= self.len(), "consumed {length} bytes of {}", self.len());
        self.start += length;
    }

    /// The body of a frame that [`FrameBuffer::consume`] has just forgotten.
    pub(super) fn consumed_body(&self, length: usize) -> &[u8] {
        let body = length.saturating_sub(HEADER);
        self.bytes.get(self.start.saturating_sub(body)..self.start).unwrap_or_default()
    }

    /// Room for the next read, never empty.
    ///
    /// The buffer grows to at most twice what has arrived, whatever length a frame claims, and goes
    /// back to its usual size once the bytes that made it grow are consumed. Bytes are moved to
    /// the front only when the room behind them is used up.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let pending = self.len();
        let usual = 2 * self.chunk;
        if pending == 0 {
            (self.start, self.end) = (0, 0);
        }
        if self.bytes.len() > 2 * usual && pending <= self.chunk {
            let mut small = vec![0; usual];
            if let (Some(to), Some(from)) =
                (small.get_mut(..pending), self.bytes.get(self.start..self.end))
            {
                to.copy_from_slice(from);
            }
            (self.bytes, self.start, self.end) = (small, 0, pending);
        } else if self.bytes.len() - self.end < self.chunk {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, pending);
            // Less than half of it free: twice what has arrived, which is always more than now.
            if pending > self.bytes.len() / 2 || self.bytes.len() < usual {
                self.bytes.resize(usual.max(2 * pending), 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts `length` bytes that were read into [`FrameBuffer::room`].
    ///
    /// # Panics
    ///
    /// There was not so much room, which is a mistake of the caller.
    pub(super) fn received(&mut self, length: usize) {
        assert!(length <= self.bytes.len() - self.end, "received {length} bytes into less room");
        self.end += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn arrive(buffer: &mut FrameBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = buffer.room();
            let now = room.len().min(bytes.len());
            room[..now].copy_from_slice(&bytes[..now]);
            buffer.received(now);
            bytes = &bytes[now..];
        }
    }

    #[test]
    fn every_prefix_of_a_frame_waits_for_more() {
        let whole = frame(b'd', b"payload");
        for length in 0..whole.len() {
            let mut buffer = FrameBuffer::new();
            arrive(&mut buffer, &whole[..length]);
            assert_eq!(buffer.frame_at(0).unwrap(), None, "{length} bytes");
        }
    }

    #[test]
    fn a_frame_is_read_where_it_lies() {
        let mut buffer = FrameBuffer::new();
        arrive(&mut buffer, &frame(b'N', b""));
        arrive(&mut buffer, &frame(b'd', b"payload"));
        assert_eq!(buffer.frame_at(0).unwrap(), Some(Frame { tag: b'N', body: b"", length: 5 }));
        let second = Frame { tag: b'd', body: b"payload", length: 12 };
        assert_eq!(buffer.frame_at(5).unwrap(), Some(second));
        buffer.consume(5);
        assert_eq!(buffer.frame_at(0).unwrap(), Some(second));
        buffer.consume(12);
        assert_eq!(buffer.consumed_body(12), b"payload");
        assert_eq!(buffer.len(), 0);
    }

    #[track_caller]
    fn check_claim(claimed: u32, accepted: bool) {
        let mut buffer = FrameBuffer::new();
        arrive(&mut buffer, b"d");
        arrive(&mut buffer, &claimed.to_be_bytes());
        assert_eq!(buffer.frame_at(0).is_ok(), accepted, "{claimed}");
        assert_eq!(buffer.header().is_ok(), accepted, "{claimed}");
    }

    #[test]
    fn a_length_outside_its_limits_is_an_error() {
        check_claim(0, false);
        check_claim(3, false);
        check_claim(4, true);
        check_claim((1 << 30) - 1, true);
        check_claim(1 << 30, false);
        check_claim(u32::MAX, false);
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut buffer = FrameBuffer::new();
        arrive(&mut buffer, b"d");
        arrive(&mut buffer, &((1_u32 << 30) - 1).to_be_bytes());
        arrive(&mut buffer, &[0; 100]);
        buffer.room();
        assert!(buffer.bytes.len() <= 2 * HANDSHAKE_CHUNK, "{}", buffer.bytes.len());
    }

    #[test]
    fn a_huge_frame_grows_the_buffer_by_what_arrived_and_its_end_shrinks_it() {
        let mut buffer = FrameBuffer::new();
        let huge = frame(b'd', &vec![7; 3_000_000]);
        for part in huge.chunks(50_000) {
            arrive(&mut buffer, part);
            assert!(buffer.bytes.len() <= 2 * (buffer.len() + HANDSHAKE_CHUNK));
        }
        arrive(&mut buffer, b"d\0\0\0");
        let length = buffer.frame_at(0).unwrap().map(|frame| frame.length).unwrap();
        assert_eq!(length, huge.len());
        buffer.consume(length);
        arrive(&mut buffer, b"\x05x");
        assert_eq!(buffer.bytes.len(), 2 * HANDSHAKE_CHUNK);
        assert_eq!(buffer.frame_at(0).unwrap().map(|frame| frame.body), Some(&b"x"[..]));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..12),
            cuts in prop::collection::vec(1_usize..30_000, 1..50),
        ) {
            let sent: Vec<u8> = bodies.iter().flat_map(|body| frame(b'd', body)).collect();
            let mut buffer = FrameBuffer::new();
            let mut left = &sent[..];
            let mut got = Vec::new();
            for &cut in cuts.iter().cycle() {
                if left.is_empty() { break; }
                let (now, later) = left.split_at(cut.min(left.len()));
                arrive(&mut buffer, now);
                left = later;
                while let Some(frame) = buffer.frame_at(0).unwrap() {
                    got.push(frame.body.to_vec());
                    let length = frame.length;
                    buffer.consume(length);
                }
            }
            prop_assert_eq!(got, bodies);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = FrameBuffer::new();
            arrive(&mut buffer, &bytes);
            while let Ok(Some(frame)) = buffer.frame_at(0) {
                let length = frame.length;
                buffer.consume(length);
            }
        }
    }
}
