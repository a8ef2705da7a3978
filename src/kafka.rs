//! Kafka: the ordered producer, the checkpoint topic, dead letters, topics.

pub mod checkpoint;
pub mod checkpoint_topic;
pub mod client;
pub mod dead_letter;
pub mod inspect;
pub mod librdkafka;
pub mod options;
pub mod producer;
pub mod reading;
pub mod topics;
