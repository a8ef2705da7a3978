//! `bytea` in the form that Postgres prints it, and Base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bad_row::{BadRow, Reason};

/// A `bytea` that is not printed as `\x` and pairs of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHex;

impl NotHex {
    /// The bad row of which `attribute` is such a column.
    pub(crate) fn of(self, attribute: &str) -> BadRow {
        let what = "is a bytea that is not printed in hex format (bytea_output)";
        BadRow::new(attribute, Reason::NotRepresentable, what)
    }
}

/// How many bytes a printed `bytea` stands for.
pub(crate) const fn decoded_length(printed: &[u8]) -> usize {
    printed.len().saturating_sub(2) / 2
}

/// Appends the bytes that a printed `bytea` stands for.
pub(crate) fn decode(printed: &[u8], out: &mut Vec<u8>) -> Result<(), NotHex> {
    let digits = printed.strip_prefix(b"\\x").ok_or(NotHex)?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(NotHex);
    }
    out.reserve(pairs.len());
    for pair in pairs {
        let [high, low] = pair else { return Err(NotHex) };
        out.push(nibble(*high)? << 4 | nibble(*low)?);
    }
    Ok(())
}

const fn nibble(digit: u8) -> Result<u8, NotHex> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(NotHex),
    }
}

/// Appends bytes in Base64 with padding (RFC 4648 §4).
pub(crate) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    let length = bytes.len().div_ceil(3).saturating_mul(4);
    out.resize(start.saturating_add(length), 0);
    let written = out.get_mut(start..).map_or(0, |space| {
        STANDARD.encode_slice(bytes, space).expect("four characters for every three bytes")
    });
    out.truncate(start.saturating_add(written));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, expected: Result<&[u8], NotHex>) {
        let mut out = Vec::new();
        let decoded = decode(printed.as_bytes(), &mut out).map(|()| out.as_slice());
        assert_eq!(decoded, expected, "{printed:?}");
        if decoded.is_ok() {
            assert_eq!(decoded_length(printed.as_bytes()), out.len(), "{printed:?}");
        }
    }

    #[test]
    fn the_hex_form_is_read_and_no_other() {
        check("\\x", Ok(b""));
        check("\\x00ff7f", Ok(&[0, 255, 127]));
        check("\\xAB", Ok(&[0xAB]));
        check("", Err(NotHex));
        check("00", Err(NotHex));
        check("\\x0", Err(NotHex));
        check("\\x0g", Err(NotHex));
        check("\\000\\377A", Err(NotHex));
    }

    #[test]
    fn base64_is_padded_and_appended() {
        for (bytes, expected) in
            [("", "<"), ("a", "<YQ=="), ("ab", "<YWI="), ("abc", "<YWJj"), ("abcd", "<YWJjZA==")]
        {
            let mut out = b"<".to_vec();
            push_base64(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
