//! Records of the dead-letter topic, as they are read: letters, and what was done about them.
//!
//! A letter is written by the relay and never changed. What is done about it is a record behind
//! it in the same topic, so the topic is the whole story and needs no other book:
//!
//! | record | headers |
//! | --- | --- |
//! | letter | `walpost-error-attribute`, `walpost-error-reason`, `walpost-error-message`, `walpost-error-time`, `walpost-topic`, `walpost-position`, `walpost-table`, `walpost-row-id`, `walpost-connector`; without its payload also `walpost-payload-bytes`; and those of its event |
//! | marker of a resolved letter | `walpost-resolves: <partition>:<offset>`, `walpost-resolution: redriven` or `dismissed`, `walpost-connector` |
//! | note of an attempt that Kafka refused | `walpost-attempted: <partition>:<offset>`, `walpost-connector` |
//!
//! Markers and notes have the letter's key, so they go to the letter's partition as long as the
//! number of partitions stays; nobody relies on that. Their value is empty and not null, so that
//! they are no tombstones.
//!
//! A record that was redriven carries `walpost-redrive-attempts: <n>`, how often that was done
//! with it; who puts it among the dead letters again and keeps its headers keeps the count.

use std::fmt;
use std::str::FromStr;

use rdkafka::message::{Headers as _, Message};

/// What marks a letter as resolved.
pub const RESOLVES: &str = "walpost-resolves";

/// How it was resolved.
pub const RESOLUTION: &str = "walpost-resolution";

/// Which letter was tried in vain.
pub const ATTEMPTED: &str = "walpost-attempted";

/// How often a record was redriven.
pub const ATTEMPTS: &str = "walpost-redrive-attempts";

/// The connector that wrote a letter.
pub const CONNECTOR: &str = "walpost-connector";

/// What is a letter's and not its event's; those of its resolutions among them.
const OWN: [&str; 14] = [
    "walpost-error-attribute",
    "walpost-error-reason",
    "walpost-error-message",
    "walpost-error-time",
    "walpost-topic",
    "walpost-position",
    "walpost-table",
    "walpost-row-id",
    CONNECTOR,
    "walpost-payload-bytes",
    ATTEMPTS,
    RESOLVES,
    RESOLUTION,
    ATTEMPTED,
];

/// Where a record stands in the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "expected PARTITION:OFFSET, such as 0:17".to_owned();
        let (partition, offset) = text.split_once(':').ok_or_else(refused)?;
        let partition: u16 = partition.parse().map_err(|_| refused())?;
        let offset: u64 = offset.parse().map_err(|_| refused())?;
        let offset = i64::try_from(offset).map_err(|_| refused())?;
        Ok(Self { partition: i32::from(partition), offset })
    }
}

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The row is no event: its writer.
    Malformed,
    /// The row is an event that a limit or rule of this configuration or of Kafka refuses: who
    /// sets it.
    Policy,
    /// Kafka had no place for it: who runs it.
    Infrastructure,
    /// No reason that this program knows.
    Unknown,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::Policy, Self::Infrastructure, Self::Unknown];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Policy => "policy",
            Self::Infrastructure => "infrastructure",
            Self::Unknown => "unknown",
        }
    }

    /// The class of a reason word.
    #[must_use]
    pub fn of(reason: &str) -> Self {
        match reason {
            "missing" | "empty" | "control_character" | "invalid_uri" | "not_absolute_uri"
            | "invalid_media_type" | "invalid_json" | "not_representable" => Self::Malformed,
            "illegal_name" | "too_long" | "too_large" | "schema_mismatch" => Self::Policy,
            "unknown_topic" | "refused_by_broker" => Self::Infrastructure,
            _ => Self::Unknown,
        }
    }
}

/// A record that is not a marker: a letter, or something that another program put there.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands.
    pub place: Place,
    /// When it was written, milliseconds since 1970 by Kafka's record.
    pub written_at: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Length of its value; `None` is a null value.
    pub value_bytes: Option<usize>,
    /// Its headers, in order; a null value as an empty one.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Letter {
    /// Without key and headers, which hold values of a row.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Letter {
    /// A header's text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        std::str::from_utf8(value).ok()
    }

    /// Why it is here; `None` for a record that walpost did not write.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.text("walpost-error-reason")
    }

    /// Who can put it right.
    #[must_use]
    pub fn class(&self) -> Class {
        self.reason().map_or(Class::Unknown, Class::of)
    }

    /// Where it should have gone, where there is such a topic.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.text("walpost-topic").filter(|topic| !topic.is_empty())
    }

    /// The connector that wrote it.
    #[must_use]
    pub fn connector(&self) -> Option<&str> {
        self.text(CONNECTOR)
    }

    /// The payload was left out for its size, and was so many bytes long.
    #[must_use]
    pub fn payload_left_out(&self) -> Option<&str> {
        self.text("walpost-payload-bytes").filter(|_| self.value_bytes.is_none())
    }

    /// How often it was redriven before it came here again.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.text(ATTEMPTS).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The headers of its event.
    pub fn event_headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let event = self.headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        event.map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// What a record of the dead-letter topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A letter, or something else that somebody should look at.
    Letter(Letter),
    /// The letter there is resolved.
    Resolved(Place),
    /// The letter there was tried in vain.
    Attempted(Place),
}

impl Entry {
    /// Reads a record.
    pub fn of(record: &impl Message) -> Self {
        let headers: Vec<_> = record.headers().map_or_else(Vec::new, |headers| {
            let owned = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.unwrap_or_default().to_vec())
            };
            headers.iter().map(owned).collect()
        });
        let letter = Letter {
            place: Place { partition: record.partition(), offset: record.offset() },
            written_at: record.timestamp().to_millis(),
            key: record.key().map(<[u8]>::to_vec),
            value_bytes: record.payload().map(<[u8]>::len),
            headers,
        };
        let named = |header: &str| letter.text(header).and_then(|text| text.parse().ok());
        // A letter is one whatever else it says: no row can resolve another one's.
        match (letter.reason(), named(RESOLVES), named(ATTEMPTED)) {
            (None, Some(place), _) => Self::Resolved(place),
            (None, None, Some(place)) => Self::Attempted(place),
            (Some(_), _, _) | (None, None, None) => Self::Letter(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::bad_row::Reason;

    #[test]
    fn every_reason_has_a_class() {
        for reason in Reason::ALL {
            assert_ne!(Class::of(reason.word()), Class::Unknown, "{reason}");
        }
        assert_eq!(Class::of("of_a_later_program"), Class::Unknown);
    }

    #[test]
    fn a_place_is_read_back_as_it_was_printed() {
        for text in ["0:0", "3:17", "65535:9223372036854775807"] {
            assert_eq!(text.parse::<Place>().map(|place| place.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "1", "0:", ":1", "-1:0", "0:-1", "0:9223372036854775808", "a:b", "0:1:2"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    fn letter(headers: &[(&str, &str)]) -> Letter {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Letter {
            place: Place { partition: 0, offset: 1 },
            written_at: None,
            key: None,
            value_bytes: None,
            headers: headers.iter().map(owned).collect(),
        }
    }

    #[test]
    fn an_event_keeps_its_headers_and_loses_the_letters() {
        let letter = letter(&[
            ("ce_id", "1"),
            ("traceparent", "t"),
            ("walpost-error-reason", "unknown_topic"),
            ("walpost-replay", "r"),
            ("walpost-topic", "t"),
            (ATTEMPTS, "2"),
        ]);
        let kept: Vec<_> = letter.event_headers().map(|(name, _)| name).collect();
        assert_eq!(kept, ["ce_id", "traceparent", "walpost-replay"]);
        assert_eq!((letter.attempts(), letter.class()), (2, Class::Infrastructure));
    }
}
