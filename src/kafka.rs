//! Kafka: the ordered producer, the checkpoint topic, dead letters, topics.

pub mod batch_limits;
mod certificates;
pub mod checkpoint;
pub mod checkpoint_reader;
pub mod checkpoint_topic;
pub mod client;
pub mod connections;
pub mod dead_letter;
pub mod floor;
pub mod groups;
pub mod inspect;
pub mod librdkafka;
pub mod login;
mod opening;
pub mod options;
pub mod producer;
mod prompt;
pub mod reading;
mod refusal;
pub(crate) mod teardown;
pub mod topics;
pub mod transaction;
pub mod unread;
