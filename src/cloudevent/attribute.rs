//! The context attributes of an event, each with its rules, and where they are written.

use super::headers::Headers;
use super::json;
use crate::outbox::bad_row::{BadRow, Reason};
use crate::outbox::bytea;

/// Longest value of one attribute, in bytes. `CloudEvents` asks intermediaries to forward events of
/// up to 64 KiB, so that a single attribute past it reaches nobody reliably.
pub(crate) const MAX_ATTRIBUTE: usize = 64 * 1024;

/// Names that are attributes of `CloudEvents` itself or members of its JSON format.
const RESERVED_NAMES: [&str; 9] = [
    "data",
    "datacontenttype",
    "dataschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "type",
];

/// Whether a text can be the name of an extension attribute.
///
/// # Errors
///
/// When it is empty, has other characters than `a`–`z` and `0`–`9`, or is an attribute's name.
pub fn check_extension_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(format!(
            "extension name {name:?} has other characters than lower-case letters and digits"
        ));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(format!(
            "extension name {name:?} is a name that CloudEvents itself uses; attributes are set \
             by WALPOST_COLUMN_* and WALPOST_CE_*"
        ));
    }
    Ok(())
}

/// Whether an extension's name is longer than `CloudEvents` recommends (20 characters).
#[must_use]
pub const fn extension_name_is_long(name: &str) -> bool {
    name.len() > 20
}

/// A value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A String, a URI, a Timestamp or a Binary in its text form.
    Text(&'a str),
    /// An Integer or a Boolean, which JSON writes without quotes.
    Bare(&'a str),
}

/// Where attributes are written.
pub(crate) trait Sink {
    /// One attribute.
    fn attribute(&mut self, name: &str, value: Value<'_>);
    /// The type of the data, which is not an attribute among others in binary mode.
    fn content_type(&mut self, value: &str);
}

/// Binary mode: `ce_` headers (Kafka protocol binding, "Binary Content Mode").
impl Sink for Headers {
    fn attribute(&mut self, name: &str, value: Value<'_>) {
        let (Value::Text(text) | Value::Bare(text)) = value;
        self.push_prefixed("ce_", name, text.as_bytes());
    }

    fn content_type(&mut self, value: &str) {
        self.push("content-type", value.as_bytes());
    }
}

/// Structured mode: members of a JSON object that is open (JSON event format, "Envelope").
pub(crate) struct Envelope<'a>(pub(crate) &'a mut Vec<u8>);

impl Envelope<'_> {
    /// A name, for which no escape is ever needed, and the colon.
    pub(crate) fn member(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

impl Sink for Envelope<'_> {
    fn attribute(&mut self, name: &str, value: Value<'_>) {
        self.member(name);
        match value {
            Value::Text(text) => json::push_string(self.0, text),
            Value::Bare(text) => self.0.extend_from_slice(text.as_bytes()),
        }
    }

    fn content_type(&mut self, value: &str) {
        self.attribute("datacontenttype", Value::Text(value));
    }
}

/// The text of an attribute: UTF-8, within the limit, and of characters that `CloudEvents` allows.
pub(crate) fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, BadRow> {
    if bytes.len() > MAX_ATTRIBUTE {
        let what = format_args!("is longer than {MAX_ATTRIBUTE} bytes");
        return Err(BadRow::new(name, Reason::TooLong, what));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| BadRow::new(name, Reason::NotRepresentable, "is not UTF-8"))?;
    let plain = bytes.iter().all(|byte| matches!(byte, 0x20..=0x7E));
    if plain {
        return Ok(text);
    }
    match text.chars().find(|character| is_refused(*character)) {
        None => Ok(text),
        Some(character) => Err(BadRow::new(
            name,
            Reason::ControlCharacter,
            format_args!(
                "has the character U+{:04X}, which CloudEvents refuses in attributes",
                u32::from(character)
            ),
        )),
    }
}

/// Control characters and noncharacters (`CloudEvents` specification, "Type System", String).
fn is_refused(character: char) -> bool {
    let code = u32::from(character);
    matches!(code, 0..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

/// The bytes of a printed `bytea` in Base64, in `buffer`.
pub(crate) fn base64<'b>(
    name: &str,
    printed: &[u8],
    decoded: &mut Vec<u8>,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b str, BadRow> {
    decoded.clear();
    buffer.clear();
    bytea::decode(printed, decoded).map_err(|not_hex| not_hex.of(name))?;
    bytea::push_base64(buffer, decoded);
    text(name, buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Option<Reason>) {
        assert_eq!(text("id", bytes).err().map(|bad| bad.reason), expected, "{bytes:?}");
    }

    #[test]
    fn control_characters_and_noncharacters_are_refused() {
        for code in (0..0x20).chain(0x7F..0xA0).chain(0xFDD0..0xFDF0) {
            let character = char::from_u32(code).expect("a character");
            check(format!("a{character}").as_bytes(), Some(Reason::ControlCharacter));
        }
        for plane in 0..=0x10_u32 {
            for last in [0xFFFE, 0xFFFF] {
                let character = char::from_u32(plane << 16 | last).expect("a character");
                check(character.to_string().as_bytes(), Some(Reason::ControlCharacter));
            }
        }
        for fine in ["", " ", "~", "\u{A0}", "é", "\u{FDCF}", "\u{FDF0}", "\u{FFFD}", "😀", "%"]
        {
            check(fine.as_bytes(), None);
        }
    }

    #[test]
    fn what_is_no_utf_8_or_too_long_is_refused() {
        check(b"\xFF", Some(Reason::NotRepresentable));
        check(&[b'a'; MAX_ATTRIBUTE], None);
        check(&[b'a'; MAX_ATTRIBUTE + 1], Some(Reason::TooLong));
    }

    #[test]
    fn a_message_names_the_attribute_and_never_the_value() {
        let bad = text("subject", b"secret\x07").expect_err("a bell");
        assert_eq!(
            bad.to_string(),
            "subject has the character U+0007, which CloudEvents refuses in attributes \
             (control_character)"
        );
    }

    #[test]
    fn extension_names_are_lower_case_letters_and_digits() {
        for name in ["a", "9", "region", "traceparent", "a1b2"] {
            assert_eq!(check_extension_name(name), Ok(()), "{name}");
        }
        for name in ["", "Region", "a_b", "a-b", "é", "data", "id", "time", "specversion", "a b"] {
            assert!(check_extension_name(name).is_err(), "{name}");
        }
        assert!(!extension_name_is_long("abcdefghijklmnopqrst"));
        assert!(extension_name_is_long("abcdefghijklmnopqrstu"));
    }
}
