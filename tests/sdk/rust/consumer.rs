use std::time::Duration;

use cloudevents::AttributesReader;
use cloudevents::binding::rdkafka::MessageExt;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", std::env::var("KAFKA")?);
    config.set("group.id", "shop-rust").set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[&std::env::var("TOPIC")?])?;
    loop {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else { continue };
        let event = message?.to_event()?;
        println!("{} {} {:?}", event.id(), event.ty(), event.data());
    }
}
