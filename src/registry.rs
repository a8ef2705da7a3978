//! The schema registry: which schema a payload has to fit, and how the schema's id travels with it.
//!
//! The registry speaks Confluent's API, which Confluent, Apicurio (`/apis/ccompat/v7`), Karapace
//! and Redpanda have in common. Rows ask [`schemas::Schemas`], which answers from memory and never
//! waits; what it does not know is asked of the registry by [`client::Client`], outside of the way
//! of the rows, while the first row that needs it waits. A schema under an id never changes, so
//! what is known stays known when the registry is away.
//!
//! A registry that does not answer is no fault of a row: [`error::RegistryError::is_about_schema`]
//! tells the two apart, and only what the registry says of the schema itself may make a row bad.

mod avro;
pub mod client;
pub mod error;
mod http;
mod json_schema;
mod number;
pub mod options;
mod payload;
mod protobuf;
pub mod schema;
pub mod schemas;
mod varint;
