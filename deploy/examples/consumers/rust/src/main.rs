//! An inventory that follows the orders of a shop; ../README.md explains each step.

use std::collections::HashMap;
use std::env;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloudevents::binding::rdkafka::MessageExt;
use cloudevents::{AttributesReader, Data, Event};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, TopicPartitionList};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_postgres::{Client, NoTls};

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Why a record is not done.
enum Failure {
    /// Trying again cannot help: the event itself is wrong.
    Permanent(String),
    /// Another time it may work.
    Transient(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error().map(|refused| (refused.code().code(), refused.message())) {
            // The values are wrong.
            Some((code, message)) if code.starts_with("22") || code.starts_with("23") => {
                Self::Permanent(format!("{code}: {message}"))
            }
            Some((code, message)) => Self::Transient(format!("{code}: {message}")),
            None => Self::Transient(error.to_string()),
        }
    }
}

/// What the SDK makes up where it is missing: another id whenever the event comes again.
#[derive(Deserialize)]
#[expect(dead_code, reason = "they only have to be there")]
struct Required {
    id: String,
    source: String,
    r#type: String,
}

fn decode(message: &OwnedMessage) -> Result<Event, Failure> {
    let wrong = |reason: &dyn Display| Failure::Permanent(format!("not a CloudEvent: {reason}"));
    // Only the event's own headers; others may be anything, and the SDK panics at one without a value.
    let mut own = OwnedHeaders::new();
    let mut attributes = HashMap::new();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        if header.key == "content-type" || header.key.starts_with("ce_") {
            let value = header.value.ok_or_else(|| wrong(&"a header has no value"))?;
            attributes.insert(header.key, value);
            own = own.insert(header);
        }
    }
    let is_structured = |value: &&[u8]| value.starts_with(b"application/cloudevents");
    if attributes.get("content-type").is_some_and(is_structured) {
        let body = message.payload().unwrap_or_default();
        serde_json::from_slice::<Required>(body).map_err(|error| wrong(&error))?;
    } else if ["ce_id", "ce_source", "ce_type"]
        .iter()
        .any(|name| attributes.get(name).is_none_or(|value| value.is_empty()))
    {
        return Err(wrong(&"id, source or type is missing"));
    }
    let payload = message.payload().map(Vec::from);
    let topic = message.topic().to_owned();
    OwnedMessage::new(
        payload,
        None,
        topic,
        message.timestamp(),
        message.partition(),
        message.offset(),
        Some(own),
    )
    .to_event()
    .map_err(|error| wrong(&error))
}

#[derive(Serialize, Deserialize)]
struct Order {
    order: i64,
    sku: String,
    quantity: i32,
}

fn order_of(event: &Event) -> Result<Order, Failure> {
    let order: Option<Order> = match event.data() {
        Some(Data::Json(value)) => serde_json::from_value(value.clone()).ok(),
        Some(Data::Binary(bytes)) => serde_json::from_slice(bytes).ok(),
        Some(Data::String(text)) => serde_json::from_str(text).ok(),
        None => None,
    };
    order
        .filter(|order| order.quantity > 0)
        .ok_or_else(|| Failure::Permanent("the data is not an order".to_owned()))
}

async fn handle(database: &mut Client, event: &Event) -> Result<(), Failure> {
    if event.ty() != "OrderPlaced" {
        return Ok(()); // not ours
    }
    let order = order_of(event)?;
    let source: &str = event.source();
    // Without a commit it is rolled back.
    let transaction = database.transaction().await?;
    let first = transaction
        .execute(
            "insert into inbox (source, id) values ($1, $2) on conflict do nothing",
            &[&source, &event.id()],
        )
        .await?;
    if first == 0 {
        return Ok(()); // a repeat: its effect is there already
    }
    let changed = transaction
        .execute(
            "update stock set quantity = quantity - $1 where sku = $2",
            &[&order.quantity, &order.sku],
        )
        .await?;
    if changed == 0 {
        return Err(Failure::Permanent(format!("unknown sku {}", order.sku)));
    }
    let payload =
        serde_json::to_value(&order).map_err(|error| Failure::Permanent(error.to_string()))?;
    let correlation =
        event.extension("correlationid").map_or(event.id().to_owned(), ToString::to_string);
    transaction
        .execute(
            "insert into outbox (aggregatetype, aggregateid, type, payload, correlation_id, causation_id)
             values ('stock', $1, 'StockReserved', $2, $3, $4)",
            &[&order.sku, &payload, &correlation, &event.id()],
        )
        .await?;
    Ok(transaction.commit().await?)
}

/// The record that its partition waits for.
struct Held {
    message: OwnedMessage,
    delay: Duration,
    due: Instant,
}

#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<HashMap<i32, Held>>>);

impl ClientContext for Waiting {}

impl ConsumerContext for Waiting {
    /// What was held is read again by the partition's next owner, from the committed offset.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut held = self.0.lock().unwrap();
            for partition in partitions.elements() {
                if held.remove(&partition.partition()).is_some() {
                    let _ = consumer.resume(&one(partition.topic(), partition.partition()));
                }
            }
        }
    }
}

fn one(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}

fn place(message: &OwnedMessage) -> String {
    format!("{}/{}@{}", message.topic(), message.partition(), message.offset())
}

struct Inventory {
    consumer: StreamConsumer<Waiting>,
    producer: FutureProducer,
    waiting: Waiting,
    database: Option<Client>,
    database_url: String,
    group: String,
    dead_letters: String,
}

impl Inventory {
    async fn run(mut self) -> Result<(), Box<dyn std::error::Error>> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        loop {
            let due = self.waiting.0.lock().unwrap().values().map(|held| held.due).min();
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let late = |_: &i32, held: &mut Held| held.due <= Instant::now();
                    let held: Vec<_> = self.waiting.0.lock().unwrap().extract_if(late).collect();
                    for (_, held) in held {
                        self.settle(held.message, held.delay).await?;
                    }
                }
                // Also while partitions wait: librdkafka takes them from a consumer that does not ask.
                message = self.consumer.recv() => match message {
                    Ok(message) => {
                        let message = message.detach();
                        self.settle(message, FIRST_DELAY).await?;
                    }
                    Err(error) => eprintln!("{error}"),
                },
            }
        }
    }

    /// Handles a record, or holds it and lets its partition wait.
    async fn settle(
        &mut self,
        message: OwnedMessage,
        delay: Duration,
    ) -> Result<(), rdkafka::error::KafkaError> {
        let result = match self.try_once(&message).await {
            Err(Failure::Permanent(reason)) => self.bury(&message, &reason).await,
            result => result.map_err(|failure| match failure {
                Failure::Permanent(reason) | Failure::Transient(reason) => reason,
            }),
        };
        let partition = one(message.topic(), message.partition());
        let Err(reason) = result else {
            // The transaction is committed, or the letter is in Kafka: only now may the offset move.
            self.consumer.store_offset(message.topic(), message.partition(), message.offset())?;
            return if delay > FIRST_DELAY { self.consumer.resume(&partition) } else { Ok(()) };
        };
        eprintln!("again in {delay:?}: {}: {reason}", place(&message));
        self.consumer.pause(&partition)?;
        let due = Instant::now() + delay.mul_f64(0.5 + 0.5 * fraction());
        let held = Held { delay: LONGEST_DELAY.min(delay * 2), due, message };
        self.waiting.0.lock().unwrap().insert(held.message.partition(), held);
        Ok(())
    }

    async fn try_once(&mut self, message: &OwnedMessage) -> Result<(), Failure> {
        let event = decode(message)?;
        let database = match self.database.take() {
            Some(database) if !database.is_closed() => database,
            _ => {
                let (database, connection) =
                    tokio_postgres::connect(&self.database_url, NoTls).await?;
                // What goes wrong in there is told by the statement that fails.
                tokio::spawn(connection);
                database
            }
        };
        handle(self.database.insert(database), &event).await
    }

    /// Sends the record as it is to the dead letters, and returns when Kafka has it.
    async fn bury(&self, message: &OwnedMessage, reason: &str) -> Result<(), String> {
        let mut headers = message.headers().cloned().unwrap_or_default();
        for (key, value) in [
            ("dlq-reason", reason),
            ("dlq-topic", message.topic()),
            ("dlq-partition", &message.partition().to_string()),
            ("dlq-offset", &message.offset().to_string()),
            ("dlq-timestamp", &message.timestamp().to_millis().unwrap_or_default().to_string()),
            ("dlq-group", &self.group),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut letter = FutureRecord::<[u8], [u8]>::to(&self.dead_letters).headers(headers);
        (letter.key, letter.payload) = (message.key(), message.payload());
        self.producer.send(letter, Timeout::Never).await.map_err(|(error, _)| error.to_string())?;
        eprintln!("dead letter: {}: {reason}", place(message));
        Ok(())
    }
}

/// Between 0 and 1, so that many that wait for the same thing do not come back together.
fn fraction() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    f64::from(now.subsec_nanos() % 1_000) / 1_000.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = |name, otherwise: &str| env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let (kafka, group) = (env::var("KAFKA")?, setting("GROUP", "inventory"));
    let waiting = Waiting::default();
    let consumer: StreamConsumer<Waiting> = ClientConfig::new()
        .set("bootstrap.servers", &kafka)
        .set("group.id", &group)
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "10000")
        // Commits each second what `store_offset` was told, never what was only read.
        .set("enable.auto.offset.store", "false")
        .set("auto.commit.interval.ms", "1000")
        .create_with_context(waiting.clone())?;
    let producer = ClientConfig::new()
        .set("bootstrap.servers", &kafka)
        .set("enable.idempotence", "true")
        .set("delivery.timeout.ms", "30000")
        .create()?;
    consumer.subscribe(&[&setting("TOPIC", "outbox.event.order")])?;
    let inventory = Inventory {
        consumer,
        producer,
        waiting,
        database: None,
        database_url: env::var("DATABASE_URL")?,
        group,
        dead_letters: setting("DEAD_LETTERS", "inventory.dead-letters"),
    };
    inventory.run().await
}
