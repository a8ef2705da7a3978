//! A Kafka record as a consumer sees it.

use rdkafka::message::{BorrowedMessage, Headers, Message};

/// A Kafka record, whole and owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// The offset in the partition.
    pub(crate) offset: i64,
    /// Milliseconds since 1970, by whoever the topic says.
    pub(crate) timestamp: Option<i64>,
    /// The key; `None` is a null key.
    pub(crate) key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// The headers, in order, with repeats.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The value of the one header `name`; panics when there are several or it is not text.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "header `{name}` is there twice: {self:?}");
        value.as_deref().map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    /// The key as text; panics when there is none or it is not UTF-8.
    #[track_caller]
    pub(crate) fn key_text(&self) -> &str {
        let Some(key) = &self.key else { panic!("no key: {self:?}") };
        std::str::from_utf8(key).unwrap()
    }

    /// The value as text; panics when there is none or it is not UTF-8.
    #[track_caller]
    pub(crate) fn value_text(&self) -> &str {
        let Some(value) = &self.value else { panic!("no value: {self:?}") };
        std::str::from_utf8(value).unwrap()
    }

    /// The value as JSON; panics when it is not.
    #[track_caller]
    pub(crate) fn value_json(&self) -> serde_json::Value {
        let text = self.value_text();
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl From<&BorrowedMessage<'_>> for Record {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            let owned = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
            };
            headers.iter().map(owned).collect()
        });
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}
