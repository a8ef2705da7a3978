//! The one place that takes bytes of a message apart, and never more of them than there are.

use std::fmt;

use crate::lsn::Lsn;

/// Bytes that are no message of the protocol.
///
/// Never retried with the same bytes: the server sent something this program does not know, or
/// the connection lost its place. It names the place and what was expected there, not the bytes,
/// which may be a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// First byte of the message, 0 where there is none.
    tag: u8,
    /// Bytes from the start of the message.
    offset: usize,
    /// What should have been there.
    expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "malformed replication message {:?}: expected {} at byte {}",
            char::from(self.tag),
            self.expected,
            self.offset
        )
    }
}

impl std::error::Error for Malformed {}

/// A cursor over the bytes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader<'a> {
    /// The whole message.
    bytes: &'a [u8],
    /// Never past the end.
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The whole message, in which [`Self::position`] counts.
    pub(super) const fn message(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes read so far.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    pub(super) fn malformed(&self, expected: &'static str) -> Malformed {
        let tag = self.bytes.first().copied().unwrap_or(0);
        Malformed { tag, offset: self.position, expected }
    }

    /// Takes `length` bytes, if that many are there.
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.position.checked_add(length).ok_or_else(|| self.malformed(what))?;
        let taken = self.bytes.get(self.position..end).ok_or_else(|| self.malformed(what))?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let taken = self.take(N, what)?;
        <[u8; N]>::try_from(taken).map_err(|_| self.malformed(what))
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    pub(super) fn i32(&mut self, what: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    pub(super) fn lsn(&mut self, what: &'static str) -> Result<Lsn, Malformed> {
        Ok(Lsn::new(u64::from_be_bytes(self.array(what)?)))
    }

    /// A count, which the protocol sends as a signed number: a negative one is an error.
    pub(super) fn count(&mut self, what: &'static str) -> Result<u16, Malformed> {
        let count = i16::from_be_bytes(self.array(what)?);
        u16::try_from(count).map_err(|_| self.malformed(what))
    }

    /// Bytes after their length, which the protocol sends as a signed number.
    pub(super) fn sized_bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.i32(what)?;
        let length = usize::try_from(length).map_err(|_| self.malformed(what))?;
        self.take(length, what)
    }

    /// Text up to the zero byte that ends it.
    ///
    /// Names are UTF-8 because the session's `client_encoding` is pinned to it.
    pub(super) fn str(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.malformed(what))?;
        let before = *self;
        let text =
            std::str::from_utf8(self.take(length, what)?).map_err(|_| before.malformed(what))?;
        self.expect_u8(0, what)?;
        Ok(text)
    }

    pub(super) fn expect_u8(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        let before = *self;
        if self.u8(what)? == byte { Ok(()) } else { Err(before.malformed(what)) }
    }

    /// Nothing may be left.
    pub(super) fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.position == self.bytes.len() { Ok(()) } else { Err(self.malformed(what)) }
    }
}
