//! The bodies of the server's messages, as far as they are needed before and beside the stream.
//!
//! `postgres_protocol::message::backend::Message::parse` is not used: it reserves whatever length
//! the peer claims, and refuses `CopyBothResponse` (tag `W`) as unknown.
//!
//! Source: PostgreSQL manual, "Message Formats".

use super::error::{Error, ServerError};

/// A body that is being read from the front. No read goes past its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a> {
    rest: &'a [u8],
    /// Which message it is, for the error.
    of: &'static str,
}

impl<'a> Body<'a> {
    pub(super) fn new(rest: &'a [u8], of: &'static str) -> Self {
        Self { rest, of }
    }

    fn short(&self) -> Error {
        Error::protocol(format!("a {} that is too short", self.of))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Error> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Error> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Error> {
        self.take().map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_be_bytes)
    }

    /// Exactly `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(taken)
    }

    /// A text that ends with a NUL. The server's encoding is UTF-8, but messages that it sends
    /// before it knows that may not be; what cannot be read becomes U+FFFD.
    pub(super) fn text(&mut self) -> Result<String, Error> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or_else(|| self.short())?;
        let text = self.bytes(end)?;
        self.take::<1>()?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// An `ErrorResponse` or `NoticeResponse`. Fields that are not known are left out, as the manual
/// asks.
pub(super) fn parse_error(body: &[u8]) -> Result<ServerError, Error> {
    let mut body = Body::new(body, "ErrorResponse");
    let mut error = ServerError::default();
    let mut translated_severity = String::new();
    loop {
        match body.u8()? {
            0 => break,
            b'S' => translated_severity = body.text()?,
            b'V' => error.severity = body.text()?,
            b'C' => error.sqlstate = body.text()?,
            b'M' => error.message = body.text()?,
            b'D' => error.detail = Some(body.text()?),
            b'H' => error.hint = Some(body.text()?),
            _ => drop(body.text()?),
        }
    }
    if error.severity.is_empty() {
        error.severity = translated_severity;
    }
    Ok(error)
}

/// Writes a `NoticeResponse` into the log. One that cannot be read is no reason to stop.
pub(super) fn log_notice(body: &[u8]) {
    let Ok(notice) = parse_error(body) else {
        tracing::warn!("the server sent a notice that cannot be read");
        return;
    };
    match notice.severity.as_str() {
        "WARNING" => tracing::warn!(sqlstate = notice.sqlstate, "the server warns: {notice}"),
        _ => tracing::debug!(sqlstate = notice.sqlstate, "the server remarks: {notice}"),
    }
}

/// A `ParameterStatus`: name and value.
pub(super) fn parse_parameter(body: &[u8]) -> Result<(String, String), Error> {
    let mut body = Body::new(body, "ParameterStatus");
    Ok((body.text()?, body.text()?))
}

/// A `DataRow` in text format; `None` is NULL.
pub(super) fn parse_row(body: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    Cells::of(body)?.map(|cell| cell.map(|value| value.map(<[u8]>::to_vec))).collect()
}

/// The values of a `DataRow` where they lie; `None` is NULL. Ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Cells<'a> {
    body: Body<'a>,
    left: i16,
}

impl<'a> Cells<'a> {
    pub(super) fn of(body: &'a [u8]) -> Result<Self, Error> {
        let mut body = Body::new(body, "DataRow");
        Ok(Self { left: body.i16()?, body })
    }

    fn cell(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match usize::try_from(self.body.i32()?) {
            Ok(length) => self.body.bytes(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Option<&'a [u8]>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1).filter(|left| *left >= 0)?;
        let cell = self.cell();
        if cell.is_err() {
            self.left = 0;
        }
        Some(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded from PostgreSQL 15.
    const ACTIVE_SLOT: &[u8] = b"SERROR\0VERROR\0C55006\0Mreplication slot \"s\" is active for PID 42\0Fslot.c\0L518\0RReplicationSlotAcquire\0\0";

    #[test]
    fn an_error_response_keeps_its_fields() {
        let error = parse_error(ACTIVE_SLOT).unwrap();
        assert_eq!(error.severity, "ERROR");
        assert_eq!(error.sqlstate, "55006");
        assert_eq!(error.message, "replication slot \"s\" is active for PID 42");
        assert_eq!((error.detail, error.hint), (None, None));
    }

    #[test]
    fn every_prefix_of_an_error_response_is_an_error() {
        for length in 0..ACTIVE_SLOT.len() {
            assert!(parse_error(&ACTIVE_SLOT[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_row_has_texts_and_nulls() {
        let body = b"\0\x03\0\0\0\x02ab\xFF\xFF\xFF\xFF\0\0\0\0";
        assert_eq!(parse_row(body).unwrap(), [Some(b"ab".to_vec()), None, Some(Vec::new())]);
        for length in 0..body.len() {
            assert!(parse_row(&body[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_row_of_minus_one_columns_is_empty() {
        assert_eq!(parse_row(b"\xFF\xFF").unwrap(), Vec::<Option<Vec<u8>>>::new());
    }

    #[test]
    fn a_parameter_is_a_name_and_a_value() {
        let parameter = parse_parameter(b"server_version\x0015.18\0").unwrap();
        assert_eq!(parameter, ("server_version".to_owned(), "15.18".to_owned()));
        assert!(parse_parameter(b"server_version\x0015.18").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse_error(&bytes));
            drop(parse_row(&bytes));
            drop(parse_parameter(&bytes));
            log_notice(&bytes);
        }
    }
}
