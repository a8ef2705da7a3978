//! Kafka: the ordered producer, the checkpoint topic, dead letters, topics.

pub mod options;
