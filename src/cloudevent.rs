//! From an outbox row to a CloudEvent on Kafka: binary and structured mode, and the dead letter.

pub mod options;
