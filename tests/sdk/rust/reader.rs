//! Reads records with rdkafka, decodes each with the CloudEvents SDK for Rust, and prints what it sees,
//! one JSON object a line: reader BOOTSTRAP COUNT TOPIC…

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use cloudevents::binding::rdkafka::MessageExt;
use cloudevents::event::{ExtensionValue, SpecVersion};
use cloudevents::{AttributesReader, Data, Event};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, count, topics @ ..] = arguments.as_slice() else {
        panic!("usage: reader BOOTSTRAP COUNT TOPIC…");
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "sdk-rust");
    let consumer: BaseConsumer = config.set("enable.auto.commit", "false").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for topic in topics {
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    for _ in 0..count.parse::<usize>().unwrap() {
        let message = consumer.poll(Duration::from_secs(30));
        let message = message.expect("a further record within 30 s").unwrap();
        let mut line = record_of(&message);
        match message.to_event() {
            Ok(event) => seen(&event, &mut line),
            Err(error) => drop(line.insert("error".into(), error.to_string().into())),
        }
        println!("{}", Value::Object(line));
    }
}

fn seen(event: &Event, line: &mut Map<String, Value>) {
    assert_eq!(event.specversion(), SpecVersion::V10);
    let extensions = event.iter_extensions().map(|(name, value)| {
        let value = match value {
            ExtensionValue::String(text) => json!(text),
            ExtensionValue::Boolean(is) => json!(is),
            ExtensionValue::Integer(number) => json!(number),
        };
        (name.to_owned(), value)
    });
    let data = event.data().map(|data| match data {
        Data::Binary(bytes) => json!({"bytes": BASE64_STANDARD.encode(bytes)}),
        Data::String(text) => json!({"text": text}),
        Data::Json(value) => json!({"json": value.to_string()}),
    });
    line.extend([
        ("id".to_owned(), json!(event.id())),
        ("source".to_owned(), json!(event.source())),
        ("type".to_owned(), json!(event.ty())),
        ("subject".to_owned(), json!(event.subject())),
        ("time".to_owned(), json!(event.time().map(|time| time.to_rfc3339()))),
        ("datacontenttype".to_owned(), json!(event.datacontenttype())),
        ("dataschema".to_owned(), json!(event.dataschema())),
        ("extensions".to_owned(), extensions.collect()),
        ("data".to_owned(), json!(data)),
    ]);
}

fn record_of(message: &BorrowedMessage<'_>) -> Map<String, Value> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let plain = headers
        .filter(|header| header.key != "content-type" && !header.key.starts_with("ce_"))
        .map(|header| {
            (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap()).into())
        });
    let mut line = Map::new();
    line.insert("topic".into(), message.topic().into());
    line.insert("offset".into(), message.offset().into());
    line.insert("key".into(), message.key().map(|key| BASE64_STANDARD.encode(key)).into());
    line.insert("headers".into(), Value::Object(plain.collect()));
    line
}
